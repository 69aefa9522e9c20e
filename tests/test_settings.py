"""The options: their defaults, what they take, and what is said of the rest."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import SettingsError
from imghost.models import KINDS
from imghost.settings import Settings, options, over, read, read_duration, read_host_options, show_duration

HERE = Path("/project").absolute()

DEFAULTS: dict[str, object] = {
    "host": "auto",
    "options": {},
    "lock": HERE / "imghost.lock",
    "cache_dir": HERE / ".cache/imghost",
    "frozen": False,
    "serve": False,
    "site_url": None,
    "sources": (),
    "include": (),
    "exclude": (),
    "references": frozenset(KINDS) - {"icon", "css", "object"},
    "remote": (),
    "retention": None,
    "renew_before": timedelta(days=14),
    "max_cost": 0,
    "max_uploads": None,
    "oversize": "keep",
    "max_edge": None,
    "metadata": "strip",
    "verify": True,
    "responsive": False,
    "widths": (480, 960, 1600),
    "format": None,
    "quality": 80,
    "dimensions": False,
    "lazy": False,
    "fallback": False,
    "remove_local": False,
    "concurrency": 8,
    "timeout": 30,
    "retries": 5,
    "require": False,
    "report": None,
    "shared": None,
    "shared_required": True,
}


def refusal(raw: Any) -> str:
    """Read what cannot be right; gives what a user is told, after what holds for every message."""
    with pytest.raises(SettingsError) as caught:
        read(raw, HERE, "mkdocs.yml")
    text = str(caught.value)
    assert text.startswith("mkdocs.yml: ")
    assert text.isprintable()
    assert not text.endswith(".")
    assert len(text) < 600
    return text


def test_the_options_are_those_of_the_table_with_their_defaults() -> None:
    settings = read({}, HERE)
    assert {option.name: getattr(settings, option.name) for option in options()} == DEFAULTS


def test_an_option_that_is_not_set_has_its_default() -> None:
    assert read(dict.fromkeys(DEFAULTS), HERE) == read({}, HERE)


def test_every_option_says_what_it_is_for() -> None:
    assert all(option.metadata["about"] for option in options())


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("host", " img.pro ", "img.pro"),
        ("options", {"tier": "free"}, {"tier": "free"}),
        ("lock", "locks/x.lock", HERE / "locks/x.lock"),
        ("lock", Path("x.lock"), HERE / "x.lock"),
        ("cache_dir", str(HERE / "elsewhere"), HERE / "elsewhere"),
        ("frozen", True, True),
        *(("frozen", raw, True) for raw in ("true", "True", 1, "1", "yes", "on", " on ")),
        *(("verify", raw, False) for raw in ("false", 0, "0", "no", "off", "OFF")),
        ("verify", False, False),
        ("site_url", "https://docs.example.org/", "https://docs.example.org/"),
        ("sources", ["../shots"], (HERE / "../shots",)),
        ("sources", "shots", (HERE / "shots",)),
        ("include", "img/**", ("img/**",)),
        ("exclude", ["*.gif", "a/"], ("*.gif", "a/")),
        ("references", ["img", "css"], frozenset({"img", "css"})),
        ("references", [], frozenset()),
        ("references", {"img"}, frozenset({"img"})),
        ("retention", "permanent", None),
        ("retention", "30d", timedelta(days=30)),
        ("retention", "12 h", timedelta(hours=12)),
        ("renew_before", "2w", timedelta(days=14)),
        ("renew_before", "0d", timedelta()),
        ("max_cost", "1.50", Decimal("1.50")),
        ("max_cost", 0.1, Decimal("0.1")),
        ("max_cost", 5, Decimal(5)),
        ("max_uploads", 0, 0),
        ("max_uploads", "12", 12),
        ("oversize", "resize", "resize"),
        ("max_edge", 2000, 2000),
        ("metadata", "refuse", "refuse"),
        ("remove_local", True, True),
        ("concurrency", 1, 1),
        ("timeout", 0.5, 0.5),
        ("timeout", "60", 60.0),
        ("retries", 1, 1),
        ("report", "build/report.json", HERE / "build/report.json"),
        ("report", "report.html", HERE / "report.html"),
        ("shared", "s3://bucket/prefix", "s3://bucket/prefix"),
        ("shared", "../records", (HERE / "../records").absolute().as_uri()),
    ],
)
def test_an_option_takes_what_it_says(name: str, raw: object, value: object) -> None:
    assert getattr(read({name: raw}, HERE), name) == value


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        *(("host", raw) for raw in ("", " ", 1, ["img402"], True, "a\nb", "a\0b")),
        *(("options", raw) for raw in ("tier", ["tier"], {1: "x"}, 5)),
        *(("lock", raw) for raw in ("", 1, [], True, "a\0b", "~nobody-has-this-name/x")),
        *(("frozen", raw) for raw in ("maybe", 2, -1, 1.0, [], "")),
        *(("verify", raw) for raw in ("nope", [False])),
        *(("site_url", raw) for raw in (1, "", "https://x\ny")),
        *(("sources", raw) for raw in (1, {"a": 1}, [1], ["a\0"])),
        *(("include", raw) for raw in (1, [1], {"a": 1}, [None])),
        *(("references", raw) for raw in (["image"], "script", ["img", ""], 1, [["img"]])),
        *(("retention", raw) for raw in ("forever", "0d", 30, "30", "30 days", "-1d", "1.5d", True, "9999y", "٣d", [])),
        *(("renew_before", raw) for raw in (14, "14", "permanent", "d", "1d1d", False)),
        *(("max_cost", raw) for raw in ("-1", "NaN", "sNaN", "inf", "1e", "$5", True, [], "1,5")),
        *(("max_uploads", raw) for raw in (-1, "-1", 1.5, "many", True, [], "²", "")),
        *(("oversize", raw) for raw in ("drop", True, ["keep"], "Keep")),
        *(("max_edge", raw) for raw in (0, -1, "0", "big")),
        *(("metadata", raw) for raw in ("remove", True)),
        *(("concurrency", raw) for raw in (0, "0", -3)),
        *(("timeout", raw) for raw in (0, -1, "soon", "nan", "inf", 10**40, True, [], 4000)),
        *(("retries", raw) for raw in (0, False)),
        *(("report", raw) for raw in ("report.txt", "report", 1, ".json")),
    ],
)
def test_what_an_option_cannot_be_is_one_line_that_names_it(name: str, raw: object) -> None:
    assert f"'{name}' should " in refusal({name: raw})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        *(("hots", "host"), ("Frozen", "frozen"), ("cachedir", "cache_dir"), ("max-uploads", "max_uploads")),
        *(
            ("reference", "references"),
            ("excludes", "exclude"),
            ("siteurl", "site_url"),
            ("remove_locals", "remove_local"),
        ),
    ],
)
def test_a_misspelt_option_is_told_the_nearest_right_one(wrong: str, right: str) -> None:
    assert refusal({wrong: True}) == f"mkdocs.yml: option {wrong!r} is unknown; did you mean {right!r}?"


def test_an_option_like_no_other_is_told_all_there_are() -> None:
    text = refusal({"zzzzzzzz": 1})
    assert all(option.name in text for option in options())


def test_an_option_whose_name_is_no_text_is_unknown() -> None:
    assert "is unknown" in refusal({5: True})
    assert "is unknown" in refusal({None: True})


def test_a_refusal_names_its_option_and_shows_no_cause_behind_it() -> None:
    for raw in ({"timeout": "soon"}, {"max_cost": "much"}, {"retention": "long"}):
        with pytest.raises(SettingsError) as caught:
            read(raw, HERE)
        assert caught.value.option in raw
        assert "During handling" not in "".join(traceback.format_exception(caught.value))


@given(st.integers(1, 3_000_000).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_duration_is_shown_as_it_can_be_read(duration: timedelta) -> None:
    assert read_duration(show_duration(duration)) == duration


def test_durations_are_shown_in_the_largest_unit_that_fits() -> None:
    shown = [show_duration(timedelta(hours=hours)) for hours in (24, 12, 36, 24 * 365)]
    assert shown == ["1d", "12h", "36h", "365d"]
    assert show_duration(None) == "permanent"


@pytest.mark.parametrize("name", ["remote", "responsive", "format", "dimensions", "lazy", "fallback"])
def test_an_option_that_would_do_nothing_yet_is_refused(name: str) -> None:
    value: object = {"remote": ["https://x.example/*"], "format": "webp"}.get(name, True)
    settings_or_text = _read_or_text({name: value})
    if isinstance(settings_or_text, str):
        assert f"'{name}' is not available" in settings_or_text
    else:
        assert getattr(settings_or_text, name)


def _read_or_text(raw: dict[str, object]) -> Settings | str:
    try:
        return read(raw, HERE)
    except SettingsError as refused:
        return str(refused)


def test_paths_are_relative_to_the_configurations_folder_and_it_is_kept(tmp_path: Path) -> None:
    settings = read({"lock": "x", "sources": ["y"]}, tmp_path)
    assert (settings.lock, settings.sources, settings.folder) == (tmp_path / "x", (tmp_path / "y",), tmp_path)


def test_options_of_the_command_line_go_over_the_others_and_the_rest_stays() -> None:
    under = read({"host": "img.pro", "lock": "a.lock", "concurrency": 2}, HERE)
    upper = read({"lock": "b.lock", "concurrency": 3}, HERE / "elsewhere")
    both = over(under, upper, ["lock"])
    assert (both.host, both.lock, both.concurrency, both.folder) == ("img.pro", HERE / "elsewhere/b.lock", 2, HERE)


def test_a_hosts_paths_follow_the_folder_that_its_options_come_from() -> None:
    upper = read({"options": {"path": "x"}}, HERE / "elsewhere")
    assert over(read({}, HERE), upper, ["options"]).folder == HERE / "elsewhere"


def test_settings_cannot_be_changed() -> None:
    settings = read({"options": {"a": "b"}}, HERE)
    with pytest.raises(AttributeError):
        settings.host = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.options["a"] = "c"  # type: ignore[index]


@dataclass(frozen=True)
class Own:
    """A host's own options, of every kind."""

    tier: str = "permanent"
    public: bool | None = None
    tags: tuple[str, ...] = ()
    size: int = 3


