"""What a host refuses for good is sent once: later builds know it, until the image, the terms or the account change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from doubles.server import Reply, Request
from hosts.conformance_doubles import Fitted
from hosts.conformance_hosts import (
    ImageUploadPro,
    Img402Free,
    ImgProAnonymous,
    ImgProImages,
    ImgProUpload,
    S3Bucket,
    Served,
    ShelfByOthers,
)
from sites import image_urls, picture, small_site, write
from trust.place import today

from imghost import settings
from imghost.run.job import Job
from imghost.run.rehost import Result, rehost
from imghost.site.images import Origins
from imghost.testing import HttpContract, write_entry
from imghost.testing import Reply as Answer

HOSTS: tuple[type[Served], ...] = (
    Img402Free, ImgProUpload, ImgProImages, ImgProAnonymous, ImageUploadPro, S3Bucket, ShelfByOthers,
)  # fmt: skip


def told_by(
    kind: type[Served], answers: Sequence[Answer], common: Sequence[Answer]
) -> list[tuple[type[Served], Reply]]:
    """Take a host's own answers, in the form of the tests' server."""
    own = [answer for answer in answers if answer not in common]
    return [(kind, Reply(it.status, it.body, tuple(it.headers.items()))) for it in own]


PAGE = HttpContract.final[0]
"""A proxy's word, which no host has written."""
FINAL = [
    *(one for kind in HOSTS for one in told_by(kind, kind.final, HttpContract.final)),
    *(one for kind in (ImgProUpload, S3Bucket, ShelfByOthers) for one in told_by(kind, [PAGE], ())),
]
"""What each service says of bytes that it will never take."""
PASSING = [one for kind in HOSTS for one in told_by(kind, kind.passing, HttpContract.passing)]
"""What may be otherwise tomorrow, though nothing here changes."""


def named(kinds: list[tuple[type[Served], Reply]]) -> list[str]:
    return [f"{kind.__name__}-{reply.status}-{number}" for number, (kind, reply) in enumerate(kinds)]


class Told:
    """A project at a host that answers one picture with a refusal."""

    def __init__(self, served: Served, double: Fitted, folder: Path, reply: Reply) -> None:
        self.served, self.double, self.folder, self.reply = served, double, folder, reply
        self.sent = 0
        """How often the picture came."""
        self._route, double.server.route = double.server.route, self._answer

    def _answer(self, request: Request) -> Reply:
        if not self.double._is_upload(request) or picture(1) not in request.body:
            return self._route(request)
        self.sent += 1
        return self.reply

    def build(self, count: int = 3, more: dict[str, bytes] | None = None, **raw: Any) -> Result:
        """Build the site anew, in the same folder with the same local store."""
        write(small_site(self.folder / "site", count), dict(more or {}))
        served = self.served
        chosen: dict[str, Any] = {"host": served.kind.name, "options": served.options(self.double), "retries": 2}
        chosen |= {"retention": f"{served.retention.days}d"} if served.retention else {}
        environ = {**served.at_home(self.folder)}
        environ |= {served.kind.credentials[0]: served.credential} if served.credential else {}
        read = settings.read({**chosen, **raw}, self.folder)
        return rehost(Job(self.folder / "site", read, environ, Origins(is_own_source=True), sleep=lambda _: None))

    @property
    def local(self) -> list[str]:
        """What the page still shows from the site's own folder."""
        return [url for url in image_urls((self.folder / "site/index.html").read_bytes()) if "://" not in url]


@pytest.fixture
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Open a host that refuses the picture with the number 1."""
    kind, reply = request.param
    served: Served = kind()
    if isinstance(served, S3Bucket):
        served.storage = request.getfixturevalue("storage")
    write_entry(tmp_path / "entry", "shelf", "third_party.imghost_shelf:Shelf")
    monkeypatch.syspath_prepend(str(tmp_path / "entry"))
    with served.double() as double:
        yield Told(served, double, tmp_path, reply)


@pytest.mark.parametrize("opened", FINAL, ids=named(FINAL), indirect=True)
class TestFinal:
    def test_the_second_build_sends_nothing_and_asks_nothing(self, opened: Told) -> None:
        first = opened.build()
        assert (opened.sent, opened.local) == (1, ["images/1.png"])
        second = opened.build()
        assert (opened.sent, opened.local, second.report.requests) == (1, ["images/1.png"], 0)
        assert [it.path for it in second.report.failures] == [it.path for it in first.report.failures]
        assert (second.report.counts.failed, second.report.counts.cached) == (1, 3)
        [before], [notice] = first.notices, second.notices
        assert notice.code == before.code == "upload"
        assert notice.text.startswith(before.text.partition(";")[0])
        assert f"; that was on {today():%Y-%m-%d}, and it is not sent again; " in notice.text
        assert notice.text.endswith("have it tried once more with `imghost status --again`")

    @pytest.mark.sampled(2)
    def test_other_images_go_on_without_it(self, opened: Told) -> None:
        opened.build()
        result = opened.build(count=5)
        assert (opened.sent, result.report.counts.uploaded, opened.local) == (1, 2, ["images/1.png"])

    @pytest.mark.sampled(2)
    def test_another_image_in_its_place_is_sent(self, opened: Told) -> None:
        opened.build()
        opened.build(more={"images/1.png": picture(9)})
        assert (opened.sent, opened.local) == (1, [])

    @pytest.mark.sampled(2)
    def test_other_settings_are_other_terms(self, opened: Told) -> None:
        opened.build()
        opened.build(retention="6d")
        assert opened.sent == 2
        opened.build(retention="6d")
        assert opened.sent == 2

    @pytest.mark.sampled(2)
    def test_without_the_local_store_nobody_knows(self, opened: Told) -> None:
        """As in a CI that keeps no cache."""
        opened.build()
        opened.build(cache_dir="another")
        assert opened.sent == 2


@pytest.mark.sampled(5)
@pytest.mark.parametrize("opened", PASSING, ids=named(PASSING), indirect=True)
def test_what_may_pass_is_asked_again(opened: Told) -> None:
    opened.build()
    sent = opened.sent
    assert sent > 0
    opened.build()
    assert opened.sent > sent
