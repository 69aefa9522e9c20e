"""The loop of uploads: what one group of threads leaves is no stop for the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from doubles.imgpro import ImgPro
from sites import tree
from trust.place import Project, assert_done, built_site


@pytest.fixture
def _slow_ends() -> Iterator[None]:
    """Let each worker live a while after its last outcome, as on a machine that is busy."""

    def linger(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code.co_name == "_serve":
            time.sleep(0.1)

    threading.setprofile(linger)
    yield
    threading.setprofile(None)


@pytest.mark.usefixtures("_slow_ends")
def test_the_first_upload_alone_does_not_stop_the_others_by_ending_late(tmp_path: Path) -> None:
    """Its thread was once taken for one that an interrupted run leaves, and every other image stayed local."""
    with ImgPro("images") as host:
        project = Project(tmp_path, host)
        before = tree(built_site(project.site))
        result = project.build()
        assert (result.notices, len(host.copies)) == ((), 3)
        assert_done(project, before)
