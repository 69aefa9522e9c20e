"""Small projects in the themes that are installed, built as they are and with their images hosted."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from sites import picture, write

NAMES = ("light", "dark", "big", "map", "card")
URL = "http://site.test/"
_IMAGES = {name: picture(30 + seed, (120, 80)) for seed, name in enumerate(NAMES)}
_RAW = (
    '<picture><source srcset="{up}img/shot-big.png 1x, {up}img/shot-map.png 2x"><img src="{up}img/shot-big.png"></picture>\n'
    '<img src="{up}img/shot-map.png" usemap="#places" id="plan" width="120" height="80"><map name="places">'
    '<area shape="rect" coords="0,0,60,80" href="#left"><area shape="rect" coords="60,0,120,80" href="#right"></map>\n'
    '<div class="drawn" style="background-image: url(\'{up}img/shot-card.png\'); height: 9px"></div>\n'
)
_MARKDOWN = (
    "# Home\n\n![light](img/shot-light.png#only-light)\n![dark](img/shot-dark.png#only-dark)\n\n"
    "![big](img/shot-big.png){{ .large }}\n\n" + _RAW
)
_REST = (
    "Home\n====\n\n.. toctree::\n\n   deep/page\n\n.. image:: img/shot-light.png\n   :class: only-light\n\n"
    ".. image:: img/shot-dark.png\n   :class: only-dark\n\n.. figure:: img/shot-big.png\n   :target: _images/shot-big.png\n\n"
    ".. py:module:: alpha\n\n.. py:module:: alpha.inner\n\n.. py:module:: beta\n\n.. raw:: html\n\n"
)
_PALETTE = [
    {"scheme": "default", "toggle": {"icon": "material/weather-night", "name": "dark"}},
    {"scheme": "slate", "toggle": {"icon": "material/weather-sunny", "name": "light"}},
]
_UNQUOTE = """
import re

def on_post_page(output, page, config):
    output = re.sub(r'=\\"([A-Za-z0-9/_.#-]*[A-Za-z0-9_.#-])\\"(?=[\\s>])', r'=\\1', output)
    return re.sub(r'>\\s+<', '> <', output)
"""
_MKDOCS: dict[str, dict[str, Any]] = {
    "material": {
        "theme": {"name": "material", "font": False, "palette": _PALETTE},
        "plugins": ["search", "glightbox"],
        "hooks": ["unquote.py"],
    },
    "readthedocs": {"theme": "readthedocs", "use_directory_urls": False},
    "mkdocs": {"theme": "mkdocs"},
}
_SPHINX = {
    "alabaster": "alabaster",
    "furo": "furo",
    "pydata": "pydata_sphinx_theme",
    "rtd": "sphinx_rtd_theme",
    "book": "sphinx_book_theme",
}
_NEEDS = {"material": "material", **_SPHINX}
THEMES = (*_MKDOCS, *_SPHINX)


def build(theme: str, folder: Path, options: dict[str, Any] | None) -> Path:
    """Build the theme's project below a folder, with these options or without the tool; gives the site."""
    if theme in _NEEDS and not importlib.util.find_spec(_NEEDS[theme]):
        pytest.skip(f"the theme {_NEEDS[theme]} is not installed")
    shutil.rmtree(folder, ignore_errors=True)
    return _mkdocs(theme, folder, options) if theme in _MKDOCS else _sphinx(theme, folder, options)


def _mkdocs(theme: str, folder: Path, options: dict[str, Any] | None) -> Path:
    from mkdocs.commands.build import build as run
    from mkdocs.config import load_config

    config = {"site_name": "Small", "site_url": URL, "markdown_extensions": ["attr_list"]} | _MKDOCS[theme]
    config["plugins"] = [*config.get("plugins", ["search"]), *([{"imghost": options}] if options is not None else [])]
    up = "" if theme == "readthedocs" else "../"
    pages = {
        "docs/index.md": _MARKDOWN.format(up=""),
        "docs/deep.md": "# Deep\n\n![card](img/shot-card.png)\n\n" + _RAW.format(up=up),
    }
    images = {f"docs/img/shot-{name}.png": content for name, content in _IMAGES.items()}
    write(folder, pages | images | {"mkdocs.yml": json.dumps(config), "unquote.py": _UNQUOTE})
    loaded = load_config(str(folder / "mkdocs.yml"))
    loaded.plugins.on_startup(command="build", dirty=False)
    run(loaded)
    return folder / "site"


def _sphinx(theme: str, folder: Path, options: dict[str, Any] | None) -> Path:
    from sphinx.cmd.build import build_main

    named = {f"imghost_{name}": value for name, value in (options or {}).items()}
    lines = [
        "project = 'Small'",
        f"extensions = {['sphinx_imghost'] if options is not None else []}",
        f"html_theme = {_SPHINX[theme]!r}",
        f"html_baseurl = {URL!r}",
        "html_extra_path = ['extra']",
        "exclude_patterns = ['_build', 'extra']",
        f"globals().update({named!r})",
    ]
    raw = "".join(f"   {line}\n" for line in _RAW.format(up="").splitlines())
    below = "".join(f"   {line}\n" for line in _RAW.format(up="../").splitlines())
    images = {f"{place}img/shot-{name}.png": content for name, content in _IMAGES.items() for place in ("", "extra/")}
    pages = {"index.rst": _REST + raw, "deep/page.rst": f"Deep\n====\n\n.. raw:: html\n\n{below}"}
    write(folder, pages | images | {"conf.py": "\n".join(lines)})
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        status = build_main(
            ["-b", "html", "-d", str(folder / "_build/state"), str(folder), str(folder / "_build/html")]
        )
    assert status == 0, told.getvalue()
    return folder / "_build/html"
