"""What can be typed: commands, flags, help, completion and wrong words, derived from the declared options."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeGuard

import click

from imghost import settings, wording
from imghost.cli import Call, commands
from imghost.environment import version
from imghost.errors import SettingsError
from imghost.models import KINDS
from imghost.settings import show_duration
from imghost.wording import one_line


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of one command's own."""

    name: str
    about: str
    metavar: str = ""
    """Empty for a switch."""
    is_repeated: bool = False
    is_required: bool = False
    short: str = ""
    """A letter that stands for it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: a function, and what can be typed after its name."""

    run: Callable[[Call], int]
    about: str
    example: str
    """Lines to type."""
    more: str = ""
    """What else its own help tells."""
    has_site: bool = False
    argument: str = ""
    """What must follow the command where that is no site, as help writes it."""
    action: str = ""
    """A word that must follow the command."""
    flags: tuple[Flag, ...] = ()
    settings: str = ""
    """The settings that matter to it, which its help shows; empty for all. It takes every other, too."""


_ASKING: Final = "host options lock timeout"
"""What matters to a command that asks a host."""

COMMANDS: Final[Mapping[str, Command]] = {
    "rehost": Command(
        commands.rehost,
        "upload a built site's images and point its pages at them",
        "imghost rehost site --host img.pro\nimghost rehost site --host directory --report images.html",
        has_site=True,
    ),
    "plan": Command(
        commands.plan,
        "show what would be uploaded, what stays local and why",
        "imghost plan site --host img402 --max-cost 5\nimghost plan site --json",
        has_site=True,
        more="Nothing is uploaded and no page is changed; the host is asked for the quota only.",
    ),
    "check": Command(
        commands.check,
        "exit with 1 if the lock does not cover the site",
        "imghost check site || echo build once with a credential",
        has_site=True,
        settings="host options lock site_url include exclude references retention renew_before oversize max_edge "
        "metadata format",
    ),
    "audit": Command(
        commands.audit,
        "show what is wrong with a site's images; exit with 1 for broken ones and missing texts",
        "imghost audit site\nimghost audit site --fail broken --fail unused\nimghost audit site --format github",
        has_site=True,
        flags=(
            Flag("fail", "a kind that is exit 1, or none (default: broken, alt)", "KIND", is_repeated=True),
            Flag("format", "how the findings are printed (default: text)", "{text,json,github,sarif}"),
        ),
        more="Nothing is changed, and no host is asked. The kinds are broken (a reference to a missing file), alt (no "
        "alternative text), expiring (hosted, and about to end), large (many more pixels than are shown), metadata "
        "(it tells a place or a person), twin (the same bytes under several names) and unused.",
        settings="site_url lock renew_before",
    ),
    "verify": Command(
        commands.verify,
        "fetch every record's URL; exit with 1 if one is dead or altered",
        "imghost verify\nimghost verify --site site --strict\nimghost verify --since origin/main",
        flags=(
            Flag("site", "also check what this site's pages refer to", "SITE"),
            Flag("since", "only the records that a commit's lock does not have, as in a pull request", "COMMIT"),
        ),
        more="Nothing is changed. Listed are the dead, the altered and those that expire soon.",
        settings=f"{_ASKING} renew_before concurrency",
    ),
    "status": Command(
        commands.status,
        "show the records, when they expire, and the host's own numbers",
        "imghost status\nimghost status --renew-before 60d\nimghost status --shared",
        flags=(
            Flag("shared", "show the store of shared records that the configuration names"),
            Flag("again", "let the next build send once more what the host has refused for good"),
        ),
        settings=f"{_ASKING} renew_before",
    ),
    "adopt": Command(
        commands.adopt,
        "find images that the host has already, after lost records",
        "imghost adopt site --host img.pro",
        has_site=True,
        settings=f"{_ASKING} site_url include exclude references retention oversize max_edge metadata format",
    ),
    "prune": Command(
        commands.prune,
        "list, and with --yes delete, hosted images that no site uses",
        "imghost prune --keep site --keep old-site\nimghost prune --keep site --grace 30d --yes",
        flags=(
            Flag("keep", "a site whose images stay; name every version", "SITE", is_repeated=True, is_required=True),
            Flag("grace", "leave images younger than this (default: 7d)", "DURATION"),
            Flag("yes", "delete"),
        ),
        more="Only images of this project's namespace, folder or prefix are looked at.",
        settings=_ASKING,
    ),
    "edit": Command(
        commands.edit,
        "list, and with --yes change, what the host knows of this project's images",
        "imghost edit --option tags=manual\nimghost edit --option namespace=docs --yes",
        flags=(Flag("yes", "change them"),),
        more="Tags, namespace, public and metadata follow the settings, at img.pro; the images stay as they are.",
        settings=_ASKING,
    ),
    "share": Command(
        commands.share,
        "publish the lock's records to the store of shared ones",
        "imghost share --dry-run\nimghost share --shared s3://records/docs",
        flags=(Flag("dry-run", "say how many, and publish nothing"),),
        more="For a project that joins others; what the store has already stays.",
        settings=f"{_ASKING} shared",
    ),
    "tidy": Command(
        commands.tidy,
        "list, and with --yes take out, records of images that left the sites",
        "imghost tidy --keep site --keep old-site\nimghost tidy --keep site --grace 365d --yes",
        flags=(
            Flag("keep", "a site whose records stay; name every version", "SITE", is_repeated=True, is_required=True),
            Flag("grace", "leave records younger than this (default: 90d)", "DURATION"),
            Flag("yes", "write the lock"),
        ),
        more="Only the lock is written: nothing is deleted at a host, and no host is asked.",
        settings="lock",
    ),
    "migrate": Command(
        commands.migrate,
        "move a site's images to another host",
        "imghost migrate site --to s3 --option bucket=docs-images",
        has_site=True,
        flags=(Flag("to", "the host to move to", "HOST", is_required=True),),
        more="The old records stay until they are pruned.",
    ),
    "shrink": Command(
        commands.shrink,
        "take the images out of a branch that holds published versions",
        "imghost shrink gh-pages --host img.pro\nimghost shrink gh-pages --host img.pro --yes --orphan",
        argument="BRANCH",
        flags=(Flag("yes", "upload, and commit on that branch"), Flag("orphan", "leave the branch no history")),
        more="Without --yes nothing is uploaded and nothing is committed: it shows each version's megabytes before and "
        "after, against the 1 GB of GitHub Pages. Nothing but that branch changes, which is pushed by you.",
        settings=f"{_ASKING} site_url include exclude references retention max_cost max_uploads oversize max_edge "
        "metadata format",
    ),
    "restore": Command(
        commands.restore,
        "put a site's local references back",
        "imghost restore site",
        has_site=True,
        settings="lock cache_dir site_url references",
    ),
    "hosts": Command(
        commands.hosts,
        "list the hosts: formats, sizes, retention, price, credential",
        "imghost hosts\nimghost hosts --json",
        settings="options",
    ),
    "wallet": Command(
        commands.wallet,
        "show the img402 wallet's address and balance",
        "imghost wallet --rpc-url https://mainnet.base.org",
        flags=(
            Flag("rpc-url", "a node of the Base network to ask for the balance", "URL"),
            Flag(
                "pay-again", "let a lost payment's image be paid once more: the digest that its warning names", "SHA256"
            ),
        ),
        settings="lock cache_dir timeout",
    ),
    "keys": Command(
        commands.keys,
        "make an img.pro key",
        "imghost keys create --email you@example.org",
        action="create",
        flags=(
            Flag("email", "where the verification goes", "ADDRESS", is_required=True),
            Flag("name", "what the host calls the key", "TEXT"),
        ),
        more="The key is printed once, on the standard output.",
        settings="options timeout",
    ),
}
"""Every command by its name, in the order that help lists them. One more is a function and its row here."""

