"""Scripts by which a shell completes what is typed, derived from the parser."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """A command and what can follow it."""

    name: str
    about: str
    flags: tuple[str, ...]
    actions: tuple[str, ...] = ()
    """Words that must follow, such as `create`."""


def script(shell: str, words: Sequence[Word], values: Mapping[str, Sequence[str]]) -> str:
    """Write the script for bash, zsh or fish; `values` are those of flags that have only a few.

    Whatever is neither a command nor a flag is a file's name.
    """
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return write(words, values)


def _shared(words: Sequence[Word]) -> list[str]:
    """List the flags that most commands take."""
    return [flag for flag in words[0].flags if flag in words[1].flags]


def _cases(words: Sequence[Word], form: str) -> str:
    """Write a line for each command; what it shares with the others stands in one variable."""
    shared = _shared(words)
    lines = []
    for word in words:
        own = [*word.actions, *(flag for flag in word.flags if flag not in shared)]
        some = [flag for flag in shared if flag in word.flags]
        lines.append(f"    {word.name}) {form.format(' '.join(own + (['$settings'] if some == shared else some)))} ;;")
    return "\n".join(lines)


def _bash(words: Sequence[Word], values: Mapping[str, Sequence[str]]) -> str:
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


def _zsh(words: Sequence[Word], values: Mapping[str, Sequence[str]]) -> str:
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


def _fish(words: Sequence[Word], values: Mapping[str, Sequence[str]]) -> str:
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
