"""Character references, decoded so that each character still knows where it is written."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from html.entities import html5
from typing import Final, NamedTuple

_REFERENCE: Final = re.compile(r"&(?:#[xX]([0-9a-fA-F]++);?|#([0-9]++);?|([a-zA-Z][a-zA-Z0-9]*+)(;?))")
_LONGEST: Final = max(len(name) for name in html5 if not name.endswith(";"))
_ENDS_NAME: Final = re.compile(r"[=a-zA-Z0-9]")


class Decoded(NamedTuple):
    """A raw text as a browser reads it, and the way back from its offsets to the raw ones."""

    text: str
    ends: tuple[int, ...] = ()
    """Where each decoded character reference ends in `text`, in order."""
    shifts: tuple[int, ...] = ()
    """How much longer the raw text is up to there."""

    def raw(self, offset: int) -> int:
        """Give the raw offset of a decoded one."""
        passed = bisect_right(self.ends, offset)
        return offset + (self.shifts[passed - 1] if passed else 0)


def decode(raw: str, *, in_text: bool = False) -> str:
    """Read an attribute's value, or with `in_text` an element's text, as a browser does."""
    if "&" not in raw:
        return raw
    return _REFERENCE.sub(_reader(in_text), raw)


def decode_with_offsets(raw: str, *, in_text: bool = False) -> Decoded:
    """Decode as `decode` does and keep the way back."""
    if "&" not in raw:
        return Decoded(raw)
    read = _reader(in_text)
    parts: list[str] = []
    ends: list[int] = []
    shifts: list[int] = []
    position = length = 0
    for found in _REFERENCE.finditer(raw):
        value = read(found)
        if value == found[0]:
            continue
        before = raw[position : found.start()]
        parts += before, value
        position = found.end()
        length += len(before) + len(value)
        ends.append(length)
        shifts.append(position - length)
    return Decoded("".join(parts) + raw[position:], tuple(ends), tuple(shifts))


def _reader(in_text: bool) -> Callable[[re.Match[str]], str]:
    return _read_in_text if in_text else _read_in_attribute


def _read_in_attribute(found: re.Match[str]) -> str:
    """Read one reference; in attributes `&copy=2` and `&copyright` are text (the standard's named rule)."""
    name = found[3]
    if name is None:
        return _numeric(found)
    if found[4] and (value := html5.get(name + ";")):
        return value
    if name in html5 and not _ENDS_NAME.match(found.string, found.end(3)):
        return html5[name] + found[4]
    return found[0]


def _read_in_text(found: re.Match[str]) -> str:
    name = found[3]
    if name is None:
        return _numeric(found)
    if found[4] and (value := html5.get(name + ";")):
        return value
    for size in range(min(len(name), _LONGEST), 1, -1):
        if name[:size] in html5:
            return html5[name[:size]] + name[size:] + found[4]
    return found[0]


def _numeric(found: re.Match[str]) -> str:
    """Read a numeric reference, with the standard's replacements."""
    digits = (found[1] or found[2]).lstrip("0")
    code = int(digits or "0", 16 if found[1] else 10) if len(digits) < 8 else 0
    if 0x80 <= code <= 0x9F:
        return bytes([code]).decode("cp1252", "replace").replace("\ufffd", chr(code))
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return chr(code)