_EXAMPLES: Final = (
    "imghost rehost site --host img.pro    with IMGPRO_API_KEY in the environment",
    "imghost plan site                     what that would upload, and what it costs",
    "imghost help COMMAND                  more on each command",
)
_COMMON: Final = (
    Flag(
        "config",
        "the file whose options count: imghost.toml, pyproject.toml, mkdocs.yml, conf.py ...",
        "FILE",
    ),
    Flag("strict", "exit with 1 if there was a warning"),
    Flag("json", "print JSON"),
    Flag("quiet", "say only what was asked for, warnings and errors", short="q"),
    Flag("verbose", "say more: a line for each image, and whole lists", short="v"),
)
_NAMED_ELSEWHERE: Final = {"--dry-run": "`imghost plan SITE` shows what would be uploaded"}
"""What other tools have an option for and imghost a command."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command, and what was typed after it: values by the names of flags and settings, None or empty = not typed."""

    command: str
    values: Mapping[str, Any]


def parse(arguments: Sequence[str]) -> Typed | None:
    """Read the command line; None where it asked for help, the version or a script, which are printed here.

    Raises SettingsError with what is wrong and what to type instead.
    """
    try:
        with make_parser().make_context("imghost", list(arguments)) as context:
            typed = context.command.invoke(context)
    except click.exceptions.Exit:
        return None
    except click.UsageError as wrong:
        raise SettingsError(_worded(wrong)) from None
    return typed if isinstance(typed, Typed) else None


