"""What every test has: an environment without credentials and signs of a CI, and a search for credentials at its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import canaries
import hypothesis
import pytest

_SIGNS = (
    "CI", "GITHUB_", "GITLAB_", "CI_", "READTHEDOCS", "PULL_REQUEST", "VERCEL", "CF_PAGES", "BUILD_REASON",
    "CIRCLE", "BITBUCKET", "CHANGE_ID", "IMGHOST_", "IMG402_", "IMGPRO_", "IMAGEUPLOAD_", "AWS_",
)  # fmt: skip
_SEARCHED = pytest.StashKey[set[Path]]()
_TOLD = pytest.StashKey[list[str]]()


_LONGEST = 600
"""Seconds of one test with the counts of a push."""


def _is_soak() -> bool:
    return any(name.startswith("IMGHOST_SOAK_") for name in os.environ)


# Each push meets the same inputs, so that one that is red was made red by its change; a soak looks for new ones.
hypothesis.settings.register_profile("push", derandomize=not _is_soak())
hypothesis.settings.load_profile("push")


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take credentials and CI's variables out: a test sets those that it is about."""
    for name in list(os.environ):
        if name.startswith(_SIGNS) and name != "IMGHOST_CORPORA":
            monkeypatch.delenv(name)


def pytest_configure(config: pytest.Config) -> None:
    """Hear what tests read of outputs, from the first one on."""
    config.stash[_SEARCHED] = set()
    config.stash[_TOLD] = []
    canaries.listen()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make test-all` what is marked `long`, and the variants of a test beyond those that are `sampled`.

    Left out is not skipped: nothing that a change usually breaks is marked so. `IMGHOST_TEST_ALL=rest` takes only what
    was left. The longest of what remains comes first.
    """
    which = os.environ.get("IMGHOST_TEST_ALL", "")
    if which != "1":
        left = _left_to_all(items)
        if which == "rest":
            left = {item for item in items if item not in left and not item.get_closest_marker("more_in_all")}
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]
    items.sort(key=lambda item: "test_machine.py" not in item.nodeid)
    if not _is_soak():
        for item in items:
            # What hangs is to end while who pushed still waits; only a soak's counts take hours.
            if (mark := item.get_closest_marker("timeout")) and mark.args[0] > _LONGEST:
                item.add_marker(pytest.mark.timeout(_LONGEST), append=False)


def _left_to_all(items: list[pytest.Item]) -> set[pytest.Item]:
    """List what only `make test-all` runs; of a test's variants those that stay are spread over all of them."""
    left = {item for item in items if item.get_closest_marker("long")}
    variants: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled"):
            variants.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for several in variants.values():
        mark = several[0].get_closest_marker("sampled")
        count = mark.args[0] if mark else len(several)
        kept = {several[number * len(several) // count] for number in range(count)}
        left.update(item for item in several if item not in kept)
    return left


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Fail a test, whatever came of it, that leaves a credential in what it printed or wrote."""
    report = yield
    if call.when == "teardown":
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        item.config.stash[_SEARCHED].add(folder)
        if found := canaries.leaks(folder, *(text for _, text in report.sections)):
            report.outcome = "failed"
            told = f"\n{report.longrepr}" if report.longrepr else ""
            report.longrepr = f"a credential is in {', '.join(found[:20])}{told}"
    return report


@pytest.fixture(autouse=True, scope="session")
def _search_of_shared_folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Search, at the very end, the folders that tests share; corpora are only unpacked and read there."""
    yield
    folders = set(tmp_path_factory.getbasetemp().iterdir()) - request.config.stash[_SEARCHED]
    # What is a link leads to a test's own folder.
    shared = sorted(one for one in folders if not one.is_symlink() and not one.name.startswith("corpora"))
    assert [(folder.name, found) for folder in shared if (found := canaries.files_with(folder))] == []


def _counts() -> list[str]:
    place = sys.modules.get("trust.place")
    return list(place.TOLD) if place else []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts of a part of the run to the whole."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counts"] = _counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take the counts of a part of the run."""
    node.config.stash[_TOLD] += getattr(node, "workeroutput", {}).get("counts", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many kills, faults, orders and rounds there were: a test that passes tells nothing of its size."""
    told = terminalreporter.config.stash[_TOLD] + _counts()
    if told:
        terminalreporter.section("counts of the tests of trust")
        for counts in told:
            terminalreporter.line(counts)
