"""What an audit finds in a built site: which images lack a text, which files are missing, unused, twins, too large."""

from __future__ import annotations

import hashlib
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from sites import picture, write

from imghost.run.audit import Audit, HostedCopy, audit, look, nearest_file, slimmed, what_metadata_tells

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def audited(site: Path, files: dict[str, str | bytes], **more: object) -> Audit:
    return audit(write(site, files), now=NOW, **more)  # type: ignore[arg-type]


def found(audit: Audit, kind: str) -> list[str]:
    return [finding.paths[0] for finding in audit.findings if finding.kind == kind]


def why(html: str) -> list[str]:
    """Say of each image of a page why its text is missing; empty where nothing is wrong."""
    return [image.lacks_text for image in look("index.html", html).shown]


NONE_IS_MEANT = {
    "it has a text": '<img src=a.png alt="A chart">',
    "decoration (H67)": '<img src=a.png alt="">',
    "decoration without a value": "<img src=a.png alt>",
    "named by ARIA": '<img src=a.png aria-label="A chart">',
    "named by another element": '<b id=x>Chart</b><img src=a.png aria-labelledby="x">',
    "role presentation": "<img src=a.png role=presentation>",
    "role none among others": '<img src=a.png role="none presentation">',
    "hidden from readers": '<img src=a.png aria-hidden="true">',
    "inside what is hidden from readers": "<div aria-hidden=true><div><p><img src=a.png></p></div></div>",
    "not shown": "<img src=a.png hidden>",
    "inside what is not shown": "<section hidden><img src=a.png></section>",
    "not shown by its style": '<img src=a.png style="width: 3px; display:none">',
    "a title (HTML: contents not known)": '<img src=a.png title="From the webcam">',
    "a figure with a caption": "<figure><img src=a.png><figcaption>A chart</figcaption></figure>",
    "an empty alt in a figure with a caption": (
        '<figure><a href=b.html><img src=a.png alt=""></a><figcaption>A chart</figcaption></figure>'
    ),
    "one pixel that counts visits": "<img src=a.png width=1 height=1>",
    "a link with its own words": '<a href=b.html><img src=a.png alt=""> Chart</a>',
    "a link with a label": '<a href=b.html aria-label="Chart"><img src=a.png alt=""></a>',
    "a link with a title": '<a href=b.html title="Chart"><img src=a.png alt=""></a>',
    "a link whose drawing has a name": '<a href=b.html><svg><title>Chart</title></svg><img src=a.png alt=""></a>',
    "a link whose other image has a text": '<a href=b.html><img src=a.png alt=""><img src=c.png alt="Chart"></a>',
    "a link that is no link": '<a name=x><img src=a.png alt=""></a>',
    "an image button with a text": '<input type=image src=a.png alt="Search">',
    "a template that a script fills in": "<template><img src=a.png></template>",
    "a place that a script fills in": '<img src="{{ url }}"><img src="${url}">',
    "no image yet": "<img id=lightbox>",
    "in a comment": "<!-- <img src=a.png> -->",
    "in a script": "<script>x = '<img src=a.png>'</script>",
    "in a text area": "<textarea><img src=a.png></textarea>",
    "an input that is no image": "<input type=text src=a.png>",
    "a text that only ends like a file": '<img src=a.png alt="Edit the file mkdocs.yml">',
}


@pytest.mark.parametrize("html", NONE_IS_MEANT.values(), ids=NONE_IS_MEANT)
def test_no_text_is_missing_where_none_is_meant_or_one_is_there(html):
    assert [reason for reason in why(f"<p>{html}</p>") if reason] == []


