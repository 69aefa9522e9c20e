"""The contracts of hosts and of stores for shared records, as tests to subclass."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from imghost.errors import Action, StoreError
from imghost.hosts import Deletes, Finds, Host, HostType, Quota, Setup, Tells, Usage, Varies
from imghost.image.inspect import dimensions
from imghost.models import MEDIA_TYPES, Hosted, Limits, Payload, Record
from imghost.net import Client
from imghost.records import shared
from imghost.records.shared import Course, Entry, Key, Seen, State, Store, Writer
from imghost.testing.fake import (
    EVIL,
    PRIVATE,
    TRAP,
    UNCLEAR,
    Bench,
    Fault,
    Reply,
    a_payload,
    a_setup,
    an_image,
    drawable,
    expect,
    hostile_urls,
    kinds_facts,
)

# class TestShelf(HttpContract):
#         kind = Shelf
#
#         def double(self):
#             return ShelfDouble()
#
#         def host(self, double, setup):
#             return Shelf(ShelfOptions(api_url=double.url), setup)
#
# Nothing of pytest is imported: it collects the methods, and gives `tmp_path` and `caplog` by their names.
_SLACK = timedelta(hours=1)


class HostContract:
    """What holds for every host. A subclass names the class, and says how to make its double and a host on it."""

    kind: HostType
    credential: str | None = "contract-canary-0123456789"
    """What the environment has for a host that takes a credential; None = nothing."""
    retention: timedelta | None = None
    """What the user asks for; None = permanent."""
    max_cost: Decimal = Decimal(0)
    environ: Mapping[str, str] = {}
    is_idempotent: bool = True
    """Whether the same payload sent twice is one image there."""
    looks_first: bool = False
    """Whether the host looks for a copy before it repeats an upload whose answer was lost."""
    unoffered: tuple[type, ...] = ()
    """Protocols that the class fits, but that this host, with these settings, has nothing to offer for."""
    timeout: float = 5.0
    """Seconds that a host's double gets to answer."""

    def double(self) -> AbstractContextManager[Any]:
        """Make the double; a host without the network has none."""
        return nullcontext(None)

    def host(self, double: Any, setup: Setup) -> Host:
        """Make the host on its double."""
        raise NotImplementedError("say how to make the host")

    def secrets(self) -> tuple[str, ...]:
        """Tell what must stand in no text."""
        return (self.credential,) if self.kind.credentials and self.credential else ()

    def fetch(self, bench: Bench, hosted: Hosted) -> tuple[str, bytes]:
        """Get what a URL serves to readers: its media type and its bytes."""
        answer = bench.client.fetch(hosted.url)
        expect(answer.status == 200, f"{hosted.url} answers {answer.status}")
        return answer.headers.get("content-type", ""), answer.body

    @contextmanager
    def bench(self, folder: Path, *, is_ready: bool = True, timeout: float | None = None) -> Iterator[Bench]:
        """Open a host on its double for a project in a folder, and ask it whether it is ready."""
        with ExitStack() as stack:
            double = stack.enter_context(self.double())
            credential = self.credential if self.kind.credentials else None
            environ = {**self.environ, **({self.kind.credentials[0]: credential} if credential else {})}

            def made(seconds: float, *, is_ready: bool = True) -> tuple[Host, Client]:
                client = stack.enter_context(Client(seconds, environ={}))
                setup = a_setup(client, folder, credential, self.retention, environ, max_cost=self.max_cost)
                host = self.host(double, setup)
                if is_ready:
                    host.ready()
                return host, client

            host, client = made(timeout or self.timeout, is_ready=is_ready)
            yield Bench(host, double, client, self.secrets(), lambda: made(self.timeout)[0])

    def check_served(self, bench: Bench, payload: Payload, hosted: Hosted) -> None:
        """Check that a URL serves an image of the payload's size; hosts may encode it anew."""
        expect(bench.host.accepts(hosted.url), f"the host does not accept its own URL {hosted.url!r}")
        media_type, body = self.fetch(bench, hosted)
        expect(media_type.startswith("image/"), f"{hosted.url} serves {media_type!r}, not an image")
        size = dimensions(body)
        expect(size in {None, (payload.width, payload.height)}, f"{hosted.url} serves another size: {size}")

    def test_the_class_has_what_an_entry_point_needs(self, tmp_path: Path) -> None:
        """Settings, limits and credentials are read off the class before a host is made."""
        for sentence, holds in kinds_facts(self.kind).items():
            expect(holds, f"it is not so that {sentence}")
        with self.bench(tmp_path, is_ready=False) as bench:
            expect(bench.host.name == self.kind.name, "the host is called otherwise than its class")

    def test_options_are_what_a_command_line_can_give(self) -> None:
        """The command line gives texts, so that an option is a text, a number, yes or no, or several texts."""
        for option in fields(self.kind.Options):
            value = getattr(self.kind.Options(), option.name)
            is_plain = value is None or isinstance(value, (str, int, bool, tuple))
            expect(is_plain, f"option {option.name!r} has the default {value!r}, which no text can give")

    def test_making_a_host_and_judging_urls_asks_nobody(self, tmp_path: Path) -> None:
        """A build that has nothing to upload makes no request."""
        with self.bench(tmp_path, is_ready=False) as bench:
            bench.host.accepts("https://example.org/a.png")
            payload = a_payload(tmp_path)
            expect(bench.host.stored(an_image(payload), "") is None, "an image is stored before it is uploaded")
            expect(bench.client.requests == 0, "making the host sent a request")
            expect(bench.double is None or not bench.double.log, "making the host sent a request of its own")

    def test_limits_are_data(self, tmp_path: Path) -> None:
        """A plan reads them without asking, and an upload does not change them."""
        with self.bench(tmp_path) as bench:
            limits = bench.host.limits
            expect(isinstance(limits, Limits), f"limits are {limits!r}")
            unknown = limits.formats - MEDIA_TYPES.keys()
            expect(bool(limits.formats) and not unknown, f"formats that there are not: {sorted(unknown)}")
            expect(limits.max_bytes is None or limits.max_bytes > 0, "max_bytes allows nothing")
            expect(limits.retention is None or limits.retention > timedelta(), "retention is no time")
            expect(limits.price >= 0, "the price is below nothing")
            bench.host.upload(a_payload(tmp_path))
            expect(bench.host.limits == limits, "an upload changed the limits")

    def test_it_says_whether_uploads_can_go_on(self, tmp_path: Path) -> None:
        """It is asked once, before the first upload."""
        with self.bench(tmp_path, is_ready=False) as bench:
            expect(not bench.host.lacks_credential, "the host lacks the credential that the contract gives it")
            quota = bench.host.ready()
            expect(isinstance(quota, Quota), f"ready gave {quota!r}")
            expect(quota.remaining is None or quota.remaining >= 0, f"less than nothing remains: {quota.remaining}")

    def test_an_image_of_every_format_is_stored_and_served(self, tmp_path: Path) -> None:
        """What the limits name, the host takes."""
        with self.bench(tmp_path) as bench:
            formats = drawable(bench.host.limits.formats)
            for number, media_type in enumerate(formats):
                payload = a_payload(tmp_path, number, media_type)
                self.check_served(bench, payload, bench.host.upload(payload))
            expect(bench.double is None or bench.double.stored == len(formats), "the double counts otherwise")

    def test_an_image_lives_as_long_as_the_limits_promise(self, tmp_path: Path) -> None:
        """The answer's own expiry is recorded, and no build trusts a promise that is not kept."""
        with self.bench(tmp_path) as bench:
            hosted, promise = bench.host.upload(a_payload(tmp_path)), bench.host.limits.retention
            expect(promise is not None or hosted.expires is None, "a permanent image has an end")
            if hosted.expires is not None and promise is not None:
                expect(hosted.expires.tzinfo is not None, "the end has no time zone")
                expect(hosted.expires >= datetime.now(UTC) + promise - _SLACK, "it ends sooner than promised")

    def test_the_same_payload_twice_is_two_copies_at_most(self, tmp_path: Path) -> None:
        """A repeated upload is safe; where the host is idempotent, it is the same image."""
        with self.bench(tmp_path) as bench:
            payload = a_payload(tmp_path)
            first, second = bench.host.upload(payload), bench.host.upload(payload)
            self.check_served(bench, payload, first)
            self.check_served(bench, payload, second)
            expect(not self.is_idempotent or first.url == second.url, "the same bytes got two URLs")
            self.check_stored(bench, 1 if self.is_idempotent else 2)

    def test_two_images_of_one_payload_are_served_alike(self, tmp_path: Path) -> None:
        """Files that differ only in metadata are the same bytes once that is taken off."""
        with self.bench(tmp_path) as bench:
            payload = a_payload(tmp_path)
            other = replace(payload, image="f" * 64)
            first, second = bench.host.upload(payload), bench.host.upload(other)
            self.check_served(bench, payload, first)
            self.check_served(bench, other, second)
            self.check_stored(bench, 1 if self.is_idempotent else 2)

    def check_stored(self, bench: Bench, most: int) -> None:
        """Check that the double has at least one image, and at most so many."""
        count = bench.double.stored if bench.double else 1
        expect(1 <= count <= most, f"the double has {count} images where at most {most} should be")

    def test_threads_share_a_host_and_each_image_gets_a_url_of_its_own(self, tmp_path: Path) -> None:
        """A run uploads several images at a time through one host."""
        payloads = [a_payload(tmp_path, number) for number in range(6)]
        with self.bench(tmp_path) as bench:
            with ThreadPoolExecutor(3) as pool:
                hosted = list(pool.map(bench.host.upload, payloads))
            expect(len({one.url for one in hosted}) == 6, "two images share a URL")
            for payload, one in zip(payloads, hosted, strict=True):
                self.check_served(bench, payload, one)

    def test_no_hostile_url_is_accepted(self, tmp_path: Path) -> None:
        """One full match on the raw string: what it lets through is put into pages."""
        with self.bench(tmp_path) as bench:
            good = bench.host.upload(a_payload(tmp_path)).url
            expect(bench.host.accepts(good), "the host does not accept its own URL")
            wrong = [url for url in hostile_urls(good) if bench.host.accepts(url)]
            expect(not wrong, f"accepted: {wrong!r:.2000}")
            origin = "/".join(good.split("/")[:3]) if "://" in good else ""
            expect(not origin or origin in bench.host.origins, f"{origin} is not one of {bench.host.origins}")

    def test_a_file_that_is_gone_is_this_images_own_failure(self, tmp_path: Path) -> None:
        """Whatever becomes of one image, the others go on."""
        with self.bench(tmp_path) as bench:
            payload = a_payload(tmp_path)
            payload.file.unlink()
            error = bench.refusal(payload)
            expect(error is not None, "an image without a file was uploaded")
            is_its_own = error is not None and error.action is Action.FILE
            expect(is_its_own or bench.host.place != "network", "not FILE")

    def test_what_a_host_can_more_is_tried(self, tmp_path: Path) -> None:
        """A host that offers to find, list, delete or tell is tried on that, too."""
        with self.bench(tmp_path) as bench:
            tried = {protocol for base in type(self).__mro__ for protocol in getattr(base, "_offers", ())}
            for protocol in {Finds, Deletes, Tells, Varies} - tried - set(self.unoffered):
                expect(not isinstance(bench.host, protocol), f"subclass {protocol.__name__}Contract, too")


