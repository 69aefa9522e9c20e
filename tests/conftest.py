"""What every test has: an environment without credentials, and without signs of a CI."""

from __future__ import annotations

import os

import pytest

_SIGNS = (
    "CI", "GITHUB_", "GITLAB_", "CI_", "READTHEDOCS", "PULL_REQUEST", "VERCEL", "CF_PAGES", "BUILD_REASON",
    "CIRCLE", "BITBUCKET", "CHANGE_ID", "IMGHOST_", "IMG402_", "IMGPRO_", "IMAGEUPLOAD_", "AWS_",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take credentials and CI's variables out: a test sets those that it is about."""
    for name in list(os.environ):
        if name.startswith(_SIGNS) and name != "IMGHOST_CORPORA":
            monkeypatch.delenv(name)
