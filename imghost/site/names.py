"""What a text names: every spelling of a file's name that a page, a script or a style sheet could load it by.

Whoever deletes an image asks here first, so in doubt a name counts. Pure, and linear in the text: each pass goes
over it once, and there is a fixed number of passes.
"""

from __future__ import annotations

import base64
import html
import os
import re
import zlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

from imghost import files
from imghost.models import ENDINGS, RASTER, NamedTuple, endings
from imghost.site.survey import Survey, is_page

MAX_UNPACKED: Final = 200_000_000
"""Bytes that a packed text may come to; a larger one cannot be read."""

_LONGEST: Final = 255
"""Letters of a file's name, by the limits of file systems."""
MAX_BUILT: Final = 1000
"""Names that a text may put together; one that seems to make more may mean any."""
_ROUNDS: Final = 3
"""How often escapes are undone: a name in JSON in an attribute in a feed is escaped three times."""

_BOMS: Final = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xef\xbb\xbf", "utf-8"),
)
_WIDE: Final = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_CHARSET: Final = re.compile(rb"""(?:charset|encoding)\s*+=\s*+["']?([\w.:-]{2,40})""", re.I | re.A)

_PERCENTS: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_WIDE_PERCENT: Final = re.compile(r"%u([0-9A-Fa-f]{4})")
"""How `escape` of the oldest scripts writes a letter."""
_FORMAT: Final = re.compile(r"%0?[0-9]{1,2}[dsi]")
_NESTED_PERCENT: Final = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2})")
_SCRIPT_ESCAPE: Final = re.compile(
    r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([0-3]?[0-7]{1,2})|(\r\n|[\n\r\u2028\u2029])|([\s\S]))"
)
_CSS_ESCAPE: Final = re.compile(r"\\(?:([0-9A-Fa-f]{1,6})(?:\r\n|[\t\n\f\r ])?|(\r\n|[\n\f\r])|([\s\S]))")
_SURROGATES: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_BLANK: Final = frozenset("bfnrtv")

_INSIDE: Final = re.compile(r"[\w.\-]")
"""What, right before a name, makes another name of it."""


class Reading(NamedTuple):
    """A file as texts in which names stand as they are; `problem` says why it could not be read."""

    texts: tuple[str, ...] = ()
    problem: str = ""


class Wanted:
    """The files whose names are looked for, by the last part of their paths or URLs."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths: dict[str, list[str]] = {}
        for path in paths:
            for name in _spelled(path.rpartition("/")[2]):
                self._paths.setdefault(name, []).append(path)
        self._lengths = sorted({len(name) for name in self._paths if name}, reverse=True)
        endings = sorted({name[-4:] for name in self._paths if name}, key=len, reverse=True)
        self._ends = [re.compile(f"(?={re.escape(ending)})") for ending in endings]
        self._endings = endings
        self._sorted = sorted(self._paths)

    def __bool__(self) -> bool:
        return bool(self._paths)

    @property
    def every(self) -> frozenset[str]:
        """All the files."""
        return frozenset(path for paths in self._paths.values() for path in paths)

    def named_in(self, text: str) -> set[str]:
        """Find the files that a text names, or that a name which it puts together could mean."""
        folded = folded_text(_put_together(with_hidden(text)))
        names = {name for ending, end in self._places(folded) for name in self._ending_at(folded, ending, end)}
        files = {path for name in names for path in self._paths[name]}
        built = built_names(folded)
        if len(built) > MAX_BUILT:
            return set(self.every)
        for folder, start, end in built:
            made = {path for name in self._between(start, end) for path in self._paths[name]}
            files |= {path for path in made if not folder or f"/{folder}/" in folded_text(f"/{path}")}
        return files

    def _places(self, text: str) -> Iterator[tuple[str, int]]:
        for ending, pattern in zip(self._endings, self._ends, strict=True):
            if ending in text:
                for place in pattern.finditer(text):
                    yield ending, place.start() + len(ending)

    def _ending_at(self, text: str, ending: str, end: int) -> Iterator[str]:
        """Yield the names that stand in the text up to this place, as a whole word's beginning."""
        for length in self._lengths:
            start = end - length
            if len(ending) <= length and start >= 0 and not (start and _INSIDE.match(text, start - 1)):
                name = text[start:end]
                if name in self._paths:
                    yield name

    def _between(self, start: str, end: str) -> set[str]:
        """Find the names that begin and end so."""
        first = bisect_left(self._sorted, start)
        found = set()
        for name in self._sorted[first:]:
            if not name.startswith(start):
                break
            if name.endswith(end) and len(name) >= len(start) + len(end):
                found.add(name)
        return found


