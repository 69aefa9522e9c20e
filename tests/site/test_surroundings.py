"""What stands beside a site's pages and decides how they reach a reader."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from sites import picture, tree, write

from imghost.cli.main import main
from imghost.site.dependents import barring, drawn_by_scripts, seen_elsewhere

PAGE = "<!doctype html><title>x</title><img src=a.png>"
CDN = ("https://cdn.test",)


def said(site: Path, capsys: pytest.CaptureFixture[str], *options: str, status: int = 0) -> str:
    """Host a site's images on another origin; gives what was said."""
    capsys.readouterr()
    where = ["--option", "base_url=https://cdn.test/", "--option", f"path={site.parent / 'hosted'}"]
    records = ["--lock", str(site.parent / "imghost.lock"), "--cache-dir", str(site.parent / "cache")]
    assert main(["rehost", str(site), "--host", "directory", *where, *records, *options]) == status
    told = capsys.readouterr()
    return told.out + told.err


def test_gzip_twin_of_a_changed_page_is_renewed_and_others_are_not(tmp_path, capsys):
    other = gzip.compress(b"other")
    site = write(
        tmp_path / "site",
        {
            "index.html": PAGE,
            "index.html.gz": gzip.compress(PAGE.encode()),
            "a.png": picture(1),
            "deep/p.html": "<p>x</p>",
            "deep/p.html.gz": other,
            "own.js.gz": other,
        },
    )
    said(site, capsys, "--remove-local")
    page = (site / "index.html").read_bytes()
    assert b"https://cdn.test/" in page
    assert gzip.decompress((site / "index.html.gz").read_bytes()) == page
    assert (site / "deep/p.html.gz").read_bytes() == (site / "own.js.gz").read_bytes() == other
    assert not (site / "a.png").exists()
    before = tree(site)
    said(site, capsys)
    assert tree(site) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.html.br", b"packed"),
        ("index.html.zst", b"packed"),
        ("ngsw.json", json.dumps({"hashTable": {"/index.html": "0" * 40}})),
        ("sw.js", 'precacheAndRoute([{"url":"index.html","revision":"1"}])'),
        ("service-worker.js", "self.__precacheManifest=[{revision:'1',url:'/'}]"),
        ("service-worker.js", 'var precacheConfig=[["index.html","0a1b2c3d4e"]]'),
        ("ngsw.json", json.dumps({"hashTable": {"/docs/index.html": "0" * 40, "/docs/a/b.js": "0" * 40}})),
        ("pwa-worker.js", "precacheAndRoute([{url:`https://docs.test/index.html`,revision:`1`}])"),
        ("offline.js", 'self.__WB=[{revision:"1",url:"/index.html"}];precacheAndRoute(self.__WB)'),
        ("service-worker-assets.js", 'self.assetsManifest={"assets":[{"hash":"sha256-a","url":"index.html"}]}'),
        ("assets-manifest.json", json.dumps([{"url": "index.html", "revision": "1"}])),
        ("SHA256SUMS", f"{'0a' * 32}  index.html\n"),
        ("checksums.md5", f"{'0a' * 16} *index.html\n"),
        ("sw.min.js", 'precacheAndRoute([{"url":"index.html","revision":"1"}])'),
        ("sw-v2.js", 'precacheAndRoute([{"url":"/index.html","revision":"1"}])'),
        ("sw.mjs", 'precacheAndRoute([{"url":"index.html","revision":"1"}])'),
        ("checksum.txt", f"{'0a' * 32}  index.html\n"),
    ],
)
def test_file_that_vouches_for_a_changed_page_is_warned_of_once(name, content, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": PAGE, "a.png": picture(1), name: content})
    told = said(site, capsys, "--strict", status=1)
    assert told.count(name) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("other.html.br", b"packed"),
        ("ngsw.json", json.dumps({"hashTable": {"/other.html": "0" * 40}})),
        ("sw.js", "fetch('index.html')"),
        ("sw.js", 'precacheAndRoute([{url:"index.html",revision:null}])'),
        ("SHA256SUMS", f"{'0a' * 32}  other.html\n"),
        ("_headers", "/*\n  # Content-Security-Policy: img-src 'self'\n"),
        ("_headers", "/*\n  Content-Security-Policy-Report-Only: img-src 'self'\n"),
        (".htaccess", "Header unset Content-Security-Policy\n"),
        ("netlify.toml", "#Content-Security-Policy = \"img-src 'self'\"\n"),
        ("web.config", "<!-- <add name='Content-Security-Policy' value=\"img-src 'self'\"/> -->"),
        ("_headers", "/*\n  X-Frame-Options: DENY\n"),
        ("_headers", "/*\n  Content-Security-Policy: img-src 'self' https://cdn.test\n"),
    ],
)
def test_other_files_are_no_word(name, content, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": PAGE, "a.png": picture(1), name: content})
    assert name not in said(site, capsys, "--strict")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_headers", "/*\n  Content-Security-Policy: default-src 'self'; img-src 'self'\n"),
        (".htaccess", "Header set Content-Security-Policy \"img-src 'self'\"\n"),
        ("netlify.toml", "[headers.values]\nContent-Security-Policy = \"img-src 'self' data:\"\n"),
        ("vercel.json", '{"headers": [{"key": "Content-Security-Policy", "value": "img-src \'self\'"}]}'),
        (".htaccess", "Header set Content-Security-Policy: \"default-src *; \\\n  img-src 'self'\"\n"),
        (".htaccess", "Header set Content-Security-Policy img-src\\ 'self'\n"),
        ("netlify.toml", "Content-Security-Policy = '''\nscript-src 'self';\nimg-src 'self'\n'''\n"),
        ("vercel.json", '{"headers": [{"value": "img-src \'self\'", "key": "Content-Security-Policy"}]}'),
        ("web.config", '<add value="img-src \'self\'" name="Content-Security-Policy"/>'),
        ("serve.json", '{"headers": [{"key": "Content-Security-Policy", "value": "img-src \'self\'"}]}'),
        ("nginx.conf", "add_header Content-Security-Policy \"img-src 'self'\" always;"),
        ("customHttp.yml", "  - key: 'Content-Security-Policy'\n    value: \"img-src 'self'\"\n"),
        ("vercel.json", '{"headers": [{"value": "require-corp", "key": "Cross-Origin-Embedder-Policy"}]}'),
        ("enable-threads.js", 'h.set("Cross-Origin-Embedder-Policy", "require-corp")'),
        ("_headers", "/*\n  Cross-Origin-Embedder-Policy: require-corp\n"),
        ("coi-serviceworker.min.js", "/* any */"),
        ("deep/coi-serviceworker.js", "headers.set('x', 'y')"),
    ],
)
def test_header_that_bars_the_host_is_told_with_the_line_to_add(name, text, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": PAGE, "a.png": picture(1), name: text})
    told = said(site, capsys, "--strict", status=1)
    assert name in told
    assert "https://cdn.test" in told or "credentialless" in told
    assert list(barring(site, [name], ())) == []


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"hashmap.json", "index.html"}, "VitePress"),
        ({"assets/js/runtime~main.0a1b.js"}, "Docusaurus"),
        ({"_next/static/chunks/a.js"}, "Next.js"),
        ({"assets/javascripts/bundle.js", "search/search_index.json"}, ""),
    ],
)
def test_frameworks_that_draw_pages_by_scripts_are_known(files, name):
    assert drawn_by_scripts(files) == name


