"""Every front end has the options of the one declaration, by the same names."""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from imghost import settings
from imghost.cli.parser import flags_of, make_parser
from mkdocs_imghost import ImghostPlugin

NAMES = [option.name for option in settings.options()]


def test_mkdocs_has_every_option():
    assert [name for name, _ in ImghostPlugin.config_scheme] == NAMES


def test_sphinx_has_every_option(tmp_path):
    (tmp_path / "index.rst").write_text("Home\n====\n")
    extension = {"extensions": ["sphinx_imghost"]}
    with docutils_namespace():
        app = Sphinx(tmp_path, None, tmp_path / "out", tmp_path / "trees", "html", extension, status=None, warning=None)
    assert {name for name in app.config.values if name.startswith("imghost_")} == {f"imghost_{name}" for name in NAMES}


def test_the_command_line_has_every_option():
    flags = flags_of(make_parser().commands["rehost"])
    for name in NAMES:
        assert ("--option" if name == "options" else f"--{name.replace('_', '-')}") in flags
