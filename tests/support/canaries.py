"""Random credentials for the tests, and the search for them in all that a test prints and leaves.

Every credential has one random part, the same in all of a run, so that a few searches find each of them in
whatever form. Which part is random differs from run to run: nobody can write the search around it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import stat
import subprocess
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(16))
"""Random, and the same for all that share a run's tests: they must find the same ones, which some name by credentials."""
MARK = hashlib.sha256(_RUN.encode()).hexdigest()[:32]
"""The part of every credential that is searched for."""
_SEEN: list[bytes] = []
"""What the test has printed and read back itself."""
_LEFT: list[str] = []
"""Files with a credential in temporary folders that are gone."""
_PLANTED: set[Path] = set()
_LONGEST = 64 * 1024 * 1024
"""Bytes of a file that are searched: some tests make files of many gigabytes that have nothing in them."""


def credential(start: str) -> str:
    """Make a credential that begins like this."""
    return start + MARK


def private_key() -> str:
    """Make a private key: each is another one."""
    return f"0x{MARK}{secrets.token_hex(16)}"


def planted(file: Path) -> Path:
    """Except one file, which the test itself has put a credential into for the program to read."""
    _PLANTED.add(file)
    return file


def forms(text: str) -> Iterator[bytes]:
    """Give the forms in which a text may hide, without the ends that depend on what is around it."""
    raw = text.encode()
    yield from (raw, text.upper().encode(), raw.hex().encode(), raw.hex().upper().encode())
    yield from ("".join(f"%{byte:{form}}" for byte in raw).encode() for form in ("02X", "02x"))
    yield urllib.parse.quote(text, safe="").encode()
    yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterator[bytes]:
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * shift + raw)[4:-4]


FORMS = tuple(
    dict.fromkeys(
        # By halves, since what is printed may be cut off; and as the bytes that a private key stands for.
        (*forms(MARK[:16]), *forms(MARK[16:]), bytes.fromhex(MARK), *_in_base64(bytes.fromhex(MARK)))
    )
)


def is_in(content: bytes) -> bool:
    """Say whether a credential is in these bytes, in any form."""
    return any(form in content for form in FORMS)


def files_with(root: Path) -> list[str]:
    """List what a folder has a credential in: names and contents."""
    return sorted(str(path.relative_to(root)) for path in _walk(root) if path not in _PLANTED and _has(path, root))


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        yield from (Path(folder, name) for name in (*folders, *names))


def _has(path: Path, root: Path) -> bool:
    if is_in(os.fsencode(path.relative_to(root))):
        return True
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as opened:
            return is_in(opened.read(_LONGEST))
    except (FileNotFoundError, PermissionError):  # a process is still at its end, or the test took the right away
        return False


def saw(*printed: object) -> None:
    """Remember what a test has read of its own or a process's output, for the search at its end."""
    for one in printed:
        if isinstance(one, (str, bytes)):
            _SEEN.append(one if isinstance(one, bytes) else one.encode("utf-8", "surrogatepass"))


def listen() -> None:
    """From now on see what tests read back and throw away.

    That is what they captured, what the processes printed that they ran, and temporary folders before their end.
    """

    def heard(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*given: Any, **named: Any) -> Any:
            told = method(*given, **named)
            saw(*told)
            return told

        return call

    def searched(method: Callable[..., None]) -> Callable[..., None]:
        @wraps(method)
        def call(folder: tempfile.TemporaryDirectory[str]) -> None:
            _LEFT.extend(files_with(Path(folder.name)))
            method(folder)

        return call

    tempfile.TemporaryDirectory.cleanup = searched(tempfile.TemporaryDirectory.cleanup)  # type: ignore[method-assign]
    pytest.CaptureFixture.readouterr = heard(pytest.CaptureFixture.readouterr)  # type: ignore[method-assign]
    subprocess.Popen.communicate = heard(subprocess.Popen.communicate)  # type: ignore[method-assign]


def leaks(folder: Path | None, *printed: str) -> list[str]:
    """List where a test that is over has left a credential, and forget what it printed."""
    saw(*printed)
    outputs = ["what it printed"] if any(map(is_in, _SEEN)) else []
    outputs += [f"temporary {name}" for name in _LEFT]
    _SEEN.clear()
    _LEFT.clear()
    return outputs + (files_with(folder) if folder else [])
