"""What strangers' bytes reach: each target takes any bytes and must come back, with a value or a verdict of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from imghost import css, lock, page_map, srcset
from imghost.cache import Cache
from imghost.errors import HostError, ImghostError
from imghost.hosts.imageupload_answers import read_entry, read_slug
from imghost.hosts.imgpro_answers import read_batch, read_existing, read_list, read_media
from imghost.hosts.imgpro_refusals import read_refusal
from imghost.hosts.journal import Journal
from imghost.hosts.x402 import read_challenge
from imghost.http import Answer
from imghost.images import NotAnImage, dimensions, inspect, stripped
from imghost.models import KINDS
from imghost.pages import decode, encode
from imghost.rewrite import changed_text, changes_of
from imghost.scan import scan

URL = "https://src.img.pro/t/fuzz.png"


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
    assert all(0 <= start < end <= len(text) for start, end in srcset.candidates(text))


def sheet(raw: bytes) -> None:
    text = decode(raw)
    assert all(0 <= found.start <= found.end <= len(text) for found in css.images(text))


def lock_file(raw: bytes) -> None:
    try:
        found = lock.parse(raw, "imghost.lock")
    except ImghostError as refused:
        verdict = str(refused)
        assert verdict.isprintable()
    else:
        assert lock.parse(lock.render(found), "imghost.lock") == found


def store(raw: bytes) -> None:
    """Read a local store whose database is these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "store").mkdir()
        (Path(folder) / "store" / "cache.db").write_bytes(raw)
        cache = Cache.load(Path(folder))
        assert all(record.url for record in cache.records())
        cache.close()


def journal(raw: bytes) -> None:
    """Read a payment journal of these bytes; it is never taken for an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "payments.sqlite3"
        file.write_bytes(raw)
        Path(folder).chmod(0o700)
        file.chmod(0o600)
        try:
            assert Journal(file).unresolved(Path(folder) / "imghost.lock") >= 0
        except ImghostError as refused:
            verdict = str(refused)
            assert verdict.isprintable()
        assert not raw or file.read_bytes()


def pages_map(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "map.json"
        file.write_bytes(raw)
        page_map.load(file, "mark")


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
    """Read a host's answer as each of our hosts does."""
    status = 200 + (raw[0] if raw else 0) * 2
    whole = Answer(status, {"content-type": "application/json"}, raw[1:])
    read_refusal(whole)
    try:
        read_challenge("img402", whole)
    except HostError as refused:
        verdict = str(refused)
        assert verdict.isprintable()
    try:
        body = json.loads(raw[1:])
    except (ValueError, RecursionError):
        return
    for read in (read_media, read_existing, read_list, read_batch, read_entry, read_slug):
        try:
            read(body)
        except (ValueError, HostError):
            continue


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
