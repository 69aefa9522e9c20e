"""The README's blocks that the code decides: `python tests/support/readme.py` writes them, a test compares them."""

from __future__ import annotations

import contextlib
import io
import os
import re
from datetime import timedelta
from pathlib import Path

from imghost import settings
from imghost.cli.main import main
from imghost.models import KINDS

README = Path(__file__).parents[2] / "README.md"


def options_table() -> str:
    """Write the table of options from their one declaration."""
    rows = [
        f"| `{option.name}` | {_shown(option.name)} | {option.metadata['about']} |" for option in settings.options()
    ]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def _shown(name: str) -> str:
    value = getattr(settings.Settings(), name)
    if name == "retention":
        return "`permanent`"
    if isinstance(value, timedelta):
        return f"`{value.days}d`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, frozenset):
        return "all but " + ", ".join(sorted(set(KINDS) - value))
    if isinstance(value, (tuple, dict)) or value is None or name == "options":
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def help_block() -> str:
    """Print the command's help at a fixed width."""
    os.environ["COLUMNS"] = "80"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(["--help"])
    return printed.getvalue().rstrip()


def written(text: str) -> str:
    """Put the blocks into the README's text."""
    text = re.sub(
        r"(<!-- options -->\n).*?(<!-- /options -->)", lambda m: f"{m[1]}{options_table()}\n{m[2]}", text, flags=re.S
    )
    return re.sub(r"(## Commands\n\n```\n).*?(\n```)", lambda m: f"{m[1]}{help_block()}{m[2]}", text, flags=re.S)


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