@pytest.mark.parametrize(
    ("raw", "options_"),
    [
        ({}, Own()),
        ({"tier": None}, Own()),
        ({"tier": "free", "public": True, "tags": ["a", "b"], "size": 4}, Own("free", True, ("a", "b"), 4)),
        ({"public": "false", "tags": "a, b", "size": "4"}, Own("permanent", False, ("a", "b"), 4)),
        ({"tier": 2026}, Own("2026")),
        ({"tier": datetime.date(2026, 1, 2)}, Own("2026-01-02")),
    ],
)
def test_a_hosts_options_are_read_by_their_types(raw: dict[str, object], options_: Own) -> None:
    assert read_host_options(Own, raw, "x") == options_


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"tire": "free"}, "host 'x': option 'tire' is unknown; did you mean 'tier'?"),
        ({"tier": ["free"]}, "host 'x': option 'tier' should be a text of one line, not ['free']"),
        ({"tier": True}, "host 'x': option 'tier' should be a text of one line, not True"),
        ({"public": "maybe"}, "host 'x': option 'public' should be true or false, not 'maybe'"),
        ({"tags": 5}, "host 'x': option 'tags' should be a list of texts, not 5"),
        ({"size": -1}, "host 'x': option 'size' should be a whole number, 0 or more, not -1"),
    ],
)
def test_a_hosts_options_are_refused_in_the_same_words(raw: dict[str, object], text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_host_options(Own, raw, "x")
    assert str(caught.value) == text


def test_a_flag_that_is_what_a_variable_holds_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `frozen: !ENV [CI, false]` gives it where a CI service sets CI to its own name."""
    monkeypatch.setenv("CI", "woodpecker")
    assert read({"frozen": "woodpecker"}, HERE).frozen
    monkeypatch.delenv("CI")
    with pytest.raises(SettingsError, match="true or false"):
        read({"frozen": "woodpecker"}, HERE)


def test_settings_are_read_where_there_is_no_home_and_no_name_of_the_user() -> None:
    lines = ["import os", "from pathlib import Path", "from imghost.settings import read", "read({}, Path('/tmp'))"]
    lines += ["os.setuid(54321)"] if sys.platform != "win32" and os.getuid() == 0 else []
    program = "\n".join([*lines, "print(read({'lock': 'x.lock'}, Path('/tmp')).lock.name)"])
    environ = {name: text for name, text in os.environ.items() if name not in {"HOME", "USERPROFILE"}}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("x.lock", "")
