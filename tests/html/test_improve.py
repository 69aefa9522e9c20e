"""Pages whose moved images get what their author left out, and nothing that the author wrote is lost."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hosts.imgpro_setup import a_setup, offline
from hypothesis import given
from hypothesis import strategies as st

from imghost import settings
from imghost.errors import SettingsError
from imghost.hosts.directory import Directory, DirectoryOptions
from imghost.html.edit import Additions, HostedImage, Improvements, changed_text, changes_of
from imghost.html.improve import GUARD, improve
from imghost.html.scan import scan
from imghost.models import KINDS, Facts, Image, Record
from imghost.net import Client
from imghost.run.rewrite import additions_of, hosted_image, remarks

HOST = offline()
URL = "https://src.img.pro/4j2/abc12345.png"
EVERY = Additions(responsive=True, format="webp", dimensions=True, lazy=True, fallback=True)
LARGE = 4000, 3000


def known(size=LARGE, media_type="image/png", additions=EVERY, *, is_animated=False, host=HOST):
    record = Record("0" * 64, "img.pro", URL, "abc12345", "", 1, media_type, *size, datetime.now(UTC))
    return hosted_image(record, Image("a.png", "0" * 64, 1, Facts(media_type, *size, is_animated)), host, additions)


def improvements(page, additions, *, stays=(), **about):
    """Move every image of a page but those that stay, and make it improvements."""
    found = scan(page, frozenset(KINDS))
    edits = {one: URL for one in found.references if one.url not in stays}
    told = {one: known(additions=additions, **about) for one in edits if one.kind == "img"}
    chosen, added = improve(page, found, edits, Improvements(additions, told))
    return changed_text(page, sorted((*changes_of(page, chosen), *added)))


class Images(HTMLParser):
    """The attributes of a page's images, by a parser that shares no code with ours."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            # Of duplicates a browser takes the first.
            self.found.append(dict(reversed(attributes)))


def attributes(page, additions, **about):
    return Images(improvements(page, additions, **about)).found


