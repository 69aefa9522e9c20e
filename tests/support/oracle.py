"""What a page refers to, by html5lib's tree: shares no code with the scanner but the reader of CSS."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Comment, Element

import html5lib
from html5lib.constants import DataLossWarning

from imghost.html.scan import css_images

_HTML = "{http://www.w3.org/1999/xhtml}"
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_SPACE = "\t\n\f\r "
_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg")
_METAS = ("og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src")
_MASKED = ("picture", "video", "audio")


def references(page: str) -> Counter[tuple[str, str]]:
    """Count a page's references as (kind, URL)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataLossWarning)
        tree = html5lib.parse(page)
    found = ((kind, clean(url)) for kind, url in _walk(tree, ""))
    return Counter((kind, url) for kind, url in found if url and not url.lower().startswith("data:"))


def clean(url: str) -> str:
    """Strip a URL as browsers do."""
    return url.strip(_SPACE).replace("\t", "").replace("\n", "").replace("\r", "")


def urls_in_srcset(srcset: str) -> Iterator[str]:
    """Read a srcset letter by letter, as the standard's algorithm goes."""
    at = 0
    while True:
        while at < len(srcset) and srcset[at] in _SPACE + ",":
            at += 1
        if at == len(srcset):
            return
        url = ""
        while at < len(srcset) and srcset[at] not in _SPACE:
            url += srcset[at]
            at += 1
        yield url.rstrip(",")
        depth = 0 if not url.endswith(",") else -1
        while depth >= 0 and at < len(srcset):
            letter = srcset[at]
            at += 1
            if letter == "," and not depth:
                break
            depth = 1 if letter == "(" else 0 if letter == ")" else depth


def _walk(element: Element, around: str) -> Iterator[tuple[str, str]]:
    if element.tag is Comment or not isinstance(element.tag, str):
        return
    yield from _of(element, around)
    name = element.tag.removeprefix(_HTML)
    inner = name if name in _MASKED else around
    for child in element:
        yield from _walk(child, inner)


def _of(element: Element, around: str) -> Iterator[tuple[str, str]]:
    if element.tag.startswith(_HTML):
        yield from _of_html(element.tag.removeprefix(_HTML), element, around)
    elif element.tag in {_SVG + "image", _SVG + "feImage"}:
        yield from (("svg", element.get(name, "")) for name in ("href", _XLINK + "href"))
    texts = [element.get("style", "")]
    if element.tag == _HTML + "style":
        texts.append("".join(element.itertext()))
    elif element.tag == _SVG + "style":
        # Each run of text is read alone, as comments and elements part them.
        texts += [element.text or "", *(child.tail or "" for child in element)]
    for text in texts:
        yield from (("style", image.url) for image in css_images(text))


def _of_html(name: str, element: Element, around: str) -> Iterator[tuple[str, str]]:
    get = element.get
    relations = get("rel", "").lower().split()
    if name == "img" or (name == "source" and around == "picture"):
        yield from (("img", get(attribute, "")) for attribute in ("src", "data-src"))
        for attribute in ("srcset", "data-srcset"):
            yield from (("img", url) for url in urls_in_srcset(get(attribute, "")))
    elif name == "input" and get("type", "").lower().strip(_SPACE) == "image":
        yield "img", get("src", "")
    elif name in {"a", "area"} and "download" not in element.attrib:
        yield from _image("link", get("href", ""))
    elif name == "video":
        yield "poster", get("poster", "")
    elif name == "meta" and (
        get("property", "").lower().strip(_SPACE) in _METAS or get("name", "").lower().strip(_SPACE) in _METAS
    ):
        yield "meta", get("content", "")
    elif (
        name == "link"
        and not {"preload", "prefetch"}.isdisjoint(relations)
        and get("as", "").lower().strip(_SPACE) == "image"
    ):
        yield "preload", get("href", "")
        yield from (("preload", url) for url in urls_in_srcset(get("imagesrcset", "")))
    elif name == "link" and any(word.endswith(("icon", "icon-precomposed")) for word in relations):
        yield "icon", get("href", "")
    elif name in {"object", "embed"}:
        yield from _image("object", get("data" if name == "object" else "src", ""))


def _image(kind: str, url: str) -> Iterator[tuple[str, str]]:
    path = clean(url).partition("#")[0].partition("?")[0]
    if path.lower().endswith(_ENDINGS):
        yield kind, url
