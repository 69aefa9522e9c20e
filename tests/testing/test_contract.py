"""What the package offers to authors of hosts: tried on its own fake host, and on hosts that break the contract."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imghost.testing
from imghost.errors import Action, HostError
from imghost.models import Limits
from imghost.net import Client
from imghost.testing import (
    DeletesContract,
    FakeHost,
    FakeStore,
    Fault,
    FindsContract,
    HttpContract,
    Loopback,
    Reply,
    TellsContract,
    hostile_urls,
)
from imghost.testing.fake import KEY

ROOT = Path(__file__).parents[2]


class TestFakeHost(HttpContract, FindsContract, DeletesContract, TellsContract):
    """The fake host keeps the contract."""

    kind: Any = FakeHost
    credential = KEY

    def double(self):
        return FakeStore()

    def host(self, double, setup):
        return self.kind(self.kind.Options(double.url), setup)


class TestFakeHostThatCopies(TestFakeHost):
    """So does one that keeps each upload as a copy of its own."""

    is_idempotent = False

    def double(self):
        return FakeStore(is_idempotent=False)


class Foreign(FakeHost):
    def upload(self, payload):
        try:
            return super().upload(payload)
        except HostError:
            raise KeyError("url") from None


class Certain(FakeHost):
    def upload(self, payload):
        try:
            return super().upload(payload)
        except HostError as error:
            raise HostError(error.action, error.reason) from None


class Credulous(FakeHost):
    def accepts(self, url):
        return url.startswith(self.origins[0])


class Following(FakeHost):
    def _asked(self, method, url, **parts):
        answer = self._setup.client.send(method, url, headers={"Authorization": f"Bearer {KEY}"}, **parts)
        if answer.status == 307:
            self._setup.client.send("POST", answer.headers["location"])
            raise HostError(Action.STOP, "fake redirects")
        return answer


class Talking(FakeHost):
    def upload(self, payload):
        try:
            return super().upload(payload)
        except HostError as error:
            raise HostError(error.action, f"{error.reason} with {KEY}", is_ambiguous=True) from None


class Addressed(FakeHost):
    def __init__(self, options, setup):
        super().__init__(options, setup)
        self._usage += f"?key={KEY}"


class Pathful(FakeHost):
    def upload(self, payload):
        self._setup.client.send("GET", f"{self._usage}?{payload.file.name}")
        return super().upload(payload)


class Eager(FakeHost):
    def __init__(self, options, setup):
        super().__init__(options, setup)
        self.usage()


class Boundless(FakeHost):
    def __init__(self, options, setup):
        super().__init__(options, setup)
        self.limits = Limits(frozenset({"image/png", "image/tiff"}))


class Merging(FakeHost):
    def upload(self, payload):
        return replace(super().upload(payload), url=f"{self._place}{'0' * 64}.png")


class Finding(FakeHost):
    def find(self, payload):
        return next((replace(self._hosted(found), is_new=False) for found in self._list()), None)


class Sweeping(FakeHost):
    def delete(self, ids):
        return super().delete([found["id"] for found in self._list()])


class Guessing(FakeHost):
    def usage(self):
        return super().usage()._replace(used=-1)


@dataclass
class LooseOptions:
    api_url: str = ""


class Loose(FakeHost):
    Options: Any = LooseOptions


BREACHES = [
    (Foreign, "test_a_fault_is_one_clean_refusal_in_time_and_the_next_try_succeeds", "raises only HostError"),
    (Certain, "test_a_fault_is_one_clean_refusal_in_time_and_the_next_try_succeeds", "is_ambiguous is false"),
    (Talking, "test_a_fault_is_one_clean_refusal_in_time_and_the_next_try_succeeds", "holds the credential"),
    (Credulous, "test_no_hostile_url_is_accepted", "onerror"),
    (Following, "test_no_redirect_is_followed", "was followed"),
    (Addressed, "test_the_credential_is_in_headers_alone", "a text holds it"),
    (Pathful, "test_nothing_tells_the_path_of_an_image", "tells the file's name"),
    (Eager, "test_making_a_host_and_judging_urls_asks_nobody", "sent a request"),
    (Boundless, "test_limits_are_data", "image/tiff"),
    (Merging, "test_threads_share_a_host_and_each_image_gets_a_url_of_its_own", "share a URL"),
    (Finding, "test_only_what_is_stored_is_found", "another image"),
    (Sweeping, "test_an_id_that_is_no_id_deletes_nothing", "deleted an image"),
    (Guessing, "test_usage_is_in_numbers", "less than nothing"),
    (Loose, "test_the_class_has_what_an_entry_point_needs", "frozen dataclass"),
]


@pytest.mark.parametrize(("broken", "fact", "said"), BREACHES, ids=lambda given: getattr(given, "__name__", None))
def test_a_host_that_breaks_the_contract_is_told_how(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: type, fact: str, said: str
) -> None:
    contract = TestFakeHost()
    contract.kind = broken
    given: dict[str, Any] = {"caplog": caplog, "fault": Fault.LOST} if "fault" in fact else {}
    with pytest.raises(AssertionError, match=re.escape(said)):
        getattr(contract, fact)(tmp_path, **given)


class Forgetful(FakeHost):
    def upload(self, payload):
        try:
            return super().upload(payload)
        except HostError as error:
            raise HostError(error.action, error.reason, is_ambiguous=error.is_ambiguous) from None


class Resigned(FakeHost):
    def upload(self, payload):
        try:
            return super().upload(payload)
        except HostError as error:
            raise HostError(Action.FILE, error.reason, is_final=True) from None


class Fearful(FakeHost):
    def upload(self, payload):
        try:
            return super().upload(payload)
        except HostError as error:
            raise HostError(Action.STOP, error.reason, is_final=error.is_final) from None


class Quoting(FakeHost):
    def _asked(self, method, url, **parts):
        answer = self._setup.client.send(method, url, headers={"Authorization": f"Bearer {KEY}"}, **parts)
        if answer.status == 200 or answer.status == 201:
            return answer
        raise HostError(Action.FILE, answer.body.decode())


class Hasty(FakeHost):
    def _asked(self, method, url, **parts):
        with Client(0.1, environ={}) as client:
            return client.send(method, url, headers={"Authorization": f"Bearer {KEY}"}, **parts)


class Lingering(FakeHost):
    def upload(self, payload):
        try:
            return super().upload(payload)
        except HostError:
            time.sleep(1.2)  # as one whose client counts each byte as a sign of life
            raise


FAULTY = "test_a_fault_is_one_clean_refusal_in_time_and_the_next_try_succeeds"
ANSWERED = [
    (Forgetful, "test_what_is_refused_for_good_says_so", {"final": Reply(422)}, "is_final is false"),
    (Fearful, "test_what_is_refused_for_good_says_so", {"final": Reply(413)}, "it is about one image"),
    (Resigned, "test_what_may_pass_is_asked_again", {"passing": Reply(503)}, "503 may pass"),
    (Quoting, "test_a_long_refusal_is_a_short_line", {}, "no printable line"),
    (Hasty, FAULTY, {"fault": Fault.SLOW}, "was not waited for"),
    (Lingering, FAULTY, {"fault": Fault.DRIPS}, "took too long"),
]


@pytest.mark.parametrize(("broken", "fact", "given", "said"), ANSWERED, ids=[it[0].__name__ for it in ANSWERED])
def test_a_host_that_takes_an_answer_for_another_is_told_how(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: type, fact: str, given: dict[str, Any], said: str
) -> None:
    contract = TestFakeHost()
    contract.kind, contract.haste, contract.patience = broken, 0.3, 0.8
    with pytest.raises(AssertionError, match=re.escape(said)):
        getattr(contract, fact)(tmp_path, **given, **({"caplog": caplog} if fact == FAULTY else {}))


def test_offers_that_the_contract_does_not_try_are_named(tmp_path: Path) -> None:
    class Bare(HttpContract):
        kind = FakeHost
        credential = KEY
        double = TestFakeHost.double
        host = TestFakeHost.host

    with pytest.raises(AssertionError, match=r"subclass (Finds|Deletes|Tells)Contract, too"):
        Bare().test_what_a_host_can_more_is_tried(tmp_path)


def test_nothing_of_pytest_is_needed_to_import_it() -> None:
    program = "import sys, imghost.testing; print([name for name in ('pytest', 'hypothesis') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_every_public_name_says_what_for() -> None:
    for name in imghost.testing.__all__:
        assert getattr(imghost.testing, name).__doc__, name


def test_a_server_has_no_address_before_it_runs() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        _ = Loopback(lambda seen: Reply()).url


GOOD = st.from_regex(
    r"https?://[a-z]{1,9}\.[a-z]{2,5}(:[1-9][0-9]{1,3})?/([a-z0-9]{1,5}/){0,3}[a-z0-9]{1,9}\.png", fullmatch=True
)


@given(GOOD | st.from_regex(r"[a-z]{1,5}/[a-z0-9]{1,9}\.png", fullmatch=True))
def test_no_hostile_url_is_the_good_one(good: str) -> None:
    found = hostile_urls(good)
    assert good not in found
    assert len(found) > 30


@pytest.mark.parametrize("name", ["imghost_shelf.py", "pyproject.toml", "shelf_double.py", "test_shelf.py"])
def test_the_page_about_hosts_shows_the_packages_own_files(name: str) -> None:
    page = (ROOT / "docs/hosts.md").read_text("utf-8")
    code = (ROOT / "tests/third_party" / name).read_text("utf-8")
    assert f"```{'toml' if name.endswith('.toml') else 'python'}\n{code}```" in page


def test_the_page_names_every_part_of_the_protocol() -> None:
    page = (ROOT / "docs/hosts.md").read_text("utf-8")
    protocol = (ROOT / "imghost/hosts/__init__.py").read_text("utf-8")
    body = protocol[protocol.index("class Host(Protocol)") : protocol.index("@runtime_checkable")]
    for name in re.findall(r"^    (?:def )?([a-zA-Z]\w*)[(:]", body, re.MULTILINE):
        assert re.search(rf"`{name}\b", page), name
    assert set(re.findall(r"class (\w+)\(Protocol\)", protocol)) - {"Host", "HostType"} <= set(
        re.findall(r"`(\w+)`", page)
    )
