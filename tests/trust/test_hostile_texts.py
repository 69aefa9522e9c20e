"""Every scan of a text takes time by its length alone, whatever the text repeats."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from sites import write

from imghost import urls
from imghost.html import admits_by_hash, allows_inline, blocks
from imghost.html.edit import Additions, HostedImage, Improvements
from imghost.html.improve import all_shaping, improve, without_additions
from imghost.html.scan import scan, scan_css
from imghost.html.tokenizer import decode, decode_with_offsets
from imghost.html.uses import calls, loading_text, renames_of, selectors_of, sheets_of, spans_inside
from imghost.image import NotAnImage
from imghost.image.inspect import inspect
from imghost.models import KINDS
from imghost.site.dependents import barring, dependents_of, header_policies, read_scripts, stale
from imghost.site.names import Wanted, is_sealed_file, mentions, read, texts
from imghost.site.page_map import Scripts
from imghost.site.survey import survey

ALL = frozenset(KINDS)
WORDS = frozenset({">gal", ">a", "*x", "f(", "#y", "[data-x", "a", "'sha256-a'", ";base-uri a"})
EVERY = Additions(responsive=True, dimensions=True, lazy=True, fallback=True)
WANTED = Wanted(["img/slide-1.png", "a.png", "b/a.png", "x/plot.svg", "a b.jpg", "img/slide-%d.png"])
SIZED = "div.a img{height:1px}.gal{display:flex;flex-direction:column}"


def improved(page: str) -> None:
    found = scan(page, ALL)
    edits = dict.fromkeys(found.references, "https://i.test/x.png")
    sized = HostedImage("", 10, 10, (("https://i.test/a.png", "5w"), ("https://i.test/x.png", "10w")))
    improve(page, found, edits, Improvements(EVERY, dict.fromkeys(edits, sized), all_shaping([SIZED])))


def drawn(text: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg"><style>{escaped}</style></svg>'
    with suppress(NotAnImage):  # most of it is nothing that a drawing may hold
        inspect(drawing.encode("utf-8", "replace"))


SCANS: Mapping[str, Callable[[str], object]] = {
    "page": lambda text: scan(text, ALL),
    "page that scripts work on": lambda text: scan(text, ALL, WORDS),
    "inline script": lambda text: scan(f"<script>{text}</script><img src=a.png>", ALL),
    "style element": lambda text: scan(f"<style>{text}</style><img src=a.png>", ALL),
    "style attribute": lambda text: scan(f"<p style='{text}'><img src=a.png>", ALL),
    "srcset": lambda text: scan(f"<img srcset='{text}'>", ALL),
    "code for an event": lambda text: scan(f"<img onclick='this.src={text}' src=a.png>", ALL),
    "page's policy": lambda text: scan(
        f"<meta http-equiv=content-security-policy content=\"style-src 'sha256-{text}'\"><style>a{{}}</style>", ALL
    ),
    "style sheet": scan_css,
    "character references": lambda text: (decode(text), decode_with_offsets(text, in_text=True)),
    "what loads": loading_text,
    "script": renames_of,
    "selectors": lambda text: (selectors_of(text), selectors_of(text, is_style=True)),
    "sheets of a script": lambda text: list(sheets_of(text)),
    "elements around": lambda text: spans_inside(text, WORDS),
    "calls": lambda text: calls(WORDS, text),
    "improvements": improved,
    "an image's attributes": lambda text: improved(f'<title>x</title><img src=a.png class="{text}" style="{text}">'),
    "additions": lambda text: without_additions(f"data-imghost={text}"),
    "rules": lambda text: all_shaping([text]),
    "a rule's selectors": lambda text: all_shaping([f"{text}{{height:1px}}"]),
    "a rule's declarations": lambda text: all_shaping([f"img{{{text}}}"]),
    "escapes": lambda text: read(text.encode("utf-8", "replace")),
    "names": WANTED.named_in,
    "sealed text": lambda text: (is_sealed_file("a.html", text), is_sealed_file("a.js", text)),
    "policy": lambda text: (blocks([f"img-src {text}"], ["https://i.test/x"]), allows_inline([text], "style-src")),
    "digests": lambda text: admits_by_hash([f"style-src 'sha256-x' {text}"], "abc", "style-src"),
    "address": lambda text: urls.resolve(text, "/x/", urls.place("https://a.test/"), frozenset()),
    "drawing": drawn,
}

PIECES = (
    *("a.png", "'a.png'", '"a.png"', "a.png ", ".png", "*.png", "[.png", "{a.png", "<a.png", "slide-", "slide-%d.png"),
    *(
        "url(",
        "url('",
        'url("',
        "\\",
        "\\\\",
        '"',
        "'",
        "`",
        "<",
        "<<",
        "</",
        "<a ",
        "<img ",
        "<!--",
        "-->",
        "<![CDATA[",
    ),
    *("&", "&#", "&#x", "&#x41;", "&amp;", "&amp", "%", "%25", "%2", "%u", "%u00", "%1d", "\\u002F", "\\u{", "\\x2D"),
    *("(", "[", "{", "((", "[[", "[]", "{}", "()", "[a", "[src", "[src=", "[src='", '[src="a', '[src="a"]', "][", ")"),
    *('[src="a" ', "[src=a ", "[ ", "[src ", "]", "}", "/*", "*/", "/**/", "//", "/", "/a", "/[", "/\\", "\n", "\r\n"),
    *(
        "\t",
        " ",
        ",",
        ";",
        ":",
        "=",
        "==",
        "+",
        '"+',
        "'+",
        "+'",
        '"+n+".png',
        "${",
        "${a}",
        "`${",
        "}`",
        "\\2d ",
        "\\0",
    ),
    *(".src", "a.src", "a.src=b.src;", "x=a.src;", "x.replace(", "f(a.src)", "src:s}=", "{src", "function f(x)", "x=>"),
    *("$('#a')", '$("', ".concat(", "['a','b'].join('')", '["a",', "].join(", "fromCharCode(", "fromCharCode(97,"),
    *("97,", "A", "AAAA", "abcd0123", "A/", "A-_9", "LnBuZ", "2e706e67", "aHR0cDovL", "base64,", "base64,AAAA ", "0"),
    *("\ud83d", "\u00e9", "\ufb01", "\u0130", "\u2028", "\0", "<b class=gal>", "<p class=a>", "</p>", "<div>", "<li>"),
    *("<a href=a.png>", "<style>", "<script>", "<svg>", "<svg><style>", "<title>", "<picture>", "<template>"),
    *("<noscript>", "<base href=a>", "<div hidden>", "<details>", "<summary>", "<link rel=prefetch href=a.png>"),
    *("style=", "style='", "onclick='a.src", " onclick=a.src", "data-", "data-x=", "src=", '"src', "sha256-"),
    *("'sha256-a'", "img-src ; ", "base-uri a;", "https://a.test ", "*.", "crypt", "crypt(", "crypt ", "<div a="),
    *('"iv":"', "decrypt(", "/enc/", 'image:"', "a,", "a{", "a{height:1px}", "a b ", "a>b+c~d ", ":is(a,", ":is(:not("),
    *(":is(", ":not(", ":where(a,b)", ":is(a,b)", "a:is(b,c) ", "@media{", "!important", "min-height:1px;", "margin:"),
    *("margin:0;", "margin:a;x", "flex-flow:", "align-items:x ", "width:", " 2x,", "a 1x, ", "a (", " (", ".", ".."),
    *("../", "./", "#", "?", "-", "_", "@", "x.replace('a'", "\".replace('a',b)", '="a\t', "&Tab;", "&#9", '="a&#9;b'),
)


def seconds(work: Callable[[str], object], text: str) -> float:
    """Measure this process's own time."""
    started = time.process_time()
    work(text)
    return time.process_time() - started


