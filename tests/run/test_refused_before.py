"""What a host has refused for good, in the run: what the local store keeps of it, and when it is sent once more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree

import pytest
from doubles.imageupload import STARTER, ImageUpload
from doubles.img402 import Img402
from doubles.imgpro import EXHAUSTED, UNVERIFIED, VERIFIED, ImgPro
from doubles.server import Reply, Request, Server
from sites import picture, write
from trust.place import Project, built_site, today

from imghost import settings
from imghost.cli.main import main
from imghost.hosts import Quota
from imghost.models import Facts, Failure, Image, Refused
from imghost.records import lock, unconfirmed
from imghost.records.cache import Cache
from imghost.run.job import Job, Plan, Upload
from imghost.run.publish import refused_otherwise
from imghost.run.rehost import rehost
from imghost.run.report import failure_notices
from imghost.site.images import Origins

LARGE = "images/large.png"


def large(project: Project, count: int = 3) -> None:
    """Write a site whose last picture is over what the account may store."""
    built_site(project.site, count)
    write(project.site, {"images/large.png": picture(1, (400, 300)), "large.html": '<img src="images/large.png">'})


def sent(host: ImgPro) -> int:
    return sum(picture(1, (400, 300)) in request.body for request in host.uploads)


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[ImgPro]:
    """Open img.pro with an account that takes small images only."""
    with ImgPro(getattr(request, "param", "upload"), max_bytes=800) as host:
        yield host


@pytest.fixture
def project(tmp_path: Path, host: ImgPro) -> Project:
    made = Project(tmp_path / "p", host)
    large(made)
    made.build()
    large(made)
    assert (sent(host), made.build().report.requests) == (1, 0)
    large(made)
    return made


class TestAccounts:
    """What the host tells of the account is a part of the terms, as soon as it is asked anything."""

    @pytest.mark.parametrize("host", ["upload", "images"], indirect=True)
    def test_a_larger_one_is_sent_it_with_the_next_image(self, project: Project, host: ImgPro) -> None:
        host.quota, host.max_bytes = 50_000, 70_000_000
        assert project.build().report.requests == 0
        large(project, count=4)
        result = project.build()
        assert (sent(host), result.notices, result.report.counts.uploaded) == (2, (), 2)
        assert b'src="images' not in (project.site / "large.html").read_bytes()

    def test_one_that_refuses_it_again_is_asked_once(self, project: Project, host: ImgPro) -> None:
        host.quota = 50_000
        for count in (4, 5):
            large(project, count)
            project.build()
        assert sent(host) == 2

    def test_the_same_account_is_not_asked(self, project: Project, host: ImgPro) -> None:
        large(project, count=4)
        result = project.build()
        assert (sent(host), result.report.counts.uploaded, len(result.notices)) == (1, 1, 1)

    def test_the_budget_holds_for_what_is_sent_again(self, project: Project, host: ImgPro) -> None:
        host.quota = 50_000
        large(project, count=4)
        result = project.build(max_uploads=1)
        assert (sent(host), result.is_refused, result.report.counts.uploaded) == (1, True, 0)

    @pytest.mark.parametrize("key", [UNVERIFIED, EXHAUSTED])
    def test_another_key_is_another_account(self, project: Project, host: ImgPro, key: str) -> None:
        again = replace(project, key=("IMGPRO_API_KEY", key))
        before = len(host.server.log)
        again.build(retention="30d")
        again.build(retention="30d")
        assert len(host.server.log) > before

    def test_a_build_without_a_key_has_nothing_to_say_of_it(self, project: Project) -> None:
        for environ in ({}, {"GITHUB_EVENT_NAME": "pull_request", **dict([project.key])}):
            assert project.build(environ).notices == ()


def test_imageupload_io_is_asked_again_on_another_plan(tmp_path: Path) -> None:
    with ImageUpload() as host:
        project = Project(tmp_path / "p", host, chosen="imageupload.io", key=("IMAGEUPLOAD_API_KEY", STARTER))
        built_site(project.site)
        write(project.site, {"images/large.png": picture(9), "large.html": '<img src="images/large.png">'})
        host.answer_next(*[Reply.json({"error": "File too large"}, 413)] * 4)
        project.build()
        assert (len(host.uploads), project.build().report.requests) == (4, 0)
        plans = host._quota
        host._quota = lambda owner: {**plans(owner), "plan": "pro", "limit": None, "unlimited": True}  # type: ignore[method-assign]
        write(project.site, {"more.html": '<img src="images/more.png">', "images/more.png": picture(8)})
        assert project.build().notices == ()
        assert len(host.copies) == 5


def typed(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.chdir(project.root)
    monkeypatch.setenv(*project.key)
    where = ["--host", "img.pro", "--option", f"api_url={project.host.api_url}"]
    assert main([*words, *where]) in {0, None}
    return capsys.readouterr().out


class TestCommands:
    def test_status_tells_of_it_and_has_it_sent_once_more(
        self, project: Project, host: ImgPro, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = " ".join(typed(project, monkeypatch, capsys, "status").split())
        assert "refused 1 image, like " in said
        assert "img.pro refuses the image: it is too large" in said
        told = json.loads(typed(project, monkeypatch, capsys, "status", "--json"))["refused"]
        assert ([it["since"] for it in told["images"]], told["again"]) == ([f"{today():%Y-%m-%d}"], 0)
        assert "1 image that the host refused" in typed(project, monkeypatch, capsys, "status", "--again")
        assert "refused" not in typed(project, monkeypatch, capsys, "status")
        project.build()
        assert sent(host) == 2

    def test_status_sees_another_account(
        self, project: Project, host: ImgPro, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        host.quota, host.max_bytes = 50_000, 70_000_000
        assert "the next build sends them once more" in typed(project, monkeypatch, capsys, "status")
        assert project.build().notices == ()

    def test_a_plan_shows_it_among_what_stays(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = json.loads(typed(project, monkeypatch, capsys, "plan", "site", "--json"))
        assert told["uploads"] == []
        [kept] = told["kept"]
        assert (kept["path"], "it is not sent again" in kept["reason"]) == ("images/large.png", True)
        assert "images/large.png" in typed(project, monkeypatch, capsys, "plan", "site")

    def test_adopt_looks_for_it_all_the_same(
        self, project: Project, host: ImgPro, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = json.loads(typed(project, monkeypatch, capsys, "adopt", "site", "--json"))
        assert told["missing"] == ["images/large.png"]


def test_an_image_that_must_have_a_url_is_an_error_still(project: Project) -> None:
    assert "images/large.png" in project.build(require=True).error


def test_equal_bytes_are_refused_once(tmp_path: Path, host: ImgPro) -> None:
    project = Project(tmp_path / "p", host)
    write(project.site, {"index.html": '<img src="a.png"><img src="b.png">'})
    for name, text in (("a", "one"), ("b", "two")):
        write(project.site, {f"{name}.png": with_text(picture(1, (400, 300)), text)})
    project.build()
    assert len(host.uploads) == 1
    assert len(project.build().report.failures) == 2
    assert len(host.uploads) == 1


def with_text(png: bytes, text: str) -> bytes:
    """Put a comment into a picture, which the copy that is sent lacks."""
    from zlib import crc32

    chunk = b"tEXt" + b"Author\0" + text.encode()
    return png[:33] + len(chunk[4:]).to_bytes(4, "big") + chunk + crc32(chunk).to_bytes(4, "big") + png[33:]


def test_what_a_record_serves_still_is_no_failure_where_its_renewal_is_refused(tmp_path: Path) -> None:
    with ImgPro("images", lifetime=30 * 86_400) as host:
        project = Project(tmp_path / "p", host, (("retention", "30d"),))
        built_site(project.site)
        project.build()
        file, past = project.root / "imghost.lock", timedelta(days=28)
        known = lock.read(file)
        records = [replace(it, uploaded=it.uploaded - past, expires=it.expires - past) for it in known.records]
        lock.write(file, replace(known, records=tuple(records)))
        rmtree(project.cache)
        host.copies.clear()
        host.max_bytes = 10
        for number in range(2):
            built_site(project.site)
            result = project.build()
            assert (result.report.failures, result.report.counts.cached) == ((), 4)
            assert ["not sent again" in notice.text for notice in result.notices] == [bool(number)] * 3
            assert all("keeps the copy that it has: img.pro refuses" in notice.text for notice in result.notices)
        assert len(host.uploads) == 6


def test_what_is_to_live_longer_and_is_refused_has_nothing_to_do_with_the_budget(tmp_path: Path) -> None:
    with ImgPro("images", lifetime=40 * 86_400) as host:
        project = Project(tmp_path / "p", host)
        built_site(project.site)
        project.build(retention="30d")
        host.copies.clear()
        host.max_bytes, host.lifetime = 10, None
        for number in range(2):
            built_site(project.site)
            result = project.build(retention="90d")
            assert ["not sent again" in notice.text for notice in result.notices] == [bool(number)] * 3
            assert not [text for text in result.remarks if "budget" in text]


@pytest.mark.parametrize(("taken", "whole"), [(0, "stays local"), (1, ""), (2, "")])
def test_a_size_that_is_refused_is_told_of_as_what_it_is(taken: int, whole: str, tmp_path: Path) -> None:
    """The image itself is hosted, and no failure; where it is one, it is one."""
    with Img402() as host:
        raw = {"options": {"api_url": host.url, "tier": "free"}, "retention": "7d", "responsive": True}
        chosen = settings.read({"host": "img402", "widths": [300, 600], "retries": 1, **raw}, tmp_path)
        route, sent = host.server.route, list[str]()

        def answer(request: Request) -> Reply:
            if request.method == "POST":
                sent.append(request.path)
                if len(sent) > taken:
                    return Reply.json({"error": "unsupported_format"}, 400)
            return route(request)

        host.server.route = answer
        for _ in range(2):
            page = "<style>img{max-width:100%}</style><img src=a.png>"
            write(tmp_path / "site", {"index.html": page, "a.png": picture(1, (900, 600))})
            job = Job(tmp_path / "site", chosen, {}, Origins(is_own_source=True), sleep=lambda _: None)
            result = rehost(job)
            told = [notice.text.partition(":")[0] for notice in result.notices]
            assert told == [f"a.png {what}" for what in (whole, "lacks a smaller size") if what]
            assert len(result.report.failures) == bool(whole)
        assert len(sent) == 3


def test_many_of_one_reason_are_one_line() -> None:
    failures = [Failure(f"{number}.png", "refused") for number in range(5)]
    [hosted] = failure_notices(failures, {it.path for it in failures})
    [sizes] = failure_notices([*failures, *failures], of_sizes=True)
    [left] = failure_notices(failures)
    assert hosted.text == "5 images keep the copy that they have: refused (0.png, 1.png, 2.png and 2 more)"
    assert sizes.text == "5 images lack a smaller size: refused (0.png, 1.png, 2.png and 2 more)"
    assert left.text == "5 images stay local: refused (0.png, 1.png, 2.png and 2 more)"


KEY = ("a" * 64, "img.pro", "")
LAST = Refused("too large", "make it smaller", datetime(2026, 11, 29, tzinfo=UTC), "terms", "free 100 -")


class TestKept:
    """What the local store keeps of it, whoever has written the store."""

    def test_what_is_kept_is_read(self, tmp_path: Path) -> None:
        with Cache.load(tmp_path / "cache") as cache:
            cache.intend(*KEY, "me")
            cache.refuse(KEY, LAST, "me")
            assert cache.intents("me") == ()
        again = Cache.load(tmp_path / "cache")
        assert (again.refused("me"), again.refused("you")) == ({KEY: LAST}, {})

    @pytest.mark.parametrize("text", ["x" * 5_000, "\u56fe" * 5_000, '"\\' * 5_000, "\U0001f5bc" * 5_000, ""])
    def test_a_long_answer_fits_a_row(self, tmp_path: Path, text: str) -> None:
        with Cache.load(tmp_path / "cache") as cache:
            cache.refuse(KEY, LAST._replace(reason=text, remedy=text, allowance=text))
        assert KEY in Cache.load(tmp_path / "cache").refused()

    @pytest.mark.parametrize(
        "row",
        [
            "", "[]", "{}", "null", "5", "[" * 500, json.dumps([*KEY, "a", "b", "no date", "c", "d"]),
            json.dumps([*KEY, "a", "b", 5, "c", "d"]), json.dumps([*KEY, "a", "b", "2026-01-01", "c"]),
            json.dumps([["a"], *KEY[1:], "a", "b", "2026-01-01", "c", "d"]),
            json.dumps([*KEY, "a", "b", "9999-12-31T23:59:59-23:59", "c", "d"]),
            json.dumps(["b" * 64, *KEY[1:], "a", "b", "2026-01-01", "c", "d"]),
        ],
    )  # fmt: skip
    def test_a_strangers_row_says_nothing(self, tmp_path: Path, row: str) -> None:
        with Cache.load(tmp_path / "cache") as cache:
            cache.refuse(KEY, LAST)
            [(name, _)] = cache._of_kind("refused:")
            cache._write({name: row}, "test")
        assert Cache.load(tmp_path / "cache").refused() == {}

    def test_a_strangers_words_are_one_line(self, tmp_path: Path) -> None:
        words = "\x1b[2J::error::\n##vso[task.setvariable]\u202e"
        with Cache.load(tmp_path / "cache") as cache:
            cache.refuse(KEY, LAST._replace(reason=words, remedy=words))
        [last] = Cache.load(tmp_path / "cache").refused().values()
        assert (last.reason + last.remedy).isprintable()
        assert "::" not in last.reason


class TestAgain:
    """What is sent all the same: what has a copy by now, and external images after a week."""

    def test_a_copy_that_somebody_else_has_stored_meanwhile_counts_first(self, project: Project, host: ImgPro) -> None:
        """The lock of another machine tells of it, and nobody has looked at it yet."""
        host.max_bytes = 20_000_000
        other = Project(project.root.parent / "other", host)
        large(other)
        other.build()
        there = next(it for it in lock.read(other.root / "imghost.lock").records if it.extra["path"] == LARGE)
        host.max_bytes = 800
        file = project.root / "imghost.lock"
        file.write_text(file.read_text() + lock.render_record(unconfirmed(there)) + "\n")
        before = sent(host)
        assert project.build().notices == ()
        assert there.url.encode() in (project.site / "large.html").read_bytes()
        assert sent(host) == before

    def test_what_the_host_has_taken_is_refused_no_longer(self, project: Project, host: ImgPro) -> None:
        """Else the row would keep the image from being renewed."""
        host.quota, host.max_bytes = 50_000, 70_000_000
        large(project, count=4)
        project.build()
        with Cache.load(project.cache) as cache:
            assert list(cache._of_kind("refused:")) == []

    @pytest.mark.parametrize(("days", "is_asked"), [(6, False), (8, True), (-8, True)])
    def test_an_external_image_is_asked_for_again_after_a_week(
        self, days: int, is_asked: bool, tmp_path: Path, host: ImgPro
    ) -> None:
        """What its address serves may be another image by then; a file of the site would be one by its bytes."""
        body = picture(1, (400, 300))
        with Server(lambda _: Reply.image(body, "image/png")) as origin:
            environ = {"IMGHOST_ALLOW_REMOTE": origin.url.partition("//")[2], "IMGPRO_API_KEY": VERIFIED}
            project = Project(tmp_path / "e", host, (("remote", [f"{origin.url}/*"]),))
            for moment in (datetime.now(UTC), datetime.now(UTC) + timedelta(days=days)):
                write(project.site, {"index.html": f'<img src="{origin.url}/a.png">'})
                project.build(environ, now=lambda moment=moment: moment)
            assert len(host.uploads) == 1 + is_asked

    def test_a_file_of_the_site_is_not(self, project: Project, host: ImgPro) -> None:
        later = datetime.now(UTC) + timedelta(days=20)
        large(project)
        project.build(now=lambda: later)
        assert sent(host) == 1


def test_an_image_with_the_bytes_of_one_that_was_unlucky_is_tried_itself(tmp_path: Path) -> None:
    """Only what is about the bytes is so for both."""
    with ImgPro("upload") as host:
        project = Project(tmp_path / "p", host)
        write(project.site, {"index.html": '<img src="a.png"><img src="b.png">'})
        for name in ("a", "b"):
            write(project.site, {f"{name}.png": with_text(picture(1), name)})
        host.answer_next(Reply(418, b"a teapot"))
        result = project.build(retries=1)
        assert (len(host.uploads), len(result.report.failures), result.report.counts.uploaded) == (2, 1, 1)


@pytest.mark.parametrize(
    ("then", "now", "is_again"),
    [("free 100", "pro 5000", True), ("free 100", "free 100", False), ("", "pro 5000", False), ("free 100", "", False)],
)
def test_only_an_allowance_that_was_told_both_times_is_another(then: str, now: str, is_again: bool) -> None:
    upload = Upload(Image("a.png", "a" * 64, 1, Facts("image/png", 1, 1)), "", ("a.png",))
    plan = Plan((), (), {}, refused=((upload, LAST._replace(allowance=then)),))
    assert refused_otherwise(plan, Quota(allowance=now)) == [upload] * is_again
