"""The workflows run only what is pinned, with no more rights than they need, and what is published is built apart."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def jobs(file: Path) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(file.read_text())["jobs"])


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_has_no_rights_and_each_job_says_which_it_needs(file: Path) -> None:
    found = yaml.safe_load(file.read_text())
    assert found["permissions"] == {}
    for name, job in found["jobs"].items():
        assert job["permissions"] == ({"id-token": "write"} if name == "publish" else {"contents": "read"})
    assert "secrets." not in file.read_text()
    # YAML reads `on` as a truth value.
    assert "pull_request_target" not in found[True]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_every_action_is_pinned_by_its_commit_and_names_its_version(file: Path) -> None:
    used = re.findall(r"uses: *(.*)", file.read_text())
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_no_checkout_leaves_its_token_to_later_steps(file: Path) -> None:
    steps = [step for job in jobs(file).values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def listed(extra: str) -> dict[str, set[str]]:
    """Read a list of what the action installs: each package's versions."""
    text = (ROOT / ".github/requirements" / f"{extra}.txt").read_text()
    entries = re.findall(r"^([a-z0-9-]+)==(\S+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
    assert text.count("==") - text.count("' ==") >= len(entries) > 0
    assert len(re.findall(r"^[a-z]", text, re.M)) == len(entries)
    found: dict[str, set[str]] = {}
    for name, version, _ in entries:
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("extra", ["base", "x402", "s3"])
def test_the_action_installs_by_hash_what_the_project_depends_on(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(project["optional-dependencies"][extra] if extra != "base" else ())]
    found = listed(extra)
    for requirement in map(Requirement, [*wanted, "hatchling"]):
        assert found[requirement.name]
        assert all(requirement.specifier.contains(version) for version in found[requirement.name])
    base = listed("base")
    assert {name: found[name] for name in base} == base


def test_what_publishes_runs_nothing_of_ours_and_takes_what_was_built_apart_from_the_tests() -> None:
    found = jobs(ROOT / ".github" / "workflows" / "release.yml")
    publish, build = found["publish"], found["build"]
    assert publish["needs"] == ["test", "build"]
    assert publish["environment"] == "release"
    assert [step["uses"].partition("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert publish["steps"][-1]["with"] == {"attestations": True}
    commands = "\n".join(step.get("run", "") for step in build["steps"])
    assert "--group build" in commands
    assert not re.search(r"make|--group test|--extra|\[", commands)
