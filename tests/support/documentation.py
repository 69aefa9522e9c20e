"""The documentation's blocks that the code decides: `python tests/support/documentation.py` writes them, a test compares them."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from claims import rows as claim_rows
from readme import shown_default

from imghost import settings
from imghost.cli import parser
from imghost.cli.main import main
from imghost.hosts import registry
from imghost.hosts.img402 import TIERS
from imghost.models import MEDIA_TYPES, Limits

DOCS = Path(__file__).parents[2] / "docs"
_SHARED = {
    "api_url": "The service's API, or a proxy or a test server in its place.",
    "bucket": "The bucket's name.",
    "public": "Whether the service may show the image on its own pages.",
    "region": "The storage's region; none = what the environment says.",
    "tags": "What the service files the images under, at most ten.",
    "tier": "How images are paid: `permanent`, `1-year`, `free` or `auto`.",
    "tiers": "Globs of images' paths in the site, each with the tier of those images; the first that fits counts.",
    "url_hosts": "Other hosts whose image URLs are accepted.",
}
"""What options mean that say it by their names in the code."""


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Write a table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def options() -> str:
    """List the options with every way to write them."""
    rows = [
        (f"`{option.name}`", shown_default(option.name), _flag(option), option.metadata["about"])
        for option in settings.options()
    ]
    return table(("option", "default", "on the command line", "meaning"), rows)


def _flag(option: Field[Any]) -> str:
    name, default = option.name.replace("_", "-"), settings.default_of(option)
    if option.name == "options":
        return "`--option KEY=VALUE`, repeated"
    if isinstance(default, bool):
        return f"`--{name}`, `--no-{name}`"
    return f"`--{name} VALUE`" + (", repeated" if isinstance(default, (tuple, frozenset)) else "")


def host_options() -> str:
    """List every host's own options, as their declarations say."""
    parts = []
    for name in registry.installed():
        kind = registry.host_type(name)
        told = _told(kind.Options)
        rows = [
            (f"`{option.name}`", _default(option), told.get(option.name) or _SHARED[option.name])
            for option in fields(kind.Options)
        ]
        parts.append(f"### `{name}`\n\n{table(('option', 'default', 'meaning'), rows)}")
    return "\n\n".join(parts)


def _default(option: Field[Any]) -> str:
    value = None if option.default is MISSING else option.default
    return "none" if value in (None, (), "") else f"`{value}`"


def _told(kind: type[Any]) -> dict[str, str]:
    """Read what a class's source says below each of its fields."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    return {
        str(field.target.id): " ".join(str(text.value.value).split()).replace("None = ", "none = ")
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def hosts() -> str:
    """List what each host takes."""
    rows = []
    for name in registry.installed():
        limits = registry.limits_of(name, {})
        assert limits is not None
        variables = registry.host_type(name).credentials
        rows.append(
            (f"`{name}`", _formats(limits), _size(limits), ", ".join(f"`{it}`" for it in variables) or "none needed")
        )
    return table(("host", "takes", "up to", "credential, in the environment (any one)"), rows)


def tiers() -> str:
    """List img402's tiers as the code knows them."""
    rows = [(f"`{name}`", _price(limits), _promise(limits.retention), _size(limits)) for name, limits in TIERS.items()]
    return table(("tier", "an image, at most", "least promise", "up to"), rows)


def _formats(limits: Limits) -> str:
    return ", ".join(ending for media_type, ending in MEDIA_TYPES.items() if media_type in limits.formats)


def _size(limits: Limits) -> str:
    return f"{limits.max_bytes // 1_000_000:,} MB" if limits.max_bytes else "any size"


def _price(limits: Limits) -> str:
    return f"${limits.price}" if limits.price else "free"


def _promise(retention: timedelta | None) -> str:
    return f"{retention.days} days" if retention else "permanent"


def guards() -> str:
    """Take over what the security policy says of threats."""
    text = (DOCS.parent / "SECURITY.md").read_text("utf-8")
    return text[text.index("## What imghost guards") :].rstrip()