def help_of(*words: str) -> str:
    """Write the help of the whole command line, or of the command that is named."""
    parser = make_parser()
    context = click.Context(parser, info_name="imghost", **parser.context_settings)
    for word in words:
        _, command, _ = parser.resolve_command(context, [word])
        assert command is not None
        context = click.Context(command, info_name=word, parent=context)
    return context.get_help()


class CommandParser(click.Command):
    """One command's arguments and flags; its help shows its own flags first, and the settings that matter to it."""

    def __init__(
        self,
        name: str,
        about: str,
        example: str,
        params: Sequence[click.Parameter],
        answer: Callable[..., Typed | None],
        *,
        more: str = "",
        own: Collection[str] = (),
        settings: Collection[str] = (),
    ) -> None:
        # What is too many is worded below.
        super().__init__(name, {"allow_extra_args": True}, answer, list(params), short_help=about)
        self._paragraphs = tuple(filter(None, (about, more)))
        self._example = example
        self._own = own
        """Flags of its own, of which one may have the name of a setting."""
        self._settings = settings

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what was typed; raises UsageError."""
        try:
            super().parse_args(ctx, args)
        except click.UsageError as wrong:
            wrong.ctx = wrong.ctx or ctx  # so that the remedy names this command
            raise
        if ctx.args:
            ctx.fail(f"{ctx.args[0]!r} is one argument too many{self._place_for(ctx.args[0])}")
        return ctx.args

    def _place_for(self, word: str) -> str:
        """Point at the flag that takes a site, where only a flag does."""
        flag = next((param for param in self.params if _is_flag(param) and param.metavar == "SITE"), None)
        return f"; did you mean '{flag.opts[0]} {word}'?" if flag else ""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help."""
        _write_usage(formatter, f"imghost {self.name}", self._usage())
        _write_paragraphs(formatter, self._paragraphs)
        known = {option.name for option in settings.options()} - set(self._own)
        flags = [param for param in self.get_params(ctx) if _is_flag(param)]
        _write_list(formatter, "options", [_row(flag, ctx) for flag in flags if flag.name not in known])
        shown = [_row(flag, ctx) for flag in flags if flag.name in self._settings]
        if shown:
            _write_list(formatter, "settings, over those of the configuration file", shown)
        if shown and len(shown) < len(known):
            _write_paragraphs(formatter, ["Every other setting is taken, too: see imghost help rehost."])
        _write_examples(formatter, self._example.splitlines())

    def _usage(self) -> str:
        """List what must be typed."""
        placed = (param.metavar or str(param.name) for param in self.params if isinstance(param, click.Argument))
        needed = (f"{param.opts[0]} {param.metavar}" for param in self.params if _is_flag(param) and param.required)
        return " ".join([*placed, *needed, "[options]"])


