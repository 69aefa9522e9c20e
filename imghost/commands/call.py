"""One call of the command line, and how it tells its user things."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imghost.commands.style import painted, plain
from imghost.run.job import Job
from imghost.run.progress import on_terminal
from imghost.settings import Settings
from imghost.site import page_map
from imghost.site.images import Origins


@dataclass(frozen=True, slots=True)
class Call:
    """What the user asked for, read."""

    site: Path | None
    settings: Settings
    environ: Mapping[str, str]
    is_strict: bool = False
    is_json: bool = False
    given: Mapping[str, object] = field(default_factory=dict)
    """The command's own flags."""

    def job(self) -> Job:
        """Make the run's job: here the site is its own source."""
        assert self.site is not None
        return Job(
            site=self.site,
            settings=self.settings,
            environ=self.environ,
            origins=Origins(is_own_source=True),
            page_map=page_map.location(self.settings.cache_dir, self.site),
            is_serving=self.environ.get("IMGHOST_SERVE") == "1",
            say=say,
            progress=on_terminal(sys.stderr, self.environ),
        )


def say(line: str) -> None:
    """Tell the user what is going on, beside the command's output."""
    print(f"imghost: {plain(line)}", file=sys.stderr, flush=True)


def warn(texts: Iterable[str]) -> None:
    """Print warnings."""
    for text in texts:
        mark = painted("warning:", "yellow", sys.stderr)
        print(f"imghost: {mark} {plain(text)}", file=sys.stderr, flush=True)


def print_json(found: object) -> None:
    """Print what a script reads."""
    print(json.dumps(found, indent=1, ensure_ascii=False))
