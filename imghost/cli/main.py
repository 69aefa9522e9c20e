"""The command line: commands in, exit status out."""

from __future__ import annotations

import ast
import io
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from imghost import settings
from imghost.cli import Call, complain, say
from imghost.errors import ImghostError, SettingsError
from imghost.run.job import read_settings
from imghost.settings import Settings
from imghost.wording import load_patterns

if TYPE_CHECKING:
    from yaml.nodes import Node

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
        load_patterns()
        _escape_what_cannot_be_shown()
        with _ending_in_order():
            return _status(arguments)
    except KeyboardInterrupt as interrupt:
        _tell(say, "interrupted; what was uploaded is kept, run the command again to go on")
        return _status_of(interrupt)
    finally:
        _give_up_complaints()


def _escape_what_cannot_be_shown() -> None:
    """Let no name end a command half-way, where the output's encoding lacks its letters (a pipe on Windows)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


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


# Which options count: those of imghost.toml or [tool.imghost], or of the generator's own configuration.

SPHINX_FOLDERS: Final = ("", "docs", "doc", "source", "docs/source")
"""Where a conf.py is looked for."""

_MKDOCS_NAMES: Final = ("properdocs.yml", "properdocs.yaml", "mkdocs.yml", "mkdocs.yaml")
"""In the order in which ProperDocs looks for them; MkDocs and Zensical know the last two."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The options that one file holds, as they stand in it."""

    options: Mapping[str, Any]
    folder: Path
    """What its relative paths are relative to."""
    name: str = ""
    """How messages name the file; empty = there is none."""
    prefix: str = ""
    """What the file writes before the name of each option."""
    remarks: tuple[str, ...] = ()

    def read(self) -> Settings:
        """Make settings of the options; raises SettingsError, which names options as the file does."""
        try:
            return read_settings(self.options, self.folder, self.name or "imghost")
        except SettingsError as wrong:
            text = str(wrong)
            for named in (": option '", "did you mean '", "put it under '"):
                text = text.replace(named, f"{named}{self.prefix}", 1)
            raise SettingsError(text, wrong.option) from None


def find(here: Path, named: str | None, environ: Mapping[str, str]) -> Configuration:
    """Find the options: in the file that is named, else in the one file here that has any.

    Raises SettingsError, also where two files have options that differ.
    """
    if named is not None:
        path = here / named
        reader = _reader_of(path)
        found = reader(path, here, environ)
        if found is None:
            raise SettingsError(f"{_named(path, here)} has no options for imghost; add {_PLACES[reader]}")
        return found
    candidates = [found for path in _places(here) if (found := _reader_of(path)(path, here, environ))]
    if not candidates:
        return Configuration({}, here)
    for other in candidates[1:]:
        _refuse_different(candidates[0], other)
    return candidates[0]


def _places(here: Path) -> Iterator[Path]:
    """List the files here that may hold options, in the order in which they count."""
    names = ("imghost.toml", "pyproject.toml", "zensical.toml", *_MKDOCS_NAMES)
    paths = (*(here / name for name in names), *(here / folder / "conf.py" for folder in SPHINX_FOLDERS))
    return (path for path in paths if path.is_file())


def _refuse_different(first: Configuration, second: Configuration) -> None:
    """Refuse two files whose options differ: which one a build goes by cannot be known."""
    one, other = first.read(), second.read()
    for option in settings.options():
        if getattr(one, option.name) != getattr(other, option.name):
            raise SettingsError(
                f"{first.name} and {second.name} both have options for imghost, and they differ in {option.name!r}; "
                "take them out of one, or name the one that counts with --config"
            )


_Reader = Callable[[Path, Path, Mapping[str, str]], Configuration | None]
"""Reads a file's options, as seen from a folder and in an environment; None = the file has none."""


def _reader_of(path: Path) -> _Reader:
    """Choose how a file is read, by its name."""
    if path.suffix in {".yml", ".yaml"}:
        return _mkdocs
    if path.suffix == ".py":
        return _sphinx
    return {"pyproject.toml": _pyproject, "zensical.toml": _zensical}.get(path.name, _toml_options)


def _named(path: Path, here: Path) -> str:
    """Name a file as the user would, from the current folder."""
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise SettingsError(f"{path} cannot be read: {problem.strerror}; name an existing file with --config") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_content(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path.name} is not valid TOML: {problem}") from None


def _toml_options(path: Path, here: Path, _: Mapping[str, str]) -> Configuration:
    """Read a file that is ours alone."""
    return Configuration(_toml(path), path.parent, _named(path, here))


def _pyproject(path: Path, here: Path, _: Mapping[str, str]) -> Configuration | None:
    options = _toml(path).get("tool", {}).get("imghost")
    return None if options is None else Configuration(options, path.parent, _named(path, here))


def _zensical(path: Path, here: Path, _: Mapping[str, str]) -> Configuration | None:
    """Read what Zensical drops without a word: a plugin that it does not know."""
    tables = _toml(path)
    return _of_plugin(tables.get("project", tables), path, here)


def _mkdocs(path: Path, here: Path, environ: Mapping[str, str]) -> Configuration | None:
    content = _content(path)
    if b"imghost" not in content and b"INHERIT" not in content:
        return None  # reading YAML takes a while
    return _of_plugin(_yaml(path, environ, ()), path, here)


def _of_plugin(tables: Any, path: Path, here: Path) -> Configuration | None:
    """Take the options of the plugin `imghost`, and the site's URL from beside it, as the plugin does."""
    plugins = tables.get("plugins") if isinstance(tables, Mapping) else None
    for name, options in _plugins(plugins):
        if name == "imghost":
            if not isinstance(options, Mapping):
                raise SettingsError(f"{_named(path, here)}: the options of imghost should be a mapping")
            _refuse_tags(options, _named(path, here))
            return Configuration(_with_site_url(options, tables.get("site_url")), path.parent, _named(path, here))
    return None


