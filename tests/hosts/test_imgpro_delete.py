"""img.pro deletes what a project has there, and nothing of another project's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from doubles.imgpro import READ_ONLY, VERIFIED
from doubles.imgpro import ImgPro as Double
from doubles.imgpro_copies import Copy
from doubles.server import Fault, Reply, Request, Server
from hosts.imgpro_setup import (
    EITHER,
    THIRTY_DAYS,
    a_host,
    filled,
    opened,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.net import Client


@pytest.mark.long
@EITHER
def test_deletions_go_in_hundreds_by_ids_alone(tmp_path: Path, generation: str) -> None:
    double = Double(generation, quota=1000)
    with double, Client(environ={}) as client:
        host = filled(double, client, tmp_path, 250)
        asked = len(double.server.requests("GET"))
        ids = [one.id for one in host.listed()]
        assert host.delete([*ids, ids[0]]) == {}
        assert list(host.listed()) == []
    assert [len(sent["ids"]) for sent in double.deletions] == [100, 100, 50]
    assert all(set(sent) == {"ids"} for sent in double.deletions)
    assert len(double.server.requests("GET")) - asked == 1 + 3
    assert not double.copies


@EITHER
@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("other", ["other", None, "default"])
def test_another_projects_copy_of_the_same_picture_survives(
    tmp_path: Path, generation: str, other: str | None, is_listed: bool
) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        filled(double, client, tmp_path, 2, other)
        ours = filled(double, client, tmp_path, 2)
        assert len(double.copies) == 4
        if is_listed:
            assert [one.id for one in ours.listed()] == ["i000002", "i000003"]
        kept = ours.delete(["i000000", "i000001", "i000002", "i000003"])
    assert kept == dict.fromkeys(["i000000", "i000001"], "is not one of this project's images")
    assert list(double.copies) == ["i000000", "i000001"]
    assert double.deletions == [{"ids": ["i000002", "i000003"]}]


KINDS = ("ours", "locked", "theirs", "nobody", "gone", "junk")


@EITHER
@given(kinds=st.lists(st.sampled_from(KINDS), max_size=12), is_listed=st.booleans())
@settings(max_examples=25, deadline=None)
def test_whatever_is_asked_only_the_projects_own_goes_and_every_other_has_a_reason(
    generation: str, kinds: list[str], is_listed: bool
) -> None:
    double = Double(generation)
    ids = [f"{'/' if kind == 'junk' else ''}{kind}{number}" for number, kind in enumerate(kinds)]
    for name, kind in zip(ids, kinds, strict=True):
        if kind not in {"gone", "junk"}:
            double.copies[name] = a_copy(name, {"theirs": "other", "nobody": None}.get(kind, "docs"))
    double.locked = {name for name in ids if name.startswith("locked")}
    with opened(double, namespace="docs") as host:
        if is_listed:
            assert len(list(host.listed())) == kinds.count("ours") + kinds.count("locked")
        kept = host.delete(ids)
    stay = {name for name, kind in zip(ids, kinds, strict=True) if kind in {"locked", "theirs", "nobody"}}
    assert set(double.copies) == stay
    assert set(kept) == stay | {name for name in ids if name.startswith("/")}


def a_copy(name: str, namespace: str | None) -> Copy:
    fields = {"labels": json.dumps({"imghost": namespace} if namespace else {})}
    fields |= {"namespace": namespace} if namespace else {}
    return Copy(name, "png", b"", 9, 6, VERIFIED, "", "a.png", fields, 0.0, None)


@EITHER
def test_one_that_is_gone_already_counts_as_deleted(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        host = filled(double, client, tmp_path, 3)
        ids = [one.id for one in host.listed()]
        del double.copies[ids[1]]
        assert host.delete([*ids, "i999999"]) == {}
    assert not double.copies


@EITHER
def test_one_that_the_host_keeps_is_named_with_its_reason(tmp_path: Path, generation: str) -> None:
    double = Double(generation, locked={"i000001"})
    with double, Client(environ={}) as client:
        host = filled(double, client, tmp_path, 3)
        ids = [one.id for one in host.listed()]
        kept = host.delete(ids)
        assert [one.id for one in host.listed()] == ["i000001"]
    reason = {"upload": "is still at img.pro", "images": "img.pro has not deleted it (media_locked: In words.)"}
    assert kept == {"i000001": reason[generation]}
    assert list(double.copies) == ["i000001"]


@EITHER
def test_text_that_is_no_id_is_never_sent(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    odd = ["", "../usage", "a/b", "a b", "a,b", "a\n", "é", "x" * 129]
    with opened(double, namespace="docs") as host:
        assert host.delete(odd) == dict.fromkeys(odd, "is no id of an image at img.pro")
        assert host.delete([]) == {}
    assert not double.deletions


@EITHER
def test_a_refusal_of_all_ends_the_deletion_and_says_why_for_each(tmp_path: Path, generation: str) -> None:
    double = Double(generation, quota=1000)
    with double, Client(environ={}) as client:
        filled(double, client, tmp_path, 120)
        for copy in double.copies.values():
            copy.owner = READ_ONLY
        host = a_host(double.api_url, client, READ_ONLY, namespace="docs")
        kept = host.delete([one.id for one in host.listed()])
    assert len(kept) == len(double.copies) == 120
    assert len(double.deletions) == 1
    assert all("forbids this to the key (HTTP 403, forbidden)" in reason for reason in kept.values())


@EITHER
def test_an_answer_that_is_lost_says_so_and_the_next_try_finds_them_gone(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        host = filled(double, client, tmp_path, 3)
        ids = [one.id for one in host.listed()]
        double.server.fail(Fault.CLOSE_AFTER_ROUTE, when=lambda request: request.method == "DELETE")
        assert set(host.delete(ids)) == set(ids)
        assert host.delete(ids) == {}


@EITHER
@pytest.mark.parametrize(("key", "namespace"), [(VERIFIED, None), (None, "docs"), (None, None)])
def test_without_a_namespace_or_a_key_nothing_is_listed_or_deleted(
    generation: str, key: str | None, namespace: str | None
) -> None:
    double = Double(generation)
    with opened(double, key, THIRTY_DAYS, namespace=namespace) as host:
        assert host.project == (namespace or "")
        for act in (lambda: list(host.listed()), lambda: host.delete(["i000000"])):
            with pytest.raises(HostError) as caught:
                act()
            assert caught.value.action is Action.STOP
            assert ("IMGPRO_API_KEY" if key is None else "namespace") in str(caught.value)
    assert not double.server.log


@pytest.mark.parametrize("status", [404, 410])
def test_a_batch_that_is_not_found_is_looked_up_one_by_one(status: int) -> None:
    media = {"id": "b", "src": "https://src.img.pro/t/b.png", "namespace": "docs"}

    def answered(request: Request) -> Reply:
        is_there = request.method == "GET" and (request.path == "/media/b" or not request.path.startswith("/media/"))
        return Reply.json({**media, "items": [{**media, "id": "a"}, media]}) if is_there else Reply(status)

    with Server(answered) as server, Client(environ={}) as client:
        host = a_host(server.url, client, api="upload", namespace="docs")
        assert host.delete([one.id for one in host.listed()]) == {"b": "is still at img.pro"}
    assert [request.path for request in server.log] == ["/media", "/media/batch", "/media/a", "/media/b"]
