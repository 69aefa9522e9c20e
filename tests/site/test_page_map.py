"""What the map of pages remembers saves time, and is never believed against a page's own text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sites import picture, tree, write

from imghost import Job, Settings, rehost, version
from imghost.models import Reference, Scan
from imghost.run import local_copies
from imghost.run.care import restore
from imghost.site import page_map
from imghost.site.dependents import read_scripts
from imghost.site.images import Origins
from imghost.site.page_map import PageEntry, PageMap, Scripts
from imghost.site.survey import survey

PAGE = '<!doctype html>\n<p>images/0.png images/1.png</p><img src="images/0.png"><a href="images/1.png">one</a>\n'
BELOW = '<base href="../"><img src="images/0.png"><img src="images/1&#46;png"><img src=images/1.png>\n'
PLAIN = "<!doctype html>\n<p>nothing</p>\n"

_RUN = """
import sys
from pathlib import Path
from test_page_map import job
from imghost import rehost
made = rehost(job(Path(sys.argv[1])))
print(made.report.counts.references_rewritten, "scanned" if "imghost.html.scan" in sys.modules else "remembered")
print("understood" if "imghost.html.uses" in sys.modules else "known", file=sys.stderr)
"""


def job(folder: Path) -> Job:
    settings = Settings(host="directory", folder=folder, cache_dir=folder / "cache", lock=folder / "imghost.lock")
    return Job(folder / "site", settings, {}, Origins(is_own_source=True), folder / "cache" / "map.json")


def generated(folder: Path, **pages: str) -> Path:
    """Write a site as a generator does that empties it first."""
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    page_map.retire(folder / "cache" / "map.json")
    files = {"index.html": PAGE, "below/index.html": BELOW, "plain.html": PLAIN}
    images = {f"images/{number}.png": picture(number) for number in range(2)}
    return write(folder / "site", files | {f"{name}.html": text for name, text in pages.items()} | images)


def run(folder: Path) -> tuple[str, str]:
    """Rehost in a new process; gives what was rewritten, whether a page was scanned, and whether a script was read."""
    here = Path(__file__)
    env = {"PYTHONPATH": os.pathsep.join(map(str, (here.parent, here.parents[1], here.parents[1] / "support")))}
    done = subprocess.run([sys.executable, "-c", _RUN, folder], capture_output=True, text=True, env=env, check=True)
    return done.stdout.strip(), done.stderr.strip()


def said(folder: Path) -> str:
    """Rehost in a new process; gives what was rewritten, and whether a page was scanned."""
    return run(folder)[0]


def clean(folder: Path, **pages: str) -> dict[str, bytes]:
    """Give the pages of a site that was rehosted with nothing remembered."""
    generated(folder, **pages)
    rehost(job(folder))
    return tree(folder / "site", ".html")


def test_pages_that_the_generator_writes_again_the_same_are_not_scanned(tmp_path: Path) -> None:
    """A site that is emptied and built again costs a digest a page, and comes out the same."""
    generated(tmp_path, index=PAGE, below=PLAIN)
    (tmp_path / "site/below/index.html").write_text('<img src="../images/1.png">')
    assert said(tmp_path) == "3 scanned"
    before = tree(tmp_path / "site", ".html")
    generated(tmp_path, index=PAGE, below=PLAIN)
    (tmp_path / "site/below/index.html").write_text('<img src="../images/1.png">')
    assert said(tmp_path) == "3 remembered"
    assert tree(tmp_path / "site", ".html") == before


ESCAPED = (
    '<img src="https://img.shields.io/pypi/v/x.svg?logo=pypi&amp;label=x"><img src="images/1.png">',
    '<img src="images/1&#46;png?a=1&copy=2"><img src=images/0&period;png>',
    "<img srcset='images/0&#x2e;png 1x, images/1.png 2x' src='images/0.png#a&amp;b'>",
)


@pytest.mark.parametrize("page", ESCAPED)
def test_a_page_with_escaped_urls_is_remembered(page: str, tmp_path: Path) -> None:
    """The addresses of badges have an ampersand, and most projects' first page has badges."""
    generated(tmp_path, index=page, **{"below/index": PLAIN})
    assert said(tmp_path).endswith("scanned")
    before = tree(tmp_path / "site", ".html")
    generated(tmp_path, index=page, **{"below/index": PLAIN})
    assert said(tmp_path).endswith("remembered")
    assert tree(tmp_path / "site", ".html") == before


