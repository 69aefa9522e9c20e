"""What a page does with a URL beside showing it: what of it loads files, what scripts make of it, what styles ask."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from html import unescape
from itertools import islice
from typing import Final

from imghost.models import ANY, ASKED, DIGITS, Condition, NamedTuple, endings

_S: Final = r"\t\n\f\r "
TAG: Final = re.compile(
    rf"""<(/?[a-zA-Z][^{_S}/>]*+)((?:[{_S}/]++|[^{_S}/>][^{_S}/>=]*+(?:[{_S}]*+=[{_S}]*+(?:"[^"]*+"?|'[^']*+'?|[^{_S}>"'][^{_S}>]*+|))?)*+)(?:>|\Z)"""
)
ATTRIBUTE: Final = re.compile(
    rf"""([^{_S}/>][^{_S}/>=]*+)(?:[{_S}]*+=[{_S}]*+("[^"]*+"?|'[^']*+'?|[^{_S}>"'][^{_S}>]*+|))?"""
)
_RAW: Final = frozenset({"script", "style", "textarea", "xmp", "iframe", "noembed", "noframes", "template", "noscript"})
"""Elements whose text is not shown as it is: code, or markup that a script may use."""

_SAYS: Final = frozenset({"title", "summary", "placeholder", "aria-label", "aria-description", "aria-roledescription"})
"""Attributes that readers read."""
_SAYING_DATA: Final = re.compile(r"data-(?:[a-z]+-)*(?:title|caption|description|tooltip|alt|label)\Z")
"""The same of lightboxes and tooltips."""
_NAMES: Final = frozenset({"id", "for", "headers"})
"""Attributes that name elements."""
_ANCHOR: Final = re.compile(r"#[^#/=]*\Z")
"""A place in a page, by which no browser loads a file."""
_DROPPED: Final = str.maketrans("", "", "\t\n\r")
"""What browsers leave out of URLs (URL standard, basic URL parser)."""
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
        tag = TAG.match(page, opened)
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
    given = [(attribute[1].lower(), attribute[2] or "") for attribute in ATTRIBUTE.finditer(written)]
    is_saying_meta = name == "meta" and any(
        key in {"name", "property", "itemprop"} and _SAYING_META.search(value.strip("\"'")) for key, value in given
    )
    return "\n".join(
        said
        for key, value in given
        if value
        and key not in _SAYS
        and key not in _NAMES
        and not (key == "alt" and name in _PICTURES)
        and not (key == "content" and is_saying_meta)
        and not _SAYING_DATA.match(key)
        for said in _readings(name, key, value)
    )


def _readings(name: str, key: str, value: str) -> Iterator[str]:
    """Yield an attribute's value, and as the URL that it is where that is another one."""
    value = _ANCHOR.sub("", value.strip("\"'")) if name == "a" and key == "href" else value
    yield value
    if "&" in value or not _DROPPED.keys().isdisjoint(map(ord, value)):
        dropped = unescape(value).translate(_DROPPED)
        if dropped != value:
            yield dropped


# What a script makes images' names from: the literals and elements near a place where it reads an image's URL.
#
# A script that only names an image needs nothing of us: its own copy stays where it is. One that reads the URL of an
# element, changes it and writes it back finds a hosted URL there, and makes one of it that nobody serves.

_NEAR: Final = 160
"""Letters before and after where a URL is read and changed in which the literals of the change are looked for."""
_AROUND: Final = 600
"""The same for the elements that a function works on, and for where it uses what it has read."""
_FAR: Final = 2000
"""The same for whole names of images: a list of pictures stands at a script's beginning."""
_SHORT: Final = 6000
"""Letters of a script that somebody wrote for a page: all of it belongs to what it does with images."""
_MOST_READS: Final = 2000
"""Places in one script where URLs are read that are looked at; 8 MB of mermaid have 204."""
_MOST_PLACES: Final = 20_000
"""Places where a script mentions URLs that are looked at; 8 MB of mermaid have 3,592."""
_MOST_LITERALS: Final = 2000
"""Literals around such places; mermaid has 63. Each is tried with each other on each image's name."""
_MOST_USES: Final = 8
"""Uses of one name that are looked at."""
_NEAR_TAG: Final = 1000
"""Letters of a tag around code for an event."""
_LONGEST: Final = 120
"""Letters of a literal that can be a part of a file's name."""

_Q: Final = r"""["'`]"""
_MENTIONS: Final = ("src", "Src", "ackground", "poster", "href", "baseVal")
_KEY: Final = r"(?:data-)?src(?:set)?|currentSrc|poster|background(?:-?[iI]mage)?|(?:xlink:)?href"
_PROPERTY: Final = r"src|currentSrc|srcset|poster|background(?:Image)?|href(?:\.baseVal)?|baseVal"
_READ: Final = re.compile(
    rf"""(?:(?<!location)(?<!document)(?<!window)(?<!cript)(?<!cript\?)\.\s*(?:{_PROPERTY})\b(?!\s*=[^=])(?!\s*\()"""
    rf"""|(?:attr|prop|css|data|getAttribute(?:NS)?|getPropertyValue)\(\s*(?:[^()]{{0,60}},\s*)?{_Q}(?:{_KEY}){_Q}\s*\)"""
    rf"""|\[\s*{_Q}(?:{_KEY}){_Q}\s*\](?!\s*=[^=])"""
    r"""|(?<![\w$.?])(?:src|currentSrc|srcset)\b(?=\s*\??\.\s*[a-zA-Z]+\())""",
    re.A,
)
_GIVEN: Final = re.compile(
    rf"""(?:src(?:set)?|Src|(?:b?ackground(?:-?[iI]mage)?)|poster|href)(?:{_Q}\s*,\s*(?:async\s+)?"""
    r"""(?:function\s*[\w$]*\s*\(\s*[\w$]+\s*,\s*([\w$]+)|\(\s*[\w$]+\s*,\s*([\w$]+)\s*\)\s*=>)"""
    r"""|\s*:\s*([A-Za-z_$][\w$]*)\s*[^{};=]{0,80}\}\s*=|\s*[,}](?:[^{};=]{0,80}\})?\s*=)""",
    re.A,
)
"""Where a URL is given a name otherwise than by `=`: jQuery's functions of the old value, and patterns."""
_REPLACES: Final = r"replace(?:All)?"
_ASKS: Final = r"(?:match|search|(?:last)?[iI]ndexOf|includes|(?:starts|ends)With|split)"
_CHANGES: Final = rf"(?:{_REPLACES}|{_ASKS}|substr(?:ing)?|slice|concat|char(?:Code)?At|at|localeCompare)"
_VOID: Final = r"""(?:null|undefined|void 0|true|false|0|""|''|``)(?![\w$])"""
_WRAPPED: Final = (
    r"""(?:\s*(?:\|\||\?\?)\s*(?:""|''|``)|\s*\)|\.(?:toString|toLowerCase|trim|valueOf|pathname|href)(?:\(\))?)*+"""
)
_USED: Final = re.compile(
    rf"""{_WRAPPED}\s*(?:\?\.|\.)?(?:(?<=\.)\s*{_CHANGES}\s*\(|(?<!\.)\[|(?<!\.)(?:[=!]==?\s*(?!{_VOID}|[=\s])|\+=?\s*{_Q})"""
    rf"""|(?<!\.)\}}[\w.\-@]{{2}})""",
    re.A,
)
_OBJECT: Final = r"(?:[\w$.?]|\((?:[^()]|\([^()]*\))*\)|\[[^\[\]]*\])*+"
"""What stands before a property: `$(this)`, `images[0]`."""
_ASKED_OF: Final = (
    r"(?:\.\s*(?:test|exec|indexOf|includes|has|get|match)\(|[=!]==?|\b(?:in|case)\b|\bswitch\s*\(|[\w$\])]\[)"
)
_TESTED: Final = re.compile(rf"""(?:{_ASKED_OF}|{_Q}\s*\+|[\w/.\-]\$\{{)\s*{_OBJECT}\Z""", re.A)
_ASKED_BEFORE: Final = re.compile(rf"""(?:{_ASKED_OF}|{_Q}\s*\+|[\w/.\-]\$\{{)\s*\Z""", re.A)
_GOES_ON: Final = re.compile(r"[\w$.]", re.A)
_EDGE: Final = re.compile(r"\b", re.A)
_KEPT: Final = re.compile(r"([A-Za-z_$][\w$]*)\s*=\s*[^=;,{}()\n][^=;,{}\n]{0,120}\Z|([A-Za-z_$][\w$]*)\s*=\s*\Z")
_HANDED: Final = re.compile(rf"(?<![\w$.])(?:this\.)?([A-Za-z_$][\w$]*)\((?:[^()]{{0,80}},\s*)?{_OBJECT}\Z")
_HANDED_ON: Final = re.compile(r"\s*[,)]")
_NO_FUNCTIONS: Final = frozenset({"if", "while", "for", "switch", "catch", "return", "typeof", "function"})
_DEFINED: Final = re.compile(
    r"""[f=:](?:(?<=\bf)unction\s*([A-Za-z_$][\w$]*)\s*\(([^()]{1,120})\)|(?<=[=:])\s*(?:async\s*)?(?:"""
    r"""function\s*[\w$]*\s*\(([^()]{1,120})\)|\(([^()]{1,120})\)\s*=>|([A-Za-z_$][\w$]*)\s*=>))""",
)
"""A function that is told something. To begin with one of three letters, and not with a name, takes a tenth."""
_GETS: Final = re.compile(r"(?<![\w$.])([A-Za-z_$][\w$]*)\s*\Z")
"""The name before a function that is assigned."""
_LONGEST_GIVEN: Final = 200
"""Letters of such a name."""
_SELECTED: Final = re.compile(
    rf"""(?<![\w$])(?:querySelector(?:All)?|closest|matches|\$\$?|jQuery|find|filter|children|siblings|is|not|on|delegate)"""
    rf"""\s*\(\s*(?:(?:[^()"'`]{{0,60}}|{_Q}[\w. ]{{1,60}}{_Q}\s*),\s*)?(["'`])((?:(?!\1)[^\n]){{1,120}})\1"""
)
_NAMED: Final = re.compile(
    r"""(?:getElementById|getElementsByClassName|hasClass|toggleClass|classList\s*\.\s*(?:contains|toggle))"""
    r"""\s*\(\s*["'`]([\w\- ]{1,120})["'`]"""
)
_CALLED: Final = re.compile(
    rf"""\b(?:getElementsByName\(\s*{_Q}|document\.(?:images|all)(?:\[\s*{_Q}|\.|\.namedItem\(\s*{_Q}))([\w\-]{{1,120}})"""
    rf"""|\bdocument(?:\.forms(?:\[\w+\]|\.\w+))?\.([\w$]{{1,120}})\.(?:src|srcset)\b"""
    rf"""|\bdocument\[\s*{_Q}([\w\-]{{1,120}}){_Q}\s*\]\.(?:src|srcset)\b"""
)
"""Elements by their names, as the oldest scripts have them."""
_GLOBAL: Final = re.compile(r"(?<![\w$.?)\]])([A-Za-z_$][\w$]+)\s*\??\.\s*(?:src|srcset|poster|style)\b")
"""An element by its id alone, which is a variable of the window's."""
_NO_IDS: Final = frozenset({"this", "img", "image", "document", "window", "self", "event", "target", "element"})
_INSIDE: Final = r"\s*\)\s*\??\.\s*(?:find|children|querySelector(?:All)?|getElementsByTagName)\("
_PARENT: Final = re.compile(
    rf"""(?:getElementById\(\s*|querySelector(?:All)?\(\s*["'`][^"'`\n]{{0,100}}[#.]|"""
    rf"""(?<![\w$])(?:\$|jQuery)\(\s*["'`][^"'`\n]{{0,100}}[#.]){_Q}?([\w\-]{{1,120}}){_Q}{_INSIDE}"""
)
"""An element whose images a script works on."""
_FUNCTION: Final = re.compile(
    r"\bfunction\s+([A-Za-z_$][\w$]*)\s*\(|(?<![\w$.])([A-Za-z_$][\w$]*)\s*=\s*(?:function\b|\(?[\w$, ]*\)?\s*=>)"
)
_GROWN: Final = re.compile(r"""["'`]\s*\+[^"'`;\n]{1,60}\+\s*["'`]([\w\-]{3,60})["'`]""")
_TOKEN: Final = re.compile(r"[#.]([\w\-]+)")
_MARKED: Final = re.compile(r"""\[\s*(data-[\w\-]+|name\s*=\s*\\?["']?[\w\-]+)""")
_STEP: Final = re.compile(r"[^\s>+~,]+(?=\s*[\s>]\s*[^\s>,])")
_PICTURE_STEP: Final = re.compile(r"(?:img|image|source|picture|\*)(?![\w\-])[^\s>]*\s*\Z")
_KEYS: Final = re.compile(r"""[{,]\s*([A-Za-z_]\w{1,60})\s*:\s*["'`]""")
"""Names in a table of names."""
_REGEX: Final = re.compile(
    r"""[(,=]\s*/((?:[^/\\\n\[*]|\\.|\[(?:[^\]\\\n]|\\.){0,40}\])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.){0,40}\]){0,80}?)/([a-z]*)"""
)
_PLAIN_REGEX: Final = re.compile(r"(?:[\w@.\- ]|\\.)+\$?\Z")
_META: Final = re.compile(
    r"\\[bBdDsSwW]|(?:\\.|[^\\])(?:[?*]|\{[\d,]*\})\??|\[(?:[^\]\\]|\\.)*\][?*+]?|\(\?(?:[:=!]|<[=!]|<\w+>)|[()|^$+]|(?<!\\)\."
)
_ARGUMENT: Final = re.compile(
    rf"""\s*(?:(["'`])((?:(?!\1)[^\\\n]|\\.){{1,{_LONGEST}}})\1|/((?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.){{0,40}}\]){{1,80}}?)/[a-z]*"""
    rf"""|new\s+RegExp\(\s*(["'`])((?:(?!\4)[^\\\n]|\\.){{1,{_LONGEST}}})\4[^()]{{0,20}}\))\s*([,)])"""
)
"""What a change is told first: a literal, or a pattern."""
_REPLACED_BY: Final = re.compile(rf"""\s*(["'`])(?:(?!\1)[^\\\n$]|\\.|\$[^{{]){{0,{_LONGEST}}}\1\s*\)""")
_PATTERN_BEFORE: Final = re.compile(r"/((?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.){0,40}\]){1,80})/[a-z]*\.(?:test|exec)\(")
_ESCAPED: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.))", re.S)
_GROUPS: Final = re.compile(r"\$(?:[&0-9]|<\w+>|\{[^{}]*\})")
_ENDING: Final = re.compile(rf"\.(?:{endings()})\Z", re.I | re.A)
_NUMBER: Final = re.compile(r"\\d|\[0-9\]")
_COUNTS: Final = re.compile(
    r"(?:(?:replace(?:All)?|match|exec|split|search)\(\s*)?/[^/\n]{0,40}(?:\\d|\[0-9\])|char(?:Code)?At\(|\bat\(-"
)