class TestDimensions:
    """`dimensions`: room for an image before it is loaded."""

    WISHES = Additions(dimensions=True)

    def test_an_image_without_size_gets_its_own(self):
        [image] = attributes('<title>t</title><img src="a.png" alt="x">', self.WISHES)
        assert (image["width"], image["height"], image["alt"]) == ("4000", "3000", "x")

    @pytest.mark.parametrize(
        "own",
        [
            'width="20"',
            "height=20",
            'WIDTH=""',
            'style="width: 50%"',
            'style="color: red;HEIGHT:3em"',
            'sizes="50vw" srcset="b.png 100w"',
            'srcset="b.png 100w, c.png 200w"',
            'data-src="b.png"',
        ],
    )
    def test_an_image_whose_author_sizes_it_stays_as_it_is(self, own):
        page = f'<img src="a.png" {own}>'
        assert improvements(page, self.WISHES) == improvements(page, Additions(lazy=True))

    def test_a_style_that_sizes_nothing_does_not_hinder(self):
        assert attributes('<title>t</title><img src="a.png" style="max-width: 9em">', self.WISHES)[0]["width"] == "4000"

    def test_a_drawing_without_size_gets_none(self):
        page = '<img src="a.svg">'
        assert "width" not in attributes(page, self.WISHES, size=(None, None), media_type="image/svg+xml")[0]

    def test_only_the_image_of_a_picture_is_sized(self):
        page = '<title>t</title><picture><source srcset="dark.png"><img src="a.png"></picture>'
        assert improvements(page, self.WISHES).count("width=") == 1

    @pytest.mark.parametrize(
        "page",
        [
            '<img src="a.png">',
            '<title>t</title><meta http-equiv="Content-Security-Policy" content="style-src x"><img src="a.png">',
            '<title>t</title><img src="a.png" data-imghost="mine">',
            '<title>t</title><img src="a.png" style="max-height: 9em">',
            '<title>t</title><img src="a.png" style="block-size: 9em">',
            '<title>t</title><img src="a.png" style="align-self: stretch">',
            '<title>t</title><div style="display: flex; flex-direction: column"><img src="a.png"></div>',
            "<title>t</title><style>.row{flex-flow:column wrap}</style><p class=row><img src=a.png></p>",
            "<title>t</title><style>img{max-height:50px}</style><img src=a.png>",
            "<title>t</title><style>@media print{main img{min-height:9em}}</style><main><p><img src=a.png></main>",
            "<title>t</title><style>.tall{height:9em}</style><img class=tall src=a.png>",
            '<title>t</title><img src="a.png" srcset="data:image/png;base64,AAAA 2x">',
            # By what stands around the image, at any distance.
            "<title>t</title><style>.logo img{height:2em}</style><p class='x logo'><b><img src=a.png></b></p>",
            "<title>t</title><style>#top > .logo img{height:2em}</style><div id=top><p class=logo><img src=a.png></div>",
            "<title>t</title><style>:is(.logo, .mark) img{height:2em}</style><p class=mark><img src=a.png></p>",
            "<title>t</title><style>:where(.logo img, h1){height:2em}</style><p class=logo><img src=a.png></p>",
            "<title>t</title><style>.logo{color:red;& img{height:2em}}</style><p class=logo><img src=a.png></p>",
            "<title>t</title><style>.md\\:w img{height:2em}</style><p class='md:w'><img src=a.png></p>",
            "<title>t</title><style>[data-x='a,b'] img{height:2em}</style><p data-x='a,b'><img src=a.png></p>",
            "<title>t</title><style>.k img{height:2em}</style><p title=it's class=k>it's <img src=a.png></p>",
            "<title>t</title><style>#own{height:2em}</style><img id=own src=a.png>",
            "<title>t</title><style>img:not(.z, .y){height:2em}</style><img src=a.png>",
            "<title>t</title><style>body > img{height:2em}</style><img src=a.png>",
            # By what lays it out.
            "<title>t</title><style>#col{flex-direction:column}</style><p id=col><b>x</b><img src=a.png></p>",
            "<title>t</title><style>main{flex-flow:column}</style><main><p>x</p><a><img src=a.png></a></main>",
            "<title>t</title><style>.row{display:flex;height:9em}</style><p class=row><i></i><img src=a.png></p>",
            "<title>t</title><style>.grid{place-items:stretch}</style><p class=grid><i></i><img src=a.png></p>",
            "<title>t</title><p style='display:flex;min-height:9em'><i></i><picture><img src=a.png></picture></p>",
        ],
    )
    def test_no_size_is_told_where_anything_else_may_decide_the_height(self, page):
        assert "width" not in attributes(page, self.WISHES)[-1]

    @pytest.mark.parametrize(
        "style",
        [
            "img{height:auto;max-width:100%}",
            ".logo img{height:2em}",
            "p{height:9em}",
            "img{max-height:none;width:auto}",
            "#logo img,.a:not(.b) > img{height:2em}",
            "svg,.icon svg,img::before,:root{height:2em}",
            ".row{display:flex}.col p{flex-direction:column}",
            "p.none img{height:2em}.x p img{height:2em}",
        ],
    )
    def test_a_size_is_told_beside_styles_that_decide_no_height_of_it(self, style):
        page = f"<title>t</title><style>{style}</style><p class=logo></p><div class=row><img src=a.png></div>"
        assert attributes(page, self.WISHES)[-1]["width"] == "4000"

    def test_a_picture_of_two_sizes_gets_none(self):
        page = '<picture><source srcset="dark.png"><img src="a.png"></picture>'
        found = scan(page, frozenset(KINDS))
        told = dict(zip(found.references, (known((800, 300)), known((400, 400))), strict=True))
        edits = dict.fromkeys(found.references, URL)
        assert improve(page, found, edits, Improvements(self.WISHES, told))[1] == ()

    def test_a_picture_with_a_source_from_elsewhere_gets_none(self):
        page = '<picture><source srcset="https://x.test/b.png"><img src="a.png"></picture>'
        assert "width" not in attributes(page, self.WISHES, stays={"https://x.test/b.png"})[0]

    @pytest.mark.parametrize(
        "template",
        ["<x-y><template shadowrootmode=open>{}</template></x-y>", "<TEMPLATE id=t><p>{}</p></TEMPLATE>",
         "<template><noscript></noscript>{}</template>", "<template><template></template>{}</template>"],
    )  # fmt: skip
    @pytest.mark.parametrize("wishes", [Additions(dimensions=True), Additions(responsive=True)])
    def test_what_may_come_where_the_pages_styles_do_not_reach_gets_none(self, template, wishes):
        """A shadow tree has styles of its own, which neither keep the shape nor bound the width as the page's do."""
        page = (
            f"<title>t</title><style>img{{max-width:100%}}</style>{template.format('<img src=a.png>')}<img src=b.png>"
        )
        inside, beside = attributes(page, wishes)
        assert set(inside) == {"src"}
        assert len(beside) > 1

    @pytest.mark.parametrize(
        "own",
        [":src=\"'img/' + n\"", "v-bind:src=a", "x-bind:srcset=a", "bind:src=a", "ng-src='{{a}}'", "data-ng-src='{{a}}'",
         "[src]=a", "[attr.srcset]=a", "[SRC]=a"],
    )  # fmt: skip
    @pytest.mark.parametrize("wishes", [Additions(dimensions=True), Additions(responsive=True, fallback=True)])
    def test_what_a_framework_gives_another_address_gets_none(self, own, wishes):
        [image] = attributes(f"<title>t</title><style>img{{max-width:100%}}</style><img {own} src=a.png>", wishes)
        assert {"width", "srcset", "onerror"}.isdisjoint(image)

    def test_the_shape_is_guarded_once_before_the_title(self):
        page = '<meta charset="utf-8"><title>t</title><img src="a.png"><img src="b.png">'
        assert f'<meta charset="utf-8">{GUARD}<title>' in improvements(page, self.WISHES)
        assert improvements(page, self.WISHES).count("<style>") == 1

    @pytest.mark.parametrize(
        "page",
        [
            '<title>t</title><img src="a.png" width="1">',
            '<img src="a.png">',
            '<meta http-equiv="content-security-policy" content="style-src x"><title>t</title><img src=a.png>',
        ],
    )
    def test_no_style_stands_where_it_has_no_use_no_place_or_no_leave(self, page):
        assert "<style>" not in improvements(page, self.WISHES)