class Parser(click.Group):
    """The whole command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command; raises UsageError."""
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption as wrong:
            place = next((at for at, word in enumerate(args) if word in self.commands), None)
            if place is None or not self._takes(wrong.option_name):
                raise
            right = shlex.join(["imghost", *args[place:], *args[:place]])
            ctx.fail(f"options stand after the command: {right}")

    def _takes(self, flag: str) -> bool:
        """Whether any command has this flag."""
        return any(flag in param.opts + param.secondary_opts for it in self.commands.values() for param in it.params)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; raises UsageError."""
        if args[0] not in self.commands:
            ctx.fail(f"there is no command {args[0]!r}; {wording.nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help."""
        _write_usage(formatter, "imghost", "COMMAND [SITE] [options]")
        _write_paragraphs(formatter, ["Documentation images that live on an image host."])
        _write_list(formatter, "commands", [(name, str(it.short_help)) for name, it in self.commands.items()])
        _write_list(formatter, "options", [_row(param, ctx) for param in self.get_params(ctx)])
        _write_examples(formatter, _EXAMPLES)


def _row(flag: click.Parameter, ctx: click.Context) -> tuple[str, str]:
    """Write a flag and what it does; click words its own `--help` as a sentence."""
    name, about = flag.get_help_record(ctx) or ("", "")
    return name, "show this help" if name.endswith("--help") else about


def _write_usage(formatter: click.HelpFormatter, name: str, usage: str) -> None:
    formatter.write_usage(name, usage, prefix="usage: ")


def _write_paragraphs(formatter: click.HelpFormatter, texts: Iterable[str]) -> None:
    for text in texts:
        formatter.write_paragraph()
        formatter.write_text(text)


def _write_list(formatter: click.HelpFormatter, head: str, rows: Sequence[tuple[str, str]]) -> None:
    with formatter.section(head):
        formatter.write_dl(rows)


def _write_examples(formatter: click.HelpFormatter, lines: Sequence[str]) -> None:
    """Write lines to type as they are: a wrapped one could not be typed."""
    with formatter.section("example" if len(lines) == 1 else "examples"):
        for line in lines:
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def make_parser() -> Parser:
    """Make the parser of the whole command line."""
    parser = Parser(
        "imghost",
        commands={name: _command(name, command) for name, command in COMMANDS.items()},
        context_settings={"help_option_names": ["-h", "--help"]},
        params=[_version_flag()],
    )
    parser.add_command(_completion_command())
    parser.add_command(_help_command())
    return parser


def _version_flag() -> click.Option:
    def show(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
        if is_asked:
            click.echo(f"imghost {version()}")
            context.exit()

    return click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="show the version"
    )


def _command(name: str, command: Command) -> CommandParser:
    """Make a command's parser: what it takes itself, what all take, and every setting."""
    placed: list[click.Parameter] = []
    if command.has_site:
        placed.append(click.Argument(["site"], metavar="SITE"))
    if command.argument:
        placed.append(click.Argument([command.argument.lower()], metavar=command.argument))
    if command.action:
        placed.append(click.Argument(["action"], type=click.Choice([command.action]), metavar=command.action))
    flags = [_flag(flag) for flag in (*command.flags, *_COMMON)]
    own = {flag.name for flag in command.flags}
    every = [_setting(option) for option in settings.options() if option.name not in own]
    shown = command.settings.split() or [option.name for option in settings.options()]

    def answer(**values: Any) -> Typed:
        return Typed(name, values)

    return CommandParser(
        name,
        command.about,
        command.example,
        [*placed, *flags, *every],
        answer,
        more=command.more,
        own=own,
        settings=shown,
    )


def _flag(flag: Flag) -> click.Option:
    if not flag.metavar:
        names = [f"-{flag.short}"] * bool(flag.short) + [f"--{flag.name}"]
        return click.Option(names, is_flag=True, help=flag.about)
    about = f"{flag.about} (repeatable)" if flag.is_repeated else flag.about
    return click.Option(
        [f"--{flag.name}"], metavar=flag.metavar, multiple=flag.is_repeated, required=flag.is_required, help=about
    )


def _setting(option: Field[Any]) -> click.Option:
    """Derive a flag from an option's declaration; its value stays a text, which the settings read."""
    default = settings.default_of(option)
    about = option.metadata["about"] + _default(default)
    flag = f"--{option.name.replace('_', '-')}"
    metavar = option.metadata["metavar"]
    if option.name == "options":
        return click.Option(["--option", "options"], metavar=metavar, multiple=True, help=f"{about} (repeatable)")
    if isinstance(default, bool):
        return click.Option([f"{flag}/--no-{flag[2:]}", option.name], default=None, help=about)
    if isinstance(default, (tuple, frozenset)):
        return click.Option([flag, option.name], metavar=metavar, multiple=True, help=f"{about} (repeatable)")
    return click.Option([flag, option.name], metavar=metavar, help=about)


