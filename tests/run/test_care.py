"""What happens to hosted images after the first upload: verify, adopt, prune, migrate, restore, status."""

from __future__ import annotations

import io
import json
import random
import shutil
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.imageupload import PRO, ImageUpload
from doubles.imgpro import READ_ONLY, VERIFIED, ImgPro
from doubles.server import Fault
from PIL import Image as Picture
from sites import picture, small_site, tree, write

from imghost.cli.main import main
from imghost.hosts import HostBase, Stored
from imghost.records.cache import Cache
from imghost.run.care import find_unused

HOSTS = ("img.pro/upload", "img.pro/images", "imageupload.io")


class Place:
    """One host with its double, as the command line meets it."""

    def __init__(self, name: str, double) -> None:
        self.name, self.double = name.partition("/")[0], double
        namespace = "folder=docs" if self.name == "imageupload.io" else "namespace=docs"
        self.flags = ["--host", self.name, "--option", f"api_url={double.api_url}", "--option", namespace]

    def count(self) -> int:
        return len(self.double.copies)


def opened(stack: ExitStack, name: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    if name == "imageupload.io":
        monkeypatch.setenv("IMAGEUPLOAD_API_KEY", PRO)
        return Place(name, stack.enter_context(ImageUpload()))
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    return Place(name, stack.enter_context(ImgPro(name.partition("/")[2])))


@pytest.fixture(params=HOSTS)
def place(request, monkeypatch):
    with ExitStack() as stack:
        yield opened(stack, request.param, monkeypatch)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    small_site(tmp_path / "site", count=6)
    return tmp_path


def ran(capsys, *arguments: str, status: int = 0) -> dict:
    """Run a command and read its JSON."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == status, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def rebuilt(project: Path, count: int = 6) -> None:
    """Let the generator write the site again."""
    shutil.rmtree(project / "site")
    small_site(project / "site", count=count)


@pytest.mark.sampled(1)
def test_adopt_finds_every_image_after_lost_records_and_the_build_uploads_none(place, project, capsys):
    small_site(project / "site", count=50)
    ran(capsys, "rehost", "site", *place.flags)
    assert place.count() == 50
    first = tree(project / "site")
    shutil.rmtree(project / ".cache")
    (project / "imghost.lock").unlink()
    rebuilt(project, count=50)
    found = ran(capsys, "adopt", "site", *place.flags)
    assert (len(found["adopted"]), found["missing"], found["failures"]) == (50, [], [])
    report = ran(capsys, "rehost", "site", *place.flags)
    assert report["images"]["uploaded"] == 0
    assert report["requests"] == 0
    assert place.count() == 50
    assert tree(project / "site") == first


def test_adopt_says_what_the_host_does_not_have(place, project, capsys):
    found = ran(capsys, "adopt", "site", *place.flags)
    assert (found["adopted"], len(found["missing"])) == ([], 6)
    assert place.count() == 0


def test_verify_tells_the_living_from_the_dead(place, project, capsys):
    ran(capsys, "rehost", "site", *place.flags)
    found = ran(capsys, "verify", *place.flags)
    assert found["counts"] == {"alive": 6}
    place.double.copies.pop(next(iter(place.double.copies))) if isinstance(
        place.double.copies, dict
    ) else place.double.copies.pop()
    found = ran(capsys, "verify", *place.flags, status=1)
    assert found["counts"] == {"alive": 5, "dead": 1}
    with_pages = ran(capsys, "verify", "--site", "site", *place.flags, status=1)
    dead = [row for row in with_pages["images"] if row["state"] == "dead" and row["pages"]]
    assert len(dead) == 1


def test_prune_keeps_what_any_named_version_shows_and_deletes_only_when_told(place, project, capsys):
    ran(capsys, "rehost", "site", *place.flags)
    shutil.copytree(project / "site", project / "old")
    rebuilt(project, count=4)
    ran(capsys, "rehost", "site", *place.flags)
    both = ("prune", "--keep", "site", "--keep", "old", "--grace", "0s", *place.flags)
    assert ran(capsys, *both)["unused"] == []
    one = ("prune", "--keep", "site", "--grace", "0s", *place.flags)
    assert len(ran(capsys, *one)["unused"]) == 2
    assert place.count() == 6
    assert ran(capsys, "prune", "--keep", "site", *place.flags)["young"] == 2
    assert ran(capsys, *one, "--yes")["deleted"] == 2
    assert place.count() == 4
    assert len((project / "imghost.lock").read_text().splitlines()) == 1 + 4
    assert ran(capsys, "verify", *place.flags)["counts"] == {"alive": 4}


def test_pruning_one_project_leaves_the_same_picture_of_another(place, project, capsys):
    other = [flag.replace("=docs", "=other") for flag in place.flags]
    ran(capsys, "rehost", "site", *place.flags)
    small_site(project / "second", count=6)
    ran(capsys, "rehost", "second", *other, "--lock", "second.lock", "--cache-dir", "second-cache")
    count = place.count()
    assert count == 12
    write(project / "empty", {"index.html": "nothing"})
    gone = ran(capsys, "prune", "--keep", "empty", "--grace", "0s", "--yes", *place.flags)
    assert gone["deleted"] == 6
    assert place.count() == 6
    assert ran(capsys, "verify", *other, "--lock", "second.lock")["counts"] == {"alive": 6}


def test_prune_keeps_what_a_site_that_is_not_rewritten_would_need(place, project, capsys):
    """A fresh build refers to its own files; to delete what they were uploaded as would cost all of it again."""
    ran(capsys, "rehost", "site", *place.flags)
    shutil.copytree(project / "site", project / "old")
    rebuilt(project)
    command = ["prune", "--keep", "site", "--grace", "0s", "--yes", *place.flags]
    capsys.readouterr()
    assert main(command) == 2
    assert "build and rewrite it first" in capsys.readouterr().err
    assert place.count() == 6
    page = next(iter((project / "old").glob("*.html"))).read_text("utf-8")
    write(project / "site", {"one.html": page})
    assert ran(capsys, *command)["used"] == 6
    assert place.count() == 6


def test_what_is_deleted_is_forgotten_first_in_the_lock_and_in_the_local_store(place, project, capsys):
    """So that no page gets a dead URL where a deletion ends half-way, and no later build brings a record back."""
    ran(capsys, "rehost", "site", *place.flags)
    write(project / "empty", {"index.html": "nothing"})
    is_deletion = lambda request: request.method == "DELETE" or b"delete_image" in request.body  # noqa: E731
    place.double.server.pick = lambda request: Fault.CLOSE_AFTER_ROUTE if is_deletion(request) else None
    main(["prune", "--keep", "empty", "--grace", "0s", "--yes", *place.flags])
    place.double.server.pick = lambda request: None
    capsys.readouterr()
    assert len((project / "imghost.lock").read_text().splitlines()) == 1
    assert list(Cache.load(project / ".cache/imghost").every_record()) == []
    ran(capsys, "prune", "--keep", "empty", "--grace", "0s", "--yes", *place.flags)
    assert place.count() == 0


@pytest.mark.parametrize("name", ["a", "x9z", "_-"])
def test_a_short_name_in_a_page_is_a_use_of_it(tmp_path: Path, name: str) -> None:
    class Few(HostBase):
        name, project, origins = "few", "docs", ("https://few.example",)

        def listed(self):
            return [Stored(one, f"https://few.example/{one}.png") for one in (name, "q7")]

        def delete(self, ids):
            return {}

    write(tmp_path / "site", {"index.html": f'<img src="https://few.example/{name}.png">'})
    found = find_unused(Few(), [tmp_path / "site"], timedelta(), datetime.now(UTC), ())
    assert [stored.id for stored in found.unused] == ["q7"]


def test_prune_without_a_project_is_refused(place, project, capsys):
    flags = [flag for flag in place.flags if not flag.endswith("=docs")][:-1]
    ran(capsys, "rehost", "site", *flags)
    capsys.readouterr()
    assert main(["prune", "--keep", "site", *flags]) == 2
    assert "namespace, folder or prefix" in capsys.readouterr().err


@pytest.mark.parametrize("has_map", [True, False])
def test_restore_puts_the_local_references_back(place, project, capsys, has_map):
    before = tree(project / "site")
    ran(capsys, "rehost", "site", *place.flags)
    if not has_map:
        shutil.rmtree(project / ".cache")
    assert ran(capsys, "restore", "site", *place.flags)["left"] == []
    after = tree(project / "site")
    if has_map:
        assert after == before
    else:
        assert b"http://127" not in after["index.html"] + after["below/index.html"]


def test_migrate_moves_every_image_and_keeps_both_records(project, capsys, monkeypatch):
    with ExitStack() as stack:
        old = opened(stack, "imageupload.io", monkeypatch)
        small_site(project / "site", count=50)
        ran(capsys, "rehost", "site", *old.flags)
        monkeypatch.delenv("IMAGEUPLOAD_API_KEY")
        new = opened(stack, "img.pro/images", monkeypatch)
        write(project, {"imghost.toml": f'host = "imageupload.io"\n[options]\napi_url = "{old.double.api_url}"\n'})
        report = ran(capsys, "migrate", "site", "--to", "img.pro", *new.flags[2:])
        assert report["images"]["uploaded"] == 50
        assert new.count() == 50
        page = (project / "site/index.html").read_text()
        assert old.double.api_url not in page
        assert page.count(new.double.api_url.removesuffix("/v1")) == 50
    lock = [json.loads(line) for line in (project / "imghost.lock").read_text().splitlines()]
    assert lock[0]["host"] == "img.pro"
    assert len([line for line in lock[1:] if line["host"] == "imageupload.io"]) == 50
    assert len([line for line in lock[1:] if line["host"] == "img.pro"]) == 50


def noise(seed: int) -> bytes:
    """Draw a picture that gets lighter when it gets smaller."""
    stream = io.BytesIO()
    drawn = Picture.frombytes("L", (500, 400), random.Random(seed).randbytes(200_000))
    drawn.save(stream, "PNG")
    return stream.getvalue()


class TestWithoutTheMap:
    """What was added to pages is known by its marks, where the map of changes is lost."""

    EVERY = ("--responsive", "--format", "webp", "--dimensions", "--lazy", "--fallback")
    PAGE = (
        "<!doctype html><title>t</title><style>img{{max-width:100%}}</style><p>{one}<p>{two}"
        '<!-- <img width="1" data-imghost="sized" src="a.png"> -->'
        '<picture><source srcset="images/b.png 2x"><img src="images/c.png"></picture>'
    )

    def pages(self, folder):
        large = {f"site/images/{name}.png": noise(at) for at, name in enumerate("abcd")}
        one, two = '<img src="images/a.png" alt=a>', "<img\n loading=eager class=x src='images/d.png#top' width=40>"
        pages = {
            "site/index.html": self.PAGE.format(one=one, two=two),
            "site/again.html": self.PAGE.format(one=two, two=one + one),
            "site/no-title.html": '<img src="images/a.png"><IMG SRC="images/b.png"/><img src="images/d.png" srcset="">',
        }
        shutil.rmtree(folder / "site")
        write(folder, large | pages)
        return tree(folder / "site")

    @pytest.mark.parametrize("api", ["upload", "images"])
    def test_restore_takes_out_all_that_was_added(self, project, capsys, monkeypatch, api):
        before = self.pages(project)
        with ExitStack() as stack:
            place = opened(stack, f"img.pro/{api}", monkeypatch)
            ran(capsys, "rehost", "site", *place.flags, "--option", f"api={api}", *self.EVERY)
            assert b"srcset=" in (project / "site/index.html").read_bytes()
            shutil.rmtree(project / ".cache")
            assert ran(capsys, "restore", "site", *place.flags)["left"] == []
        assert tree(project / "site") == before

    def test_restore_takes_out_sizes_that_were_made_here(self, project, capsys):
        before = self.pages(project)
        flags = ("--host", "directory", *self.EVERY, "--widths", "200", "--widths", "400")
        ran(capsys, "rehost", "site", *flags)
        assert b" 400w" in (project / "site/index.html").read_bytes()
        shutil.rmtree(project / ".cache")
        assert ran(capsys, "restore", "site", *flags)["left"] == []
        after = tree(project / "site")
        assert {path: after[path] for path in before} == before

    def test_the_next_host_inherits_nothing(self, project, capsys, monkeypatch):
        self.pages(project)
        with ExitStack() as stack:
            old = opened(stack, "img.pro/images", monkeypatch)
            ran(capsys, "rehost", "site", *old.flags, *self.EVERY)
            shutil.rmtree(project / ".cache")
            ran(capsys, "migrate", "site", "--to", "directory")
        page = (project / "site/index.html").read_text()
        assert old.double.api_url.removesuffix("/v1") not in page
        assert "<style>:where" not in page
        assert "onerror" not in page


class TestMigrateToAHostThatTakesNothing:
    """The pages of a published site are never local for a host that has not been asked first."""

    @pytest.fixture
    def published(self, project, capsys, monkeypatch):
        with ExitStack() as stack:
            old = opened(stack, "imageupload.io", monkeypatch)
            ran(capsys, "rehost", "site", *old.flags)
            monkeypatch.delenv("IMAGEUPLOAD_API_KEY")
            write(project, {"imghost.toml": f'host = "imageupload.io"\n[options]\napi_url = "{old.double.api_url}"\n'})
            yield project

    @pytest.mark.parametrize("has_map", [True, False])
    @pytest.mark.parametrize(
        ("flags", "status"),
        [
            (["--to", "img.pro"], 1),  # no key
            (["--to", "s3"], 2),  # no bucket
            (["--to", "img402", "--option", "tier=permanent"], 1),  # no wallet
        ],
    )
    def test_leaves_the_pages_as_they_are(self, published, capsys, flags, status, has_map):
        if not has_map:
            shutil.rmtree(published / ".cache")
        before = tree(published / "site")
        assert main(["migrate", "site", "--config", "imghost.toml", *flags]) == status
        assert tree(published / "site") == before

    @pytest.mark.parametrize("trouble", ["a key it does not know", "nobody listens"])
    def test_leaves_them_where_it_takes_no_image(self, published, capsys, monkeypatch, trouble):
        before = tree(published / "site")
        with ExitStack() as stack:
            new = opened(stack, "img.pro/upload", monkeypatch)
            if trouble == "nobody listens":
                stack.close()
            else:
                monkeypatch.setenv("IMGPRO_API_KEY", "ip_unknown")
            assert main(["migrate", "site", "--to", "img.pro", "--retries", "1", *new.flags[2:]]) == 1
        assert tree(published / "site") == before
        assert "nothing is moved" in capsys.readouterr().err
        monkeypatch.delenv("IMGPRO_API_KEY")
        assert ran(capsys, "restore", "site")["left"] == []
        assert "http://" not in (published / "site/index.html").read_text()


def test_status_shows_the_hosts_own_numbers(place, project, capsys):
    ran(capsys, "rehost", "site", *place.flags)
    found = ran(capsys, "status", *place.flags)
    assert found["hosts"][0]["records"] == 6
    assert found["usage"]["used"] == 6


@pytest.mark.parametrize("name", ["img402", "directory"])
def test_hosts_that_cannot_delete_say_so(project, capsys, name):
    assert (
        main(["prune", "--keep", "site", "--host", name, "--option", "tier=free"][: 5 if name == "directory" else None])
        == 2
    )
    assert "cannot delete images" in capsys.readouterr().err


@pytest.mark.long
def test_image_stored_by_a_killed_run_is_found_and_not_sent_again(project, capsys, monkeypatch):
    """imageupload.io knows no idempotency: the left-over intent makes the next run look first."""
    import os
    import signal
    import subprocess
    import sys
    import time

    with ExitStack() as stack:
        place = opened(stack, "imageupload.io", monkeypatch)
        stored = threading.Event()
        inner = place.double.server.route

        def route(request):
            reply = inner(request)
            if request.path == "/api/upload" and not stored.is_set():
                stored.set()
                time.sleep(60)
            return reply

        place.double.server.route = route
        command = [sys.executable, "-m", "imghost", "rehost", "site", *place.flags, "--concurrency", "1"]
        process = subprocess.Popen(command, env=os.environ.copy(), stderr=subprocess.DEVNULL)
        assert stored.wait(20)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert place.count() == 1
        ran(capsys, "rehost", "site", *place.flags)
        assert place.count() == 6


class TestRestoreFromTheHostsOwnFiles:
    """The embedded directory has the pictures, also those whose local copies are gone."""

    HOST = ("--host", "directory")

    def test_removed_copies_come_back_from_the_directory(self, project, capsys):
        before = tree(project / "site")
        ran(capsys, "rehost", "site", *self.HOST, "--remove-local")
        assert not (project / "site/images/0.png").exists()
        restored = ran(capsys, "restore", "site", *self.HOST)
        assert restored["left"] == []
        after = tree(project / "site")
        assert {path: after[path] for path in before} == before

    def test_a_copy_without_its_metadata_is_better_than_none(self, project, capsys):
        tagged = picture(5, form="JPEG", comment=b"taken at home")
        write(
            project / "site", {"photo.jpg": tagged, "p/x.html": '<img src="../photo.jpg?v=1#top"><a href="/photo.jpg">'}
        )
        page = (project / "site/p/x.html").read_bytes()
        ran(capsys, "rehost", "site", *self.HOST, "--remove-local")
        assert ran(capsys, "restore", "site", *self.HOST)["left"] == []
        assert (project / "site/p/x.html").read_bytes() == page
        assert b"taken at home" not in (project / "site/photo.jpg").read_bytes()

    def test_what_cannot_come_back_is_said_and_the_map_is_kept(self, project, capsys):
        before = tree(project / "site")
        ran(capsys, "rehost", "site", *self.HOST, "--remove-local")
        lost = (project / "site/_imghost").rename(project / "elsewhere")
        hosted = tree(project / "site")
        left = ran(capsys, "restore", "site", *self.HOST, status=1)["left"]
        assert {entry["page"] for entry in left} == {"index.html", "below/index.html"}
        assert tree(project / "site") == hosted
        lost.rename(project / "site/_imghost")
        assert ran(capsys, "restore", "site", *self.HOST)["left"] == []
        assert {path: content for path, content in tree(project / "site").items() if path in before} == before

    def test_without_a_map_the_directory_tells_what_pages_show(self, project, capsys):
        ran(capsys, "rehost", "site", *self.HOST)
        shutil.rmtree(project / ".cache")
        assert ran(capsys, "restore", "site", *self.HOST)["left"] == []
        assert b"_imghost" not in (project / "site/index.html").read_bytes()
        assert (project / "site/index.html").read_text().count('src="images/') == 6

    def test_without_a_map_and_local_copies_nothing_is_said_to_be_well(self, project, capsys):
        ran(capsys, "rehost", "site", *self.HOST, "--remove-local")
        shutil.rmtree(project / ".cache")
        assert len(ran(capsys, "restore", "site", *self.HOST, status=1)["left"]) > 0

    def test_migrate_from_it_moves_every_image(self, project, capsys, monkeypatch):
        write(project, {"imghost.toml": 'host = "directory"\nremove_local = true\n'})
        ran(capsys, "rehost", "site")
        with ExitStack() as stack:
            new = opened(stack, "img.pro/images", monkeypatch)
            assert ran(capsys, "migrate", "site", "--to", "img.pro", *new.flags[2:])["images"]["uploaded"] == 6
            assert new.count() == 6
        assert b"_imghost" not in (project / "site/index.html").read_bytes()

    def test_migrate_moves_nothing_where_something_could_not_come_back(self, project, capsys, monkeypatch):
        write(project, {"imghost.toml": 'host = "directory"\nremove_local = true\n'})
        ran(capsys, "rehost", "site")
        shutil.rmtree(project / "site/_imghost")
        before = tree(project / "site")
        with ExitStack() as stack:
            new = opened(stack, "img.pro/images", monkeypatch)
            assert main(["migrate", "site", "--to", "img.pro", *new.flags[2:]]) == 1
            assert new.count() == 0
        assert tree(project / "site") == before
        assert "nothing is moved" in capsys.readouterr().err


def edited(capsys, host: ImgPro, *options: str, status: int = 0) -> dict:
    chosen = ["--host", "img.pro", "--option", f"api_url={host.api_url}"]
    return ran(
        capsys,
        "edit",
        *chosen,
        *(word for one in options for word in (one if one == "--yes" else f"--option={one}",)),
        status=status,
    )


def hosted_six(host: ImgPro, monkeypatch, capsys, *options: str) -> None:
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    chosen = ["--host", "img.pro", "--option", f"api_url={host.api_url}"]
    ran(capsys, "rehost", "site", *chosen, *(f"--option={one}" for one in options))


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (["tags=manual"], {"tags": "manual"}),
        (["namespace=guide"], {"namespace": "guide"}),
        (["public=false"], {"public": "false"}),
        (["tags=a,b", "namespace=guide", "public=true"], {"tags": "a,b", "namespace": "guide"}),
    ],
)
def test_what_the_host_knows_of_images_follows_the_settings(project, capsys, monkeypatch, options, fields):
    with ImgPro("upload", page=4) as host:
        hosted_six(host, monkeypatch, capsys, "namespace=docs")
        sent = len(host.uploads)
        dry = edited(capsys, host, *options)
        assert (len(dry["outdated"]), dry["changed"]) == (6, 0)
        assert not host.server.requests("PATCH")
        done = edited(capsys, host, *options, "--yes")
        assert (len(done["outdated"]), done["changed"]) == (6, 6)
        assert all(fields.items() <= copy.fields.items() for copy in host.copies.values())
        assert len(host.server.requests("PATCH")) == 1
        assert edited(capsys, host, *options, "--yes")["outdated"] == []
        assert len(host.server.requests("PATCH")) == 1
        assert len(host.uploads) == sent


def test_a_hundred_images_are_changed_at_a_time_and_those_of_others_never(project, capsys, monkeypatch):
    small_site(project / "site", count=103)
    with ImgPro("upload") as host:
        host.quota = 1000
        hosted_six(host, monkeypatch, capsys)
        other = next(iter(host.copies.values()))
        other.owner = "somebody"
        assert edited(capsys, host, "tags=new", "--yes")["changed"] == 102
        asked = [json.loads(request.body) for request in host.server.requests("PATCH")]
        assert [len(one["ids"]) for one in asked] == [100, 2]
        assert "tags" not in other.fields
        host.copies[asked[1]["ids"][0]].fields["tags"] = "old"
        assert edited(capsys, host, "tags=new", "--yes")["changed"] == 1
        assert host.server.requests("PATCH")[-1].path == f"/v1/media/{asked[1]['ids'][0]}"


def test_an_edit_that_the_host_refuses_is_one_line(project, capsys, monkeypatch):
    with ImgPro("upload") as host:
        hosted_six(host, monkeypatch, capsys)
        monkeypatch.setenv("IMGPRO_API_KEY", READ_ONLY)
        for copy in host.copies.values():
            copy.owner = READ_ONLY
        failed = edited(capsys, host, "tags=new", "--yes", status=1)
        assert failed["changed"] == 0
        assert all("forbids" in row["why_not"] for row in failed["outdated"])
    with ImgPro("images") as host:
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        assert main(["edit", "--host", "img.pro", "--option", f"api_url={host.api_url}", "--option", "tags=x"]) == 2
        assert "does not change stored images" in capsys.readouterr().err
    assert main(["edit", "--host", "directory"]) == 2
    assert "could be changed" in capsys.readouterr().err


@pytest.mark.parametrize("dropped", ["tags", "public"])
def test_what_the_host_has_not_taken_up_is_one_warning(project, capsys, monkeypatch, dropped):
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    with ImgPro("upload", drops={dropped}) as host:
        chosen = ["--host", "img.pro", "--option", f"api_url={host.api_url}"]
        assert main(["rehost", "site", *chosen, "--option=tags=one", "--option=public=false"]) == 0
        assert capsys.readouterr().err.count(f"has not taken up `{dropped}`") == 1
        write(project, {"site/new.html": "<img src=new.png>", "site/new.png": picture(77)})
        host.drops = set()
        assert main(["rehost", "site", *chosen, "--option=tags=one", "--option=public=false"]) == 0
        assert "not taken up" not in capsys.readouterr().err


def test_status_names_the_accounts_namespaces(project, capsys, monkeypatch):
    with ImgPro("upload") as host:
        hosted_six(host, monkeypatch, capsys, "namespace=docs")
        chosen = ["--host", "img.pro", "--option", f"api_url={host.api_url}"]
        [group] = ran(capsys, "status", *chosen)["usage"]["groups"]
        assert group[:2] == ["docs", 6]
        assert main(["status", *chosen]) == 0
        assert "docs, 6 images" in capsys.readouterr().out


@pytest.mark.parametrize("generation", ["upload", "images"])
def test_a_life_of_ones_own_needs_a_key(project, capsys, generation):
    """It is one line, and no image is sent to be refused."""
    with ImgPro(generation) as host:
        chosen = ["--host", "img.pro", "--option", f"api_url={host.api_url}", "--retention", "7d"]
        assert main(["rehost", "site", *chosen, "--option", "ttl=7d"]) == 0
        assert capsys.readouterr().err.count("takes `ttl` only with a key; set IMGPRO_API_KEY") == 1
        assert not host.uploads
        assert main(["rehost", "site", *chosen, "--option", "ttl=30m"]) == 2
        assert "an hour at least" in capsys.readouterr().err
