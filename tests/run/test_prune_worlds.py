"""Prune in random worlds: projects that share a store, and pages that name images in every way that there is."""

from __future__ import annotations

import base64
import gzip
import html
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from sites import picture, write
from trust.place import counted, tell

from imghost import settings
from imghost.cli.main import main
from imghost.errors import ImghostError
from imghost.hosts import Host
from imghost.hosts.registry import open_host
from imghost.models import Record
from imghost.net import Client
from imghost.records import lock as locks
from imghost.records.cache import Cache
from imghost.run import care
from imghost.testing import FakeStore
from imghost.testing.fake import KEY

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@contextmanager
def opened(folder: Path, store: FakeStore, project: str = "p") -> Iterator[Host]:
    given = settings.read({"host": "fake", "options": {"api_url": store.url, "project": project}}, folder)
    with Client(5, environ={}) as client:
        yield open_host("fake", given, {"FAKE_HOST_KEY": KEY}, client, folder)


def base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


ADDRESSES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "without a scheme": lambda url: url.partition(":")[2],
    "percent": lambda url: quote(url, safe=""),
    "percent, each letter": lambda url: "".join(f"%{ord(letter):02X}" for letter in url),
    "imgproxy": lambda url: f"https://p.test/insecure/rs:fit:300/{base64url(url)}.webp",
    "imgproxy, cut": lambda url: f"https://p.test/sig/w:9/{'/'.join(re.findall('.{1,16}', base64url(url)))}",
    "imgproxy, plain": lambda url: f"https://p.test/insecure/plain/{quote(url, safe='')}@avif",
    "camo": lambda url: f"https://camo.test/{'ab' * 20}/{url.encode().hex()}",
    "next": lambda url: f"/_next/image?url={quote(url, safe='')}&w=640&q=75",
    "wsrv": lambda url: f"//wsrv.nl/?url={url.partition('//')[2]}&w=300&output=webp",
    "cloudinary": lambda url: f"https://res.cloudinary.test/demo/image/fetch/f_auto/{url}",
    "netlify": lambda url: f"/.netlify/images?w=300&url={quote(url)}",
    "a query": lambda url: f"{url}?w=300#top",
    "another ending": lambda url: url.removesuffix(".png") + ".webp",
}
ESCAPES: dict[str, Callable[[str], str]] = {
    "none": lambda text: f'<img src="{html.escape(text)}">',
    "entities": lambda text: f'<img src="{"".join(f"&#{ord(letter)};" for letter in text)}">',
    "script": lambda text: "<script>var u='" + text.replace("/", r"\u002F").replace("=", r"\x3d") + "'</script>",
    "json": lambda text: (
        f"<script type=application/json>{json.dumps({'u': text}).replace('/', chr(92) + '/')}</script>"
    ),
    "style": lambda text: f"<style>a{{background:url('{text.replace(':', chr(92) + '3a ')}')}}</style>",
    "prose": lambda text: f"<p>{html.escape(text)}</p>",
}


def put(site: Path, name: str, content: str, chance: random.Random) -> None:
    """Write a text into a kept site: as a page, a script, packed, in another encoding, or behind a link."""
    kind = chance.choice(["page", "page", "script", "packed", "utf-16", "linked folder", "linked page", "feed"])
    if kind == "packed":
        write(site, {f"{name}.html.gz": gzip.compress(content.encode())})
    elif kind == "utf-16":
        write(site, {f"{name}.html": content.encode("utf-16")})
    elif kind.startswith("linked"):
        write(site.parent / "elsewhere", {f"{name}/page.html": content})
        link, target = (name, name) if kind == "linked folder" else (f"{name}.html", f"{name}/page.html")
        (site / link).symlink_to(site.parent / "elsewhere" / target)
    else:
        ending = {"page": "html", "script": "js", "feed": "xml"}[kind]
        write(site, {f"deep/{name}.{ending}": content})


class Place:
    """One project of a world: its lock, its kept sites, and what they name."""

    def __init__(self, root: Path, name: str, store: FakeStore, chance: random.Random) -> None:
        self.name, self.lock, self.store = name, root / name / "imghost.lock", store
        names = [f"{name}/{chance.randbytes(32).hex()}.png" for _ in range(chance.randint(4, 9))]
        for path in names:
            store._keep(path, picture(1))
        self.used = set(chance.sample(names, chance.randint(1, len(names) - 1)))
        self.unused = set(names) - self.used
        self.records = [self.record(path) for path in names if chance.random() < 0.8]
        locks.write(self.lock, locks.Lock("fake", tuple(self.records)))
        self.sites = [root / name / f"v{number}" for number in range(chance.randint(1, 3))]
        for at, path in enumerate(sorted(self.used)):
            site = self.sites[at % len(self.sites)]
            address, escape = chance.choice(list(ADDRESSES)), chance.choice(list(ESCAPES))
            write(site, {"index.html": "<p>nothing"})
            put(site, f"p{at}", ESCAPES[escape](ADDRESSES[address](f"{store.url}/{path}")), chance)
        self.sites = [site for site in self.sites if site.exists()]
        if chance.random() < 0.5:  # what is kept may itself be a link
            link = root / name / "current"
            link.symlink_to(self.sites[0])
            self.sites[0] = link

    def record(self, path: str) -> Record:
        digest = path.rpartition("/")[2].partition(".")[0]
        url = f"{self.store.url}/{path}"
        return Record(digest, "fake", url, path.rpartition("/")[2], "", 9, "image/png", 1, 1, NOW - timedelta(days=9))