class TestLazy:
    """`lazy`: images after the first are loaded when they are needed."""

    WISHES = Additions(lazy=True)

    def test_images_after_the_first_are_loaded_late(self):
        found = attributes('<img src="a.png"><img src="b.png"><picture><img src="c.png"></picture>', self.WISHES)
        assert [image.get("loading") for image in found] == [None, "lazy", "lazy"]

    @pytest.mark.parametrize("inert", ["noscript", "template"])
    def test_what_a_browser_does_not_show_there_is_not_the_first(self, inert):
        page = f'<{inert}><img src="a.png"></{inert}><img src="b.png"><img src="c.png">'
        assert [image.get("loading") for image in attributes(page, self.WISHES)][1:] == [None, "lazy"]

    @pytest.mark.parametrize(
        "unseen",
        [
            '<img hidden src="a.png">',
            '<img style="color:red; display: none" src="a.png">',
            '<img width=1 height=1 src="a.png">',
            "<template><template></template><img src=a.png></template>",
            # In what is around it.
            "<div hidden><p><img src=a.png></p></div>",
            '<section style="color:red;display:none"><div><img src="a.png"></div></section>',
            "<div hidden=until-found><img src=a.png></div>",
            "<div popover id=p><img src=a.png></div>",
            "<dialog><form><img src=a.png></form></dialog>",
            "<details><summary>more</summary><p><img src=a.png></p></details>",
            "<details><summary>more</summary><details open><summary>x</summary><img src=a.png></details></details>",
            "<video controls><img src=a.png></video>",
            "<canvas><img src=a.png></canvas>",
            "<ul><li hidden><img src=a.png><li></ul>",
            "<p hidden><img src=a.png><div></div>",
        ],
    )
    def test_what_no_reader_sees_is_not_the_first(self, unseen):
        page = f'{unseen}<img src="b.png"><img src="c.png">'
        assert [image.get("loading") for image in attributes(page, self.WISHES)][1:] == [None, "lazy"]

    @pytest.mark.parametrize(
        "around",
        [
            "<div hidden></div>{}",
            "<dialog open>{}</dialog>",
            "<details open><summary>x</summary>{}</details>",
            "<details><summary>{}</summary>x</details>",
            "<details><summary>x</summary></details><p>{}</p>",
            "<p hidden>x<p>{}",
            "<ul><li hidden>x<li>{}</ul>",
            "<p hidden>x<div>{}</div>",
            "<script>'<div hidden>'</script>{}",
            "<!-- <div hidden> -->{}",
            '<p title="<div hidden>">{}</p>',
            "<div data-hidden aria-hidden=false class=hidden>{}</div>",
            "<video controls></video>{}",
        ],
    )
    def test_what_readers_see_beside_what_is_hidden_is_the_first(self, around):
        page = around.format('<img src="b.png">') + '<img src="c.png">'
        assert [image.get("loading") for image in attributes(page, self.WISHES)] == [None, "lazy"]

    @pytest.mark.parametrize(
        ("dark", "light"),
        [
            ('<img src="a.png#only-dark">', '<img src="b.png#only-light">'),
            ('<img src="a.png#gh-dark-mode-only">', '<img src="b.png#gh-light-mode-only">'),
            ('<img class="sidebar-logo only-dark" src="a.png">', '<img class="sidebar-logo only-light" src="b.png">'),
        ],
    )
    def test_each_of_a_pair_for_two_schemes_may_be_the_first(self, dark, light):
        rest = '<img src="c.png"><img src="d.png">'
        for page, loading in (
            (f"{dark}{light}{rest}", [None, None, "lazy", "lazy"]),
            (f"{light}{dark}{rest}", [None, None, "lazy", "lazy"]),
            (f"{dark}{rest}", [None, None, "lazy"]),
        ):
            assert [image.get("loading") for image in attributes(page, self.WISHES)] == loading

    def test_the_first_counts_though_it_stays_local(self):
        found = attributes('<img src="a.png"><img src="b.png">', self.WISHES, stays={"a.png"})
        assert [image.get("loading") for image in found] == [None, "lazy"]

    def test_an_image_that_stays_local_is_left_alone(self):
        found = attributes('<img src="a.png"><img src="b.png">', self.WISHES, stays={"b.png"})
        assert "loading" not in found[1]

    @pytest.mark.parametrize("own", ['loading="eager"', "loading", 'fetchpriority="high"', 'data-src="b.png"'])
    def test_what_the_author_says_of_loading_stays(self, own):
        page = f'<img src="z.png"><img src="a.png" {own}>'
        assert improvements(page, self.WISHES) == improvements(page, Additions(responsive=True), size=(9, 9))

    def test_what_the_page_preloads_is_not_loaded_late(self):
        page = '<link rel="preload" as="image" href="a.png"><img src="z.png"><img src="a.png">'
        assert "loading" not in attributes(page, self.WISHES)[1]


