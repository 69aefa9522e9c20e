"""The Python-Markdown extension: images from the lock, in any text, without the network."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from hypothesis import given
from hypothesis import strategies as st
from markdown import markdown
from sites import image_urls, picture, write

from imghost.errors import LockError, SettingsError
from imghost.files import is_settled
from imghost.markdown import ImghostExtension
from imghost.models import Record
from imghost.records import lock as locks

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC).replace(microsecond=0)
HOSTED = "https://src.img.pro/t/"


def record(seed: int, name: str, **more: object) -> Record:
    """Make the record of a drawn picture."""
    raw = picture(seed)
    fields: dict[str, object] = {
        "sha256": hashlib.sha256(raw).hexdigest(),
        "host": "img.pro",
        "url": f"{HOSTED}{name}.png",
        "id": name,
        "variant": "",
        "bytes": len(raw),
        "media_type": "image/png",
        "width": 40,
        "height": 30,
        "uploaded": NOW - timedelta(days=1),
    }
    return Record(**(fields | more))  # type: ignore[arg-type]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Give a folder with texts' images and a lock that knows two of them."""
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path,
        {
            "docs/images/one.png": picture(1),
            "docs/deep/two.png": picture(2),
            "docs/deep/er/here.png": picture(1),
            "docs/images/new.png": picture(9),
            "docs/a/same.png": picture(1),
            "docs/b/same.png": picture(1),
            "docs/a/doubt.png": picture(1),
            "docs/b/doubt.png": picture(2),
        },
    )
    keep(tmp_path, record(1, "one"), record(2, "two"))
    return tmp_path


def keep(project: Path, *records: Record, host: str | None = "img.pro") -> None:
    locks.write(project / "imghost.lock", locks.Lock(host, records))


def html(text: str, **chosen: object) -> str:
    return markdown(text, extensions=[ImghostExtension(**chosen), "fenced_code", "md_in_html"])


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("![a](images/one.png)", '<p><img alt="a" src="https://src.img.pro/t/one.png" /></p>'),
        ("![a](../../images/one.png)", '<p><img alt="a" src="https://src.img.pro/t/one.png" /></p>'),
        ("![a](two.png)", '<p><img alt="a" src="https://src.img.pro/t/two.png" /></p>'),
        ("![a](/images/one.png)", '<p><img alt="a" src="https://src.img.pro/t/one.png" /></p>'),
        ("![a](a/same.png#only-dark)", '<p><img alt="a" src="https://src.img.pro/t/one.png#only-dark" /></p>'),
        ("![a](same.png)", '<p><img alt="a" src="https://src.img.pro/t/one.png" /></p>'),
        ("<img src=one.png>", "<p><img src=https://src.img.pro/t/one.png></p>"),
        (
            "[![a](one.png)](images/one.png)",
            '<p><a href="https://src.img.pro/t/one.png"><img alt="a" src="https://src.img.pro/t/one.png" /></a></p>',
        ),
    ],
)
def test_what_the_lock_knows_comes_from_the_host(project, text, written):
    assert html(text) == written


@pytest.mark.parametrize(
    "text",
    [
        "![not in the lock](images/new.png)",
        "![two files with this name, of different bytes](doubt.png)",
        "![below the root, not in it](/two.png)",
        "![elsewhere](https://x.test/images/one.png)",
        "![no file](images/none.png)",
        "![half of a name](ne.png)",
        "`<img src='one.png'>`\n\n```html\n<img src='one.png'>\n```",
        '<img src="one.png" data-imghost="off">',
        '<img src="one.png" class="no-imghost">',
        "<!-- <img src='one.png'> -->",
        '<picture><source srcset="new.png"><img src="one.png"></picture>',
    ],
)
def test_everything_else_stays_as_it_is(project, text):
    assert html(text) == markdown(text, extensions=["fenced_code", "md_in_html"])


def test_with_a_page_a_reference_means_what_it_means_there(project):
    url = '<p><img alt="" src="https://src.img.pro/t/{}.png" /></p>'
    assert html("![](../b/doubt.png)", page="a/index.html") == url.format("two")
    assert html("![](doubt.png)", page="a/index.html") == url.format("one")
    assert html("![](one.png)", page="a/index.html") == '<p><img alt="" src="one.png" /></p>'


