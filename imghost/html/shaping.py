"""What a site's styles say of the size of images: whether something beside an image's own attributes decides it.

Rules are read as far as they can be without a tree of elements: one that asks for elements around an image by a
class or an id is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import reduce
from typing import Final

from imghost.html.edit import Shaping

_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.S)
_BLOCK: Final = re.compile(r"\{([^{}]*)\}")
_KEEPS: Final = r"\s*:\s*(?!(?:auto|none|initial|unset|revert|0)\s*(?:!|;|\Z))"
_HEIGHT: Final = re.compile(rf"(?<![\w-])(?:(?:max-|min-)?(?:height|block-size)|aspect-ratio){_KEEPS}", re.I)
_WIDTH: Final = re.compile(rf"(?<![\w-])(?:width|inline-size){_KEEPS}", re.I)
_BOUND: Final = re.compile(r"(?<![\w-])(?:max-)?(?:width|inline-size)\s*:\s*[0-9.]+(?:%|vw)", re.I)
_COLUMN: Final = re.compile(r"(?<![\w-])flex-(?:direction|flow)\s*:[^;]*\bcolumn", re.I)
_STEPS: Final = re.compile(r"[\s>+~]+")
_CLASS: Final = re.compile(r"\.([\w-]+)")
_ANY_IMAGE: Final = re.compile(r"(?:img|\*|)(?::[\w-]+(?:\([^()]*\))?|\[[^\]]*\])*\Z", re.I)
_PLAIN: Final = re.compile(r"(?:[a-z][a-z0-9]*|\*|:root)\Z", re.I)


def all_shaping(sheets: Iterable[str]) -> Shaping:
    """Read style sheets."""
    return reduce(Shaping.joined, map(shaping_of, sheets), Shaping())


def shaping_of(css: str) -> Shaping:
    """Read one style sheet, each rule once."""
    css = _COMMENT.sub(" ", css)
    found = Shaping()
    at = 0
    for block in _BLOCK.finditer(css):
        before = css[at : block.start()]
        at = block.end()
        selectors = before[max(map(before.rfind, "{};")) + 1 :]
        if decides := _decided(block[1]):
            for selector in selectors.split(","):
                found = found.joined(_of_rule(selector.strip(), decides))
    return found


def _decided(declarations: str) -> dict[str, bool]:
    """Say what a rule decides; empty where nothing of images' sizes."""
    patterns = {"height": _HEIGHT, "width": _WIDTH, "bound": _BOUND, "column": _COLUMN}
    decided = {name: bool(pattern.search(declarations)) for name, pattern in patterns.items()}
    return decided if any(decided.values()) else {}


def _of_rule(selector: str, decides: dict[str, bool]) -> Shaping:
    *around, last = _STEPS.split(selector) or [""]
    classes = frozenset(_CLASS.findall(last))
    column = classes if decides["column"] else frozenset[str]()
    if not all(map(_PLAIN.match, around)):
        return Shaping(is_bounded=decides["bound"] and last.lower() == "img", column_classes=column)
    is_any = bool(last) and bool(_ANY_IMAGE.match(last))
    return Shaping(
        is_any and decides["height"],
        classes if decides["height"] else frozenset(),
        is_any and decides["width"],
        classes if decides["width"] else frozenset(),
        is_any and decides["bound"],
        column,
    )
