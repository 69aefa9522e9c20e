"""What scripts make images' names from: what they rename is held, what they only name is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.html import HELD_BY_READER
from imghost.html.scan import scan
from imghost.html.uses import NOTHING, all_of, renames_of, works_on
from imghost.models import KINDS
from imghost.site.dependents import Dependents, is_renamed, names, renamed_paths
from imghost.site.pages import PageView

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
        or any(new != path and new in files for new in renamed_paths(path, renames.literals, renames.literals))
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
    list(renamed_paths("a.png", renames.literals, renames.literals))


PATHS = st.lists(st.sampled_from(["a", "b.png", "-x", "2", "dir", "..", "a-2.png", ".gif"]), min_size=1, max_size=4)
LITERALS = st.lists(st.sampled_from(["a", "./", "/dir/", "-x", ".png", "b.gif", "2", "//", "..", "zz"]), max_size=3)


@settings(deadline=None)
@given(PATHS, st.lists(PATHS, max_size=6), st.lists(LITERALS.map("".join), max_size=5).map(frozenset), st.data())
def test_only_literals_that_stand_in_a_path_make_the_name_of_a_file(path, others, literals, data):
    """A site's scripts have many, which would be tried with each other on each of its images."""
    name = "/".join(path)
    plain = literals - {""}
    made = sorted(renamed_paths(name, plain, plain)) or [name]
    files = frozenset({name, *map("/".join, others), *data.draw(st.lists(st.sampled_from(made), max_size=2))})
    expected = names(name, plain) or any(new != name and new in files for new in renamed_paths(name, plain, plain))
    assert is_renamed(name, plain, files) == expected


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


