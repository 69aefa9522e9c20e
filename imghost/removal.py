"""Deletes local copies that nothing in the site names any more: what makes a published site smaller."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from imghost.pages import Survey, decode

_TEXTS: Final = (".html", ".htm", ".js", ".mjs", ".css", ".json", ".xml", ".txt", ".svg", ".webmanifest", ".map", ".md")
_WORD: Final = re.compile(r"[\w.%~+@!$*-]+")
"""What most file names are made of; other names are looked for one by one."""


def unnamed(survey: Survey, paths: Collection[str]) -> tuple[str, ...]:
    """Find the images whose file name stands in no text file of the site, plain or percent-encoded.

    The name alone decides, wherever the text points: rather a copy too many is kept than one missed.
    """
    names: dict[str, list[str]] = {}
    for path in paths:
        name = path.rpartition("/")[2]
        for spelling in {name, quote(name), name.replace("&", "&amp;")}:
            names.setdefault(spelling, []).append(path)
    odd = [name for name in names if not _WORD.fullmatch(name)]
    left = set(paths)
    for text in _texts(survey):
        said = names.keys() & set(_WORD.findall(text)) | {name for name in odd if name in text}
        left.difference_update(*(names[name] for name in said))
    return tuple(sorted(left))


def _texts(survey: Survey) -> Iterator[str]:
    for path in sorted(survey.files):
        if path.lower().endswith(_TEXTS):
            yield decode((survey.root / path).read_bytes())


def remove(root: Path, paths: Iterable[str]) -> tuple[int, int]:
    """Delete local copies; gives how many and their bytes. A copy that cannot be deleted stays."""
    count = size = 0
    for path in paths:
        file = root / path
        try:
            found = file.stat().st_size
            file.unlink()
        except OSError:
            continue
        count, size = count + 1, size + found
    return count, size
