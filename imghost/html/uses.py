"""What of a page can load a file: its markup, scripts and styles, but not its prose and the texts for readers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_S: Final = r"\t\n\f\r "
_TAG: Final = re.compile(
    rf"""<(/?[a-zA-Z][^{_S}/>]*+)((?:[{_S}/]++|[^{_S}/>][^{_S}/>=]*+(?:[{_S}]*+=[{_S}]*+(?:"[^"]*+"?|'[^']*+'?|[^{_S}>"'][^{_S}>]*+|))?)*+)(?:>|\Z)"""
)
_ATTRIBUTE: Final = re.compile(
    rf"""([^{_S}/>][^{_S}/>=]*+)(?:[{_S}]*+=[{_S}]*+("[^"]*+"?|'[^']*+'?|[^{_S}>"'][^{_S}>]*+|))?"""
)
_RAW: Final = frozenset({"script", "style", "textarea", "xmp", "iframe", "noembed", "noframes", "template", "noscript"})
"""Elements whose text is not shown as it is: code, or markup that a script may use."""

_SAYS: Final = frozenset({"title", "summary", "placeholder", "aria-label", "aria-description", "aria-roledescription"})
"""Attributes that readers read."""
_PICTURES: Final = frozenset({"img", "image", "area", "input"})
"""Elements whose `alt` stands for a picture."""
_SAYING_META: Final = re.compile(r"(?:description|title|keywords|author|alt|label|data)[0-9]*\Z", re.I)
_DRAWN: Final = re.compile(
    r"""\bclass\s*=\s*["']?[^"'>]*\b(?:mermaid|plantuml|kroki|wavedrom|nomnoml|markmap|graphviz|dot|vega|asciinema|"""
    r"""reveal|marp|drawio|excalidraw|diagram|gallery|carousel|slideshow|slides)\b|\sdata-(?:markdown|template|src)\b""",
    re.I | re.A,
)
"""Elements whose text a script turns into pictures."""


def loading_text(page: str) -> str:
    """Give a page without what no browser loads a file by; a text that begins with no tag stays whole."""
    if not page.lstrip("\ufeff\t\n\f\r ").startswith("<"):
        return page
    return "\n".join(_parts(page))


def _parts(page: str) -> Iterator[str]:
    position = 0
    while (opened := page.find("<", position)) >= 0:
        if page.startswith(("<!", "<?"), opened):
            end = _comment_end(page, opened)
            yield page[opened:end]
            position = end
            continue
        tag = _TAG.match(page, opened)
        if tag is None:
            position = opened + 1
            continue
        name = tag[1].lower()
        yield _attributes(name, tag[2])
        position = tag.end()
        if _is_read(name, tag[2]):
            end = _element_end(page, name, position)
            yield page[position:end]
            position = end


def _is_read(name: str, attributes: str) -> bool:
    """Say whether an element's content counts as it is written, prose and all."""
    if name in _RAW or ("-" in name and name[0] != "/"):
        return True
    return name[0] != "/" and bool(_DRAWN.search(attributes))


def _element_end(page: str, name: str, start: int) -> int:
    """Give where the next end tag of this name begins; text of an element that is not closed goes to the end."""
    closing = re.compile(f"</{re.escape(name)}(?=[{_S}/>])", re.I | re.A).search(page, start)
    return closing.start() if closing else len(page)


def _comment_end(page: str, start: int) -> int:
    mark = "-->" if page.startswith("<!--", start) else ">"
    end = page.find(mark, start)
    return end + len(mark) if end >= 0 else len(page)


def _attributes(name: str, written: str) -> str:
    """Give a tag's attributes without those that only readers read."""
    if not written or written.isspace():
        return ""
    given = [(attribute[1].lower(), attribute[2] or "") for attribute in _ATTRIBUTE.finditer(written)]
    is_saying_meta = name == "meta" and any(
        key in {"name", "property", "itemprop"} and _SAYING_META.search(value.strip("\"'")) for key, value in given
    )
    return "\n".join(
        value
        for key, value in given
        if value
        and key not in _SAYS
        and not (key == "alt" and name in _PICTURES)
        and not (key == "content" and is_saying_meta)
    )