class TestResponsive:
    """`responsive`: a browser chooses among the host's sizes."""

    WISHES = Additions(responsive=True)

    def test_every_size_is_told_with_its_width(self):
        [image] = attributes('<img src="a.png">', self.WISHES)
        assert image["srcset"] == f"{URL}?size=s 426w, {URL}?size=m 853w, {URL}?size=l 1440w, {URL} 4000w"
        assert image["sizes"] == "4000px"  # the window's width would make it smaller where nothing bounds it

    @pytest.mark.parametrize(
        ("page", "sizes"),
        [
            ("<style>img{max-width:100%}</style><img src=a.png>", "(max-width: 4000px) 100vw, 4000px"),
            ("<style>.md img{max-width:100%}</style><img src=a.png>", "(max-width: 4000px) 100vw, 4000px"),
            ("<style>img{width:100%}</style><img src=a.png width=200>", "(max-width: 4000px) 100vw, 4000px"),
            (
                "<style>.wide{width:50vw}</style><img class=wide src=a.png width=200>",
                "(max-width: 4000px) 100vw, 4000px",
            ),
            (
                "<style>.wide img{width:100%}</style><p class=wide><img src=a.png width=200></p>",
                "(max-width: 4000px) 100vw, 4000px",
            ),
            ("<style>.wide img{width:100%}</style><p><img src=a.png width=200></p>", "(max-width: 200px) 100vw, 200px"),
            ("<style>#w{width:100%}</style><img id=w src=a.png width=200>", "(max-width: 4000px) 100vw, 4000px"),
            ("<style>img{min-width:100%}</style><img src=a.png width=200>", "(max-width: 4000px) 100vw, 4000px"),
            ("<style>img{width:auto}</style><img src=a.png width=200>", "4000px"),
            (
                "<style>.md img{width:auto;max-width:100%}</style><p class=md><img src=a.png width=200></p>",
                "(max-width: 4000px) 100vw, 4000px",
            ),
            ("<img src=a.png width=200 style='width:auto'>", "4000px"),
            ("<img src=a.png style='width: 300px !important'>", "(max-width: 300px) 100vw, 300px"),
            ("<img src=a.png width=200>", "(max-width: 200px) 100vw, 200px"),
            ("<img src=a.png width=200 style='width: 300px'>", "(max-width: 300px) 100vw, 300px"),
            ("<img src=a.png style='max-width: 100%'>", "(max-width: 4000px) 100vw, 4000px"),
        ],
    )
    def test_the_windows_width_counts_only_where_the_images_is_bounded(self, page, sizes):
        assert attributes(page, self.WISHES)[-1]["sizes"] == sizes

    def test_an_image_that_a_style_lets_be_as_wide_as_its_file_is(self):
        """A width that is told shows 4000 pixels in 400 where a rule takes it back: `100vw` would then be its size."""
        additions = Additions(responsive=True, dimensions=True, lazy=True)
        page = "<title>t</title><style>img{width:auto}</style><img src=z.png><img src=a.png>"
        assert [image["sizes"] for image in attributes(page, additions)] == ["4000px", "4000px"]

    def test_no_size_is_larger_than_the_image(self):
        assert attributes('<img src="a.png">', self.WISHES, size=(500, 400))[0]["srcset"].endswith(
            "400w, " + URL + " 500w"
        )
        assert "srcset" not in attributes('<img src="a.png">', self.WISHES, size=(320, 320))[0]

    @pytest.mark.parametrize(
        ("own", "slot"), [('width="300"', 300), ('height="300"', 400), ('width="50%"', 4000), ('width="0"', 4000)]
    )
    def test_the_authors_size_bounds_the_choice(self, own, slot):
        [image] = attributes(f'<img src="a.png" {own}>', self.WISHES)
        assert image["sizes"] == f"(max-width: {slot}px) 100vw, {slot}px"

    @pytest.mark.parametrize("own", ['srcset="b.png 2x"', 'sizes="9px"', 'srcset=""', "data-srcset=b.png"])
    def test_an_authors_choice_stays(self, own):
        image = attributes(f'<img src="a.png" {own}>', self.WISHES)[0]
        assert "size=" not in image.get("srcset", "")
        assert image.get("sizes") in {None, "9px"}

    @pytest.mark.parametrize(
        "page",
        [
            '<picture><source srcset="b.png"><img src="a.png"></picture>',
            '<link rel="preload" as="image" href="a.png"><img src="a.png">',
            '<input type="image" src="a.png">',
        ],
    )
    def test_pictures_preloaded_images_and_buttons_stay_whole(self, page):
        assert "size=" not in improvements(page, self.WISHES)

    @pytest.mark.parametrize("form", ["image/gif", "image/webp", "image/png", "image/avif"])
    def test_an_animated_image_keeps_its_one_address(self, form):
        additions = EVERY._replace(dimensions=False, fallback=False, lazy=False)
        page = '<img src="a.gif">'
        assert improvements(page, additions, media_type=form, is_animated=True) == f'<img src="{URL}">'

    def test_an_image_of_which_nothing_is_known_keeps_its_one_address(self):
        record = Record("0" * 64, "img.pro", URL, "i", "import", 0, "image/png", 900, 900, datetime.now(UTC))
        for image in (None, Image("https://x.test/a.png", "0" * 64, 0, Facts("", None, None))):
            assert hosted_image(record, image, HOST, EVERY) == HostedImage("", 900, 900)

    def test_no_image_is_laid_out_without_its_own_size(self):
        """`sizes=auto` makes 300 by 150 of an image that a style gives no width (HTML, sizes attributes)."""
        additions = Additions(responsive=True, lazy=True, dimensions=True)
        page = '<title>t</title><img src="z.png"><img src="a.png"><img src="b.png" width="40" height="30">'
        assert [image["sizes"].count("auto") for image in attributes(page, additions)] == [0, 0, 0]