def test_absolute_urls_of_a_site_that_says_no_url_are_told(tmp_path, capsys):
    page = PAGE + "<img src='https://docs.test/en/a.png'><img src='https://badges.test/b.svg'>"
    site = write(tmp_path / "site", {"index.html": page, "a.png": picture(1)})
    told = said(site, capsys, "--strict")
    assert "site_url" in told
    assert "https://docs.test/en/a.png" in told
    assert "site_url" not in said(site, capsys, "--site-url", "https://docs.test/en/")
    assert seen_elsewhere(["https://x.test/"], {"a.png"}) == (0, "", "")


@pytest.mark.parametrize("name", ["page.htm", "PAGE.HTML", "deep/page.xhtml", "Index.Htm"])
def test_pages_are_known_by_their_ending_in_any_case(name, tmp_path, capsys):
    site = write(tmp_path / "site", {name: "<!doctype html><title>x</title><img src=/a.png>", "a.png": picture(1)})
    said(site, capsys)
    assert "https://cdn.test/" in (site / name).read_text()


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"about": "<!DOCTYPE html><img src=a.png>"}, "about begins as a page does and has no ending"),
        ({"en/docs": "\ufeff\n<html lang=en>", "v1.2/x": "<!doctype html>"}, "2 files begin, like en/docs,"),
        ({"CNAME": "docs.test", "LICENSE": "<p>", "_redirects": "/a /b", "empty": ""}, ""),
        ({"about.md": "<!doctype html>", ".buildinfo": "<html>"}, ""),
    ],
)
def test_pages_without_an_ending_are_told_in_one_line(files, line, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": PAGE, "a.png": picture(1), **files})
    before = {path: (site / path).read_bytes() for path in files}
    told = " ".join(said(site, capsys, "--strict").replace("imghost: ", "").split())
    assert (line in told) if line else ("no ending" not in told)
    assert {path: (site / path).read_bytes() for path in files} == before


def test_site_of_pages_without_an_ending_alone_says_what_it_has(tmp_path, capsys):
    site = write(tmp_path / "site", {"about": PAGE, "a.png": picture(1)})
    told = " ".join(said(site, capsys, status=2).split())
    assert "there is no page in" in told
    assert "about begins as a page does" in told


@pytest.mark.parametrize(
    "page",
    [
        "<!DOCTYPE html><p>Photo</p>",
        "\n<html><body>Photo</body></html>",
        f"<!-- saved from url -->\n<!-- {'x' * 3000} --><HTML>",
        '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"><html>',
        '<meta http-equiv="refresh" content="0; url=../photo/">',
        "\ufeff<title>Photo</title>",
        "<script>location='x.html'</script>",
        "<!doctype html>".encode("utf-16"),
    ],
)
def test_link_to_a_page_under_an_images_name_is_no_word(page, tmp_path, capsys):
    site = write(
        tmp_path / "site", {"index.html": f"{PAGE}<a href=photo.jpg>x</a>", "a.png": picture(1), "photo.jpg": page}
    )
    assert "photo.jpg" not in said(site, capsys, "--strict")
    assert "<a href=photo.jpg>" in (site / "index.html").read_text()
    (site / "index.html").write_text(f"{PAGE}<img src=photo.jpg>")
    assert "photo.jpg" in said(site, capsys, "--strict", status=1)


DRAWING = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{}</svg>"


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("d.svg", DRAWING.format("<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'/></foreignObject>"), "SVG"),
        ("d.svg", DRAWING.format("<a href='https://docs.test/'><rect/></a>"), "SVG"),
        ("d.svg", "<!DOCTYPE svg [<!ENTITY e 'x'>]>" + DRAWING.format("<text>&e;</text>"), "SVG"),
        ("d.svg", DRAWING.format("<style>@import 'x.css';</style>"), "SVG"),
        ("d.bmp", b"BM" + bytes(60), "BMP"),
        ("d.ico", b"\0\0\1\0\1\0" + bytes(60), "icon"),
        ("d.svgz", gzip.compress(DRAWING.encode(), mtime=0), "svgz"),
    ],
)
def test_what_browsers_show_where_it_is_fails_no_strict_build(name, content, word, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": f"{PAGE}<img src={name}>", "a.png": picture(1), name: content})
    told = said(site, capsys, "--strict")
    assert word in told
    assert "warning" not in told
    assert f"<img src={name}>" in (site / "index.html").read_text()


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"search/search_index.js": "x", "assets/javascripts/bundle.1.js": "x"}, "the plugin offline"),
        ({"hashmap.json": "{}", "assets/app.1.js": "x"}, "VitePress draws the next page"),
        ({"assets/js/runtime~main.0a1b.js": "x"}, "Docusaurus draws the next page"),
        ({"assets/javascripts/bundle.1.js": "x", "search/search_index.json": "{}"}, ""),
    ],
)
def test_site_that_is_read_otherwise_than_by_its_pages_is_told_once(files, word, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": PAGE, "deep/p.html": PAGE.replace("a.png", "../a.png"),
                                     "a.png": picture(1), **files})  # fmt: skip
    told = " ".join(said(site, capsys, "--strict").split())
    assert told.count(word) == 1 if word else "local copies" not in told
