"""The embedded host: a folder of content-addressed files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import SettingsError
from imghost.hosts import Setup
from imghost.hosts.directory import Directory, DirectoryOptions
from imghost.models import MEDIA_TYPES, Facts, Image, Limits, Payload
from imghost.net import Client
from imghost.run.plan import variant_of

SHA = hashlib.sha256(b"an image").hexdigest()


def host(project: Path, path: str = "_imghost", base_url: str | None = None) -> Directory:
    setup = Setup(Client(environ={}), None, None, project, project / "site", {})
    return Directory(DirectoryOptions(path, base_url), setup)


def payload(file: Path, content: bytes = b"an image", variant: str = "", media_type: str = "image/png") -> Payload:
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Payload(SHA, digest, file, len(content), media_type, 1, 1, variant)


def image(content: bytes = b"an image", media_type: str = "image/png") -> Image:
    return Image("img/a.png", SHA, len(content), Facts(media_type, 1, 1))


def test_an_upload_is_a_copy_under_a_name_that_follows_from_the_bytes(tmp_path: Path) -> None:
    hosted = host(tmp_path).upload(payload(tmp_path / "sent"))
    assert hosted.url == f"_imghost/{SHA[:32]}.png"
    assert (tmp_path / "site" / hosted.url).read_bytes() == b"an image"
    assert hosted.expires is None


def test_names_are_the_same_on_every_machine_and_under_every_path(tmp_path: Path) -> None:
    first = host(tmp_path / "one").upload(payload(tmp_path / "sent"))
    second = host(tmp_path / "two", "files/here").upload(payload(tmp_path / "renamed"))
    assert first.id == second.id


def test_the_same_upload_again_leaves_one_file(tmp_path: Path) -> None:
    folder = host(tmp_path)
    folder.upload(payload(tmp_path / "sent"))
    folder.upload(payload(tmp_path / "sent"))
    assert [file.name for file in (tmp_path / "site/_imghost").iterdir()] == [f"{SHA[:32]}.png"]


def test_variants_of_an_image_are_files_of_their_own(tmp_path: Path) -> None:
    folder = host(tmp_path)
    variants = ("", "strip", "edge1600", "strip+edge1600", "strip+edge999999999+fit9999999999")
    urls = [folder.upload(payload(tmp_path / "sent", variant=variant)).url for variant in variants]
    assert len(set(urls)) == len(variants)
    assert all(folder.accepts(url) for url in urls)


@given(
    st.sampled_from(sorted(MEDIA_TYPES)),
    st.booleans(),
    st.integers(1, 10**9 - 1) | st.none(),
    st.integers(1, 10**9 - 1) | st.none(),
)
def test_every_variant_has_a_name_that_is_accepted(
    tmp_path_factory: pytest.TempPathFactory, media_type: str, strips: object, edge: int | None, most: int | None
) -> None:
    root = tmp_path_factory.getbasetemp() / "variants"
    root.mkdir(exist_ok=True)
    facts = Facts(media_type, 10**9 + 1, 10, has_metadata=bool(strips))
    big = Image("a", SHA, 10**9 + 1, facts)
    variant = variant_of(big, Limits(frozenset(MEDIA_TYPES), most), metadata="strip", max_edge=edge, oversize="resize")
    if isinstance(variant, str):
        folder = host(root)
        assert folder.accepts(folder.upload(payload(root / "sent", variant=variant, media_type=media_type)).url)


def test_what_is_there_is_found_without_a_copy(tmp_path: Path) -> None:
    folder = host(tmp_path)
    assert folder.stored(image(), "") is None
    url = folder.upload(payload(tmp_path / "sent")).url
    found = folder.stored(image(), "")
    assert found is not None
    assert (found.url, found.is_new) == (url, False)
    assert folder.stored(image(), "strip") is None
    assert folder.stored(image(media_type="image/gif"), "") is None


def test_a_file_of_another_size_is_not_the_image(tmp_path: Path) -> None:
    folder = host(tmp_path)
    file = tmp_path / "site" / folder.upload(payload(tmp_path / "sent")).url
    for content in (b"", b"an imag", b"an image!"):
        file.write_bytes(content)
        assert folder.stored(image(), "") is None
    folder.upload(payload(tmp_path / "sent"))
    assert folder.stored(image(), "") is not None


def test_an_empty_file_is_no_variant(tmp_path: Path) -> None:
    folder = host(tmp_path)
    file = tmp_path / "site" / folder.upload(payload(tmp_path / "sent", variant="strip")).url
    assert folder.stored(image(), "strip") is not None
    file.write_bytes(b"")
    assert folder.stored(image(), "strip") is None


def test_a_link_or_a_folder_of_that_name_is_not_the_image(tmp_path: Path) -> None:
    folder = host(tmp_path)
    file = tmp_path / "site" / folder.upload(payload(tmp_path / "sent")).url
    file.unlink()
    file.mkdir()
    assert folder.stored(image(), "strip") is None
    assert folder.stored(image(b"x" * file.lstat().st_size), "") is None
    file.rmdir()
    file.symlink_to("x" * len(b"an image"))
    assert folder.stored(image(), "") is None


NAME = f"{SHA[:32]}.png"
HOSTILE = [
    *("", NAME, f"/_imghost/{NAME}", f"./_imghost/{NAME}", f"_imghost//{NAME}", f"_imghost/../{NAME}"),
    *(f"_imghost/x/{NAME}", f"x_imghost/{NAME}", f"_imghost\\{NAME}", f"_imghost/{NAME}\n"),
    *(f"\n_imghost/{NAME}", f" _imghost/{NAME}", f"_imghost/{NAME} ", f"_imghost/{NAME}?x"),
    *(f"_imghost/{NAME}#x", f"_imghost/{NAME}\0", f"_imghost/{NAME}.html", f"_imghost/{SHA}.png"),
    *(f"_imghost/{SHA[:31]}.png", f"_imghost/{SHA[:32].upper()}.png", f"_imghost/{SHA[:32]}.html"),
    *(f"_imghost/{SHA[:32]}.jpeg", f"_imghost/{SHA[:32]}", f"_imghost/{SHA[:32]}png", f"_imghost/{SHA[:32]}-.png"),
    *(f"_imghost/{SHA[:32]}-a-b-c-d.png", f"_imghost/{SHA[:32]}-STRIP.png", f"_imghost/{SHA[:32]}-{'x' * 33}.png"),
    *(f"_imghost/{'é' * 32}.png", f"_imghost/{'١' * 32}.png", f"https://x.example/_imghost/{NAME}"),
    *(f"//x.example/_imghost/{NAME}", f"javascript:_imghost/{NAME}", f"data:image/png,_imghost/{NAME}"),
    *("_imghost/logo.png", '_imghost/"onerror=alert(1).png'),
]


@pytest.mark.parametrize("url", HOSTILE)
def test_no_other_text_is_taken_for_one_of_its_images(tmp_path: Path, url: str) -> None:
    assert not host(tmp_path).accepts(url)


@given(st.text(max_size=60))
def test_what_is_accepted_is_a_plain_name_in_the_folder(text: str) -> None:
    folder = host(Path("/x"))
    for url in (text, f"_imghost/{text}", f"_imghost/{SHA[:32]}{text}", f"{text}/{NAME}"):
        if folder.accepts(url):
            assert url.startswith("_imghost/")
            assert url.isascii()
            assert url.count("/") == 1


def test_with_a_base_url_only_urls_under_it_are_accepted(tmp_path: Path) -> None:
    folder = host(tmp_path, base_url="https://img.example/a.b")
    assert folder.accepts(f"https://img.example/a.b/{NAME}")
    for url in (
        f"_imghost/{NAME}",
        f"https://img.example/axb/{NAME}",
        f"http://img.example/a.b/{NAME}",
        f"https://img.example.evil/a.b/{NAME}",
        f"https://img.example/a.b/x/{NAME}",
        f"https://img.example/{NAME}",
    ):
        assert not folder.accepts(url)


def test_without_a_base_url_its_images_are_the_sites_own(tmp_path: Path) -> None:
    folder = host(tmp_path)
    assert (folder.origins, folder.needs_network, folder.lacks_credential) == ((), False, False)
    assert folder.limits.formats == frozenset(MEDIA_TYPES)


@pytest.mark.parametrize("path", ["_imghost", "files", "a/b", "a b", "./files", "x/../files", "100%", "é"])
def test_a_path_is_in_the_site(tmp_path: Path, path: str) -> None:
    folder = host(tmp_path, path)
    assert folder.folder == Path(os.path.normpath(tmp_path / "site" / path))
    assert folder.accepts(folder.upload(payload(tmp_path / "sent")).url)


def test_a_path_that_the_configuration_writes_from_its_folder_into_the_site_is_there(tmp_path: Path) -> None:
    for path in ("site/files", str(tmp_path / "site/files")):
        assert host(tmp_path, path).folder == tmp_path / "site/files"


@pytest.mark.parametrize(
    "path", ["..", "../files", ".", "/", "/tmp/files", "x/../../files", "../site-two/files", "site"]
)
def test_a_path_out_of_the_site_needs_a_base_url(tmp_path: Path, path: str) -> None:
    if path == "site":
        path = str(tmp_path / "site")
    with pytest.raises(SettingsError, match=r"host 'directory': option 'path' leads out of the site .* 'base_url'"):
        host(tmp_path, path)


def test_a_path_with_a_base_url_is_relative_to_the_configuration(tmp_path: Path) -> None:
    folder = host(tmp_path, "../public", "https://img.example/x/")
    assert folder.folder == tmp_path.parent / "public"
    assert folder.origins == ("https://img.example",)


def test_the_usual_path_with_a_base_url_is_in_the_site(tmp_path: Path) -> None:
    folder = host(tmp_path, base_url="http://127.0.0.1:8000/docs/_imghost")
    assert folder.folder == tmp_path / "site/_imghost"
    assert folder.origins == ("http://127.0.0.1:8000",)
    assert folder.upload(payload(tmp_path / "sent")).url == f"http://127.0.0.1:8000/docs/_imghost/{NAME}"


@pytest.mark.parametrize(
    "base_url",
    ["https://x.example", "https://x.example/", "http://x/", "https://[::1]:80/a/", "https://x.example:8443/a-b/~c"],
)
def test_a_base_url_gives_urls_that_can_be_split(tmp_path: Path, base_url: str) -> None:
    folder = host(tmp_path, base_url=base_url)
    url = folder.upload(payload(tmp_path / "sent")).url
    assert url == f"{base_url.rstrip('/')}/{NAME}"
    parts = urlsplit(url)
    assert folder.origins == (f"{parts.scheme}://{parts.netloc}",)
    assert parts.port in {None, 80, 8443}


@pytest.mark.parametrize(
    "base_url",
    [
        *(
            "x.example",
            "//x.example/",
            "ftp://x.example/",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://[",
        ),
        *("https://[x/", "https://x.example/?a", "https://x.example/#a", "https://user@x.example/", "https://x y/"),
        *("https://x.example/\n", 'https://x.example/"', "https://x.example/a//b", "https://x:99999/", "https://:80/"),
        *("https://é.example/", "https://x.example/%2e", "https://-/", "/docs/", ""),
    ],
)
def test_a_base_url_that_is_none_is_one_line(tmp_path: Path, base_url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        host(tmp_path, base_url=base_url)
    assert "option 'base_url' should be an http or https URL" in str(caught.value)
    assert str(caught.value).isprintable()


def test_its_images_are_permanent_and_free(tmp_path: Path) -> None:
    limits = host(tmp_path).limits
    assert (limits.retention, limits.price) == (None, 0)
    assert host(tmp_path).ready().remaining is None