def plan() -> str:
    """Show what `imghost plan` prints for a page with three of the example's images."""
    names = ("overview.png", "mast.jpg", "tile.png")
    shown = "".join(f'<img src="{name}">' for name in names)
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "public"
        site.mkdir()
        (site / "index.html").write_text(f"<title>x</title>{shown}", "utf-8")
        for name in names:
            shutil.copyfile(DOCS.parent / "example_site/images" / name, site / name)
        with contextlib.chdir(folder), contextlib.redirect_stdout(printed), narrow():
            main(["plan", "public", "--host", "directory"])
    return f"```console\n$ imghost plan public --host directory\n{printed.getvalue().rstrip()}\n```"


def shrink() -> str:
    """Show what `imghost shrink` prints for a branch of three versions with the example's images."""
    command = "shrink gh-pages --host directory --option path=../hosted --option base_url=https://images.example.org/"
    before = dict(os.environ)
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "project"
        os.environ |= _AUTHOR
        try:
            _publish(checkout)
            with contextlib.chdir(checkout), narrow():
                for words in (command, f"{command} --yes"):
                    printed = io.StringIO()
                    with contextlib.redirect_stdout(printed):
                        main(words.split())
                    # The commit's name depends on git's own settings, and on each byte of the pages.
                    text = re.sub(r"is at [0-9a-f]{10} now", "is at 14e34c6eca now", printed.getvalue().rstrip())
                    parts.append(f"```console\n$ imghost {words}\n{text}\n```")
        finally:
            os.environ.clear()
            os.environ |= before
    return "\n\nThen, with `--yes`:\n\n".join(parts)


_AUTHOR = {
    f"GIT_{role}_{fact}": value
    for role in ("AUTHOR", "COMMITTER")
    for fact, value in (("NAME", "A"), ("EMAIL", "a@x.test"), ("DATE", "2026-01-01T00:00:00Z"))
}
"""Who commits, and when: a commit's name depends on it."""


def _publish(checkout: Path) -> None:
    """Make a checkout whose branch `gh-pages` is as mike leaves it: versions, a link for an alias, and a redirect."""
    checkout.mkdir()
    images = sorted((DOCS.parent / "example_site/images").glob("*.png"))
    git = partial(subprocess.run, cwd=checkout, check=True, capture_output=True)
    git(["git", "init", "-q", "-b", "gh-pages"])
    for more, version in enumerate(("1.0", "1.1", "2.0")):
        shown = images[: len(images) - 2 + more]
        (checkout / version / "img").mkdir(parents=True)
        for image in shown:
            shutil.copyfile(image, checkout / version / "img" / image.name)
        pictures = "".join(f'<img src="img/{image.name}">' for image in shown)
        (checkout / version / "index.html").write_text(f"<title>x</title>{pictures}", "utf-8")
    (checkout / "latest").symlink_to("2.0")
    (checkout / "index.html").write_text('<meta http-equiv="refresh" content="0; url=latest/">', "utf-8")
    git(["git", "add", "-A"])
    git(["git", "commit", "-qm", "Publish", "--no-gpg-sign"])
    git(["git", "checkout", "-q", "--orphan", "main"])


@contextlib.contextmanager
def narrow() -> Iterator[None]:
    """Print for a terminal of 80 columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)


def commands() -> str:
    """Print each command's help, up to the settings, which have a page of their own."""
    parts = []
    with narrow():
        for name in parser.COMMANDS:
            own = parser.help_of(name).partition("\nsettings")[0].rstrip()
            parts.append(f"## `{name}`\n\n```\n{own}\n```")
    return "\n\n".join(parts)


def claims() -> str:
    """List what the services' pages claim, and what becomes of each claim."""
    return table(("host", "claim about", "claim", "imghost", "because"), claim_rows())


BLOCKS = {
    "commands": commands,
    "plan": plan,
    "shrink": shrink,
    "guards": guards,
    "options": options,
    "host options": host_options,
    "hosts": hosts,
    "tiers": tiers,
    "claims": claims,
}


def written(text: str) -> str:
    """Put the blocks into a page's text."""
    for name, make in BLOCKS.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        if mark.search(text):
            block = f"\n{make()}\n\n"
            text = mark.sub(lambda found, block=block: f"{found[1]}{block}{found[2]}", text)  # type: ignore[misc]
    return text


def pages() -> list[Path]:
    """List the documentation's pages."""
    return sorted(DOCS.glob("*.md"))


if __name__ == "__main__":
    for page in pages():
        page.write_text(written(page.read_text("utf-8")), "utf-8")
