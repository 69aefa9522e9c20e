"""imageupload.io's quota and folders, which its tools tell, and uploads where the tools are out of order."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.imageupload import FREE, PRO, STARTER
from doubles.imageupload import ImageUpload as Double
from doubles.server import Fault, Reply
from hosts.imageupload_setup import MONTH, a_host, a_payload, a_picture, opened, refused

from imghost.errors import Action, HostError
from imghost.net import Client


@pytest.mark.parametrize(
    ("key", "remaining", "plan", "is_proven"),
    [(FREE, 10, "free", False), (STARTER, 50, "starter", True), (PRO, None, "pro", True)],
)
@pytest.mark.parametrize("answers_as", ["structured", "text", "events"])
def test_the_quota_is_told_before_the_first_upload(
    key: str, remaining: int | None, plan: str, is_proven: bool, answers_as: str
) -> None:
    double = Double(answers_as=answers_as)
    with opened(double, key) as host:
        quota = host.ready()
    assert (quota.remaining, quota.plan, quota.is_proven) == (remaining, plan, is_proven)
    assert quota.link == f"{double.api_url}/dashboard/profile#upgrade"
    assert not double.uploads


def test_the_usage_names_the_first_of_the_next_month() -> None:
    with opened(Double(used={FREE: 3}), FREE) as host:
        usage = host.usage()
    assert (usage.plan, usage.used, usage.limit, usage.remaining) == ("free", 3, 10, 7)
    assert usage.resets is not None
    assert (usage.resets.day, usage.resets.hour) == (1, 0)
    assert timedelta() < usage.resets - datetime.now(UTC) <= timedelta(days=31)


def test_uploads_end_when_the_months_quota_is_used_up_and_nothing_more_is_sent(tmp_path: Path) -> None:
    double = Double(used={FREE: 8})
    with opened(double, FREE, MONTH) as host:
        for colour in ("red", "green"):
            host.upload(a_payload(tmp_path, a_picture(colour=colour)))
        error = refused(host, a_payload(tmp_path, a_picture(colour="blue")))
    assert error.action is Action.STOP
    assert f"{double.api_url}/dashboard/profile#upgrade" in error.remedy
    assert len(double.uploads) == 2


@pytest.mark.parametrize("plan", [{"unlimited": True, "limit": 0, "remaining": 0}, {"limit": None, "remaining": 0}])
def test_a_plan_without_a_limit_is_not_taken_for_an_empty_one(tmp_path: Path, plan: dict[str, object]) -> None:
    with opened(Double(changes={"quota": {"used": 7, "plan": "pro", **plan}})) as host:
        host.upload(a_payload(tmp_path, a_picture(colour="red")))
        host.upload(a_payload(tmp_path, a_picture(colour="blue")))


def test_the_quota_is_also_read_from_the_headers(tmp_path: Path) -> None:
    double = Double(used={FREE: 9}, changes={"quota": None})
    with opened(double, FREE, MONTH) as host:
        host.upload(a_payload(tmp_path))
        assert refused(host, a_payload(tmp_path, a_picture(colour="red"))).action is Action.STOP
    assert len(double.uploads) == 1


TROUBLE = [
    Reply.json({"error": "down"}, 500),
    Reply.json({"error": "down"}, 503),
    Reply.json({"error": "gone"}, 404),
    Reply.redirect("https://elsewhere.example/"),
    Reply(200, b"<html>"),
    Reply.json({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Unknown tool"}}),
    Reply.json({"jsonrpc": "2.0", "id": 1, "error": {"code": -32002, "message": "Slow down"}}, 429),
    Reply.json({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "7 uploads left"}]}}),
    Reply.json({"jsonrpc": "2.0", "id": 1, "result": []}),
    Reply.json([]),
]


@pytest.mark.parametrize("reply", TROUBLE, ids=lambda reply: f"{reply.status}-{len(reply.body)}")
def test_tools_that_are_out_of_order_do_not_stop_uploads(tmp_path: Path, reply: Reply) -> None:
    double = Double()
    with opened(double) as host:
        double.answer_tools(reply)
        quota = host.ready()
        host.upload(a_payload(tmp_path))
    assert (quota.remaining, quota.is_proven) == (None, False)


def test_a_refused_key_stops_before_the_first_upload() -> None:
    with opened(Double(), "iu_live_rotated") as host, pytest.raises(HostError, match="IMAGEUPLOAD_API_KEY") as caught:
        host.ready()
    assert caught.value.action is Action.STOP


def test_a_folder_that_does_not_exist_is_made_once_and_its_slug_is_sent(tmp_path: Path) -> None:
    with Double() as double, Client(5.0, environ={}) as client:
        for _ in range(2):
            host = a_host(double.api_url, client, folder="My Docs")
            host.ready()
            host.upload(a_payload(tmp_path))
    assert double.folders == {"my-docs": "My Docs"}
    assert {copy.folder for copy in double.copies.values()} == {"my-docs"}
    assert host.project == "my-docs"


def test_the_slug_that_the_host_chooses_is_the_one_that_is_used(tmp_path: Path) -> None:
    double = Double(folders={"kdm-7": "Documentation"})
    with opened(double, folder="Documentation") as host:
        host.ready()
        host.upload(a_payload(tmp_path))
    assert next(iter(double.copies.values())).folder == host.project == "kdm-7"


def test_no_folder_is_asked_for_where_none_is_set(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host:
        host.ready()
        host.upload(a_payload(tmp_path))
    assert "folder" not in double.uploads[0].form()[0]
    assert [name for name, _ in double.calls] == ["get_quota"]


def test_a_folder_that_the_host_refuses_to_make_stops_the_uploads() -> None:
    double = Double(folders={f"f{number}": str(number) for number in range(200)})
    with opened(double, folder="one-more") as host, pytest.raises(HostError, match="one-more") as caught:
        host.ready()
    assert caught.value.action is Action.STOP


def test_a_folder_is_used_by_its_usual_slug_where_the_tools_are_down(tmp_path: Path) -> None:
    double = Double(folders={"my-docs": "My Docs"})
    with opened(double, folder="My Docs") as host:
        double.answer_tools(*[Reply.json({"error": "down"}, 503)] * 2)
        host.ready()
        host.upload(a_payload(tmp_path))
    assert next(iter(double.copies.values())).folder == "my-docs"


def test_a_hanging_tool_does_not_stop_uploads(tmp_path: Path) -> None:
    double = Double()
    with opened(double, timeout=0.5) as host:
        double.server.fail(Fault.HANG)
        assert host.ready().remaining is None
        host.upload(a_payload(tmp_path))