class HttpContract(HostContract):
    """What also holds for every host that is asked over HTTP."""

    haste: float = 0.5
    """Seconds that the double gets to answer where it will not, long enough for all that comes before."""
    patience: float = 5.0
    """Seconds over its timeout that a host may take for one upload, whatever its double does."""
    final: Sequence[Reply] = (
        Reply(413, b"<html><h1>413 Request Entity Too Large</h1></html>", {"Content-Type": "text/html"}),
        Reply(415),
        Reply(422),
    )
    """Answers by which bytes are refused for good, by the host or a proxy before it; add those of your host's codes."""
    passing: Sequence[Reply] = (Reply(401), Reply(404), Reply(409), Reply(429), Reply(500), Reply(503))
    """Refusals that may be gone tomorrow though nothing changes here: of the account, of a quota, of a bad moment."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Let pytest run a test once for each fault, or answer, that it asks for."""
        if "fault" in metafunc.fixturenames:
            metafunc.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
        for name in ("final", "passing"):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, list(getattr(metafunc.cls, name)), ids=lambda reply: str(reply.status))

    def test_a_fault_is_one_clean_refusal_in_time_and_the_next_try_succeeds(
        self, tmp_path: Path, caplog: Any, fault: Fault
    ) -> None:
        """Whatever a host does, the loop above learns what to do, and no secret is told."""
        payload = a_payload(tmp_path)
        is_endless = fault in {Fault.HANGS, Fault.DRIPS}
        timeout = self.haste if is_endless else self.timeout
        with caplog.at_level(1), self.bench(tmp_path, timeout=timeout) as bench:
            bench.asked.fail(fault)
            begin = time.monotonic()
            error = bench.refusal(payload)
            expect(time.monotonic() - begin < timeout + self.patience, "the upload took too long")
            if fault in UNCLEAR and error is not None:
                expect(error.action is Action.RETRY, f"nobody can know what became of it, but it says {error.action}")
                expect(error.is_ambiguous, "the image may be stored, but is_ambiguous is false")
            expect(fault not in {Fault.BUSY, Fault.LATER} or error is not None, "a refusal was taken for a success")
            expect(fault is not Fault.SLOW or error is None, "an answer that came in time was not waited for")
            is_final = is_endless or (error is not None and error.action in {Action.FILE, Action.STOP})
            self.check_served(bench, payload, (bench.anew() if is_final else bench.host).upload(payload))
            is_looked_for = self.looks_first and error is not None and not is_final
            self.check_stored(bench, 1 if self.is_idempotent or is_looked_for else 2)
            expect(not bench.holds_secret(caplog.text), "a log line holds the credential")

    def test_what_asks_to_wait_says_so(self, tmp_path: Path) -> None:
        """The loop knows how long a build may wait; a host does not decide that, and does not sleep."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(Fault.BUSY)
            error = bench.refusal(a_payload(tmp_path))
            is_later = error is not None and error.action in {Action.RETRY, Action.WAIT}
            expect(is_later, f"503 means to try again, but it gives {error and error.action}")

    def test_what_is_refused_for_good_says_so(self, tmp_path: Path, final: Reply) -> None:
        """Bytes that a host will never take are sent once, and no later build asks for them; other images go on."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(final)
            error = bench.refusal(a_payload(tmp_path))
            expect(error is not None, f"a refusal ({final.status}) was taken for a success")
            if error is not None:
                expect(error.action is Action.FILE, f"it is about one image, but it says {error.action}")
                expect(error.is_final, "no later build should send it again, but is_final is false")
                expect(not error.is_ambiguous, "the host has said that it does not have it, but is_ambiguous is true")
            other = a_payload(tmp_path, 1)
            self.check_served(bench, other, bench.host.upload(other))

    def test_what_may_pass_is_asked_again(self, tmp_path: Path, passing: Reply) -> None:
        """What has to do with the account, or with now, says nothing of the bytes."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(*[passing] * 2)  # a host may try once more with another key
            error = bench.refusal(a_payload(tmp_path))
            is_final = error is not None and error.is_final
            expect(not is_final, f"{passing.status} may pass, but is_final keeps the image from being sent again")

    def test_a_long_refusal_is_a_short_line(self, tmp_path: Path) -> None:
        """What a host says is printed in logs, and kept; it may be a page, and as long as it likes."""
        long = "\n::error::\x1b[2J\u202e" * 2_500
        answers = [
            Reply.json({"error": long, "message": long}, 422),
            Reply(422, long.encode()),
            Reply(413, long.encode()),
        ]
        for number, answer in enumerate(answers):
            with self.bench(tmp_path) as bench:
                bench.asked.fail(answer)
                expect(bench.refusal(a_payload(tmp_path, number)) is not None, "a refusal was taken for a success")

    def test_no_redirect_is_followed(self, tmp_path: Path) -> None:
        """A redirect would take the credential and the image to a stranger."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(Fault.REDIRECT)
            error = bench.refusal(a_payload(tmp_path))
            expect(error is not None or bench.asked.stored == 1, "a redirect was taken for a success")
            expect(not [1 for seen in bench.asked.log if TRAP in seen.target], "the redirect was followed")

    def test_a_url_at_another_host_never_comes_back(self, tmp_path: Path) -> None:
        """A host that was broken into must not bring its visitors' images from elsewhere."""
        with self.bench(tmp_path) as bench:
            bench.asked.fail(Fault.ELSEWHERE)
            error = bench.refusal(a_payload(tmp_path))
            expect(error is None or error.action is not Action.WAIT, "it asks to wait")
            expect(not bench.host.accepts(f"{EVIL}/a.png"), "it accepts another host's URL")

    def test_the_credential_is_in_headers_alone(self, tmp_path: Path) -> None:
        """Addresses are logged, and the host's own texts are printed."""
        with self.bench(tmp_path) as bench:
            hosted = bench.host.upload(a_payload(tmp_path))
            sent = "".join(f"{seen.target}\n" for seen in bench.asked.log)
            expect(not bench.holds_secret(sent + hosted.url + hosted.id + repr(bench.host)), "a text holds it")
            expect(not [seen for seen in bench.asked.log if bench.holds_secret(seen.body.decode("latin-1"))], "a body")

    def test_nothing_tells_the_path_of_an_image(self, tmp_path: Path) -> None:
        """Everything sent follows from the bytes and the settings, so that a renamed file is the same upload."""
        with self.bench(tmp_path) as bench:
            bench.host.upload(a_payload(tmp_path))
            for seen in bench.asked.log:
                told = f"{seen.target} {dict(seen.headers)} {seen.body.decode('latin-1')}"
                expect(PRIVATE not in told, f"{seen.method} {seen.target} tells the file's name")

    def test_the_same_payload_is_the_same_request(self, tmp_path: Path) -> None:
        """Names, labels and keys are functions of the bytes; a form's boundary is not a part of them."""
        sent = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            with self.bench(folder) as bench:
                bench.host.upload(a_payload(folder))
                sent.append([(seen.method, seen.target, len(seen.body)) for seen in bench.asked.log])
        expect(sent[0] == sent[1], f"{sent[0]} and then {sent[1]}")


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

    def test_what_was_deleted_can_be_uploaded_again(self, tmp_path: Path) -> None:
        """No key or label of the first upload leads to an image that is gone."""
        with self.bench(tmp_path) as bench:
            payload = a_payload(tmp_path)
            expect(dict(_fit(bench.host, Deletes).delete([bench.host.upload(payload).id])) == {}, "it was kept")
            expect(bench.asked.stored == 0, "it is still there")
            host = bench.anew()
            host.ready()
            self.check_served(bench, payload, host.upload(payload))
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