@pytest.mark.parametrize(
    ("page", "url"),
    [
        ('<img src="images/0.png?a&amp;b">', "images/1.png?a&b"),  # it does not stand there
        ("<style>p { background: url(images/0&#46;png) } </style>", "images/0.png"),  # no attribute, so no escape
        ('<p style="background: url(images/0\\26 .png)">', "images/0&.png"),
    ],
)
def test_an_escaped_url_is_believed_only_as_a_browser_reads_it(page: str, url: str, tmp_path: Path) -> None:
    wanted = clean(tmp_path, index=page)
    generated(tmp_path, index=page)
    place = tmp_path / "cache" / "map.last"
    found = json.loads(place.read_text())
    found["pages"]["index.html"][2][0][0][3] = url
    place.write_text(json.dumps(found))
    assert said(tmp_path).endswith("scanned")
    assert tree(tmp_path / "site", ".html") == wanted


def test_a_page_in_which_only_an_image_changed_is_remembered_too(tmp_path: Path) -> None:
    """It follows the image, and what its generator wrote is still known of it."""
    before = clean(tmp_path)
    write(tmp_path / "site", {"images/0.png": picture(7)})
    rehost(job(tmp_path))
    assert tree(tmp_path / "site", ".html")["index.html"] != before["index.html"]
    found = json.loads((tmp_path / "cache" / "map.json").read_text())["pages"]["index.html"]
    assert found[5] == page_map.digest_of(PAGE.encode())


def test_a_page_that_came_out_otherwise_is_scanned(tmp_path: Path) -> None:
    before = clean(tmp_path)
    generated(tmp_path, index=PAGE.replace("images/0.png", "images/1.png"))
    assert said(tmp_path).endswith("scanned")
    after = tree(tmp_path / "site", ".html")
    assert after["index.html"] != before["index.html"]
    assert after == clean(tmp_path / "other", index=PAGE.replace("images/0.png", "images/1.png"))


def test_a_page_is_scanned_for_other_kinds_than_those_that_were_asked_for(tmp_path: Path) -> None:
    generated(tmp_path)
    first = job(tmp_path)
    only = replace(first, settings=replace(first.settings, references=frozenset({"link"})))
    assert rehost(only).report.counts.references_rewritten == 1
    generated(tmp_path)
    assert rehost(first).report.counts.references_rewritten == 5


def test_what_was_removed_or_undone_in_a_site_that_is_emptied_is_forgotten(tmp_path: Path) -> None:
    """Only what pages say is kept of the old site: nothing tells of copies that are there again."""
    clean(tmp_path)
    place = tmp_path / "cache" / "map.json"
    page_map.retire(place)
    mark = json.loads(place.with_suffix(".last").read_text())["mark"]
    known = page_map.load(place, mark)
    assert (known.removed, known.hosted, len(known.pages)) == ({}, (), 3)
    assert all(entry.origin and not entry.digest and not entry.changes for entry in known.pages.values())
    assert not page_map.load(place, "another").pages


RENAMES = 'for (const one of document.images) one.src = one.src.replace("0.png", "1.png")'
"""A script by which an image is shown in another's place."""
HARMLESS = RENAMES.replace("0.png", "7.png")
STYLES = 'img[src$="1.png"] { width: 20px } .x { background: url(images/0.png) }'


@pytest.mark.parametrize("is_emptied", [True, False])
def test_scripts_that_are_as_they_were_are_not_understood_again(tmp_path: Path, is_emptied: bool) -> None:
    """A theme's scripts are the largest files of many sites; what they do is remembered by their bytes, or stamps."""
    code = {"theme/a.js": RENAMES, "theme/a.css": STYLES}
    generated(tmp_path)
    write(tmp_path / "site", code | {"below/index.html": PLAIN})
    first = run(tmp_path)
    assert first[1] == "understood"
    before = tree(tmp_path / "site", ".html")
    if is_emptied:
        generated(tmp_path)
        write(tmp_path / "site", code | {"below/index.html": PLAIN})
    assert run(tmp_path) == (f"{first[0].split()[0]} remembered", "known")
    assert tree(tmp_path / "site", ".html") == before


def test_what_another_version_understood_of_scripts_is_understood_anew(tmp_path: Path) -> None:
    generated(tmp_path)
    write(tmp_path / "site", {"a.js": RENAMES, "below/index.html": PLAIN})
    assert run(tmp_path)[1] == "understood"
    assert run(tmp_path)[1] == "known"
    place = tmp_path / "cache" / "map.json"
    poisoned(tmp_path, mark=json.loads(place.read_text())["mark"].replace(version(), "0.0.1"))
    assert run(tmp_path)[1] == "understood"


