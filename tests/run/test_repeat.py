"""The last run once more: it does what a whole run would have done, and only where nothing that decides has changed."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sites import picture, tree, write

from imghost import files
from imghost.run.job import Job
from imghost.run.rehost import rehost
from imghost.run.repeat import Told, repeat
from imghost.settings import read
from imghost.site import page_map
from imghost.site.images import Origins
from imghost.testing import FakeStore
from imghost.testing.fake import KEY

PAGES = {
    "index.html": '<!doctype html><title>a</title><img src="img/one.png"><p>é</p><a href="img/two.png">two</a>',
    "deep/page.html": '<img src="../img/two.png" alt="x"><img src="../img/one.png"><img src="theme/icon.png">',
    "deep/plain.html": "<p>no image</p>",
    "deep/theme/note.txt": "a text",
    "app.js": "document.title = 'x'",
    "style.css": "p { color: red }",
    "search.json": '{"a": 1}',
    "CNAME": "docs.example.org",
}


@dataclass
class Project:
    """A project whose generator empties the site first, as MkDocs does, or writes what has changed, as Sphinx does."""

    root: Path
    url: str
    empties: bool = True
    pages: dict[str, str | bytes] = field(default_factory=lambda: dict(PAGES))
    raw: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=lambda: {"FAKE_HOST_KEY": KEY})
    days: float = 0.0
    stands: bool = True

    @property
    def site(self) -> Path:
        return self.root / "site"

    @property
    def map(self) -> Path:
        return page_map.location(self.root / "state", self.site)

    def generate(self) -> None:
        """Write the site as the generator does; one page is written in every build."""
        if self.empties:
            page_map.retire(self.map)
            shutil.rmtree(self.site, ignore_errors=True)
        is_known = self.map.exists()
        for path, content in self.pages.items():
            whole = content.encode() if isinstance(content, str) else content
            kept = self.root / "written" / path
            is_same = not self.empties and is_known and kept.exists() and kept.read_bytes() == whole
            if not is_same or path == "index.html" or not (self.site / path).exists():
                write(self.site, {path: whole})
                write(self.root / "written", {path: whole})
        for path in list(tree(self.site)):
            if path not in self.pages and not path.startswith(("img/", "deep/theme/icon")):
                (self.site / path).unlink()
        for source, copy in self.copies().items():
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)

    def copies(self) -> dict[Path, Path]:
        own = {source: self.site / "img" / source.name for source in (self.root / "docs/img").iterdir()}
        return own | {self.root / "theme/icon.png": self.site / "deep/theme/icon.png"}

    def job(self, site: Path | None = None, known: Path | None = None) -> Job:
        site = site or self.site
        sources = {f"img/{source.name}": source for source in (self.root / "docs/img").iterdir()}
        sources["deep/theme/icon.png"] = self.root / "theme/icon.png"
        options = {"api_url": self.url, "project": "p"}
        raw = {"host": "fake", "options": options, "cache_dir": str(self.root / "cache"), **self.raw}
        origins = Origins(
            (self.root / "docs",),
            sources,
            packages=(self.root / "theme",),
            stands_for_copy=self.stands and self.empties,
        )
        return Job(
            site, read(raw, self.root), self.environ, origins, known or self.map, writes_again=True,
            now=lambda: datetime.now(UTC) + timedelta(days=self.days), sleep=lambda _: None,
        )  # fmt: skip

    def build(self) -> tuple[Told, bool]:
        """Build; gives what is told, and whether it was the last run once more."""
        self.generate()
        time.sleep(0.06)  # so that the lock's stamp would change by any change of it
        again = repeat(self.job())
        return (again, True) if again else (rehost(self.job()).told, False)

    def whole(self) -> tuple[Told, dict[str, bytes]]:
        """Say what a whole run makes of a site that is generated anew somewhere else."""
        elsewhere = Project(self.root, self.url, pages=self.pages, raw=self.raw, environ=self.environ, days=self.days)
        site, real = self.root / "elsewhere", self.site
        real.rename(self.root / "kept") if real.exists() else None
        try:
            shutil.rmtree(site, ignore_errors=True)
            known = self.root / "other-state/map.json"
            known.unlink(missing_ok=True)
            kept_map = self.map.read_bytes() if self.map.exists() else None
            elsewhere.generate()
            real.rename(site)
            if kept_map is not None:
                self.map.write_bytes(kept_map)
            return rehost(elsewhere.job(site, known)).told, tree(site)
        finally:
            (self.root / "kept").rename(real)


@pytest.fixture(params=["emptied", "kept"])
def project(request: pytest.FixtureRequest, tmp_path: Path, store: FakeStore) -> Project:
    """A project that was built twice: once with uploads, and once without."""
    write(tmp_path / "docs/img", {"one.png": picture(1), "two.png": picture(2)})
    write(tmp_path / "theme", {"icon.png": picture(3)})
    made = Project(tmp_path, store.url, empties=request.param == "emptied")
    assert made.build()[1] is False
    told, is_again = made.build()
    assert not is_again
    assert not told.notices
    return made


def test_a_run_that_has_nothing_new_is_the_last_one_once_more(project: Project, store: FakeStore) -> None:
    before, asked = tree(project.site), len(store.log)
    told, is_again = project.build()
    assert is_again
    assert tree(project.site) == before
    assert b"img/one.png" not in before["index.html"]
    assert len(store.log) == asked
    whole, pages = project.whole()
    assert told == whole
    assert pages == before


def test_the_map_is_that_of_a_whole_run(project: Project) -> None:
    assert project.build()[1]
    repeated = json.loads(project.map.read_bytes())
    stamps = {path: list(files.stamp(project.site / path) or ()) for path in repeated["pages"]}
    assert {path: row[0] for path, row in repeated["pages"].items()} == stamps
    assert not list(project.map.parent.glob("*.unfinished")) + list(project.map.parent.glob("*.last"))
    project.map.unlink()
    project.generate()
    rehost(project.job())
    anew = json.loads(project.map.read_bytes())
    for found in (repeated, anew):
        for row in found["pages"].values():
            row[0] = 0
        found["scripts"][0] = ""
    assert repeated["pages"] == anew["pages"]
    assert repeated["scripts"] == anew["scripts"]


def test_names_beyond_ascii_are_counted_in_bytes(project: Project) -> None:
    (project.root / "docs/img/one.png").rename(project.root / "docs/img/é.png")
    project.pages["index.html"] = '<img src="img/é.png">'
    project.pages["deep/page.html"] = '<img src="../img/two.png">'
    if not project.empties:
        shutil.rmtree(project.site)
    assert not project.build()[1]
    assert project.build()[1]
    assert b"img/" not in tree(project.site)["index.html"]


MOMENTS: dict[str, Callable[[str], str]] = {
    "a comment": lambda text: text + "<!-- Build Date UTC : 2026-11-29 22:41:25.123456+00:00 -->",
    "text before images": lambda text: "<p>22:41:25</p>" + text,
    "of a script": lambda text: text + "<script>var built = '22:41:25'</script>",
}


@pytest.mark.parametrize("write_moment", MOMENTS.values(), ids=MOMENTS)
def test_a_page_that_says_when_it_was_built_is_scanned_alone(project: Project, write_moment) -> None:
    for path in ("index.html", "deep/plain.html"):
        project.pages[path] = write_moment(str(project.pages[path]))
    assert not project.build()[1]
    for moment in ("22:43:51", "07:00:00"):
        for path in ("index.html", "deep/plain.html"):
            project.pages[path] = str(project.pages[path]).replace("22:41:25", moment).replace("22:43:51", moment)
        told, is_again = project.build()
        assert is_again
        whole, pages = project.whole()
        assert (told, tree(project.site)) == (whole, pages)
        repeated = json.loads(project.map.read_bytes())["pages"]
        for path in ("index.html", "deep/plain.html"):
            assert repeated[path][5] == page_map.digest_of(str(project.pages[path]).encode())
            digest = page_map.digest_of((project.site / path).read_bytes())
            assert repeated[path][1] == (digest if repeated[path][3] else "")
    assert project.build()[1]


@pytest.mark.parametrize(
    "added",
    [
        "<img src=../img/one.png>",
        "<base href=/elsewhere/>",
        "<textarea>",
        "<script>show(img.src.replace('one', 'two'))</script>",
        '<style>img[src$="one.png"] { width: 9px }</style>',
        "<meta http-equiv=Content-Security-Policy content=\"img-src 'self'\">",
        "<b>22:45:03</b>",
    ],
)
def test_a_page_of_the_same_length_in_which_something_else_refers_is_decided_anew(project: Project, added) -> None:
    text = f"<i>2026-11-29 22:41:25</i>{'':80}{PAGES['deep/page.html']}"
    project.pages["deep/page.html"] = text
    assert not project.build()[1]
    assert project.build()[1]
    project.pages["deep/page.html"] = added.ljust(106) + text[106:]
    assert project.build()[1] is ("22:45" in added)
    assert tree(project.site) == project.whole()[1]


def test_no_unreachable_cycles_are_looked_for_meanwhile(project: Project) -> None:
    """A generator that ends short of such a look through its million objects must not be tipped over."""
    project.generate()
    looks: list[str] = []
    thresholds = gc.get_threshold()
    gc.callbacks.append(watch := lambda phase, _: looks.append(phase))
    gc.set_threshold(10)
    try:
        job = project.job()
        looks.clear()
        assert repeat(job)
        seen = len(looks)
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(watch)
    assert seen <= 4
    assert gc.isenabled()


def _same_length(project: Project) -> None:
    project.pages["deep/page.html"] = str(project.pages["deep/page.html"]).replace("img/one.png", "img/two.png")


def _other_length(project: Project) -> None:
    project.pages["deep/plain.html"] = "<p>still no image</p>"


def _new_page(project: Project) -> None:
    project.pages["new.html"] = '<img src="img/one.png">'


def _gone_page(project: Project) -> None:
    del project.pages["deep/page.html"]


def _new_file(project: Project) -> None:
    project.pages["more.txt"] = "more"


def _script(project: Project) -> None:
    project.pages["app.js"] = "document.title = 'y'"


def _style(project: Project) -> None:
    project.pages["style.css"] = "p { color: tan }"


def _headless(project: Project) -> None:
    project.pages["CNAME"] = "<!doctype html><p>a page"


def _image(project: Project) -> None:
    (project.root / "docs/img/one.png").write_bytes(picture(7))


def _touched_image(project: Project) -> None:
    os.utime(project.root / "docs/img/one.png")
    os.utime(project.site / "img/one.png")


def _image_moved_out(project: Project) -> None:
    (project.root / "docs/img").rename(project.root / "outside")
    (project.root / "docs/img").symlink_to(project.root / "outside")


def _setting(project: Project) -> None:
    project.raw["exclude"] = ["img/two.png"]


def _adding(project: Project) -> None:
    project.raw["lazy"] = True


def _report(project: Project) -> None:
    project.raw["report"] = "report.json"


def _removing(project: Project) -> None:
    project.raw["remove_local"] = True


def _environment(project: Project) -> None:
    project.environ["CI"] = "true"


def _no_credential(project: Project) -> None:
    del project.environ["FAKE_HOST_KEY"]


def _lock_line_gone(project: Project) -> None:
    lock = project.root / "imghost.lock"
    lock.write_text("".join(lock.read_text().splitlines(keepends=True)[:-1]))


def _lock_written_again(project: Project) -> None:
    lock = project.root / "imghost.lock"
    lock.write_bytes(lock.read_bytes())


CHANGES: list[Callable[[Project], None]] = [
    _same_length, _other_length, _new_page, _gone_page, _new_file, _script, _style, _headless, _image, _touched_image,
    _image_moved_out, _setting, _adding, _report, _removing, _environment, _no_credential, _lock_line_gone,
    _lock_written_again,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.lstrip("_"))
def test_whatever_a_run_goes_by_is_decided_anew_once_it_has_changed(project: Project, change) -> None:
    assert project.build()[1]
    change(project)
    project.generate()
    before = tree(project.site)
    assert repeat(project.job()) is None
    assert tree(project.site) == before
    told = rehost(project.job()).told
    whole, pages = project.whole()
    assert tree(project.site) == pages
    assert told.summary == whole.summary or change in {_image, _lock_line_gone}


def test_what_scripts_and_tools_read_by_other_names_changes_nothing(project: Project) -> None:
    project.pages["search.json"] = '{"a": 2}'
    project.pages["deep/theme/note.txt"] = "b text"
    project.environ["PWD"] = "/elsewhere"
    assert project.build()[1]


def test_a_record_that_is_due_is_renewed_in_time(tmp_path: Path, store: FakeStore) -> None:
    store.life = timedelta(days=40)
    write(tmp_path / "docs/img", {"one.png": picture(1), "two.png": picture(2)})
    write(tmp_path / "theme", {"icon.png": picture(3)})
    project = Project(tmp_path, store.url, raw={"retention": "40d", "options": {"days": 40}})
    project.raw["options"] = {"api_url": store.url, "project": "p", "days": 40}
    project.build()
    project.build()
    assert project.build()[1]
    project.days = 29.9
    assert project.build()[1]
    project.days = 30.1
    assert not project.build()[1]


def test_a_site_that_warns_is_looked_at_each_time(project: Project) -> None:
    project.pages["deep/page.html"] = '<img src="broken.png">'
    project.pages["deep/broken.png"] = b"no image"
    for _ in range(3):
        told, is_again = project.build()
        assert told.notices
        assert not is_again


def _row(project: Project) -> tuple[Path, dict[str, Any]]:
    known = project.map if project.map.exists() else page_map.last_place(project.map)
    return known, json.loads(known.read_bytes())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found["pages"]["index.html"][3][0].__setitem__(2, "https://evil.test/x.png"),
        lambda found: found["pages"]["index.html"][3][0].__setitem__(2, '"><script>alert(1)</script>'),
        lambda found: found["pages"]["index.html"][3].insert(0, [0, "<!doctype html>", found["pages"]["index.html"][3][0][2]]),
        lambda found: found["pages"]["index.html"][3][0].__setitem__(0, 3),
        lambda found: found["pages"]["index.html"][3].reverse(),
        lambda found: found["pages"]["index.html"].__setitem__(3, "text"),
        lambda found: found["again"].pop("names"),
        lambda found: found["again"]["images"].clear(),
        lambda found: found["again"].__setitem__("until", "soon"),
        lambda found: found.__setitem__("again", [1]),
        lambda found: found.__setitem__("imghost_pages", 6),
    ],
)  # fmt: skip
def test_a_map_that_a_stranger_has_changed_puts_nothing_into_a_page(project: Project, spoil) -> None:
    project.generate()
    known, found = _row(project)
    spoil(found)
    known.write_text(json.dumps(found))
    before = tree(project.site)
    assert repeat(project.job()) is None
    assert tree(project.site) == before
    rehost(project.job())
    assert tree(project.site) == project.whole()[1]


def test_a_page_that_changes_under_the_run_is_left_to_a_whole_one(project: Project, monkeypatch) -> None:
    project.generate()
    real = page_map.set_aside

    def slow(path: Path | None) -> None:
        real(path)
        (project.site / "index.html").write_text('<p>other<img src="img/two.png">')

    monkeypatch.setattr(page_map, "set_aside", slow)  # the moment between the look and the write
    assert repeat(project.job()) is None
    assert (project.site / "index.html").read_text() == '<p>other<img src="img/two.png">'


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_changes_and_builds_gives_what_whole_runs_give(tmp_path: Path, store: FakeStore, seed) -> None:
    chance = random.Random(seed)
    write(tmp_path / "docs/img", {"one.png": picture(1), "two.png": picture(2)})
    write(tmp_path / "theme", {"icon.png": picture(3)})
    project = Project(tmp_path, store.url, empties=bool(seed % 2))
    undoing = {
        _setting: lambda: project.raw.pop("exclude", None),
        _environment: lambda: project.environ.pop("CI", None),
    }
    texts = (
        '<img src="{up}img/one.png">', '<img src="{up}img/two.png?v=1">', "<img src={up}img/one.png>", "<p>none",
        '<p style="background: url({up}img/two.png)">', '<img srcset="{up}img/one.png 1x, {up}img/two.png 2x">',
    )  # fmt: skip
    repeated = 0
    for _ in range(14):
        step = chance.randrange(6)
        if step == 0:
            page = chance.choice(["index.html", "deep/page.html", "new.html"])
            up = "../" * page.count("/")
            project.pages[page] = "".join(chance.choices(texts, k=3)).replace("{up}", up)
        elif step == 1:
            change = chance.choice([_script, _style, _image, _touched_image, _setting, _environment])
            if change is not _touched_image or project.site.exists():
                change(project)
        elif step == 3:
            text = str(project.pages["index.html"]).partition("<!--")[0]
            project.pages["index.html"] = f"{text}<!-- built at {chance.randrange(10)} o'clock -->"
        elif step == 2:
            for undo in undoing.values():
                undo()
        told, is_again = project.build()
        repeated += is_again
        whole, pages = project.whole()
        assert tree(project.site) == pages
        if is_again:
            assert told == whole
    assert repeated
