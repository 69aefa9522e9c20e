"""A store in a folder that is as slow as a network drive far away: each question and each write takes so long."""

from __future__ import annotations

import os
import time

from imghost.records.shared import Entry
from imghost.records.shared_folder import FolderStore

SECONDS = "SLOW_STORE_SECONDS"
"""Of the environment of the process."""


class SlowFolder(FolderStore):
    """A folder that answers late."""

    def get(self, key: str) -> Entry | None:
        time.sleep(float(os.environ[SECONDS]))
        return super().get(key)

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        time.sleep(float(os.environ[SECONDS]))
        return super().put(key, text, tag)
