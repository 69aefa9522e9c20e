"""Guards that only show when they are missing: each test here fails without the line that it is about."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.payer import a_payload
from doubles.server import Reply, Server
from sites import picture, small_site, write

from imghost.cli.main import main
from imghost.errors import BudgetError, HostError, StateError
from imghost.hosts.img402.buying import sent_as
from imghost.hosts.img402.journal import Budget, Journal, Purchase, Signed, Step
from imghost.models import IMPORT, Facts, Hosted, Image
from imghost.records import safe_diskcache
from imghost.records.cache import Cache
from imghost.records.lock import render_record
from imghost.run import local_copies, upload
from imghost.run.job import Plan, Upload
from imghost.run.plan import check_budget
from imghost.settings import Settings
from imghost.site.images import Origins
from imghost.site.page_map import PageMap, Removed

SIGNED = Signed("X-PAYMENT", "cheque", 1, "0xpayer", "0xpayee", 10_000, "0xn", 2_000_000_000, "https://img402.dev/api")


# Nothing is asked where nothing may be asked.


@pytest.mark.parametrize("barrier", ["a pull request", "frozen"])
@pytest.mark.parametrize(
    "command",
    [
        ["plan", "site"],
        ["status"],
        ["adopt", "site"],
        ["prune", "--keep", "site"],
        ["rehost", "site"],
        ["edit", "--yes"],
    ],
    ids=str,
)
def test_no_command_asks_the_host_in_a_pull_request_or_a_frozen_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], barrier: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    small_site(tmp_path / "site")
    with ImgPro("images") as double:
        flags = ["--host", "img.pro", "--option", f"api_url={double.api_url}", "--option", "namespace=docs"]
        assert main(["rehost", "site", *flags]) == 0
        small_site(tmp_path / "site", 4)  # one image more, so that a plan has something to ask for
        double.server.log.clear()
        if barrier == "frozen":
            flags.append("--frozen")
        else:
            monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
        main([*command, *flags])
        assert double.server.log == []


# The journal of payments.


def a_journal(folder: Path) -> Journal:
    return Journal(folder / "state" / "payments.sqlite3")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_a_journal_of_another_user_is_refused(tmp_path: Path) -> None:
    """It may be a trap: what is written there, its owner can cash."""
    journal = a_journal(tmp_path)
    journal.prepare()
    os.chown(journal.file, 12_345, -1)
    with pytest.raises(StateError, match="belongs to another user"):
        journal.prepare()


def test_while_a_payment_is_signed_no_other_process_can_reserve(tmp_path: Path) -> None:
    """The budget is read and the payment written as one step, of which nobody sees the middle."""
    journal, payload = a_journal(tmp_path), a_payload(tmp_path)
    seen: list[str] = []

    def sign(_: Step) -> Signed:
        with closing(sqlite3.connect(journal.file, timeout=0.05, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
                seen.append("entered")
            except sqlite3.OperationalError as problem:
                seen.append(str(problem))
        return SIGNED

    purchase = Purchase("https://img402.dev", payload.image)
    assert journal.reserve(purchase, sent_as(payload), 10_000, Budget(10_000, ""), sign)[1]
    assert seen == ["database is locked"]


def test_a_cheque_leaves_no_trace_in_the_file_once_it_is_cashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some systems build SQLite so that it deletes securely by itself; others do not, as here."""
    connect = sqlite3.connect

    def connected(*place: Any, **kept: Any) -> sqlite3.Connection:
        connection = connect(*place, **kept)
        connection.execute("PRAGMA secure_delete = OFF")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connected)
    journal, payload = a_journal(tmp_path), a_payload(tmp_path)
    purchase = Purchase("https://img402.dev", payload.image)
    long = replace(SIGNED, header="cheque " * 150)  # as one is, so that what comes in its place leaves a part of it
    made, _ = journal.reserve(purchase, sent_as(payload), 10_000, Budget(10_000, ""), lambda _: long)
    journal.keep_token(made, "token-of-the-cheque", 9.0, None)
    assert b"token-of-the-cheque" in journal.file.read_bytes()
    journal.finish(made, "https://i.img402.dev/a.png", "a", None, None)
    assert b"cheque" not in journal.file.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="calls are counted by strace")
def test_the_journals_folder_is_synced_when_it_is_made(tmp_path: Path) -> None:
    """Else a loss of power takes the file with the payment in it."""
    import shutil
    import subprocess

    if not shutil.which("strace"):
        pytest.skip("there is no strace here")
    code = f"from pathlib import Path; from imghost.hosts.img402.journal import Journal; Journal(Path({str(tmp_path)!r}) / 's/j').prepare()"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip("strace may not trace here")
    synced = done.stderr
    assert f"<{tmp_path}/s>" in synced
    assert f"<{tmp_path}>" in synced


# The local store.


def test_a_strangers_store_is_opened_with_every_fence_up(tmp_path: Path) -> None:
    """What a schema may call, what a broken page may make SQLite read, and how long a value may be."""
    cache = Cache.load(tmp_path / "cache")
    cache.intend("a" * 64, "img.pro", "")
    cache.close()
    with closing(safe_diskcache._opened(tmp_path / "cache" / "store")) as connection:
        fences = ("trusted_schema", "query_only", "cell_size_check", "mmap_size")
        found = [connection.execute(f"PRAGMA {fence}").fetchone() for fence in fences]
        assert [value[0] if value else 0 for value in found] == [0, 1, 1, 0]
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == 16 * safe_diskcache.MAX_VALUE
        with pytest.raises(sqlite3.DataError, match="too big"):
            connection.execute("SELECT zeroblob(1000000)").fetchone()


