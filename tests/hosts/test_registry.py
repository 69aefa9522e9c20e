"""Which host is meant, and how its credential is read."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
from canaries import credential
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import SettingsError
from imghost.hosts import Host, Secret
from imghost.hosts.registry import CREDENTIALS, GROUP, chosen, host_type, installed, limits_of, open_host
from imghost.net import Client
from imghost.settings import read
from imghost.testing import write_entry

KEY = credential("img_live_canary")


def opened(
    site: Path,
    environ: dict[str, str] | None = None,
    host: str = "img.pro",
    retention: str = "permanent",
    **options: Any,
) -> Host:
    """Open a host with settings as a user has them."""
    settings = read({"host": host, "options": options, "retention": retention}, site.parent)
    environ = {"IMGPRO_API_KEY": KEY} if environ is None else environ
    with Client(environ={}) as client:
        found = open_host(host, settings, environ, client, site)
        assert client.requests == 0
    return found


def refusal(site: Path, environ: dict[str, str] | None = None, host: str = "img.pro", **more: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        opened(site, environ, host, **more)
    text = str(caught.value)
    assert text.isprintable()
    assert "canary" not in text
    return text


def test_the_hosts_come_through_the_door_that_others_use() -> None:
    assert {"directory", "img.pro", "img402"} <= set(installed())
    assert list(installed()) == sorted(entry.name for entry in entry_points(group=GROUP))


def test_the_entry_points_of_credentials_say_what_the_classes_say() -> None:
    """So that `host: auto` need not load a class to know which variables choose it."""
    named = {(entry.name, entry.value) for entry in entry_points(group=CREDENTIALS)}
    classes = {entry.value: host_type(name) for name, entry in installed().items()}
    choosing = {value: kind.credentials for value, kind in classes.items() if kind.is_chosen_by_credential}
    assert named == {(variable, value) for value, variables in choosing.items() for variable in variables}


PLAIN = """
class Plain:
    name, credentials, origin, Options = "plain", ("PLAIN_KEY",), "https://plain.example", None
    origins = ("https://plain.example",)