MISSING = {
    "F65: no alt": ("<img src=a.png>", "has none"),
    "F65: beside a hidden neighbour": ("<i hidden>x</i><img src=a.png>", "has none"),
    "after what is hidden has ended": ("<div hidden><div>x</div></div><img src=a.png>", "has none"),
    "aria-hidden that is not true": ("<img src=a.png aria-hidden=false>", "has none"),
    "an empty label": ('<img src=a.png aria-label="">', "has none"),
    "another role": ("<img src=a.png role=img>", "has none"),
    "in a figure without a caption": ("<figure><img src=a.png></figure>", "has none"),
    "in a figure with an empty caption": ("<figure><img src=a.png><figcaption> </figcaption></figure>", "has none"),
    "one of two in a figure": (
        '<figure><img src=a.png><img src=b.png alt="B"><figcaption>Both</figcaption></figure>',
        "has none",
    ),
    "F30: its own path": ('<img src="_images/a.png" alt="_images/a.png">', "has its own file name for one"),
    "F30: its own name": ('<img src="../img/a%20b.png" alt="a b.png">', "has its own file name for one"),
    "F89: all of a link": (
        '<a href=b.html><img src=a.png alt=""></a>',
        "has an empty alternative text and is all that its link has",
    ),
    "F89: all of a button": (
        "<button><img src=a.png alt></button>",
        "has an empty alternative text and is all that its link has",
    ),
    "H36: an image button": ("<input type=image src=a.png>", "is a button without an alternative text"),
    "in a picture": ("<picture><source srcset=a.webp><img src=a.png></picture>", "has none"),
    "for browsers without scripts": ("<noscript><img src=a.png></noscript>", "has none"),
    "lazily loaded": ("<img data-src=a.png>", "has none"),
    "single quotes and capitals": ("<IMG SRC='a.png'>", "has none"),
    "in a table without end tags": ("<table><tr><td hidden>x</td><td><img src=a.png></table>", "has none"),
}


@pytest.mark.parametrize(("html", "reason"), MISSING.values(), ids=MISSING)
def test_text_is_missing(html, reason):
    assert [said for said in why(f"<p>{html}</p>") if said] == [reason]


def test_lines_are_those_of_the_page():
    page = (
        "<!doctype html>\n<script>\n\n</script>\n<svg>\n<path/>\n</svg><!--\n-->\n<p\nclass=a>text\n"
        '<a href="x">\nlink</a>\n<img\nsrc=a.png></p>\n<img src=b.png alt=b>\n'
    )
    lines = page.split("\n")
    read = look("index.html", page)
    assert [(image.url, image.line) for image in read.shown] == [
        ("a.png", 1 + lines.index("<img")),
        ("b.png", 1 + lines.index("<img src=b.png alt=b>")),
    ]
    assert [named.line for named in read.named] == [1 + lines.index("src=a.png></p>"), 1 + len(lines) - 2]


pieces = st.sampled_from(
    [
        "<p>",
        "</p>",
        "<div hidden>",
        "</div>",
        "<img src=a.png>",
        "<img src=b.png alt=x>",
        "\n",
        "text",
        "<",
        ">",
        '"',
        "<a href=x>",
        "<a\nhref=x>",
        "<i\nhidden>",
        "<img\nsrc=a.png>",
        "</a>",
        "<figure>",
        "</figure>",
        "<figcaption>",
        "</figcaption>",
        "<!--",
        "-->",
        "<svg>",
        "</svg>",
        "<script>",
        "</script>",
        "<span aria-hidden=true>",
        "</span>",
        "<picture>",
        "<source srcset='a 1x'>",
        "&amp;",
        "=",
        "<title>",
        "</title>",
        "'",
        "<img",
        "é",
        "\0",
    ]
)


