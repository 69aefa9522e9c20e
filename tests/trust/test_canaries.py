"""A test that leaves a credential somewhere fails, whatever it says itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import canaries
import pytest

TESTS = Path(__file__).parents[1]

LEAKS = """
import base64, logging, os, pathlib, subprocess, sys, tempfile, urllib.parse
from canaries import MARK, credential, planted, private_key

KEY = credential("img_live_")

def test_that_prints_it():
    print(KEY)

def test_that_prints_half_of_it():
    print(KEY[:-12], file=sys.stderr)

def test_that_logs_it():
    logging.getLogger("httpx").warning("".join(f"%{letter:02X}" for letter in KEY.encode()))

def test_that_reads_back_what_it_prints(capsys):
    print(base64.b64encode(f"user:{KEY}".encode()).decode())
    assert capsys.readouterr().out

def test_that_reads_back_what_it_writes_to_a_descriptor(capfd):
    os.write(2, KEY.encode().hex().encode())
    assert capfd.readouterr().err

def test_whose_process_prints_it():
    subprocess.run([sys.executable, "-c", f"print({KEY!r})"], capture_output=True, check=True)

def test_that_writes_it(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "cache.db").write_bytes(b"before" + bytes.fromhex(private_key()[2:]) + b"after")

def test_that_names_a_file_so(tmp_path):
    (tmp_path / urllib.parse.quote(f"/{KEY}", safe="")).touch()

def test_that_leaves_it_in_a_folder_that_is_gone():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "part").write_text(KEY)

def test_that_fails_anyway(tmp_path):
    (tmp_path / "page.html").write_text(KEY)
    assert not KEY

def test_that_leaves_it_where_others_look(tmp_path_factory):
    (tmp_path_factory.mktemp("shared") / "log").write_text(KEY)

def test_good_that_plants_it(tmp_path):
    planted(tmp_path / ".netrc").write_text(KEY)

def test_good_that_knows_it(tmp_path):
    (tmp_path / "digest").write_text(MARK[::-1])
    print("<hidden>")
"""


def test_what_leaks_fails_and_what_does_not_passes(tmp_path: Path) -> None:
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rEp",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "test_leaks.py",
    ]
    ours = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}  # a run of its own
    environ = {**ours, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS / 'support'}", "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=100)
    told = re.findall(r"^(ERROR|PASSED) test_leaks.py::(\w+)", done.stdout, re.MULTILINE)
    names = re.findall(r"def (test_\w+)", LEAKS)
    failed = {name for word, name in told if word == "ERROR"}
    leaky = {name for name in names if "good" not in name and "others_look" not in name}
    # What all tests share is searched after the last one, which then is the one to fail.
    assert failed == {*leaky, names[-1]}, done.stdout
    assert "a credential is in deep/cache.db" in done.stdout
    assert "[('shared0', ['log'])]" in done.stdout


@pytest.mark.parametrize("number", range(len(canaries.FORMS)))
def test_every_form_is_found_within_other_bytes(number: int) -> None:
    assert canaries.is_in(b"before" + canaries.FORMS[number] + b"after")
    assert not canaries.is_in(canaries.FORMS[number][:-4])


def test_forms_are_too_long_to_be_met_by_chance() -> None:
    assert min(map(len, canaries.FORMS)) >= 12
