"""Projects for generators of documentation, with every way that pages have of showing an image, built as they are."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image as Picture

PAGES: Final = 60
"""Pages of each project; together with Doxygen's own they come to more than 500."""
URL: Final = "http://docs.test/"


class Tools(NamedTuple):
    """Where the generators of other languages are."""

    npm: Path
    """The folder with one folder of packages for each generator of npm."""
    pages: int = PAGES


class Project(NamedTuple):
    """A generator's project: what it needs, and what builds it in a folder and gives the site."""

    name: str
    build: Callable[[Path, Tools], Path]
    needs: tuple[str, ...] = ()
    """Programs, or packages of npm as `folder:package`."""


def _picture(seed: int, size: tuple[int, int] = (120, 80), form: str = "PNG") -> bytes:
    drawn = Picture.new("RGB", size, (seed * 37 % 256, seed * 91 % 256, seed * 13 % 256))
    for x in range(0, size[0], 7):
        drawn.putpixel((x, (x * seed) % size[1]), (255, 255, 255))
    stream = io.BytesIO()
    drawn.save(stream, form)
    return stream.getvalue()


_DRAWING: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60" viewBox="0 0 90 60">'
    '<rect width="90" height="60" fill="#{color:06x}"/></svg>'
)
_SCRIPT: Final = """\
function swap(image) { image.src = image.src.indexOf('closed.png') > 0 ? image.src.replace('closed.png', 'open.png') : image.src.replace('open.png', 'closed.png'); }
document.addEventListener('click', function (event) { if (event.target.classList && event.target.classList.contains('folding')) swap(event.target); });
"""
_STYLE: Final = """\
.drawn { background-image: url(img/tile.png); width: 60px; height: 40px; }
img[src$="icon.png"] { width: 20px; height: 20px; }
.masked { -webkit-mask-image: url(img/tile.png); mask-image: url(img/tile.png); background: #888; width: 30px; height: 30px; }
"""


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write a project's files."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def pictures(count: int) -> dict[str, bytes]:
    """Draw the images of a project, by their names."""
    drawn = {f"shot-{number}.png": _picture(number, (160 + number % 5 * 40, 90)) for number in range(count)}
    fixed = ("closed.png", "open.png", "icon.png", "tile.png", "poster.png", "map.png", "light.png", "dark.png")
    drawn |= {name: _picture(200 + seed) for seed, name in enumerate(fixed)}
    drawn |= {
        "wide.png": _picture(7, (400, 120)),
        "wide2x.png": _picture(7, (800, 240)),
        "photo.jpg": _picture(9, form="JPEG"),
    }
    return drawn | {"drawing.svg": _DRAWING.format(color=0x336699).encode()}


def _raw(img: str, number: int) -> str:
    """Write markup of every kind that refers to an image in the folder `img`; a blank line ends each."""
    area = f'<map name="m{number}"><area shape="rect" coords="0,0,60,80" href="#left" alt="left"></map>'
    every = [
        f'<p><img src="{img}/closed.png" id="fold-{number}-trigger" class="folding" alt="fold"></p>',
        f'<p><img src="{img}/icon.png" alt="icon"> <img src="{img}/drawing.svg" alt="drawing"></p>',
        f'<p><img src="{img}/wide.png" srcset="{img}/wide.png 1x, {img}/wide2x.png 2x" alt="wide"></p>',
        f'<picture><source srcset="{img}/photo.jpg" media="(min-width: 300px)"><img src="{img}/wide.png" alt=""></picture>',
        f'<p><img src="{img}/map.png" usemap="#m{number}" alt="map"></p>{area}',
        f"<div style=\"background-image: url('{img}/tile.png'); width: 50px; height: 30px\"></div>",
        f'<video poster="{img}/poster.png" width="120" height="80"></video>',
        f'<p><a href="{img}/photo.jpg">photo</a></p>',
        "<details><summary>more</summary>" + f'<p><img src="{img}/light.png" alt="light"></p></details>',
        f'<noscript><img src="{img}/dark.png" alt="dark"></noscript>',
        f'<p><img src="{img}/photo.jpg" alt="loud" onmouseover="this.style.opacity=.9" loading="lazy"></p>',
        f'<p><input type="image" src="{img}/icon.png" alt="send"></p>',
    ]
    # Every page has some, and all together have all.
    return "\n\n".join(every[(number + step) % len(every)] for step in (0, 1, 2, 5, 7)) + "\n"