# The contract of stores for shared records, as tests to subclass: a store is right if every build may trust it.
#
#     class TestMine(StoreContract):
#         @contextmanager
#         def place(self, folder):
#             with MyServer() as server:
#                 yield lambda: MyStore(server.url, {}, 5.0)
#
# Each test gets a place of its own, without entries. Nothing of pytest is imported.

Opened = Callable[[], Store]
"""Opens the place once more, as another build on another machine does."""

Answered = TypeVar("Answered")

BUILDS = 6
ROUNDS = 4
_STORE_SLACK = 2.5
"""Seconds that a store's clock may be coarse by, and a test machine slow."""


class StoreContract:
    """What holds for every store of shared records."""

    def place(self, folder: Path) -> AbstractContextManager[Opened]:
        """Make a place without entries, and say how to open it."""
        raise NotImplementedError("say how to make the store")

    def test_an_entry_is_written_and_read_and_what_is_absent_is_none(self, tmp_path: Path) -> None:
        """The least of it; another build sees the same."""
        with self.place(tmp_path) as opened:
            store, other = opened(), opened()
            expect(store.get("records/a/b") is None, "an entry is there before it is written")
            tag = store.put("records/a/b", "text ü", None)
            expect(tag is not None, "the first write was refused")
            for reader in (store, other):
                entry = reader.get("records/a/b")
                expect(entry is not None and entry[:2] == ("text ü", tag), f"another entry was read: {entry}")
            _closed(store, other)

    def test_what_is_there_is_not_created_again(self, tmp_path: Path) -> None:
        """Creating is refused where anybody has written, and changes nothing."""
        with self.place(tmp_path) as opened:
            store, other = opened(), opened()
            tag = store.put("k", "first", None)
            expect(other.put("k", "second", None) is None, "an entry was created over another one")
            entry = other.get("k")
            expect(entry is not None and entry[:2] == ("first", tag), f"a refused write changed the entry: {entry}")
            _closed(store, other)

    def test_a_write_counts_only_over_what_was_read(self, tmp_path: Path) -> None:
        """Neither an older tag nor one of another key writes, and what is absent is not replaced."""
        with self.place(tmp_path) as opened:
            store = opened()
            first = store.put("k", "1", None)
            second = store.put("k", "2", first)
            expect(second not in {None, first}, "a write on its condition was refused, or has an old tag")
            expect(store.put("k", "3", first) is None, "a write over an older entry was carried out")
            third = store.put("k", "4", second)
            expect(store.put("k", "5", first) is None, "a write over a much older entry was carried out")
            expect(store.put("absent", "6", first) is None, "what is absent was replaced")
            entry = store.get("k")
            expect(entry is not None and entry[:2] == ("4", third), f"the entry is {entry}")
            expect(store.get("absent") is None, "a refused write made an entry")
            _closed(store)

    def test_of_many_that_create_at_once_one_does(self, tmp_path: Path) -> None:
        """Six builds, each with a connection of its own, several times."""
        self._race(tmp_path, is_there=False)

    def test_of_many_that_take_over_at_once_one_does(self, tmp_path: Path) -> None:
        """Six builds that have read the same entry, several times."""
        self._race(tmp_path, is_there=True)

    def _race(self, folder: Path, *, is_there: bool) -> None:
        with self.place(folder) as opened:
            stores = [opened() for _ in range(BUILDS)]
            for number in range(ROUNDS):
                key = f"race/{number}"
                tag = stores[0].put(key, "claim", None) if is_there else None
                gate = threading.Barrier(len(stores))

                def write(
                    store: Store, key: str = key, tag: str | None = tag, gate: threading.Barrier = gate
                ) -> str | None:
                    gate.wait()
                    return store.put(key, secrets.token_hex(8), tag)

                with ThreadPoolExecutor(len(stores)) as pool:
                    tags = [new for new in pool.map(write, stores) if new]
                expect(len(tags) == 1, f"{len(tags)} of {len(stores)} writes at once were carried out, not one")
                entry = stores[-1].get(key)
                expect(entry is not None and entry.tag == tags[0], "the entry is not the one that was written")
            _closed(*stores)

    def test_the_age_is_the_stores_own(self, tmp_path: Path) -> None:
        """A claim is over by the store's clock: its age grows as time does, whoever asks, and a write begins anew."""
        with self.place(tmp_path) as opened:
            store, other = opened(), opened()
            tag = store.put("k", "1", None)
            started = time.monotonic()
            time.sleep(1.2)
            for reader in (store, other):
                entry = reader.get("k")
                passed = time.monotonic() - started
                expect(
                    entry is not None and abs(entry.age - passed) <= _STORE_SLACK,
                    f"the age after {passed:.1f} s: {entry}",
                )
                expect(entry is not None and entry.age > 0, "time does not pass in the store")
            store.put("k", "2", tag)
            entry = other.get("k")
            expect(entry is not None and entry.age <= _STORE_SLACK, f"a new entry is old: {entry}")
            _closed(store, other)

    def test_many_are_read_at_once(self, tmp_path: Path) -> None:
        """What is absent is left out."""
        with self.place(tmp_path) as opened:
            store = opened()
            keys = [f"records/h/{number:02x}" for number in range(40)]
            for key in keys[::2]:
                store.put(key, key, None)
            entries = store.get_all(keys)
            expect(set(entries) == set(keys[::2]), f"{len(entries)} entries were read, not {len(keys[::2])}")
            expect(all(entry.text == key for key, entry in entries.items()), "entries were mixed up")
            expect(store.get_all([]) == {}, "nothing was asked for, and something given")
            _closed(store)

    def test_keys_are_listed_by_their_beginning(self, tmp_path: Path) -> None:
        """For people's commands, and each key once, however often it was written."""
        with self.place(tmp_path) as opened:
            store = opened()
            expect(list(store.listed("records/")) == [], "a store without entries lists some")
            tag = store.put("records/a/1", "x", None)
            store.put("records/a/1", "y", tag)
            for key in ("records/a/2", "records/b/1", "uses/p/1"):
                store.put(key, "x", None)
            expect(sorted(store.listed("records/a/")) == ["records/a/1", "records/a/2"], "the list is another one")
            expect(len(list(store.listed("records/"))) == 3, "the list is another one")
            _closed(store)

    def test_it_keeps_its_conditions(self, tmp_path: Path) -> None:
        """What a build checks before its first claim: the first time, and each time after."""
        with self.place(tmp_path) as opened:
            store = opened()
            shared.check_conditions(store)
            shared.check_conditions(store)
            _closed(store)

    def test_two_builds_upload_once_whatever_fails(self, tmp_path: Path) -> None:
        """Each call of the first build fails once in each way, while a second build wants the same image."""
        with self.place(tmp_path) as opened:
            store, other = opened(), opened()
            for fault in StoreFault:
                for call in range(1, 5):
                    _check_course(Failing(store, {call: fault}), other, f"{fault.name} at call {call}")
            _closed(store, other)

    def test_of_two_that_take_over_at_once_one_does_whatever_fails(self, tmp_path: Path) -> None:
        """A holder died; two builds find its claim over."""
        with self.place(tmp_path) as opened:
            stores = [opened() for _ in range(2)]
            for fault in StoreFault:
                for call in range(1, 4):
                    _check_succession(Failing(stores[0], {call: fault}), stores[1], f"{fault.name} at call {call}")
            _closed(*stores)

    def test_a_store_that_forgets_a_claim_leaves_one_record(self, tmp_path: Path) -> None:
        """Both builds have uploaded; the record that is there first counts for both."""
        with self.place(tmp_path) as opened:
            store = Forgetting(opened())
            key, writers = a_key(), [a_writer(), a_writer()]
            first = shared.claim(store, key, Seen(), writers[0])
            store.forget()
            expect(
                first is not None and shared.extend(store, first, writers[0]) is None,
                "a claim that is gone was extended",
            )
            second = shared.claim(store, key, shared.ask(store, key), writers[1])
            expect(second is not None, "what was forgotten cannot be claimed")
            late = shared.publish(store, key, first, a_record(key, "first"), writers[0], lambda _: True)
            taken = shared.publish(store, key, second, a_record(key, "second"), writers[1], lambda _: True)
            expect(late.is_ours and not taken.is_ours and taken.record == late.record, f"{late}, and then {taken}")
            _closed(store)


