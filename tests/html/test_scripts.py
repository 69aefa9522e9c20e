"""What scripts make images' names from: what they rename is held, what they only name is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.html.scan import scan
from imghost.html.uses import NOTHING, all_of, names, renamed_paths, renames_of, works_on

DOXYGEN = """function toggleVisibility(linkObj)
{
 var base = $(linkObj).attr('id');
 var summary = $('#'+base+'-summary');
 var trigger = $('#'+base+'-trigger');
 var src=$(trigger).attr('src');
 if (content.is(':visible')===true) {
   content.hide();
   $(trigger).attr('src',src.substring(0,src.length-8)+'closed.png');
 } else {
   $(trigger).attr('src',src.substring(0,src.length-10)+'open.png');
 }
}"""


def is_held(
    script: str, path: str, files: tuple[str, ...] = (), element_id: str = "", classes: tuple[str, ...] = ()
) -> bool:
    renames = renames_of(script)
    return (
        names(path, renames.literals)
        or works_on(renames.words, element_id, classes)
        or any(new != path and new in files for new in renamed_paths(path, renames.literals))
    )


@pytest.mark.parametrize(
    ("script", "path", "files", "element_id", "classes"),
    [
        (DOXYGEN, "api/closed.png", (), "", ()),
        (DOXYGEN, "api/other.png", (), "dynsection-0-trigger", ()),
        ("i.src = i.src.substring(0, n) + 'open.png'", "open.png", (), "", ()),
        ("i.src = i.src.replace('closed', 'open')", "closed.png", ("open.png",), "", ()),
        ("i.src=i.src.replace(/\\.(png)$/,'@2x.$1')", "a.png", ("a@2x.png",), "", ()),
        ("i.src=i.src.replace('.png','@2x.png')", "a.png", ("a@2x.png",), "", ()),
        (
            "const s=i.src;const d=s.lastIndexOf('.');i.src=s.slice(0,d)+'@2x'+s.slice(d)",
            "a.png",
            ("a@2x.png",),
            "",
            (),
        ),
        ("i.src=`${i.src.slice(0,-4)}-dark.png`", "a.png", ("a-dark.png",), "", ()),
        ("if(img.src.endsWith('closed.png')) img.src='open.png'", "closed.png", (), "", ()),
        ("if (/closed/.test(img.src)) img.src = 'open.png'", "closed.png", ("open.png",), "", ()),
        ("i.setAttribute('src', i.getAttribute('src').split('-thumb').join(''))", "a-thumb.png", ("a.png",), "", ()),
        ("e.src=e.src.replace('/thumbs/','/large/')", "thumbs/a.png", ("large/a.png",), "", ()),
        ("$('.swap').hover(function(){this.src=this.src.replace('_off','_on')})", "b.png", (), "", ("swap",)),
        (
            "$('img').attr('src',function(i,src){return src.replace('light','dark')})",
            "light.png",
            ("dark.png",),
            "",
            (),
        ),
        ("var p=im.src;if(p.indexOf('closed.png')>-1)im.src='o.png'", "closed.png", (), "", ()),
        ("document.getElementById('lamp').src.match(/x/)?a():b()", "z.png", (), "lamp", ()),
        ("e.style.backgroundImage=e.style.backgroundImage.replace('day','night')", "day.png", ("night.png",), "", ()),
        ("i.src=i.src.replace('\\x63losed','open')", "closed.png", ("open.png",), "", ()),
    ],
)
def test_image_that_a_script_renames_is_held(script, path, files, element_id, classes):
    assert is_held(script, path, files, element_id, classes)


@pytest.mark.parametrize(
    ("script", "path", "files"),
    [
        ("img.src = 'open.png'", "closed.png", ("open.png",)),
        ("img.src = base + 'open.png'", "open.png", ()),
        ("x.src=t.p+'assets/a.png';x.src=n", "assets/a.png", ()),
        ("jsx('img',{src:n(123).A,alt:'a.png'})", "a.png", ()),
        ("""s('<p><img src="'+c+'" alt="x.png"></p>'.split("x"))""", "x.png", ()),
        ("i.src = i.src.replace('closed', 'open')", "closed.png", ()),
        ("i.src = i.src.replace('closed', 'open')", "other.png", ("open.png",)),
        ("if(o.src){load(o)}else{show('a.png')}", "a.png", ()),
    ],
)
def test_image_that_a_script_only_names_moves(script, path, files):
    assert not is_held(script, path, files)


def test_scripts_are_put_together():
    whole = all_of([renames_of("i.src.replace('a1','b1')"), NOTHING, renames_of("j.src.replace('c1','d1')")])
    assert {"a1", "b1", "c1", "d1"} <= whole.literals


@settings(deadline=None)
@given(st.text(st.sampled_from(".srcSRC='\"`+(){};$#/\\ \nabplet"), max_size=300))
def test_any_text_is_read(script):
    renames = renames_of(script)
    assert bool(renames) == (renames != NOTHING)
    list(renamed_paths("a.png", renames.literals))


@pytest.mark.parametrize(
    ("page", "literals"),
    [
        ("<SCRIPT>i.src = i.src.replace('-light', '-dark')</SCRIPT>", {"-light", "-dark"}),
        ("<script>" + "x" * 60_000 + ";i.src = i.src.replace('-light', '-dark')</script>", {"-light", "-dark"}),
        ("""<p>a.src</p><b onclick="i.src = i.src.replace('-light', '-dark')">b</b>""", {"-light", "-dark"}),
        ("<p>i.src = i.src.replace('-light', '-dark')</p><SCRIPT></SCRIPT>", set()),
    ],
)
def test_own_code_of_a_page_is_read_wherever_it_stands(page, literals):
    found = scan(page, frozenset({"img"}))
    assert found == scan(page, frozenset({"img"}))
    assert literals <= set(found.renaming) if literals else not found.renaming