def _markdown(number: int, raw: str, img: str, *, more: str = "") -> str:
    return (
        f"# Page {number}\n\nWhat page {number} shows, see `{img}/shot-{number}.png`.\n\n"
        f"![shot {number}]({img}/shot-{number}.png)\n\n![](<{img}/photo.jpg>)\n\n{more}\n{_raw(raw, number)}"
    )


def run(command: list[str | Path], folder: Path, **environ: str) -> None:
    """Run a program of a generator; what it said is shown where it failed."""
    import os

    ended = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, env={**os.environ, **environ}, timeout=1800
    )
    if ended.returncode:
        raise RuntimeError(
            f"{command[0]} in {folder} ended with {ended.returncode}:\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}"
        )


# MkDocs


def _mkdocs(
    folder: Path,
    tools: Tools,
    config: dict[str, Any],
    extra: Mapping[str, str | bytes] | None = None,
    up: str = "../../",
) -> Path:
    settings = {
        "site_name": "World",
        "site_url": URL,
        "markdown_extensions": ["attr_list", "md_in_html", "tables"],
        "extra_css": ["own.css"],
        "extra_javascript": ["own.js"],
    } | config
    themed = "![light](img/light.png#only-light)\n![dark](img/dark.png#only-dark)\n"
    files: dict[str, str | bytes] = {"docs/index.md": _markdown(0, "img", "img", more=themed)}
    for number in range(1, tools.pages):
        files[f"docs/part{number % 4}/page{number}.md"] = _markdown(number, f"{up}img", "../img")
    files |= {f"docs/img/{name}": content for name, content in pictures(tools.pages).items()}
    files |= {"docs/own.css": _STYLE, "docs/own.js": _SCRIPT, "mkdocs.yml": json.dumps(settings)}
    write(folder, files | dict(extra or {}))
    run([sys.executable, "-m", "mkdocs", "build", "--quiet"], folder)
    return folder / "site"


def _material(folder: Path, tools: Tools) -> Path:
    """Build Material with every plugin of its own that needs no network and no account."""
    palette = [
        {"scheme": "default", "toggle": {"icon": "material/weather-night", "name": "dark"}},
        {"scheme": "slate", "toggle": {"icon": "material/weather-sunny", "name": "light"}},
    ]
    plugins: list[Any] = [
        "search",
        "tags",
        "meta",
        "typeset",
        "offline",
        {"blog": {"blog_dir": "blog"}},
        {"group": {"enabled": True, "plugins": []}},
        {"privacy": {"enabled": True, "assets_fetch": False}},
        "glightbox",
    ]
    features = ["navigation.instant", "navigation.tabs", "content.tabs.link"]
    post = "---\ndate: 2026-01-02\n---\n\n# A post\n\n![post](../../img/shot-1.png)\n\n<!-- more -->\n\n![more](../../img/shot-2.png)\n"
    theme = {"name": "material", "font": False, "palette": palette, "features": features}
    return _mkdocs(
        folder,
        tools,
        {"theme": theme, "plugins": plugins},
        {"docs/blog/index.md": "# Blog\n", "docs/blog/posts/first.md": post, "docs/tags.md": "# Tags\n"},
        up="../",
    )


