"""Sites that are not as a generator leaves them, and what is counted, planned and found again of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from doubles.imageupload import PRO, ImageUpload
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Reply, Server
from sites import picture, tree, write
from test_kept_records import Project

from imghost import settings
from imghost.cli.main import main
from imghost.errors import SettingsError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == status, capsys.readouterr().err
    printed = capsys.readouterr()
    return json.loads(printed.out) | {"err": printed.err}


class TestAdoptedImports:
    """An external image that was brought to the host is found there again, as one of the site is."""

    @pytest.mark.parametrize("name", ["img.pro", "imageupload.io"])
    @pytest.mark.parametrize("query", ["", "?token=sekret"])
    def test_what_was_brought_is_adopted(self, here, capsys, monkeypatch, name, query) -> None:
        key, double = ("IMGPRO_API_KEY", VERIFIED), lambda: ImgPro("images")
        if name == "imageupload.io":
            key, double = ("IMAGEUPLOAD_API_KEY", PRO), ImageUpload
        monkeypatch.setenv(*key)
        with Server(lambda _: Reply.image(picture(1), "image/png")) as origin, double() as host:
            monkeypatch.setenv("IMGHOST_ALLOW_REMOTE", origin.url.partition("//")[2])
            page = f'<img src="{origin.url}/one.png{query}"><img src="a.png">'
            flags = ("--remote", f"{origin.url}/*", "--host", name, "--option", f"api_url={host.api_url}")
            write(here / "site", {"index.html": page, "a.png": picture(2)})
            before = ran(capsys, "adopt", "site", *flags)
            assert (before["adopted"], before["failures"], len(before["missing"])) == ([], [], 2)
            ran(capsys, "rehost", "site", *flags)
            shutil.rmtree(here / ".cache")
            (here / "imghost.lock").unlink()
            write(here / "site", {"index.html": page})
            found = ran(capsys, "adopt", "site", *flags)
            assert (len(found["adopted"]), found["failures"], found["missing"]) == (2, [], [])
            assert ran(capsys, "rehost", "site", *flags)["images"]["cached"] == 2
            assert len(host.copies) == 2


class TestLinkedPages:
    """A page that is a link to another page becomes a page of its own: its references start from where it stands."""

    @pytest.mark.parametrize(
        ("links", "wanted"),
        [
            ({"top.html": "real/page.html"}, {"top.html": "_imghost/"}),
            ({"b.html": "a.html", "a.html": "real/page.html"}, {"a.html": "_imghost/", "b.html": "_imghost/"}),
            ({"a.html": "b.html", "b.html": "real/page.html"}, {"a.html": "_imghost/", "b.html": "_imghost/"}),
            ({"x/y/p.html": "../../real/page.html"}, {"x/y/p.html": "../../_imghost/"}),
            ({"real/z.html": "page.html"}, {"real/z.html": "../_imghost/"}),
        ],
    )
    def test_each_shows_the_image_and_nothing_is_warned_of(self, here, capsys, links, wanted) -> None:
        images = {"a.png": picture(1), "x/a.png": picture(2)}
        write(here / "site", {"real/page.html": '<img src="../a.png">', **images})
        for path, target in links.items():
            (here / "site" / path).parent.mkdir(parents=True, exist_ok=True)
            (here / "site" / path).symlink_to(target)
        done = ran(capsys, "rehost", "site", "--host", "directory")
        assert done["err"] == ""
        assert done["pages"] == {"found": 1 + len(links), "rewritten": 1 + len(links)}
        for path, begin in {**wanted, "real/page.html": "../_imghost/"}.items():
            page = (here / "site" / path).read_text("utf-8")
            assert f'src="{begin}' in page
            assert ((here / "site" / path).parent / page.partition('"')[2].partition('"')[0]).is_file()
        again = tree(here / "site")
        ran(capsys, "rehost", "site", "--host", "directory")
        assert tree(here / "site") == again


class TestLeftovers:
    """What a build that was killed left in the site is no part of it, and goes with the next build."""

    NAME = ".imghost-0123456789abcdef.tmp"

    @pytest.mark.parametrize("folder", ["", "_imghost/", "deep/er/"])
    def test_what_was_half_written_goes(self, here, capsys, folder) -> None:
        left = write(here / "site", {"index.html": '<img src="a.png">', "a.png": picture(1), folder + self.NAME: "x"})
        os.utime(left / folder / self.NAME, (1, 1))
        ran(capsys, "rehost", "site", "--host", "directory")
        assert not [path for path in tree(left) if ".imghost-" in path]

    @pytest.mark.parametrize("host", ["directory", "img.pro"])
    def test_what_was_set_aside_goes(self, here, capsys, host) -> None:
        site = write(here / "site", {"index.html": '<img src="a.png">', "a.png": picture(1)})
        write(site, {".imghost-kept/0.png": picture(1), ".imghost-kept/index.html": "<img src=0.png>"})
        done = ran(capsys, "rehost", "site", "--host", host)
        assert done["pages"]["found"] == 1
        assert not (site / ".imghost-kept").exists()

    def test_no_page_is_pointed_at_what_was_set_aside(self, here, capsys) -> None:
        """Its files have the bytes of the site's own, by which a restore without the map finds them."""
        site = write(here / "site", {"index.html": '<img src="a.png">', "a.png": picture(1)})
        ran(capsys, "rehost", "site", "--host", "directory")
        shutil.rmtree(here / ".cache")
        write(site, {".imghost-kept/0.png": picture(1)})
        ran(capsys, "restore", "site", "--host", "directory")
        assert (site / "index.html").read_text("utf-8") == '<img src="a.png">'


