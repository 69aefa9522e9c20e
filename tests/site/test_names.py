"""What a text names: every spelling of a name, in linear time, and nothing else."""

from __future__ import annotations

import base64
import gzip
import re
import tracemalloc
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sites import write

from imghost.html.uses import loading_text
from imghost.site.names import Wanted, is_sealed, mentions, read, texts, with_hidden
from imghost.site.survey import survey


def names(content: str | bytes, name: str = "slide-1.png", path: str = "app.js") -> bool:
    reading = read(content.encode() if isinstance(content, str) else content, path)
    wanted = Wanted([f"img/{name}", "img/other.png"])
    return any(f"img/{name}" in wanted.named_in(text) for text in reading.texts)


@pytest.mark.parametrize(
    "text",
    [
        "slide-1.png",
        "SLIDE-1.PNG",
        "slide%2D1.png",
        "%73lide-1.png",
        "slide%252D1.png",
        "slide&#45;1.png",
        "slide&#x2d;1.png",
        "slide&amp;#45;1.png",
        r"slide\x2D1.png",
        r"slide\u002D1.png",
        r"slide\u{2d}1.png",
        r"slide\551.png",
        r"slide\2d 1.png",
        r"slide\00002d1.png",
        r"slide\-1.png",
        r"slide\\u002d1.png",
        r"img\slide-1.png",
        r"C:\new\slide-1.png",
        r"https:\/\/docs.test\/img\/slide-1.png",
        "slide-1.png-large",
    ],
)
def test_no_escape_hides_a_name(text):
    assert names(text)


def base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


ADDRESS = "https://img.test/t/slide-1.png"


@pytest.mark.parametrize(
    "text",
    [
        f"https://imgproxy.test/insecure/rs:fit:300:200/{base64url(ADDRESS)}.webp",
        f"https://imgproxy.test/sig/w:9/{'/'.join(re.findall('.{1,7}', base64url(ADDRESS)))}",
        f"https://camo.test/0123abcd/{ADDRESS.encode().hex()}",
        f"/_next/image?url={quote(ADDRESS, safe='')}&amp;w=640",
        f"https://wsrv.nl/?url={ADDRESS.removeprefix('https://')}&w=9",
        f"https://res.cloudinary.test/demo/image/fetch/w_300/{ADDRESS}",
        f"/.netlify/images?url={quote(ADDRESS)}",
        f"data:text/html;base64,{base64.b64encode(f'<p>ä<img src={ADDRESS}>'.encode()).decode()}",
        f"atob('{base64.b64encode(quote(ADDRESS, safe='').encode()).decode()}')",
        base64.b64encode(b"slide-1.png, twelve").decode(),
        base64url(f'{{"u": "/x/{base64url(ADDRESS)}.png"}}'),
        # Without a sign of an address in the letters, only the text around tells what they are.
        f"atob('{base64.b64encode(b'<img src=SLIDE-1.PNG>').decode()}')",
        f"Buffer.from('{base64url('slide%2D1%2Epng')}', 'base64')",
        f"data:text/css;base64,{base64.b64encode(b'p{background:url(slide&#45;1&#46;png)}').decode()}",
    ],
)
@pytest.mark.parametrize("escape", [str, lambda text: text.replace("/", r"\u002F"), lambda text: quote(text, safe="")])
def test_no_proxys_address_hides_a_name(text, escape):
    assert names(escape(text))


