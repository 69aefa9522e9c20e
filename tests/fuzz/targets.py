"""What strangers' bytes reach: each target takes any bytes and must come back, with a value or a verdict of its own."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import fields
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from imghost.errors import HostError, ImghostError
from imghost.hosts.answers import refusal
from imghost.hosts.imageupload.api import (
    _result,
    read_allowance,
    read_entries,
    read_entry,
    read_folders,
    read_headers,
    read_slug,
    refused_upload,
)
from imghost.hosts.img402.journal import Journal, Payment, Purchase
from imghost.hosts.img402.x402 import complaint, read_challenge, read_receipt
from imghost.hosts.imgpro.api import read_account, read_batch, read_existing, read_list, read_media, read_refusal
from imghost.html import blocks
from imghost.html.edit import changed_text, changes_of
from imghost.html.scan import candidates, css_images, scan
from imghost.html.tokenizer import tags
from imghost.image.inspect import NotAnImage, dimensions, inspect, stripped
from imghost.models import KINDS
from imghost.net import Answer
from imghost.records import lock
from imghost.records.cache import Cache
from imghost.run import local_copies
from imghost.site import page_map
from imghost.site.pages import before_changes
from imghost.site.survey import decode, encode

URL = "https://src.img.pro/t/fuzz.png"
PAGE = '<script>a.png</script><img src="a.png"><p style="background:url(b.png)">'
CORPUS = Path(__file__).with_name("corpus")
LOCK = Path("/fuzz/imghost.lock")
STAMP = (3, 4, 5)
BLANK: dict[str, Any] = dict.fromkeys((column.name for column in fields(Payment)), "")
WHOLE = {
    "host": "u",
    "image": "i",
    "bytes": 1,
    "period": 0,
    "attempt": 0,
    "lock": str(LOCK),
    "state": "signed",
    "amount": 1,
}
TIMES = {"again": 0, "refusals": 0, "signed_at": 1.0, "changed_at": 1.0, "valid_before": 1, "version": 2}
NONE = dict.fromkeys(("token_expires", "expires"))
GOOD = BLANK | WHOLE | TIMES | NONE
"""A payment as the journal has it."""
HEADERS = (
    *("retry-after", "date", "payment-required", "payment-response", "x-payment-response"),
    *("x-quota-used", "x-quota-limit", "x-quota-remaining", "content-type"),
)
"""What our hosts read of an answer's headers."""


def page(raw: bytes) -> None:
    """Scan a page and rewrite it: what lies outside the references stays, and they are found again."""
    text = decode(raw)
    assert encode(text) == raw
    found = scan(text, frozenset(KINDS)).references
    spans = sorted((reference.start, reference.end) for reference in found)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    changes = changes_of(text, dict.fromkeys(found, URL))
    assert changed_text(text, ()) == text
    assert not found or URL in changed_text(text, changes)


def source_set(raw: bytes) -> None:
    text = decode(raw)
    assert all(0 <= start < end <= len(text) for start, end in candidates(text))


def sheet(raw: bytes) -> None:
    text = decode(raw)
    assert all(0 <= found.start <= found.end <= len(text) for found in css_images(text))


def lock_file(raw: bytes) -> None:
    try:
        found = lock.parse(raw, "imghost.lock")
    except ImghostError as refused:
        verdict = str(refused)
        assert verdict.isprintable()
    else:
        assert lock.parse(lock.render(found), "imghost.lock") == found


def store(raw: bytes) -> None:
    """Read a local store whose database is these bytes, or whose rows are these lines of a key and a value."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "store" / "cache.db"
        database.parent.mkdir()
        if raw.startswith(b"SQLite") or not raw:
            database.write_bytes(raw)
        else:
            database.write_bytes((CORPUS / "store" / "good").read_bytes())
            put_rows(database, raw)
        cache = Cache.load(Path(folder))
        assert all(record.url for record in cache.records())
        assert all(len(upload) == 3 for upload in cache.intents())
        cache.facts("a.png", STAMP)
        cache.close()


def put_rows(database: Path, raw: bytes) -> None:
    """Write rows as diskcache has them; a key with a `#` gets the value's digest, as a record's row has."""
    pairs = [line.partition(b" ") for line in raw.split(b"\n")]
    rows = [(key.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for key, _, value in pairs]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM Cache")
        for key, value in rows:
            connection.execute(
                "INSERT OR REPLACE INTO Cache (key, raw, store_time, access_time, access_count, size, mode, value)"
                " VALUES (?, 1, 1.0, 1.0, 0, 0, 1, ?)",
                (key.replace("#", row_key(value)), value),
            )


def row_key(value: str) -> str:
    """Digest what names a row: a record's or an upload's key, or the one path that is asked for."""
    try:
        found = json.loads(value)
        parts = [found["sha256"], found["host"], found["variant"]] if isinstance(found, dict) else found
        text = "\0".join(parts)
    except (ValueError, LookupError, TypeError, RecursionError):
        text = "a.png"
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def journal(raw: bytes) -> None:
    """Read a payment journal of these bytes, or of payments that are JSON: never an empty one, no other error."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "payments.sqlite3"
        file.write_bytes(raw if raw.startswith(b"SQLite") else b"")
        Path(folder).chmod(0o700)
        file.chmod(0o600)
        kept = Journal(file, clock=lambda: 0.0)
        if raw and not raw.startswith(b"SQLite"):
            kept.prepare()
            put_payments(file, raw)
        before = file.read_bytes()
        for ask in (
            lambda: kept.unresolved(LOCK) >= 0,
            lambda: kept.spent(LOCK) >= 0,
            lambda: all(kept.lost(LOCK)),
            lambda: kept.find(Purchase("u", "i")) is None or isinstance(kept.find(Purchase("u", "i")), Payment),
        ):
            try:
                assert ask()
            except ImghostError as refused:
                verdict = str(refused)
                assert verdict.isprintable()
        assert not before or file.read_bytes()