FILES = frozenset(
    f"img/{name}"
    for name in (
        *("closed.png", "open.png", "a.png", "a@2x.png", "b.png", "a-dark.png", "a-light.png", "a_hover.png", "a.gif"),
        *(
            "thumb_a.png",
            "thumbs/a.png",
            "large/a.png",
            "hover/a.png",
            "f1.png",
            "f2.png",
            "f3.png",
            "a.webp",
            "b@2x.png",
        ),
    )
)
RENAMED = {
    "regex replace": (
        "<img src=\"img/closed.png\"><script>i.src=i.src.replace(/closed/,'open')</script>",
        ("closed.png",),
    ),
    "backtick attr": (
        '<img src="img/closed.png"><script>i.setAttribute(`src`,i.getAttribute(`src`).replace(`closed`,`open`))</script>',
        ("closed.png",),
    ),
    "jq data src": (
        "<img data-src=\"img/closed.png\"><script>i.src=$(i).data('src').replace('closed','open')</script>",
        ("closed.png",),
    ),
    "dataset": (
        "<img data-src=\"img/closed.png\"><script>i.src=i.dataset.src.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "URL path": (
        "<img src=\"img/closed.png\"><script>const u=new URL(i.src);u.pathname=u.pathname.replace('closed','open');i.src=u</script>",
        ("closed.png",),
    ),
    "URL path2": (
        "<img src=\"img/closed.png\"><script>i.src=new URL(i.src).pathname.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "basename in folder": (
        "<img src=\"img/a.png\"><script>const b=i.src.split('/').pop();i.src='img/hover/'+b</script>",
        ("a.png",),
    ),
    "folder prefix": (
        "<base href=\"img/\"><img src=\"a.png\"><script>i.src='hover/'+i.src.split('/').pop()</script>",
        ("a.png",),
    ),
    "png to gif": ("<img src=\"img/a.png\"><script>i.src=i.src.replace(/\\.png$/,'.gif')</script>", ("a.png",)),
    "png to gif2": ("<img src=\"img/a.png\"><script>i.src=i.src.replace('png','gif')</script>", ("a.png",)),
    "helper": (
        "<img src=\"img/closed.png\"><script>function swap(u){return u.replace('closed','open')} i.onclick=()=>{i.src=swap(i.src)}</script>",
        ("closed.png",),
    ),
    "helper arrow": (
        "<img src=\"img/closed.png\"><script>const swap=u=>u.replace('closed','open');i.onclick=()=>{i.src=swap(i.src)}</script>",
        ("closed.png",),
    ),
    "helper far": (
        "<img src=\"img/closed.png\"><script>function swap(u){return u.replace('closed','open')};f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);f(1234567);i.onclick=()=>{i.src=swap(i.src)}</script>",
        ("closed.png",),
    ),
    "split name ext": (
        "<img src=\"img/a.png\"><script>const [n,e]=i.src.split('.');i.src=`${n}@2x.${e}`</script>",
        ("a.png",),
    ),
    "compare var": (
        "<img src=\"img/closed.png\"><script>if(i.src==location.origin+'/img/closed.png')i.src='img/open.png';else i.src='img/closed.png'</script>",
        ("closed.png",),
    ),
    "compare pics": (
        "<img src=\"img/closed.png\"><script>var p1=new Image();p1.src='img/closed.png';var p2=new Image();p2.src='img/open.png';function f(){var i=document.images[0];if(i.src==p1.src)i.src=p2.src;else i.src=p1.src}</script>",
        ("closed.png",),
    ),
    "match digits": (
        "<img src=\"img/f1.png\"><script>var n=parseInt(i.src.match(/(\\d+)\\.png/)[1])+1;i.src='img/f'+n+'.png'</script>",
        ("f1.png",),
    ),
    "replace digits": ('<img src="img/f1.png"><script>i.src=i.src.replace(/\\d+/,n=>+n+1)</script>', ("f1.png",)),
    "charAt": (
        "<img src=\"img/f1.png\"><script>var n=+i.src.charAt(i.src.length-5)+1;i.src='img/f'+n+'.png'</script>",
        ("f1.png",),
    ),
    "includes other folder": (
        "<img src=\"img/closed.png\"><script>if(i.src.includes('closed'))i.src='img/open.png';else i.src='img/closed.png'</script>",
        ("closed.png",),
    ),
    "indexOf": (
        "<img src=\"img/closed.png\"><script>if(i.src.indexOf('closed')>-1)i.src='img/open.png'</script>",
        ("closed.png",),
    ),
    "regex test": (
        "<img src=\"img/closed.png\"><script>if(/closed/.test(i.src))i.src='img/open.png'</script>",
        ("closed.png",),
    ),
    "match regex": (
        "<img src=\"img/closed.png\"><script>if(i.src.match(/closed/))i.src='img/open.png'</script>",
        ("closed.png",),
    ),
    "replace var": (
        '<img src="img/a-light.png"><script>i.src=i.src.replace(/light|dark/,theme)</script>',
        ("a-light.png",),
    ),
    "replace var2": (
        "<img src=\"img/a-dark.png\"><script>i.src=i.src.replace(/(light|dark)\\.png/,theme+'.png')</script>",
        ("a-dark.png",),
    ),
    "replace var3": (
        "<img src=\"img/a-light.png\"><script>i.src=i.src.replace('light',theme)</script>",
        ("a-light.png",),
    ),
    "template theme": (
        "<img src=\"img/a-light.png\"><script>i.src=`img/a-${i.src.includes('light')?'dark':'light'}.png`</script>",
        ("a-light.png",),
    ),
    "attr selector": (
        '<img data-swap src="img/a.png"><img src="img/b.png"><script>document.querySelectorAll(\'img[data-swap]\').forEach(i=>{i.src=i.src.replace(i.dataset.a,i.dataset.b)})</script>',
        ("a.png",),
    ),
    "name": (
        "<img name=lamp src=\"img/a.png\"><img src=\"img/b.png\"><script>document.getElementsByName('lamp')[0].src=document.getElementsByName('lamp')[0].src.slice(0,-5)+x</script>",
        ("a.png",),
    ),
    "document.images": (
        '<img name=lamp src="img/a.png"><img src="img/b.png"><script>var i=document.images[\'lamp\'];i.src=i.src.slice(0,-5)+x</script>',
        ("a.png",),
    ),
    "document.name": (
        '<img name=lamp src="img/a.png"><img src="img/b.png"><script>document.lamp.src=document.lamp.src.slice(0,-5)+x</script>',
        ("a.png",),
    ),
    "global id": (
        '<img id=lamp src="img/a.png"><img src="img/b.png"><script>lamp.onclick=()=>{lamp.src=lamp.src.slice(0,-5)+x}</script>',
        ("a.png",),
    ),
    "delegated": (
        "<img class=swap src=\"img/a.png\"><img src=\"img/b.png\"><script>$(document).on('click','.swap',function(){this.src=this.src.slice(0,-5)+x})</script>",
        ("a.png",),
    ),
    "var far": (
        '<img id=lamp src="img/a.png"><img src="img/b.png"><script>var lamp=document.getElementById(\'lamp\');f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);f(12345678);function t(){lamp.src=lamp.src.slice(0,-5)+x}</script>',
        ("a.png",),
    ),
    "descendant": (
        '<div class=gal><img src="img/a.png"></div><img src="img/b.png"><script>document.querySelectorAll(\'.gal img\').forEach(i=>{i.src=i.src.replace(i.dataset.a,i.dataset.b)})</script>',
        ("a.png",),
    ),
    "descendant jq": (
        "<div id=gal><p><img src=\"img/a.png\"></p></div><img src=\"img/b.png\"><script>$('#gal').find('img').each(function(){this.src=this.src.replace(x,y)})</script>",
        ("a.png",),
    ),
    "a href": (
        "<a href=\"img/thumb_a.png\">x</a><script>big.src=a.href.replace('thumb_','')</script>",
        ("thumb_a.png",),
    ),
    "a href attr": (
        "<a href=\"img/thumbs/a.png\">x</a><script>big.src=a.getAttribute('href').replace('thumbs/','large/')</script>",
        ("thumbs/a.png",),
    ),
    "handler func": (
        '<img onclick="swap(this)" src="img/a.png"><img src="img/b.png"><script>function swap(i){i.src=i.src.replace(i.dataset.a,i.dataset.b)}</script>',
        ("a.png",),
    ),
    "handler elsewhere": (
        '<a onmouseover="document.lamp.src=document.lamp.src.slice(0,-3)+x"><img name=lamp src="img/a.png"></a><img src="img/b.png">',
        ("a.png",),
    ),
    "javascript url": (
        "<a href=\"javascript:void(i.src=i.src.replace('closed','open'))\">x</a><img src=\"img/closed.png\">",
        ("closed.png",),
    ),
    "alpine": ("<img @click=\"$el.src=$el.src.replace('closed','open')\" src=\"img/closed.png\">", ("closed.png",)),
    "x-on": (
        "<b x-on:click=\"$refs.i.src=$refs.i.src.replace('closed','open')\">x</b><img src=\"img/closed.png\">",
        ("closed.png",),
    ),
    "entities": (
        '<img onclick="this.src=this.src.replace(&#39;closed&#39;,&quot;open&quot;)" src="img/closed.png">',
        ("closed.png",),
    ),
    "attr fn": (
        "<img src=\"img/closed.png\"><script>$('img').attr('src',function(_,o){return o.replace('closed','open')})</script>",
        ("closed.png",),
    ),
    "attr arrow": (
        "<img src=\"img/closed.png\"><script>$('img').attr('src',(_,o)=>o.replace('closed','open'))</script>",
        ("closed.png",),
    ),
    "optional": ("<img src=\"img/closed.png\"><script>i?.src?.replace('closed','open')</script>", ("closed.png",)),
    "or empty": (
        "<img src=\"img/closed.png\"><script>i.src=(i.getAttribute('src')||'').replace('closed','open')</script>",
        ("closed.png",),
    ),
    "decodeURI": (
        "<img src=\"img/closed.png\"><script>i.src=decodeURI(i.src).replace('closed','open')</script>",
        ("closed.png",),
    ),
    "String()": (
        "<img src=\"img/closed.png\"><script>i.src=String(i.src).replace('closed','open')</script>",
        ("closed.png",),
    ),
    "destructured": (
        "<img src=\"img/closed.png\"><script>const{src}=i;i.src=src.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "destructured2": (
        "<img src=\"img/closed.png\"><script>const{src:s}=i;i.src=s.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "array indexOf": (
        "<img src=\"img/a.png\"><script>var p=['img/a.png','img/b.png'];i.onclick=function(){var n=p.indexOf(i.getAttribute('src'));i.src=p[(n+1)%2]}</script>",
        ("a.png",),
    ),
    "map": (
        "<img src=\"img/a.png\"><script>var m={'img/a.png':'img/b.png'};i.onclick=function(){i.src=m[i.getAttribute('src')]}</script>",
        ("a.png",),
    ),
    "switch": (
        "<img src=\"img/a.png\"><script>switch(i.getAttribute('src')){case 'img/a.png':i.src='img/b.png'}</script>",
        ("a.png",),
    ),
    "background words": (
        '<div id=hero style="background-image:url(img/a.png)"></div><img src="img/b.png"><script>var h=document.getElementById(\'hero\');h.style.backgroundImage=h.style.backgroundImage.replace(x,y)</script>',
        ("a.png",),
    ),
    "background": (
        "<div style=\"background:url(img/closed.png)\"></div><script>h.style.background=h.style.background.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "computed bg": (
        "<div style=\"background:url(img/closed.png)\"></div><script>var b=getComputedStyle(h).backgroundImage;h.style.backgroundImage=b.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "poster": (
        "<video poster=\"img/closed.png\"></video><script>v.poster=v.poster.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "srcset": (
        "<img srcset=\"img/closed.png 2x\"><script>i.srcset=i.srcset.replace(/closed/g,'open')</script>",
        ("closed.png",),
    ),
    "source srcset": (
        "<picture><source srcset=\"img/closed.png\"><img src=\"img/b.png\"></picture><script>document.querySelectorAll('picture source').forEach(s=>s.srcset=s.srcset.replace('closed','open'))</script>",
        ("closed.png",),
    ),
    "reverse only test": (
        "<img src=\"img/open.png\"><script>if(i.src.endsWith('open.png'))x()</script>",
        ("open.png",),
    ),
    "concat": (
        "<img src=\"img/a.png\"><script>i.src=i.src.substr(0,i.src.lastIndexOf('.')).concat('-dark.png')</script>",
        ("a.png",),
    ),
    "hover suffix": (
        "<img src=\"img/a.png\"><script>$('img').hover(function(){$(this).attr('src',$(this).attr('src').replace('.png','_hover.png'))})</script>",
        ("a.png",),
    ),
    "setAttribute ns": (
        "<svg><image href=\"img/closed.png\"/></svg><script>i.setAttributeNS(null,'href',i.getAttribute('href').replace('closed','open'))</script>",
        ("closed.png",),
    ),
    "href.baseVal": (
        "<svg><image href=\"img/closed.png\"/></svg><script>i.href.baseVal=i.href.baseVal.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "ternary": (
        "<img src=\"img/closed.png\"><script>i.src=on?i.src.replace('open','closed'):i.src.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "regexp ctor": (
        "<img src=\"img/closed.png\"><script>i.src=i.src.replace(new RegExp('closed'),'open')</script>",
        ("closed.png",),
    ),
    "regex global var": (
        "<img src=\"img/closed.png\"><script>var re=/closed/g;i.src=i.src.replace(re,'open')</script>",
        ("closed.png",),
    ),
    "const names": (
        "<img src=\"img/closed.png\"><script>const OFF='closed',ON='open';i.src=i.src.replace(OFF,ON)</script>",
        ("closed.png",),
    ),
    "obj names": (
        "<img src=\"img/closed.png\"><script>const m={closed:'open',open:'closed'};i.src=i.src.replace(/closed|open/,k=>m[k])</script>",
        ("closed.png",),
    ),
    "array join": (
        "<img src=\"img/open.png\"><script>var p=i.src.split('/');p[p.length-1]='open.png';i.src=p.join('/')</script>",
        ("open.png",),
    ),
    "insertion @2x retina": (
        "<img src=\"img/a.png\"><script>if(devicePixelRatio>1){[].forEach.call(document.images,function(im){var s=im.getAttribute('src');im.setAttribute('src',s.substr(0,s.lastIndexOf('.'))+'@2x'+s.substr(s.lastIndexOf('.')))})}</script>",
        ("a.png",),
    ),
    "retina.js": (
        "<img src=\"img/a.png\"><script>var p=this.path.split('.');for(var i=0;i<1;i++){} this.at_2x_path=el.getAttribute('src').replace(/\\.\\w+$/,function(m){return '@2x'+m})</script>",
        ("a.png",),
    ),
    "slides counter": (
        "<img id=s src=\"img/f1.png\"><script>n++;document.getElementById('s').src=document.getElementById('s').src.replace(/f\\d/,'f'+n)</script>",
        ("f1.png",),
    ),
    "prefers dark": (
        "<img src=\"img/a-light.png\"><script>const m=matchMedia('(prefers-color-scheme: dark)');document.querySelectorAll('img[src*=\"-light\"]').forEach(i=>{if(m.matches)i.src=i.src.replace('-light','-dark')})</script>",
        ("a-light.png",),
    ),
    "template read": (
        "<img src=\"img/a.png\"><script>i.src=`${i.src.slice(0,i.src.lastIndexOf('.'))}_hover.png`</script>",
        ("a.png",),
    ),
    "gif play": (
        "<img class=gif src=\"img/a.png\"><script>$('img.gif').click(function(){var s=$(this).attr('src');$(this).attr('src',s.indexOf('.gif')<0?s.replace('.png','.gif'):s.replace('.gif','.png'))})</script>",
        ("a.png",),
    ),
    "mouseover replace unq": (
        "<img src=img/closed.png onmouseover=this.src=this.src.replace('closed','open')>",
        ("closed.png",),
    ),
    "setAttribute template": (
        "<img src=\"img/a.png\"><script>i.setAttribute('src', `${i.getAttribute('src').split('.png')[0]}-dark.png`)</script>",
        ("a.png",),
    ),
    "doxygen new": (
        "<img id=\"dynsection-0-trigger\" src=\"img/closed.png\"><script>function toggleVisibility(linkObj){const base=linkObj.getAttribute('id');const trigger=document.getElementById(base+'-trigger');const src=trigger.getAttribute('src');trigger.setAttribute('src',src.substring(0,src.length-10)+'open.png')}</script>",
        ("closed.png",),
    ),
    "an opened image by its name": (
        "<img id=\"dyn-trigger\" src=\"img/closed.png\"><script>var t=document.getElementById('dyn-trigger');t.onclick=function(){t.src=t.src.substring(0,t.src.length-n)+'open.png'}</script>",
        ("closed.png",),
    ),
    "class in classList": (
        "<img class=swap src=\"img/a.png\"><img src=\"img/b.png\"><script>document.body.addEventListener('click',e=>{if(e.target.classList.contains('swap')){e.target.src=e.target.src.replace(a,b)}})</script>",
        ("a.png",),
    ),
    "matches": (
        "<img class=swap src=\"img/a.png\"><img src=\"img/b.png\"><script>document.addEventListener('click',({target})=>{if(target.matches('img.swap'))target.src=flip(target.src)});function flip(s){return s.slice(0,-4)+suffix}</script>",
        ("a.png",),
    ),
    "tagName only": (
        "<img src=\"img/closed.png\"><script>document.addEventListener('click',({target})=>{if(target.tagName==='IMG')target.src=target.src.replace('closed','open')})</script>",
        ("closed.png",),
    ),
    "attr selector value": (
        '<img data-role=lamp src="img/a.png"><script>document.querySelector(\'[data-role="lamp"]\').src=document.querySelector(\'[data-role="lamp"]\').src.slice(0,-5)+x</script>',
        ("a.png",),
    ),
    "nth": (
        "<img src=\"img/closed.png\"><script>document.images[0].src=document.images[0].src.replace('closed','open')</script>",
        ("closed.png",),
    ),
    "case i": ("<img src=\"img/closed.png\"><script>i.src=i.src.replace(/CLOSED/i,'open')</script>", ("closed.png",)),
    "lower": (
        "<img src=\"img/closed.png\"><script>i.src=i.src.toLowerCase().replace('closed','open')</script>",
        ("closed.png",),
    ),
    "lookup map by name": (
        "<img src=\"img/closed.png\"><script>const m={'closed.png':'open.png'};i.src='img/'+m[i.src.split('/').at(-1)]</script>",
        ("closed.png",),
    ),
    "lookup unq keys": (
        "<img src=\"img/closed.png\"><script>const n=i.src.split('/').pop().replace('.png','');i.src='img/'+{closed:'open'}[n]+'.png'</script>",
        ("closed.png",),
    ),
    "thumb to full": (
        "<div class=thumbs><img src=\"img/thumbs/a.png\"></div><img id=big src=\"img/b.png\"><script>$('.thumbs img').click(function(){$('#big').attr('src',$(this).attr('src').replace('thumbs/','large/'))})</script>",
        ("thumbs/a.png", "b.png"),
    ),
    "thumb prefix": (
        "<img src=\"img/thumbs/a.png\"><script>big.src='img/large/'+t.src.split('/').pop()</script>",
        ("thumbs/a.png",),
    ),
    "xlink": (
        "<svg><image xlink:href=\"img/closed.png\"/></svg><script>im.setAttributeNS('http://www.w3.org/1999/xlink','href',im.getAttributeNS('http://www.w3.org/1999/xlink','href').replace('closed','open'))</script>",
        ("closed.png",),
    ),
    "srcset width": (
        "<img srcset=\"img/a.png 1x, img/b.png 2x\"><script>i.srcset=i.srcset.split(',').map(s=>s.replace('.png','@2x.png')).join(',')</script>",
        ("a.png", "b.png"),
    ),
    "video poster class": (
        "<video class=t poster=\"img/a.png\"></video><script>document.querySelectorAll('video.t').forEach(v=>v.poster=v.poster.replace(x,y))</script>",
        ("a.png",),
    ),
    "input image": (
        "<input id=go type=image src=\"img/a.png\"><script>document.querySelector('#go').src=document.querySelector('#go').src.slice(0,n)+x</script>",
        ("a.png",),
    ),
}
FREE = {
    "prefix attr": "<img src=\"img/a.png\"><script>i.src='../x/'+i.getAttribute('src')</script>",
    "ends with ext": "<img src=\"img/a.png\"><script>if(i.src.endsWith('.png'))x()</script>",
    "startsWith data": "<img src=\"img/a.png\"><script>if(i.src.startsWith('data:'))x()</script>",
    "alternation test": '<img src="img/a.png"><script>if(/\\.(png|gif|webp)$/.test(i.src))zoom(i)</script>',
    "alternation match": '<img src="img/a.png"><script>i.src.match(/\\.(png|gif|webp)$/)&&zoom(i)</script>',
    "href endings": '<a href="img/a.png">x</a><script>if(a.href.match(/\\.(jpe?g|gif|png)/)){b.src=a.href}</script>',
    "cache buster": "<img src=\"img/a.png\"><script>i.src=i.src+'?'+Date.now()</script>",
    "location.href": "<img src=\"img/closed.png\"><script>x=location.href.split('#')[0].replace('closed','open')</script>",
    "plain set": "<img src=\"img/closed.png\"><script>i.onclick=()=>{i.src='img/open.png'}</script>",
    "array join2": "<img src=\"img/a.png\"><script>var p=i.src.split('/');p.splice(-1,0,'large');i.src=p.join('/')</script>",
    "toggle by data": '<img id=s data-alt="img/b.png" src="img/a.png"><script>b.onclick=function(){var i=document.querySelector(\'#s\');var t=i.dataset.alt;i.dataset.alt=i.src;i.src=t}</script>',
    "mutation theme": "<img class=themed src=\"img/a-light.png\"><script>new MutationObserver(()=>{const d=document.body.dataset.mdColorScheme==='slate';for(const i of document.querySelectorAll('.themed'))i.src=`img/a-${d?'dark':'light'}.png`})</script>",
    "whole template": '<img src="img/a.png"><script>b.innerHTML=`<img src="${i.src}">`</script>',
    "url template": '<img src="img/a.png"><script>b.style.backgroundImage=`url(${i.src})`</script>',
    "url concat": "<img src=\"img/a.png\"><script>b.style.backgroundImage='url('+i.src+')'</script>",
    "link whole": '<a href="img/a.png">x</a><script>lb.src=a.href</script>',
    "lightbox filter": "<a href=\"img/a.png\">x</a><script>$('a').filter(function(){return /\\.(png|jpg|gif)$/i.test($(this).attr('href'))}).lightbox()</script>",
    "lightbox filter2": "<a href=\"img/a.png\">x</a><script>document.querySelectorAll('a').forEach(a=>{if(a.href.match(/\\.(png|jpe?g|gif|webp)$/i))a.classList.add('lb')})</script>",
    "alt text from src": "<img src=\"img/a.png\"><script>i.alt=i.src.split('/').pop().split('.')[0]</script>",
    "same origin test": '<img src="img/a.png"><script>if(i.src.indexOf(location.host)<0)x()</script>',
    "frame": "<iframe id=f src=\"p.html\"></iframe><img src=\"img/a.png\"><script>var f=document.getElementById('f');f.src=f.src.replace('x','y')</script>",
    "script src": "<img src=\"img/a.png\"><script>var s=document.currentScript.src.replace('x.js','')</script>",
    "script src base": "<img src=\"img/a.png\"><script>var base=document.currentScript.src.split('/').slice(0,-1).join('/');i.src=base+'/a.png'</script>",
    "video src": "<img src=\"img/a.png\"><script>v.src=v.src.replace('.mp4','.webm')</script>",
    "mouseover attr": "<img src='img/a.png' onmouseover=\"this.src='img/b.png'\" onmouseout=\"this.src='img/a.png'\">",
    "MM_swapImage": "<a onmouseover=\"MM_swapImage('n','','img/b.png',1)\"><img name=n src=\"img/a.png\"></a><script>function MM_swapImgRestore(){var i,x,a=document.MM_sr;for(i=0;a&&i<a.length&&(x=a[i])&&x.oSrc;i++)x.src=x.oSrc;}</script>",
    "svelte/react keyed": "<img src=\"img/closed.png\"><script>const[s,set]=useState('img/closed.png');<img src={s} onClick={()=>set(s.replace('closed','open'))}/></script>",
    "in js comment far": '<img src="img/a.png"><script>/* swaps img.src */ function z(){}</script>',
    "percent": "<img src=\"img/a.png\"><script>i.src=i.src.replace('%2Dclosed','open')</script>",
}