def _spelled(name: str) -> set[str]:
    """Fold a file's name; a form's encoding writes its spaces as plus signs, and what looks escaped in it is undone."""
    folded = folded_text(name)[:_LONGEST]
    return {folded, folded.replace(" ", "+"), folded_text(_plain(name))[:_LONGEST]}


def folded_text(text: str) -> str:
    """Make equal what some server or file system takes for equal: letters' case and composition."""
    return text.lower() if text.isascii() else normalize("NFC", text).casefold()


def read(content: bytes, path: str = "") -> Reading:
    """Read a file's bytes as every text that they can be: unpacked, decoded, each escape undone."""
    plain = read_plain(content, path)
    return plain._replace(texts=tuple(dict.fromkeys(undone for text in plain.texts for undone in spellings(text))))


def read_plain(content: bytes, path: str = "") -> Reading:
    """Read a file's bytes as they stand there: unpacked and decoded."""
    for _ in range(_ROUNDS):
        if not content.startswith(b"\x1f\x8b"):
            break
        unpacked = _unpacked(content)
        if unpacked is None:
            return Reading(problem="is a gzip file that cannot be unpacked")
        content = unpacked
    if content.startswith(b"\x28\xb5\x2f\xfd") or path.lower().endswith((".br", ".zst")):
        return Reading(problem="is packed in a way that is not read (Brotli or Zstandard)")
    return Reading(decoded(content))


def _unpacked(content: bytes) -> bytes | None:
    """Unpack a gzip file of one member or several; None where it is broken or too large."""
    parts: list[bytes] = []
    left = MAX_UNPACKED
    while content:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(content, left))
        except zlib.error:
            # What follows a first whole member is padding.
            return b"".join(parts) if parts else None
        left -= len(parts[-1])
        if not unpacker.eof or left <= 0:
            return None
        content = unpacker.unused_data
    return b"".join(parts)


def decoded(content: bytes) -> tuple[str, ...]:
    """Decode a text by its byte order mark, its zeros, the character set that it names, or as UTF-8."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return (content[len(mark) :].decode(encoding, "replace"),)
    text = content.decode("utf-8", "surrogateescape")
    if b"\0" in content:
        # Without a mark the order is anybody's guess, and a text of zeros in UTF-8 names nothing.
        return (text, *(content.decode(encoding, "replace") for encoding in _WIDE))
    if text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in set(text)):
        return (text,)
    named = _CHARSET.search(content[:1024])
    return (text, *filter(None, (_told(content, named[1].decode("ascii")) if named else "", _told(content, "cp1252"))))


def _told(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding, "replace")
    except LookupError:
        return ""


def spellings(text: str) -> tuple[str, ...]:
    """Undo every escape: of HTML and XML, of URLs, and of scripts, JSON and CSS, which differ in their backslash.

    A backslash also stands for itself, as a slash in a path of Windows.
    """
    readings = [_plain(text)]
    if "%" in text and _FORMAT.search(text):
        readings.append(text)  # `%02d` is a number's place as well as a letter
    if "\\" in readings[0]:
        readings += [_without_backslash(text, _script_letter, _SCRIPT_ESCAPE)]
        readings += [_without_backslash(text, _css_letter, _CSS_ESCAPE)]
    return tuple(dict.fromkeys(readings))


def _without_backslash(text: str, letter: Callable[[re.Match[str]], str], pattern: re.Pattern[str]) -> str:
    for _ in range(_ROUNDS):
        before, text = text, _plain(pattern.sub(letter, text))
        if text == before or "\\" not in text:
            break
    return _SURROGATES.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _plain(text: str) -> str:
    """Undo what begins with an ampersand or a percent sign, each as often as it may be nested."""
    for _ in range(_ROUNDS):
        before = text
        if "&" in text:
            text = html.unescape(text)
        if "%" in text:
            text = _WIDE_PERCENT.sub(lambda escaped: chr(int(escaped[1], 16)), text)
            text = _PERCENTS.sub(_percents, _NESTED_PERCENT.sub("%", text))
        if text == before:
            break
    return text


def _percents(escaped: re.Match[str]) -> str:
    content = unquote_to_bytes(escaped[0])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _script_letter(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2] or escape[3]
    if code:
        return _letter(int(code, 16))
    if escape[4]:
        return chr(int(escape[4], 8))
    return "" if escape[5] else "\n" if escape[6] in _BLANK else escape[6]


def _css_letter(escape: re.Match[str]) -> str:
    return _letter(int(escape[1], 16)) if escape[1] else escape[3] or ""


def _letter(code: int) -> str:
    return chr(code) if code <= 0x10FFFF else "\ufffd"


# Proxies of images take the address of what they show in their own: as it is, percent-encoded, in base64 (imgproxy,
# which may cut it by slashes), in hexadecimal digits (camo).
_SIGNS: Final = ("http://", "https://", *(f".{ending}" for ending in endings().split("|")))
"""What an address has that names an image."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-]{8,}")
_HEX_RUN: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){8,}")
_PIECE: Final = re.compile(r"[^\0-\x1f\ufffd]{4,}")
_NAMING: Final = re.compile(r"[./%&]")
"""What a text has at least that names a file, its escapes undone or not."""
_HIDDEN_ROUNDS: Final = 2
"""How often what is hidden is looked for in what was hidden."""


