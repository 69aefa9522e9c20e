"""A command signs in the key's place: a hardware wallet's, or a payment agent's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from doubles.chain import shared_chain
from doubles.img402_paid import PaidImg402
from doubles.payer import a_payload
from sites import small_site

from imghost.errors import Action, HostError
from imghost.hosts import Setup
from imghost.hosts.img402 import Img402Options
from imghost.hosts.img402.host import Img402
from imghost.hosts.img402.wallet import wallet_address
from imghost.net import Client

AGENT = """
import json, os, sys
from eth_account import Account
from eth_account.messages import encode_typed_data
data = json.load(sys.stdin)
with open(os.environ["ASKED"], "a") as log:
    log.write(json.dumps(data) + "\\n")
message = encode_typed_data(full_message=data)
print("0x" + bytes(Account.from_key(os.environ["AGENT_KEY"]).sign_message(message).signature).hex())
"""


class Agent:
    """A program of the user's, and what it was asked."""

    def __init__(self, folder: Path, dollars: float = 5, text: str = AGENT) -> None:
        self.account = shared_chain().wallet(dollars)
        self.had = shared_chain().balance(self.account.address)
        self.log = folder / "asked"
        script = folder / "my agent.py"
        script.write_text(text)
        self.key = "0x" + bytes(self.account.key).hex()
        self.command = f'{sys.executable} "{script}"'

    @property
    def asked(self) -> list[str]:
        return (
            [json.loads(line)["primaryType"] for line in self.log.read_text().splitlines()] if self.log.exists() else []
        )

    @property
    def paid(self) -> int:
        return self.had - shared_chain().balance(self.account.address)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    agent = Agent(tmp_path)
    monkeypatch.setenv("AGENT_KEY", agent.key)
    monkeypatch.setenv("ASKED", str(agent.log))
    return agent


def a_host(client: Client, url: str, folder: Path, **environ: str) -> Img402:
    environ = {"IMGHOST_STATE_DIR": str(folder / "state"), **environ}
    setup = Setup(client, None, None, folder, folder, environ, max_cost=Decimal(5), lock=folder / "imghost.lock")
    return Img402(Img402Options(api_url=url), setup)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("version", [1, 2])
def test_a_command_signs_and_no_key_is_needed(tmp_path: Path, agent: Agent, version: int) -> None:
    with PaidImg402(chain=shared_chain(), version=version) as double, Client(5, environ={}) as client:
        host = a_host(client, double.url, tmp_path, IMG402_SIGNER=agent.command)
        assert not host.lacks_credential
        host.upload(a_payload(tmp_path))
        host.upload(a_payload(tmp_path, 1))
        assert agent.paid == 2_000_000
    assert agent.asked == ["Question", "TransferWithAuthorization", "TransferWithAuthorization"]


@pytest.mark.long
def test_a_named_address_spares_the_question(tmp_path: Path, agent: Agent) -> None:
    with PaidImg402(chain=shared_chain()) as double, Client(5, environ={}) as client:
        known = {"IMG402_SIGNER": agent.command, "IMG402_ADDRESS": agent.account.address}
        a_host(client, double.url, tmp_path, **known).upload(a_payload(tmp_path))
    assert (agent.paid, agent.asked) == (1_000_000, ["TransferWithAuthorization"])


def test_a_signature_of_another_wallet_is_not_sent(tmp_path: Path, agent: Agent) -> None:
    other = shared_chain().wallet(1).address
    with PaidImg402(chain=shared_chain()) as double, Client(5, environ={}) as client:
        host = a_host(client, double.url, tmp_path, IMG402_SIGNER=agent.command, IMG402_ADDRESS=other)
        with pytest.raises(HostError, match="IMG402_SIGNER did not sign") as caught:
            host.upload(a_payload(tmp_path))
        assert (caught.value.action, double.payments(), agent.paid) == (Action.STOP, [], 0)


@pytest.mark.parametrize(
    "command",
    [
        *("/nowhere/agent", "false", "echo 0x12", "echo", "'", f"echo 0x{'0' * 130}", "echo no digits at all"),
        "sh -c 'echo ::no >&2; exit 3'",
    ],
)
def test_a_command_that_does_not_sign_stops_the_build_in_words(tmp_path: Path, command: str) -> None:
    with PaidImg402(chain=shared_chain()) as double, Client(5, environ={}) as client:
        with pytest.raises(HostError, match="IMG402_SIGNER did not sign") as caught:
            a_host(client, double.url, tmp_path, IMG402_SIGNER=command).upload(a_payload(tmp_path))
        assert (caught.value.action, double.payments()) == (Action.STOP, [])
        assert "::" not in str(caught.value)


def test_a_signature_of_a_command_that_failed_is_none(tmp_path: Path, agent: Agent) -> None:
    """A wallet that asked its owner, and was told no, may print what it had by then."""
    refusing = f"sh -c '{agent.command}; echo the owner said no >&2; exit 3'"
    with PaidImg402(chain=shared_chain()) as double, Client(5, environ={}) as client:
        with pytest.raises(HostError, match=r"the owner said no \(exit status 3\)") as caught:
            a_host(client, double.url, tmp_path, IMG402_SIGNER=refusing).upload(a_payload(tmp_path))
        assert (caught.value.action, double.payments(), agent.paid) == (Action.STOP, [], 0)


@pytest.mark.long
def test_the_command_chooses_the_host_and_shows_its_wallet(tmp_path: Path, agent: Agent) -> None:
    small_site(tmp_path / "site", 1)
    environ = {"IMG402_SIGNER": agent.command, "IMGHOST_STATE_DIR": str(tmp_path / "state")}
    with PaidImg402(chain=shared_chain()) as double:
        done = subprocess.run(
            [sys.executable, "-m", "imghost", "rehost", "site", "--max-cost", "2", "--option", f"api_url={double.url}"],
            cwd=tmp_path, env=os.environ | environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert agent.paid == 1_000_000
    assert wallet_address(environ) == agent.account.address