def _default(value: Any) -> str:
    """Tell a default that is not just nothing, as the option takes it."""
    if isinstance(value, timedelta):
        return f" (default: {show_duration(value)})"
    if isinstance(value, float):
        return f" (default: {value:g})"
    is_told = isinstance(value, (str, int, Decimal, Path)) and value is not False
    return f" (default: {'yes' if value is True else value})" if is_told else ""


def _completion_command() -> CommandParser:
    def answer(shell: str) -> None:
        # Needs no configuration: a broken one must not break the shell that this is loaded in.
        from imghost.hosts import registry

        click.echo(script(shell, _words(make_parser()), _few_values(registry.installed())), nl=False)

    return CommandParser(
        "completion",
        "print a script by which a shell completes commands and options",
        'eval "$(imghost completion bash)"    in ~/.bashrc\n'
        "source <(imghost completion zsh)     in ~/.zshrc, after compinit\n"
        "imghost completion fish | source     in ~/.config/fish/config.fish",
        [click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]), metavar="{bash,zsh,fish}")],
        answer,
    )


def _help_command() -> CommandParser:
    def answer(command: str | None) -> None:
        click.echo(help_of(*filter(None, [command])))

    topic = click.Argument(["command"], required=False, metavar="[COMMAND]")
    return CommandParser(
        "help", "show what can be typed, or what a command takes", "imghost help prune", [topic], answer
    )


def _worded(wrong: click.UsageError) -> str:
    """Say what is wrong with what was typed, and what to type instead, in a line of ours."""
    seen = wrong.ctx.command_path if wrong.ctx else "imghost"
    if isinstance(wrong, click.NoSuchOption):
        text = f"there is no option {wrong.option_name!r}{_guess(wrong)}"
    elif isinstance(wrong, click.MissingParameter) and wrong.param:
        text = f"{wrong.param.metavar if isinstance(wrong.param, click.Argument) else wrong.param.opts[0]} is missing"
    else:
        text = one_line(wrong.format_message()).rstrip(".")
        text = text[:1].lower() + text[1:]
    return text if ";" in text or text.endswith("?") or ": imghost" in text else f"{text}; see {seen} --help"


def _guess(wrong: click.NoSuchOption) -> str:
    """Offer what was meant: another name of it, or the nearest flag."""
    if place := _NAMED_ELSEWHERE.get(wrong.option_name):
        return f"; {place}"
    from imghost.hosts import registry

    name = wrong.option_name.removeprefix("--").replace("-", "_")
    if registry.owners_of(name):
        return f"; it is a host's own, so write --option {name}=..."
    near = wording.guess(wrong.option_name, flags_of(wrong.ctx.command) if wrong.ctx else ())
    return f"; did you mean {near!r}?" if near else ""


def _is_flag(param: click.Parameter) -> TypeGuard[click.Option]:
    return isinstance(param, click.Option)


def flags_of(command: click.Command) -> list[str]:
    """List the flags that a command takes, by their long names."""
    params = command.get_params(click.Context(command, info_name=command.name))
    names = (name for param in params if _is_flag(param) for name in (*param.opts, *param.secondary_opts))
    # `--help` first, as in every help of a shell's own commands.
    return sorted((name for name in names if name.startswith("--")), key=lambda name: name != "--help")


def _few_values(hosts: Iterable[str]) -> dict[str, list[str]]:
    """List the values of each flag that has only a few."""
    metavars = {option.name: option.metadata["metavar"] for option in settings.options()}
    chosen = {f"--{name}": text[1:-1].split(",") for name, text in metavars.items() if text.startswith("{")}
    return chosen | {"--host": ["auto", *hosts], "--to": list(hosts), "--references": list(KINDS)}


@dataclass(frozen=True, slots=True)
class _Word:
    """A command and what can follow it."""

    name: str
    about: str
    flags: tuple[str, ...]
    actions: tuple[str, ...] = ()
    """Words that must follow, such as `create`."""


