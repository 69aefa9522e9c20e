"""What the options ask of a page's images beside moving them, as far as the host can do it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from imghost.hosts import Host, Varies
from imghost.html import policy
from imghost.models import Image, Record, Reference
from imghost.settings import Settings
from imghost.site.pages import PageView

_CONVERTED: Final = frozenset({"image/png", "image/jpeg"})
_STILL: Final = _CONVERTED | {"image/gif", "image/webp", "image/avif"}


class Wishes(NamedTuple):
    """What the options ask for."""

    responsive: bool = False
    format: str = ""
    dimensions: bool = False
    lazy: bool = False
    fallback: bool = False

    def __bool__(self) -> bool:
        return any(tuple(self))


class Known(NamedTuple):
    """What is known of the hosted image that a reference moves to."""

    url: str = ""
    """Its address in the format asked for; empty where the plain one stays."""
    width: int | None = None
    height: int | None = None
    choices: tuple[tuple[str, str], ...] = ()
    """Addresses to choose from by width, each with its descriptor, the whole image last."""


class Better(NamedTuple):
    """What a page's images shall be, beside moved."""

    wishes: Wishes = Wishes()
    known: Mapping[Reference, Known] = MappingProxyType({})


def wishes_of(settings: Settings, host: Host | None) -> Wishes:
    """Read the options; those that this host can do nothing for are left out."""
    varies, is_elsewhere = isinstance(host, Varies), host is not None and bool(host.origins)
    return Wishes(
        responsive=settings.responsive and varies,
        format=(settings.format or "") if varies else "",
        dimensions=settings.dimensions,
        lazy=settings.lazy,
        fallback=settings.fallback and is_elsewhere,
    )


def better_of(
    page: PageView,
    edits: Mapping[Reference, str],
    records: Mapping[str, Record],
    images: Mapping[str, Image],
    host: Host | None,
    wishes: Wishes,
) -> Better | None:
    """Collect what improves a page's images; None where nothing is asked for."""
    if not wishes:
        return None
    moved = ((reference, target.path) for reference, target in page.resolved() if reference in edits)
    known = {one: known_of(records[path], images.get(path), host, wishes) for one, path in moved if one.kind == "img"}
    return Better(wishes, known)


def known_of(record: Record, image: Image | None, host: Host | None, wishes: Wishes) -> Known:
    """Say what a page can use of a hosted image; one that is animated, or may be, keeps its one address."""
    form = image.facts.media_type if image and not image.facts.is_animated else ""
    if not isinstance(host, Varies) or form not in _STILL:
        return Known("", record.width, record.height)
    smaller = host.variants(record) if wishes.responsive and record.width and record.height else ()
    choices = (*smaller, (record.url, f"{record.width}w")) if smaller else ()
    if not wishes.format or form not in _CONVERTED:
        return Known("", record.width, record.height, choices)
    converted = tuple((host.converted(url, wishes.format), width) for url, width in choices)
    return Known(host.converted(record.url, wishes.format), record.width, record.height, converted)


def remarks(settings: Settings, host: Host | None, pages: Iterable[PageView]) -> tuple[str, ...]:
    """Say what is asked for and cannot be done, a line for each; `pages` are those with hosted images."""
    if host is None:
        return ()
    said = []
    if not isinstance(host, Varies):
        said += [f"'responsive' changes nothing: {host.name} serves one size of an image"] * settings.responsive
        said += [f"'format' changes nothing: {host.name} converts no images"] * bool(settings.format)
    if settings.fallback and not host.origins:
        said.append("'fallback' changes nothing: the hosted images are a part of the site")
    elif settings.fallback:
        barred = sum(1 for page in pages if not policy.allows_inline(page.scan.policies, "script-src-attr"))
        text = f"{barred} {'page has' if barred == 1 else 'pages have'} no fallback: a Content-Security-Policy forbids"
        said += [f"{text} inline scripts there"] * bool(barred)
    return tuple(said)