@example("<a\nhref=x>text</a>\n<img src=a.png>")
@given(st.lists(pieces, max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_slimming_keeps_every_line_and_no_page_is_too_odd(page):
    assert slimmed(page).count("\n") == page.count("\n")
    for image in look("a.html", page).shown:
        assert 1 <= image.line <= page.count("\n") + 1


ODD = ("<script>", "<!--", "<svg>", "<svg", "<a href=", '<a href="/edit/', "<a>", "<b <", "< ", "<div hidden>", "<title>< ",
       "<img ", "<p hidden", '<i style="', "<figure>", "<style", "&lt;", "<a x='")  # fmt: skip


@pytest.mark.sampled(7)
@pytest.mark.parametrize("piece", ODD)
def test_no_page_is_searched_twice(piece):
    """A search that began again at each piece would take hours, and end this test."""
    page = piece * (1_000_000 // len(piece))
    assert slimmed(page).count("\n") == 0
    list(_edits(page))


def _edits(page: str) -> tuple[str, ...]:
    return look("a.html", page[:200_000]).edit_links


class TestBroken:
    def test_missing_file_is_told_once_with_the_one_that_was_meant(self, tmp_path):
        site = {
            "guide/index.html": '\n<p><img src="../img/setup-wizard.png" alt=x>',
            "more/index.html": '<img src="../img/setup-wizard.png?v=2#top" alt=x>',
            "img/setup-wizzard.png": picture(),
        }
        [finding] = [one for one in audited(tmp_path, site).findings if one.kind == "broken"]
        assert finding.paths == ("img/setup-wizard.png",)
        assert finding.text == "../img/setup-wizard.png is not in the site"
        assert finding.remedy == "there is img/setup-wizzard.png"
        assert [(place.page, place.line) for place in finding.places] == [
            ("guide/index.html", 2),
            ("more/index.html", 1),
        ]

    @pytest.mark.parametrize(
        "html",
        [
            '<img src="gone.png" alt=x>',
            '<img src="there.png" srcset="gone.png 2x" alt=x>',
            '<picture><source srcset="gone.png"><img src="there.png" alt=x></picture>',
            '<video poster="gone.png"></video>',
            '<a href="gone.png">picture</a>',
            '<link rel="icon" href="gone.png">',
            '<link rel="preload" as="image" href="gone.png">',
            '<svg><image href="gone.png"/></svg>',
            '<input type="image" src="gone.png" alt=x>',
            '<object data="gone.png"></object>',
            '<noscript><img src="gone.png" alt=x></noscript>',
            '<img src="./a/../gone.png" alt=x>',
            '<img src="gone%2Epng" alt=x>',
        ],
    )
    def test_every_kind_of_reference_counts(self, tmp_path, html):
        assert found(audited(tmp_path, {"index.html": html, "there.png": picture()}), "broken") == ["gone.png"]

    @pytest.mark.parametrize(
        "html",
        [
            '<img src="there.png" alt=x>',
            '<img src="https://example.org/gone.png" alt=x>',
            '<img src="//example.org/gone.png" alt=x>',
            '<img src="data:image/png;base64,AAAA" alt=x>',
            '<img src="{{ page.image }}.png" alt=x>',
            '<img src="${name}.png" alt=x>',
            '<img data-src="gone.png" alt=x>',
            "<style>h1 { background: url(gone.png) }</style>",
            '<img src="../../other/language/gone.png" alt=x>',
            '<img src="/gone.png" alt=x>',
            '<img src="" alt=x>',
            "<script>'<img src=gone.png>'</script>",
            "<pre>&lt;img src=gone.png&gt;</pre>",
        ],
    )
    def test_what_is_not_the_sites_or_fetched_later_is_nobodys_fault(self, tmp_path, html):
        assert found(audited(tmp_path, {"index.html": html, "there.png": picture()}), "broken") == []

    def test_site_url_tells_what_begins_at_the_root(self, tmp_path):
        site = {"404.html": '<img src="/docs/gone.png" alt=x><img src="/other/gone.png" alt=x>'}
        assert found(audited(tmp_path, site, site_url="https://example.org/docs/"), "broken") == ["gone.png"]

    def test_site_that_names_its_files_from_the_root_lives_at_the_root(self, tmp_path):
        site = {"index.html": '<link href="/a.css"><script src="/b.js"></script><img src="/gone.png" alt=x>',
                "a.css": "", "b.js": ""}  # fmt: skip
        audit = audited(tmp_path, site)
        assert found(audit, "broken") == ["gone.png"]
        assert audit.remarks == ()

    def test_what_could_not_be_judged_is_told(self, tmp_path):
        site = {"index.html": '<link href="/base/a.css"><img src="/base/gone.png" alt=x>', "a.css": ""}
        audit = audited(tmp_path, site)
        assert found(audit, "broken") == []
        [remark] = audit.remarks
        assert remark == (
            "1 reference that begins with / could not be judged, such as /base/gone.png; "
            "set 'site_url' to where the site will live"
        )

    def test_social_image_is_looked_for_at_the_root_too(self, tmp_path):
        site = {
            "a/index.html": '<meta property="og:image" content="card.png"><meta property="og:image" content="gone.png">'
            '<meta property="og:image" content="https://example.org/gone.png">',
            "card.png": picture(),
        }
        assert found(audited(tmp_path, site, site_url="https://example.org/"), "broken") == ["gone.png"]

    def test_base_is_followed(self, tmp_path):
        site = {"a/b.html": '<base href="../img/"><img src="there.png" alt=x><img src="gone.png" alt=x>',
                "img/there.png": picture()}  # fmt: skip
        assert found(audited(tmp_path, site), "broken") == ["img/gone.png"]

    @pytest.mark.parametrize(
        ("policy", "base", "broken"),
        [
            ("base-uri 'none'", "img/", ["there.png"]),
            ("base-uri 'self'", "img/", ["img/gone.png"]),
            ("base-uri 'self'", "https://elsewhere.test/img/", ["there.png"]),
            ("base-uri https://docs.test/img/", "/img/", ["img/gone.png"]),
            ("base-uri https://docs.test/other/", "/img/", ["there.png"]),
            ("img-src *; default-src 'none'", "img/", ["img/gone.png"]),
        ],
    )
    def test_a_base_that_the_pages_policy_forbids_counts_as_none(self, policy, base, broken, tmp_path):
        page = f"<meta http-equiv=Content-Security-Policy content=\"{policy}\"><base href='{base}'>"
        images = "<img src='there.png' alt=x><img src='gone.png' alt=x>"
        site = {"index.html": page + images, "img/there.png": picture(1), "gone.png": picture(2)}
        assert found(audited(tmp_path, site, site_url="https://docs.test/"), "broken") == broken

    @pytest.mark.parametrize("policy", ["base-uri 'none'", "base-uri https://docs.test"])
    def test_of_a_base_that_nobody_can_judge_only_what_all_policies_forbid_is_judged(self, policy, tmp_path):
        page = (
            f"<meta http-equiv=Content-Security-Policy content=\"{policy}\"><base href='img/'><img src=gone.png alt=x>"
        )
        assert found(audited(tmp_path, {"index.html": page}), "broken") == ["gone.png"] * ("none" in policy)

    @pytest.mark.parametrize(
        ("policy", "base", "broken"),
        [
            ("base-uri 'none'", "img/", ["img/gone.png"]),
            ("base-uri 'self'", "https://docs.test/img/", ["img/gone.png"]),
            ("base-uri https://docs.test", "https://docs.test/img/", ["img/gone.png", "img/root.png"]),
            ("base-uri 'none'", "https://elsewhere.test/", []),
            ("img-src 'none'", "img/", ["img/gone.png", "img/root.png"]),
        ],
    )
    def test_what_a_servers_policy_may_mean_either_way_is_missing_where_it_is_neither(
        self, policy, base, broken, tmp_path
    ):
        names = ("there", "root", "gone")
        site = {
            "index.html": f"<base href='{base}'>" + "".join(f"<img src='{name}.png' alt=x>" for name in names),
            "_headers": f"/x/*\n  Content-Security-Policy: {policy}\n",
            "img/there.png": picture(1),
            "root.png": picture(2),
        }
        assert found(audited(tmp_path, site, site_url="https://docs.test/"), "broken") == broken

    def test_what_stands_before_the_base_may_lie_beside_the_page(self, tmp_path):
        page = "<img src=root.png alt=x><img src=gone.png alt=x><base href='img/'><img src=there.png alt=x>"
        site = {"index.html": page, "img/there.png": picture(1), "root.png": picture(2)}
        assert found(audited(tmp_path, site), "broken") == ["img/gone.png"]

    @pytest.mark.parametrize(
        ("path", "near"),
        [
            ("img/Logo.png", "img/logo.png"),
            ("img/lgoo.png", "img/logo.png"),
            ("logo.png", "img/logo.png"),
            ("img/banner.png", ""),
            ("img/lo.png", "img/logo.png"),
        ],
    )
    def test_guess_is_two_letters_away_at_most_or_of_the_same_name(self, path, near):
        assert nearest_file(path, ["img/logo.png", "img/diagram.svg", "x/other.png"]) == near


class TestFiles:
    def test_unused_are_those_that_no_text_names(self, tmp_path):
        site = {
            "index.html": '<img src="a.png" alt=x><script src="app.js"></script>',
            "app.js": "const open = 'b.png'",
            "a.png": picture(1), "b.png": picture(2), "old/c.png": picture(3), "favicon.png": picture(4),
        }  # fmt: skip
        assert found(audited(tmp_path, site), "unused") == ["old/c.png"]

    def test_what_sphinx_themes_bring_is_nobodys_to_delete(self, tmp_path):
        site = {"index.html": "", "objects.inv": b"", "_static/plus.png": picture(1), "_images/c.png": picture(2)}
        assert found(audited(tmp_path, site), "unused") == ["_images/c.png"]

    def test_twins_have_the_same_bytes(self, tmp_path):
        site = {"index.html": "<img src=a.png alt=x><img src=b/a.png alt=x><img src=c.png alt=x>",
                "a.png": picture(1), "b/a.png": picture(1), "c.png": picture(2)}  # fmt: skip
        [finding] = [one for one in audited(tmp_path, site).findings if one.kind == "twin"]
        assert finding.paths == ("a.png", "b/a.png")
        assert finding.text == "b/a.png has the bytes of a.png"

    def test_copy_that_the_directory_host_made_is_no_twin(self, tmp_path):
        content = picture(1)
        copy = f"_imghost/{hashlib.sha256(content).hexdigest()[:32]}.png"
        site = {"index.html": f"<img src={copy} alt=x><img src=a.png alt=x>", copy: content, "a.png": content}
        assert found(audited(tmp_path, site), "twin") == []

    def test_file_that_is_no_image_is_none_of_these(self, tmp_path):
        assert audited(tmp_path, {"index.html": "<img src=a.png alt=x>", "a.png": b"no image"}).findings == ()


class TestLarge:
    def site(self, html: str, size: tuple[int, int] = (900, 600)) -> dict[str, str | bytes]:
        noise = Picture.effect_noise(size, 90).convert("RGB")
        stream = io.BytesIO()
        noise.save(stream, "PNG")
        return {"index.html": html, "a.png": stream.getvalue(), "b.html": ""}

    @pytest.mark.parametrize(
        ("html", "text"),
        [
            ("<img src=a.png width=300 alt=x>", "900 px wide, shown at 300 px in 1 page"),
            ("<img src=a.png width=300px alt=x>", "900 px wide, shown at 300 px in 1 page"),
            ('<img src=a.png style="width: 100px" alt=x>', "900 px wide, shown at 100 px in 1 page"),
            ("<img src=a.png height=20 alt=x>", "600 px high, shown at 20 px in 1 page"),
            (
                "<img src=a.png width=100 alt=x><img src=a.png width=250 alt=x>",
                "900 px wide, shown at 250 px in 1 page",
            ),
            ("<a href=b.html><img src=a.png width=90 alt=x></a>", "900 px wide, shown at 90 px in 1 page"),
        ],
    )
    def test_three_times_as_wide_as_shown_is_too_much(self, tmp_path, html, text):
        [finding] = [one for one in audited(tmp_path, self.site(html)).findings if one.kind == "large"]
        assert finding.text == text

    @pytest.mark.parametrize(
        "html",
        [
            "<img src=a.png alt=x>",
            "<img src=a.png width=100% alt=x>",
            "<img src=a.png width=301 alt=x>",
            "<img src=a.png width=100 alt=x><img src=a.png alt=x>",
            '<img src=a.png style="max-width: 100px" alt=x>',
            '<img src=a.png srcset="s.png 300w, a.png 900w" width=100 alt=x>',
            '<img src=s.png srcset="a.png 3x" width=300 alt=x>',
            "<a href=a.png><img src=a.png width=100 alt=x></a>",
        ],
    )
    def test_where_the_page_does_not_tell_or_the_whole_is_wanted_nothing_is_said(self, tmp_path, html):
        assert found(audited(tmp_path, self.site(html) | {"s.png": picture(3, (300, 200))}), "large") == []

    def test_light_files_are_not_worth_a_word(self, tmp_path):
        site = {"index.html": "<img src=a.png width=10 alt=x>", "a.png": picture(1, (90, 60))}
        assert len(site["a.png"]) < 14_600
        assert found(audited(tmp_path, site), "large") == []


def with_exif(form: str, **tags: object) -> bytes:
    exif = Picture.Exif()
    exif[0x0131] = "a program"
    if "artist" in tags:
        exif[0x013B] = tags["artist"]
    if "gps" in tags:
        exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    if "camera" in tags:
        exif[0x010F] = tags["camera"]
    stream = io.BytesIO()
    Picture.new("RGB", (20, 20), "red").save(stream, form, exif=exif)
    return stream.getvalue()


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description>%s</rdf:Description></x:xmpmeta>'


class TestMetadata:
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize(
        ("tags", "told"),
        [
            ({"gps": True}, ["a place"]),
            ({"artist": "Jane Doe"}, ["a person"]),
            ({"gps": True, "artist": "Jane Doe"}, ["a place", "a person"]),
            ({"camera": "Pinhole"}, []),
            ({"artist": "  "}, []),
        ],
    )
    def test_exif_tells(self, form, tags, told):
        assert what_metadata_tells(with_exif(form, **tags)) == told

    def test_xmp_and_png_texts_tell(self):
        from PIL.PngImagePlugin import PngInfo

        def png(**texts: str) -> bytes:
            info, stream = PngInfo(), io.BytesIO()
            for key, text in texts.items():
                info.add_text(key, text)
            Picture.new("RGB", (20, 20)).save(stream, "PNG", pnginfo=info)
            return stream.getvalue()

        def jpeg(xmp: bytes) -> bytes:
            stream = io.BytesIO()
            Picture.new("RGB", (20, 20)).save(stream, "JPEG", xmp=XMP % xmp)
            return stream.getvalue()

        assert what_metadata_tells(png(Author="Jane Doe")) == ["a person"]
        assert what_metadata_tells(png(Software="Matplotlib")) == []
        assert what_metadata_tells(jpeg(b"<exif:GPSLatitude>52,31N</exif:GPSLatitude>")) == ["a place"]
        creator = b"<dc:creator><rdf:Seq><rdf:li>%s</rdf:li></rdf:Seq></dc:creator>"
        assert what_metadata_tells(jpeg(creator % b"Jane")) == ["a person"]
        assert what_metadata_tells(jpeg(creator % b"")) == []

    def test_file_of_the_site_is_told(self, tmp_path):
        site = {"index.html": "<img src=a.jpg alt=x>", "a.jpg": with_exif("JPEG", gps=True)}
        [finding] = audited(tmp_path, site).findings
        assert (finding.kind, finding.paths, finding.text) == ("metadata", ("a.jpg",), "tells a place")

    @given(st.binary(max_size=400))
    @settings(max_examples=100, deadline=None)
    def test_no_content_is_too_odd(self, content):
        what_metadata_tells(b"\x89PNG\r\n\x1a\n" + content)
        what_metadata_tells(b"\xff\xd8\xff\xe1" + content)


class TestHosted:
    URL = "https://i.example.org/abc.png"

    def test_hosted_image_is_judged_by_its_record(self, tmp_path):
        copy = HostedCopy("img/a.png", 800_000, 1600, 900, NOW + timedelta(days=9), is_expiring=True)
        site = {"index.html": f'\n<img src="{self.URL}" width="400"><img src="{self.URL}#only-dark" width="400">'}
        audit = audited(tmp_path, site, hosted={self.URL: copy})
        told = {finding.kind: finding for finding in audit.findings}
        assert told.keys() == {"alt", "expiring", "large"}
        assert told["alt"].text == "img/a.png has none"
        assert told["expiring"].text == "lives until 2026-12-07, in 9 days"
        assert told["large"].text == "1,600 px wide, shown at 400 px in 1 page"
        assert [place.line for place in told["expiring"].places] == [2, 2]

    @pytest.mark.parametrize(
        ("alt", "count"), [("img/a.png", 1), ("../img/a.png", 1), ("a.png", 1), ("img/b.png", 0), ("A chart", 0)]
    )
    def test_hosted_image_that_has_its_old_name_for_a_text_has_none(self, tmp_path, alt, count):
        copy = HostedCopy("img/a.png", 9, 4, 4)
        html = f'<img src="{self.URL}" alt="{alt}"><figure><img src="{self.URL}" alt="{alt}"><figcaption>A</figcaption></figure>'
        findings = audited(tmp_path, {"x/index.html": html}, hosted={self.URL: copy}).findings
        assert [len(finding.places) for finding in findings] == [1] * count

    def test_directory_hosts_file_is_judged_by_its_record(self, tmp_path):
        copy = HostedCopy("img/a.png", 9, 4, 4)
        site = {"x/index.html": '<img src="../_imghost/abc.png">', "_imghost/abc.png": picture()}
        audit = audited(tmp_path, site, hosted={"_imghost/abc.png": copy})
        assert [finding.text for finding in audit.findings] == ["img/a.png has none"]

    def test_what_the_directory_host_collected_is_known_by_its_digest(self, tmp_path):
        """Its records are its files: no lock tells which images of the site they are."""
        digest = hashlib.sha256(picture(1)).hexdigest()[:32]
        html = f'<img src="../_imghost/{digest}-strip.png#only-dark" alt="img/a.png">'
        site = {"x/index.html": html, "img/a.png": picture(1), "img/b.png": picture(2)}
        site[f"_imghost/{digest}-strip.png"] = picture(3)
        audit = audited(tmp_path, site)
        assert [finding.text for finding in audit.findings if finding.kind == "alt"] == [
            "img/a.png has its own file name for one"
        ]
        assert found(audit, "unused") == ["img/b.png"]

    def test_local_copy_of_a_hosted_image_is_not_unused(self, tmp_path):
        import hashlib

        digest = hashlib.sha256(picture(1)).hexdigest()
        copy = HostedCopy("a.png", 9, 40, 30, sha256=digest)
        site = {"index.html": f'<img src="{self.URL}" alt=x>', "a.png": picture(1), "b.png": picture(2)}
        assert found(audited(tmp_path, site, hosted={self.URL: copy}), "unused") == ["b.png"]


class TestSources:
    SITE: ClassVar = {"guide/install/index.html": '<h1>x</h1>\n<img src="../../img/gone.png" alt=x>'}

    def test_path_of_the_page_tells_the_source(self, tmp_path):
        write(tmp_path, {"docs/guide/install.md": "# Install\n\ntext\n\n![x](../img/gone.png)\n"})
        [finding] = audited(tmp_path / "site", self.SITE, folder=tmp_path).findings
        assert (finding.places[0].source, finding.places[0].source_line) == ("docs/guide/install.md", 5)

    def test_link_to_edit_the_page_tells_the_source(self, tmp_path):
        write(tmp_path, {"handbook/en/guide/install.md": "![x](../img/gone.png)\n"})
        link = '<a href="https://github.com/a/b/edit/main/handbook/en/guide/install.md" rel="edit">Edit</a>'
        site = {path: text + link for path, text in self.SITE.items()}
        [finding] = audited(tmp_path / "site", site, folder=tmp_path).findings
        assert (finding.places[0].source, finding.places[0].source_line) == ("handbook/en/guide/install.md", 1)

    def test_sphinx_copies_tell_the_source(self, tmp_path):
        text = "Title\n=====\n\n.. image:: gone.png\n"
        write(tmp_path, {"docs/source/a.rst": text, "docs/source/a.md": "gone.png"})
        site = {"a.html": '<img src="_images/gone.png" alt=x>', "_sources/a.rst.txt": text}
        [finding] = audited(tmp_path / "site", site, folder=tmp_path).findings
        assert (finding.places[0].source, finding.places[0].source_line) == ("docs/source/a.rst", 4)

    def test_source_that_does_not_name_the_file_is_not_it(self, tmp_path):
        write(tmp_path, {"docs/guide/install.md": "nothing of the kind"})
        [finding] = audited(tmp_path / "site", self.SITE, folder=tmp_path).findings
        assert (finding.places[0].source, finding.places[0].page) == ("", "guide/install/index.html")

    def test_link_cannot_lead_out_of_the_project(self, tmp_path):
        write(tmp_path, {"install.md": "gone.png", "project/x": ""})
        link = '<a href="https://x.org/a/edit/main/../../install.md">Edit</a>'
        site = {path: text + link for path, text in self.SITE.items()}
        [finding] = audited(tmp_path / "project/site", site, folder=tmp_path / "project").findings
        assert finding.places[0].source == ""


def test_several_processes_find_the_same(tmp_path):
    pages = {f"p{n}.html": f'<img src="a{n % 7}.png" alt=x><img src="gone{n}.png">' for n in range(240)}
    site = write(tmp_path, {**pages, **{f"a{n}.png": picture(n) for n in range(5)}})
    assert audit(site, now=NOW, workers=2) == audit(site, now=NOW)


def test_nothing_in_the_site_changes(tmp_path):
    site = {"index.html": "<img src=a.png>", "a.png": with_exif("PNG", gps=True)}
    write(tmp_path, site)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    audit(tmp_path, now=NOW)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_soup_is_for_audits_alone():
    package = Path(__file__).parents[2] / "imghost"
    importers = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if re.search(r"^\s*(?:from|import) bs4\b", file.read_text("utf-8"), re.M)
    }
    assert importers == {"run/audit.py"}