def _minified(folder: Path, tools: Tools) -> Path:
    """Build Material with pages that are minified, printed on one page, and in part behind a password."""
    minify = {**{f"minify_{kind}": True for kind in ("html", "css", "js")}, "htmlmin_opts": {"remove_comments": True}}
    minify |= {"css_files": ["own.css"], "js_files": ["own.js"]}
    plugins: list[Any] = ["search", "print-site", {"encryptcontent": {"title_prefix": ""}}, {"minify": minify}]
    secret = "---\npassword: open\n---\n\n# Secret\n\n![hidden](img/shot-3.png)\n\n![only here](img/secret.png)\n"
    return _mkdocs(
        folder,
        tools,
        {"theme": {"name": "material", "font": False}, "plugins": plugins},
        {"docs/secret.md": secret, "docs/img/secret.png": _picture(77)},
    )


def _doxygen(folder: Path, tools: Tools) -> Path:
    """Build Doxygen's pages of a real program, under the documentation in MkDocs' own theme."""
    code = folder / "code"
    for number in range(tools.pages // 2):
        write(code, {f"part{number}.h": _HEADER.format(number=number, last=max(0, number - 1))})
    (folder / "docs").mkdir(parents=True)
    settings = (
        "PROJECT_NAME=World\nINPUT=code\nOUTPUT_DIRECTORY=docs\nHTML_OUTPUT=api\nGENERATE_LATEX=NO\nQUIET=YES\nWARNINGS=NO\n"
        "EXTRACT_ALL=YES\nHTML_DYNAMIC_SECTIONS=YES\nGENERATE_TREEVIEW=YES\nHAVE_DOT=YES\nDOT_IMAGE_FORMAT=png\n"
        "SOURCE_BROWSER=YES\nCALL_GRAPH=YES\nINLINE_INHERITED_MEMB=YES\nRECURSIVE=YES\n"
    )
    write(folder, {"Doxyfile": settings})
    run(["doxygen", "Doxyfile"], folder)
    return _mkdocs(folder, tools._replace(pages=6), {"theme": {"name": "mkdocs"}})


_HEADER: Final = """\
#pragma once
#include "part{last}.h"
/** \\file The part {number}. */
/** A thing of kind {number}. */
class Thing{number}{{
 public:
  virtual ~Thing{number}() {{}}
  /** Do it. */
  virtual int go(int n) {{ return helper{number}(n); }}
  /** Help. */
  static int helper{number}(int n) {{ return n + {number}; }}
}};
/** A thing that is one of those before. */
class Special{number} : public Thing{number} {{
 public:
  int go(int n) override {{ return Thing{number}::go(n) + helper{number}(n); }}
}};
"""

# Sphinx


def _sphinx(theme: str) -> Callable[[Path, Tools], Path]:
    def build(folder: Path, tools: Tools) -> Path:
        settings = {
            "project": "World",
            "html_theme": theme,
            "html_baseurl": URL,
            "html_static_path": ["static"],
            "html_css_files": ["own.css"],
            "html_js_files": ["own.js"],
            "html_extra_path": ["extra"],
            "exclude_patterns": ["extra", "static"],
        }
        toc = "".join(f"   part{number % 4}/page{number}\n" for number in range(1, tools.pages))
        files: dict[str, str | bytes] = {
            "index.rst": f"World\n=====\n\n.. toctree::\n\n{toc}\n.. py:module:: alpha\n\n.. py:module:: alpha.inner\n\n.. py:module:: beta\n",
            "conf.py": "".join(f"{name} = {value!r}\n" for name, value in settings.items()),
            "static/own.css": _STYLE,
            "static/own.js": _SCRIPT,
        }
        for number in range(1, tools.pages):
            raw = "".join(f"   {line}\n" for line in _raw("../img", number).splitlines())
            files[f"part{number % 4}/page{number}.rst"] = (
                f"Page {number}\n=======\n\n.. image:: ../img/shot-{number}.png\n   :width: 120px\n\n"
                f".. figure:: ../img/photo.jpg\n   :target: ../_images/photo.jpg\n\n   A figure.\n\n"
                f".. image:: ../img/light.png\n   :class: only-light\n\n.. image:: ../img/dark.png\n   :class: only-dark\n\n"
                f".. raw:: html\n\n{raw}"
            )
        drawn = pictures(tools.pages)
        files |= {
            f"{place}/{name}": content
            for name, content in drawn.items()
            for place in ("img", "extra/img", "static/img")
        }
        write(folder, files)
        run([sys.executable, "-m", "sphinx", "-q", "-b", "html", folder, folder / "out"], folder)
        return folder / "out"

    return build


# Others


def _pelican(folder: Path, tools: Tools) -> Path:
    files: dict[str, str | bytes] = {
        "pelicanconf.py": "SITENAME = 'World'\nPATH = 'content'\nSITEURL = ''\nRELATIVE_URLS = True\nTIMEZONE = 'UTC'\n"
        "DEFAULT_PAGINATION = 20\nSTATIC_PATHS = ['img']\nFEED_ALL_ATOM = 'feeds/all.atom.xml'\n"
    }
    for number in range(tools.pages):
        files[f"content/page{number}.md"] = (
            f"Title: Page {number}\nDate: 2026-01-{number % 28 + 1:02}\nCategory: c{number % 4}\n\n"
            f"![shot]({{static}}/img/shot-{number}.png)\n\n{_raw('img', number)}"
        )
    files |= {f"content/img/{name}": content for name, content in pictures(tools.pages).items()}
    write(folder, files)
    run([sys.executable, "-m", "pelican", "content", "-o", "output", "-s", "pelicanconf.py", "-q"], folder)
    return folder / "output"


def _zensical(folder: Path, tools: Tools) -> Path:
    files: dict[str, str | bytes] = {
        "mkdocs.yml": json.dumps(
            {
                "site_name": "World",
                "site_url": URL,
                "theme": {"name": "material", "font": False},
                "extra_css": ["own.css"],
                "extra_javascript": ["own.js"],
            }
        )
    }
    files["docs/index.md"] = _markdown(0, "img", "img")
    for number in range(1, tools.pages):
        files[f"docs/part{number % 4}/page{number}.md"] = _markdown(number, "../../img", "../img")
    files |= {f"docs/img/{name}": content for name, content in pictures(tools.pages).items()}
    write(folder, files | {"docs/own.css": _STYLE, "docs/own.js": _SCRIPT})
    run([sys.executable, "-m", "zensical", "build"], folder)
    return folder / "site"


def _linked(folder: Path, tools: Tools, name: str) -> None:
    """Put a generator's packages into a project."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "node_modules").symlink_to(tools.npm / name / "node_modules")


def recipe(name: str) -> list[str]:
    """Read the commands below a generator's heading in the documentation."""
    page = (Path(__file__).parents[2] / "docs/everywhere.md").read_text("utf-8")
    text = re.split(rf"^## {name}$", page, flags=re.M)[1].split("\n## ")[0]
    return re.findall(r"^\$ (.+)$", "".join(re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)), re.M)


