"""Sites to measure with: Markdown and reStructuredText sources, images, and finished pages."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from typing import Final

KEY: Final = "img_live_benchmark00000000000000"
"""A key of the right shape, for the local server."""

_TEXT: Final = """
station sensor reading wind rain hour alarm chart export battery radio mast compass history record value limit every
shows opens keeps sends after before with without where between and or the a this
"""
_WORDS: Final = _TEXT.split()
_PER_FOLDER: Final = 25


def png(number: int, length: int) -> bytes:
    """Make a picture of about so many bytes, like no other one."""
    rows = random.Random(number).randbytes(max(length - 100, 300))
    width = 64
    height = len(rows) // (width * 3 + 1)
    raw = b"".join(b"\0" + rows[at * 193 + 1 : at * 193 + 193] for at in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def images(folder: Path, count: int, length: int) -> None:
    """Write images of a length each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"p{number}.png").write_bytes(png(number, length))


def large_images(folder: Path, count: int, length: int) -> None:
    """Write images of a length each whose pixels nobody decodes, with a comment that has to go."""
    folder.mkdir(parents=True)
    part = _chunk(b"IDAT", bytes(range(256)) * 64)
    header = struct.pack(">IIBBBBB", 4_000, 4_000, 8, 2, 0, 0, 0)
    for number in range(count):
        with (folder / f"p{number}.png").open("wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"tEXt", b"Author\0%d" % number))
            for _ in range(max(1, length // len(part))):
                file.write(part)
            file.write(_chunk(b"IEND", b""))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _paragraph(chance: random.Random, words: int = 60) -> str:
    return " ".join(chance.choices(_WORDS, k=words)).capitalize() + "."


def markdown(number: int, count: int, paragraphs: int) -> str:
    """Write a page with prose, a table, code, links and three of `count` images."""
    chance = random.Random(number)
    parts = [f"# Page {number}", ""]
    for section in range(paragraphs // 5):
        parts += [f"## Part {section} of {chance.choice(_WORDS)}", ""]
        for _ in range(4):
            link = f"[{chance.choice(_WORDS)}](page{number // _PER_FOLDER * _PER_FOLDER}.md)"
            parts += [f"{_paragraph(chance)} `{chance.choice(_WORDS)}` {link}", ""]
        parts += ["| name | unit | range |", "|---|---|---|"]
        parts += [f"| {chance.choice(_WORDS)} | m/s | 0 to {line} |" for line in range(12)]
        parts += ["", "```python", *(f"{chance.choice(_WORDS)}({line}, limit={line})" for line in range(12)), "```", ""]
    parts += [f"![{chance.choice(_WORDS)}](../images/p{(number * 3 + at) % count}.png)\n" for at in range(3)]
    return "\n".join(parts)


def html(number: int, count: int) -> str:
    """Write a small finished page with a menu, prose and three of `count` images."""
    chance = random.Random(number)
    menu = "".join(f'<li><a href="page{number // 100 * 100 + at}.html">{at}</a></li>\n' for at in range(20))
    shown = "".join(
        f'<p>{_paragraph(chance)}</p>\n<img src="../images/p{(number * 3 + at) % count}.png" alt="">\n'
        for at in range(3)
    )
    return f"<!doctype html>\n<title>Page {number}</title>\n<ul>\n{menu}</ul>\n<h1>Page {number}</h1>\n{shown}"


def mkdocs(
    folder: Path, pages: int, pictures: int, plugins: dict[str, str], length: int = 20_000, paragraphs: int = 60
) -> None:
    """Write a MkDocs project with Material, and a configuration for each name with its plugins."""
    docs = folder / "docs"
    images(docs / "images", pictures, length)
    (docs / "index.md").write_text("# Start\n")
    for number in range(pages):
        page = docs / f"part{number // _PER_FOLDER}" / f"page{number}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(markdown(number, pictures, paragraphs))
    for name, lines in plugins.items():
        (folder / f"{name}.yml").write_text(
            f"site_name: Bench\nsite_url: https://docs.example.com/\nsite_dir: site-{name}\n"
            "theme:\n  name: material\n  font: false\n  features: [navigation.prune]\n"
            f"markdown_extensions: [tables, fenced_code]\nplugins:\n  - search\n{lines}"
        )


def imghost_plugin(url: str) -> str:
    """Write the plugin's part of a configuration, for a local server."""
    return (
        f"  - imghost:\n      host: img.pro\n      options: {{api_url: {url}/v1}}\n"
        "      sources: [docs]\n      concurrency: 16\n      verify: false\n"
    )


def sphinx(folder: Path, pages: int, pictures: int, extension: str) -> None:
    """Write a Sphinx project with Furo."""
    source = folder / "source"
    images(source / "images", pictures, 20_000)
    (source / "conf.py").write_text(f"project = 'Bench'\nhtml_theme = 'furo'\n{extension}")
    names = "\n".join(f"   page{number}" for number in range(pages))
    (source / "index.rst").write_text(f"Start\n=====\n\n.. toctree::\n   :maxdepth: 1\n\n{names}\n")
    for number in range(pages):
        chance = random.Random(number)
        text = "\n\n".join(_paragraph(chance) for _ in range(12))
        shown = "\n".join(f".. image:: images/p{(number * 3 + at) % pictures}.png" for at in range(3))
        (source / f"page{number}.rst").write_text(f"Page {number}\n{'=' * 12}\n\n{text}\n\n{shown}\n")


def imghost_settings(url: str, folder: Path, *, verify: bool = False, shared: str = "") -> str:
    """Write an imghost.toml's options for a local server."""
    told = str(verify).lower()
    store = f'shared = "{shared}"\n' if shared else ""
    text = f'host = "img.pro"\nconcurrency = 16\nverify = {told}\n{store}[options]\napi_url = "{url}/v1"\n'
    (folder / "imghost.toml").write_text(text)
    return text
