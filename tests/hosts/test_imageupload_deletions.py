"""What imageupload.io lists as a project's, and deletions that delete nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.imageupload import PRO
from doubles.imageupload import ImageUpload as Double
from doubles.server import Reply
from hosts.imageupload_setup import MONTH, a_host, a_payload, a_picture, list_one, opened

from imghost.errors import HostError
from imghost.net import Client


def test_listed_gives_this_projects_images_and_no_others(tmp_path: Path) -> None:
    double = Double()
    with double, Client(5.0, environ={}) as client:
        for folder in ("docs", "other", None):
            host = a_host(double.api_url, client, retention=MONTH, folder=folder)
            host.ready()
            host.upload(a_payload(tmp_path, a_picture(colour="red")))
        docs = a_host(double.api_url, client, folder="docs")
        docs.ready()
        ours = list(docs.listed())
        by_hand = next(copy for copy in double.copies.values() if copy.folder == "docs")
        by_hand.name = "holiday.png"
        assert list(docs.listed()) == []
        assert list(a_host(double.api_url, client).listed()) == []
    assert [stored.id for stored in ours] == ["s0000000"]
    assert ours[0].url == f"{double.api_url}/f/s0000000.png"
    assert ours[0].uploaded is not None
    assert abs(ours[0].uploaded - datetime.now(UTC)) < timedelta(minutes=1)


def test_nothing_is_listed_where_the_host_does_not_say_the_folder() -> None:
    double = Double(folders={"docs": "docs"})
    with opened(double, folder="docs") as host:
        host.ready()
        list_one(double, filename="0123456789ab.png")
        with pytest.raises(HostError, match="folder"):
            list(host.listed())


def test_a_host_that_ignores_the_folder_of_a_list_does_not_bring_other_images_into_danger() -> None:
    double = Double(folders={"docs": "docs"})
    with opened(double, folder="docs") as host:
        host.ready()
        for folder in ("other", None, "", {"slug": "other"}):
            list_one(double, filename="0123456789ab.png", folder=folder)
            assert list(host.listed()) == []


def test_deleted_images_are_gone_and_one_that_was_gone_already_counts_as_deleted(tmp_path: Path) -> None:
    double = Double()
    with opened(double, folder="docs") as host:
        host.ready()
        stored = [host.upload(a_payload(tmp_path, a_picture(colour=name))).id for name in ("red", "green", "blue")]
        assert host.delete([stored[0], stored[0], stored[1], "never-was"]) == {}
    assert list(double.copies) == [stored[2]]


def test_without_a_folder_nothing_is_deleted(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host:
        stored = host.upload(a_payload(tmp_path)).id
        assert "folder" in host.delete([stored])[stored]
    assert (list(double.copies), double.calls) == ([stored], [])


@pytest.mark.parametrize("status", [None, 200])
@pytest.mark.parametrize("is_there", [True, False])
def test_one_code_for_two_causes_is_told_apart(tmp_path: Path, status: int | None, is_there: bool) -> None:
    """-32004 says that an image is not there, and also that the storage is down, which leaves it there."""
    double = Double(status=status)
    with opened(double, folder="docs") as host:
        host.ready()
        slug = host.upload(a_payload(tmp_path)).id if is_there else "nothing"
        if is_there:
            error = {"code": -32004, "message": "Error"}
            double.answer_tools(Reply.json({"jsonrpc": "2.0", "id": 1, "error": error}, status or 502))
        kept = host.delete([slug])
        assert list(kept) == ([slug] if is_there else [])
        assert list(double.copies) == ([slug] if is_there else [])


@pytest.mark.parametrize(
    ("status", "message", "is_deleted"),
    [
        (404, "Error", True),
        (404, "", True),
        (200, "Image not found", True),
        (200, "Not yours", True),
        (200, "Storage backend failed", False),
        (502, "Image not found", False),
        (404, "Storage is unavailable", False),
    ],
)
def test_status_and_words_tell_what_an_image_that_is_not_found_means(
    status: int, message: str, is_deleted: bool
) -> None:
    double = Double(folders={"docs": "docs"}, is_storage_down=True)
    with opened(double, folder="docs") as host:
        host.ready()
        error = {"code": -32004, "message": message}
        double.answer_tools(Reply.json({"jsonrpc": "2.0", "id": 1, "error": error}, status))
        assert (host.delete(["abc"]) == {}) is is_deleted


def test_a_missing_page_in_the_tools_place_deletes_nothing() -> None:
    double = Double(folders={"docs": "docs"})
    with opened(double, folder="docs") as host:
        host.ready()
        double.answer_tools(*[Reply(404, b"<html>not found</html>")] * 3)
        kept = host.delete(["abc", "def"])
    assert set(kept) == {"abc", "def"}
    assert "was not tried" in kept["def"]


def test_an_id_that_is_none_is_not_sent() -> None:
    double = Double(folders={"docs": "docs"})
    with opened(double, folder="docs") as host:
        host.ready()
        assert set(host.delete(["../x", "", "a b", "x" * 65])) == {"../x", "", "a b", "x" * 65}
    assert "delete_image" not in [name for name, _ in double.calls]


def test_a_deletion_goes_on_after_one_that_failed(tmp_path: Path) -> None:
    double = Double(folders={"docs": "docs"})
    with opened(double, PRO, folder="docs") as host:
        host.ready()
        stored = [host.upload(a_payload(tmp_path, a_picture(colour=name))).id for name in ("red", "green")]
        double.answer_tools(Reply.json({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "x"}}, 500))
        assert list(host.delete(stored)) == stored[:1]
    assert list(double.copies) == stored[:1]