def held_in(page: str) -> set[str]:
    """Give the images of a page that stay for a script's sake."""
    found = scan(page, frozenset(KINDS))
    base = found.base or ""
    view = PageView("index.html", (0, 0, 0, 0), found, (), "/")
    why = Dependents(files=FILES).asked_of(view, "https://images.test", frozenset()) or (lambda _, __: "")
    return {
        f"{base}{one.url}".removeprefix("img/") for one in found.references if one.held or why(one, f"{base}{one.url}")
    }


@pytest.mark.parametrize(("page", "held"), RENAMED.values(), ids=RENAMED)
def test_images_of_a_page_whose_code_changes_their_urls_stay(page, held):
    assert held_in(page) == set(held)


@pytest.mark.parametrize("page", FREE.values(), ids=FREE)
def test_images_of_a_page_whose_code_only_sets_or_shows_urls_move(page):
    assert held_in(page) == set()


READ = {
    "canvas by id": (
        (
            "<canvas id=c></canvas><img id=i src=a.png><script>const x=document.getElementById('c').getContext('2d');"
            "x.drawImage(document.getElementById('i'),0,0);x.getImageData(0,0,1,1)</script>"
        ),
        ["a.png"],
    ),
    "canvas by class, others go": (
        (
            "<img class='photo p' src=a.png><img class=q src=b.png><script>document.querySelectorAll('img.photo').forEach(i=>{"
            "const c=document.createElement('canvas');c.getContext('2d').drawImage(i,0,0);save(c.toDataURL())})</script>"
        ),
        ["a.png"],
    ),
    "blob of a canvas": (
        "<img id=i src=a.png><script>x.drawImage($('#i')[0],0,0);c.toBlob(b=>send(b))</script>",
        ["a.png"],
    ),
    "texture": (
        "<img id=i src=a.png hidden><script>gl.texImage2D(gl.TEXTURE_2D,0,f,f,t,document.getElementById('i'))</script>",
        ["a.png"],
    ),
    "fetch": (
        (
            "<img class=copy src=a.png><img src=b.png><script>for(const i of document.querySelectorAll('.copy'))"
            "i.onclick=async()=>save(await(await fetch(i.src)).blob())</script>"
        ),
        ["a.png"],
    ),
    "drawings put into the page": (
        (
            "<img class=svg src=a.svg><script>$('img.svg').each(function(){var $img=$(this),"
            "imgURL=$img.attr('src');fetch(imgURL).then(d=>$img.replaceWith(d))})</script>"
        ),
        ["a.svg"],
    ),
    "request": (
        "<img id=i src=a.png><script>r.open('GET', document.getElementById('i').currentSrc, true)</script>",
        ["a.png"],
    ),
    "images inside": (
        (
            "<div class='g x'><img src=a.png></div><img src=b.png><script>document.querySelectorAll('.g img').forEach("
            "async i=>{t=await fetch(i.getAttribute('src'))})</script>"
        ),
        ["a.png"],
    ),
    "event": ("<img src=a.png onclick='fetch(this.src).then(copy)'><img src=b.png>", ["a.png"]),
    "event that calls": (
        "<img src=a.png onload='inline(this)'><img src=b.png><script>function inline(e){fetch(e.src).then(put)}</script>",
        ["a.png"],
    ),
    "picture": (
        (
            "<picture><source srcset=b.png><img id=i src=a.png></picture><script>x.drawImage(i,0,0);c.toDataURL();"
            "i=document.getElementById('i')</script>"
        ),
        ["a.png"],
    ),
    "event for a library": ("<img src=a.svg onload='SVGInject(this)'><img src=b.svg>", ["a.svg"]),
    "library for drawings": (
        "<img class=inject-me src=a.svg><img src=b.svg><script>SVGInjector(document.querySelectorAll('img.inject-me'))</script>",
        ["a.svg"],
    ),
    "library for colours": (
        "<img id=i src=a.png><script>new ColorThief().getColor(document.getElementById('i'))</script>",
        ["a.png"],
    ),
    "library that cuts": (
        "<img id=i src=a.png><script>new Cropper(document.getElementById('i'), {ready(){}})</script>",
        ["a.png"],
    ),
    # Not read.
    "only drawn": (
        "<img id=i src=a.png><script>x.drawImage(document.getElementById('i'),0,0)</script>",
        [],
    ),
    "another canvas": (
        "<canvas id=c></canvas><img id=i src=a.png><script>$('#i').show();link.href=$('#c')[0].toDataURL()</script>",
        [],
    ),
    "other files": ("<img id=i src=a.png><script>$('#i').show();fetch('i.json');fetch(s.href)</script>", []),
    "another thing's address": (
        "<img id=i src=a.png><script>const u=s.src;$('#i').show();cache.add(u);fetch(v)</script>",
        [],
    ),
    "another's method": (
        "<img id=i src=a.png><script>const e=document.getElementById('i');prefetch(e.src);lib.fetch(e.src)</script>",
        [],
    ),
    "shown": ("<img id=i src=a.png><script>big.src=document.getElementById('i').src;window.open('x')</script>", []),
}


