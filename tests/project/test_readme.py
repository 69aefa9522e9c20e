"""The README says what is so, in few words."""

import re

from documentation import DOCS
from readme import README

from imghost.cli.parser import COMMANDS
from imghost.hosts import registry

TEXT = README.read_text("utf-8")


def test_the_two_commands_are_named() -> None:
    assert "make demo" in TEXT
    assert "make test" in TEXT


def test_it_is_read_in_three_minutes() -> None:
    prose = re.sub(r"^```.*?^```", "", TEXT, flags=re.M | re.S)
    assert len(prose.split()) <= 700


def test_every_host_and_no_other_is_named() -> None:
    assert set(registry.installed()) <= set(re.findall(r"`([a-z0-9.]+)`", TEXT))
    assert set(re.findall(r"host: ([a-z0-9.]+)", TEXT)) <= set(registry.installed())


def test_a_command_that_is_named_is_one() -> None:
    assert set(re.findall(r"[`$] ?imghost ([a-z]+) ", TEXT)) <= set(COMMANDS)


def test_the_picture_and_its_caption_tell_the_same_figures() -> None:
    """Both are written by `python docs/make_hero.py`, which measures them."""
    picture = (DOCS / "images/hero.svg").read_text("utf-8")
    before, after = (int(number.replace(",", "")) for number in re.findall(r"([\d,]+) bytes, ([\d,]+) after", TEXT)[0])
    images, references = re.findall(r"(\d+) images, (\d+) references", TEXT)[0]
    for told in (f"{before / 1e6:.1f} MB", f"{after / 1e6:.1f} MB", f"{images} images", f"{references} references"):
        assert told in picture
    assert f"{before / 1e6:.1f} MB of a documentation site become {after / 1e6:.1f} MB" in TEXT


def test_the_home_page_shows_the_same_picture_and_the_same_ways_in() -> None:
    home = (DOCS / "index.md").read_text("utf-8")
    for same in (r"^\*\*Documentation.*?\n\n", r"<!-- hero -->.*?<!-- /hero -->"):
        (found,) = re.findall(same, TEXT, re.M | re.S)
        assert found in home
    ways = re.findall(r"^```.*?^```$", TEXT, re.M | re.S)[:3]
    assert ways == re.findall(r"^```.*?^```$", home, re.M | re.S)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (README.parent / link).exists(), link
