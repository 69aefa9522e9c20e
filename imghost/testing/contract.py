"""The host contract: facts that hold for every host, ours and others', as tests to subclass.

    class TestShelf(HttpContract):
        kind = Shelf

        def double(self):
            return ShelfDouble()

        def host(self, double, setup):
            return Shelf(ShelfOptions(api_url=double.url), setup)

Nothing of pytest is imported: it collects the methods, and gives `tmp_path` and `caplog` by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from imghost.errors import Action
from imghost.hosts import Deletes, Finds, Host, HostType, Quota, Setup, Tells, Varies
from imghost.image.inspect import dimensions
from imghost.models import MEDIA_TYPES, Hosted, Limits, Payload
from imghost.net.client import Client
from imghost.testing.bench import Bench, a_setup, expect, kinds_facts
from imghost.testing.hostile import hostile_urls
from imghost.testing.pictures import a_payload, an_image, drawable

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
            expect(not bench.host.needs_network or (error is not None and error.action is Action.FILE), "not FILE")

    def test_what_a_host_can_more_is_tried(self, tmp_path: Path) -> None:
        """A host that offers to find, list, delete or tell is tried on that, too."""
        with self.bench(tmp_path) as bench:
            tried = {protocol for base in type(self).__mro__ for protocol in getattr(base, "_offers", ())}
            for protocol in {Finds, Deletes, Tells, Varies} - tried - set(self.unoffered):
                expect(not isinstance(bench.host, protocol), f"subclass {protocol.__name__}Contract, too")