class TestFormat:
    """`format`: the host serves another one."""

    WISHES = Additions(format="webp")

    @pytest.mark.parametrize("form", ["webp", "avif"])
    def test_a_picture_that_can_be_converted_is_asked_for_in_the_format(self, form):
        assert improvements('<img src="a.png">', Additions(format=form)) == f'<img src="{URL}?format={form}">'

    @pytest.mark.parametrize("media_type", ["image/gif", "image/webp", "image/avif", "image/svg+xml"])
    def test_other_formats_stay_what_they_are(self, media_type):
        assert improvements('<img src="a.gif">', self.WISHES, media_type=media_type) == f'<img src="{URL}">'

    def test_each_size_is_converted_too(self):
        page = improvements('<img src="a.png">', Additions(format="avif", responsive=True), size=(500, 400))
        assert f'srcset="{URL}?size=s&amp;format=avif 400w, {URL}?format=avif 500w"' in page
        assert f'src="{URL}?format=avif"' in page

    def test_the_old_query_and_fragment_follow(self):
        page = improvements("<img src='a.png?v=1#only-dark'>", self.WISHES)
        assert page == f"<img src='{URL}?format=webp&amp;v=1#only-dark'>"

    def test_an_authors_choice_of_sizes_is_converted_as_a_whole(self):
        page = improvements('<img src="a.png" srcset="a.png 1x, b.png 2x">', self.WISHES)
        assert page.count("?format=webp") == 3

    def test_links_and_previews_lead_to_the_image_itself(self):
        page = '<meta property="og:image" content="a.png"><a href="a.png"><img src="a.png"></a>'
        assert improvements(page, self.WISHES).count("format=") == 1

    def test_a_page_asks_for_what_it_preloads(self):
        page = '<link rel="preload" as="image" href="a.png"><img src="a.png">'
        assert "format=" not in improvements(page, self.WISHES)

    def test_a_picture_names_its_types_itself(self):
        page = '<picture><source type="image/png" srcset="b.png"><img src="a.png"></picture>'
        assert "format=" not in improvements(page, self.WISHES)


