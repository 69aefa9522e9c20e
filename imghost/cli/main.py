"""The command line: commands in, exit status out."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from imghost import settings
from imghost.cli.parser import COMPLETION, few_values, flags_of, make_parser, parse, subparsers, words_of
from imghost.commands.call import Call
from imghost.commands.catalogue import COMMANDS
from imghost.commands.completion import Word, script
from imghost.commands.style import painted, plain
from imghost.errors import ImghostError, SettingsError
from imghost.signals import ending_in_order, status_of

DONE: Final = 0
NOT_AS_ASKED: Final = 1
WRONG_USAGE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 done, 1 not as asked, 2 wrong usage or configuration.

    A run that a signal ended gives 128 and the signal's number, as shells do.
    """
    try:
        with ending_in_order():
            return _status(arguments)
    except KeyboardInterrupt as interrupt:
        _complain("interrupted; what was uploaded is kept, run the command again to go on")
        return status_of(interrupt)
    finally:
        _give_up_complaints()


def _status(arguments: Sequence[str] | None) -> int:
    """Run one command, and say what is wrong in one line."""
    try:
        options = parse(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else WRONG_USAGE
    try:
        status = _run(options)
        if sys.stdout is not None:  # None where it was closed before we began
            sys.stdout.flush()
    except ImghostError as wrong:
        _complain(f"{painted('error:', 'red', sys.stderr)} {plain(str(wrong))}")
        return WRONG_USAGE
    except BrokenPipeError:
        _give_up_output()  # whoever read it has seen enough
        return DONE
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        _complain(f"error: {where}{problem.strerror or problem}; mend that and run it again")
        _give_up_output()
        return NOT_AS_ASKED
    except MemoryError:
        _complain("error: there is too little memory; give the command more")
        return NOT_AS_ASKED
    return status


def _complain(text: str) -> None:
    with suppress(OSError):
        print(f"imghost: {text}", file=sys.stderr)


def _give_up_complaints() -> None:
    """Forget what could not be told, else Python tries again at its exit and gives its own status."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _give_up_output() -> None:
    """Let go of an output that takes no more, since Python would complain once more at its exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> int:
    if options.command != "completion":
        return COMMANDS[options.command].run(_call(options))
    # Needs no configuration: a broken one must not break the shell it is loaded in.
    from imghost.hosts import registry

    commands = subparsers(make_parser())
    told = {name: command.about for name, command in COMMANDS.items()} | {"completion": COMPLETION}
    words = [Word(name, told[name], tuple(flags_of(parser)), words_of(parser)) for name, parser in commands.items()]
    print(script(options.shell, words, few_values(registry.installed())), end="")
    return DONE


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
    command = COMMANDS[options.command]
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
