"""Guards that only show when they are missing: each test here fails without the line that it is about."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.payer import a_payload
from sites import small_site

from imghost.cli.main import main
from imghost.errors import StateError
from imghost.hosts.img402.buying import sent_as
from imghost.hosts.img402.journal import Budget, Journal, Purchase, Signed, Step
from imghost.records import safe_diskcache
from imghost.records.cache import Cache

SIGNED = Signed("X-PAYMENT", "cheque", 1, "0xpayer", "0xpayee", 10_000, "0xn", 2_000_000_000, "https://img402.dev/api")


# Nothing is asked where nothing may be asked.


@pytest.mark.parametrize("barrier", ["a pull request", "frozen"])
@pytest.mark.parametrize(
    "command", [["plan", "site"], ["status"], ["adopt", "site"], ["prune", "--keep", "site"]], ids=str
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


def test_a_cheque_leaves_no_trace_in_the_file_once_it_is_cashed(tmp_path: Path) -> None:
    journal, payload = a_journal(tmp_path), a_payload(tmp_path)
    purchase = Purchase("https://img402.dev", payload.image)
    made, _ = journal.reserve(purchase, sent_as(payload), 10_000, Budget(10_000, ""), lambda _: SIGNED)
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