@pytest.mark.parametrize(
    ("then", "now"),
    [
        pytest.param({"a.js": HARMLESS}, {"a.js": RENAMES}, id="a script"),
        pytest.param({"a.js": RENAMES}, {"a.js": HARMLESS}, id="a script that asks for less"),
        pytest.param({}, {"a.js": RENAMES}, id="a new script"),
        pytest.param({"a.js": RENAMES}, {}, id="a script that is gone"),
        pytest.param({"a.txt": RENAMES}, {"a.js": RENAMES}, id="a name"),
        pytest.param({"a.css": STYLES.replace("1.png", "7.png")}, {"a.css": STYLES}, id="a style sheet"),
    ],
)
@pytest.mark.parametrize("is_emptied", [True, False])
def test_scripts_that_changed_are_understood_anew(
    tmp_path: Path, then: dict[str, str], now: dict[str, str], is_emptied: bool
) -> None:
    """The pages come out as those of a site that nobody remembers; a script may keep its size, and its place."""
    generated(tmp_path)
    write(tmp_path / "site", then)
    rehost(job(tmp_path))
    if is_emptied:
        generated(tmp_path)
    for gone in then.keys() - now.keys():
        (tmp_path / "site" / gone).unlink(missing_ok=True)
    write(tmp_path / "site", now)
    rehost(job(tmp_path))
    generated(tmp_path / "clean")
    write(tmp_path / "clean" / "site", now)
    rehost(job(tmp_path / "clean"))
    assert tree(tmp_path / "site", ".html") == tree(tmp_path / "clean" / "site", ".html")


OPENED = """
import sys
from pathlib import Path
from imghost.site.dependents import read_scripts
from imghost.site.page_map import PageEntry, PageMap, Scripts
from imghost.site.survey import survey

opened = []
sys.addaudithook(lambda event, told: opened.append(str(told[0])) if event == "open" else None)
found, last = survey(Path(sys.argv[1])), Scripts()
for number in range(3):
    last = read_scripts(found, last)
    print(sum(path.endswith((".js", ".css")) for path in opened))
    if number == 1:
        (found.root / "a.js").write_text("one.src = 'other'")
    opened.clear()
"""