@pytest.mark.parametrize("option", ["include", "exclude"])
@pytest.mark.parametrize("glob", ["!", "\\", ["a.png", "!"], ["!\\"]])
def test_a_glob_that_is_none_is_an_error_that_names_the_option(tmp_path: Path, option: str, glob: object) -> None:
    globs = glob if isinstance(glob, list) else [glob]
    with pytest.raises(SettingsError, match=option):
        settings.read({option: globs}, tmp_path)


class TestCounts:
    """Each image file counts once, under what became of it, and with all pages that show it."""

    @pytest.mark.parametrize("names", [("a.png",), ("a.png", "b.png"), ("a.png", "x/a.png", "c.png")])
    def test_an_image_that_changed_meanwhile_counts_as_kept(self, tmp_path, store, names) -> None:
        images = {name: picture(number) for number, name in enumerate(names)}
        project = Project(tmp_path / "p", store).show({**images, "same.png": picture(0)})
        put = store._put

        def changed(path: str, body: bytes) -> object:
            if body == images["a.png"]:
                (project.root / "site/a.png").write_bytes(picture(99))
            return put(path, body)

        store._put = changed
        counts = project.build().report.counts
        assert (counts.images, counts.kept, counts.failed) == (len(names) + 1, 1, 0)
        assert counts.cached + counts.uploaded == len(names)
        assert counts.uploaded == len(names), "the same bytes under another name did move"

    def test_one_that_changed_and_has_no_other_name_is_not_among_the_uploaded(self, tmp_path, store) -> None:
        project = Project(tmp_path / "p", store).show({"a.png": picture(1), "b.png": picture(2)})
        put = store._put

        def changed(path: str, body: bytes) -> object:
            if body == picture(1):
                (project.root / "site/a.png").write_bytes(picture(99))
            return put(path, body)

        store._put = changed
        counts = project.build().report.counts
        assert (counts.images, counts.cached, counts.uploaded, counts.kept) == (2, 0, 1, 1)

    def test_an_upload_tells_the_pages_of_all_its_names(self, tmp_path, store) -> None:
        project = Project(tmp_path / "p", store).show({"a.png": picture(1)})
        twins = {"b.png": picture(1), "x/c.png": picture(1)}
        pages = {"one.html": '<img src="b.png">', "x/two.html": '<img src="c.png"><img src="../a.png">'}
        write(project.root / "site", twins | pages)
        (upload,) = project.build().report.uploads
        assert (upload.path, upload.pages) == ("a.png", ("index.html", "one.html", "x/two.html"))


class TestStrictPlan:
    """`plan --strict` is red where the build that it foretells would upload nothing, and says why."""

    @pytest.mark.parametrize(
        ("flags", "why"),
        [
            ((), "over max_cost ($0.00)"),
            (("--max-cost", "1.99"), "over max_cost ($1.99)"),
            (("--max-cost", "2"), ""),
            (("--max-cost", "5", "--max-uploads", "1"), "over max_uploads (1)"),
        ],
    )
    def test_over_the_budget(self, here, capsys, flags, why) -> None:
        write(here / "site", {"index.html": '<img src="a.png"><img src="b.png">', "a.png": picture(1)})
        write(here / "site", {"b.png": picture(2)})
        done = ran(capsys, "plan", "site", "--host", "img402", "--strict", *flags, status=1 if why else 0)
        assert why in done["err"]
        assert ("set max_" in done["err"]) is bool(why)
        ran(capsys, "plan", "site", "--host", "img402", *flags)


@pytest.mark.parametrize("name", ["report.json", "report.html", "deep/report.html"])
def test_a_report_in_the_site_keeps_no_copy_and_is_no_page(here, capsys, name: str) -> None:
    page = {"index.html": '<img src="img/a.png">'}
    site = write(here / "site", {"img/a.png": picture(1), "deep/x.txt": "", **page})
    flags = ("--host", "directory", "--report", f"site/{name}")
    ran(capsys, "rehost", "site", *flags)
    assert "img/a.png" in (site / name).read_text("utf-8")
    write(site, page)
    done = ran(capsys, "rehost", "site", "--remove-local", *flags)
    assert (done["pages"]["found"], done["removed"]["files"], (site / "img/a.png").exists()) == (1, 1, False)


def test_a_page_about_reports_is_a_page(here, capsys) -> None:
    """Only the file that the option names is a report of ours, and only if it is one."""
    page = '<title>The imghost report</title><a title="img/a.png" href="img/a.png">a</a>'
    write(here / "site", {"about.html": page, "report.html": page, "img/a.png": picture(1)})
    done = ran(capsys, "rehost", "site", "--host", "directory", "--report", "site/report.json")
    assert done["pages"] == {"found": 2, "rewritten": 2}
