"""The command line: commands in, exit status out."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from imghost import settings
from imghost.cli.configuration import Configuration, find
from imghost.cli.terminal import Call, complain, say
from imghost.errors import ImghostError, SettingsError
from imghost.settings import Settings

if TYPE_CHECKING:
    from imghost.cli.parser import Command, Typed

DONE: Final = 0
NOT_AS_ASKED: Final = 1
WRONG_USAGE: Final = 2
_ENDING: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a program to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 done, 1 not as asked, 2 wrong usage or configuration.

    A run that a signal ended gives 128 and the signal's number, as shells do.
    """
    try:
        with _ending_in_order():
            return _status(arguments)
    except KeyboardInterrupt as interrupt:
        _tell(say, "interrupted; what was uploaded is kept, run the command again to go on")
        return _status_of(interrupt)
    finally:
        _give_up_complaints()


def _status(arguments: Sequence[str] | None) -> int:
    """Run one command, and say what is wrong in one line."""
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments)
        if sys.stdout is not None:  # None where it was closed before we began
            sys.stdout.flush()
    except ImghostError as wrong:
        _tell(complain, str(wrong))
        return WRONG_USAGE
    except BrokenPipeError:
        _give_up_output()  # whoever read it has seen enough
        return DONE
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        _tell(complain, f"{where}{problem.strerror or problem}; mend that and run it again")
        _give_up_output()
        return NOT_AS_ASKED
    except MemoryError:
        _tell(complain, "there is too little memory; give the command more")
        return NOT_AS_ASKED
    return status


def _tell(tell: Callable[[str], None], text: str) -> None:
    """Tell the user something, as far as anybody can be told."""
    with suppress(OSError):
        tell(text)


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


def _run(arguments: Sequence[str]) -> int:
    from imghost.cli import parser  # click takes a while to load, which an import of this module need not

    if not arguments:
        print(parser.help_of(), file=sys.stderr)
        return WRONG_USAGE
    typed = parser.parse(arguments)
    if typed is None:
        return DONE
    command = parser.COMMANDS[typed.command]
    return command.run(_call(typed, command))


def _call(typed: Typed, command: Command) -> Call:
    """Read the configuration, put the command line's options over it, and find the site."""
    values = typed.values
    configuration = find(Path.cwd(), values["config"], os.environ)
    own = {flag.name: values[flag.name.replace("-", "_")] for flag in command.flags}
    names = [option.name for option in settings.options() if option.name not in own]
    given = {name: values[name] for name in names if values[name] not in (None, ())}
    configured = configuration.read()
    if typed.command == "migrate":
        # The configuration's `options` are the old host's.
        others = {name: value for name, value in configuration.options.items() if name != "options"}
        configuration, given = replace(configuration, options=others), given | {"host": values["to"]}
    chosen = _chosen(configuration, given)
    if command.argument:
        own[command.argument.lower()] = values[command.argument.lower()]
    site = Call.folder(values["site"]) if command.has_site else None
    manner = {f"is_{name}": values[name] for name in ("strict", "json", "quiet", "verbose")}
    call = Call(site, chosen, dict(os.environ), **manner, given=own, configured=configured)
    if configuration.name:
        call.say(f"the options are those of {configuration.name}")
    for remark in configuration.remarks:
        call.say(remark)
    return call


def _chosen(configuration: Configuration, given: Mapping[str, Any]) -> Settings:
    """Put the command line's options over the configuration's; paths on it start from the current folder."""
    chosen = configuration.read()
    if not given:
        return chosen
    if chosen.host not in {"auto", given.get("host", chosen.host)}:
        # The configuration's `options` are those of the host that it names.
        configuration, chosen = replace(configuration, options={}), replace(chosen, options={})
    if "options" in given:
        given = {**given, "options": {**configuration.options.get("options", {}), **_pairs(given["options"])}}
    return settings.over(chosen, settings.read(given, Path.cwd(), "", given), given)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise SettingsError("--option should be KEY=VALUE, like --option tier=free")
        pairs[name.strip()] = value.strip()
    return pairs


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let a request to end interrupt what runs inside, as the keyboard does; a second one ends it at once.

    What is under way may finish, and what was earned is kept. A signal that is ignored, as under nohup, stays so.
    Only the main thread can be interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = [signum for signum in _ENDING if signal.getsignal(signum) is signal.SIG_DFL]
    for signum in usual:
        signal.signal(signum, _interrupt)
    try:
        yield
    finally:
        for signum in usual:
            signal.signal(signum, signal.SIG_DFL)


def _interrupt(signum: int, _: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_DFL)
    raise KeyboardInterrupt(signum)


def _status_of(interrupt: KeyboardInterrupt) -> int:
    """Give the exit status that shells give a command which a signal ended."""
    return 128 + (interrupt.args[0] if interrupt.args else int(signal.SIGINT))
