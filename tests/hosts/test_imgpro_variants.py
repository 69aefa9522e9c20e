"""img.pro's sizes and formats are addresses that follow from an image's own."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hosts.imgpro_setup import offline
from hypothesis import given
from hypothesis import strategies as st

from imghost.hosts.imgpro.host import EDGES
from imghost.models import Record

URL = "https://src.img.pro/4j2/abc12345.jpg"
PIXELS = st.integers(1, 60_000)
HOST = offline()


def variants(url: str, width: int, height: int) -> tuple[tuple[str, str], ...]:
    now = datetime.now(UTC)
    return HOST.variants(Record("a" * 64, "img.pro", url, "abc12345", "", 9, "image/jpeg", width, height, now, None))


@pytest.mark.parametrize(
    ("width", "height", "widths"),
    [
        (4000, 3000, {"s": "426w", "m": "853w", "l": "1440w"}),
        (3000, 4000, {"s": "320w", "m": "640w", "l": "1080w"}),
        (1920, 1080, {"s": "568w", "m": "1137w"}),
        (1921, 1081, {"s": "568w", "m": "1137w", "l": "1919w"}),
        (640, 640, {"s": "320w"}),
        (641, 641, {"s": "320w", "m": "640w"}),
        (320, 320, {}),
        (1, 1, {}),
        (50_000, 321, {"s": "49844w"}),
    ],
)
def test_each_size_smaller_than_the_image_is_named_with_its_width(
    width: int, height: int, widths: dict[str, str]
) -> None:
    assert variants(URL, width, height) == tuple((f"{URL}?size={size}", wide) for size, wide in widths.items())


@given(PIXELS, PIXELS)
def test_nothing_is_enlarged_and_every_width_keeps_the_aspect_ratio(width: int, height: int) -> None:
    found = variants(URL, width, height)
    widths = [int(wide.removesuffix("w")) for _, wide in found]
    assert widths == sorted(set(widths))
    assert all(0 < wide < width for wide in widths)
    edges = dict(EDGES)
    for (url, _), wide in zip(found, widths, strict=True):
        edge = edges[url[-1]]
        assert edge < min(width, height)
        assert 0 <= Fraction(width * edge, min(width, height)) - wide < 1


@given(PIXELS, PIXELS, st.sampled_from(["webp", "avif"]))
def test_every_address_made_is_one_of_the_hosts_images_and_fits_a_srcset(width: int, height: int, form: str) -> None:
    for url in (HOST.converted(URL, form), *(url for url, _ in variants(HOST.converted(URL, form), width, height))):
        assert HOST.accepts(url)
        assert not set(url) & set(" ,\"'\\")


@pytest.mark.parametrize("form", ["webp", "avif"])
def test_a_format_is_asked_for_beside_a_size(form: str) -> None:
    assert HOST.converted(URL, form) == f"{URL}?format={form}"
    assert HOST.converted(f"{URL}?size=s", form) == f"{URL}?size=s&format={form}"