class TestFallback:
    """`fallback`: the local copy, once."""

    WISHES = Additions(fallback=True)

    def test_the_local_copy_is_shown_once_and_without_the_hosts_sizes(self):
        [image] = attributes('<img src="img/a.png#only-dark">', self.WISHES)
        assert image["onerror"] == ("this.onerror=null;this.removeAttribute('srcset');this.src='img/a.png#only-dark'")

    @pytest.mark.parametrize(
        "page",
        [
            '<img src="a.png" onerror="mine()">',
            '<picture><img src="a.png"></picture>',
            "<img src=\"a.png\" data-src='b.png'>",
            '<meta http-equiv="content-security-policy" content="script-src \'self\'"><img src="a.png">',
        ],
    )
    def test_authors_handlers_pictures_and_policies_are_respected(self, page):
        assert "this.src" not in improvements(page, self.WISHES)

    @pytest.mark.parametrize(
        ("policy", "allows"),
        [
            ("default-src 'self'; script-src 'unsafe-inline'", True),
            ("default-src 'none'; script-src-attr 'unsafe-inline'", True),
            ("script-src 'none'; SCRIPT-SRC-ATTR 'Unsafe-Inline'", True),
            ("img-src *", True),
            ("script-src-elem 'none'", True),
            ("default-src *", False),
            ("script-src 'unsafe-inline' 'nonce-abc'", False),
            ("script-src 'unsafe-inline' 'sha256-abc='", False),
            ("script-src 'strict-dynamic' 'unsafe-inline'", False),
            ("script-src-attr 'none'; script-src 'unsafe-inline'", False),
        ],
    )
    def test_a_policy_decides_whether_handlers_may_stand_in_the_page(self, policy, allows):
        page = f'<meta http-equiv="content-security-policy" content="{policy}"><img src="a.png">'
        assert ("this.src" in improvements(page, self.WISHES)) == allows

    def test_the_strictest_of_two_policies_decides(self):
        policies = "".join(
            f'<meta http-equiv="content-security-policy" content="script-src {source}">'
            for source in ("'unsafe-inline'", "'self'")
        )
        assert "this.src" not in improvements(f'{policies}<img src="a.png">', self.WISHES)

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0\t\n\f\r "), min_size=1))
    def test_no_name_breaks_out_of_the_script(self, name):
        page = '<img src="' + name.replace("&", "&amp;").replace('"', "&quot;") + '">'
        found = attributes(page, self.WISHES)
        if "onerror" in found[0]:
            told = found[0]["onerror"].partition("this.src='")[2]
            assert told.endswith("'")
            assert js_string(told[:-1]) == scan(page, frozenset(KINDS)).references[0].url

    def test_a_byte_that_is_no_text_stays_the_pages_own(self):
        page = b'<img src="\xe9.png">'.decode("utf-8", "surrogateescape")
        assert b"this.src='\xe9.png'" in improvements(page, self.WISHES).encode("utf-8", "surrogateescape")