@pytest.mark.parametrize(("page", "read"), READ.values(), ids=READ)
def test_images_whose_pixels_or_bytes_a_script_reads_are_known(page, read):
    """Browsers refuse it that of another origin's images (HTML, origin-clean flag; Fetch, CORS check)."""
    found = scan(page, frozenset(KINDS))
    assert [one.url for one in found.references if one.held == HELD_BY_READER] == read
    assert all(one.held in {"", HELD_BY_READER} for one in found.references)


SERIES = "".join(f'<img src="img/f{n}.png">' for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("script", "is_held"),
    [
        # As a lightbox tells videos from pictures.
        (r"var u=t.href;if(u.match(/vimeo\.com\/([0-9]*)/)&&x)y();", False),
        (r"if(a.href.match(/youtu\.be\/[a-zA-Z0-9\-_]+/))play()", False),
        (r"v=i.src.match(/player-(\d+)/)", False),
        (r"i.src=i.src.replace(/(\d+)\.png/,next)", True),
        (r"n=+i.src.match(/\d+/)[0];i.src=f(n+1)", True),
        (r"i.src=i.src.replace(/f(\d+)/,next)", True),
        (r"u.match(/vimeo\.com\/([0-9]*)/);i.src=i.src.replace(/[0-9]/,next)", True),
    ],
)
def test_numbered_images_stay_where_their_own_digits_change(script, is_held):
    assert held_in(f"{SERIES}<script>{script}</script>") == ({"f1.png", "f2.png", "f3.png"} if is_held else set())


