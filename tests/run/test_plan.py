"""Images and records to a plan: pure facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.hosts import Host, Setup
from imghost.hosts.imgpro.host import ImgPro
from imghost.models import MEDIA_TYPES, Facts, Image, Limits, Record
from imghost.net import Client
from imghost.run.job import Plan
from imghost.run.plan import plan
from imghost.settings import Settings, read
from imghost.site.images import Stay
from imghost.site.pages import Group

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOST: Host = ImgPro(ImgPro.Options(), Setup(Client(environ={}), None, 30 * DAY, Path(), Path("site"), {}))


def settings(**raw: Any) -> Settings:
    return read(raw, Path("/project"))


def image(path: str, content: str | None = None, **facts: Any) -> Image:
    content = path if content is None else content
    known = {"media_type": "image/png", "width": 10, "height": 10} | facts
    return Image(path, content.encode().hex().rjust(64, "0")[-64:], 100, Facts(**known))


def record(of: Image, *, age: timedelta = DAY, left: timedelta | None = None, **changes: Any) -> Record:
    """Make what an upload some days ago left; `left` is how long it still lives."""
    made = Record(
        of.sha256, HOST.name, "https://src.img.pro/x.png", "x", "", of.bytes, "image/png", 10, 10, NOW - age,
        None if left is None else NOW + left,
    )  # fmt: skip
    return replace(made, **changes)


def planned(
    images: list[Image],
    groups: list[Group] | None = None,
    *records: Record,
    stays: dict[str, Stay] | None = None,
    **raw: Any,
) -> Plan:
    by_path = {image.path: image for image in images}
    if groups is None:
        groups = [Group(frozenset({path})) for path in by_path]
    known = {record.key: record for record in records}
    return plan(by_path, stays or {}, groups, known, HOST, settings(**raw), NOW)


def group(*paths: str, held: str = "") -> Group:
    return Group(frozenset(paths), held)


A, B, C = image("a.png"), image("b.png"), image("c.png")


def test_an_image_without_a_record_is_uploaded() -> None:
    found = planned([A, B])
    assert [upload.paths for upload in found.uploads] == [("a.png",), ("b.png",)]
    assert (found.reused, found.staying) == ({}, {})
    assert found.bytes == 200


def test_a_record_of_the_same_bytes_is_reused() -> None:
    known = record(A)
    found = planned([A], None, known)
    assert (found.reused, found.uploads, found.staying) == ({"a.png": known}, (), {})


def test_the_same_bytes_are_uploaded_once_whatever_their_paths() -> None:
    copies = [image(path, "same") for path in ("z/a.png", "A.png", "a.png", "\u00e9.png", "e\u0301.png")]
    found = planned(copies)
    assert len(found.uploads) == 1
    assert sorted(found.uploads[0].paths) == sorted(copy.path for copy in copies)
    assert found.uploads[0].image in copies
    assert found.bytes == 100


def test_one_record_serves_every_copy() -> None:
    copies = [image(path, "same") for path in ("a.png", "b.png")]
    known = record(copies[0])
    assert planned(copies, None, known).reused == {"a.png": known, "b.png": known}


def test_other_bytes_are_another_upload_whatever_their_name() -> None:
    assert len(planned([image("a.png", "one"), image("b/a.png", "two")]).uploads) == 2


@pytest.mark.parametrize(
    "changes", [{"host": "img402"}, {"variant": "strip"}, {"variant": "edge100"}, {"sha256": "f" * 64}]
)
def test_a_record_of_another_host_variant_or_image_is_not_reused(changes: dict[str, str]) -> None:
    found = planned([A], None, record(A, **changes))
    assert found.reused == {}
    assert len(found.uploads) == 1


def test_a_changed_setting_is_another_variant() -> None:
    tagged = image("a.png", has_metadata=True, width=3000)
    assert planned([tagged]).uploads[0].variant == "strip"
    assert planned([tagged], metadata="keep").uploads[0].variant == ""
    assert planned([tagged], max_edge=2000).uploads[0].variant == "strip+edge2000"
    known = record(tagged, variant="strip")
    assert planned([tagged], None, known).uploads == ()
    assert len(planned([tagged], None, known, metadata="keep").uploads) == 1


def test_an_expired_record_is_uploaded_again_and_not_reused() -> None:
    for left in (-DAY, timedelta(0)):
        known = record(A, age=30 * DAY, left=left)
        found = planned([A], None, known)
        assert found.reused == {}
        assert found.uploads[0].renewed == known


def test_a_record_that_runs_out_counts_until_its_renewal_is_there() -> None:
    known = record(A, age=87 * DAY, left=3 * DAY)
    found = planned([A], None, known)
    assert found.reused == {"a.png": known}
    assert found.uploads[0].renewed == known


@pytest.mark.parametrize(
    ("age", "left", "renew_before", "is_renewed"),
    [
        (350, 15, "14d", False),
        (351, 14, "14d", True),
        (362, 3, "14d", True),
        (0, 7, "14d", False),
        (5, 2, "14d", False),
        (6, 1, "14d", True),
        (1, 30, "60d", False),
        (23.5, 7.5, "60d", True),
        (360, 5, "0d", False),
        (360, 5, "1d", False),
        (364, 1, "1d", True),
    ],
)
def test_a_record_is_renewed_late_in_its_own_life(
    age: float, left: float, renew_before: str, *, is_renewed: bool
) -> None:
    known = record(A, age=age * DAY, left=left * DAY)
    assert bool(planned([A], None, known, renew_before=renew_before, retention="1h").uploads) is is_renewed


def test_a_fresh_record_is_never_renewed_at_once() -> None:
    for days in (1, 7, 30, 365):
        known = record(A, age=timedelta(0), left=days * DAY)
        assert planned([A], None, known, renew_before="9y", retention="1h").uploads == ()


def test_a_permanent_record_is_never_renewed() -> None:
    assert planned([A], None, record(A, age=9999 * DAY), renew_before="9y").uploads == ()


def test_a_record_from_the_future_is_judged_without_an_error() -> None:
    known = record(A, age=-400 * DAY, left=100 * DAY)
    assert planned([A], None, known).reused == {"a.png": known}


def test_an_image_that_must_stay_keeps_its_whole_group() -> None:
    found = planned([A, B], [group("a.png", "b.png", "x.svg")], stays={"x.svg": Stay("no")})
    assert (found.uploads, found.reused) == ((), {})
    assert found.staying["x.svg"] == Stay("no")
    for path in ("a.png", "b.png"):
        assert "moves together with x.svg, which stays local" in found.staying[path].reason
        assert found.staying[path].code == ""


def test_an_image_in_another_group_moves_there() -> None:
    found = planned([A, B], [group("a.png", "x.svg"), group("a.png", "b.png")], stays={"x.svg": Stay("no")})
    assert [upload.paths for upload in found.uploads] == [("a.png",), ("b.png",)]
    assert set(found.staying) == {"x.svg"}


def test_an_image_that_appears_only_in_held_groups_is_not_uploaded() -> None:
    found = planned([A, B], [group("a.png", held="the page says so"), group("b.png")])
    assert [upload.paths for upload in found.uploads] == [("b.png",)]
    assert found.staying == {"a.png": Stay("the page says so")}


def test_an_image_that_is_held_in_one_place_and_free_in_another_is_uploaded() -> None:
    for groups in ([group("a.png", held="no"), group("a.png")], [group("a.png"), group("a.png", held="no")]):
        found = planned([A], groups)
        assert len(found.uploads) == 1
        assert found.staying == {}


def test_an_image_that_no_group_means_is_neither_uploaded_nor_reused() -> None:
    found = planned([A, B], [group("b.png")], record(A))
    assert found.reused == {}
    assert [upload.paths for upload in found.uploads] == [("b.png",)]


def test_an_image_that_the_host_does_not_take_stays_with_its_group() -> None:
    drawing = image("d.svg", media_type="image/svg+xml")
    found = planned([A, drawing], [group("a.png", "d.svg")])
    assert found.uploads == ()
    assert set(found.staying) == {"a.png", "d.svg"}
    assert found.staying["d.svg"].remedy


def test_an_image_over_the_hosts_limit_stays_or_is_resized() -> None:
    assert HOST.limits.max_bytes is not None
    big = replace(A, bytes=HOST.limits.max_bytes + 1)
    assert planned([big]).staying["a.png"].remedy
    assert planned([big], oversize="resize").uploads[0].variant == f"fit{HOST.limits.max_bytes}"


PATHS = [f"{letter}.png" for letter in "abcdef"]
LIVES = st.tuples(st.integers(0, 400), st.integers(-10, 400) | st.none())


@st.composite
def circumstances(draw: st.DrawFn) -> tuple[dict[str, Image], dict[str, Stay], list[Group], list[Record]]:
    """Draw a site: images that share bytes, some that must stay, groups, and records old and new."""
    images = {
        path: image(path, draw(st.sampled_from("xyz")), media_type=draw(st.sampled_from(sorted(MEDIA_TYPES))))
        for path in draw(st.sets(st.sampled_from(PATHS)))
    }
    rest = [path for path in PATHS if path not in images]
    stays = {path: Stay("no") for path in rest}
    some = st.frozensets(st.sampled_from(PATHS), min_size=1, max_size=3)
    groups = [Group(draw(some), draw(st.sampled_from(["", "", "held"]))) for _ in range(draw(st.integers(0, 6)))]
    records = []
    for each in images.values():
        if draw(st.booleans()):
            age, left = draw(LIVES)
            host = draw(st.sampled_from([HOST.name, "other"]))
            records.append(record(each, age=age * DAY, left=None if left is None else left * DAY, host=host))
    return images, stays, groups, records


@given(circumstances())
def test_every_image_that_a_page_means_is_reused_uploaded_or_kept(
    drawn: tuple[dict[str, Image], dict[str, Stay], list[Group], list[Record]],
) -> None:
    images, stays, groups, records = drawn
    known = {each.key: each for each in records}
    found = plan(images, stays, groups, known, HOST, settings(), NOW)
    uploaded = [path for upload in found.uploads for path in upload.paths]
    renewed = {path for upload in found.uploads if upload.renewed for path in upload.paths}

    assert len(uploaded) == len(set(uploaded))
    moved = set(found.reused) | set(uploaded)
    assert moved.isdisjoint(found.staying)
    assert set(found.reused) & set(uploaded) <= renewed
    assert moved | set(found.staying) >= {path for each in groups for path in each.paths}
    free = [each for each in groups if not each.held and each.paths <= moved]
    assert moved == {path for each in free for path in each.paths}
    keys = [(upload.image.sha256, upload.variant) for upload in found.uploads]
    assert len(keys) == len(set(keys))
    assert all(each.lives_at(NOW) and each.host == HOST.name for each in found.reused.values())
    assert all(found.reused[path].sha256 == images[path].sha256 for path in found.reused)


@given(circumstances())
def test_the_order_of_what_comes_in_decides_nothing(
    drawn: tuple[dict[str, Image], dict[str, Stay], list[Group], list[Record]],
) -> None:
    images, stays, groups, records = drawn
    known = {each.key: each for each in records}
    first = plan(images, stays, groups, known, HOST, settings(), NOW)
    again = plan(
        dict(reversed(images.items())), dict(reversed(stays.items())), groups, dict(reversed(known.items())),
        HOST, settings(), NOW,
    )  # fmt: skip
    assert first == again


def test_a_plan_leaves_what_it_is_made_of_alone() -> None:
    images, stays = {"a.png": A}, {"x.svg": Stay("no")}
    plan(images, stays, [group("a.png", "x.svg")], {}, HOST, settings(), NOW)
    assert (images, stays) == ({"a.png": A}, {"x.svg": Stay("no")})


def test_limits_decide_by_the_bytes_type_and_not_by_the_name() -> None:
    gif = image("a.png", media_type="image/gif")
    only_png = Limits(frozenset({"image/png"}))
    assert HOST.limits != only_png
    host = ImgPro(ImgPro.Options(), Setup(Client(environ={}), None, 30 * DAY, Path(), Path("site"), {}))
    host.limits = only_png
    found = plan({"a.png": gif}, {}, [group("a.png")], {}, host, settings(), NOW)
    assert "GIF, which img.pro does not take" in found.staying["a.png"].reason