def _refuse_tags(raw: Any, name: str) -> None:
    """Refuse values that only the generator can make, wherever in the options they stand."""
    if isinstance(raw, Tagged):
        raise SettingsError(
            f"{name}: only the generator can read what has the tag {raw.tag}; write the value itself, or put all "
            "options for the command into a file that --config names"
        )
    for value in raw.values() if isinstance(raw, Mapping) else raw if isinstance(raw, list) else ():
        _refuse_tags(value, name)


def _plugins(raw: Any) -> Iterator[tuple[Any, Any]]:
    """List plugins and their options, which MkDocs takes as a mapping, or as a list of names and mappings."""
    if isinstance(raw, Mapping):
        yield from ((name, options or {}) for name, options in raw.items())
    elif isinstance(raw, list):
        for entry in raw:
            yield from _plugins(entry if isinstance(entry, Mapping) else {entry: {}})


def _with_site_url(options: Mapping[str, Any], site_url: Any) -> dict[str, Any]:
    is_given = isinstance(site_url, str) and site_url and options.get("site_url") is None
    return {**options, "site_url": site_url} if is_given else dict(options)


def _yaml(path: Path, environ: Mapping[str, str], heirs: tuple[Path, ...]) -> Any:
    """Read a configuration with what it inherits, as MkDocs does: mappings are merged, all else is replaced."""
    import yaml

    if path in heirs:
        raise SettingsError(f"{path.name} inherits from itself; mend its INHERIT")
    try:
        tables = yaml.load(_content(path), _loader(environ))  # noqa: S506 - a safe loader, by its base
    except yaml.YAMLError as problem:
        raise SettingsError(f"{path.name} is not valid YAML: {' '.join(str(problem).split())}") from None
    if not isinstance(tables, dict) or "INHERIT" not in tables:
        return tables
    parent = tables.pop("INHERIT")
    if not isinstance(parent, str):
        raise SettingsError(f"{path.name}: INHERIT should be a path, not {parent!r:.80}")
    return _merged(_yaml(Path(os.path.normpath(path.parent / parent)), environ, (*heirs, path)), tables)


def _merged(under: Any, over: Any) -> Any:
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return under | {name: _merged(under.get(name), value) for name, value in over.items()}


def _loader(environ: Mapping[str, str]) -> type[Any]:
    """Make a safe YAML loader that knows `!ENV`; what other tags mean is their generator's business."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    def from_environment(loader: Any, node: Node) -> Any:
        """Give the first variable that is set, read as YAML reads a scalar, else the default, the list's last."""
        names, default = [node], None
        if isinstance(node, yaml.SequenceNode):
            names = list(node.value)
            if len(names) > 1:
                default = loader.construct_object(names.pop(), deep=True)
        for name in map(loader.construct_scalar, names):
            if name in environ:
                tag = loader.resolve(yaml.ScalarNode, environ[name], (True, False))
                return loader.construct_object(yaml.ScalarNode(tag, environ[name]))
        return default

    Loader.add_constructor("!ENV", from_environment)
    for prefix in ("!", "tag:yaml.org,2002:python/"):
        Loader.add_multi_constructor(prefix, lambda _, suffix, __, prefix=prefix: Tagged(prefix + suffix))
    return Loader


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value that only the generator itself can make; no option reads it."""

    tag: str


def _sphinx(path: Path, here: Path, _: Mapping[str, str]) -> Configuration | None:
    """Read a conf.py's literal assignments without running it: it may do anything."""
    content = _content(path)
    if b"imghost" not in content:
        return None
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as problem:
        raise SettingsError(f"{_named(path, here)} is not valid Python: {problem}") from None
    literals, others = _assigned(tree)
    name = _named(path, here)
    if unread := min(((line, it) for it, line in others.items() if it.startswith("imghost_")), default=None):
        raise SettingsError(
            f"{name}: line {unread[0]}: {unread[1]} is no literal, and the file is not run to read it; write it as a "
            "literal, or put all options for the command into a file that --config names"
        )
    options = {it.removeprefix("imghost_"): value for it, value in literals.items() if it.startswith("imghost_")}
    if not options and not _mentions(tree, "sphinx_imghost"):
        return None
    found = Configuration(_with_site_url(options, literals.get("html_baseurl")), path.parent, name, "imghost_")
    if "html_baseurl" in others and found.options.get("site_url") is None:
        remark = f"html_baseurl in {name} is no literal and was not read; --site-url says where the site will live"
        return replace(found, remarks=(remark,))
    return found


def _assigned(tree: ast.Module) -> tuple[dict[str, Any], dict[str, int]]:
    """Sort the names of a module into literals by their values, and others by the line that uses them."""
    literals: dict[str, Any] = {}
    others: dict[str, int] = {}
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            try:
                value = ast.literal_eval(statement.value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                pass
            else:
                if all(isinstance(target, ast.Name) for target in targets):
                    literals |= {target.id: value for target in targets if isinstance(target, ast.Name)}
                    continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                others.setdefault(node.id, node.lineno)
    return literals, others


def _mentions(tree: ast.Module, text: str) -> bool:
    return any(isinstance(node, ast.Constant) and node.value == text for node in ast.walk(tree))


_PLACES: Final[Mapping[_Reader, str]] = {
    _mkdocs: "the plugin imghost",
    _sphinx: "imghost_<name> = ...",
    _pyproject: "a table [tool.imghost]",
    _zensical: "a table [project.plugins.imghost]",
}
"""Where options stand in a file that has more than those."""
