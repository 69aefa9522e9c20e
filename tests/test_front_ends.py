"""Every front end has the options of the one declaration, by the same names."""

from __future__ import annotations

from typing import Any

from mkdocs_imghost import ImghostPlugin
from sphinx_imghost import setup

from imghost import settings
from imghost.arguments import make_parser

NAMES = [option.name for option in settings.options()]


class Recorder:
    """What an extension's set-up says to Sphinx."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.events: list[str] = []

    def add_config_value(self, name: str, *_: Any, **__: Any) -> None:
        self.values.append(name)

    def connect(self, event: str, *_: Any, **__: Any) -> None:
        self.events.append(event)


def test_mkdocs_has_every_option():
    assert [name for name, _ in ImghostPlugin.config_scheme] == NAMES


def test_sphinx_has_every_option():
    app = Recorder()
    setup(app)
    assert app.values == [f"imghost_{name}" for name in NAMES]
    assert "build-finished" in app.events


def test_the_command_line_has_every_option():
    flags = {
        flag
        for action in make_parser()._subparsers._group_actions[0].choices["rehost"]._actions
        for flag in action.option_strings
    }
    for name in NAMES:
        assert ("--option" if name == "options" else f"--{name.replace('_', '-')}") in flags
