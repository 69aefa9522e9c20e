"""Small projects in the themes that are installed, built as they are and with their images hosted."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
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
_STYLE = "/* The author's own. */\n.drawn {\n    color: red;\n}\n"
_SCRIPT = "// The author's own.\nconst shown = document.images.length;\n"
_MATERIAL = {"name": "material", "font": False, "palette": _PALETTE}
_MINIFY = {
    **{f"minify_{kind}": True for kind in ("html", "css", "js")},
    "css_files": ["own.css"],
    "js_files": ["own.js"],
    "htmlmin_opts": {"remove_comments": True, "reduce_boolean_attributes": True, "remove_empty_space": True},
}
_MKDOCS: dict[str, dict[str, Any]] = {
    "material": {"theme": _MATERIAL, "plugins": ["search", "glightbox"]},
    "minified": {
        "theme": _MATERIAL,
        "plugins": ["search", "glightbox", {"minify": _MINIFY}],
        "extra_css": ["own.css"],
        "extra_javascript": ["own.js"],
    },
    "readthedocs": {"theme": "readthedocs", "use_directory_urls": False},
    "mkdocs": {"theme": "mkdocs"},
}
_GALLERY = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "image_scrapers": ("drawings",),
    "image_srcset": ["2x"],
    "capture_repr": (),
    "reset_modules": (),
    "backreferences_dir": "backreferences",
    "doc_module": ("drawings",),
    "reference_url": {"drawings": None},
    "min_reported_time": 999,
    "write_computation_times": False,
}
_SPHINX: dict[str, dict[str, Any]] = {
    "alabaster": {"html_theme": "alabaster"},
    "furo": {"html_theme": "furo"},
    "pydata": {"html_theme": "pydata_sphinx_theme"},
    "rtd": {"html_theme": "sphinx_rtd_theme"},
    "book": {"html_theme": "sphinx_book_theme"},
    "gallery": {
        "html_theme": "pydata_sphinx_theme",
        "extensions": ["sphinx.ext.autodoc", "sphinx_gallery.gen_gallery"],
        "sphinx_gallery_conf": _GALLERY,
    },
    "photofinish": {
        "html_theme": "sphinx_rtd_theme",
        "extensions": ["sphinxext.photofinish"],
        "width_min": 40,
        "width_step": 30,
        "max_viewport_width": 100,
    },
}
_EXAMPLE = '"""\n{title}\n=====\n\nWhat it shows.\n"""\n\nfrom drawings import draw\n\ndraw({seed})\ndraw({seed} + 1)\n'
_EXAMPLES = {
    "examples/README.rst": "Examples\n========\n",
    "examples/plot_first.py": _EXAMPLE.format(title="First", seed=50),
    "examples/plot_last.py": _EXAMPLE.format(title="Last", seed=60) + "# sphinx_gallery_thumbnail_number = 2\n",
}
_OVERVIEW = (
    ".. toctree::\n\n   gallery/index\n\n.. automodule:: drawings\n   :members:\n\n.. minigallery:: drawings.draw\n"
)
_APART = ("gallery", "photofinish")
"""Built in processes of their own: they keep what they change in Sphinx and what their examples import."""
_NEEDS = {
    "material": ("material", "mkdocs_glightbox"),
    "minified": ("material", "mkdocs_glightbox", "mkdocs_minify_plugin"),
    "gallery": ("pydata_sphinx_theme", "sphinx_gallery"),
    "photofinish": ("sphinx_rtd_theme", "sphinxext.photofinish"),
    **{name: (str(conf["html_theme"]),) for name, conf in _SPHINX.items() if len(conf) == 1},
}
THEMES = (*_MKDOCS, *_SPHINX)


def build(theme: str, folder: Path, options: dict[str, Any] | None) -> Path:
    """Build the theme's project below a folder, with these options or without the tool; gives the site."""
    for name in _NEEDS.get(theme, ()):
        pytest.importorskip(name, reason=f"the package {name} is not installed", exc_type=ImportError)
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
    own = {"docs/own.css": _STYLE, "docs/own.js": _SCRIPT}
    write(folder, pages | images | own | {"mkdocs.yml": json.dumps(config)})
    loaded = load_config(str(folder / "mkdocs.yml"))
    loaded.plugins.on_startup(command="build", dirty=False)
    run(loaded)
    return folder / "site"


def _sphinx(theme: str, folder: Path, options: dict[str, Any] | None) -> Path:
    settings = {
        "project": "Small",
        "html_baseurl": URL,
        "html_extra_path": ["extra"],
        "exclude_patterns": ["_build", "extra", "examples"],
        **_SPHINX[theme],
        **{f"imghost_{name}": value for name, value in (options or {}).items()},
    }
    settings["extensions"] = [*settings.get("extensions", []), *(["sphinx_imghost"] if options is not None else [])]
    raw = "".join(f"   {line}\n" for line in _RAW.format(up="").splitlines())
    below = "".join(f"   {line}\n" for line in _RAW.format(up="../").splitlines())
    images = {f"{place}img/shot-{name}.png": content for name, content in _IMAGES.items() for place in ("", "extra/")}
    pages = {"index.rst": _REST + raw, "deep/page.rst": f"Deep\n====\n\n.. raw:: html\n\n{below}"}
    if theme == "gallery":
        pages |= _EXAMPLES | {"overview.rst": f"Overview\n========\n\n{_OVERVIEW}"}
        pages["index.rst"] = pages["index.rst"].replace("   deep/page\n", "   deep/page\n   overview\n")
    write(folder, pages | images | {"conf.py": "".join(f"{name} = {value!r}\n" for name, value in settings.items())})
    site = folder / "_build/html"
    _run(["-b", "html", "-d", str(folder / "_build/state"), str(folder), str(site)], apart=theme in _APART)
    return site


def _run(arguments: list[str], *, apart: bool) -> None:
    """Run Sphinx, in this process or in one that can import what stands beside this file."""
    from sphinx.cmd.build import build_main

    if apart:
        path = os.pathsep.join(
            [str(Path(__file__).parent), str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        command = [sys.executable, "-m", "sphinx", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
        assert ended.returncode == 0, ended.stderr
        return
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        status = build_main(arguments)
    assert status == 0, told.getvalue()