def test_what_nobody_has_understood_is_read_once_and_what_is_as_it_was_not_at_all(tmp_path: Path) -> None:
    """Scripts that others have taken the place of are known by their bytes first, and then understood."""
    write(tmp_path, {"a.js": RENAMES, "b.js": HARMLESS, "a.css": STYLES})
    time.sleep(0.1)  # until a change would give another stamp
    done = subprocess.run([sys.executable, "-c", OPENED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "0", "6"]


@pytest.mark.parametrize("name", sorted({*page_map.HEADERS, "Caddyfile", "A.JS", "theme.CSS"}))
def test_what_servers_choose_headers_by_is_read_whatever_letters_its_name_has(name: str) -> None:
    """A repeated run knows a site by the bytes of these files: a policy that is new in one must be seen."""
    assert page_map.read_for_scripts(["b.png", f"deep/{name}", name]) == sorted([f"deep/{name}", name])


@pytest.mark.parametrize("name", ["a.js", "sub/a.css", "_headers"])
def test_a_file_that_may_change_within_the_same_tick_is_not_known_by_its_stamp(name: str, tmp_path: Path) -> None:
    """File systems count time in steps, and a change within one leaves a stamp as it was."""
    write(tmp_path, {"old.js": RENAMES, "old.css": STYLES})
    time.sleep(0.1)
    write(tmp_path, {name: "one"})
    found = survey(tmp_path)
    first = read_scripts(found, Scripts())
    assert (bool(first.digest), first.stamps) == (True, "")
    assert read_scripts(found, first).digest == first.digest
    write(tmp_path, {name: "two"})
    then = read_scripts(found, first)
    assert then.digest != first.digest
    time.sleep(0.1)
    assert read_scripts(found, then).stamps


@pytest.mark.parametrize(
    "scripts",
    [
        pytest.param(None, id="nothing"),
        pytest.param(["", "", [], [], []], id="too little"),
        pytest.param(["", 5, [], [], [], []], id="a number for a digest"),
        pytest.param(["", "", [5], [], [], []], id="a number for a literal"),
        pytest.param(["", "", [], [], [["src", "$=", 5, False]], []], id="a number in a selector"),
    ],
)
def test_a_map_that_tells_of_scripts_in_another_way_is_no_map(tmp_path: Path, scripts: object) -> None:
    clean(tmp_path)
    poisoned(tmp_path, scripts=scripts)
    assert page_map.load(tmp_path / "cache" / "map.json") == page_map.PageMap()


def _moved(reference: list[Any]) -> None:
    """Name the same words where they are only text."""
    at = PAGE.index("images/")
    reference[1:3] = [at, at + len("images/0.png")]


def _elsewhere(reference: list[Any]) -> None:
    reference[1:3] = [0, 15]


def _longer(reference: list[Any]) -> None:
    reference[3] = "images/0.png?"


def _of_texts(reference: list[Any]) -> None:
    reference[1:3] = ["1", "2"]


def _short(reference: list[Any]) -> None:
    reference.pop()


@pytest.mark.parametrize("change", [_elsewhere, _longer, _of_texts, _short])
def test_a_map_that_somebody_changed_changes_no_page(change: Callable[[list[Any]], None], tmp_path: Path) -> None:
    """What stands in the page decides: a span that does not hold its URL has the page scanned again."""
    wanted = clean(tmp_path)
    generated(tmp_path)
    place = tmp_path / "cache" / "map.last"
    found = json.loads(place.read_text())
    change(found["pages"]["index.html"][2][0][0])
    place.write_text(json.dumps(found))
    rehost(job(tmp_path))
    assert tree(tmp_path / "site", ".html") == wanted


def test_a_map_that_somebody_changed_puts_nothing_but_hosted_urls_into_pages(tmp_path: Path) -> None:
    """Whoever can write the local store can at most have a page's own words replaced by the image's address."""
    wanted = clean(tmp_path)
    generated(tmp_path)
    place = tmp_path / "cache" / "map.last"
    found = json.loads(place.read_text())
    entry = found["pages"]["index.html"]
    entry[3] = [[0, "<!doctype html>", "<script>alert(1)</script>"]]
    _moved(entry[2][0][0])
    place.write_text(json.dumps(found))
    rehost(job(tmp_path))
    page = tree(tmp_path / "site", ".html")["index.html"]
    url = wanted["index.html"].split(b'src="')[1].split(b'"')[0]
    assert page == wanted["index.html"].replace(url, b"images/0.png").replace(b"<p>images/0.png", b"<p>" + url)


@pytest.mark.parametrize(("written", "is_saved"), [([], False), (["plain.html"], False), (["index.html"], True)])
def test_a_map_is_written_where_a_rewritten_page_is_new(written: list[str], is_saved: bool, tmp_path: Path) -> None:
    """A page without images that is written again just the same is worth no new map."""
    clean(tmp_path)
    place = tmp_path / "cache" / "map.json"
    before = place.stat()
    for name in written:
        page = tmp_path / "site" / name
        page.write_bytes(page.read_bytes())
    rehost(job(tmp_path))
    after = place.stat()
    assert ((after.st_mtime_ns, after.st_ino) != (before.st_mtime_ns, before.st_ino)) == is_saved


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1250])
def test_a_map_is_written_in_pieces_as_it_would_be_in_one(count: int, tmp_path: Path) -> None:
    """However many pages there are, and whatever their names: the text of all of them is never in memory."""
    scan = Scan((Reference("img", 3, 7, 'a "é".png', '"'),), policies=("img-src 'self'",))
    entry = PageEntry((1, 2, 3), "d", scan, ((3, "a", "https://host.example/b"),), "w", "o")
    pages = {f"{number}/{{}},\ud800.html": entry for number in range(count)}
    known = PageMap("mark", pages, again={"names": "n", "pages": {}})
    page_map.save(tmp_path / "map.json", known)
    told = {"imghost_pages": page_map.VERSION} | known._asdict() | {"removed": {}, "again": {"names": "n", "pages": {}}}
    assert (tmp_path / "map.json").read_text("ascii") == json.dumps(told, separators=(",", ":"))
    assert page_map.load(tmp_path / "map.json") == known


@pytest.mark.parametrize("indent", [None, 1])
def test_other_rows_are_written_into_a_map_as_if_all_of_it_were_written(indent: int | None, tmp_path: Path) -> None:
    """However it was written, and whatever else it tells of files with the names of pages."""
    row: list[Any] = [[1, 2, 3], "digest", [[], None, []], [], "", ""]
    names = ["a.html", 'b"\ud800.html', "c.html", "images/a.html"]
    known = {"imghost_pages": 7, "again": {"sizes": dict.fromkeys(names, 1)}, "pages": {name: [*row] for name in names}}
    text = json.dumps(known, indent=indent, separators=(",", ":")).encode()
    before = {name: [*one] for name, one in known["pages"].items()}
    for name in names[1:3]:
        known["pages"][name][0] = (4, 5, 6)
    known["pages"][names[2]][5] = "another"
    page_map.save_rows(tmp_path / "rows.json", known)
    page_map.save_again(tmp_path / "again.json", text, known, before)
    written = json.loads((tmp_path / "again.json").read_bytes())
    assert [written["pages"][name][0] for name in names] == [[1, 2, 3], [4, 5, 6], [4, 5, 6], [1, 2, 3]]
    assert [written["pages"][name][5] for name in names] == ["", "", "another", ""]
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "rows.json").read_bytes()


