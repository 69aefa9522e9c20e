"""The command line: commands in, exit status out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any, Final

from imghost import commands, settings
from imghost.commands import Call
from imghost.errors import ImghostError, SettingsError
from imghost.version import version

DONE: Final = 0
NOT_AS_ASKED: Final = 1
WRONG_USAGE: Final = 2

_COMMANDS: Final[Mapping[str, tuple[Callable[[Call], int], str, bool]]] = {
    "rehost": (commands.rehost, "upload a built site's images and point its pages at them", True),
    "plan": (commands.plan, "show what would be uploaded, what stays local and why; changes nothing", True),
    "check": (commands.check, "exit with 1 if the lock does not cover the site", True),
    "status": (commands.status, "show the lock's records by host and by when they expire", False),
    "hosts": (commands.hosts, "list the installed hosts: formats, sizes, retention, price, credential", False),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 done, 1 not as asked, 2 wrong usage or configuration."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else WRONG_USAGE
    try:
        status = _COMMANDS[options.command][0](_call(options))
        sys.stdout.flush()
    except ImghostError as wrong:
        print(f"imghost: error: {wrong}", file=sys.stderr)
        return WRONG_USAGE
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print("imghost: interrupted; what was uploaded is kept, run the command again to go on", file=sys.stderr)
        return 130
    return status


def _call(options: argparse.Namespace) -> Call:
    """Read the configuration, put the command line's options over it, and find the site."""
    raw, folder, origin = _configuration(options.config)
    given = {option.name: value for option in settings.options() if (value := getattr(options, option.name)) is not None}
    chosen = settings.read(raw, folder, origin)
    if given:
        here = settings.read(_over(raw, given), Path.cwd(), "imghost")
        chosen = settings.over(chosen, here, given)
    site = Path(options.site).absolute() if getattr(options, "site", None) else None
    if site is not None and not site.is_dir():
        raise SettingsError(f"there is no folder {options.site!r}; name the folder that holds the built site")
    return Call(site, chosen, dict(os.environ), is_strict=options.strict, is_json=options.json)


def _over(raw: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Put options of the command line over those of the configuration; a host's own are merged."""
    merged = dict(raw) | dict(given)
    if "options" in given:
        merged["options"] = dict(raw.get("options", {})) | _pairs(given["options"])
    return merged


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise SettingsError("--option should be KEY=VALUE, like --option tier=free")
        pairs[name.strip()] = value.strip()
    return pairs


def _configuration(named: str | None) -> tuple[dict[str, Any], Path, str]:
    """Find the options: the file named, else imghost.toml, else [tool.imghost] of pyproject.toml."""
    here = Path.cwd()
    if named is not None:
        path = here / named
        if path.name == "pyproject.toml":
            return _table(path, required=True), path.parent, path.name
        return _toml(path), path.parent, path.name
    if (path := here / "imghost.toml").is_file():
        return _toml(path), here, path.name
    if (path := here / "pyproject.toml").is_file():
        return _table(path, required=False), here, path.name
    return {}, here, "imghost"


def _table(path: Path, *, required: bool) -> dict[str, Any]:
    found = _toml(path).get("tool", {}).get("imghost")
    if found is None and required:
        raise SettingsError(f"{path.name} has no table [tool.imghost]; add one, or name another file with --config")
    return found or {}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise SettingsError(f"{path} cannot be read: {problem.strerror}; name an existing file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path.name} is not valid TOML: {problem}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imghost",
        description="Documentation images that live on an image host.",
        epilog="example: imghost rehost site --host img.pro   (with IMGPRO_API_KEY in the environment)",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"imghost {version()}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, about, has_site) in _COMMANDS.items():
        command = subparsers.add_parser(name, help=about, description=about, allow_abbrev=False)
        if has_site:
            command.add_argument("site", metavar="SITE", help="the folder that holds the built site")
        command.add_argument("--config", metavar="FILE", help="settings, instead of imghost.toml or [tool.imghost]")
        command.add_argument("--strict", action="store_true", help="exit with 1 if there was a warning")
        command.add_argument("--json", action="store_true", help="print JSON")
        for option in settings.options():
            _add(command, option)
    return parser


def _add(command: argparse.ArgumentParser, option: Field[Any]) -> None:
    """Add a flag for an option, derived from its declaration."""
    about, default = option.metadata["about"], settings.default_of(option)
    flag = f"--{option.name.replace('_', '-')}"
    if option.name == "options":
        command.add_argument("--option", dest="options", metavar="KEY=VALUE", action="append", help=about)
    elif isinstance(default, bool):
        command.add_argument(flag, dest=option.name, action=argparse.BooleanOptionalAction, default=None, help=about)
    elif isinstance(default, (tuple, frozenset)):
        command.add_argument(flag, dest=option.name, metavar="VALUE", action="append", help=about)
    else:
        command.add_argument(flag, dest=option.name, metavar="VALUE", help=about)