def js_string(raw):
    """Read the inside of a script's string in single quotes; it must not end before its end."""
    units, at = b"", 0
    while at < len(raw):
        assert raw[at] not in "'\n\r\u2028\u2029"
        if raw.startswith("\\u", at):
            units, at = units + bytes.fromhex(raw[at + 2 : at + 6]), at + 6
            continue
        at += raw[at] == "\\"
        units, at = units + raw[at].encode("utf-16-be"), at + 1
    return units.decode("utf-16-be")


class TestHosts:
    """What a host cannot do is said, and not done."""

    def test_a_host_that_serves_one_size_gets_what_is_made_here(self):
        chosen = settings.Settings(responsive=True, format="webp", fallback=True)
        host = Directory(DirectoryOptions(), a_setup(Client()))
        assert additions_of(chosen, host) == Additions(responsive=True)
        assert [text.split()[0] for text in remarks(chosen, host, ())] == ["'fallback'"]

    def test_a_format_that_a_host_does_not_take_is_told(self):
        host = Directory(DirectoryOptions(), a_setup(Client()))
        host.limits = replace(host.limits, formats=frozenset({"image/png"}))
        chosen = settings.Settings(format="avif")
        assert remarks(chosen, host, ()) == ("'format' changes nothing: directory does not take avif",)

    def test_a_host_that_varies_is_asked_for_all(self):
        chosen = settings.Settings(responsive=True, format="webp", dimensions=True, lazy=True, fallback=True)
        assert additions_of(chosen, HOST) == EVERY
        assert remarks(chosen, HOST, ()) == ()

    def test_a_fallback_to_copies_that_are_deleted_is_refused(self, tmp_path):
        with pytest.raises(SettingsError, match="'fallback' shows local copies"):
            settings.read({"fallback": True, "remove_local": True}, tmp_path)