def test_a_link_out_of_the_docs_folder_is_not_followed(project):
    (project / "docs/images/out.png").symlink_to(write(project, {"secret.png": picture(1)}) / "secret.png")
    assert html("![](out.png)") == '<p><img alt="" src="out.png" /></p>'


@pytest.mark.parametrize(
    "kept",
    [
        [record(1, "one", expires=NOW - timedelta(seconds=1))],
        [record(1, "one", host="img402")],
        [record(1, "one", url="https://img.pro/one")],
        [record(1, "one", variant="import")],
    ],
    ids=["expired", "of another host", "no image of the host", "of an import"],
)
def test_a_record_that_does_not_count_is_not_used(project, kept):
    keep(project, *kept)
    assert html("![](one.png)") == '<p><img alt="" src="one.png" /></p>'


def test_of_several_variants_the_one_uploaded_last_counts(project):
    keep(project, record(1, "z", variant="strip"), record(1, "a", variant="edge20", uploaded=NOW))
    assert image_urls(html("![](one.png)").replace('alt="" ', "").encode()) == [f"{HOSTED}a.png"]


def test_without_a_lock_or_a_host_in_it_nothing_happens(project):
    keep(project, record(1, "one"), host=None)
    assert "one.png" in html("![](images/one.png)")
    (project / "imghost.lock").unlink()
    assert html("![](images/one.png)") == '<p><img alt="" src="images/one.png" /></p>'


def test_a_changed_lock_or_image_counts_at_once(project):
    assert f"{HOSTED}one.png" in html("![](images/one.png)")
    write(project, {"docs/images/one.png": picture(9, size=(41, 30))})
    assert html("![](images/one.png)") == '<p><img alt="" src="images/one.png" /></p>'
    write(project, {"docs/images/later.png": picture(2)})
    keep(project, record(1, "one"), record(2, "second-time"))
    assert f"{HOSTED}second-time.png" in html("![](images/later.png)")


def test_a_broken_lock_is_an_error_that_names_the_line(project):
    write(project, {"imghost.lock": '{"imghost_lock": 1, "host": "img.pro"}\nbroken\n'})
    with pytest.raises(LockError, match="line 2"):
        html("![](one.png)")


def test_an_option_that_the_host_does_not_take_is_an_error(project):
    with pytest.raises(SettingsError, match="did you mean 'namespace'"):
        html("![](one.png)", options={"namespaec": "x"})


def test_the_declared_entry_point_is_the_extension():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    (name, value), *more = declared["markdown.extensions"].items()
    assert (name, more) == ("imghost", [])
    assert EntryPoint(name, value, "markdown.extensions").load() is ImghostExtension