@pytest.mark.more_in_all
def test_no_image_in_use_is_deleted_and_every_other_is_found(tmp_path: Path, store: FakeStore) -> None:
    worlds = counted("PRUNE_WORLDS", 4, of_all=20)
    deleted = kept = 0
    for seed in range(worlds):
        chance = random.Random(seed)
        root, cache_dir = tmp_path / str(seed), tmp_path / str(seed) / "cache"
        projects = [Place(root, f"w{seed}{name}", store, chance) for name in "abc"]
        with Cache.load(cache_dir) as cache:
            for project in projects:
                for record in project.records:
                    cache.keep(record, project.name)
        for project in projects:
            before = set(store.images)
            with opened(project.lock.parent, store, project.name) as host:
                found = care.find_unused(host, project.sites, timedelta(0), NOW, project.records)
                assert care.delete(host, found.unused, project.lock, cache_dir) == {}  # type: ignore[arg-type]
            assert before - set(store.images) == project.unused, f"world {seed}, project {project.name}"
            left = {record.url for record in locks.read(project.lock).records}
            with Cache.load(cache_dir) as cache:
                left |= {record.url for record in cache.records(project.name)}
            assert left == {it.url for it in project.records} - {f"{store.url}/{path}" for path in project.unused}
            deleted, kept = deleted + len(project.unused), kept + len(project.used)
    tell(f"{worlds} worlds of 3 projects pruned: {deleted} unused images deleted, {kept} in use kept")


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_way_to_name_an_image_is_missed(tmp_path: Path, store: FakeStore, escape: str) -> None:
    used = {address: f"{number:02x}" * 32 for number, address in enumerate(ADDRESSES, 16)}
    for name in (*used.values(), "cd" * 32):
        store._keep(f"p/{name}.png", picture(1))
    for address, name in used.items():
        text = ESCAPES[escape](ADDRESSES[address](f"{store.url}/p/{name}.png"))
        write(tmp_path / "site", {f"{name[:2]}.html": f"<title>t</title>{text}"})
    with opened(tmp_path, store) as host:
        found = care.find_unused(host, [tmp_path / "site"], timedelta(0), NOW, ())
    assert [stored.id for stored in found.unused] == [f"{'cd' * 32}.png"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("page.html.br", b"\x1b\x00", "Brotli"),
        ("page.html.gz", b"\x1f\x8bbroken", "cannot be unpacked"),
        ("page.html", f"<pre>{'Zm9+b/Q9' * 20}</pre><script>decrypt(password)</script>".encode(), "is encrypted"),
        ("app.js", b"u = 'https://p.test/sig/enc/" + b"A-_9" * 16 + b"'", "encrypted addresses"),
    ],
)
def test_what_cannot_be_read_deletes_nothing(
    tmp_path: Path, store: FakeStore, name: str, text: bytes, why: str
) -> None:
    store._keep(f"p/{'ab' * 32}.png", picture(1))
    write(tmp_path / "site", {"index.html": f'<img src="{store.url}/p/{"ab" * 32}.png">', name: text})
    with opened(tmp_path, store) as host, pytest.raises(ImghostError, match=why):
        care.find_unused(host, [tmp_path / "site"], timedelta(0), NOW, ())


@pytest.mark.parametrize("name", ["", " ", "empty", "no-page", "nowhere"])
@pytest.mark.parametrize("command", ["prune", "tidy"])
def test_a_kept_site_that_is_none_is_refused(tmp_path: Path, monkeypatch, capsys, name: str, command: str) -> None:
    """An empty name is the current folder to a system, and a variable that is not set to a script."""
    monkeypatch.chdir(write(tmp_path, {"site/index.html": "<p>", "no-page/a.css": "", "index.html": "<p>"}))
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("IMGPRO_API_KEY", "k" * 40)
    given = ["--host", "img.pro", "--option", "namespace=n"] if command == "prune" else []
    assert main([command, "--keep", "site", "--keep", name, "--yes", *given]) == 2
    assert ("name the built site" in capsys.readouterr().err) is (not name.strip())