def _by_recipe(folder: Path, name: str, **environ: str) -> Path:
    """Build as the documentation says, up to the call of imghost; gives the site that it is called with."""
    (command,) = recipe(name)
    building, _, calling = command.partition(" && imghost rehost ")
    run(["sh", "-c", building], folder, **environ)
    return folder / calling


def _vitepress(folder: Path, tools: Tools) -> Path:
    write(folder, {"package.json": '{"private": true, "type": "module"}'})
    _linked(folder, tools, "vitepress")
    files: dict[str, str | bytes] = {
        "docs/.vitepress/config.mjs": "export default { title: 'World', ignoreDeadLinks: true, themeConfig: { search: { provider: 'local' } } }\n",
        "docs/index.md": _markdown(0, "/img", "./img", more="[next](./part1/page1)\n"),
    }
    for number in range(1, tools.pages):
        files[f"docs/part{number % 4}/page{number}.md"] = _markdown(number, "/img", "../img")
    drawn = pictures(tools.pages)
    files |= {f"docs/{place}/{name}": content for name, content in drawn.items() for place in ("img", "public/img")}
    write(folder, files)
    return _by_recipe(folder, "VitePress")


def _docusaurus(folder: Path, tools: Tools) -> Path:
    write(folder, {"package.json": '{"private": true}'})
    _linked(folder, tools, "docusaurus-core")
    config = {
        "title": "World",
        "url": "http://docs.test",
        "baseUrl": "/",
        "onBrokenLinks": "ignore",
        "markdown": {"format": "detect", "hooks": {"onBrokenMarkdownImages": "warn"}},
        "presets": [["classic", {"docs": {"routeBasePath": "/"}, "blog": False, "theme": {"customCss": "./own.css"}}]],
    }
    files: dict[str, str | bytes] = {
        "docusaurus.config.js": f"module.exports = {json.dumps(config)};\n",
        "own.css": _STYLE.replace("img/", "./static/img/"),
        "docs/index.md": "---\nslug: /\n---\n" + _markdown(0, "/img", "../img"),
    }
    for number in range(1, tools.pages):
        files[f"docs/part{number % 4}/page{number}.md"] = _markdown(number, "/img", "../../img")
    drawn = pictures(tools.pages)
    files |= {f"{place}/{name}": content for name, content in drawn.items() for place in ("img", "static/img")}
    write(folder, files)
    return _by_recipe(folder, "Docusaurus", CI="true")


