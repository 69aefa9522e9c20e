"""The documentation builds from nothing, and what it says is what the code does."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from documentation import BLOCKS, DOCS, pages, written
from sites import small_site

from imghost import Job, Origins, records, rehost, settings
from imghost.cli.main import main
from imghost.hosts import registry
from imghost.records import lock as locks
from imghost.run import report, rewrite

ROOT = DOCS.parent
PAGES = {page.name: page.read_text("utf-8") for page in pages()}
CODE = "\n".join(
    path.read_text("utf-8")
    for package in ("imghost", "mkdocs_imghost", "sphinx_imghost")
    for path in sorted((ROOT / package).rglob("*.py"))
)


def fences(language: str) -> Iterator[tuple[str, str]]:
    """List the code blocks in a language, with their page's name."""
    for name, text in PAGES.items():
        yield from ((name, block) for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S))


@pytest.mark.parametrize("name", PAGES)
def test_what_the_code_decides_is_what_the_page_says(name):
    """Where this fails, `python tests/support/documentation.py` writes it."""
    assert written(PAGES[name]) == PAGES[name]


def test_every_such_block_is_in_a_page():
    assert [block for block in BLOCKS if f"<!-- {block} -->" not in "".join(PAGES.values())] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build the site as `make docs` does."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    environ = os.environ | {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(ROOT / "mkdocs.yml"), "-d", str(folder)]
    done = subprocess.run(command, cwd=folder.parent, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder


def parsed(site: Path) -> Iterator[tuple[Path, BeautifulSoup]]:
    for page in sorted(site.rglob("*.html")):
        yield page, BeautifulSoup(page.read_text("utf-8"), "lxml")


def test_every_link_and_image_leads_somewhere(site):
    lost = []
    for page, soup in parsed(site):
        for element in soup.find_all(["a", "img", "link", "script"]):
            url = urlsplit(element.get("href") or element.get("src") or "")
            if url.scheme or url.netloc or not url.path:
                continue
            target = (site if url.path.startswith("/") else page.parent) / unquote(url.path.lstrip("/"))
            if not (target / "index.html" if target.is_dir() else target).is_file():
                lost.append((page.relative_to(site), url.path))
    assert [entry for entry in lost if entry[0].name != "404.html"] == []


def brightness(colour: str) -> float:
    """Compute the relative luminance of `#rrggbb`, by WCAG 2.2."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted(map(brightness, (one, other)))
    return (light + 0.05) / (dark + 0.05)


GROUNDS = {"default": ("#ffffff", "#f5f5f5"), "slate": ("#1e2129", "#272a35")}
"""What Material puts text and code on: white and hsl(0 0% 96%), hsl(232 15% 14%) and hsl(232 15% 18%)."""


@pytest.mark.parametrize("scheme", GROUNDS)
def test_links_and_the_header_can_be_read_in_light_and_dark(scheme):
    text = (DOCS / "stylesheets/colours.css").read_text("utf-8")
    block = re.search(rf'scheme="{scheme}"\] {{(.*?)}}', text, re.S)[1]
    colours = dict(re.findall(r"--md-([\w-]+): (#\w{6});", block))
    for ground in GROUNDS[scheme]:
        assert contrast(colours["typeset-a-color"], ground) >= 4.5
        assert contrast(colours["accent-fg-color"], ground) >= 4.5
    for letters in ("primary-bg-color", "primary-bg-color--light"):
        assert contrast(colours[letters], colours["primary-fg-color"]) >= 4.5


def test_every_page_has_the_colours(site):
    for page, soup in parsed(site):
        assert "colours.css" in str(soup.find_all("link", rel="stylesheet")), page
        assert {one["data-md-color-primary"] for one in soup.select("[data-md-color-primary]")} == {"custom"}


def test_no_page_but_the_references_is_long():
    references = {"commands.md", "options.md", "lock-and-report.md", "messages.md", "hosts.md", "changes.md"}
    written_by_code = r"^```.*?^```|<!-- ([\w ]+) -->.*?<!-- /\1 -->"
    words = {name: len(re.sub(written_by_code, "", text, flags=re.M | re.S).split()) for name, text in PAGES.items()}
    assert {name: count for name, count in words.items() if count > 900 and name not in references} == {}


def test_pages_load_nothing_from_elsewhere(site):
    for page, soup in parsed(site):
        for element in soup.find_all(["img", "script", "link"]):
            if element.name != "link" or "stylesheet" in element.get("rel", []):
                url = element.get("src") or element.get("href") or ""
                assert not urlsplit(url).netloc, (page, url)


def test_imghost_moved_every_image_of_its_own_documentation(site):
    shown = {image["src"].rpartition("/")[0][-8:] for _, soup in parsed(site) for image in soup.find_all("img")}
    assert shown == {"_imghost"}
    assert len(list((site / "_imghost").iterdir())) == len([*DOCS.glob("*.png"), *(DOCS / "images").iterdir()])


def test_the_files_to_paste_are_in_their_page_whole(site):
    text = BeautifulSoup((site / "ci/index.html").read_text("utf-8"), "lxml").get_text()
    for snippet in sorted((DOCS / "ci").iterdir()):
        assert snippet.read_text("utf-8").strip() in text, snippet.name


def check(raw: dict[str, Any]) -> None:
    """Read settings as a front end does, the host's own, too."""
    chosen = settings.read(raw, ROOT)
    if chosen.host != "auto":
        registry.read_host_options(registry.host_type(chosen.host).Options, chosen.options, chosen.host)


class _Loader(yaml.SafeLoader):
    """Reads what an application's own tags hold as nothing."""


_Loader.add_multi_constructor("!", lambda *_: None)


def test_every_configuration_in_a_page_is_right():
    seen = 0
    for _, block in [*fences("yaml"), ("", (ROOT / "mkdocs.yml").read_text("utf-8"))]:
        if "--8<--" in block:
            continue
        found = yaml.load(block, _Loader)
        for plugin in found.get("plugins", []):
            if isinstance(plugin, dict) and "imghost" in plugin:
                check(plugin["imghost"])
                seen += 1
    for _, block in fences("toml"):
        if "imghost.toml" in block:
            check(tomllib.loads(block))
            seen += 1
    for _, block in fences("python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Assign) and (name := ast.unparse(node.targets[0])).startswith("imghost_"):
                value = eval(ast.unparse(node.value), {"os": os})
                check({name.removeprefix("imghost_"): value})
                seen += 1
    assert seen > 12


COMMANDS = sorted(
    {
        command[command.index("imghost ") + 8 :]
        for _, block in fences("console")
        for line in block.splitlines()
        for command in line.removeprefix("$ ").split(" && ")
        if re.match(r"(?:\w+=\S+ )*imghost ", command)
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_a_page_is_understood(command, tmp_path, monkeypatch, capsys):
    """Run it in a small project without a credential or a network; a misuse would print the usage."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for name in (
        *("site", "public", "_site", "output", "archive", "pages"),
        *("build", "dist", "html", "docs/.vitepress/dist"),
    ):
        small_site(tmp_path / name, count=1)
    status = main(shlex.split(command))
    told = capsys.readouterr()
    assert "usage:" not in told.err
    assert "unknown" not in told.err
    named = command.split()[0]
    expected = {
        "rehost": 0,
        "plan": 0,
        "restore": 0,
        "status": 0,
        "verify": 1,
        "check": 1,
        "audit": 1,
        "migrate": 1 if "s3" in command else 0,
    }
    # What needs a host's answer is refused here, for that reason alone.
    assert status == expected.get(named, 2), told.err


TREES = [
    ast.parse(path.read_text("utf-8"))
    for package in ("imghost", "mkdocs_imghost", "sphinx_imghost")
    for path in sorted((ROOT / package).rglob("*.py"))
]


def codes_of(call: ast.Call) -> Iterator[str]:
    """List the codes of warnings that stand in a call which makes one, or which says why an image stays."""
    name = ast.unparse(call.func).rpartition(".")[2]
    place = {"Notice": 0, "Warned": 0, "refused": 1, "Stay": 2, "Refusal": 2, "Leave": 2}.get(name)
    if place is None and name not in {"error", "warning", "join"}:
        return
    # img402 has a `refused` of its own, and `join` is how what is known of a file is kept in one text.
    is_kept = ast.unparse(call.func) == repr("\t") + ".join"
    is_other = name == "refused" and ast.unparse(call.args[0]) != "planned"
    found = [] if place is None or is_other else [*call.args[place : place + 1]]
    found += [word.value for word in call.keywords if word.arg in {"code", "subtype"}]
    found += [part for arg in call.args for part in ast.walk(arg) if is_kept and isinstance(part, ast.IfExp)]
    for value in found:
        chosen = (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)
        yield from (str(it.value) for it in chosen if isinstance(it, ast.Constant) and it.value and " " not in it.value)


def codes() -> set[str]:
    """List every code of a warning that the code knows."""
    calls = (node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {code for call in calls for code in codes_of(call) if re.fullmatch("[a-z]+", code)}


def test_each_code_of_a_warning_has_its_section_and_none_is_left_over():
    assert {"upload", "type", "frozen", "twin", "settings", "oversize"} <= codes()
    assert sorted(re.findall(r"^### `(\w+)`$", PAGES["messages.md"], re.M)) == sorted(codes())


def test_each_message_that_the_page_on_messages_quotes_is_one_of_the_codes():
    """What stands between the places of names and numbers stands so in the code."""
    texts = [str(node.value) for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    rows = re.findall(r"^\| (`.*?`) \| .* \|$", PAGES["messages.md"], re.M)
    quoted = [
        quote.strip() for row in rows for quote in re.findall(r"``(.+?)``|`([^`]+)`", row) for quote in quote if quote
    ]
    parts = [part for quote in quoted for part in map(str.strip, quote.split("…")) if len(part) > 3]
    assert len(parts) > 60
    assert [part for part in parts if not any(part in text for text in texts)] == []


def fields_told(part: str) -> list[str]:
    """List the fields of the tables below a heading of the page on the lock and the report."""
    text = re.split(rf"^##+ {part}$", PAGES["lock-and-report.md"], flags=re.M)[1]
    rows = re.findall(r"^\| (`.*?`) \|", re.split(r"^##", text, flags=re.M)[0], re.M)
    return [field for row in rows for field in re.findall(r"`([^`]+)`", row)]


def fields_of(value: object, name: str = "") -> Iterator[str]:
    """List the names of all values in a JSON document, those of a list's members by its name and `[]`."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from fields_of(below, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from fields_of(value[0], f"{name}[]")
    else:
        yield name


def test_each_field_of_the_lock_is_told():
    """What is beside a record's own fields stands in the code as `extra`."""
    known = set(locks._FIELDS) | {rewrite.SEEN, rewrite.WAY, records._MARK, records._ASKED}
    for node in (node for tree in TREES for node in ast.walk(tree)):
        if (
            isinstance(node, ast.AnnAssign)
            and ast.unparse(node.target) == "extra"
            and isinstance(node.value, ast.Constant | ast.Dict | ast.IfExp)
        ):
            known |= {
                str(key.value)
                for part in ast.walk(node.value)
                if isinstance(part, ast.Dict)
                for key in part.keys
                if isinstance(key, ast.Constant)
            }
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "extra" and isinstance(node.ctx, ast.Store):
            known |= {str(node.slice.value)} if isinstance(node.slice, ast.Constant) else set()
    assert sorted(fields_told("A record")) == sorted(known)
    assert fields_told("The header") == list(json.loads(locks.render(locks.Lock()).splitlines()[0]))


def test_each_field_of_the_report_is_told(tmp_path):
    site = small_site(tmp_path / "site")
    (site / "index.html").write_text('<img src="gone.png"><img src="images/0.png"><img src="images/1.png">', "utf-8")
    chosen = settings.read({"host": "directory", "exclude": ["images/1.png"], "report": "report.json"}, tmp_path)
    full = rehost(Job(site, chosen, {}, Origins((site,)))).report
    full = full._replace(
        failures=(report.Failure("a", "b", "c"),),
        by_image=(report.HostedBytes("a", 2, 1, "image/webp", is_remade=True),),
    )
    assert sorted(fields_told("The report")) == sorted(fields_of(report.as_mapping(full)))


def test_there_are_commands_to_try():
    assert len(COMMANDS) >= 12
    assert {command.split()[0] for command in COMMANDS} >= {"rehost", "plan", "check", "verify", "prune", "migrate"}


def test_every_variable_that_is_told_is_one_that_the_code_reads_and_the_other_way_round():
    told = set(re.findall(r"IMGHOST_[A-Z_]+", "\n".join(PAGES.values())))
    read = set(re.findall(r"IMGHOST_[A-Z_]+", CODE))
    assert told == read
    assert read >= {"IMGHOST_ALLOW_PULL_REQUESTS", "IMGHOST_ALLOW_API_URL", "IMGHOST_ALLOW_REMOTE", "IMGHOST_SERVE"}


def test_the_picture_of_the_line_is_drawn_without_anything_from_elsewhere():
    text = (DOCS / "images/line.svg").read_text("utf-8")
    assert not re.search(r"<script|href=|<image|@import", text)
    assert re.findall(r"url\((?!#)", text) == []


def test_limits_of_images_are_documented_as_they_are():
    from imghost.image import inspect, payload, svg

    told = (ROOT / "docs/lighter-pages.md").read_text("utf-8")
    assert f"{inspect.MAX_BYTES:,} bytes" in told
    assert f"{inspect.MAX_PIXELS // 10**6} megapixels |" in told
    assert f"{svg._MAX_BYTES:,} bytes" in told
    assert f"{payload._MAX_ANIMATED // 10**6} megapixels in all" in told