_CODE_NAME: Final = r"(?:on[a-z]{3,20}+|(?:@|:|_|\(|(?:x|v|hx|data|ng)-)[\w:.\-]*+\)?|(?:xlink:)?href|(?:form)?action)"
_HANDLER_NAME: Final = re.compile(rf"""[\s"'/]{_CODE_NAME}\s*+=""", re.I)
_HANDLER: Final = re.compile(rf"""[\s"'/]({_CODE_NAME})\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.I)
_ADDRESSES: Final = frozenset({"href", "xlink:href", "action", "formaction"})


class Renames(NamedTuple):
    """What scripts work with where they change images' URLs."""

    literals: frozenset[str] = frozenset()
    """Literals, escapes undone, that a changed name may have, or have had."""
    words: frozenset[str] = frozenset()
    """What elements that are worked on have.

    An id or a class; after `*` the end of one; after `#` an id or a name; after `[` an attribute; before `(` a function
    that an event calls; after `>` the id or class of an element around. After `=` any of these, where the script reads
    an image's pixels or bytes, which browsers let it of the site's own images alone (HTML, origin-clean; Fetch, CORS).
    """

    def __bool__(self) -> bool:
        return bool(self.literals or self.words)

    def joined(self, other: Renames) -> Renames:
        """Put two scripts' together."""
        return Renames(self.literals | other.literals, self.words | other.words)


NOTHING: Final = Renames()
_ALL: Final = Renames(frozenset({ANY}))


def all_of(renames: Iterable[Renames]) -> Renames:
    """Put the scripts of a page, or of a site, together."""
    whole = NOTHING
    for one in renames:
        whole = whole.joined(one) if one else whole
    return whole


class _Change(NamedTuple):
    """Where an image's URL is read and then changed or compared."""

    start: int
    end: int
    asked: tuple[str, ...] = ()
    """Literals that it must have for what the script does."""
    is_plain: bool = False
    """Whether literals alone say what is changed."""


_TOO_MANY: Final = _Change(0, 0)
"""What stands for those that are not looked at any more."""


def renames_of(script: str) -> Renames:
    """Read a script once; one that changes no image's URL gives nothing, and one that seems to change too many any."""
    changes, read = list(_changes(script)), _words_read(script)
    if not changes:
        return Renames(words=read) if read else NOTHING
    if changes[-1] is _TOO_MANY:
        return _ALL
    places = [(change.start, change.end) for change in changes]
    is_short = len(script) <= _SHORT
    near, around, far = (
        [script] if is_short else [script[start:end] for start, end in _merged(places, margin)]
        for margin in (_NEAR, _AROUND, _FAR)
    )
    literals = {part for window in near for literal in _literals(window) for part in _joined_parts(literal)}
    literals |= {literal for window in far for literal in _literals(window) if _ENDING.search(literal)}
    literals |= {f"{ASKED}{literal}" for change in changes for literal in change.asked}
    words = {word for window in around for word in _words(window)} | read
    if not all(change.is_plain for change in changes):
        words |= {word for window in around for word in _words_around(window)}
    if len(literals) > _MOST_LITERALS:
        return _ALL
    # Of what has a name of its own, as a video's address, no image's digits are changed.
    loose = (change for change in changes if not any(map(_tells, change.asked)))
    counts = any(_COUNTS.search(script, max(0, change.start - 40), change.end + _NEAR) for change in loose)
    return Renames(frozenset(literals | ({DIGITS} if counts else set())), frozenset(words))


_DRAWS: Final = "drawImage("
_TEXTURES: Final = ("texImage2D(", "texSubImage2D(")
_HANDED_TO: Final = (
    "SVGInject(",
    "SVGInjector(",
    "ColorThief(",
    "Vibrant.from(",
    "new Cropper(",
    "Tesseract.recognize(",
)
"""Libraries that read the pixels or bytes of the image that they are given."""
_READS_BACK: Final = ("getImageData(", "toDataURL(", "toBlob(", "convertToBlob(")
_FETCHES: Final = ("fetch(", "axios(", ".open(")
_FETCHING: Final = re.compile(r"(?:(?<![\w$.])(?:window\.)?(?:fetch|axios)|\.open)\(\Z")
"""A question of one's own; jQuery's `get` counts as a look-up by the URL, of which all is held."""
_FETCHED: Final = re.compile(rf"\s*(?:{_Q}[A-Za-z]{{3,7}}{_Q}\s*,\s*)?({_OBJECT})")
_URL_OF_IMAGE: Final = re.compile(rf"(?:\.(?:src|currentSrc)|\.(?:attr|prop|getAttribute)\(\s*{_Q}src{_Q}\s*\))\Z")
_GIVES: Final = re.compile(rf"(?<![\w$.])([A-Za-z_$][\w$]*)\s*=\s*({_OBJECT})")


def reading_places(script: str) -> list[tuple[int, int]]:
    """Find where a script reads the pixels or the bytes of images: from a canvas, into a texture, by a request."""
    reads_back = _DRAWS in script and any(mark in script for mark in _READS_BACK)
    draws = _places(script, (*_HANDED_TO, *_TEXTURES, *([_DRAWS] if reads_back else [])))[:_MOST_READS]
    fetches = _places(script, _FETCHES)[:_MOST_READS] if "src" in script or "Src" in script else []
    places = [*draws, *(place for place in fetches if _fetches_image(script, place))]
    return [(place, script.index("(", place)) for place in places]


def _fetches_image(script: str, place: int) -> bool:
    """Say whether what is fetched is an image's URL, read there or a little before."""
    start = script.index("(", place) + 1
    fetched = _FETCHED.match(script, start) if _FETCHING.search(script[max(0, place - 20) : start]) else None
    if fetched is None or not fetched[1]:
        return False
    if _URL_OF_IMAGE.search(fetched[1]):
        return True
    before = script[max(0, place - _AROUND) : place]
    return any(given[1] == fetched[1] and _URL_OF_IMAGE.search(given[2]) for given in _GIVES.finditer(before))


def _words_read(script: str) -> frozenset[str]:
    """Give what elements have whose pixels or bytes a script reads."""
    places = reading_places(script)
    windows = [script] if places and len(script) <= _SHORT else [script[a:b] for a, b in _merged(places, _AROUND)]
    words = (word for window in windows for words in (_words(window), _words_around(window)) for word in words)
    return frozenset(f"={word}" for word in words)


_renames_of_event: Final = lru_cache(maxsize=256)(renames_of)
"""The code for an event is written with each of the elements that have it."""


def _tells(asked: str) -> bool:
    """Say whether a literal that a URL must have is more than an image's ending, which a hosted one has, too."""
    return len(re.sub(r"[^A-Za-z]", "", _ENDING.sub("", asked))) >= 3


def handlers_renames(page: str, places: Iterable[int]) -> Renames:
    """Read the code in a page's attributes for events around these places, where it mentions images' URLs.

    That it is code shows the tag's beginning, near before the mention.
    """
    from imghost.html.tokenizer import decode

    whole = NOTHING
    end = 0
    known: dict[str, bool] = {}
    for place in places:
        tag = _tag_around(page, end, place, known) if place >= end else -1
        if tag < 0:
            continue  # prose, most often
        for handler in _HANDLER.finditer(page, tag, place + _NEAR_TAG):
            if handler.start() <= place < handler.end():
                code = decode(handler[2] or handler[3] or handler[4] or "")
                if handler[1].lower() not in _ADDRESSES or code.lstrip().lower().startswith("javascript:"):
                    whole = whole.joined(_renames_of_event(code))
                end = handler.end()
    return whole


def _tag_around(page: str, first: int, place: int, known: dict[str, bool]) -> int:
    """Find the tag with code around a place, by its beginning; -1 if there is none. Code may hold what opens one.

    A page that shows code has thousands of places after a few tags, which `known` knows.
    """
    first = max(first, place - _NEAR_TAG)
    tag, end = place, place
    for _ in range(3):
        tag = page.rfind("<", first, tag)
        if tag < 0:
            break
        between = page[tag:end]
        if (has_code := known.get(between)) is None:
            has_code = known[between] = "=" in between and _HANDLER_NAME.search(between) is not None
        if has_code:
            return tag
        end = tag
    return -1


def _places(text: str, words: Iterable[str]) -> list[int]:
    """List where these words stand in a text, in order; they cost a tenth of a pattern."""
    places: list[int] = []
    for word in words:
        place = text.find(word)
        while place >= 0:
            places.append(place)
            place = text.find(word, place + 1)
    return sorted(places)


def _changes(script: str) -> Iterator[_Change]:
    """Yield where an image's URL is read and then changed or compared."""
    end = count = 0
    functions = cache(lambda: _functions(script))  # few scripts hand a URL on, and finding them takes longest
    for number, place in enumerate(_places(script, _MENTIONS)):
        if count > _MOST_READS or number > _MOST_PLACES:
            yield _TOO_MANY
            return
        if place < end:
            continue
        read = _READ.search(script, max(end, place - 64), place + 40)
        if read and read.end() > place:
            end = read.end()
            count += 1
            yield from _changed_at(script, read, functions)
        if given := _GIVEN.match(script, place):
            count += 1
            name = given[1] or given[2] or given[3] or "src"
            yield from _uses_of(script, name, place, given.end())


class _Function(NamedTuple):
    """Where a function is written that is told something, and what it calls that."""

    start: int
    end: int
    told: str


def _functions(script: str) -> dict[str, list[_Function]]:
    """Find a script's functions that are told something, by their names."""
    functions: dict[str, list[_Function]] = {}
    position = 0
    while defined := _DEFINED.search(script, position):
        start, name, position = defined.start(), defined[1], defined.end()
        if not name:
            gets = _GETS.search(script, max(0, start - _LONGEST_GIVEN), start)
            if gets is None:
                position = start + 1
                continue
            start, name = gets.start(), gets[1]
        told = next(filter(None, defined.groups()[1:]))
        functions.setdefault(name, []).append(_Function(start, position, told))
    return functions


def _changed_at(
    script: str, read: re.Match[str], functions: Callable[[], Mapping[str, list[_Function]]]
) -> Iterator[_Change]:
    """Yield where what was read is changed or compared: at once, by the name that it is given, or by a function."""
    if used := _USED.match(script, read.end()):
        yield _change(script, read.start(), used)
        return
    before = script[max(0, read.start() - 160) : read.start()]
    if _TESTED.search(before):
        pattern = next(reversed([*_PATTERN_BEFORE.finditer(before)]), None)
        yield _Change(read.start(), read.end(), tuple(_pieces(pattern[1])) if pattern else ())
        return
    if kept := _KEPT.search(before):
        yield from _uses_of(script, kept[1] or kept[2], read.start(), read.end())
    handed = _HANDED.search(before) if _HANDED_ON.match(script, read.end()) else None
    if handed and handed[1] not in _NO_FUNCTIONS:
        for defined in functions().get(handed[1], ())[:3]:
            for name in re.findall(r"[A-Za-z_$][\w$]*", defined.told)[:4]:
                yield from _uses_of(script, name, defined.start, defined.end)


def _uses_of(script: str, name: str, start: int, end: int) -> Iterator[_Change]:
    """Yield where what has been given a name at `start` is changed or compared, in what follows `end`."""
    for last in islice(_ends_of_uses(script, name, end, end + _AROUND), _MOST_USES):
        followed = _USED.match(script, last)
        # What lies between is a part of it: where the URL was read, and what is asked of it.
        yield _change(script, start, followed) if followed else _Change(start, last)


def _ends_of_uses(script: str, name: str, least: int, end: int) -> Iterator[int]:
    """Yield where a name ends that is changed or compared.

    A pattern with the name in it would be made for each name, which takes longer than all else here.
    """
    place = script.find(name, least, end)
    while place >= 0:
        last = place + len(name)
        is_changed = not _GOES_ON.match(script, place - 1) if place else True
        if (is_changed and _USED.match(script, last, end)) or (
            _EDGE.match(script, last, end) and _ASKED_BEFORE.search(script, max(least, place - _NEAR), place)
        ):
            yield last
            least = last
        place = script.find(name, max(least, place + 1), end)


def _change(script: str, start: int, used: re.Match[str]) -> _Change:
    """Read what a use of a URL asks of it."""
    if used[0][-1] != "(":
        literal = re.compile(rf"{_Q}([^\"'`\n]{{2,{_LONGEST}}}){_Q}").match(
            script, used.end() - (used[0][-1] in "\"'`")
        )
        return _Change(start, used.end(), (literal[1],) if literal and "=" in used[0] and "+" not in used[0] else ())
    argument = _ARGUMENT.match(script, used.end())
    if argument is None:
        return _Change(start, used.end())
    pattern = argument[3] or argument[5]
    pieces = tuple(_pieces(pattern)) if pattern else (_ESCAPED.sub(_letter, argument[2]),)
    if not re.search(rf"{_REPLACES}\s*\(\Z", used[0]):
        return _Change(start, used.end(), tuple(piece for piece in pieces if len(piece) >= 2))
    is_known = argument[6] == "," and bool(_REPLACED_BY.match(script, argument.end()))
    return _Change(
        start, argument.end(), () if is_known else tuple(piece for piece in pieces if len(piece) >= 2), is_known
    )


def _pieces(pattern: str) -> Iterator[str]:
    """Yield the plain parts of a pattern, each of which what matches may have."""
    for piece in _META.sub("\0", pattern).split("\0"):
        if plain := re.sub(r"\\(.)", r"\1", piece):
            yield plain


def _merged(places: Iterable[tuple[int, int]], margin: int) -> list[tuple[int, int]]:
    """Make windows around places; those that overlap become one."""
    windows: list[tuple[int, int]] = []
    for first, last in sorted(places):
        start, end = max(0, first - margin), last + margin
        if windows and start <= windows[-1][1]:
            windows[-1] = windows[-1][0], max(end, windows[-1][1])
        else:
            windows.append((start, end))
    return windows


def _literals(window: str) -> Iterator[str]:
    """Yield what stands between quotes; a window may begin within a string, so both sides of each quote count."""
    for piece in re.split(r"[\"'`]|\$\{|\}", window):
        if len(piece) <= _LONGEST and not _is_code(piece):
            yield _ESCAPED.sub(_letter, piece)
    for key in _KEYS.finditer(window):
        yield key[1]
    for pattern in _REGEX.finditer(window):
        pieces: Iterable[str] = ()
        if _PLAIN_REGEX.match(pattern[1]):
            pieces = [re.sub(r"\\(.)", r"\1", pattern[1].removesuffix("$"))]
        elif window[: pattern.start() + 1].endswith(("replace(", "replaceAll(")):
            pieces = _pieces(pattern[1])
        for piece in pieces:
            yield piece
            if "i" in pattern[2]:
                yield piece.lower()


def _is_code(piece: str) -> bool:
    return not piece.strip() or any(mark in piece for mark in "(;=\n,+:")


def _letter(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else escape[3]


def _joined_parts(literal: str) -> Iterator[str]:
    """Yield a literal's parts around what varies in it, and what is left of each without an image's ending."""
    for part in _GROUPS.split(literal):
        # A dot alone before a group stands for the ending's: `'@2x.$1'`.
        for name in {part, part.removesuffix("."), _ENDING.sub("", part)}:
            if len(name) >= 2 and name not in {"..", "//", "./"}:
                yield name


def _words(window: str) -> Iterator[str]:
    for selected in _SELECTED.finditer(window):
        yield from _TOKEN.findall(selected[2])
        for marked in _MARKED.findall(selected[2]):
            yield f"[{marked}" if marked.startswith("data-") else f"#{re.split('[^A-Za-z0-9_-]', marked)[-1]}"
    for named in _NAMED.finditer(window):
        yield from named[1].split()
    for called in _CALLED.finditer(window):
        yield f"#{next(filter(None, called.groups()))}"
    for bare in _GLOBAL.finditer(window):
        if bare[1].lower() not in _NO_IDS:
            yield f"#{bare[1]}"
    for grown in _GROWN.finditer(window):
        yield f"*{grown[1]}"
    for grown in re.finditer(r"""\+\s*["'`]([\w\-]{3,60})["'`]\s*[),]""", window):
        yield f"*{grown[1]}"


def _words_around(window: str) -> Iterator[str]:
    """Yield what decides which elements are worked on where literals do not."""
    for function in _FUNCTION.finditer(window):
        yield f"{function[1] or function[2]}("
    for selected in _SELECTED.finditer(window):
        for selector in selected[2].split(","):
            if _PICTURE_STEP.search(selector):
                yield from (f">{token}" for step in _STEP.findall(selector) for token in _TOKEN.findall(step))
    for parent in _PARENT.finditer(window):
        yield f">{parent[1]}"


def works_on(words: frozenset[str], element_id: str, classes: Iterable[str], others: Iterable[str] = ()) -> bool:
    """Say whether scripts that change URLs work on an element with this id, these classes and other attributes.

    The others are its `name` after a `#`, and attributes after a `[`.
    """
    if not words.isdisjoint((f"#{element_id}", *others)):
        return True
    mine = {element_id, *classes} - {""}
    if not mine:
        return False
    return not mine.isdisjoint(words) or any(word.endswith(_endings(words)) for word in mine)


@lru_cache(maxsize=8)
def _endings(words: frozenset[str]) -> tuple[str, ...]:
    """Choose the words that say how an id or a class ends."""
    return tuple(word[1:] for word in words if word[0] == "*")


_CALL: Final = re.compile(r"(?<![\w$])[A-Za-z_$][\w$]*\(")


def calls(words: frozenset[str], code: str) -> bool:
    """Say whether code for an event calls a function in which URLs are changed."""
    return any(call in words for call in _CALL.findall(code))


def spans_inside(page: str, words: frozenset[str]) -> list[tuple[int, int]]:
    """Find what stands in elements of whose images scripts change the URLs; what is left open goes to the end."""
    wanted = {word[1:] for word in words if word[0] == ">"}
    if not any(word in page for word in wanted):
        return []
    spans: list[tuple[int, int]] = []
    open_elements: list[tuple[str, int]] = []
    depths: Counter[str] = Counter()
    for tag in TAG.finditer(page):
        name = tag[1].lower()
        if name[0] == "/":
            while depths[name[1:]]:
                last, start = open_elements.pop()
                depths[last] -= 1
                if start:
                    spans.append((start, tag.start()))
                if last == name[1:]:
                    break
        elif depths or any(word in tag[2] for word in wanted):
            is_wanted = not wanted.isdisjoint(_ids_and_classes(tag[2]))
            # What is not inside one need not be followed.
            if is_wanted or open_elements:
                open_elements.append((name, tag.end() if is_wanted else 0))
                depths[name] += 1
    return [*spans, *((start, len(page)) for _, start in open_elements if start)]


def _ids_and_classes(written: str) -> set[str]:
    return {
        word
        for attribute in ATTRIBUTE.finditer(written)
        if attribute[1].lower() in {"id", "class"}
        for word in (attribute[2] or "").strip("\"'").split()
    }


# Selectors that ask for a URL's text: they must match as much, and no more, when the URL is another.

_ATTRIBUTES: Final = r"src|srcset|data-src|data-srcset|href|xlink\\?:href|poster|content|data|style"
_STRING: Final = r"""\\?"(?:[^"\\\n]|\\[^"])*\\?"|\\?'(?:[^'\\\n]|\\[^'])*\\?'|(?:[^\[\]\s"'\\]|\\.)++"""
_ASKING: Final = rf"""\[\s*+(?i:(?:\*?\|)?({_ATTRIBUTES})\s*+([~|^$*]?=)\s*+({_STRING})\s*+([iIsS]?)\s*+\])"""
_SELECTOR: Final = re.compile(_ASKING, re.A)
_ESCAPE: Final = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.S)
_ADDRESS: Final = r"""[rR][lL]\((?<![\w-][uU][rR][lL]\()(?!\s*["'])(?:[^)\\]|\\[\s\S])*+"""
_WHOLE: Final = rf"""\\[\s\S]|u{_ADDRESS}|U{_ADDRESS}|"(?:[^"\\\n\r\f]|\\[\s\S])*+"?|'(?:[^'\\\n\r\f]|\\[\s\S])*+'?"""
"""What in a style sheet is one token whatever it holds: an escape, an address, a string (CSS syntax level 3).

Each begins with a letter of its own, in no case but its own: then all others are passed in a tenth of the time.
"""
_COMMENT: Final = re.compile(rf"/\*[\s\S]*?(?:\*/|\Z)|{_WHOLE}")
_STYLE_SELECTOR: Final = re.compile(rf"{_ASKING}|{_WHOLE}", re.A)


def selectors_of(text: str, *, is_style: bool = False) -> frozenset[Condition]:
    """Find the selectors that ask for a URL's text, in a style sheet or a script.

    In a style sheet what a comment or a string holds is none.
    """
    if "[" not in text:
        return frozenset()
    if is_style and "/*" in text:
        text = _COMMENT.sub(lambda token: " " if token[0].startswith("/*") else token[0], text)
    return frozenset(
        Condition(found[1].lower().replace("\\", ""), found[2], _read(found[3]), found[4].lower() == "i")
        for found in (_STYLE_SELECTOR if is_style else _SELECTOR).finditer(text)
        if found[1]
    )


_SHEET: Final = re.compile(r"\.css\b", re.A)
_BEFORE_NAMES: Final = " \t\n\r\"'`=()<>,;"
_LONGEST_NAME: Final = 500


def sheets_of(script: str) -> Iterator[str]:
    """Yield the style sheets that a script names which writes an `integrity`."""
    for ending in _SHEET.finditer(script):
        before = script[max(0, ending.start() - _LONGEST_NAME) : ending.start()]
        if name := before[max(map(before.rfind, _BEFORE_NAMES)) + 1 :]:
            yield f"{name}.css".replace("\\/", "/")


def _read(written: str) -> str:
    """Read a selector's value: a string, one in a script's string, or an identifier."""
    bare = written.removeprefix("\\") if written[:2] in {'\\"', "\\'"} else written
    if bare[:1] in {'"', "'"}:
        bare = bare[1:-1].removesuffix("\\")
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 16) % 0x110000) if escape[1] else escape[2], bare)