class StoreFault(Enum):
    """How a call to a store fails once."""

    UNSENT = "unsent"
    """Nothing arrived."""
    LOST = "lost"
    """It was carried out, and the answer was lost."""
    LATE = "late"
    """No answer came in time, and it is carried out after the next call."""


class Failing:
    """A store of which chosen calls fail, counted from one; a call that is made again is the next one."""

    def __init__(self, store: Store, faults: Mapping[int, StoreFault]) -> None:
        self.address = store.address
        self.calls = 0
        self._store = store
        self._faults = faults
        self._late: list[Callable[[], object]] = []

    def get(self, key: str) -> Entry | None:
        """Read one entry."""
        return self._call(lambda: self._store.get(key))

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Read many entries."""
        return self._call(lambda: self._store.get_all(keys))

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        """Write an entry on its condition."""
        return self._call(lambda: self._store.put(key, text, tag))

    def listed(self, prefix: str) -> Iterator[str]:
        """List keys."""
        yield from self._store.listed(prefix)

    def close(self) -> None:
        """Carry out what is late, and close the store."""
        self._settle()
        self._store.close()

    def _call(self, call: Callable[[], Answered]) -> Answered:
        self.calls += 1
        fault = self._faults.get(self.calls)
        if fault is None:
            answered = call()
            self._settle()
            return answered
        if fault is StoreFault.LOST:
            call()
        if fault is StoreFault.LATE:
            self._late.append(call)
        raise StoreError("the store does not answer", is_passing=True, is_ambiguous=True)

    def _settle(self) -> None:
        while self._late:
            self._late.pop()()


class Forgetting:
    """A store that can forget all that it has: what is asked for after that is another key of the engine's."""

    def __init__(self, store: Store) -> None:
        self.address = store.address
        self._store = store
        self._times = 0

    def forget(self) -> None:
        """Forget everything."""
        self._times += 1

    def get(self, key: str) -> Entry | None:
        """Read one entry."""
        return self._store.get(self._named(key))

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Read many entries."""
        return {key: entry for key in keys if (entry := self.get(key))}

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        """Write an entry on its condition."""
        return self._store.put(self._named(key), text, tag)

    def listed(self, prefix: str) -> Iterator[str]:
        """List keys."""
        yield from (key.removeprefix(self._named("")) for key in self._store.listed(self._named(prefix)))

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _named(self, key: str) -> str:
        return f"memory{self._times}/{key}"


def a_key() -> Key:
    """Make a key that nothing has."""
    return Key("shelf", "", secrets.token_hex(32), "")


def a_writer(project: str = "docs") -> Writer:
    """Make a build that does not wait between its tries."""
    return Writer(secrets.token_hex(8), project, sleep=lambda _: None)


def a_record(key: Key, name: str = "image") -> Record:
    """Make a record for a key."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    url = f"https://shelf.example/{name}.png"
    return Record(key.sha256, key.host, url, name, key.variant, 100, "image/png", 4, 3, moment)