TAGS = st.lists(
    st.sampled_from(
        [
            "<img src=a.png>",
            "<img src='a b.png'/>",
            "<IMG\nALT=x SRC=a.png >",
            '<img srcset="a.png 1x, b.png 2x" src=c.png loading=lazy>',
            "<picture>",
            "</picture>",
            '<a href="a.png">',
            "</a>",
            "<title>é</title>",
            "<noscript><img src=n.png></noscript>",
            "<!-- <img src=a.png> -->",
            "<script>'<img src=a.png>'</script>",
            "<img alt='<img src=a.png>' src=d.png width=3>",
            '<link rel=preload as=image href="c.png">',
            "<svg><title>s</title></svg>\r\n",
            "<img/src=e.png>",
        ]
    ),
    max_size=12,
)


@given(
    TAGS,
    st.builds(Additions, st.booleans(), st.sampled_from(["", "webp"]), st.booleans(), st.booleans(), st.booleans()),
)
def test_whatever_is_added_the_page_can_be_undone_to_the_byte_and_no_attribute_is_lost(parts, additions):
    page = "".join(parts)
    found = scan(page, frozenset(KINDS))
    edits = dict.fromkeys(found.references, URL)
    told = {one: known(additions=additions) for one in edits if one.kind == "img"}
    chosen, added = improve(page, found, edits, Improvements(additions, told))
    changes = sorted((*changes_of(page, chosen), *added))
    after = changed_text(page, changes)
    back = changed_text(after, [(at, new, old) for at, old, new in shifted(changes)])
    assert back == page
    for before, now in zip(Images(page).found, Images(after).found, strict=True):
        assert before.keys() <= now.keys()
        assert all(now[name] == before[name] for name in before.keys() - {"src", "srcset"})


def shifted(changes):
    """Move the changes to where they are in the page that has them."""
    shift = 0
    for at, old, new in changes:
        yield at + shift, old, new
        shift += len(new) - len(old)


@pytest.mark.parametrize(
    "part",
    [
        '<picture><source srcset="b.png"><img src="a.png"></picture><img src="c.png">',
        '<div class="a b c"><p><img src="c.png">',
        "<i></b><script>'</div>'</script><img src='c.png'><div",
        "<img src=c.png><a '<a \"",
    ],
)
def test_the_time_for_a_page_grows_with_its_length_alone(part):
    def seconds(count):
        page = "<title>t</title><style>.a .b img,.c .x img{height:1px}</style>" + part * count
        found = scan(page, frozenset(KINDS))
        edits = dict.fromkeys(found.references, URL)
        told = dict.fromkeys(edits, known())
        started = time.process_time()
        improve(page, found, edits, Improvements(EVERY, told))
        return time.process_time() - started

    assert min(seconds(2000) for _ in range(3)) < 12 * min(seconds(400) for _ in range(3)) + 0.01