def grows_faster(work: Callable[[str], object], make: Callable[[int], str], length: int) -> str:
    """Say how much longer four times the text takes, where that is clearly more than four times as long."""
    least = [1e9, 1e9]
    for _ in range(5):
        least = [min(was, seconds(work, make(size))) for was, size in zip(least, (length, 4 * length), strict=True)]
        # A square would take 16 times as long; of a few milliseconds a ratio says nothing.
        if least[1] < 0.004 or least[1] < 8 * least[0]:
            return ""
    return f"{least[0]:.4f} s became {least[1]:.4f} s"


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", SCANS)
def test_the_time_for_any_text_grows_with_its_length_alone(name):
    grown = {
        piece: told
        for piece in PIECES
        if (told := grows_faster(SCANS[name], lambda size, piece=piece: piece * (size // len(piece)), 1000))
    }
    assert grown == {}


def of_files(root: Path, name: str) -> Callable[[str], object]:
    """Make what reads a whole site in which a file of this name holds the text."""

    def work(text: str) -> None:
        write(root, {"index.html": "<img src=a.png>", "a.png": b"", name: text.encode("utf-8", "replace")})
        found = survey(root)
        dependents_of(found, read_scripts(found, Scripts()))
        header_policies(root, found.files)
        list(barring(root, found.files, ["https://i.test"]))
        list(stale(root, found.files, ["index.html"]))
        mentions(found, ["a.png"])
        list(texts(found))

    return work


FILES = {
    "own.js": ("a.src=b.src.replace(", "[src='", "{src", "integrity a.css "),
    "own.css": ("[src='", "/*", "'", "url(", "[src=", "\\"),
    "sw.js": ("{url:'a'", "revision:'", '["a","01234567"],', "precache{", "require-corp', "),
    "SHA256SUMS": ("0" * 32 + "  a\n", "SHA256 (", "0", "\\"),
    "_headers": (
        "Content-Security-Policy",
        "Content-Security-Policy: ",
        "Cross-Origin-Embedder-Policy ",
        "value: ",
        "#",
    ),
    "vercel.json": ('"value": "', "Content-Security-Policy value", 'require-corp", ', "'sha256-", "base-uri "),
    "search_index.json": ('{"location":"","text":"', "\\u003c", "image:'a.png'", "<a "),
    "own.svg": ("sodipodi:docname='", "xml:base=", "<image href='a.png'/>", "<!--"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_time_for_any_file_grows_with_its_length_alone(name, tmp_path):
    pieces = FILES[name]
    work = of_files(tmp_path, name)
    grown = {
        piece: told
        for piece in pieces
        if (told := grows_faster(work, lambda size, piece=piece: piece * (size // len(piece)), 4000))
    }
    assert grown == {}