def _starlight(folder: Path, tools: Tools) -> Path:
    write(folder, {"package.json": '{"private": true, "type": "module"}'})
    _linked(folder, tools, "astro")
    files: dict[str, str | bytes] = {
        "astro.config.mjs": "import { defineConfig } from 'astro/config';\nimport starlight from '@astrojs/starlight';\n"
        "export default defineConfig({ site: 'http://docs.test', integrations: [starlight({ title: 'World' })] });\n",
        "src/content.config.ts": "import { defineCollection } from 'astro:content';\nimport { docsLoader } from '@astrojs/starlight/loaders';\n"
        "import { docsSchema } from '@astrojs/starlight/schema';\nexport const collections = { docs: defineCollection({ loader: docsLoader(), schema: docsSchema() }) };\n",
    }
    for number in range(tools.pages):
        name = "index" if number == 0 else f"part{number % 4}/page{number}"
        up = "../../img" if number == 0 else "../../../img"
        body = _markdown(number, "/img", up).partition("\n")[2]
        files[f"src/content/docs/{name}.md"] = f"---\ntitle: Page {number}\n---\n{body}"
    drawn = pictures(tools.pages)
    files |= {f"{place}/{name}": content for name, content in drawn.items() for place in ("src/img", "public/img")}
    write(folder, files)
    return _by_recipe(folder, "Starlight", ASTRO_TELEMETRY_DISABLED="1", CI="true")


PROJECTS: Final = (
    Project("doxygen", _doxygen, ("doxygen", "dot")),
    Project("material", _material),
    Project("minified", _minified),
    Project("furo", _sphinx("furo")),
    Project("pydata", _sphinx("pydata_sphinx_theme")),
    Project("rtd", _sphinx("sphinx_rtd_theme")),
    Project("alabaster", _sphinx("alabaster")),
    Project("pelican", _pelican),
    Project("zensical", _zensical),
    Project("vitepress", _vitepress, ("node", "vitepress:vitepress")),
    Project("docusaurus", _docusaurus, ("node", "docusaurus-core:@docusaurus/core")),
    Project("starlight", _starlight, ("node", "astro:@astrojs/starlight")),
)


def missing(project: Project, tools: Tools) -> list[str]:
    """List what a project needs and the machine lacks."""
    lacking = []
    for need in project.needs:
        folder, colon, package = need.partition(":")
        if not (tools.npm / folder / "node_modules" / package).is_dir() if colon else shutil.which(need) is None:
            lacking.append(need)
    return lacking
