"""A credential that a host repeats reaches nobody, whichever host it is and however it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from doubles.payer import a_host, a_payload
from doubles.server import Reply, Request, Server
from hypothesis import given
from hypothesis import strategies as st
from test_img402_x402 import a_challenge, an_offer

from imghost.errors import HostError
from imghost.hosts.answers import refusal
from imghost.hosts.img402 import x402
from imghost.net import Client, credentials, hidden, hidden_text

KEYS = ("plain-key-12345", 'quo"ted\\key/1', "img/live/slash", "a" * 256)
NAMES = (
    *("Authorization", "X-Upload-Token", "PAYMENT-SIGNATURE", "X-PAYMENT"),
    *("X-Amz-Security-Token", "x-api-key", "Cookie", "Shelf-Token"),
)


def written(key: str) -> tuple[str, ...]:
    once = json.dumps(key)[1:-1]
    return key, once, json.dumps(once)[1:-1], once.replace("/", "\\/"), json.dumps(once.replace("/", "\\/"))[1:-1]


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=64), st.text())
def test_no_form_of_a_credential_is_left(key: str, around: str) -> None:
    for form in written(key):
        text = hidden_text(around + form + around, (key,))
        assert text.count("[hidden]") >= 1
        assert form not in text.replace("[hidden]", "") or form in around + around


def test_the_credentials_of_a_request_are_those_that_it_sends() -> None:
    sent = dict.fromkeys(NAMES, f"Bearer {KEYS[0]}")
    assert credentials(sent) == (KEYS[0],) * len(NAMES)
    assert credentials({"Accept": "application/json", "Idempotency-Key": "k" * 64}) == ()
    assert credentials({"Authorization": "Bearer x"}) == ()
    assert hidden(b'{"x": 1}', ()) == b'{"x": 1}'


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", KEYS)
def test_what_a_host_repeats_of_a_request_is_hidden_before_anybody_reads_it(name: str, key: str) -> None:
    def echo(request: Request) -> Reply:
        return Reply.json({"error": f"bad {key}", "inner": json.dumps({"key": key})}, 403, X_Echo=key)

    with Server(echo) as server, Client(5, environ={}) as client:
        answer = client.send("POST", server.url, headers={name: f"Bearer {key}"})
    error = refusal("any", answer)
    everything = answer.body.decode() + repr(answer.headers) + str(error)
    assert not any(form in everything for form in written(key))
    assert "bad [hidden]" in str(error)


@pytest.mark.parametrize("status", [400, 402, 403, 409, 429, 500, 503])
@pytest.mark.parametrize("step", ["payment", "token"])
def test_a_host_that_repeats_a_payment_or_a_token_gets_neither_printed(tmp_path: Path, step: str, status: int) -> None:
    token = "t0ken-canary-" + "5" * 27

    def route(request: Request) -> Reply:
        sent = request.headers.get("payment-signature") or request.headers.get("x-upload-token")
        if sent is None:
            place = {"url": server.url + request.path}
            return Reply.json(a_challenge(2, an_offer(2, amount="10000"), resource=place), 402)
        if step == "token" and sent != token:
            return Reply.json({"token": token, "expiresAt": None})
        told = {"errorReason": f"no {sent}"}
        return Reply.json({"error": f"no {sent}", "message": sent}, status, PAYMENT_RESPONSE=x402.encoded(told))

    with Server(route) as server, Client(5, environ={}) as client, pytest.raises(HostError) as caught:
        a_host(client, server.url, tmp_path).upload(a_payload(tmp_path))
    sent = {request.headers.get("payment-signature", "") for request in server.log} - {""}
    assert len(sent) == 1
    assert not [secret for secret in (*sent, token) if secret[:30] in str(caught.value)]
