"""The command line: commands in, exit status out."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import Field, dataclass
from pathlib import Path
from typing import Any, Final

from imghost import settings
from imghost.commands import hosts, records, site
from imghost.commands.call import Call
from imghost.errors import ImghostError, SettingsError
from imghost.version import version

DONE: Final = 0
NOT_AS_ASKED: Final = 1
NOT_AS_ASKED: Final = 1
WRONG_USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of one command's own."""

    name: str
    about: str
    metavar: str = ""
    """Empty for a switch."""
    is_repeated: bool = False
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it runs, what it says of itself, and what it takes."""

    run: Callable[[Call], int]
    about: str
    has_site: bool = False
    flags: tuple[Flag, ...] = ()


_COMMANDS: Final[Mapping[str, Command]] = {
    "rehost": Command(site.rehost, "upload a built site's images and point its pages at them", has_site=True),
    "plan": Command(site.plan, "show what would be uploaded, what stays local and why; changes nothing", has_site=True),
    "check": Command(site.check, "exit with 1 if the lock does not cover the site", has_site=True),
    "verify": Command(
        records.verify,
        "fetch every record's URL: exit with 1 if one is dead or altered",
        flags=(Flag("site", "also check what this site's pages refer to", "SITE"),),
    ),
    "status": Command(records.status, "show the lock's records, when they expire, and the host's own numbers"),
    "adopt": Command(
        records.adopt, "find a site's images that the host has already, after lost records", has_site=True
    ),
    "prune": Command(
        records.prune,
        "list hosted images that none of the named sites refers to; delete them with --yes",
        flags=(
            Flag("keep", "a site whose images stay; name every version", "SITE", is_repeated=True, is_required=True),
            Flag("grace", "leave images younger than this (default 7d)", "DURATION"),
            Flag("yes", "delete"),
        ),
    ),
    "migrate": Command(
        records.migrate,
        "move a site's images to another host; the old records stay until they are pruned",
        has_site=True,
        flags=(Flag("to", "the host to move to", "HOST", is_required=True),),
    ),
    "restore": Command(records.restore, "put a site's local references back", has_site=True),
    "hosts": Command(hosts.hosts, "list the installed hosts: formats, sizes, retention, price, credential"),
    "wallet": Command(
        hosts.wallet,
        "show the address of the img402 wallet, and its balance",
        flags=(Flag("rpc-url", "a node of the Base network to ask for the balance", "URL"),),
    ),
    "keys": Command(
        hosts.keys,
        "make an img.pro key: imghost keys create --email you@example.org",
        flags=(Flag("email", "where the verification goes", "ADDRESS", is_required=True),),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 done, 1 not as asked, 2 wrong usage or configuration."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else WRONG_USAGE
    try:
        status = _COMMANDS[options.command].run(_call(options))
        if sys.stdout is not None:  # None where it was closed before we began
            sys.stdout.flush()
    except ImghostError as wrong:
        _complain(f"error: {wrong}")
        return WRONG_USAGE
    except BrokenPipeError:
        _give_up_output()  # whoever read it has seen enough
        return DONE
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        _complain(f"error: {where}{problem.strerror or problem}; mend that and run it again")
        _give_up_output()
        return NOT_AS_ASKED
    except KeyboardInterrupt:
        _complain("interrupted; what was uploaded is kept, run the command again to go on")
        return 130
    return status


def _complain(text: str) -> None:
    with suppress(OSError):
        print(f"imghost: {text}", file=sys.stderr)


def _give_up_output() -> None:
    """Let go of an output that takes no more, since Python would complain once more at its exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _call(options: argparse.Namespace) -> Call:
    """Read the configuration, put the command line's options over it, and find the site."""
    raw, folder, origin = _configuration(options.config)
    given = {
        option.name: value for option in settings.options() if (value := getattr(options, option.name)) is not None
    }
    if options.command == "migrate":
        # The configuration's `options` are the old host's.
        raw, given = {name: value for name, value in raw.items() if name != "options"}, given | {"host": options.to}
    chosen = settings.read(raw, folder, origin)
    if given:
        here = settings.read(_over(raw, given), Path.cwd(), "imghost", given)
        chosen = settings.over(chosen, here, given)
    command = _COMMANDS[options.command]
    own = {flag.name: getattr(options, flag.name.replace("-", "_")) for flag in command.flags}
    found = _folder(options.site) if command.has_site else None
    return Call(found, chosen, dict(os.environ), is_strict=options.strict, is_json=options.json, given=own)


def _folder(name: str) -> Path:
    folder = Path(name).absolute()
    if not folder.is_dir():
        raise SettingsError(f"there is no folder {name!r}; name the folder that holds the built site")
    return folder


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
    for name, told in _COMMANDS.items():
        command = subparsers.add_parser(name, help=told.about, description=told.about, allow_abbrev=False)
        if told.has_site:
            command.add_argument("site", metavar="SITE", help="the folder that holds the built site")
        if name == "keys":
            command.add_argument("action", choices=["create"])
        for flag in told.flags:
            _add_flag(command, flag)
        command.add_argument("--config", metavar="FILE", help="settings, instead of imghost.toml or [tool.imghost]")
        command.add_argument("--strict", action="store_true", help="exit with 1 if there was a warning")
        command.add_argument("--json", action="store_true", help="print JSON")
        for option in settings.options():
            _add(command, option)
    return parser


def _add_flag(command: argparse.ArgumentParser, flag: Flag) -> None:
    if not flag.metavar:
        command.add_argument(f"--{flag.name}", action="store_true", help=flag.about)
        return
    action = "append" if flag.is_repeated else "store"
    command.add_argument(
        f"--{flag.name}", metavar=flag.metavar, action=action, required=flag.is_required, help=flag.about
    )


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
