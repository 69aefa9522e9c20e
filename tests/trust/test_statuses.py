"""What CI sees: each front end's exit status, for each way in which a build may end, quiet or strict or neither."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Fault
from sites import picture, write

import imghost

pytestmark = pytest.mark.skipif(os.name == "nt", reason="builds are forked from one that has loaded all")

MODES: dict[str, dict[str, list[str]]] = {
    "mkdocs": {"": [], "strict": ["--strict"], "quiet strict": ["--quiet", "--strict"]},
    "sphinx-build": {"": [], "strict": ["-W"], "quiet strict": ["-q", "-W"]},
    "imghost": {"": [], "strict": ["--strict"]},
}
PLAIN = {"": 0, "strict": 0, "quiet strict": 0}
WARNED = PLAIN | {"strict": 1, "quiet strict": 1}
WRONG = {"mkdocs": 1, "sphinx-build": 2, "imghost": 2}


class Ground:
    """A project that all three front ends can build, and its host."""

    def __init__(self, root: Path, host: ImgPro) -> None:
        self.root, self.host = root, host
        self.options: dict[str, Any] = {"host": "img.pro", "retries": 1, "timeout": 5}
        self.options["options"] = {"api_url": host.api_url}
        self.key = {"IMGPRO_API_KEY": VERIFIED}

    def make(self) -> None:
        """Write the source of each front end anew, with the options as they are now."""
        images = {f"{number}.png": picture(number) for number in range(2)}
        shown = "\n\n".join(f"![]({name})" for name in images)
        directives = "\n\n".join(f".. image:: {name}" for name in images)
        conf = [f"imghost_{name} = {value!r}" for name, value in self.options.items()]
        lists = "\n".join(f"  {name}: {json.dumps(value)}" for name, value in self.options.items())
        toml = [f"{name} = {json.dumps(value)}" for name, value in self.options.items() if name != "options"]
        table = f"[options]\napi_url = {json.dumps(self.host.api_url)}"
        tags = "".join(f'<img src="{name}">' for name in images)
        write(self.root / "mkdocs", {f"docs/{name}": content for name, content in images.items()})
        write(self.root / "sphinx-build", dict(images))
        write(self.root / "imghost", {f"site/{name}": content for name, content in images.items()})
        plugin = lists.replace("\n", "\n    ").replace("  host", "      host", 1)
        write(
            self.root,
            {
                "mkdocs/docs/index.md": f"# Images\n\n{shown}\n",
                "mkdocs/mkdocs.yml": f"site_name: a\nplugins:\n  - imghost:\n{plugin}\n",
                "sphinx-build/index.rst": f"Images\n======\n\n{directives}\n",
                "sphinx-build/conf.py": "\n".join(["extensions = ['sphinx_imghost']", *conf, ""]),
                "imghost/site/index.html": tags,
                "imghost/imghost.toml": "\n".join([*toml, table, ""]),
            },
        )


ARGUMENTS = {
    "mkdocs": ["build"],
    "sphinx-build": ["-b", "html", ".", "_build"],
    "imghost": ["rehost", "site"],
}


@pytest.fixture(scope="module")
def forker() -> Iterator[subprocess.Popen[str]]:
    script = [sys.executable, str(Path(__file__).with_name("tools.py"))]
    environ = {**os.environ, "PYTHONPATH": str(Path(imghost.__file__).parents[1])}
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as forker:
        yield forker
        forker.communicate()


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with ImgPro("images") as host:
        yield Ground(tmp_path, host)


def ended(forker: subprocess.Popen[str], ground: Ground, tool: str, mode: str) -> tuple[int, str]:
    """Build with a front end from nothing but its source and the lock; gives its exit status and what it printed."""
    folder, printed = ground.root / tool, ground.root / "printed"
    printed.write_text("")
    own = {"PATH": os.environ["PATH"], "HOME": str(ground.root), "TMPDIR": str(ground.root), "NO_COLOR": "1"}
    task = {"tool": tool, "folder": str(folder), "environ": own | ground.key, "printed": str(printed)}
    task |= {"arguments": [*ARGUMENTS[tool], *MODES[tool][mode]]}
    assert forker.stdin is not None
    assert forker.stdout is not None
    forker.stdin.write(f"{json.dumps(task)}\n")
    forker.stdin.flush()
    return int(forker.stdout.readline()), printed.read_text("utf-8")


def refuse_one(ground: Ground) -> None:
    ground.host.server.fail_on(picture(1), Fault.RESET_AFTER_BODY)


def freeze(ground: Ground) -> None:
    ground.options["frozen"] = True


def break_lock(ground: Ground) -> None:
    for tool in MODES:
        write(ground.root / tool, {"imghost.lock": '{"imghost_lock": 1}\n<<<<<<< ours\n'})


def forget_key(ground: Ground) -> None:
    ground.key = {}


WAYS: dict[str, tuple[Callable[[Ground], object], dict[str, int] | None, str]] = {
    "all is well": (lambda ground: None, PLAIN, ""),
    "no credential": (forget_key, PLAIN, ""),
    "one image is refused": (refuse_one, WARNED, "1.png"),
    "frozen without records": (freeze, WARNED, "0.png"),
    "a broken lock": (break_lock, None, "imghost.lock, line 2"),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tool", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_the_exit_status_tells_ci_how_a_build_ended(
    ground: Ground, forker: subprocess.Popen[str], tool: str, way: str
) -> None:
    """What is degraded fails a strict build, quiet or not; what is wrong fails any; missing credentials none."""
    prepare, statuses, told = WAYS[way]
    prepare(ground)
    ground.make()
    for mode in MODES[tool]:
        if mode == "strict" and "quiet strict" in MODES[tool] and statuses is not WARNED:
            continue  # the quiet one is the harder
        status, printed = ended(forker, ground, tool, mode)
        assert status == (statuses[mode] if statuses else WRONG[tool]), (mode, printed)
        assert "Traceback" not in printed
        assert told in printed, mode
        if "quiet" in mode and not told:
            assert printed == ""