@pytest.mark.long
def test_nothing_else_of_the_core_imports_markdown():
    for file in sorted((ROOT / "imghost").rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        uses = {name for name in names if name.partition(".")[0] == "markdown" or name == "imghost.markdown"}
        assert not uses or file.name == "markdown.py", file


CONFIG = """
site_name: Small
markdown_extensions:
  - imghost.markdown:
      options: {{api_url: "{api_url}"}}
{plugins}
"""


def test_mkdocs_without_the_plugin_shows_what_a_build_with_it_has_uploaded(tmp_path):
    """The page is known there, so the same name in two folders is no doubt."""
    with ImgPro("images") as host:
        plugin = f"plugins:\n  - imghost:\n      host: img.pro\n      options: {{api_url: '{host.api_url}'}}\n"
        write(
            tmp_path,
            {
                "mkdocs.yml": CONFIG.format(api_url=host.api_url, plugins=plugin),
                "docs/index.md": "![one](img/x.png)\n",
                "docs/deep/page.md": '![two](img/x.png)\n\n<img alt="two" src="../img/x.png">\n',
                "docs/img/x.png": picture(1),
                "docs/deep/img/x.png": picture(2),
            },
        )
        build(tmp_path, IMGPRO_API_KEY=VERIFIED)
        pages = [tmp_path / "site/index.html", tmp_path / "site/deep/page/index.html"]
        rehosted = [page.read_bytes() for page in pages]
        asked = len(host.server.requests())
        write(tmp_path, {"mkdocs.yml": CONFIG.format(api_url=host.api_url, plugins="plugins: []\n")})
        build(tmp_path)
        assert len(host.server.requests()) == asked
        shown = [[url for url in image_urls(page.read_bytes()) if "favicon" not in url] for page in pages]
    assert shown == [[url for url in image_urls(page) if "favicon" not in url] for page in rehosted]
    assert [len(urls) for urls in shown] == [1, 2]
    assert len({url for urls in shown for url in urls}) == 2
    assert all(url.startswith("http://127.0.0.1") for urls in shown for url in urls)


def build(folder: Path, **environ: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q"],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def chosen(tmp_path_factory) -> dict[str, str]:
    """Give the options for one image that the lock knows, wherever the tests run."""
    folder = tmp_path_factory.mktemp("any")
    write(folder, {"docs/one.png": picture(1)})
    keep(folder, record(1, "one"))
    return {"lock": str(folder / "imghost.lock"), "docs": str(folder / "docs")}


TEXT = st.text("ab1 \n*_#>-![]()&\"'.:", max_size=60)


@given(before=TEXT, after=TEXT)
def test_around_an_image_nothing_else_changes(chosen, before, after):
    text = f"{before}\n\n![x](one.png)\n\n{after}"
    plain = markdown(text, extensions=["fenced_code", "md_in_html"])
    assert 'src="one.png"' in plain
    assert html(text, **chosen) == plain.replace('src="one.png"', f'src="{HOSTED}one.png"')


@given(st.text(max_size=80))
def test_a_text_without_the_image_stays_whatever_it_is(chosen, text):
    assert html(text, **chosen) == markdown(text, extensions=["fenced_code", "md_in_html"])


class TestLargeLock:
    """A lock of many other images: searched for those of the text."""

    @pytest.fixture
    def large(self, project: Path) -> Path:
        lock = project / "imghost.lock"
        header, *lines = lock.read_text().splitlines()
        url = record(1, "one").url
        for number in range(20_000):
            name = hashlib.sha256(b"%d" % number).hexdigest()
            lines.append(lines[0].replace(lines[0][12:76], name).replace(url, f"{url}?{number}"))
        lock.write_text("\n".join([header, *sorted(lines), ""]))
        while not is_settled(lock.stat()):
            time.sleep(0.01)  # one that was written this moment may change unseen, and is looked at again
        return lock

    def test_each_text_reads_what_it_shows(self, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[int] = []
        usual = os.pread

        def counting(file: int, length: int, at: int) -> bytes:
            read.append(length)
            return usual(file, length, at)

        monkeypatch.setattr(locks, "parse", None)
        hosted = '<p><img alt="a" src="https://src.img.pro/t/{}.png" /></p>'
        assert html("![a](images/one.png)") == hosted.format("one")
        monkeypatch.setattr(locks, "_Sorter", None)
        monkeypatch.setattr(os, "pread", counting)
        assert html("![a](two.png)") == hosted.format("two")
        assert html("![a](images/new.png)") == '<p><img alt="a" src="images/new.png" /></p>'
        assert sum(read) < large.stat().st_size / 10

    def test_a_broken_line_anywhere_is_an_error(self, large: Path) -> None:
        html("![a](images/one.png)")
        lines = large.read_text().split("\n")
        lines[7000] = lines[7000][:-1] + ","  # as long as before
        large.write_text("\n".join(lines))
        with pytest.raises(LockError, match=r"imghost.lock, line 7001: it is not JSON"):
            html("![a](images/one.png)")

    def test_what_is_added_to_it_is_seen(self, large: Path) -> None:
        assert "images/new.png" in html("![a](images/new.png)")
        locks.add(large, [record(9, "new")], "img.pro")
        assert "/t/new.png" in html("![a](images/new.png)")
