"""The x402 messages and the policy, against the official package's schemas and client."""

import base64
import json
import random
import warnings
from typing import Any

import pytest
from doubles.payer import KEY, Counting
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.hosts.img402 import x402
from imghost.hosts.img402.x402 import Policy, chosen
from imghost.net import Answer

PAYEE = "0x77f3c9bCb898Ad1d30e9a336E2cC3108d88D6c09"
URL = "https://img402.dev/api/upload/token"
POLICY = Policy("img402", URL, 10_000, frozenset({PAYEE.lower()}))
NUMBER = "0x" + "5a" * 32
NOW = 1_800_000_000


def an_offer(version: int, **changes: Any) -> dict[str, Any]:
    offer = {
        "scheme": "exact",
        "network": "base" if version == 1 else "eip155:8453",
        "maxAmountRequired" if version == 1 else "amount": "10000",
        "asset": x402.USDC,
        "payTo": PAYEE,
        "maxTimeoutSeconds": 300,
        "extra": {"name": "USD Coin", "version": "2"},
    }
    if version == 1:
        offer |= {"resource": URL, "description": "a token", "mimeType": "application/json"}
    return {**offer, **changes}


def a_challenge(version: int, *offers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    challenge: dict[str, Any] = {"x402Version": version, "error": "Payment required"}
    challenge["accepts"] = list(offers or [an_offer(version)])
    if version == 2:
        challenge["resource"] = {"url": URL, "description": "a token"}
    return {**challenge, **changes}


def in_header(challenge: object) -> Answer:
    return Answer(402, {"payment-required": base64.b64encode(json.dumps(challenge).encode()).decode()}, b"{}")


def in_body(challenge: object) -> Answer:
    return Answer(402, {}, json.dumps(challenge).encode())


def terms_of(answer: Answer, policy: Policy = POLICY) -> x402.Terms:
    return chosen(x402.read_challenge("img402", answer), policy)


def refusal_of(answer: Answer, policy: Policy = POLICY) -> HostError:
    with pytest.raises(HostError) as caught:
        terms_of(answer, policy)
    assert caught.value.action is Action.STOP
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize(
    "answer", [in_body(a_challenge(1)), in_body(a_challenge(2)), in_header(a_challenge(2)), in_header(a_challenge(1))]
)
def test_a_challenge_is_read_from_the_header_or_the_body_in_both_versions(answer: Answer) -> None:
    terms = terms_of(answer)
    assert (terms.amount, terms.pay_to, terms.seconds) == (10_000, PAYEE, 300)


def test_the_header_goes_before_the_body() -> None:
    cheap = base64.b64encode(json.dumps(a_challenge(2, an_offer(2, amount="7"))).encode()).decode()
    answer = Answer(402, {"payment-required": cheap}, json.dumps(a_challenge(1)).encode())
    assert terms_of(answer).amount == 7


def test_the_cheapest_acceptable_offer_is_chosen_not_the_first() -> None:
    offers = [
        an_offer(2),
        an_offer(2, network="solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", amount="1"),
        an_offer(2, amount="400"),
        an_offer(2, amount="3", payTo="0x" + "9" * 40),
    ]
    assert terms_of(in_header(a_challenge(2, *offers))).amount == 400


def test_a_payment_is_valid_for_ten_minutes_at_most() -> None:
    assert terms_of(in_header(a_challenge(2, an_offer(2, maxTimeoutSeconds=10 * 365 * 86_400)))).seconds == 600
    assert terms_of(in_header(a_challenge(2, an_offer(2, maxTimeoutSeconds=30)))).seconds == 30


@pytest.mark.parametrize("case", ["upper", "lower"])
def test_addresses_are_compared_without_their_capitals(case: str) -> None:
    payee = "0x" + getattr(PAYEE[2:], case)()
    offer = an_offer(2, payTo=payee, asset="0x" + getattr(x402.USDC[2:], case)())
    assert terms_of(in_header(a_challenge(2, offer))).pay_to == payee


BAD: list[tuple[str, object]] = [
    *(("scheme", value) for value in ("upto", "Exact", "", None, 1, ["exact"], {"exact": 1}, "exact ", "batch")),
    *(("network", value) for value in ("base-sepolia", "eip155:1", "eip155:84532", "BASE", None, 8453, ["base"], "")),
    *(("asset", value) for value in ("0x" + "1" * 40, None, "", 7, [x402.USDC], x402.USDC[:-1], "USDC")),
    *(("payTo", value) for value in ("0x" + "1" * 40, "0x" + "0" * 40, x402.USDC, PAYEE[:-1], PAYEE + "\n", None, 5)),
    *(
        ("amount", value)
        for value in (
            *("1e4", "0x10", "-1", "10000.0", "+5", " 5", "5 ", "5\n", "٥", "１０", "", "0", "00", "010", "1_000"),
            *("10001", str(10**30), "9" * 78, "9" * 5_000, 10_000, 10_000.0, None, True, ["1"], "∞", "NaN"),
        )
    ),
    *(
        ("maxTimeoutSeconds", value)
        for value in (29, 0, -1, None, "29", "3e2", "-300", "٣٠٠", "", 300.0, True, [300], {"a": 1}, -(10**30))
    ),
    *(
        ("extra", value)
        for value in (
            {"name": "USDC", "version": "2"},
            {"name": "USD Coin", "version": "1"},
            {"name": "USD Coin", "version": 2},
            {"assetTransferMethod": "permit2"},
            {"assetTransferMethod": "erc7710"},
            {"assetTransferMethod": None},
            {"name": None},
            "eip3009",
            [],
        )
    ),
]  # fmt: skip
BAD_PLACES: list[object] = [
    "https://img402.dev/api/upload/token/permanent",
    "https://img402.dev/api/upload",
    "http://img402.dev:8080/api/upload/token",
    "ftp://img402.dev/api/upload/token",
    "//evil.example/api/upload/token",
    "permanent",
    "https://img402.dev.evil.example/api/upload/token",
    "https://img402.dev:8443/api/upload/token",
    "https://a@img402.dev/api/upload/token",
    "https://[",
    7,
    ["https://img402.dev/api/upload/token"],
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("name", "value"), BAD)
def test_an_offer_that_fails_one_check_is_refused(version: int, name: str, value: object) -> None:
    field = "maxAmountRequired" if (version, name) == (1, "amount") else name
    error = refusal_of(in_body(a_challenge(version, an_offer(version, **{field: value}))))
    assert "refused" in error.reason


@pytest.mark.parametrize("place", BAD_PLACES)
def test_an_offer_for_another_request_is_refused(place: object) -> None:
    assert "for" in refusal_of(in_body(a_challenge(1, an_offer(1, resource=place)))).reason
    assert "for" in refusal_of(in_header(a_challenge(2, resource={"url": place}))).reason


def test_a_default_port_and_a_query_do_not_make_another_request() -> None:
    for place in ("https://img402.dev:443/api/upload/token", "https://IMG402.dev/api/upload/token?x=1"):
        assert terms_of(in_header(a_challenge(2, resource={"url": place}))).amount == 10_000
    assert terms_of(in_header(a_challenge(2, resource=None))).amount == 10_000


@pytest.mark.parametrize(
    "place",
    [
        *("http://img402.dev/api/upload/token", "https://img402.dev/api/upload/token/", "/api/upload/token", ""),
        *("http://img402.dev:80/api/upload/token", "//img402.dev/api/upload/token"),
    ],
)
def test_another_spelling_of_the_request_is_the_same_one(place: str) -> None:
    """Nothing that is signed depends on it: a server behind a proxy that speaks TLS thinks it is asked by http."""
    assert terms_of(in_body(a_challenge(1, an_offer(1, resource=place)))).amount == 10_000
    assert terms_of(in_header(a_challenge(2, resource={"url": place}))).amount == 10_000


@pytest.mark.parametrize("version", [1, 2])
def test_a_challenge_in_the_other_versions_words_is_read(version: int) -> None:
    offer = an_offer(version, maxTimeoutSeconds="300")
    mine, others = ("maxAmountRequired", "amount") if version == 1 else ("amount", "maxAmountRequired")
    amount = offer.pop(mine)
    terms = terms_of(in_body(a_challenge(version, {**offer, others: amount})))
    assert (terms.amount, terms.seconds) == (int(str(amount)), 300)
    both = a_challenge(version, {**offer, others: amount, mine: "10001"})
    assert "$" in refusal_of(in_body(both)).reason, "its own word counts"


@pytest.mark.parametrize("header", ["%%%", "", "e30="])
def test_a_broken_header_does_not_hide_a_good_body(header: str) -> None:
    answer = Answer(402, {"payment-required": header}, json.dumps(a_challenge(1)).encode())
    assert terms_of(answer).amount == 10_000
    refusal_of(Answer(402, {"payment-required": header}, b"{}"))


@pytest.mark.parametrize("payee", ["0x" + "0" * 40, x402.USDC])
def test_nobodys_address_is_paid_by_no_setting(payee: str) -> None:
    """What is sent there is lost for good."""
    policy = Policy("img402", URL, 10_000, frozenset({payee.lower()}))
    error = refusal_of(in_header(a_challenge(2, an_offer(2, payTo=payee))), policy)
    assert "is not somebody's address" in error.reason


def test_a_new_payee_is_named_with_the_setting_that_would_accept_it() -> None:
    other = "0x" + "ab" * 20
    error = refusal_of(in_header(a_challenge(2, an_offer(2, payTo=other))))
    assert other in error.reason
    assert f"pay_to: '{other}'" in error.remedy
    assert terms_of(
        in_header(a_challenge(2, an_offer(2, payTo=other))), Policy("img402", URL, 10_000, frozenset({other}))
    )


def test_an_amount_over_the_cap_names_both_and_a_smaller_one_is_paid() -> None:
    error = refusal_of(in_header(a_challenge(2, an_offer(2, amount="1000000"))))
    assert "$1.00" in error.reason
    assert "$0.01" in error.reason
    assert terms_of(in_header(a_challenge(2, an_offer(2, amount="10000"))), Policy(*_wide())).amount == 10_000


def _wide() -> tuple[str, str, int, frozenset[str]]:
    return "img402", URL, 1_000_000, POLICY.pay_to


@pytest.mark.parametrize(
    "answer",
    [
        Answer(402, {}, b""),
        Answer(402, {}, b"<html>"),
        Answer(402, {}, b"[]"),
        Answer(402, {}, b'{"x402Version": 1, "x402Version": 1, "accepts": []}'),
        Answer(402, {}, b"[" * 60_000),
        Answer(402, {"payment-required": "%%%"}, b"<html>"),
        Answer(402, {"payment-required": ""}, json.dumps(a_challenge(3)).encode()),
        in_body({}),
        in_body(a_challenge(3)),
        in_body(a_challenge(1, x402Version=True)),
        in_body(a_challenge(1, x402Version=1.0)),
        in_body(a_challenge(1, x402Version="1")),
        in_body(a_challenge(1, accepts={})),
        in_body(a_challenge(1, accepts=[])),
        in_body(a_challenge(1, accepts=[1, None, "x", []])),
        in_header(a_challenge(2, extensions={"x": "y" * 9_000})),
    ],
)
def test_what_is_no_usable_challenge_is_refused(answer: Answer) -> None:
    refusal_of(answer)


def test_ten_thousand_mutated_challenges_are_all_refused() -> None:
    """Each has at least one field that must stop it; others are left, dropped or made worse at random."""
    dice = random.Random(402)
    for _ in range(10_000):
        version = dice.choice((1, 2))
        offers = []
        for _ in range(dice.randint(1, 3)):
            offer = an_offer(version)
            for name, value in dice.sample(BAD, dice.randint(1, 4)):
                field = "maxAmountRequired" if (version, name) == (1, "amount") else name
                offer[field] = value
            if dice.random() < 0.2:
                del offer[
                    dice.choice(sorted(set(offer) & {"scheme", "network", "asset", "payTo", "maxTimeoutSeconds"}))
                ]
            offers.append(offer)
        refusal_of(dice.choice((in_body, in_header))(a_challenge(version, *offers)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(["scheme", "network", "asset", "amount", "payTo", "maxTimeoutSeconds", "extra", "new"]), JSON)
def test_any_value_in_any_field_is_either_refused_or_within_the_policy(name: str, value: Any) -> None:
    answer = in_header(a_challenge(2, an_offer(2, **{name: value})))
    try:
        terms = terms_of(answer)
    except HostError:
        return
    assert 0 < terms.amount <= POLICY.cap
    assert terms.pay_to.lower() in POLICY.pay_to
    assert 30 <= terms.seconds <= 600


def official_account() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from eth_account import Account
    return Account.from_key(KEY)


def signed(version: int, **changes: Any) -> tuple[str, dict[str, Any], dict[str, str]]:
    challenge = x402.read_challenge("img402", in_body(a_challenge(version, **changes)))
    terms = chosen(challenge, POLICY)
    signer = Counting()
    agreed = x402.authorization(terms, signer.address, NUMBER, NOW)
    signature = signer.sign(x402.DOMAIN, x402.TYPES, x402.message(agreed))
    name, header = x402.header(challenge, terms, URL, agreed, signature)
    found: dict[str, Any] = json.loads(base64.b64decode(header))
    return name, found, agreed


@pytest.mark.parametrize("version", [1, 2])
def test_the_signature_equals_the_official_clients(version: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from x402.mechanisms.evm.exact.client import ExactEvmScheme
        from x402.mechanisms.evm.exact.v1.client import ExactEvmSchemeV1
        from x402.mechanisms.evm.types import ExactEIP3009Authorization
        from x402.schemas import PaymentRequirements
        from x402.schemas.v1 import PaymentRequirementsV1
    _, found, agreed = signed(version)
    kind: Any = (PaymentRequirementsV1 if version == 1 else PaymentRequirements).model_validate(an_offer(version))
    official: Any = (ExactEvmSchemeV1 if version == 1 else ExactEvmScheme)(official_account())
    same = ExactEIP3009Authorization(
        from_address=agreed["from"],
        to=agreed["to"],
        value=agreed["value"],
        valid_after=agreed["validAfter"],
        valid_before=agreed["validBefore"],
        nonce=agreed["nonce"],
    )
    assert found["payload"]["signature"] == official._sign_authorization(same, kind)


@pytest.mark.parametrize("version", [1, 2])
def test_the_official_schemas_read_the_payment(version: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from x402.schemas import PaymentPayload
        from x402.schemas.v1 import PaymentPayloadV1
    name, found, agreed = signed(version)
    assert name == ("X-PAYMENT" if version == 1 else "PAYMENT-SIGNATURE")
    read: Any = (PaymentPayloadV1 if version == 1 else PaymentPayload).model_validate(found)
    assert read.payload["authorization"] == agreed
    assert all(isinstance(value, str) for value in agreed.values())
    assert (agreed["validAfter"], agreed["validBefore"]) == ("0", str(NOW + 300))
    if version == 2:
        assert found["accepted"] == an_offer(2)
        assert found["resource"]["url"] == URL
    else:
        assert (found["scheme"], found["network"]) == ("exact", "base")


def test_the_signed_domain_is_usdcs_on_base() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from eth_account.messages import encode_typed_data
    agreed = {"from": PAYEE, "to": PAYEE, "value": "1", "validAfter": "0", "validBefore": "1", "nonce": NUMBER}
    message = encode_typed_data(dict(x402.DOMAIN), dict(x402.TYPES), x402.message(agreed))
    assert message.header.hex() == "02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f"


def test_the_payments_name_is_sent_where_it_is_asked_for_and_other_extensions_are_only_sent_back() -> None:
    other = {"eip2612GasSponsoring": {"info": {"spender": "0x1"}}}
    asked = {"payment-identifier": {"info": {"required": True}, "schema": {"type": "object"}}, **other}
    _, found, _ = signed(2, extensions=asked)
    given = found["extensions"]["payment-identifier"]
    assert given == {"info": {"required": True, "id": f"pay_{NUMBER[2:]}"}, "schema": {"type": "object"}}
    assert found["extensions"]["eip2612GasSponsoring"] == other["eip2612GasSponsoring"]
    assert signed(2, extensions=other)[1]["extensions"] == other
    assert "extensions" not in signed(2)[1]


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=2, max_size=2, unique=True))
def test_another_purchase_has_another_number(pairs: list[tuple[str, str]]) -> None:
    first, second = (x402.nonce("0xAB", url, image, 0, 0) for url, image in pairs)
    assert first == x402.nonce("0xab", *pairs[0], 0, 0)
    assert first != second or any("\0" in text for pair in pairs for text in pair)
    assert len({x402.nonce("0xab", "u", "i", period, attempt) for period in (0, 1) for attempt in (0, 1)}) == 4


def test_a_receipt_has_only_what_may_be_shown() -> None:
    text = x402.encoded({"success": True, "transaction": "0x" + "1" * 64, "payer": "0x2", "extra": {"secret": 1}})
    for name in ("payment-response", "x-payment-response"):
        receipt = x402.read_receipt(Answer(200, {name: text}, b""), 10_000)
        assert receipt == {"amount": "0.01", "network": "eip155:8453", "transaction": "0x" + "1" * 64}
    for odd in ("", "%", x402.encoded([]), x402.encoded({"transaction": "<script>"})):
        assert "transaction" not in x402.read_receipt(Answer(200, {"payment-response": odd}, b""), 10_000)


@pytest.mark.parametrize(
    ("amount", "text"), [(1, "0.000001"), (10_000, "0.01"), (15_000, "0.015"), (1_000_000, "1.00")]
)
def test_atomic_units_are_written_as_dollars(amount: int, text: str) -> None:
    assert x402.dollars(amount) == text


def test_what_a_host_says_of_a_payment_is_one_printable_line() -> None:
    hostile = x402.encoded({"success": False, "errorReason": "\n::stop-commands::x\x1b[2J"})
    said = x402.complaint(Answer(402, {"payment-response": hostile}, b""))
    assert said.isprintable()
    assert "::" not in said
    assert x402.complaint(Answer(402, {}, b'{"error": "nonce already used"}')) == "nonce already used"
    assert x402.complaint(Answer(402, {}, b"<html>")) == ""
