"""img402's free tier, against its double."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.hostile import HOSTILE_URLS
from doubles.img402 import Img402 as Double
from doubles.server import Fault, Reply, Server
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts import Host, HostType, Secret, Setup
from imghost.hosts.img402 import TIERS, Img402Options, outlasts
from imghost.hosts.img402.buying import ROUTES
from imghost.hosts.img402.host import Img402, check_kept
from imghost.hosts.img402.x402 import ATOMS
from imghost.models import Payload
from imghost.net import Client

PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 200
WEEK = timedelta(days=7)


def a_setup(
    client: Client | None = None, retention: timedelta | None = WEEK, credential: Secret | None = None
) -> Setup:
    here = Path()
    return Setup(client or Client(environ={}), credential, retention, folder=here, site=here, environ={})


def a_payload(folder: Path, body: bytes = PNG, media_type: str = "image/png") -> Payload:
    file = folder / "payload"
    file.write_bytes(body)
    return Payload("a" * 64, "b" * 64, file, len(body), media_type, 1, 1)


@contextmanager
def a_host(
    double: Double | Server, retention: timedelta | None = WEEK, timeout: float = 5.0, **more: object
) -> Iterator[Img402]:
    with double, Client(timeout, environ={}) as client:
        options = Img402Options(api_url=double.url, tier="free", **more)  # type: ignore[arg-type]
        yield Img402(options, a_setup(client, retention))


def refused(host: Img402, payload: Payload) -> HostError:
    with pytest.raises(HostError) as caught:
        host.upload(payload)
    return caught.value


def test_the_class_fits_what_an_entry_point_names() -> None:
    kind: HostType = Img402
    host: Host = kind(Img402Options(tier="free"), a_setup())
    assert host.name == kind.name == "img402"
    assert kind.origin == kind.Options().api_url == "https://img402.dev"


def test_an_upload_gives_a_url_that_serves_the_same_bytes(tmp_path: Path) -> None:
    double = Double()
    with a_host(double) as host, Client(environ={}) as reader:
        hosted = host.upload(a_payload(tmp_path))
        answer = reader.fetch(hosted.url)
    assert answer.body == PNG
    assert answer.headers["content-type"] == "image/png"
    assert host.accepts(hosted.url)
    assert hosted.expires is not None
    assert abs(hosted.expires - datetime.now(UTC) - WEEK) < timedelta(minutes=1)


def test_the_image_is_sent_under_a_name_made_of_its_digest(tmp_path: Path) -> None:
    double = Double()
    with a_host(double) as host:
        host.upload(a_payload(tmp_path))
        _, files = double.server.requests("POST", "/api/free")[0].form()
    assert (files["image"].name, files["image"].media_type) == (f"{'b' * 12}.png", "image/png")


def test_an_upload_carries_no_credential(tmp_path: Path) -> None:
    double = Double()
    with a_host(double) as host:
        host.upload(a_payload(tmp_path))
        headers = double.server.log[0].headers
    assert set(headers) == {
        *("host", "user-agent", "accept", "accept-encoding", "content-length", "content-type"),
    }


def test_the_same_bytes_twice_are_two_images(tmp_path: Path) -> None:
    double = Double()
    with a_host(double) as host:
        first, second = host.upload(a_payload(tmp_path)), host.upload(a_payload(tmp_path))
    assert first.url != second.url
    assert len(double.images) == 2


def test_an_image_without_an_end_is_permanent(tmp_path: Path) -> None:
    with a_host(Double(era="newest"), retention=None) as host:
        assert host.upload(a_payload(tmp_path)).expires is None


def test_a_larger_image_is_sent_and_its_answer_decides(tmp_path: Path) -> None:
    large = a_payload(tmp_path, PNG + b"x" * 1_500_000)
    with a_host(Double(era="newest")) as host:
        expires = host.upload(large).expires
    assert expires is not None
    assert timedelta(days=29) < expires - datetime.now(UTC) < timedelta(days=31)
    with a_host(Double(era="brief")) as host:
        error = refused(host, large)
    assert (error.action, "too large" in error.reason) == (Action.FILE, True)


@pytest.mark.parametrize("retention", [timedelta(days=60), None])
def test_an_image_that_ends_sooner_than_asked_is_an_error_that_names_the_remedy(
    tmp_path: Path, retention: timedelta | None
) -> None:
    double = Double(era="newest")
    with a_host(double, retention) as host:
        error = refused(host, a_payload(tmp_path, PNG + b"x" * 1_500_000))
    assert error.action is Action.FILE
    assert "retention" in error.remedy
    assert len(double.images) == 1


def test_the_life_of_an_image_counts_from_the_hosts_own_clock(tmp_path: Path) -> None:
    """A machine whose clock is a month ahead does not refuse what the host keeps for a week."""
    body = {"url": "https://i.img402.dev/abc.png", "id": "abc", "expiresAt": "2020-01-08T00:00:00Z"}
    with a_host(Server(lambda _: Reply.json(body, Date="Wed, 01 Jan 2020 00:10:00 GMT"))) as host:
        assert host.upload(a_payload(tmp_path)).expires == datetime(2020, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (400, {"error": "no_file"}, Action.FILE),
        (400, {"error": "empty_file"}, Action.FILE),
        (400, {"error": "file_too_large"}, Action.FILE),
        (400, {"error": "unsupported_format"}, Action.FILE),
        (400, {"error": "something_new"}, Action.FILE),
        (401, {"error": "unauthorized"}, Action.STOP),
        (402, {"x402Version": 1, "error": "Payment required", "accepts": []}, Action.STOP),
        (403, {}, Action.STOP),
        (404, {"error": "not_found"}, Action.STOP),
        (405, {}, Action.STOP),
        (408, {}, Action.RETRY),
        (413, {}, Action.FILE),
        (415, {}, Action.FILE),
        (418, {}, Action.FILE),
        (425, {}, Action.RETRY),
        (402, {"error": "Payment required"}, Action.STOP),
        (429, {"error": "daily_limit"}, Action.STOP),
        (429, {"error": {"code": "daily_limit", "message": "no more"}}, Action.STOP),
        (429, {"error": "slow_down"}, Action.WAIT),
        (500, {"error": "upload_failed"}, Action.RETRY),
        (502, {}, Action.RETRY),
        (503, {}, Action.RETRY),
        (504, {}, Action.RETRY),
        (302, {}, Action.STOP),
        (307, {}, Action.STOP),
        (304, {}, Action.STOP),
    ],
)
def test_every_documented_error_is_classified(
    tmp_path: Path, status: int, body: dict[str, object], action: Action
) -> None:
    with a_host(Server(lambda _: Reply.json(body, status, Location="https://elsewhere.example/"))) as host:
        error = refused(host, a_payload(tmp_path))
    assert error.action is action
    assert error.is_ambiguous is (status >= 500)
    assert str(status) in error.reason


@pytest.mark.parametrize(
    ("status", "words"),
    [(402, "asks for a payment for a free upload"), (403, "forbids free uploads from here")],
)
def test_a_free_tier_that_is_none_any_more_says_what_to_choose(tmp_path: Path, status: int, words: str) -> None:
    with a_host(Server(lambda _: Reply.json({}, status))) as host:
        error = refused(host, a_payload(tmp_path))
    assert words in error.reason
    assert error.remedy == "choose another host"


def test_the_double_refuses_what_the_host_refuses(tmp_path: Path) -> None:
    with a_host(Double(daily=1)) as host:
        assert "empty" in refused(host, a_payload(tmp_path, b"")).reason
        assert "PNG, JPEG" in refused(host, a_payload(tmp_path, b"<svg/>")).reason
        host.upload(a_payload(tmp_path))
        error = refused(host, a_payload(tmp_path))
    assert (error.action, "today" in error.reason) == (Action.STOP, True)


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        None,
        {},
        {"url": None, "id": "a", "expiresAt": None},
        {"url": ["https://i.img402.dev/a.png"], "id": "a", "expiresAt": None},
        {"url": "https://i.img402.dev/a.png", "id": 7, "expiresAt": None},
        *(
            {"url": "https://i.img402.dev/a.png", "id": odd, "expiresAt": None}
            for odd in ("", "a b", "\ud800", "\x00", "a\n", "é", "a" * 201)
        ),
        {"url": "https://i.img402.dev/a.png", "id": "a"},
        {"url": "https://i.img402.dev/a.png", "id": "a", "expiresAt": 1_800_000_000},
        {"url": "https://i.img402.dev/a.png", "id": "a", "expiresAt": True},
        {"url": "https://i.img402.dev/a.png", "id": "a", "expiresAt": "soon"},
        {"url": "https://i.img402.dev/a.png", "id": "a", "expiresAt": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_a_success_that_makes_no_sense_is_retried_as_ambiguous(tmp_path: Path, body: object) -> None:
    with a_host(Server(lambda _: Reply.json(body))) as host:
        error = refused(host, a_payload(tmp_path))
    assert (error.action, error.is_ambiguous) == (Action.RETRY, True)


@pytest.mark.parametrize(
    "fault",
    [Fault.HTML_PAGE, Fault.TRUNCATED_JSON, Fault.CLOSE_AFTER_ROUTE, Fault.RESET_AFTER_ROUTE, Fault.GZIP],
)
def test_an_answer_lost_after_the_store_is_ambiguous_and_the_next_try_succeeds(tmp_path: Path, fault: Fault) -> None:
    double = Double()
    with a_host(double) as host:
        double.server.fail(fault)
        error = refused(host, a_payload(tmp_path))
        assert (error.action, error.is_ambiguous) == (Action.RETRY, True)
        host.upload(a_payload(tmp_path))
    assert len(double.images) == 2


@pytest.mark.parametrize(
    "changes",
    [{"sizeBytes": 9}, {"sizeBytes": 0}, {"sizeBytes": "207"}, {"sizeBytes": None}, {"contentType": "image/gif"}],
)
def test_an_answer_about_another_size_or_type_is_no_success(tmp_path: Path, changes: dict[str, object]) -> None:
    """The service stores what is sent as it is, so that each byte counts."""
    with a_host(Double(changes=changes)) as host:
        error = refused(host, a_payload(tmp_path))
        assert (error.action, error.is_ambiguous, error.is_final) == (Action.FILE, True, False)
        assert "another size or type" in error.reason


def test_any_success_status_will_do(tmp_path: Path) -> None:
    body = {"url": "https://i.img402.dev/abc.png", "id": "abc", "expiresAt": None}
    for status in (200, 201, 202):
        with a_host(Server(lambda _, status=status: Reply.json(body, status))) as host:  # type: ignore[misc]
            assert host.upload(a_payload(tmp_path)).id == "abc"


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_no_hostile_url_is_accepted(tmp_path: Path, url: object) -> None:
    body = {"url": url, "id": "a", "expiresAt": None}
    with a_host(Server(lambda _: Reply.json(body))) as host:
        error = refused(host, a_payload(tmp_path))
        assert not isinstance(url, str) or not host.accepts(url)
    assert error.is_ambiguous
    assert error.reason.isprintable()


@given(st.text())
def test_only_the_image_domain_over_https_is_accepted(text: str) -> None:
    host = Img402(Img402Options(tier="free"), a_setup())
    assert not host.accepts(text)
    assert host.accepts("https://i.img402.dev/f5rvllu041.png")
    assert not host.accepts(f"https://i.img402.dev/f5rvllu041.png{text or ' '}")
    assert not host.accepts("http://i.img402.dev/f5rvllu041.png")


def test_urls_are_accepted_from_a_proxy_and_from_hosts_that_the_settings_name() -> None:
    options = Img402Options("https://proxy.example:8443/base", "free", url_hosts=("images.example.org",))
    host = Img402(options, a_setup())
    assert host.accepts("https://proxy.example:8443/abc.png")
    assert host.accepts("https://images.example.org/abc.png")
    assert host.accepts("https://i.img402.dev/abc.png")
    assert not host.accepts("https://proxy.example/abc.png")
    assert not host.accepts("http://images.example.org/abc.png")
    assert not host.accepts("https://imagesXexample.org/abc.png")
    assert host.origins == ("https://i.img402.dev", "https://proxy.example:8443", "https://images.example.org")


@pytest.mark.parametrize(
    "name", ["", "*", "a b", "https://a.example", "a.example/x", "A.example", "a@b", "a.example\n"]
)
def test_a_host_that_is_no_host_is_refused_in_the_settings(name: str) -> None:
    with pytest.raises(SettingsError, match="url_hosts"):
        Img402(Img402Options(tier="free", url_hosts=(name,)), a_setup())


def test_the_free_tier_needs_no_credential() -> None:
    host = Img402(Img402Options(tier="free"), a_setup())
    assert not host.lacks_credential
    assert (host.limits.retention, host.limits.price) == (WEEK, 0)
    assert host.ready().remaining is None


@pytest.mark.parametrize("tier", ["permanent", "1-year", "auto"])
def test_a_paid_tier_is_records_only_without_a_credential_and_wants_a_wallets_key(tier: str) -> None:
    assert Img402(Img402Options(tier=tier), a_setup()).lacks_credential
    with pytest.raises(SettingsError) as caught:
        Img402(Img402Options(tier=tier), a_setup(credential=Secret("0xcanary-of-a-key")))
    assert "IMG402_PRIVATE_KEY" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_mistyped_tier_names_the_right_one() -> None:
    with pytest.raises(SettingsError, match="did you mean 'permanent'"):
        Img402(Img402Options(tier="permanant"), a_setup())


@pytest.mark.parametrize(
    ("left", "retention", "is_enough"),
    [
        (WEEK, WEEK, True),
        (WEEK - timedelta(hours=1), WEEK, True),
        (WEEK - timedelta(hours=1, seconds=1), WEEK, False),
        (WEEK, None, False),
        (None, WEEK, True),
        (None, None, True),
    ],
)
def test_an_image_outlasts_what_is_asked_give_or_take_an_hour(
    left: timedelta | None, retention: timedelta | None, *, is_enough: bool
) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert outlasts(None if left is None else now + left, now, retention) is is_enough


def test_a_key_that_cannot_sign_matters_to_paid_tiers_alone() -> None:
    broken = Secret("no key of a wallet")
    assert not Img402(Img402Options(tier="free"), a_setup(credential=broken)).lacks_credential
    for options in (Img402Options(tier="1-year"), Img402Options(tier="free", tiers={"hero/*": "permanent"})):
        with pytest.raises(SettingsError):
            Img402(options, a_setup(credential=broken))


@pytest.mark.parametrize(
    "address", ["", "0x77f3", "77f3c9bCb898Ad1d30e9a336E2cC3108d88D6c09", "0x" + "g" * 40, "0x" + "1" * 41]
)
def test_a_payee_that_is_no_address_is_refused_in_the_settings(address: str) -> None:
    with pytest.raises(SettingsError, match="pay_to should be an address"):
        Img402(Img402Options(tier="free", pay_to=address), a_setup())
    assert Img402(Img402Options(tier="free", pay_to="0x" + "aB" * 20), a_setup())


TIERED = {"hero/*.png": "permanent", "**/draft/": "free", "shots/": "1-year", "!shots/keep.png": "permanent"}


@pytest.mark.parametrize(
    ("paths", "tier"),
    [
        (("hero/a.png",), "permanent"),
        (("hero/deep/a.png",), "auto"),
        (("hero/draft/a.png",), "free"),
        (("shots/a.gif",), "1-year"),
        (("other.png",), "auto"),
        (("shots/a.gif", "hero/a.png"), "permanent"),
        (("draft/a.gif", "shots/a.gif"), "1-year"),
        (("draft/a.gif", "other.gif"), "free"),
    ],
)
def test_the_first_glob_that_fits_a_path_chooses_its_tier_and_of_several_paths_the_best(
    paths: tuple[str, ...], tier: str
) -> None:
    host = Img402(Img402Options(tier="auto", tiers=TIERED), a_setup())
    assert host.tier_of(paths) == tier
    assert Img402(Img402Options(tier="free"), a_setup()).tier_of(paths) == ""


def test_several_tiers_promise_the_least_cost_the_most_and_need_a_wallet_if_one_is_paid() -> None:
    host = Img402(Img402Options(tier="free", tiers={"hero/*": "permanent"}), a_setup())
    assert (host.limits.retention, host.limits.price, host.limits.max_bytes) == (WEEK, 1, 10_000_000)
    assert (host.lacks_credential, host.is_idempotent, host.limits.is_price_certain) == (True, False, True)
    assert not Img402(Img402Options(tier="free", tiers={"hero/*": "free"}), a_setup()).lacks_credential
    with pytest.raises(SettingsError, match=r"no tier named 'permament'.*'permanent'"):
        Img402(Img402Options(tiers={"hero/*": "permament"}), a_setup())


def test_importing_the_host_leaves_httpx_alone() -> None:
    import subprocess

    code = "import imghost.hosts.img402.host, sys; sys.exit('httpx' in sys.modules or 'httpcore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1969-12-31T00:00:00Z"])
@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", ""])
def test_the_first_and_the_last_moment_that_there_are_can_be_compared(tmp_path: Path, end: str, date: str) -> None:
    body = {"url": "https://i.img402.dev/abc.png", "id": "abc", "expiresAt": end}
    with a_host(Server(lambda _: Reply.json(body, 200, Date=date))) as host:
        if end.startswith("9999") and "9999" not in date:
            assert host.upload(a_payload(tmp_path)).expires is not None
        else:
            assert "sooner than `retention` asks" in refused(host, a_payload(tmp_path)).reason


@pytest.mark.parametrize("tier", ROUTES)
def test_a_tiers_price_is_the_most_that_is_signed_for_it(tier: str) -> None:
    """The price is told and counted before the upload; the cap is what a challenge is held to."""
    assert TIERS[tier].price * ATOMS == ROUTES[tier].cap


def test_what_auto_may_cost_is_the_price_of_the_tier_that_it_would_pay_for() -> None:
    for retention, tier in ((None, "permanent"), (timedelta(days=365), "1-year"), (timedelta(days=366), "permanent")):
        host = Img402(Img402Options(tier="auto"), a_setup(retention=retention))
        assert host.limits.price == TIERS[tier].price


class TestGitInCi:
    """What is paid in CI has to be kept: where git does not say so, its own words and the remedy do."""

    def objection(self, lock: Path) -> str:
        with pytest.raises(SettingsError) as caught:
            check_kept(lock, {"CI": "1"})
        assert str(caught.value).isprintable()
        return str(caught.value)

    def a_checkout(self, folder: Path, *, is_kept: bool = True) -> Path:
        lock = folder / "imghost.lock"
        lock.write_text("", "utf-8")
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        if is_kept:
            subprocess.run(["git", "-C", str(folder), "add", lock.name], check=True)
        return lock

    def test_a_lock_that_git_keeps_is_enough(self, tmp_path: Path) -> None:
        check_kept(self.a_checkout(tmp_path), {"CI": "1"})

    def test_a_checkout_of_somebody_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lock = self.a_checkout(tmp_path)
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        assert re.search("it says: fatal: detected dubious ownership.*; .*safe.directory", self.objection(lock))

    def test_no_checkout_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        assert "it says: fatal: not a git repository" in self.objection(tmp_path / "imghost.lock")

    def test_no_git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lock = self.a_checkout(tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "it says: git cannot be run: No such file or directory; install git" in self.objection(lock)

    def test_a_lock_that_git_does_not_keep(self, tmp_path: Path) -> None:
        lock = self.a_checkout(tmp_path, is_kept=False)
        assert "commit imghost.lock, made by a build outside CI" in self.objection(lock)
