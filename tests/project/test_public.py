"""The names that other packages may use."""

import tomllib
from pathlib import Path

import imghost


def test_public_names_are_these_and_each_says_what_for():
    assert sorted(imghost.__all__) == [
        "ImghostError", "Job", "LockError", "Notice", "Result", "Settings", "SettingsError", "rehost", "version",
    ]  # fmt: skip
    for name in imghost.__all__:
        assert getattr(imghost, name).__doc__, name


def test_the_version_is_the_projects():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert imghost.version() == project["version"]
