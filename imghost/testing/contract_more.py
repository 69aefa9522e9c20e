"""The contract of what a host may offer beside uploads: to find, to list and delete, to tell the usage, to vary."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imghost.hosts import Deletes, Finds, Host, Tells, Usage, Varies
from imghost.models import Record
from imghost.testing.bench import expect
from imghost.testing.contract import HostContract
from imghost.testing.pictures import a_payload


class FindsContract(HostContract):
    """What holds for a host that can be asked for what it has."""

    _offers = (Finds,)

    def test_only_what_is_stored_is_found(self, tmp_path: Path) -> None:
        """A lost record is found again without an upload, and nothing else in its place."""
        payload, other = a_payload(tmp_path, 0), a_payload(tmp_path, 1)
        with self.bench(tmp_path) as bench:
            finder = _fit(bench.host, Finds)
            expect(finder.find(payload) is None, "it found what nobody has uploaded")
            hosted = bench.host.upload(payload)
            sent = bench.asked.stored
            finder = _fit(bench.anew(), Finds)
            found = finder.find(payload)
            expect(found is not None, "it did not find what is there")
            if found is not None:
                expect((found.url, found.is_new) == (hosted.url, False), f"it found {found}")
            expect(finder.find(other) is None, "it found another image's copy")
            expect(bench.asked.stored == sent, "looking for an image stored one")


class DeletesContract(HostContract):
    """What holds for a host whose images can be listed and deleted."""

    _offers = (Deletes,)

    def test_what_is_listed_can_be_deleted_and_the_rest_stays(self, tmp_path: Path) -> None:
        """One that is gone already counts as deleted."""
        with self.bench(tmp_path) as bench:
            keeper = _fit(bench.host, Deletes)
            expect(bool(keeper.project), "no project is set, so nothing may be deleted: set it in `host`")
            expect(list(keeper.listed()) == [], "it lists what nobody has uploaded")
            hosted = [bench.host.upload(a_payload(tmp_path, number)) for number in range(3)]
            keeper = _fit(bench.anew(), Deletes)
            listed = list(keeper.listed())
            expect({one.url for one in listed} == {one.url for one in hosted}, f"it lists {listed}")
            expect(all(bench.host.accepts(one.url) for one in listed), "it lists what it does not accept")
            ids = sorted(one.id for one in listed)
            for attempt in ("first", "second"):
                kept = keeper.delete(ids[:2])
                expect(dict(kept) == {}, f"the {attempt} time it kept {kept}")
            left = [one.id for one in _fit(bench.anew(), Deletes).listed()]
            expect(left == ids[2:], f"it left {left}")
            expect(bench.asked.stored == 1, "the double counts otherwise")

    def test_an_id_that_is_no_id_deletes_nothing(self, tmp_path: Path) -> None:
        """Ids come from lists and locks, which others can write."""
        with self.bench(tmp_path) as bench:
            keeper = _fit(bench.host, Deletes)
            bench.host.upload(a_payload(tmp_path))
            for wrong in ("", "*", "..", "../../x", "a/b", "\n", "x" * 3_000):
                keeper.delete([wrong])
                expect(bench.asked.stored == 1, f"the id {wrong!r:.40} deleted an image")


class TellsContract(HostContract):
    """What holds for a host that tells how much of the account is used."""

    _offers = (Tells,)

    def test_usage_is_in_numbers(self, tmp_path: Path) -> None:
        """A number that a host does not tell is None, never a guess."""
        with self.bench(tmp_path) as bench:
            bench.host.upload(a_payload(tmp_path))
            usage = _fit(bench.host, Tells).usage()
            expect(isinstance(usage, Usage), f"usage gave {usage!r}")
            counts = (usage.used, usage.limit, usage.remaining, usage.bytes_used, usage.bytes_limit)
            expect(all(count is None or count >= 0 for count in counts), f"less than nothing: {counts}")
            link = usage.link
            expect(not link or link.startswith(("https://", "http://127.0.0.1")), f"a link that is none: {link!r}")
            expect((usage.plan + link).isprintable(), "its texts are not printable")


class VariesContract(HostContract):
    """What holds for a host that serves what it has in other sizes and formats."""

    _offers = (Varies,)

    def test_other_sizes_and_formats_are_images_of_the_host(self, tmp_path: Path) -> None:
        """Their addresses follow from the record, so that nobody is asked."""
        with self.bench(tmp_path) as bench:
            payload = a_payload(tmp_path)
            hosted = bench.host.upload(payload)
            record = Record(
                payload.image, bench.host.name, hosted.url, hosted.id, "", payload.bytes, payload.media_type,
                2_000, 1_000, datetime.now(UTC), hosted.expires,
            )  # fmt: skip
            asked, varied = bench.client.requests, _fit(bench.host, Varies)
            sizes = varied.variants(record)
            expect(bool(sizes), "an image of 2000 x 1000 pixels has no smaller copy")
            for url, width in sizes:
                expect(bench.host.accepts(url), f"it does not accept its own {url!r}")
                expect(re.fullmatch("[1-9][0-9]{0,4}w", width) is not None, f"{width!r} is no width")
            for name in ("webp", "avif"):
                expect(bench.host.accepts(varied.converted(hosted.url, name)), f"it does not accept its own {name}")
            expect(bench.client.requests == asked, "naming other sizes sent a request")


def _fit(host: Host, protocol: type) -> Any:
    expect(isinstance(host, protocol), f"it does not fit {protocol.__name__}")
    return host
