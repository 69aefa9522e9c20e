"""What can be typed: the parser and its help, derived from the commands and the declared options."""

from __future__ import annotations

import argparse
import sys
from argparse import SUPPRESS
from collections.abc import Iterable, Sequence
from dataclasses import Field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

from imghost import settings, wording
from imghost.commands.catalogue import COMMANDS, Command, Flag
from imghost.commands.style import painted, plain
from imghost.environment import version
from imghost.models import KINDS
from imghost.settings import show_duration

COMPLETION: Final = "print a script by which a shell completes commands and options"
_METAVARS: Final = {
    "host": "HOST", "references": "KIND", "include": "GLOB", "exclude": "GLOB", "remote": "GLOB", "sources": "FOLDER",
    "site_url": "URL", "retention": "DURATION", "renew_before": "DURATION", "max_cost": "DOLLARS", "max_edge": "PIXELS",
    "oversize": "{keep,resize}", "metadata": "{strip,keep,refuse}", "format": "{webp,avif}", "timeout": "SECONDS",
    "lock": "FILE", "cache_dir": "FOLDER", "report": "FILE",
}  # fmt: skip
"""How help calls an option's value, where it is not just a number."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; the help is a command away."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read more; exits with 2."""
        wrong = plain(message.removeprefix("argument COMMAND: "))
        mark = painted("error:", "red", sys.stderr)
        remedy = "" if wrong.endswith("?") else f"; see {self.prog} --help"
        self.exit(2, f"imghost: {mark} {wrong}{remedy}\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; raises SystemExit for --help, --version and what cannot be read."""
    found = sys.argv[1:] if arguments is None else list(arguments)
    parser = make_parser()
    if not found:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if not found[0].startswith("-") and found[0] not in subparsers(parser):
        parser.error(f"there is no command {found[0]!r}; {wording.nearest(found[0], subparsers(parser))}")
    options, left = parser.parse_known_args(found)
    if left:
        own = subparsers(parser)[options.command]
        own.error(_unknown(left[0], flags_of(own)))
    return options


def _unknown(word: str, flags: Sequence[str]) -> str:
    if not word.startswith("-"):
        return f"{word!r} is one argument too many"
    name = word.partition("=")[0]
    near = wording.nearest(name, flags)
    return f"there is no option {name!r}" + (f"; {near}" if near.startswith("did you") else "")


def subparsers(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Give each command's parser by its name."""
    (action,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    return dict(action.choices)


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    """List the flags that a parser takes, by their long names."""
    named = (name for action in parser._actions for name in action.option_strings)  # noqa: SLF001
    return [name for name in named if name.startswith("--")]


def words_of(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """List the words that a parser takes without a flag, where there are only a few."""
    placed = (action for action in parser._actions if not action.option_strings)  # noqa: SLF001
    return tuple(str(word) for action in placed for word in action.choices or ())


def few_values(hosts: Iterable[str]) -> dict[str, list[str]]:
    """List the values of each flag that has only a few."""
    chosen = {f"--{name}": text[1:-1].split(",") for name, text in _METAVARS.items() if text.startswith("{")}
    return chosen | {"--host": ["auto", *hosts], "--to": list(hosts), "--references": list(KINDS)}


def make_parser() -> Parser:
    """Make the parser of the whole command line."""
    parser = Parser(
        prog="imghost",
        usage="imghost COMMAND ...",
        description="\n".join(["Documentation images that live on an image host.", "", "commands:", *_listed()]),
        epilog="examples:\n"
        "  imghost rehost site --host img.pro    with IMGPRO_API_KEY in the environment\n"
        "  imghost plan site                     what that would upload, and what it costs\n"
        "  imghost COMMAND --help                more on each command",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"imghost {version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, prog="imghost", help=SUPPRESS)
    for name, told in COMMANDS.items():
        _add_command(commands.add_parser, name, told)
    shells = commands.add_parser(
        "completion",
        description=COMPLETION,
        epilog='examples:\n  eval "$(imghost completion bash)"    in ~/.bashrc\n'
        "  source <(imghost completion zsh)     in ~/.zshrc, after compinit\n"
        "  imghost completion fish | source     in ~/.config/fish/config.fish",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shells.add_argument("shell", choices=["bash", "zsh", "fish"])
    return parser


def _listed() -> list[str]:
    told = {name: command.about for name, command in COMMANDS.items()} | {"completion": COMPLETION}
    return [f"  {name:10}  {about}" for name, about in told.items()]


def _add_command(add: Any, name: str, told: Command) -> None:
    words = [name, told.action, "SITE" if told.has_site else ""]
    needed = [f"--{flag.name} {flag.metavar}" for flag in told.flags if flag.is_required]
    examples = [f"  {line}" for line in told.example.splitlines()]
    command = add(
        name,
        usage=" ".join(["imghost", *filter(None, words), *needed, "[options]"]),
        description="\n\n".join(filter(None, (told.about, told.more))),
        epilog="\n".join(["example:" if len(examples) == 1 else "examples:", *examples]),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if told.has_site:
        command.add_argument("site", metavar="SITE", help="the folder that holds the built site")
    if told.action:
        command.add_argument("action", choices=[told.action])
    for flag in told.flags:
        _add_flag(command, flag)
    command.add_argument("--config", metavar="FILE", help="settings, instead of imghost.toml or [tool.imghost]")
    command.add_argument("--strict", action="store_true", help="exit with 1 if there was a warning")
    command.add_argument("--json", action="store_true", help="print JSON")
    group = command.add_argument_group("settings", "over those of the configuration file")
    for option in settings.options():
        _add_option(group, option)


def _add_flag(command: argparse.ArgumentParser, flag: Flag) -> None:
    if not flag.metavar:
        command.add_argument(f"--{flag.name}", action="store_true", help=flag.about)
        return
    action = "append" if flag.is_repeated else "store"
    command.add_argument(
        f"--{flag.name}", metavar=flag.metavar, action=action, required=flag.is_required, help=flag.about
    )


def _add_option(group: argparse._ArgumentGroup, option: Field[Any]) -> None:
    """Add a flag for an option, derived from its declaration."""
    default = settings.default_of(option)
    about = option.metadata["about"] + _default(default)
    about = about.replace("%", "%%")
    flag = f"--{option.name.replace('_', '-')}"
    metavar = _METAVARS.get(option.name, "N")
    if option.name == "options":
        group.add_argument("--option", dest="options", metavar="KEY=VALUE", action="append", help=about)
    elif isinstance(default, bool):
        group.add_argument(flag, dest=option.name, action=argparse.BooleanOptionalAction, default=None, help=about)
    elif isinstance(default, (tuple, frozenset)):
        group.add_argument(flag, dest=option.name, metavar=metavar, action="append", help=f"{about} (repeatable)")
    else:
        group.add_argument(flag, dest=option.name, metavar=metavar, help=about)


def _default(value: Any) -> str:
    """Tell a default that is not just nothing, as the option takes it."""
    if isinstance(value, timedelta):
        return f" (default: {show_duration(value)})"
    if isinstance(value, float):
        return f" (default: {value:g})"
    is_told = isinstance(value, (str, int, Decimal, Path)) and value is not False
    return f" (default: {'yes' if value is True else value})" if is_told else ""
