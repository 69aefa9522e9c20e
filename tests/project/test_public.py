"""The names that other packages may use."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import imghost


def test_public_names_are_these_and_each_says_what_for():
    assert sorted(imghost.__all__) == [
        "Early", "ImghostError", "Job", "KeptOverCleanup", "LockError", "LockedImages", "Notice", "Origins", "Result", "Settings",
        "SettingsError", "Told", "begin_early", "git_top", "is_serving", "is_watched", "nearest", "one_line", "options", "page_map_location", "read_lock",
        "read_settings", "rehost", "repeat", "retire_page_map", "rewrite_text", "summary", "uploads_bar", "version",
    ]  # fmt: skip
    for name in imghost.__all__:
        assert getattr(imghost, name).__doc__, name


def test_the_version_is_the_projects():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert imghost.version() == project["version"]


def test_the_front_ends_know_these_names_and_no_room():
    root = Path(__file__).parents[2]
    fronts = [*root.glob("mkdocs_imghost/*.py"), *root.glob("sphinx_imghost/*.py"), root / "imghost/markdown.py"]
    for file in fronts:
        imported = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        rooms = {node.module for node in imported if node.module and node.module.partition(".")[0] == "imghost"}
        assert rooms <= {"imghost"}, file


def test_who_writes_a_host_imports_from_the_doors_alone():
    root = Path(__file__).parents[2]
    code = {str(file): file.read_text("utf-8") for file in (root / "tests/third_party").glob("*.py")}
    for page in (root / "docs").glob("*.md"):
        blocks = page.read_text("utf-8").split("```python\n")[1:]
        code |= {f"{page}, block {number}": block.partition("```")[0] for number, block in enumerate(blocks)}
    imports = {
        (place, node.module)
        for place, text in code.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imghost.")
    }
    assert {module for _, module in imports} == {"imghost.hosts", "imghost.testing"}, imports


def test_an_error_is_imported_without_the_run():
    """As the author of a host does."""
    program = (
        "import sys; from imghost import ImghostError; from imghost.errors import HostError;"
        "print([name for name in sys.modules if name.startswith('imghost.') and name != 'imghost.errors'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"[]", "['imghost.wording']"}
