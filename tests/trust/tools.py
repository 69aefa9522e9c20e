"""A process with all three front ends loaded that forks a build for each line it reads: `python tools.py`.

A line is JSON: the front end, the folder, the environment, the arguments, and a file for what it prints. The exit
status comes back, which is a shell's: what the front end's own command would give. Before that, where the line asks
for it (`is_named`), comes the build's id.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

import mkdocs.__main__
import mkdocs.commands.build
import sphinx.application
import sphinx.builders.html
import sphinx.cmd.build

import mkdocs_imghost
import sphinx_imghost
from imghost.cli import main as cli
from imghost.net import wire
from imghost.records import cache, safe_diskcache
from imghost.run import upload

LOADED = (mkdocs.commands.build, sphinx.application, sphinx.builders.html, mkdocs_imghost, sphinx_imghost)
LOADED_CORE = (safe_diskcache, cache, upload, wire)


def build(task: dict[str, Any]) -> int:
    """Run one command in this process."""
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environ"])
    for number in (1, 2):
        os.dup2(os.open(task["printed"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = [task["tool"], *task["arguments"]]
    try:
        if task["tool"] == "mkdocs":
            mkdocs.__main__.cli(task["arguments"])
        if task["tool"] == "sphinx-build":
            return int(sphinx.cmd.build.main(task["arguments"]))
        return cli.main(task["arguments"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 120
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        if (child := os.fork()) == 0:
            os._exit(build(task))
        if task.get("is_named"):
            print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