"""


def test_a_class_that_inherits_nothing_is_given_the_defaults(tmp_path: Path) -> None:
    """`HostBase` is optional to inherit, and a package that names no variable has its class asked."""
    (tmp_path / "plainhost.py").write_text(PLAIN, "utf-8")
    write_entry(tmp_path, "plain", "plainhost:Plain")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from imghost.hosts.registry import chosen, host_type\n"
        "from imghost.settings import read\n"
        "kind = host_type('plain')\n"
        "print(kind.place, kind.is_idempotent, kind.is_chosen_by_credential, kind.finds_credential({}))\n"
        "print(kind.is_own_origin('https://plain.example'), kind.is_own_origin('https://evil.example'))\n"
        "print(chosen(read({}, Path()), {'PLAIN_KEY': 'x' * 9}, None), chosen(read({}, Path()), {}, None))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n")[:3], done.stderr) == (
        ["network False True None", "True False", "plain None"],
        "",
    )


@pytest.mark.parametrize("name", sorted(installed()))
def test_an_installed_host_is_called_what_its_entry_says_and_keeps_keys_to_one_origin(name: str) -> None:
    kind = host_type(name)
    assert kind.name == name
    assert bool(kind.origin) == bool(kind.credentials) or name == "s3"
    assert all(re.fullmatch(r"[A-Z0-9_]+", variable) for variable in kind.credentials)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("imgpro", "img.pro"), ("img.por", "img.pro"), ("img403", "img402"), ("directroy", "directory")],
)
def test_an_unknown_host_is_told_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(SettingsError) as caught:
        host_type(wrong)
    assert str(caught.value) == f"no host named {wrong!r} is installed; did you mean {right!r}?"


def test_an_unknown_host_like_no_other_is_told_all_there_are() -> None:
    with pytest.raises(SettingsError, match="there are: directory, "):
        host_type("zzz")


def test_a_host_whose_package_is_broken_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "broken-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nbroken = no_such_module_anywhere:Host\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(installed()["broken"], EntryPoint)
    with pytest.raises(SettingsError, match=r"the host 'broken' cannot be loaded: No module named .*; install"):
        host_type("broken")


def test_of_a_package_that_is_there_twice_the_first_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version, name in (("user", 2, "new"), ("system", 1, "old")):
        metadata = tmp_path / folder / f"twice-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: twice\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = twice:Host\n")
    monkeypatch.syspath_prepend(str(tmp_path / "system"))
    monkeypatch.syspath_prepend(str(tmp_path / "user"))
    assert {"new", "old"} & set(installed()) == {"new"}
    assert list(installed()) == sorted(entry.name for entry in entry_points(group=GROUP))


def test_what_an_unfinished_installation_left_is_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "unfinished-1.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nunfinished = unfinished:Host\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "unfinished" not in installed()


AUTO: list[tuple[dict[str, str], str | None, str | None]] = [
    ({}, None, None),
    ({}, "img402", "img402"),
    ({"IMGPRO_API_KEY": KEY}, None, "img.pro"),
    ({"IMGPRO_API_KEY": KEY}, "img402", "img.pro"),
    ({"IMG402_PRIVATE_KEY": "0x1"}, None, "img402"),
    ({"IMG402_PRIVATE_KEY_FILE": "/nowhere"}, None, "img402"),
    ({"IMG402_PRIVATE_KEY": "0x1", "IMG402_PRIVATE_KEY_FILE": "/nowhere"}, None, "img402"),
    ({"IMGPRO_API_KEY": "", "IMG402_PRIVATE_KEY": ""}, "directory", "directory"),
    ({"IMGPRO_API_KEY": "", "IMG402_PRIVATE_KEY": "0x1"}, None, "img402"),
]


@pytest.mark.parametrize(("environ", "published", "host"), AUTO)
def test_auto_is_the_host_of_the_one_credential_or_the_last_one(
    environ: dict[str, str], published: str | None, host: str | None
) -> None:
    assert chosen(read({}, Path()), environ, published) == host


def test_auto_with_two_credentials_asks_to_choose() -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(read({}, Path()), {"IMGPRO_API_KEY": KEY, "IMG402_PRIVATE_KEY": "canary"}, "img.pro")
    assert str(caught.value) == "there are credentials for img.pro and img402; choose one with the option 'host'"


def test_a_named_host_needs_no_credential_to_be_chosen() -> None:
    settings = read({"host": "img402"}, Path())
    assert chosen(settings, {"IMGPRO_API_KEY": KEY}, "directory") == "img402"
    assert chosen(settings, {}, None) == "img402"


BAD_KEYS = [
    f"{KEY}\n",
    f"{KEY}\r\n",
    f" {KEY}",
    f"{KEY} ",
    "canary 0123456789",
    "canary\t0123456789",
    "canary-é-0123456789",
    "canary\u200b0123456789",
    "canary\x000123456789",
    "canary\x7f0123456789",
    "canary",
    "canary1",
    "canary" * 50,
    "canary" + "\udcff" * 9,
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_of_the_wrong_shape_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    text = refusal(tmp_path / "site", {"IMGPRO_API_KEY": key})
    assert "IMGPRO_API_KEY" in text
    assert "copy it again" in text


@given(st.text(max_size=300).filter(lambda key: not re.fullmatch(r"[!-~]{8,256}", key) and key))
def test_no_key_of_another_shape_is_taken(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        opened(Path("/x/site"), {"IMGPRO_API_KEY": key})
    assert len(key) < 8 or key not in str(caught.value)


def test_a_key_shows_itself_to_nobody() -> None:
    secret = Secret(KEY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>3}",
        repr([secret]),
        repr({"k": secret}),
    ]
    assert all("canary" not in text for text in shown)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == KEY


FREE = {"host": "img402", "retention": "7d", "tier": "free"}


def test_a_key_may_come_from_a_file_that_ends_in_a_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0xcanary0123456789\n")
    environ = {"IMG402_PRIVATE_KEY_FILE": str(tmp_path / "key")}
    assert opened(tmp_path / "site", environ, **FREE).name == "img402"
    assert "https://evil.example" in refusal(tmp_path / "site", environ, **FREE, api_url="https://evil.example")


@pytest.mark.parametrize("content", [b"", b"canary\n", b"canary 0123456789", b"canary\xff0123456789", b"canary" * 60])
def test_a_file_without_a_key_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    text = refusal(tmp_path / "site", {"IMG402_PRIVATE_KEY_FILE": str(tmp_path / "key")}, **FREE)
    assert "IMG402_PRIVATE_KEY_FILE" in text


@pytest.mark.parametrize("path", ["/nowhere/key", ".", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, path: str) -> None:
    text = refusal(tmp_path / "site", {"IMG402_PRIVATE_KEY_FILE": path}, **FREE)
    assert text == "the file that IMG402_PRIVATE_KEY_FILE names cannot be read; check its path and mode"


def test_a_promise_that_is_too_short_is_refused_in_the_users_own_units(tmp_path: Path) -> None:
    assert refusal(tmp_path / "site", {}, "img402", tier="free") == (
        "host 'img402' promises 7d with these settings, less than the retention 'permanent'; "
        "set retention: 7d or less, or choose another host"
    )
    assert "the retention '169h'" in refusal(tmp_path / "site", {}, "img402", retention="169h", tier="free")
    assert opened(tmp_path / "site", {}, "img402", "7d", tier="free").limits.retention is not None


def test_a_host_that_lacks_its_credential_is_opened_for_its_records(tmp_path: Path) -> None:
    assert opened(tmp_path / "site", {}).lacks_credential
    assert opened(tmp_path / "site", {}, "img402").lacks_credential
    assert not opened(tmp_path / "site", {}, "directory").lacks_credential
    assert not opened(tmp_path / "site").lacks_credential


def test_a_hosts_misspelt_option_is_told_the_nearest(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "site", apiurl="x") == "host 'img.pro': option 'apiurl' is unknown; did you mean 'api_url'?"
    )


@pytest.mark.parametrize("name", sorted(installed()))
def test_limits_can_be_told_without_a_credential(name: str) -> None:
    limits = limits_of(name, {})
    assert limits is None or "image/png" in limits.formats


def test_all_that_a_host_gives_and_is_given_is_in_one_place_for_those_who_write_one() -> None:
    """Also what is loaded only where it is asked for."""
    program = (
        "import sys, imghost.hosts as hosts; assert 'imghost.hosts.account' not in sys.modules;"
        "from imghost.hosts import Limits, Quota, Secret, Setup, Stored, Usage;"
        "assert (hosts.Quota(), hosts.Usage().limit, Stored('a', 'b').bytes) == (Quota(), None, None);"
        "assert not hasattr(hosts, 'Quotas')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
