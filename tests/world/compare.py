"""One page in a browser, as its readers see it: what fails, how large images are shown, which backgrounds are there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

CLICKS: Final = 12
"""Toggles that are clicked on each page."""

_SETTLE: Final = """async () => {
  for (const image of document.images) {
    image.loading = 'eager'
    await Promise.race([image.decode().catch(() => 0), new Promise(end => setTimeout(end, 2000))])
  }
  await new Promise(end => setTimeout(end, 60))
}"""
_LOOK: Final = """() => {
  const urls = style => [style.backgroundImage, style.maskImage, style.webkitMaskImage, style.listStyleImage,
    style.borderImageSource, style.content].map(text => (text || '').includes('url(') ? 1 : 0).join('')
  const images = [...document.images, ...document.querySelectorAll('input[type=image]')].map(image => {
    const box = image.getBoundingClientRect()
    return [image.tagName, image.tagName === 'INPUT' || image.naturalWidth > 0 || !image.currentSrc,
      Math.round(box.width), Math.round(box.height), image.currentSrc || image.src]
  })
  const drawn = []
  for (const element of document.querySelectorAll('body, body *'))
    for (const part of [null, '::before', '::after']) {
      const style = getComputedStyle(element, part)
      const found = urls(style)
      if (found.includes('1')) drawn.push(`${element.tagName}${part || ''} ${found}`)
    }
  return { images, drawn }
}"""
_TOGGLES: Final = """limit => {
  const toggles = [...document.querySelectorAll(
    '[onclick], button, summary, [role=tab], [role=button], label[for], img.folding, img.toggler, img[id$=trigger], .dynheader')]
  return toggles.filter(one => !one.closest('a[href]:not([href^="#"]):not([href^="javascript"])')).slice(0, limit).length
}"""
_CLICK: Final = """number => {
  const toggles = [...document.querySelectorAll(
    '[onclick], button, summary, [role=tab], [role=button], label[for], img.folding, img.toggler, img[id$=trigger], .dynheader')]
    .filter(one => !one.closest('a[href]:not([href^="#"]):not([href^="javascript"])'))
  if (toggles[number]) toggles[number].click()
}"""


class Seen(NamedTuple):
    """One page as a browser shows it."""

    images: tuple[tuple[str, bool, int, int], ...]
    """Each image: its element, whether it is there, its width and height on the screen in pixels."""
    failing: tuple[str, ...]
    drawn: tuple[str, ...]
    """Elements with an image in their computed style."""
    errors: tuple[str, ...]
    """What the console says is wrong, and requests that failed."""
    clicks: int
    sources: tuple[str, ...] = ()
    """The addresses that the images come from, once scripts have run."""


class Difference(NamedTuple):
    """Where a hosted page is not as the plain one."""

    page: str
    what: str
    detail: str


def look(browser: Any, origin: str, path: str, allowed: Iterable[str]) -> Seen:
    """Open a page, bring its images in, click on what toggles, and tell what is there in the end."""
    prefixes = (*allowed, origin, "data:", "blob:")
    context = browser.new_context(
        viewport={"width": 1100, "height": 900}, reduced_motion="reduce", color_scheme="light"
    )
    page = context.new_page()
    errors: list[str] = []
    page.route(lambda url: not url.startswith(prefixes), lambda route: route.abort())
    page.on("console", lambda told: told.type == "error" and errors.append(told.text))
    page.on("pageerror", lambda problem: errors.append(str(problem)))
    page.on("response", lambda answer: answer.status >= 400 and errors.append(f"{answer.status} {answer.url}"))
    try:
        page.goto(origin + path, wait_until="load", timeout=30_000)
        page.evaluate(_SETTLE)
        page.wait_for_timeout(100)  # what scripts draw anew is waited for, too
        page.evaluate(_SETTLE)
        clicks = page.evaluate(_TOGGLES, CLICKS)
        before = page.evaluate(_LOOK)
        for number in range(clicks):
            page.evaluate(_CLICK, number)
        page.evaluate(_SETTLE)
        after = page.evaluate(_LOOK)
    finally:
        context.close()
    images = [*before["images"], *after["images"]]
    failing = tuple(f"{image[0]} {image[4]}" for image in images if not image[1])
    shown = tuple((image[0], image[1], image[2], image[3]) for image in images)
    drawn, sources = (*before["drawn"], *after["drawn"]), tuple(image[4] for image in after["images"])
    return Seen(shown, failing, drawn, tuple(map(_nameless, errors)), clicks, sources)


def _nameless(error: str) -> str:
    """Take addresses and traces out of a message: those of the plain and the hosted page are never the same."""
    return re.sub(r"(?:https?|file)://[^\s'\")]+", "…", error.partition("\n")[0])


def differences(path: str, plain: Seen, hosted: Seen) -> list[Difference]:
    """Compare what a reader sees of the plain page and of the hosted one."""
    found = [Difference(path, "image fails", image) for image in _more(plain.failing, hosted.failing)]
    if len(plain.images) != len(hosted.images):
        found.append(Difference(path, "images", f"{len(plain.images)} are {len(hosted.images)}"))
    for was, now in zip(plain.images, hosted.images, strict=False):
        if was[2:] != now[2:]:
            found.append(Difference(path, "size", f"{was[0]}: {was[2]}x{was[3]} is {now[2]}x{now[3]}"))
    found += [Difference(path, "console", error) for error in Counter(hosted.errors) - Counter(plain.errors)]
    gone = Counter(plain.drawn) - Counter(hosted.drawn)
    new = Counter(hosted.drawn) - Counter(plain.drawn)
    found += [Difference(path, "background gone", place) for place in gone]
    found += [Difference(path, "background new", place) for place in new]
    return found


def _more(plain: Iterable[str], hosted: Iterable[str]) -> list[str]:
    """List what fails only in the hosted page: as many as are more, since addresses differ."""
    failing = list(hosted)
    return failing if len(failing) > len(list(plain)) else []