def _cores(sign: str) -> Iterator[str]:
    """Give what base64 makes of a text at each of the three places that it may begin at, but for what it shares."""
    raw = sign.encode()
    for at in range(3):
        written = base64.b64encode(bytes(at) + raw + bytes(2)).decode()
        yield written[-(-at * 8 // 6) : (at + len(raw)) * 8 // 6]


_CORES: Final = tuple(dict.fromkeys(core for sign in _SIGNS for core in _cores(sign)))
_HEX_SIGNS: Final = tuple(sign.encode().hex() for sign in _SIGNS)
_PLAIN_BASE64: Final = str.maketrans("-_", "+/")


def with_hidden(text: str) -> str:
    """Add to a text what it holds in base64 or hexadecimal digits, if that may name an image."""
    parts, new = [text], text
    for _ in range(_HIDDEN_ROUNDS):
        new = "\n".join(map(_plain, _hidden(new)))
        if not new:
            break
        parts.append(new)
    return "\n".join(parts)


def _hidden(text: str) -> Iterator[str]:
    """Yield the legible pieces of what stands in base64 or hexadecimal digits; a text has few, or none."""
    is_told = "base64" in text or "atob" in text
    if is_told or _has_core(text):
        for run in _BASE64.findall(text):
            yield from _legible(_from_base64(run, is_told=is_told))
    lower = text.lower()
    if any(sign in lower for sign in _HEX_SIGNS):
        for run in _HEX_RUN.findall(text):
            yield from _legible([bytes.fromhex(run)])


def _has_core(text: str) -> bool:
    return any(core in text for core in _CORES) or (
        "/" in text and any(core in whole for whole in [text.replace("/", "")] for core in _CORES)
    )


def _from_base64(run: str, *, is_told: bool) -> Iterator[bytes]:
    """Decode a run of letters that may name an image.

    With a sign of that in it, from each of the four places at which what is in it may begin, since a proxy's address
    runs on with names of its own. Where the text tells of base64, also what is a text from its beginning on, whose
    escapes may hide the sign: most such runs are words of a language, or pictures.
    """
    if _has_core(run):
        for letters in dict.fromkeys((run, run.replace("/", ""))):
            yield from (_of_base64(letters[at:]) for at in range(4))
    elif is_told and _is_readable(_of_base64(run[:16])) and _is_readable(content := _of_base64(run)):
        yield content


def _of_base64(letters: str) -> bytes:
    """Decode base64 without its padding, in the letters of either alphabet."""
    content = base64.b64decode(letters.translate(_PLAIN_BASE64) + "A" * (-len(letters) % 4))
    return content[: len(letters) * 6 // 8]


def _is_readable(content: bytes) -> bool:
    try:
        return bool(content) and content.decode("utf-8").replace("\n", "").replace("\t", "").isprintable()
    except UnicodeDecodeError as problem:
        return problem.reason == "unexpected end of data" and problem.start > 0


def _legible(contents: Iterable[bytes]) -> Iterator[str]:
    for content in contents:
        for piece in _PIECE.findall(content.decode("utf-8", "replace")):
            if _NAMING.search(piece):
                yield piece


_NEAR: Final = 160
"""Letters around an ending in which the parts of its name are looked for."""
_ENDING: Final = re.compile(rf"\.(?:{endings()})")
_PLACEHOLDER: Final = re.compile(r"%[0-9]*[dsi]|[$#]?\{{1,3}[^{}]*\}{1,3}|\[\[?\w*\]\]?|<\w+>|\*+|#+|\$\w+")
_WORD_START: Final = re.compile(r"[^\s\"'`/(),;=|]*\Z")
_JOINED: Final = re.compile(r"""["'`]\s*,?\s*\]\s*\.\s*join\(""")
_EXCHANGED: Final = re.compile(r"""["'`]\s*\.\s*replace(?:all)?\(\s*["'`/]([^"'`/]{1,30})["'`/]""")
_GROWING: Final = re.compile(r"""["']\s*\+|["'`]\s*\.\s*concat\(|\$\{""")
_OTHER_END: Final = re.compile(r"""[^"'`;{]*[+,]\s*["'`][^"'`]*?\.(\w{1,8})["'`]""")
_LITERAL: Final = re.compile(r"""[^"'`]*\Z""")
_ENDS_IN_VARIABLE: Final = re.compile(r"""[^"'`;\n]{0,80}\.(?:\$\{|["'`]\s*\+)""")
_MARKS: Final = "\"'`"
_SUM: Final = re.compile(r"""(?<=[^\s"'`(,=+])["'`]\s*\+\s*["'`](?=[^\s"'`),;+])""")
"""Two literals that are put together."""
_LIST: Final = re.compile(r"""\[([^\[\]\n]{1,300})\]\s*\.\s*join\(\s*["'`]([^"'`\n]{0,5})["'`]\s*\)""")
_CODES: Final = re.compile(r"""(?:String\s*\.\s*)?from(?:CharCode|CodePoint)\(([\dxXa-fA-F,\s]{1,2000})\)""")

Built = tuple[str, str, str]
"""A name that a script puts together: its folder (empty if unknown), how it begins, how it ends."""


def _put_together(text: str) -> str:
    """Write literals as one that a script puts together of several, or of letters' numbers."""
    if "romC" in text:
        text = _CODES.sub(_letters, text)
    if "join" in text:
        text = _LIST.sub(_list_joined, text)
    return _SUM.sub("", text) if "+" in text else text


def _letters(codes: re.Match[str]) -> str:
    try:
        return f'"{"".join(chr(int(code, 0)) for code in codes[1].split(",") if code.strip())}"'
    except (ValueError, OverflowError):
        return codes[0]


def _list_joined(joined: re.Match[str]) -> str:
    parts = (part.strip() for part in joined[1].split(","))
    return f'"{joined[2].join(part[1:-1] if part[:1] in set(_MARKS) else "${}" for part in parts)}"'


def built_names(text: str) -> set[Built]:
    """Find the names that are put together of literals around something that varies.

    `"slide-" + n + ".png"`, a template with `${n}`, `.concat`, `.join`, `slide-%d.png`, `slide-{n}.png`,
    `"slide-N.png".replace("N", n)`. The text is folded.
    """
    built: set[Built] = set()
    for ending in _ENDING.finditer(text):
        built.update(_around(text, ending.start(), ending.end()))
        if len(built) > MAX_BUILT:
            return built
    for growing in _GROWING.finditer(text):
        if begun := _begun(text, growing):
            built.add(begun)
        if len(built) > MAX_BUILT:
            break
    return built


def _around(text: str, start: int, end: int) -> Iterator[Built]:
    """Yield what the name with this ending is made of, where it is not all there."""
    before = text[max(0, start - _NEAR) : start]
    after = text[end : end + _NEAR]
    opening = max(map(before.rfind, _MARKS))
    piece = before[opening + 1 :]
    word = _word(before)
    whole = word + text[start:end]
    if varying := list(_PLACEHOLDER.finditer(word)):
        yield "", word[: varying[0].start()], whole[varying[-1].end() :]
    elif "}" in piece:
        # A template whose expression has quotes or spaces of its own.
        yield "", "", piece.rpartition("}")[2] + text[start:end]
    if opening >= 0 and "/" not in piece and "}" not in piece:
        yield from _joined(before[:opening], piece + text[start:end], after)
    exchanged = _EXCHANGED.match(after)
    if exchanged and exchanged[1] in word:
        begin, _, rest = word.partition(exchanged[1])
        yield "", begin, rest + text[start:end]


def _word(before: str) -> str:
    """Give the last word of a text, in which the expressions of a template count."""
    word = _WORD_START.search(before)
    return word[0] if word else ""


def _joined(code: str, last: str, after: str) -> Iterator[Built]:
    """Yield the name that ends with the literal `last`, behind this code, if it is put together."""
    code = code.rstrip()
    if code.endswith("+"):
        yield _led(_prefix(code[:-1].rstrip()), last)
    elif code.endswith((",", "(")) and ".concat(" in code:
        yield _led(_literal(code.rpartition(".concat(")[0]), last)
    elif code.endswith(",") and _JOINED.match(after):
        first = code.rpartition("[")[2].lstrip()
        yield _led(first[1:].partition(first[:1])[0] if first[:1] in set(_MARKS) else "", last)


def _prefix(code: str) -> str:
    """Give the literal before `+ n`; empty where there is none."""
    closing = max(map(code.rfind, _MARKS))
    between = code[closing + 1 :].strip() if closing >= 0 else ";"
    if between and (not between.startswith("+") or not {";", ",", "{"}.isdisjoint(between)):
        return ""
    return _literal(code[: closing + 1])


def _literal(code: str) -> str:
    """Give the text of the literal with which some code ends."""
    code = code.rstrip()
    if code[-1:] not in set(_MARKS):
        return ""
    return code[code.rfind(code[-1], 0, -1) + 1 : -1]


def _led(literal: str, last: str) -> Built:
    """Make a name of the literals at its ends."""
    folder, _, start = literal.rpartition("/")
    return folder.rpartition("/")[2].strip(".$}"), start, last


def _begun(text: str, growing: re.Match[str]) -> Built | None:
    """Give a name of which only the beginning is a literal: `"slide-" + n + ending`."""
    before = text[max(0, growing.start() - _NEAR) : growing.start()]
    start = _word(before)
    if len(start) < 3 or not (start[0].isalnum() or start[0] in "_@"):
        return None
    if start[-1] not in "-_.0123456789" and not _ENDS_IN_VARIABLE.match(text, growing.start()):
        return None
    other = _OTHER_END.match(text[growing.end() : growing.end() + _NEAR])
    return None if other else ("", start, "")


_CIPHER: Final = re.compile(
    r"(?<![A-Za-z0-9+/=_,\-])(?:[A-Za-z0-9+/]{64,}|[A-Za-z0-9_\-]{64,})={0,2}(?![A-Za-z0-9+/=_\-])"
)
_DECRYPTS: Final = re.compile(
    r"<(?:div|pre|form|section|script|span|p|article|main|input|template|code|body|html)\b[^<>]*crypt"
    r"|crypt\w{0,40}\s{0,8}\(|\.subtle\b|\bCryptoJS\b|\bsjcl\b",
    re.I | re.A,
)


_OPENS: Final = re.compile(
    r"""\bdecrypt\w*\(|["'](?:iv|salt)["']\s*:\s*["'](?=[\s\S]{0,400}["'](?:ct|data|cipher\w*|payload)["']\s*:)"""
)
_PICTURED: Final = re.compile(
    r"""["']?\b(?:image|img|thumb(?:nail)?|cover|icon|poster|photo|picture|banner|src)["']?\s*:\s*["']([^"'\s]+)["']""",
    re.I,
)
"""What an index tells of the picture beside a find."""
_BROKEN: Final = re.compile(
    r"""=["'][^"'<>\s&]{0,200}(?:[\t\n\r]|&(?:Tab|NewLine|#0*(?:9|10|13)|#[xX]0*[9aAdD])\b;?)[^"'<>\s]"""
)
"""An attribute in which a line ends, or a tab stands, within a word."""
_LARGEST_SEALED: Final = 1_000_000
"""Letters; a larger script is a library, which has tables of its own."""


def is_sealed(page: str) -> bool:
    """Say whether a page holds what only a password makes a text: a cipher, and what would decrypt it."""
    return bool(_DECRYPTS.search(page)) and any(map(_is_cipher, _CIPHER.findall(page)))


def _is_cipher(run: str) -> bool:
    """Say whether letters of base64 or hexadecimal digits stand for bytes that are no text."""
    digits = run.rstrip("=")
    try:
        if re.fullmatch(r"[0-9A-Fa-f]+", digits):
            content = bytes.fromhex(digits[: len(digits) & ~1])
        else:
            content = _of_base64(digits[: len(digits) & ~3])
        content.decode("utf-8")
    except UnicodeDecodeError:
        return True
    except ValueError:
        return False
    return False


# Who names an image file: the texts of a site, read once when somebody asks to delete local copies.

_NO_TEXTS: Final = (
    *(f".{ending}" for media_type in RASTER for ending in ENDINGS[media_type]),
    *(".ico", ".woff", ".woff2", ".ttf", ".otf", ".eot"),
    *(".mp3", ".mp4", ".ogg", ".webm", ".pdf", ".zip", ".whl", ".bz2", ".xz", ".tgz", ".tar.gz", ".epub"),
)
"""Endings of files that name no other; whatever else the site has is read as a text."""
_NO_USES: Final = re.compile(
    r"(?:.*/)?(?:_sources/.+(?<!html)(?<!\.htm)|pagefind/.+\.pf_[a-z]+|doctools\.js|objects\.inv|[^/]+\.(?:js|css|mjs)\.map)",
    re.S | re.I,
)
"""Texts by which no browser loads a picture: Sphinx's copies of a page's source, which are shown as plain text, and
its script that works on the theme's own `plus.png` and `minus.png`; the words that Pagefind goes through; maps by which
a debugger shows what scripts and styles were made of."""
_INDEX: Final = re.compile(
    r"(?:.*/)?(?:(?:local-)?search(?:[_-]?(?:index|data|doc|docs|content))?(?:[._-][^/]*)?|searchindex[^/]*|"
    r"lunr[_-]?index[^/]*|tipuesearch_content|@localSearchIndex[^/]*)\.(?:json|js|xml)(?:\.gz)?",
    re.S | re.I,
)
"""Indexes of a site's words: prose, but for the markup in it."""
_PACKED: Final = (".br", ".zst")
_OWN_NAME: Final = re.compile(r"""(?:sodipodi:docname|inkscape:export-filename|xml:base)\s*=\s*(?:"[^"]*+"|'[^']*+')""")
"""Where a drawing tells its own name, or that of a file which was made of it."""


class Mentions(NamedTuple):
    """The image files that something names, each with the file that does; and why others may be named unseen."""

    named: Mapping[str, str]
    doubts: tuple[str, ...] = ()
    """Files that cannot be read, each with the reason; while there is one, every image may be named."""


def mentions(found: Survey, paths: Collection[str], pages_of: Mapping[str, Collection[str]] | None = None) -> Mentions:
    """Find what names these images in the site's texts, whatever the spelling.

    `pages_of` tells what pages refer to: a packed twin of a page, which cannot be read, names what the page does.
    """
    wanted, named, doubts = Wanted(paths), dict[str, str](), list[str]()
    for path, file in _texts(found):
        if named.keys() >= wanted.every:
            break
        plain = path.rpartition(".")[0]
        if path.endswith(_PACKED) and plain in found.files:
            # Its plain twin is read, or, where that was changed, has told what it was.
            hits: Collection[str] = wanted.every.intersection((pages_of or {}).get(plain, ()))
        else:
            hits, problem = _named_in(path, file, wanted, named)
            if problem:
                doubts.append(f"{path} {problem}")
        named |= dict.fromkeys((hit for hit in hits if hit not in named), path)
    return Mentions(named, tuple(doubts))


def _texts(found: Survey) -> Iterator[tuple[str, Path]]:
    """List every file that may name another one, also behind links to folders."""
    for path in sorted(found.files):
        if _is_text(path):
            yield path, found.root / path
    for folder, linked in _linked_folders(found.root):
        for name in sorted(linked):
            path = f"{folder}/{name}"
            if _is_text(path):
                yield path, found.root / path


def _is_text(path: str) -> bool:
    return not path.lower().endswith(_NO_TEXTS) and not _NO_USES.fullmatch(path)


def _linked_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """List the files below links to folders, which the survey does not enter; each folder once."""
    real = os.path.realpath(root)
    seen = {real}
    links = [
        os.path.join(at, name)  # noqa: PTH118 - one of a whole site's names
        for at, folders, _ in files.walk(root)
        for name in folders
        if Path(at, name).is_symlink()
    ]
    while links:
        link = links.pop()
        for at, folders, names in files.walk(link, follows_links=True):
            place = os.path.realpath(at)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            yield Path(at).relative_to(root).as_posix(), names


def _named_in(path: str, file: Path, wanted: Wanted, named: Mapping[str, str]) -> tuple[set[str], str]:
    """Find the images that one file names, but itself; or why it cannot be read."""
    try:
        content = file.read_bytes()
    except OSError as problem:
        return set(), f"cannot be read: {problem.strerror or problem}"
    reading = read_plain(content, path)
    if reading.problem:
        return set(), reading.problem
    hits = set[str]()
    for text in reading.texts:
        if why := _sealed(path, text):
            return set(), why
        new = {hit for undone in spellings(text) for hit in wanted.named_in(undone)} - named.keys() - hits
        # Most files name nothing that is asked for, and need not be taken apart. Escapes are undone after that, for
        # they keep markup that is shown from being any.
        if new or _BROKEN.search(text):
            hits |= {hit for undone in spellings(_uses(path, text)) for hit in wanted.named_in(undone)}
    own = path.rpartition("/")[2]
    return {hit for hit in hits if hit.rpartition("/")[2] != own}, ""


def is_sealed_file(path: str, text: str) -> bool:
    """Say whether a file holds what only a password makes a text: a page, or a script or a table that a page reads."""
    if is_page(path):
        return is_sealed(text)
    lowered = path.lower()
    if lowered.endswith((".js", ".mjs", ".json")) and len(text) <= _LARGEST_SEALED and _OPENS.search(text):
        return any(map(_is_cipher, _CIPHER.findall(text)))
    return False


_SEALED_ADDRESS: Final = re.compile(r"/enc/[A-Za-z0-9_\-]{43,}")
"""How imgproxy writes an address that only its server can read: its AES blocks are 32 bytes at least."""


def _sealed(path: str, text: str) -> str:
    """Say why a text that was read does not tell all that it names; empty where it does."""
    if is_sealed_file(path.removesuffix(".gz"), text):
        return "is encrypted"
    if "/enc/" in text and _SEALED_ADDRESS.search(text):
        return "has an image proxy's encrypted addresses"
    return ""


def _uses(path: str, text: str) -> str:
    """Give what of a text can load a file."""
    from imghost.html.uses import loading_text  # a build that removes no copy does without

    if path.lower().endswith(".svg"):
        return loading_text(_OWN_NAME.sub("", text))
    is_index = _INDEX.fullmatch(path) or (
        path.endswith(".json") and all(key in text for key in ('"location"', '"text"'))
    )
    if is_index:
        prose = loading_text(f"<i>{_SCRIPT_ESCAPE.sub(_script_letter, text)}")
        return "\n".join((prose, *_PICTURED.findall(text)))
    return loading_text(text) if is_page(path.removesuffix(".gz")) else text


def texts(found: Survey) -> Iterator[tuple[str, str, str]]:
    """Read every file of a site that may name another one: its path, and each text that it can be read as.

    Escapes are undone, and what is hidden is added. A file that cannot be read, or not all of it, has no text, and
    why stands in the last place.
    """
    for path, file in _texts(found):
        try:
            reading = read_plain(file.read_bytes(), path)
        except OSError as problem:
            reading = Reading(problem=f"cannot be read: {problem.strerror or problem}")
        if why := reading.problem or next(filter(None, (_sealed(path, text) for text in reading.texts)), ""):
            yield path, "", why
            continue
        yield from ((path, with_hidden(undone), "") for text in reading.texts for undone in spellings(text))