@pytest.mark.parametrize(
    "part", [base64url(ADDRESS), base64url(ADDRESS) + "/", ADDRESS.encode().hex(), "LnBuZ", "LnBuZ/", "2e706e67"]
)
def test_what_is_hidden_is_found_in_linear_space(part):
    """Memory stands for time here: both go with what is decoded."""
    sizes = [len(with_hidden(part * (count // len(part)))) for count in (50_000, 100_000)]
    assert sizes[1] < 2.2 * sizes[0] + 100
    assert sizes[1] < 12 * 100_000


@pytest.mark.parametrize("text", ["/enc/" + "A-_9" * 16, f"https://p.test/sig/w:9/enc/{'x' * 43}.png"])
def test_an_address_that_only_a_proxy_can_read_is_a_doubt(tmp_path, text):
    for name in ("index.html", "app.js"):
        (tmp_path / "index.html").write_text("<p>")
        (tmp_path / name).write_text(f'<img src="{text}">')
        assert [problem for _, _, problem in texts(survey(tmp_path)) if problem] == [
            "has an image proxy's encrypted addresses"
        ]
        assert mentions(survey(tmp_path), ["img/a.png"]).doubts
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("name", ["slide-1.png", "bild-ä.png", "図.png"])
def test_no_encoding_hides_a_name(encoding, name):
    assert names(f'<img src="{name}">'.encode(encoding), name)


def test_charset_that_a_page_names_is_read():
    assert names('<meta charset=windows-1251><img src="Схема.png">'.encode("cp1251"), "Схема.png")
    assert names('<img src="café.png">'.encode("latin-1"), "café.png")


def test_packed_text_is_read():
    packed = gzip.compress(b"first ") + gzip.compress(b"slide-1.png")
    assert names(packed, path="page.html.gz")


@pytest.mark.parametrize(
    ("content", "path"),
    [(b"\x1f\x8bbroken", "a.gz"), (b"anything", "page.html.br"), (b"\x28\xb5\x2f\xfd\x00", "page.html")],
)
def test_what_cannot_be_read_says_so(content, path):
    assert read(content, path).problem
    assert not read(content, path).texts


@pytest.mark.parametrize(
    "script",
    [
        '"slide-" + n + ".png"',
        "'img/slide-'+(n+1)+'.png'",
        "`slide-${n}.png`",
        '`slide-${pad(n, "0")}.png`',
        '"slide-".concat(n, ".png")',
        '["slide-", n, ".png"].join("")',
        '"slide-%d.png"',
        '"slide-{n}.png"',
        '"slide-N.png".replace("N", n)',
        '"img/slide-" + n + ending',
        "`img/slide-${n}.${ending}`",
        'name + "-1.png"',
        '"img/" + name + ".png"',
    ],
)
def test_name_that_a_script_puts_together_counts(script):
    assert names(script)


@pytest.mark.parametrize(
    "text",
    [
        "data-slide-1.png",
        "slide-2.png",
        "slide-1.jpg",
        '"slide-" + n + ".js"',
        '"deck-" + n + ".png"',
        '"icons/" + n + ".png"',
        "`a-${n}.svg`",
        '["png", "jpg"]',
        r"x.match(/\.(png|jpg)$/)",
    ],
)
def test_other_names_do_not_count(text):
    assert not names(text)


@settings(deadline=None)
@given(
    st.text(
        st.characters(exclude_characters="/\\\0", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=9
    )
)
@example("%00")
@example("&#45;")
def test_any_name_is_found_in_its_usual_spellings(name):
    from urllib.parse import quote

    for text in (f'"x/{name}.png"', f'"x/{quote(name)}.png"', f'"x/{quote(name, safe="").lower()}.png"'):
        assert names(text, f"{name}.png")


@pytest.mark.long
@pytest.mark.parametrize(
    "piece", ["a.png", '"+n+".png', "\\", "%", "&", "${", "%25", "&#45;", "\\2d ", "[.png", "*.png", "{a.png"]
)
def test_memory_for_any_text_is_a_few_times_its_own(piece):
    text = piece * (200_000 // len(piece))
    tracemalloc.start()
    names(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(text)


@pytest.mark.parametrize(
    "page",
    [
        "<p>see slide-1.png</p>",
        "<p><code>img/slide-1.png</code></p>",
        '<img alt="slide-1.png" src="x.png">',
        "<img alt='slide-1.png' src=x.png>",
        "<img alt=slide-1.png src=x.png>",
        '<a title="slide-1.png" href="x.html">x</a>',
        '<meta name="description" content="slide-1.png">',
        "<title>slide-1.png</title>",
        "<pre>&lt;img src=slide-1.png&gt;</pre>",
    ],
)
def test_prose_and_texts_for_readers_load_nothing(page):
    assert not names(loading_text(page))


@pytest.mark.parametrize(
    "page",
    [
        '<img src="slide-1.png">',
        "<img src=slide-1.png>",
        '<p data-frame="slide-1.png">x</p>',
        "<script>f('slide-1.png')</script>",
        "<style>p{background:url(slide-1.png)}</style>",
        "<noscript><img src=slide-1.png></noscript>",
        "<template><p>slide-1.png</p></template>",
        '<pre class="mermaid">A[slide-1.png]</pre>',
        '<my-gallery>["slide-1.png"]</my-gallery>',
        "<!-- slide-1.png -->",
        "<p onclick=\"f('slide-1.png')\">x</p>",
        '<meta property="og:image" content="slide-1.png">',
        '{"image": "slide-1.png"}',
        "<p>a < b</p><img src='slide-1.png",
        "slide-1.png",
    ],
)
def test_what_may_load_a_file_stays(page):
    assert names(loading_text(page))


SECRET = "pO0q" + "Z9x+/Qw1" * 20


@pytest.mark.parametrize(
    ("page", "sealed"),
    [
        (f'<div id="mkdocs-encrypted-content">{SECRET}</div><script>decrypt()</script>', True),
        (f"<pre hidden>{SECRET}</pre><script>crypto.subtle.decrypt(a)</script>", True),
        (f"<script>var c='{'8f3ac0' * 30}';CryptoJS.AES.decrypt(c)</script>", True),
        (f"<h2 id=encryption>On keys</h2><p>{SECRET}</p>", False),
        ("<div id=encrypted>nothing</div><script>decrypt()</script>", False),
        (f'<script>decrypt()</script><img src="data:image/png;base64,{SECRET}">', False),
    ],
)
def test_page_that_only_a_password_opens_is_known(page, sealed):
    assert is_sealed(page) is sealed


SECRET_BYTES = base64.b64encode(bytes(range(128, 256))).decode()
USES: dict[str, dict[str, str | bytes]] = {
    "two literals": {"x.js": "i.src='sli'+'de-1.png'"},
    "an ending apart": {"x.js": "i.src='slide-1.'+\"png\""},
    "many literals": {"x.js": "i.src='img/'+'slide'+'-'+n+'.'+'png'"},
    "a list of literals": {"x.js": "i.src=['slide-1','png'].join('.')"},
    "a list with a number": {"x.js": "i.src=['slide',n].join('-')+'.png'"},
    "an ending that varies": {"x.js": "i.src=`slide${sep}${n}.${ext}`"},
    "a format with zeros": {"x.js": "sprintf('slide-%02d.png',n)"},
    "a template with two braces": {"x.js": "t='slide-{{n}}.png'"},
    "base64 in a script": {"x.js": f"i.src=atob('{base64.b64encode(b'img/slide-1.png').decode()}')"},
    "base64 in an address": {
        "p.html": f'<iframe src="data:text/html;base64,{base64.b64encode(b"<img src=/slide-1.png>").decode()}">'
    },
    "a page in an attribute": {"d/p.html": '<iframe srcdoc="&lt;img src=&quot;slide-1.png&quot;&gt;"></iframe>'},
    "quotes in an attribute": {"d/p.html": '<p style="--x:url(&quot;slide-1.png&quot;)">'},
    "letters' numbers": {"x.js": f"i.src=String.fromCharCode({','.join(str(ord(one)) for one in 'slide-1.png')})"},
    "escape of old": {"x.js": "i.src=unescape('slide%u002d1.png')"},
    "a line's end in an address": {"p.html": '<div data-x="img/sli\nde-1.png">'},
    "a tab in an address": {"p.html": '<object data="img/sli&Tab;de-1.png">'},
    "packed twice": {"x.json.gz": gzip.compress(gzip.compress(b'["slide-1.png"]'))},
    "a drawing, packed": {"x.svgz": gzip.compress(b'<svg><image href="slide-1.png"/></svg>')},
    "a drawing's style": {"x.svg": "<svg><style><![CDATA[a{fill:url(slide-1.png)}]]></style></svg>"},
    "a drawing's entity": {"x.svg": '<!DOCTYPE svg [<!ENTITY a "slide-1.png">]><svg><image href="&a;"/></svg>'},
    "a program's strings": {"x.wasm": b"\0asm\1\0\0\0slide-1.png\0"},
    "a sealed table": {"c.json": f'{{"iv":"q83vEjRWeJA","salt":"abc","ct":"{SECRET_BYTES}"}}'},
    "a sealed script": {"d.js": f'var enc="{SECRET_BYTES}";document.write(CryptoJS.AES.decrypt(enc,p))'},
    "a picture of a find": {"search.json": '[{"title":"x","image":"img/slide-1.png","text":"y"}]'},
    "markup in an index": {"search/search_index.json": '{"docs":[{"text":"\\u003cimg src=\\"slide-1.png\\"\\u003e"}]}'},
    "a feed, escaped": {"atom.xml": "<feed><content>&lt;img src=&quot;slide&amp;#45;1.png&quot;&gt;</content></feed>"},
}
NO_USES: dict[str, dict[str, str | bytes]] = {
    "markup that is shown": {"p.html": "<pre>&lt;img src=&quot;img/slide-1.png&quot;&gt;</pre>"},
    "a lightbox's texts": {
        "p.html": '<a data-title="slide-1.png" data-description="of slide-1.png" data-caption="slide-1.png" href=x.html>'
    },
    "a tooltip": {"p.html": '<a data-bs-original-title="slide-1.png" data-tooltip="slide-1.png" href=x.html>x</a>'},
    "an anchor": {
        "p.html": '<h2 id="slide-1.png">x</h2><a href="#slide-1.png">x</a><a href="o.html#slide-1.png">x</a>'
    },
    "Quarto's index": {"search.json": '[{"href":"a.html","title":"slide-1.png","text":"see slide-1.png"}]'},
    "Just the Docs' index": {"assets/js/search-data.json": '{"0":{"content":"see slide-1.png"}}'},
    "Docusaurus' index": {"lunr-index.json": '{"a":["slide-1.png"]}', "search-doc-17.json": '{"a":["slide-1.png"]}'},
    "Pelican's index": {"tipuesearch_content.js": 'var tipuesearch={"pages":[{"text":"see slide-1.png"}]}'},
    "Hexo's index": {"search.xml": "<search><entry><content>see slide-1.png</content></entry></search>"},
    "an escaped sample in an index": {"search/search_index.json": '{"docs":[{"text":"&lt;img src=slide-1.png&gt;"}]}'},
    "copies of sources": {"_sources/index.rst": ".. image:: slide-1.png", "_sources/nb.ipynb": '"slide-1.png"'},
    "a drawing's texts": {
        "x.svg": "<svg><title>slide-1.png</title><desc>slide-1.png</desc><text>slide-1.png</text></svg>"
    },
    "a drawing's origin": {
        "x.svg": "<svg inkscape:export-filename='/home/me/slide-1.png'><metadata>slide-1.png</metadata></svg>"
    },
    "a debugger's map": {
        "x.css.map": '{"sourcesContent":["url(slide-1.png)"]}',
        "x.js.map": '{"sources":["slide-1.png"]}',
    },
}


@pytest.mark.parametrize(
    ("files", "is_kept"),
    [*((files, True) for files in USES.values()), *((files, False) for files in NO_USES.values())],
    ids=[*USES, *NO_USES],
)
def test_copy_stays_where_a_file_uses_it_and_only_there(files, is_kept, tmp_path):
    who = mentions(survey(write(tmp_path, {"img/slide-1.png": b"x", **files})), ["img/slide-1.png"])
    assert bool(who.doubts or who.named) is is_kept
