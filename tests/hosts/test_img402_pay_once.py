"""Each image is paid once, by the balance on a real chain: kills, lost journals, races, and tests of these tests."""

import json
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.chain import Chain, shared_chain
from doubles.img402_paid import PAYEE, PaidImg402
from doubles.payer import Counting, a_host, a_payload, changed
from doubles.paying_process import STEPS
from doubles.server import Fault, Request
from sites import small_site

from imghost.cli.main import main
from imghost.errors import Action, HostError
from imghost.hosts.img402.host import Img402
from imghost.hosts.img402.journal import Journal, Payment, State
from imghost.net import Client

SCRIPT = Path(__file__).parents[1] / "doubles" / "paying_process.py"
DOLLAR = 1_000_000


class Wallet:
    """A wallet on the chain, and what left it."""

    def __init__(self, chain: Chain) -> None:
        account = chain.wallet(100)
        self.chain = chain
        self.address = account.address
        self.key = "0x" + bytes(account.key).hex()

    @property
    def paid(self) -> int:
        return 100 * DOLLAR - self.chain.balance(self.address)


@pytest.fixture
def wallet() -> Wallet:
    return Wallet(shared_chain())


@contextmanager
def processes(count: int, **task: Any) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes that wait for each other before they buy."""
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps({**task, "images": images})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for images in (task.get("each") or [task.get("images", [0])] * count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def outcomes(started: list[subprocess.Popen[str]]) -> list[dict[str, str]]:
    return [json.loads(line) for process in started for line in process.communicate(timeout=60)[0].splitlines()]


def bought(folder: Path, url: str, key: str, number: int = 0) -> Any:
    """Buy in a build of its own, patiently."""
    with Client(5, environ={}) as client:
        return tried(a_host(client, url, folder, key), folder, number)


def tried(host: Img402, folder: Path, number: int = 0, tries: int = 5) -> Any:
    for _ in range(tries):
        try:
            return host.upload(a_payload(folder, number))
        except HostError as error:
            if error.action not in {Action.RETRY, Action.WAIT}:
                raise
    raise AssertionError("it never stopped asking to retry")


# Killed.


@pytest.mark.sampled(1)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(("step", "version"), [*((step, 2) for step in STEPS), *((step, 1) for step in STEPS[2:6:2])])
def test_a_build_that_is_killed_at_a_step_uploads_and_pays_once_with_the_next(
    tmp_path: Path, wallet: Wallet, step: str, version: int
) -> None:
    with PaidImg402(chain=wallet.chain, version=version) as double:
        with processes(1, url=double.url, folder=str(tmp_path), key=wallet.key, step=step) as (process,):
            assert process.wait(timeout=60) == -9
        hosted = bought(tmp_path, double.url, wallet.key)
        assert hosted.url.removeprefix(double.url) in double.images
        assert (wallet.paid, len(double.images)) == (DOLLAR, 1)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("memory", ["nonce", "none"])
@pytest.mark.parametrize("step", [STEPS[3], STEPS[5]])
def test_a_build_that_is_killed_and_whose_journal_is_lost_pays_once(
    tmp_path: Path, wallet: Wallet, step: str, memory: str
) -> None:
    """A host that knows payments by their number gives the image; with another one the chain refuses to pay."""
    with PaidImg402(chain=wallet.chain, memory=memory) as double:
        with processes(1, url=double.url, folder=str(tmp_path), key=wallet.key, step=step) as (process,):
            assert process.wait(timeout=60) == -9
        shutil.rmtree(tmp_path / "state")
        if memory == "nonce":
            bought(tmp_path, double.url, wallet.key)
            assert len(double.images) == 1
        else:
            with pytest.raises(HostError, match="unresolved"):
                bought(tmp_path, double.url, wallet.key)
        assert wallet.paid == DOLLAR


def test_a_build_on_another_machine_pays_nothing_for_what_was_paid(tmp_path: Path, wallet: Wallet) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with PaidImg402(chain=wallet.chain, memory="none") as double:
        bought(tmp_path / "one", double.url, wallet.key)
        with pytest.raises(HostError, match="nonce_already_used"):
            bought(tmp_path / "two", double.url, wallet.key)
        assert wallet.paid == DOLLAR


# Races.


@pytest.mark.parametrize("version", [1, 2])
def test_eight_simultaneous_sends_of_one_payment_pay_once(tmp_path: Path, wallet: Wallet, version: int) -> None:
    with PaidImg402(chain=wallet.chain, version=version, memory="none") as double, Client(5, environ={}) as client:
        double.server.fail(Fault.RESET_AFTER_BODY, when=is_paid)
        host = a_host(client, double.url, tmp_path, wallet.key)
        with pytest.raises(HostError):
            host.upload(a_payload(tmp_path))
        (first,) = double.payments()
        headers = {name: text for name, text in first.headers.items() if "payment" in name}
        assert len(headers) == 1
        answers: list[int] = []

        def send() -> None:
            url = f"{double.url}/api/upload/token/permanent"
            answers.append(client.send("POST", url, headers=headers, json={}).status)

        run_together([send] * 8)
        assert (sorted(answers), wallet.paid) == ([200] + [402] * 7, DOLLAR)


def is_paid(request: Request) -> bool:
    return bool({"x-payment", "payment-signature"} & set(request.headers))


def run_together(tasks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_eight_threads_buy_eight_images_for_eight_dollars(tmp_path: Path, wallet: Wallet) -> None:
    payee = wallet.chain.balance(PAYEE)
    payloads = [a_payload(tmp_path, number) for number in range(8)]
    with PaidImg402(chain=wallet.chain) as double, Client(20, environ={}) as client:
        host = a_host(client, double.url, tmp_path, wallet.key, max_cost="8")
        run_together([lambda payload=payload: host.upload(payload) for payload in payloads])  # type: ignore[misc]
        assert (wallet.paid, wallet.chain.balance(PAYEE) - payee, len(double.images)) == (8 * DOLLAR, 8 * DOLLAR, 8)
        assert host.spent == 8


@pytest.mark.long
def test_eight_processes_that_want_one_image_pay_once(tmp_path: Path, wallet: Wallet) -> None:
    with PaidImg402(chain=wallet.chain) as double:
        with processes(8, url=double.url, folder=str(tmp_path), key=wallet.key) as started:
            found = outcomes(started)
        assert (wallet.paid, len(double.images)) == (DOLLAR, 1)
        assert len(found) == 8
        assert {outcome.get("error") for outcome in found} == {None}
        assert len({outcome["url"] for outcome in found}) == 1


@pytest.mark.long
def test_a_budget_for_one_image_holds_between_processes(tmp_path: Path, wallet: Wallet) -> None:
    with PaidImg402(chain=wallet.chain) as double:
        task = {"url": double.url, "folder": str(tmp_path), "key": wallet.key, "max_cost": "1"}
        with processes(2, **task, each=[[0], [1]]) as started:
            found = outcomes(started)
        assert wallet.paid == DOLLAR
        assert sorted("url" in outcome for outcome in found) == [False, True]
        assert "max_cost" in next(outcome["error"] for outcome in found if "error" in outcome)


# Tests of the tests: without each guard, the same scenario costs twice.


class Forgetful(Journal):
    """A journal that writes nothing ahead."""

    def find(self, *_: Any, **__: Any) -> None:
        return None

    def read(self, payment: Payment) -> Payment:
        return payment

    def reserve(self, *order: Any) -> tuple[Payment, bool]:
        other = Journal(self.file.with_name(f"{secrets.token_hex(4)}.sqlite3"))
        return other.reserve(*order)

    def keep_token(self, *_: Any) -> None:
        pass

    def finish(self, *_: Any) -> None:
        pass

    def refuse(self, payment: Payment, state: State, refusals: int) -> None:
        pass


def a_random_number(*_: object) -> str:
    return "0x" + secrets.token_hex(32)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("has_random_number", "is_forgetful", "paid"),
    [(True, True, 20_000), (True, False, 10_000), (False, True, 10_000), (False, False, 10_000)],
)
def test_without_the_journal_and_the_fixed_number_a_lost_reply_is_paid_twice(
    tmp_path: Path, wallet: Wallet, version: int, has_random_number: bool, is_forgetful: bool, paid: int
) -> None:
    changes: dict[str, Any] = {}
    if has_random_number:
        changes["number"] = a_random_number
    if is_forgetful:
        journal = Forgetful(tmp_path / "journal" / "x")
        changes["journal"] = lambda: journal
    with PaidImg402(chain=wallet.chain, version=version) as double, Client(5, environ={}) as client:
        double.server.fail(Fault.CLOSE_AFTER_ROUTE, when=is_paid)
        signer = Counting(wallet.key)
        host = a_host(
            client, double.url, tmp_path, wallet.key, tier="1-year", retention=timedelta(days=365), signer=signer
        )
        # Without the journal, the chain refuses the second payment, whose number is the first one's.
        may_be_refused = (has_random_number, is_forgetful) == (False, True)
        with suppress(HostError) if may_be_refused else nullcontext():
            tried(changed(host, **changes), tmp_path)
        assert wallet.paid == paid


# Whole builds.


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wallet: Wallet) -> Path:
    """Make a project with images in its site, its wallet in the environment."""
    monkeypatch.chdir(tmp_path)
    small_site(tmp_path / "site")
    monkeypatch.setenv("IMG402_PRIVATE_KEY", wallet.key)
    monkeypatch.setenv("IMGHOST_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def built(double: PaidImg402, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    status = main(["rehost", "site", "--json", "--host", "img402", "--option", f"api_url={double.url}", *arguments])
    printed = capsys.readouterr()
    return status, json.loads(printed.out or "{}"), printed.err


def test_a_site_is_paid_for_once_and_the_lock_has_the_receipts(
    site: Path, wallet: Wallet, capsys: pytest.CaptureFixture[str]
) -> None:
    with PaidImg402(chain=wallet.chain) as double:
        status, report, err = built(double, capsys, "--max-cost", "4")
        assert status == 0, err
        count = report["images"]["uploaded"]
        assert count >= 2
        assert wallet.paid == count * DOLLAR
        assert wallet.key[2:] not in err
        asked = len(double.server.log)
        shutil.rmtree(site / ".cache")
        again = built(double, capsys, "--max-cost", "4")[1]
        assert (again["images"]["uploaded"], len(double.server.log), wallet.paid) == (0, asked, count * DOLLAR)
        lines = (site / "imghost.lock").read_text("utf-8").splitlines()
        assert {json.loads(line)["receipt"]["transaction"] for line in lines[1:]} == set(double.settled)


@pytest.mark.long
def test_a_site_whose_lock_and_cache_are_lost_is_not_paid_for_again(
    site: Path, wallet: Wallet, capsys: pytest.CaptureFixture[str]
) -> None:
    with PaidImg402(chain=wallet.chain) as double:
        count = built(double, capsys, "--max-cost", "4")[1]["images"]["uploaded"]
        (site / "imghost.lock").unlink()
        shutil.rmtree(site / ".cache")
        shutil.rmtree(site / "site")
        small_site(site / "site")
        status, _, err = built(double, capsys, "--max-cost", "4")
        assert status == 0, err
        assert (wallet.paid, len(double.images)) == (count * DOLLAR, count)


@pytest.mark.parametrize(
    ("environ", "arguments"),
    [
        ({}, []),
        ({}, ["--max-cost", "0.5"]),
        ({}, ["--max-cost", "9", "--max-uploads", "1"]),
        ({}, ["--max-cost", "9", "--frozen"]),
        ({"GITHUB_EVENT_NAME": "pull_request_target"}, ["--max-cost", "9"]),
        ({"CI_MERGE_REQUEST_IID": "1"}, ["--max-cost", "9"]),
        ({"CI": "true"}, ["--max-cost", "9"]),
    ],
)
def test_a_build_that_may_not_pay_sends_nothing(
    site: Path,
    wallet: Wallet,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    arguments: list[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with PaidImg402(chain=wallet.chain) as double:
        built(double, capsys, *arguments)
        # Over a budget the host's price of now is asked, and nothing more.
        asked = [b"{}"] if arguments == ["--max-cost", "0.5"] else []
        assert ([request.body for request in double.server.log], wallet.paid) == (asked, 0)