def _words(parser: Parser) -> list[_Word]:
    return [
        _Word(name, str(it.short_help), tuple(flags_of(it)), tuple(_actions(it, parser)))
        for name, it in parser.commands.items()
    ]


def _actions(command: click.Command, parser: Parser) -> Iterator[str]:
    """List the words that a command takes without a flag, where there are only a few."""
    for param in command.params:
        if isinstance(param.type, click.Choice):
            yield from param.type.choices
        elif param.name == "command":
            yield from parser.commands


def script(shell: str, words: Sequence[_Word], values: Mapping[str, Sequence[str]]) -> str:
    """Write the script for bash, zsh or fish; `values` are those of flags that have only a few.

    Whatever is neither a command nor a flag is a file's name.
    """
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return write(words, values)


def _shared(words: Sequence[_Word]) -> list[str]:
    """List the flags that most commands take."""
    return [flag for flag in words[0].flags if flag in words[1].flags]


def _cases(words: Sequence[_Word], form: str) -> str:
    """Write a line for each command; what it shares with the others stands in one variable."""
    shared = _shared(words)
    lines = []
    for word in words:
        own = [*word.actions, *(flag for flag in word.flags if flag not in shared)]
        some = [flag for flag in shared if flag in word.flags]
        lines.append(f"    {word.name}) {form.format(' '.join(own + (['$settings'] if some == shared else some)))} ;;")
    return "\n".join(lines)


def _bash(words: Sequence[_Word], values: Mapping[str, Sequence[str]]) -> str:
    commands = " ".join(word.name for word in words)
    cases = _cases(words, 'words="{}"')
    chosen = "\n".join(f"    {flag}) words='{' '.join(some)}'; cur=${{cur#=}} ;;" for flag, some in values.items())
    return f"""_imghost() {{
  local settings='{" ".join(_shared(words))}'
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words='{commands}'
  COMPREPLY=()
  if (( COMP_CWORD > 1 )); then
    case ${{COMP_WORDS[1]}} in
{cases}
    *) words='' ;;
    esac
    [[ $cur == -* || $COMP_CWORD -eq 2 ]] || words=''
  fi
  [[ $prev == '=' ]] && prev=${{COMP_WORDS[COMP_CWORD-2]}}
  case $prev in
{chosen}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _imghost imghost
"""


def _zsh(words: Sequence[_Word], values: Mapping[str, Sequence[str]]) -> str:
    commands = "\n".join(f"    {shlex.quote(word.name + ':' + word.about)}" for word in words)
    cases = _cases(words, "flags=({})")
    chosen = "\n".join(f"    {flag}) compadd -- {' '.join(some)}; return ;;" for flag, some in values.items())
    return f"""#compdef imghost
_imghost() {{
  local -a commands flags settings
  settings=({" ".join(_shared(words))})
  commands=(
{commands}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case ${{words[CURRENT-1]}} in
{chosen}
  esac
  case ${{words[2]}} in
{cases}
  esac
  if [[ ${{words[CURRENT]}} == -* ]]; then compadd -- $flags
  else compadd -- ${{flags:#-*}}; _files
  fi
}}
if [[ ${{zsh_eval_context[-1]}} == loadautofunc ]]; then _imghost "$@"; else compdef _imghost imghost; fi
"""


def _fish(words: Sequence[_Word], values: Mapping[str, Sequence[str]]) -> str:
    shared = _shared(words)
    lines = [
        f"complete -c imghost -n __fish_use_subcommand -f -a {word.name} -d {shlex.quote(word.about)}" for word in words
    ]

    def add(commands: str, flags: Sequence[str], actions: Sequence[str] = ()) -> None:
        within = f"complete -c imghost -n '__fish_seen_subcommand_from {commands}'"
        lines.extend(f"{within} -f -a {action}" for action in actions)
        for flag in flags:
            some = f" -x -a '{' '.join(values[flag])}'" if flag in values else ""
            lines.append(f"{within} -l {flag.removeprefix('--')}{some}")

    add(" ".join(word.name for word in words if set(shared) <= {*word.flags}), shared)
    for word in words:
        add(word.name, [flag for flag in word.flags if flag not in shared], word.actions)
    return "\n".join(lines) + "\n"