# The local store's records, and what a host answers.


def flags_of(double: ImgPro, *more: str) -> list[str]:
    return ["--host", "img.pro", "--option", f"api_url={double.api_url}", *more]


def test_a_record_in_the_local_store_of_a_foreign_origin_is_not_used(tmp_path: Path, monkeypatch) -> None:
    """Whoever can write there, or restore a cache into a CI job, would choose what readers' browsers fetch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    write(tmp_path, {"site/index.html": "<title>x</title><img src=a.png>", "site/a.png": picture(1)})
    with ImgPro("images") as double, Server(lambda _: Reply.image(picture(1), "image/png")) as evil:
        assert main(["rehost", "site", *flags_of(double), "--cache-dir", "cache"]) == 0
        with Cache.load(tmp_path / "cache") as cache:
            rows = [(key, render_record(record), record.url) for key, record in cache.every_record()]
            assert rows
            changes = {key: line.replace(url, f"{evil.url}/t/own.png") for key, line, url in rows}
            cache._apply(changes)
        Path("imghost.lock").unlink()
        write(tmp_path, {"site/index.html": "<title>x</title><img src=a.png>"})
        assert main(["rehost", "site", *flags_of(double), "--cache-dir", "cache"]) == 0
        page = Path("site/index.html").read_text("utf-8")
        assert evil.url not in page
        assert double.server.url in page
        assert not evil.requests()


def test_a_url_that_the_host_itself_does_not_accept_reaches_no_record() -> None:
    """A host by others may answer what it would not take from the lock."""
    context = SimpleNamespace(host=SimpleNamespace(accepts=lambda url: url.startswith("https://own.test/")))
    upload._check_address(Hosted("https://own.test/a.png", "a"), context)  # type: ignore[arg-type]
    with pytest.raises(HostError, match="not one of its images"):
        upload._check_address(Hosted("https://elsewhere.test/a.png", "a"), context)  # type: ignore[arg-type]


@pytest.mark.parametrize("generation", ["upload", "images"])
def test_no_address_of_this_network_is_given_to_a_host_to_fetch(tmp_path: Path, monkeypatch, generation: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    monkeypatch.delenv("IMGHOST_ALLOW_REMOTE", raising=False)
    with ImgPro(generation) as double, Server(lambda _: Reply.image(picture(1), "image/png")) as inner:
        write(tmp_path, {"site/index.html": f"<title>x</title><img src={inner.url}/a.png>"})
        main(["rehost", "site", *flags_of(double, "--remote", f"{inner.url}/*")])
        assert not double.uploads
        assert not inner.requests()
        assert f"{inner.url}/a.png" in Path("site/index.html").read_text("utf-8")


@pytest.mark.parametrize(("count", "is_refused"), [(200, False), (201, True)])
def test_a_glob_that_matches_hundreds_of_external_images_brings_none(count: int, is_refused: bool) -> None:
    images = [Image(f"https://x.test/{n}.png", f"{n:064x}", 0, Facts("image/png", None, None)) for n in range(count)]
    uploads = tuple(Upload(image, IMPORT, (image.path,)) for image in images)
    many = Plan({}, uploads, {})
    if is_refused:
        with pytest.raises(BudgetError, match="more than 200"):
            check_budget(many, Settings())
        check_budget(many, replace(Settings(), max_uploads=count))
    else:
        check_budget(many, Settings())


# Local copies that are brought back.


@pytest.mark.parametrize("content", [b"-----BEGIN OPENSSH PRIVATE KEY-----", b"\x89PNG\r\n\x1a\n", b""])
def test_only_an_image_is_brought_back_into_a_site(tmp_path: Path, content: bytes) -> None:
    """The map that names the sources may come from a stranger, with the cache of a CI job."""
    (tmp_path / "site").mkdir()
    source = tmp_path / "id_rsa"
    source.write_bytes(content)
    told = Removed(Image("a.png", "a" * 64, 1, Facts("image/png", 4, 3)), str(source))
    assert local_copies.put_back(tmp_path / "site", ["a.png"], {"a.png": told}) == {"a.png"}
    assert not (tmp_path / "site/a.png").exists()
    source.write_bytes(picture(1))
    assert local_copies.put_back(tmp_path / "site", ["a.png"], {"a.png": told}) == set()
    assert (tmp_path / "site/a.png").read_bytes() == picture(1)


def test_a_removed_copy_has_the_source_that_this_build_names_and_no_other(tmp_path: Path) -> None:
    private, own = tmp_path / "private.png", tmp_path / "own.png"
    for file in (private, own):
        file.write_bytes(picture(1))
    image = Image("a.png", "a" * 64, 1, Facts("image/png", 4, 3))
    known = PageMap(removed={"a.png": Removed(image, str(private)), "b.png": Removed(image, str(private))})
    found = local_copies.renewed(known, tmp_path / "map.json", Origins(sources={"b.png": own}))
    assert {path: gone.source for path, gone in found.removed.items()} == {"b.png": str(own)}
