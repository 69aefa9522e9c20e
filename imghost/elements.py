"""What each element can refer to: the kinds of references, and the attributes that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from imghost.foreign import HTML, SVG, names
from imghost.html.tokenizer import SPACE, Attribute, ascii_lower, value

HELD_BY_ATTRIBUTE: Final = 'kept by data-imghost="off"'
HELD_BY_CLASS: Final = "kept by the class no-imghost"
HELD_BY_SCRIPT: Final = "a script renames it"

SETS: Final = frozenset({"srcset", "imagesrcset", "data-srcset"})
"""The attributes that hold several URLs."""

MATTERING: Final = names("a area audio base embed img input link meta object picture source template video")
"""The elements of HTML that refer to images, or that change what others mean."""

_META_NAMES: Final = frozenset(
    {"og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"}
)
_ICON_ENDINGS: Final = ("icon", "icon-precomposed")


class Element(NamedTuple):
    """A start tag with its attributes."""

    name: str
    namespace: str
    text: str
    given: Mapping[str, Attribute]

    def says(self, name: str) -> str:
        """Read an attribute that is compared without regard to case."""
        return ascii_lower(value(self.text, self.given.get(name)).strip(SPACE))

    @property
    def held(self) -> str:
        """Why its own attributes keep its references local, or nothing."""
        if "data-imghost" in self.given and self.says("data-imghost") == "off":
            return HELD_BY_ATTRIBUTE
        classes = value(self.text, self.given.get("class")).split()
        if "no-imghost" in classes:
            return HELD_BY_CLASS
        return HELD_BY_SCRIPT if self.name == "img" and "toggler" in classes else ""


class Sources(NamedTuple):
    """Where an element's references of one kind are written."""

    kind: str
    attributes: tuple[str, ...]
    only_images: bool = False
    """Whether a URL counts only if its path ends like an image's."""


_IMAGE: Final = Sources("img", ("src", "srcset", "data-src", "data-srcset"))
_LINK: Final = Sources("link", ("href",), only_images=True)
_ALWAYS: Final = {
    "embed": Sources("object", ("src",), only_images=True),
    "img": _IMAGE,
    "object": Sources("object", ("data",), only_images=True),
    "video": Sources("poster", ("poster",)),
}


def sources(element: Element, *, in_picture: bool) -> Sources | None:
    """Say where an element refers to images, if it does."""
    name = element.name
    if element.namespace != HTML:
        is_image = element.namespace == SVG and name in {"image", "feimage"}
        return Sources("svg", ("href", "xlink:href")) if is_image else None
    if name == "source":
        return _IMAGE if in_picture else None
    if name in {"a", "area"}:
        return None if "download" in element.given else _LINK
    if name == "input":
        return Sources("img", ("src",)) if element.says("type") == "image" else None
    if name == "meta":
        named = {element.says("property"), element.says("name")}
        return None if named.isdisjoint(_META_NAMES) else Sources("meta", ("content",))
    return _linked(element) if name == "link" else _ALWAYS.get(name)


def _linked(element: Element) -> Sources | None:
    relations = element.says("rel").split()
    if {"preload", "prefetch"} & set(relations) and element.says("as") == "image":
        return Sources("preload", ("href", "imagesrcset"))
    is_icon = any(relation.endswith(_ICON_ENDINGS) for relation in relations)
    return Sources("icon", ("href",)) if is_icon else None
