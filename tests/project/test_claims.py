"""Each claim of the services' pages has a verdict: what is said to be used is in the host's code, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from claims import CLAIMS, REFUSED, UNNEEDED, USED, Claim

HOSTS = Path(__file__).parents[2] / "imghost/hosts"
CODE = {
    "img.pro": ["imgpro/*.py", "answers.py"],
    "imageupload.io": ["imageupload/*.py", "answers.py"],
    "img402": ["img402/*.py"],
    "s3": ["s3.py"],
}


def code_of(host: str) -> str:
    return "\n".join(file.read_text("utf-8") for glob in CODE[host] for file in sorted(HOSTS.glob(glob)))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.host} {claim.text}"[:60])
def test_a_claim_that_is_used_is_in_the_code_and_every_other_has_a_reason(claim: Claim) -> None:
    assert claim.verdict in {USED, REFUSED, UNNEEDED}
    if claim.verdict == USED:
        assert (claim.mark in code_of(claim.host), claim.reason) == (True, "")
    else:
        assert len(claim.reason.split()) > 3
        assert not claim.mark or claim.mark not in code_of(claim.host)


def test_no_claim_stands_twice_and_every_host_over_the_network_has_some() -> None:
    assert len({(claim.host, claim.text) for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.host for claim in CLAIMS} == CODE.keys()