def put_payments(file: Path, raw: bytes) -> None:
    """Write rows of whatever types: each line is the JSON of the columns that are not as in a good payment."""
    names = [column.name for column in fields(Payment) if column.name != "id"]
    marks = f"({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    with closing(sqlite3.connect(file)) as connection, connection:
        for line in raw.split(b"\n"):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            row = GOOD | (found if isinstance(found, dict) else {"state": line})
            values = [row[name] if isinstance(row[name], (str, int, float, bytes)) else None for name in names]
            with suppress(OverflowError, UnicodeError, sqlite3.IntegrityError):  # no value that a row can have
                connection.execute(f"INSERT INTO payments {marks}", values)


def named(text: str) -> list[str]:
    """List the tags of a text."""
    return [tag.name for tag in tags(text, with_styles=True)]


def pages_map(raw: bytes) -> None:
    """Read a map and do all that it asks for: it changes URLs, and copies an image into the site; nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        file, site = Path(folder) / "map.json", Path(folder) / "site"
        site.mkdir()
        file.write_bytes(raw)
        (Path(folder) / "a.png").write_bytes((CORPUS / "image" / "png").read_bytes())
        known = page_map.load(file, "mark")
        for entry in known.pages.values():
            original = before_changes("a.html", PAGE, entry)
            assert original is None or named(original) == named(PAGE)
            blocks(entry.scan.policies, ("https://src.img.pro",), "img-src")
        here = {path: gone._replace(source=gone.source.replace("#", folder)) for path, gone in known.removed.items()}
        local_copies.put_back(site, here, here)
        assert set(Path(folder).iterdir()) == {file, site, Path(folder) / "a.png"}
        if known.pages:
            page_map.save(Path(folder) / "again.json", known)
            assert page_map.load(Path(folder) / "again.json", "mark") == known


def image(raw: bytes) -> None:
    """Judge an image, and strip it: the second time nothing is left to take."""
    dimensions(raw)
    try:
        facts = inspect(raw)
    except NotAnImage as refused:
        verdict = str(refused)
        assert verdict.isprintable()
        return
    if facts.has_metadata:
        try:
            bare = b"".join(stripped(raw, facts))
        except NotAnImage:
            return
        again = inspect(bare)
        assert (again.media_type, again.width, again.height) == (facts.media_type, facts.width, facts.height)


def answer(raw: bytes) -> None:
    """Read a host's answer as each of our hosts does: a byte for the status, headers up to a zero byte, the body."""
    head, _, body = raw[1:].rpartition(b"\0")
    told = [line.decode("latin-1") for line in head.split(b"\n")]
    headers = {"content-type": "application/json"} | dict(zip(HEADERS, told, strict=False))
    whole = Answer(200 + (raw[0] if raw else 0) * 2, headers, body)
    for refused in (refusal("x", whole), refused_upload(whole, "https://imageupload.io")):
        assert str(refused).isprintable()
    read_refusal(whole)
    read_headers(headers)
    assert read_receipt(whole, 10_000)["amount"] == "0.01"
    assert complaint(whole, "cheque").isprintable()
    readers: list[Callable[[], object]] = [lambda: read_challenge("img402", whole), lambda: _result(whole)]
    try:
        found = whole.json()
    except ValueError:
        found = None
    for read in (read_media, read_existing, read_list, read_batch, read_account, read_entry, read_slug):
        readers.append(partial(read, found))
    if isinstance(found, dict):
        readers += [partial(read, found) for read in (read_entries, read_folders, read_allowance)]
    for ask in readers:
        try:
            ask()
        except ValueError:
            continue
        except HostError as refused:
            verdict = str(refused)
            assert verdict.isprintable()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "page": page,
    "srcset": source_set,
    "css": sheet,
    "lock": lock_file,
    "store": store,
    "journal": journal,
    "map": pages_map,
    "image": image,
    "answer": answer,
}
