"""A store that is down, slow, read-only, full or holds a stranger's records: one line for the user, nothing twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doubles.engines import Engine, Folder, opened
from doubles.imgpro import ImgPro
from doubles.slow import SECONDS, SlowFolder
from doubles.stores import Line, Moto, Postgres, free_ports, postgres_programs
from run.test_sharing import _built, _sha256, a_project, illustrated
from trust.disks import READ_ONLY, SMALL, disk
from trust.place import Project, picture

from imghost.records.shared import Key, State, render
from imghost.records.shared_folder import WIDTH
from imghost.testing import write_entry

KEY = Key("img.pro", "", _sha256(picture(1)), "")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if not postgres_programs():
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with Postgres() as server:
        yield server


@pytest.fixture
def s3(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Moto]:
    for name, text in moto.environ.items():
        monkeypatch.setenv(name, text)
    yield moto
    moto.front.refused, moto.front.when, moto.front.delay = None, lambda: True, 0.0


@pytest.fixture(params=["file", "s3", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """Give each kind of store, which works as it should."""
    if request.param == "file":
        return Folder(tmp_path / "stores")
    server: Engine = request.getfixturevalue("s3" if request.param == "s3" else "postgres")
    return server


@contextmanager
def one_image(folder: Path, url: str) -> Iterator[tuple[Project, ImgPro, list[str]]]:
    with ImgPro("images") as host:
        project = a_project(folder, "first", host, url)
        illustrated(project.site, [1])
        yield project, host, []


def check_refused(folder: Path, url: str, line: str, **raw: Any) -> None:
    """Build with a store in trouble: nothing is uploaded, and this is the one warning."""
    with one_image(folder, url) as (project, host, said):
        report = _built(project, said, lambda _: None, **raw)
        warnings = [text for text in said if text.startswith("warning: ")]
        assert (len(host.copies), report.counts.uploaded, warnings) == (0, 0, [f"warning: {line}"])


class TestDown:
    @pytest.mark.long
    def test_a_server_that_is_not_there(self, tmp_path: Path, s3: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
        (port,) = free_ports(1)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        why = "it does not answer (EndpointConnectionError); check the network, or build again later"
        check_refused(tmp_path, "s3://records/x", f"nothing is uploaded: the store s3://records/x cannot read: {why}")

    def test_a_database_that_is_not_there(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        url = f"postgresql://127.0.0.1:{port}/docs"
        why = "cannot read: it does not answer; check the network, or build again later"
        check_refused(tmp_path, url, f"nothing is uploaded: the store {url} {why}")

    @pytest.mark.long
    def test_a_database_that_stands_still(self, tmp_path: Path, postgres: Postgres) -> None:
        url = postgres.fresh()
        with postgres.standing_still(), one_image(tmp_path, url) as (project, host, said):
            _built(project, said, lambda _: None, timeout=1)
            assert len(host.copies) == 0
            assert "cannot read: it does not answer; check the network" in said[-1]

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        place = tmp_path / "unmounted"
        why = "is not there; make the folder, or mount it; correct the option 'shared'"
        check_refused(tmp_path, place.as_uri(), f"nothing is uploaded: the store {place} {why}")

    def test_a_build_may_go_on_alone_and_says_so(self, tmp_path: Path) -> None:
        place = tmp_path / "unmounted"
        with one_image(tmp_path, place.as_uri()) as (project, host, said):
            report = _built(project, said, shared_required=False)
            assert (len(host.copies), report.counts.uploaded) == (1, 1)
            assert not any(text.startswith("warning") for text in said)
            assert any(text.endswith("the build goes on alone, since 'shared_required' is false") for text in said)

    def test_alone_after_a_claim_failed_all_is_uploaded_and_said_once(self, tmp_path: Path, s3: Moto) -> None:
        with one_image(tmp_path, url := s3.fresh()) as (project, host, said):
            illustrated(project.site, list(range(30)))
            s3.front.refused, s3.front.delay = ("PUT", 403, "AccessDenied"), 0.3  # so that several wait for it
            report = _built(project, said, shared_required=False)
            assert (len(host.copies), report.counts.uploaded) == (30, 30)
            line = "forbids this (AccessDenied); allow s3:GetObject, s3:PutObject and s3:ListBucket for its prefix"
            alone = f"the store {url} {line}; the build goes on alone, since 'shared_required' is false"
            assert [text for text in said if "alone" in text or "warning" in text] == [alone]

    def test_after_a_claim_that_failed_nothing_more_is_uploaded(self, tmp_path: Path, s3: Moto) -> None:
        with one_image(tmp_path, s3.fresh()) as (project, host, said):
            illustrated(project.site, list(range(30)))
            most = len(s3.front.log) + 30 + 12  # all questions, the check, and some claims
            s3.front.refused, s3.front.when = ("PUT", 403, "AccessDenied"), lambda: len(s3.front.log) > most
            report = _built(project, said)
            assert len(host.copies) == report.counts.uploaded < 15
            left = f"{30 - report.counts.uploaded} images stay local"
            assert sum(left in text for text in said if text.startswith("warning")) == 1, said

    def test_what_the_lock_knows_still_works(self, tmp_path: Path) -> None:
        place = tmp_path / "place"
        place.mkdir()
        with one_image(tmp_path, place.as_uri()) as (project, _, said):
            _built(project, said)
            for file in sorted(place.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            place.rmdir()
            illustrated(project.site, [1])
            report = _built(project, said := [])
            assert (report.counts.cached, said) == (1, [])

    def test_it_may_break_after_the_upload(self, tmp_path: Path, s3: Moto) -> None:
        """Then the record is in the lock, and `imghost share` publishes it later."""
        with one_image(tmp_path, url := s3.fresh()) as (project, host, said):
            s3.front.refused, s3.front.when = ("PUT", 503, "ServiceUnavailable"), lambda: bool(host.copies)
            report = _built(project, said, lambda _: None)
            assert (len(host.copies), report.counts.uploaded) == (1, 1)
            assert said[-1] == f"warning: 1 record could not be published to the store {url}; run `imghost share`"


class TestSlow:
    """Five seconds an answer: what is told is one line, and the build is done."""

    @pytest.fixture(params=["file", "s3", "postgresql"])
    def url(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        if request.param == "s3":
            server: Moto = request.getfixturevalue("s3")
            server.front.delay = 5
            yield server.fresh()
        elif request.param == "file":
            write_entry(tmp_path / "entry", "slow", "doubles.slow:SlowFolder", "imghost.stores")
            monkeypatch.syspath_prepend(str(tmp_path / "entry"))
            monkeypatch.setenv(SECONDS, "5")
            (tmp_path / "place").mkdir()
            yield f"slow://{tmp_path / 'place'}"
        else:
            database: Postgres = request.getfixturevalue("postgres")
            with Line(database.port, 5) as line:
                yield database.fresh().replace(f":{database.port}/", f":{line.port}/")

    @pytest.mark.long
    @pytest.mark.timeout(300)
    def test_a_store_that_takes_five_seconds_for_an_answer(self, tmp_path: Path, url: str) -> None:
        with one_image(tmp_path, url) as (project, host, said):
            report = _built(project, said, timeout=30)
            assert (len(host.copies), report.counts.uploaded) == (1, 1)
            slow = [text for text in said if " is slow: " in text]
            assert [re.sub(r".* is slow: \d+\.\d s", "", text) for text in slow] == [" an answer"], said
            assert not any(text.startswith("warning") for text in said)

    def test_a_slow_folder_is_told_too_and_many_images_are_asked_for_at_a_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(SECONDS, "0.2")
        store = SlowFolder(tmp_path.as_uri(), {}, 5.0)
        began = time.monotonic()
        assert store.get_all([f"k{number}" for number in range(1 + 2 * WIDTH)]) == {}
        assert time.monotonic() - began < 0.2 * WIDTH, "one after the other"

    @pytest.mark.long
    def test_its_time_is_told_and_the_build_is_done(self, tmp_path: Path, s3: Moto) -> None:
        s3.front.delay = 1.1
        with one_image(tmp_path, url := s3.fresh()) as (project, host, said):
            report = _built(project, said)
            assert (len(host.copies), report.counts.uploaded) == (1, 1)
            assert any(text.startswith(f"the store {url} is slow: 1.") for text in said), said


class TestReadOnly:
    def test_a_bucket(self, tmp_path: Path, s3: Moto) -> None:
        s3.front.refused = ("PUT", 403, "AccessDenied")
        line = "forbids this (AccessDenied); allow s3:GetObject, s3:PutObject and s3:ListBucket for its prefix"
        check_refused(tmp_path, url := s3.fresh(), f"the store {url} {line}: 1 image stays local")

    def test_a_role_that_may_only_read(self, tmp_path: Path, postgres: Postgres) -> None:
        url = postgres.fresh()
        schema = url.rpartition("=")[2]
        with opened(postgres, url) as store:
            store.put("made", "x", None)
        postgres.sql(
            "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN", f"GRANT USAGE ON SCHEMA {schema} TO reader",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader",
        )  # fmt: skip
        reading = url.replace("imghost@", "reader@")
        address = url.replace("imghost@", "")
        line = f"the store {address} forbids this; grant SELECT, INSERT and UPDATE on imghost_shared"
        check_refused(tmp_path, reading, f"{line}: 1 image stays local")
        postgres.sql(f"DROP SCHEMA {schema} CASCADE", "DROP ROLE reader")

    def test_a_folder(self, tmp_path: Path) -> None:
        check_on_disk(tmp_path, READ_ONLY, "", "Read-only file system; make it writable")


class TestFull:
    def test_a_bucket(self, tmp_path: Path, s3: Moto) -> None:
        s3.front.refused = ("PUT", 507, "QuotaExceeded")
        line = "has no room left (QuotaExceeded); raise the bucket's quota: 1 image stays local"
        check_refused(tmp_path, url := s3.fresh(), f"the store {url} {line}")

    def test_a_database_says_so_by_its_code(self, tmp_path: Path, postgres: Postgres) -> None:
        url = postgres.fresh()
        schema = url.rpartition("=")[2]
        with opened(postgres, url) as store:
            store.put("made", "x", None)
        postgres.sql(
            f"CREATE FUNCTION {schema}.full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$",
            f"CREATE TRIGGER f BEFORE INSERT ON {schema}.imghost_shared FOR EACH ROW EXECUTE FUNCTION {schema}.full()",
        )
        line = f"the store {url.replace('imghost@', '')} has no room left; make room on its disk: 1 image stays local"
        check_refused(tmp_path, url, line)

    def test_a_folder(self, tmp_path: Path) -> None:
        check_on_disk(tmp_path, SMALL, "64k", "No space left on device; make room")


class TestStrangers:
    def test_an_entry_that_is_not_ours(self, tmp_path: Path, engine: Engine) -> None:
        url = engine.fresh()
        with opened(engine, url) as store:
            store.put(KEY.path, "hello", None)
        why = "it is not JSON (Expecting value at column 1); take it out of the store, or choose another prefix"
        check_refused(tmp_path, url, f"nothing is uploaded: the shared entry {KEY.path} cannot be read: {why}")

    def test_a_record_whose_url_is_not_the_hosts_is_not_used_and_its_project_named(
        self, tmp_path: Path, engine: Engine
    ) -> None:
        url = engine.fresh()
        with one_image(tmp_path, url) as (project, host, said), opened(engine, url) as store:
            store.put(KEY.path, json.dumps(_stranger()), None)
            report = _built(project, said)
            assert (len(host.copies), report.counts.uploaded) == (1, 1)
            assert said[-1].startswith(f"warning: 1 record in the store {store.address} name a URL that is not one of")
            assert "like https://evil.example/1.png by github.com/them/docs:imghost.lock" in said[-1]

    def test_a_record_of_another_size_is_not_used(self, tmp_path: Path, engine: Engine) -> None:
        url = engine.fresh()
        with one_image(tmp_path, url) as (project, host, said), opened(engine, url) as store:
            fields = _stranger()
            fields["record"] |= {"url": f"{host.server.url}/t/{'a' * 8}.png", "width": 5000}
            store.put(KEY.path, json.dumps(fields), None)
            assert _built(project, said).counts.uploaded == 1


def _stranger() -> dict[str, Any]:
    record = {
        "sha256": KEY.sha256, "host": "img.pro", "url": "https://evil.example/1.png", "id": "1", "variant": "",
        "bytes": 1, "media_type": "image/png", "width": 40, "height": 30, "uploaded": "2026-01-01T00:00:00Z",
        "expires": None,
    }  # fmt: skip
    fields: dict[str, Any] = json.loads(render(KEY, State(None, None, "github.com/them/docs:imghost.lock", 1), "w"))
    return fields | {"record": record}


def check_on_disk(folder: Path, how: str, size: str, why: str) -> None:
    """Build where the store's folder is a disk of its own."""
    place = folder / "place"
    place.mkdir()
    with ImgPro("images") as host, disk(place, how, size) as mounted:
        project = a_project(folder, "first", host, place.as_uri())
        illustrated(project.site, [1])
        if how == SMALL:
            mounted.fill()
        ran = mounted.run(project)
        assert (ran.returncode, len(host.copies)) == (0, 0), ran.stderr
        assert f"warning: the store {place} cannot write: {why}: 1 image stays local" in ran.stderr
