"""A slow line carries what it can: a request ends where nothing moves, not because much is on its way."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from doubles.line import SlowLine
from doubles.server import Fault, Reply, Server

from imghost.errors import Action, HostError
from imghost.net import Client, FilePart


def a_part(folder: Path, size: int) -> FilePart:
    file = folder / "a.png"
    file.write_bytes(b"x" * size)
    return FilePart("image", "a.png", "image/png", file)


def statuses(folder: Path, *, rate: int, timeout: float, images: int, size: int) -> tuple[list[int], int]:
    """Send images at a time over a line, once each; gives their answers and how many requests arrived."""
    part = a_part(folder, size)
    with Server(lambda _: Reply.json({}), swallow=True) as server, SlowLine(server.port, rate) as line:
        with Client(timeout, environ={}) as client, ThreadPoolExecutor(images) as pool:
            url = f"http://127.0.0.1:{line.port}/"
            answers = list(pool.map(lambda _: client.send("POST", url, file=part), range(images)))
        return [answer.status for answer in answers], len(server.log)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("images", "size"), [(8, 12_000), (1, 96_000), (3, 30_000)])
def test_images_that_share_a_slow_line_all_arrive_in_their_first_try(tmp_path: Path, images: int, size: int) -> None:
    """Each takes over a second more than its own bytes and the timeout would allow."""
    assert statuses(tmp_path, rate=48_000, timeout=0.5, images=images, size=size) == ([200] * images, images)


@pytest.mark.long
def test_a_line_below_the_least_rate_is_known_by_its_own_speed(tmp_path: Path) -> None:
    assert statuses(tmp_path, rate=100_000, timeout=0.4, images=1, size=500_000) == ([200], 1)


@pytest.mark.long
def test_eight_images_of_600_kb_through_a_door_of_60_kb_a_second_arrive_with_the_default_settings(
    tmp_path: Path,
) -> None:
    assert statuses(tmp_path, rate=60_000, timeout=30.0, images=8, size=600_000) == ([200] * 8, 8)


def test_a_host_that_takes_no_more_ends_the_upload_and_the_message_names_what_to_set(tmp_path: Path) -> None:
    with Server(lambda _: Reply.json({}), swallow=True) as server, Client(0.5, environ={}) as client:
        server.fail(Fault.HANG)
        began = time.monotonic()
        with pytest.raises(HostError) as caught:
            client.send("POST", server.url, file=a_part(tmp_path, 20_000))
    assert caught.value.action is Action.RETRY
    assert caught.value.is_ambiguous
    assert "concurrency" in caught.value.remedy
    assert "timeout" in caught.value.remedy
    assert time.monotonic() - began < 5
