"""How long an image lives is reckoned by the host's clock, and by the run's where the host tells none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
from doubles.imgpro import DAY, ImgPro
from doubles.server import Reply, Request
from hosts.imgpro_setup import EITHER, THIRTY_DAYS, a_payload, a_setup

from imghost.errors import HostError
from imghost.hosts.answers import CREDIBLE, HostClock
from imghost.hosts.imgpro import ImgProOptions
from imghost.hosts.imgpro import host as imgpro
from imghost.net import Answer, Client

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def an_answer(date: str) -> Answer:
    return Answer(200, {"date": date}, b"")


@pytest.mark.parametrize(
    ("date", "hours"),
    [
        ("Sat, 21 Nov 2026 15:00:00 GMT", 3),
        ("Sat, 21 Nov 2026 09:00:00 GMT", -3),
        ("soon", 0),
        ("", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 0),
    ],
)
def test_a_hosts_date_is_believed_within_reason(date: str, hours: int) -> None:
    assert timedelta(days=366 * 11) > CREDIBLE
    clock = HostClock(lambda: NOON)
    clock.hear(an_answer(date))
    assert clock.now() == NOON + timedelta(hours=hours)


def test_the_last_answer_counts() -> None:
    clock = HostClock(lambda: NOON)
    clock.hear(an_answer("Sat, 21 Nov 2026 15:00:00 GMT"))
    clock.hear(an_answer(""))
    assert clock.now() == NOON


class Dated(ImgPro):
    """A host whose answers have its own clock's date, or none that can be read."""

    tells = True

    def _route(self, request: Request) -> Reply:
        reply = super()._route(request)
        return replace(reply, headers=(*reply.headers, ("Date", formatdate(self.now()) if self.tells else "soon")))


@EITHER
@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("days", [-400, -40, 0, 40, 400])
def test_an_image_lasts_by_the_hosts_clock_and_where_it_tells_none_by_the_runs(
    tmp_path: Path, generation: str, days: int, tells: bool
) -> None:
    """The machine's clock has no say: it may be years off."""
    with Dated(generation, lifetime=30 * DAY, clock=days * DAY) as double, Client(5.0, environ={}) as client:
        double.tells = tells
        of_run = datetime.now(UTC) + (timedelta() if tells else timedelta(days=days))
        setup = replace(a_setup(client, retention=THIRTY_DAYS), now=lambda: of_run)
        host = imgpro.ImgPro(ImgProOptions(double.api_url), setup)
        hosted = host.upload(a_payload(tmp_path))
        assert hosted.expires is not None
        assert abs(hosted.expires - datetime.now(UTC) - timedelta(days=30 + days)) < timedelta(hours=1)


@EITHER
def test_an_image_that_is_short_lived_by_the_hosts_clock_is_refused(tmp_path: Path, generation: str) -> None:
    with Dated(generation, lifetime=9 * DAY, clock=-400 * DAY) as double, Client(5.0, environ={}) as client:
        host = imgpro.ImgPro(ImgProOptions(double.api_url), a_setup(client, retention=THIRTY_DAYS))
        with pytest.raises(HostError, match="sooner than `retention` asks"):
            host.upload(a_payload(tmp_path))
