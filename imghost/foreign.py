"""SVG and MathML inside HTML: which namespace a tag belongs to, since text and comments differ there.

The HTML standard's rules for foreign content, for what is open from the outermost `<svg>` or `<math>` on.
What is open around it is not followed, but counted when an end tag matches nothing inside: then it closes it all.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

HTML: Final = "html"
SVG: Final = "svg"
MATHML: Final = "math"


def names(text: str) -> frozenset[str]:
    """Read a set of names that are separated by spaces."""
    return frozenset(text.split())


_VOID: Final = names(
    "area base basefont bgsound br col embed frame hr image img input keygen link meta param source track wbr"
)
_BREAKOUT: Final = names(
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu "
    "meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var"
)
_MAYBE_BREAKOUT: Final = _BREAKOUT | {"font"}
_SPECIAL: Final = names(
    "address applet area article aside base basefont bgsound blockquote body br button caption center col colgroup "
    "dd details dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head "
    "header hgroup hr html iframe img input keygen li link listing main marquee menu meta nav noembed noframes "
    "noscript object ol p param plaintext pre script search section select source style summary table tbody td "
    "template textarea tfoot th thead title tr track ul wbr xmp"
)
_CLOSING_P: Final = names(
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer form h1 h2 "
    "h3 h4 h5 h6 header hgroup hr li listing main menu nav ol p plaintext pre search section summary ul xmp"
)
_NEVER_AROUND: Final = _VOID | names(
    "body frameset head html iframe noembed noframes p plaintext script style template textarea title xmp"
)
_MATHML_TEXT: Final = frozenset({"mi", "mn", "mo", "ms", "mtext"})
_ROOTS: Final = frozenset({SVG, MATHML})
_SVG_TO_HTML: Final = frozenset({"desc", "foreignobject", "title"})
_ANY_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^<\t\n\f\r />]*+)")


_Open = tuple[str, str, str, int, int, int]
"""An open element. Plain tuples, since pages may nest hundreds of thousands, and these cost a third of named ones:

its name; its namespace; whether its content is HTML: `all`, `text` (MathML's text elements) or empty; the depth
of the nearest HTML element, itself included, -1 = none; the same of the nearest special HTML element; and of the
nearest element that hides what is open around it.
"""
_OUTERMOST: Final[_Open] = ("", HTML, "all", -1, -1, -1)
"""What stands for all that is open around."""


class Foreign:
    """The elements open inside the outermost foreign one; every step takes constant time."""

    def __init__(self, text: str) -> None:
        self.is_open = False
        """Whether the tokenizer is inside an `<svg>` or `<math>`."""
        self.is_style = False
        """Whether the current element is SVG's `<style>`, whose text is markup."""
        self._text = text
        self._stack: list[_Open] = []
        self._depths: dict[str, list[int]] = {}
        self._around: Counter[str] = Counter()
        self._outside: list[tuple[int, int]] = []
        self._left = 0

    @property
    def is_markup(self) -> bool:
        """Whether the current element is foreign itself, so that CDATA sections are text."""
        return bool(self._stack) and self._stack[-1][1] != HTML

    def start(self, name: str, at: int, *, is_self_closing: bool, leans_to_html: bool) -> str:
        """Enter the start tag at this offset and give its namespace.

        `leans_to_html` says that a `font` has an attribute of HTML's, or that an `annotation-xml` holds HTML.
        """
        top = self._stack[-1] if self._stack else _OUTERMOST
        if top[1] == SVG and not top[2] and name not in _MAYBE_BREAKOUT:
            if not is_self_closing:
                self._push(name, SVG, "all" if name in _SVG_TO_HTML else "")
            return SVG
        is_html = _is_html(top, name)
        if not is_html and (name in _BREAKOUT or (name == "font" and leans_to_html)):
            top = self._leave(name, at)
            is_html = True
        if is_html and name not in _ROOTS:
            if self._stack and name not in _VOID:
                self._close_implied(name, at)
                self._push(name, HTML, "")
            return HTML
        namespace = name if is_html else top[1]
        if not is_self_closing:
            if not self._stack:
                self._outside.append((self._left, at))
            self._push(name, namespace, _content(name, namespace, leans_to_html))
        return namespace

    def end(self, name: str, at: int) -> str:
        """Enter the end tag at this offset (its name without the slash) and give the namespace of what it ends."""
        if not self._stack:
            return HTML
        _, namespace, _, last_html, last_special, scope = self._stack[-1]
        depth = self._depth(name)
        if namespace != HTML:
            if name in {"br", "p"}:
                self._leave(name, at)
                return HTML
            if depth > last_html:
                self._pop_to(depth, at)
                return namespace
        if depth > scope and self._stack[depth][1] == HTML:
            if name in _SPECIAL or last_special < depth:
                self._pop_to(depth, at)
        elif scope < 0 and name not in _NEVER_AROUND and self._is_around(name):
            self._pop_to(0, at)
        return HTML

    def _depth(self, name: str) -> int:
        """Give the depth of the innermost open element of this name; -1 = none."""
        depths = self._depths.get(name)
        return depths[-1] if depths else -1

    def _is_around(self, name: str) -> bool:
        """Say whether such an element is open around the outermost foreign one, by counting its tags."""
        around = self._around
        for start, end in self._outside:
            for found in _ANY_TAG.finditer(self._text, start, end):
                opened = found[2].lower()
                around[opened] = max(0, around[opened] - 1) if found[1] else around[opened] + 1
        self._outside.clear()
        return around[name] > 0

    def _leave(self, name: str, at: int) -> _Open:
        """Close foreign elements up to one whose content is HTML, and give that."""
        while self._stack and not _is_html(self._stack[-1], name):
            self._pop_to(len(self._stack) - 1, at)
        return self._stack[-1] if self._stack else _OUTERMOST

    def _close_implied(self, name: str, at: int) -> None:
        """Close what an HTML start tag ends by itself: an open paragraph, the previous item of a list."""
        for implied in (("p",) if name in _CLOSING_P else ()) + (("li",) if name == "li" else ()):
            depth = self._depth(implied)
            if self._stack and depth > self._stack[-1][5] and self._stack[depth][1] == HTML:
                self._pop_to(depth, at)

    def _push(self, name: str, namespace: str, takes_html: str) -> None:
        stack = self._stack
        depth = len(stack)
        _, _, _, html, special, scope = stack[-1] if stack else _OUTERMOST
        if namespace == HTML:
            html = depth
            special = depth if name in _SPECIAL else special
        elif takes_html or (name == "annotation-xml" and namespace == MATHML):
            scope = depth
        stack.append((name, namespace, takes_html, html, special, scope))
        depths = self._depths.get(name)
        if depths is None:
            self._depths[name] = [depth]
        else:
            depths.append(depth)
        self.is_open = True
        self.is_style = name == "style" and namespace == SVG

    def _pop_to(self, depth: int, at: int) -> None:
        while len(self._stack) > depth:
            self._depths[self._stack.pop()[0]].pop()
        self.is_style = bool(self._stack) and self._stack[-1][:2] == ("style", SVG)
        if not self._stack:
            self.is_open = False
            self._left = at


def _is_html(top: _Open, name: str) -> bool:
    """Say whether a start tag in this element is HTML's."""
    around, namespace, takes_html = top[:3]
    return (
        namespace == HTML
        or (takes_html != "" and (takes_html == "all" or name not in {"malignmark", "mglyph"}))
        or (name == SVG and around == "annotation-xml" and namespace == MATHML)
    )


def _content(name: str, namespace: str, leans_to_html: bool) -> str:
    if namespace == SVG:
        return "all" if name in _SVG_TO_HTML else ""
    if name in _MATHML_TEXT:
        return "text"
    return "all" if name == "annotation-xml" and leans_to_html else ""