SCRIPT = '<!doctype html>\n<script>const here = "images/0.png"</script><img src="images/0.png">\n'
INJECTED = [
    pytest.param([[15, "<script>evil()</script>", ""]], id="a tag"),
    pytest.param([[SCRIPT.index("const"), "evil(); ", ""]], id="in a script"),
    pytest.param([[SCRIPT.index("const"), "fetch(0)", "const he"]], id="in place of a script's text"),
    pytest.param([[SCRIPT.rindex("images"), 'images/1.png" onload="evil()', "images/0.png"]], id="an attribute"),
]


def poisoned(folder: Path, **changes: Any) -> None:
    """Change the map as a stranger would who knows the site."""
    file = folder / "cache" / "map.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("changes", INJECTED)
def test_a_map_puts_nothing_into_a_page_but_urls_where_urls_are(tmp_path: Path, changes: list[Any]) -> None:
    """A map from a poisoned cache whose digest is that of a page as it is generated."""
    expected = clean(tmp_path / "clean", index=SCRIPT)
    folder = tmp_path / "poisoned"
    clean(folder, index=SCRIPT)
    site = generated(folder, index=SCRIPT)
    (folder / "cache" / "map.last").rename(folder / "cache" / "map.json")
    known = json.loads((folder / "cache" / "map.json").read_text())
    known["pages"]["index.html"] = [
        *([0, 0, 0], page_map.digest_of(SCRIPT.encode()), [[], None, []], changes, "wanted", ""),
    ]
    poisoned(folder, pages=known["pages"])
    assert page_map.load(folder / "cache" / "map.json", known["mark"]).pages["index.html"].changes
    rehost(job(folder))
    assert (site / "index.html").read_bytes() == expected["index.html"]


def removed(source: Path, content: bytes) -> list[Any]:
    return [str(source), page_map.digest_of(content), len(content), "image/png", 40, 30, False, False]


@pytest.mark.parametrize(
    "path", ["../evil.png", "/{outside}/evil.png", "linked/evil.png", "a/../../evil.png", "evil.html", "a\0.png", ""]
)
def test_a_map_copies_nothing_out_of_the_site_and_no_page_into_it(tmp_path: Path, path: str) -> None:
    folder, outside, mine = tmp_path / "here", tmp_path / "outside", tmp_path / "mine.png"
    clean(folder)
    outside.mkdir()
    mine.write_bytes(picture(7))
    (folder / "site" / "linked").symlink_to(outside)
    path = path.replace("{outside}", str(outside))
    poisoned(folder, removed={path: removed(mine, picture(7))})
    before = tree(tmp_path)
    known = page_map.load(folder / "cache" / "map.json", page_map.load(folder / "cache" / "map.json", "").mark)
    local_copies.put_back(folder / "site", known.removed, known.removed)
    assert tree(tmp_path) == before
    rehost(job(folder))
    assert not [name for name in tree(tmp_path).keys() - before.keys() if "evil" in name]


@pytest.mark.parametrize("secret", [b"not an image", picture(8)])
def test_restoring_copies_only_the_image_that_was_removed(tmp_path: Path, secret: bytes) -> None:
    folder, file = tmp_path / "here", tmp_path / "secret.png"
    clean(folder)
    file.write_bytes(secret)
    poisoned(folder, removed={"a.png": removed(file, picture(9))})
    known = page_map.load(folder / "cache" / "map.json", "")
    assert "a.png" in known.removed
    restoring = restore(folder / "site", known, (), Settings(folder=folder))
    assert not (folder / "site" / "a.png").exists()
    assert not restoring.left
    file.write_bytes(picture(9))
    restore(folder / "site", known, (), Settings(folder=folder))
    assert (folder / "site" / "a.png").read_bytes() == picture(9)


@pytest.mark.parametrize("path", ["CNAME.txt", "robots.txt", "../outside.png", "plain.html"])
def test_a_map_has_nothing_deleted_but_images_of_the_site(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "here"
    clean(folder)
    write(folder / "site", {"CNAME.txt": "docs.example.org", "robots.txt": "", "../outside.png": picture(5)})
    poisoned(folder, hosted=[path])
    rehost(job(folder))
    assert (folder / "site" / path).exists()
