"""Whole MkDocs builds that pay: exact amounts on a real chain, nothing the second time, and money told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.chain import shared_chain
from doubles.img402_paid import PaidImg402
from sites import picture, small_site, write

from imghost.cli.main import main
from imghost.hosts.img402.journal import FILE, Budget, Journal, Purchase, Sent, Signed, State, lock_name

DOLLAR = 1_000_000
CONFIG = """
site_name: Paid
plugins:
  - imghost:
      host: img402
      max_cost: {max_cost}
      retention: {retention}
      report: report.json
      options: {{tier: {tier}, api_url: "{url}"}}
"""


class Purse:
    """A wallet of USDC alone on the chain: it has no ether."""

    def __init__(self) -> None:
        self.chain = shared_chain()
        account = self.chain.wallet(100)
        self.address, self.key = account.address, "0x" + bytes(account.key).hex()

    @property
    def paid(self) -> int:
        return 100 * DOLLAR - self.chain.balance(self.address)


@pytest.fixture
def purse() -> Purse:
    return Purse()


def project(
    folder: Path, url: str, *, tier: str = "permanent", retention: str = "permanent", max_cost: str = "5"
) -> Path:
    """Write a MkDocs project that shows three images, one of them under two names."""
    pages = "\n\n".join(f"![]({name}.png)" for name in ("a", "b", "c", "again"))
    images = {f"docs/{name}.png": picture(number) for number, name in enumerate(("a", "b", "c"))}
    config = CONFIG.format(url=url, tier=tier, retention=retention, max_cost=max_cost)
    return write(folder, {"mkdocs.yml": config, "docs/index.md": pages, "docs/again.png": picture(0), **images})


def build(folder: Path, purse: Purse, **environ: str) -> subprocess.CompletedProcess[str]:
    """Build as a user would, with the wallet in the environment."""
    given = {"IMG402_PRIVATE_KEY": purse.key, "IMGHOST_STATE_DIR": str(folder / "state"), **environ}
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build"], cwd=folder, env=os.environ | given, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip


def images(folder: Path) -> dict[str, int]:
    return json.loads((folder / "report.json").read_text("utf-8"))["images"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("tier", "retention", "atoms", "cost"),
    [("permanent", "permanent", 3 * DOLLAR, "3.00"), ("1-year", "365d", 30_000, "0.03")],
)
def test_build_of_three_images_pays_exactly_once(tmp_path, purse, version, tier, retention, atoms, cost):
    with PaidImg402(chain=purse.chain, version=version) as double:
        project(tmp_path, double.url, tier=tier, retention=retention)
        done = build(tmp_path, purse)
        assert done.returncode == 0, done.stderr
        assert purse.paid == atoms
        assert images(tmp_path)["uploaded"] == 3
        assert json.loads((tmp_path / "report.json").read_text("utf-8"))["cost"] == cost
        assert f"for ${cost}" in done.stderr
        assert (tmp_path / "site/index.html").read_text("utf-8").count(double.url) == 4
        done = build(tmp_path, purse)
        assert done.returncode == 0, done.stderr
        assert (purse.paid, images(tmp_path)["uploaded"]) == (atoms, 0)
    lock = (tmp_path / "imghost.lock").read_text("utf-8")
    records = [json.loads(line) for line in lock.splitlines()[1:]]
    assert all(set(record["receipt"]) == {"amount", "network", "transaction"} for record in records)
    written = (
        done.stderr
        + done.stdout
        + "".join(
            path.read_bytes().decode("latin-1")
            for path in tmp_path.rglob("*")
            if path.is_file() and "state" not in path.parts
        )
    )
    assert purse.key.removeprefix("0x") not in written


TIERS = 'options: {{tier: free, tiers: {{"hero/*": permanent, "shots/*": 1-year}}, api_url: "{url}"}}'


def tiered(folder: Path, url: str, max_cost: str) -> Path:
    """Write a project with an image in each of three tiers, one of them also under a free name, and a notice."""
    config = CONFIG.replace('options: {{tier: {tier}, api_url: "{url}"}}', TIERS).replace("report.json", "report.html")
    names = ("hero/a", "shots/b", "c", "free-name-of-a")
    images = {f"docs/{name}.png": picture(number % 3) for number, name in enumerate(names)}
    pages = "\n\n".join(f"![{name}]({name}.png)" for name in names)
    config = config.format(url=url, tier="", retention="7d", max_cost=max_cost)
    return write(folder, {"mkdocs.yml": config, "docs/index.md": pages, **images})


def test_each_image_is_paid_in_the_tier_that_its_path_chooses(tmp_path, purse, monkeypatch, capsys):
    with PaidImg402(chain=purse.chain) as double:
        tiered(tmp_path, double.url, "1.01")
        done = build(tmp_path, purse)
        assert done.returncode == 0, done.stderr
        assert "to img402 for $1.01" in done.stderr
        assert (purse.paid, len(double.server.requests("POST", "/api/free"))) == (DOLLAR + 10_000, 1)
        build(tmp_path, purse)
        assert (purse.paid, len(double.images)) == (DOLLAR + 10_000, 3)
    lock = [json.loads(line) for line in (tmp_path / "imghost.lock").read_text("utf-8").splitlines()[1:]]
    lasting = {record["path"]: bool(record["expires"]) for record in lock}
    assert lasting == {"free-name-of-a.png": False, "shots/b.png": True, "c.png": True}
    assert "a notice of 90 days before it ends" in (tmp_path / "report.html").read_text("utf-8")


def test_tiers_are_planned_and_counted_in_max_cost(tmp_path, purse, monkeypatch, capsys):
    with PaidImg402(chain=purse.chain) as double:
        tiered(tmp_path, double.url, "1.00")
        done = build(tmp_path, purse)
        assert (
            "3 images would cost $1.01, over max_cost ($1.00): nothing is uploaded; set max_cost: 1.01" in done.stderr
        )
        assert (purse.paid, double.images) == (0, {})
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("IMG402_PRIVATE_KEY", purse.key)
        monkeypatch.setenv("IMGHOST_STATE_DIR", str(tmp_path / "state"))
        assert main(["plan", "site"]) == 0
        out = capsys.readouterr().out
        assert all(part in out for part in ("3 images", "$1.01", "1 1-year, 1 free, 1 permanent"))
        assert main(["plan", "site", "--json"]) == 0
        uploads = json.loads(capsys.readouterr().out)["uploads"]
        assert {it["path"]: it["tier"] for it in uploads} == {
            "free-name-of-a.png": "permanent", "shots/b.png": "1-year", "c.png": "free",
        }  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    "environ", [{"GITHUB_EVENT_NAME": "pull_request"}, {"IMGHOST_SERVE": "1"}], ids=["pull request", "preview"]
)
def test_build_that_may_not_pay_sends_nothing(tmp_path, purse, environ):
    with PaidImg402(chain=purse.chain) as double:
        project(tmp_path, double.url)
        assert build(tmp_path, purse, **environ).returncode == 0
        assert (purse.paid, double.server.requests()) == (0, [])


def test_build_over_max_cost_sends_nothing_and_names_the_line_to_change(tmp_path, purse):
    """What it would cost is asked, since prices move; that is all."""
    with PaidImg402(chain=purse.chain) as double:
        project(tmp_path, double.url, max_cost="2.99")
        done = build(tmp_path, purse)
        assert done.returncode == 0
        assert "set max_cost: 3.00" in done.stderr
        assert [request.body for request in double.server.requests()] == [b"{}"]
        assert (purse.paid, double.payments(), double.images) == (0, [], {})


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("max_cost", "atoms"), [("0.03", 30_000), ("0.02", 0)])
def test_the_price_that_the_host_asks_now_decides_and_the_known_one_is_only_the_highest(
    tmp_path, purse, max_cost, atoms
):
    with PaidImg402(chain=purse.chain, prices={"/api/upload/token/permanent": 10_000}) as double:
        project(tmp_path, double.url, max_cost=max_cost)
        done = build(tmp_path, purse)
        assert done.returncode == 0, done.stderr
        assert purse.paid == atoms
        assert ("set max_cost: 0.03" in done.stderr) is (atoms == 0)


@pytest.mark.long
def test_untracked_lock_in_ci_is_refused_before_anything_is_sent(tmp_path, purse):
    with PaidImg402(chain=purse.chain) as double:
        project(tmp_path, double.url)
        done = build(tmp_path, purse, CI="true")
        assert done.returncode == 1
        assert "imghost.lock" in done.stderr
        assert "Traceback" not in done.stderr
        assert (purse.paid, double.server.requests("POST")) == (0, [])


def test_auto_without_a_budget_publishes_what_is_free(tmp_path, purse, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMG402_PRIVATE_KEY", purse.key)
    monkeypatch.setenv("IMGHOST_STATE_DIR", str(tmp_path / "state"))
    small_site(tmp_path / "site")
    with PaidImg402(chain=purse.chain) as double:
        flags = ["--host", "img402", "--retention", "7d", "--option", "tier=auto", "--option", f"api_url={double.url}"]
        assert main(["rehost", "site", *flags, "--strict"]) == 0
        assert purse.paid == 0


def test_plan_and_status_tell_the_money(tmp_path, purse, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMG402_PRIVATE_KEY", purse.key)
    monkeypatch.setenv("IMGHOST_STATE_DIR", str(tmp_path / "state"))
    small_site(tmp_path / "site")
    with PaidImg402(chain=purse.chain) as double:
        flags = ["--host", "img402", "--option", f"api_url={double.url}", "--max-cost", "4"]
        assert main(["plan", "site", *flags]) == 0
        shown = capsys.readouterr().out
        assert "$3.00" in shown
        assert "$1.00 each" in shown
        assert "max_cost $4.00" in shown
        assert main(["rehost", "site", *flags]) == 0
        capsys.readouterr()
        assert main(["status", "--json", *flags]) == 0
        assert json.loads(capsys.readouterr().out)["money"] == {"spent": "3.00", "unresolved": "0.00", "lost": []}


def test_wallet_prints_the_address_and_without_one_says_so(purse, monkeypatch, capsys):
    assert main(["wallet"]) == 2
    monkeypatch.setenv("IMG402_PRIVATE_KEY", purse.key)
    capsys.readouterr()
    assert main(["wallet"]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == purse.address
    assert purse.key not in printed.out + printed.err


def test_without_the_extra_one_line_says_what_to_install(tmp_path, purse):
    """The extra is taken away: its module cannot be imported."""
    small_site(tmp_path / "site")
    code = (
        "import sys\n"
        "sys.modules['eth_account'] = None\n"
        "from imghost.cli.main import main\n"
        "raise SystemExit(main(['rehost', 'site', '--host', 'img402', '--max-cost', '5']))"
    )
    environ = os.environ | {"IMG402_PRIVATE_KEY": purse.key, "IMGHOST_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'pip install "imghost[x402]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_lost_payment_is_told_and_paid_again_only_by_the_users_word(tmp_path, purse, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGHOST_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("IMG402_PRIVATE_KEY", purse.key)
    digest = "ab" * 32
    journal = Journal(tmp_path / "state" / FILE)
    signed = Signed(
        "X-PAYMENT", "cheque", 1, purse.address, purse.address, DOLLAR, "0x1", 2_000_000_000, "https://img402.dev/api"
    )
    budget = Budget(DOLLAR, lock_name(tmp_path / "imghost.lock"))
    purchase, sent = Purchase("https://img402.dev", digest), Sent("cd" * 32, 9, "image/png", "")
    made, _ = journal.reserve(purchase, sent, DOLLAR, budget, lambda _: signed)
    journal.refuse(made, State.LOST, 1)
    assert main(["status"]) == 1
    assert f"lost {digest}" in capsys.readouterr().out
    assert main(["wallet", "--pay-again", "0" * 64]) == 2
    assert main(["wallet", "--pay-again", digest]) == 0
    capsys.readouterr()
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["money"] == {"spent": "0.00", "unresolved": "1.00", "lost": []}


@pytest.mark.parametrize("length", [8, 12, 64])
def test_a_paid_image_that_the_host_lost_is_paid_again_by_the_users_word_alone(
    tmp_path, purse, monkeypatch, capsys, length
):
    """Its record goes, too: with it in the lock the next build would name what is gone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGHOST_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("IMG402_PRIVATE_KEY", purse.key)
    digest, url = "ab" * 32, "https://i.img402.dev/f5rvllu041.png"
    journal = Journal(tmp_path / "state" / FILE)
    signed = Signed(
        "X-PAYMENT", "cheque", 1, purse.address, purse.address, DOLLAR, "0x1", 2_000_000_000, "https://img402.dev/api"
    )
    budget = Budget(DOLLAR, lock_name(tmp_path / "imghost.lock"))
    purchase, sent = Purchase("https://img402.dev", digest), Sent("cd" * 32, 9, "image/png", "")
    made, _ = journal.reserve(purchase, sent, DOLLAR, budget, lambda _: signed)
    journal.keep_token(made, "token", 9.0, None)
    journal.finish(made, url, "f5rvllu041", None, None)
    told = {"sha256": digest, "host": "img402", "url": url, "id": "f5rvllu041", "variant": "", "bytes": 9}
    told |= {"media_type": "image/png", "width": 4, "height": 3, "uploaded": "2026-03-01T12:00:00Z", "expires": None}
    other = told | {"sha256": "cd" * 32, "url": "https://i.img402.dev/other00000.png"}
    lines = [{"imghost_lock": 1, "host": "img402"}, told, other]
    Path("imghost.lock").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["status"]) == 0
    assert "--pay-again SHA256" in capsys.readouterr().out
    assert main(["wallet", "--pay-again", digest[:length]]) == 0
    assert url not in Path("imghost.lock").read_text()
    assert other["url"] in Path("imghost.lock").read_text()