FILLER = "x=1;" * 150_000
SWAP = "i.src=i.src.replace('closed','open')"
IMAGES = '<img src="img/closed.png"><img src="img/a.png">'


@pytest.mark.parametrize(
    ("script", "held"),
    [
        (f"{FILLER}{SWAP}", {"closed.png"}),
        (f"{SWAP};{FILLER}", {"closed.png"}),
        (f"{FILLER}i.src='img/a.png'", set()),
        # Of the same length, and begun alike.
        (f"{FILLER}i.src=i.src.replace('a.png','open')", {"a.png"}),
        # What cannot be followed to its end may change any.
        (f"{'i.src=i.src.slice(1);' * 2100}{SWAP}", {"closed.png", "a.png"}),
        ("src:'z'," * 21_000 + SWAP, {"closed.png", "a.png"}),
        ("".join(f"i.src=i.src.replace('x{n}','y{n}');" for n in range(1100)), {"closed.png", "a.png"}),
    ],
)
def test_a_script_of_any_length_is_read(script, held):
    """Data of a plot may be long, and its script at their end."""
    assert held_in(f"{IMAGES}<script>{script}</script>") == held


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a.src",
            "a.src=b.src;",
            "f(a.src);",
            "src:s}=",
            "{src",
            "`${i.src}a`",
            "i.src(((",
            ".src)))",
            "x=a.src;x.replace(",
        ),
        *(
            "i.attr('src',function(a,b",
            "if(/(((((/.test(a.src",
            "document.a.src",
            "'src'",
            "/a[",
            "$('#a')",
            "function f(x)",
        ),
        *(
            "<b class=gal><img>",
            "<a onclick='a.src'>",
            "<a onclick='a.src",
            " onclick=a.src",
            "a.src<",
            "</b><b class=gal>",
            "x.drawImage(a.src);c.toDataURL();",
            "texImage2D(",
            "fetch(a(",
            "fetch(a[b(.src",
            "u=i.src;fetch(u);",
            "$.get($('",
        ),
    ],
)
def test_a_page_of_nothing_but_that_is_read_in_linear_time(piece):
    """What grows faster than the text would take hours of these."""
    text = piece * (30_000 // len(piece))
    renames_of(text)
    scan(f"{text}<script>document.querySelectorAll('.gal img').forEach(i=>i.src=i.src.replace(a,b))</script>", KINDS)