def _check_course(store: Store, other: Store, case: str) -> None:
    """Let a build whose store fails claim, extend and publish, with another one that asks after each step."""
    key, writer, rival = a_key(), a_writer(), a_writer()
    held = shared.claim(store, key, _asked(store, key, writer), writer)
    expect(held is not None, f"{case}: nobody else was there, and the claim was refused")
    assert held is not None
    _expect_waiting(other, key, rival, case)
    held = shared.extend(store, held, writer, {"nonce": "0x1"})
    expect(held is not None, f"{case}: the claim was extended for nobody")
    _expect_waiting(other, key, rival, case)
    record = a_record(key)
    published = shared.publish(store, key, held, record, writer, lambda _: True)
    expect(published == (record, True), f"{case}: {published}")
    state = _asked(other, key, rival).state
    expect(state == State(record, None, writer.project, 1), f"{case}: the other build reads {state}")


def _check_succession(store: Store, other: Store, case: str) -> None:
    """Let two builds, one with a store that fails, take over the claim of a third that died."""
    key, dead = a_key(), a_writer()
    held = shared.claim(other, key, Seen(), dead)
    expect(held is not None, f"{case}: the first claim was refused")
    assert held is not None
    builds = [(store, a_writer()), (other, a_writer())]
    asked = [_asked(place, key, writer)._replace(age=shared.LEASE + 1) for place, writer in builds]
    taken = [shared.claim(place, key, seen, writer) for (place, writer), seen in zip(builds, asked, strict=True)]
    expect(sum(map(bool, taken)) == 1, f"{case}: {sum(map(bool, taken))} builds took over")
    expect(shared.extend(other, held, dead) is None, f"{case}: the dead one's claim was extended")


def _expect_waiting(store: Store, key: Key, writer: Writer, case: str) -> None:
    seen = _asked(store, key, writer)
    expect(shared.course(seen, writer.holder, lambda _: True) is Course.WAIT, f"{case}: two hold it")
    expect(shared.claim(store, key, Seen(), writer) is None, f"{case}: claimed twice")


def _asked(store: Store, key: Key, writer: Writer) -> Seen:
    return shared.ask(store, key, writer.sleep)


def _closed(*stores: Store) -> None:
    for store in stores:
        store.close()
