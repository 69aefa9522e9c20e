"""SVG and MathML inside HTML: which namespace a tag belongs to, since text and comments differ there.

The HTML standard's rules for foreign content, for what is open from the outermost `<svg>` or `<math>` on.
What is open around it is not followed: an end tag of HTML that matches nothing inside closes it all.
"""

from __future__ import annotations

from typing import Final, NamedTuple

HTML: Final = "html"
SVG: Final = "svg"
MATHML: Final = "math"


def names(text: str) -> frozenset[str]:
    """Read a set of names that are separated by spaces."""
    return frozenset(text.split())


_VOID: Final = names(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr"
)
_BREAKOUT: Final = names(
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu "
    "meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var"
)
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
_OUTSIDE: Final = (_SPECIAL - _VOID - {"body", "html", "p", "template"}) | names(
    "a b big code em font i nobr s small span strike strong sub sup tt u label picture video audio kbd"
)
_MATHML_TEXT: Final = frozenset({"mi", "mn", "mo", "ms", "mtext"})
_SVG_TO_HTML: Final = frozenset({"desc", "foreignobject", "title"})


class _Open(NamedTuple):
    name: str
    namespace: str
    takes_html: str
    """Whether its content is HTML: `all`, `text` (MathML's text elements) or empty."""
    last_html: int
    """The depth of the nearest HTML element, itself included; -1 = none."""
    last_special: int
    """The depth of the nearest special HTML element, itself included."""
    scope: int
    """The depth of the nearest element that hides what is open around it."""


class Foreign:
    """The elements open inside the outermost foreign one; every step takes constant time."""

    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._depths: dict[str, list[int]] = {}

    @property
    def is_open(self) -> bool:
        """Whether the tokenizer is inside an `<svg>` or `<math>`."""
        return bool(self._stack)

    @property
    def is_markup(self) -> bool:
        """Whether the current element is foreign itself, so that CDATA sections are text."""
        return bool(self._stack) and self._stack[-1].namespace != HTML

    @property
    def is_style(self) -> bool:
        """Whether the current element is a foreign `<style>`, whose text is markup."""
        return bool(self._stack) and self._stack[-1].name == "style" and self._stack[-1].namespace != HTML

    def start(self, name: str, *, is_self_closing: bool, breaks_out: bool, takes_html: bool) -> str:
        """Enter a start tag and give its namespace.

        `breaks_out` says that a `font` has an attribute of HTML, `takes_html` that an `annotation-xml` is HTML.
        """
        if not self._is_html(name) and (name in _BREAKOUT or (name == "font" and breaks_out)):
            while self._stack and not self._is_html(name):
                self._pop()
        outermost = name if name in {SVG, MATHML} else HTML
        namespace = outermost if self._is_html(name) else self._stack[-1].namespace
        if namespace == HTML:
            if self._stack and name not in _VOID:
                self._close_implied(name)
                self._push(name, HTML, "")
        elif not is_self_closing:
            self._push(name, namespace, _content(name, namespace, takes_html))
        return namespace

    def end(self, name: str) -> None:
        """Enter an end tag (its name without the slash)."""
        if not self._stack:
            return
        top = self._stack[-1]
        depth = (self._depths.get(name) or [-1])[-1]
        if top.namespace != HTML:
            if name in {"br", "p"}:
                while self._stack and not self._is_html(name):
                    self._pop()
                return
            if depth > top.last_html:
                self._pop_to(depth)
                return
        if depth > top.scope and self._stack[depth].namespace == HTML:
            if name in _SPECIAL or top.last_special < depth:
                self._pop_to(depth)
        elif top.scope < 0 and name in _OUTSIDE:
            self._pop_to(0)

    def _is_html(self, name: str) -> bool:
        if not self._stack:
            return True
        top = self._stack[-1]
        return (
            top.namespace == HTML
            or top.takes_html == "all"
            or (top.takes_html == "text" and name not in {"malignmark", "mglyph"})
            or (top.name == "annotation-xml" and name == SVG)
        )

    def _close_implied(self, name: str) -> None:
        """Close what an HTML start tag ends by itself: an open paragraph, the previous item of a list."""
        for implied in (("p",) if name in _CLOSING_P else ()) + (("li",) if name == "li" else ()):
            depth = (self._depths.get(implied) or [-1])[-1]
            if self._stack and depth > self._stack[-1].scope and self._stack[depth].namespace == HTML:
                self._pop_to(depth)

    def _push(self, name: str, namespace: str, takes_html: str) -> None:
        depth = len(self._stack)
        html, special, scope = self._stack[-1][3:] if self._stack else (-1, -1, -1)
        if namespace == HTML:
            html = depth
            special = depth if name in _SPECIAL else special
        elif takes_html or name == "annotation-xml":
            scope = depth
        self._stack.append(_Open(name, namespace, takes_html, html, special, scope))
        self._depths.setdefault(name, []).append(depth)

    def _pop(self) -> None:
        self._depths[self._stack.pop().name].pop()

    def _pop_to(self, depth: int) -> None:
        while len(self._stack) > depth:
            self._pop()


def _content(name: str, namespace: str, takes_html: bool) -> str:
    if namespace == SVG:
        return "all" if name in _SVG_TO_HTML else ""
    if name in _MATHML_TEXT:
        return "text"
    return "all" if name == "annotation-xml" and takes_html else ""
