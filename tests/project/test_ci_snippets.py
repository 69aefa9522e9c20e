"""What the documentation offers to paste is parsed, and its steps are run: real git, real builds, a local host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from doubles.imgpro import VERIFIED, ImgPro
from sites import picture, small_site, write

from imghost.hosts import registry
from imghost.models import Record
from imghost.records import lock as locks

ROOT = Path(__file__).parents[2]
SNIPPETS = ROOT / "docs/ci"
WORKFLOWS = [*sorted(SNIPPETS.glob("github-*.yml")), *sorted((ROOT / ".github/workflows").glob("*.yml"))]
NOTHING: Mapping[str, str] = MappingProxyType({})
GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "you/docs"}
READ_THE_DOCS = {"READTHEDOCS": "True", "READTHEDOCS_VERSION_TYPE": "branch"}
STEPS = {"${{ secrets.IMGPRO_API_KEY }}": VERIFIED, "${{ github.token }}": "a-token"}

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("bash") or not shutil.which("git"), reason="needs bash and git"
)


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def jobs(path: Path) -> Iterator[dict[str, Any]]:
    yield from parsed(path)["jobs"].values()


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path) for step in job["steps"]]


class TestWorkflows:
    """GitHub's workflows, those to paste and our own."""

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_every_job_has_only_the_permissions_that_it_names(self, path):
        assert parsed(path)["permissions"] == {}
        assert all(job["permissions"] for job in jobs(path))

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_every_action_is_pinned_and_one_action_is_pinned_alike_everywhere(self, path):
        pins = {}
        for other in WORKFLOWS:
            pins |= dict(re.findall(r"uses: (\S+)@([0-9a-f]{40} # v[0-9.]+)$", other.read_text("utf-8"), re.M))
        for name, pin in re.findall(r"uses: ([^@\s]+)@(.*)", path.read_text("utf-8")):
            assert (name, pin) == ("OWNER/imghost", "COMMIT") or pins[name] == pin

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_no_checkout_leaves_its_token_behind(self, path):
        checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
        assert [step for step in checkouts if step["with"]["persist-credentials"] is not False] == []

    @pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "action.yml"], ids=lambda path: path.name)
    def test_no_script_has_an_expression_in_it(self, path):
        """What others write, like a branch's name, reaches a script through the environment alone."""
        found = parsed(path)["runs"]["steps"] if path.name == "action.yml" else steps(path)
        assert [step["run"] for step in found if "${{" in step.get("run", "")] == []

    def test_a_build_of_a_pull_request_sees_no_secret(self):
        for path in (SNIPPETS / "github-pull-request.yml", ROOT / ".github/workflows/test.yml"):
            assert "secrets." not in path.read_text("utf-8")
            assert "pull_request_target" not in path.read_text("utf-8")

    def test_our_own_workflows_call_targets_that_the_makefile_has(self):
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
        called = [run for path in WORKFLOWS for step in steps(path) if (run := step.get("run", "")).startswith("make ")]
        assert len(called) == 2
        assert {word for run in called for word in run.split()[1:]} <= targets


@pytest.fixture
def host() -> Iterator[ImgPro]:
    with ImgPro("images") as running:
        yield running


class Project:
    """A small MkDocs project in git, whose origin is a bare repository on this machine."""

    def __init__(self, folder: Path, host: ImgPro, address: str) -> None:
        self.folder, self.origin, self._home = folder / "work", folder / "origin.git", folder / "home"
        config = write(self._home, {"config": f'[url "{self.origin.as_uri()}"]\n\tinsteadOf = {address}\n'}) / "config"
        own = {"GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(self._home), "CI": "true"}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environ = {name: os.environ[name] for name in ("PYTHONPATH", "LANG") if name in os.environ}
        self.environ |= own | {"PATH": path}
        options = f"  - imghost:\n      host: img.pro\n      options: {{api_url: '{host.api_url}'}}\n"
        write(
            self.folder,
            {
                "mkdocs.yml": f"site_name: Small\ntheme: mkdocs\nplugins:\n{options}",
                ".gitignore": "site/\npublic/\n.cache/\n",
                "docs/index.md": "![one](one.png)\n",
                "docs/one.png": picture(1),
            },
        )
        self.run("git init -q -b main . && git add . && git -c user.name=a -c user.email=a@b.test commit -qm first")
        self.run(f"git clone -q --bare . {self.origin} && git remote add origin {self.origin}")

    def run(self, script: str, environ: Mapping[str, str] = NOTHING, folder: Path | None = None) -> str:
        """Run a script as GitHub's runner does; gives its output."""
        done = self.attempt(script, environ, folder)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def attempt(
        self, script: str, environ: Mapping[str, str], folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        return subprocess.run(
            command,
            cwd=folder or self.folder,
            env=self.environ | dict(environ),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def fresh(self, name: str) -> Path:
        """Check the origin out anew, as a runner does."""
        folder = self.folder.parent / name
        self.run(f"git clone -q {self.origin} {folder}")
        return folder

    def commit(self, files: dict[str, str | bytes], text: str = "more") -> None:
        """Have somebody push a commit."""
        self.run("git pull -q origin main")
        write(self.folder, files)
        self.run(f"git add . && git -c user.name=a -c user.email=a@b.test commit -qm {text} && git push -q origin main")

    def committed(self) -> tuple[int, list[str]]:
        """Count the records of the lock that the origin has, and list its commits' texts, newest first."""
        done = self.attempt("git show main:imghost.lock", {}, self.origin)
        count = len(locks.parse(done.stdout, "imghost.lock").records) if done.returncode == 0 else 0
        return count, self.run("git log --format=%s main", folder=self.origin).split("\n")[:-1]


def github_steps(project: Project, snippet: str, folder: Path, **environ: str) -> str:
    """Run the steps of a workflow's first job, except those that install; gives what they print."""
    told = []
    for step in next(jobs(SNIPPETS / snippet))["steps"]:
        if "run" in step and step["name"] != "Install":
            own = {name: STEPS.get(value, value) for name, value in step.get("env", {}).items()}
            told.append(project.run(step["run"], environ | own, folder))
    return "\n".join(told)


FAILING = """
from mkdocs.plugins import event_priority

@event_priority(-2000)
def on_post_build(config):
    raise SystemExit(1)
"""


MEANWHILE = """
import subprocess
from pathlib import Path
from mkdocs.plugins import event_priority

@event_priority(-2000)
def on_post_build(config):
    Path("docs/made.md").write_text("made by the build\\n", "utf-8")
    work = Path({work!r})
    if not (work / "docs/other.md").exists():
        (work / "docs/other.md").write_text("meanwhile\\n", "utf-8")
        commit = "git add . && git -c user.name=a -c user.email=a@b.test commit -qm meanwhile && git push -q origin main"
        subprocess.run(commit, shell=True, check=True, cwd=work)
"""


class TestGitHub:
    @pytest.fixture
    def project(self, tmp_path, host):
        return Project(tmp_path, host, "https://x-access-token:a-token@github.com/you/docs.git")

    def publish(self, project: Project, name: str) -> tuple[str, Path]:
        folder = project.fresh(name)
        return github_steps(project, "github-publish.yml", folder, GITHUB_EVENT_NAME="push", **GITHUB), folder

    @pytest.mark.long
    def test_publishing_uploads_once_and_commits_the_lock(self, project, host):
        told, folder = self.publish(project, "first")
        assert len(host.uploads) == 1
        assert project.committed() == (1, ["Record where the images live", "first"])
        assert "http://127.0.0.1" in (folder / "site/index.html").read_text("utf-8")
        assert VERIFIED not in told
        asked = len(host.server.requests())
        self.publish(project, "second")
        assert len(host.server.requests()) == asked
        assert project.committed() == (1, ["Record where the images live", "first"])

    @pytest.mark.long
    def test_a_commit_that_came_meanwhile_is_no_conflict(self, project, host):
        folder = project.fresh("slow")
        project.commit({"docs/index.md": "![one](one.png)\n\nMore.\n"}, "meanwhile")
        github_steps(project, "github-publish.yml", folder, GITHUB_EVENT_NAME="push", **GITHUB)
        assert project.committed() == (1, ["Record where the images live", "meanwhile", "first"])

    def test_the_lock_is_committed_also_after_a_build_that_failed(self, project, host):
        commit = next(step for step in steps(SNIPPETS / "github-publish.yml") if step.get("name") == "Commit the lock")
        assert commit["if"] == "${{ always() }}"
        config = (project.folder / "mkdocs.yml").read_text("utf-8")
        project.commit({"mkdocs.yml": f"{config}hooks: [hook.py]\n", "hook.py": FAILING})
        folder = project.fresh("failing")
        environ = GITHUB | {"GITHUB_EVENT_NAME": "push", "IMGPRO_API_KEY": VERIFIED, "TOKEN": "a-token"}
        failed = project.attempt("mkdocs build", environ, folder)
        assert failed.returncode == 1
        project.run(commit["run"], environ, folder)
        assert (len(host.uploads), project.committed()[0]) == (1, 1)

    def test_a_pull_request_is_built_from_the_lock_alone(self, project, host):
        project.run("mkdocs build -q", {"IMGPRO_API_KEY": VERIFIED, "CI": ""})
        asked = len(host.server.requests())
        project.commit({"docs/index.md": "![one](one.png)\n\n![two](two.png)\n", "docs/two.png": picture(2)})
        folder = project.fresh("pull")
        for key in ({}, {"IMGPRO_API_KEY": VERIFIED}):
            environ = GITHUB | {"GITHUB_EVENT_NAME": "pull_request"} | key
            told = github_steps(project, "github-pull-request.yml", folder, **environ)
            page = (folder / "site/index.html").read_text("utf-8")
            assert "1 image stays local" in told
            assert ('src="two.png"' in page, 'src="one.png"' in page) == (True, False)
        assert len(host.server.requests()) == asked


class TestGitLab:
    @pytest.fixture
    def project(self, tmp_path, host):
        return Project(tmp_path, host, "https://oauth2:a-token@gitlab.test/you/docs.git")

    def job(self, project: Project, name: str, folder: Path, **environ: str) -> None:
        """Run a job's script, except what installs; the runner checks out a commit, not a branch."""
        project.run("git checkout -q --detach", folder=folder)
        own = {
            "CI_SERVER_HOST": "gitlab.test",
            "CI_PROJECT_PATH": "you/docs",
            "CI_DEFAULT_BRANCH": "main",
            "PUSH_TOKEN": "a-token",
        } | environ
        job = parsed(SNIPPETS / "gitlab-ci.yml")[name]
        own |= {variable: Template(text).substitute(own) for variable, text in job.get("variables", {}).items()}
        for line in job["script"]:
            project.run(line, own, folder)

    @pytest.mark.long
    def test_publishing_uploads_once_and_commits_the_lock(self, project, host):
        folder = project.fresh("first")
        project.run("git config receive.advertisePushOptions true", folder=project.origin)
        project.commit({"docs/index.md": "![one](one.png)\n\nMore.\n"}, "meanwhile")
        self.job(project, "pages", folder, IMGPRO_API_KEY=VERIFIED)
        assert project.committed() == (1, ["Record where the images live", "meanwhile", "first"])
        assert "http://127.0.0.1" in (folder / "public/index.html").read_text("utf-8")
        asked = len(host.server.requests())
        self.job(project, "pages", project.fresh("second"), IMGPRO_API_KEY=VERIFIED)
        assert len(host.server.requests()) == asked
        assert len(host.uploads) == 1

    def built_late(self, project: Project, hook: str, name: str = "late", **more: str) -> Path:
        """Check out a project whose build runs a hook after the images are uploaded."""
        config = (project.folder / "mkdocs.yml").read_text("utf-8")
        project.run("git config receive.advertisePushOptions true", folder=project.origin)
        project.commit({"mkdocs.yml": f"{config}hooks: [hook.py]\n", "hook.py": hook, **more})
        return project.fresh(name)

    @pytest.mark.long
    def test_the_lock_is_committed_also_after_a_build_that_failed_late(self, project, host):
        folder = self.built_late(project, FAILING)
        with pytest.raises(AssertionError):
            self.job(project, "pages", folder, IMGPRO_API_KEY=VERIFIED)
        assert not (folder / "public").exists()
        assert (len(host.uploads), project.committed()[0]) == (1, 1)
        project.commit({"hook.py": ""}, "mended")
        asked = len(host.server.requests())
        self.job(project, "pages", project.fresh("mended"), IMGPRO_API_KEY=VERIFIED)
        assert len(host.server.requests()) == asked

    @pytest.mark.long
    def test_a_push_in_between_and_a_tracked_file_that_the_build_changes_are_no_obstacle(self, project, host):
        """Somebody pushes while the build runs, which writes into a file of the repository."""
        folder = self.built_late(project, MEANWHILE.format(work=str(project.folder)), **{"docs/made.md": "first\n"})
        self.job(project, "pages", folder, IMGPRO_API_KEY=VERIFIED)
        count, texts = project.committed()
        assert (count, texts[:2]) == (1, ["Record where the images live", "meanwhile"])
        assert (folder / "docs/made.md").read_text("utf-8") == "made by the build\n"
        assert project.run("git show main:docs/made.md", folder=project.origin) == "first\n"

    @pytest.mark.long
    def test_two_jobs_that_push_at_once_lose_no_record(self, project, host):
        """Each sees the other's push only when its own is refused."""
        project.run("git config receive.advertisePushOptions true", folder=project.origin)
        first = project.fresh("first")
        project.run("mkdocs build -q", {"IMGPRO_API_KEY": VERIFIED}, first)
        project.commit({"docs/index.md": "![one](one.png)\n\n![two](two.png)\n", "docs/two.png": picture(2)})
        folders = [first, project.fresh("second")]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda folder: self.job(project, "pages", folder, IMGPRO_API_KEY=VERIFIED), folders))
        assert project.committed()[0] >= 2
        assert all("http://127.0.0.1" in (folder / "public/index.html").read_text("utf-8") for folder in folders)

    def test_a_fork_without_a_secret_is_green_and_asks_nobody(self, project, host):
        folder = project.fresh("fork")
        self.job(project, "build", folder, CI_MERGE_REQUEST_IID="7", CI_PROJECT_PATH="somebody/docs")
        assert host.server.requests() == []
        assert 'src="one.png"' in (folder / "site/index.html").read_text("utf-8")

    def test_a_missing_secret_on_the_default_branch_is_red_where_images_are_required(self, project, host):
        config = (project.folder / "mkdocs.yml").read_text("utf-8")
        project.commit({"mkdocs.yml": config.replace("host: img.pro", "host: img.pro\n      require: true")})
        with pytest.raises(AssertionError):
            self.job(project, "pages", project.fresh("red"), IMGPRO_API_KEY="")
        assert (host.server.requests(), project.committed()[0]) == ([], 0)

    def test_a_merge_request_is_built_without_asking_anybody(self, project, host):
        self.job(project, "build", project.fresh("merge"), CI_MERGE_REQUEST_IID="7", IMGPRO_API_KEY=VERIFIED)
        assert host.server.requests() == []


class TestReadTheDocs:
    @pytest.fixture
    def project(self, tmp_path, host):
        made = Project(tmp_path, host, "https://unused.test/")
        made.run("mkdocs build -q && git add imghost.lock", {"IMGPRO_API_KEY": VERIFIED, "CI": ""})
        return made

    @pytest.mark.long
    def test_mkdocs_publishes_what_the_lock_knows(self, project, host):
        chosen = parsed(SNIPPETS / "readthedocs.yaml")["mkdocs"]
        assert chosen["fail_on_warning"] is True
        asked = len(host.server.requests())
        where = project.folder.parent / "html"
        project.run(f"mkdocs build --clean --strict -f {chosen['configuration']} -d {where}", READ_THE_DOCS)
        assert "http://127.0.0.1" in (where / "index.html").read_text("utf-8")
        assert len(host.server.requests()) == asked

    @pytest.mark.long
    def test_the_command_does_the_same_after_any_generator(self, project, host):
        asked = len(host.server.requests())
        write(
            project.folder, {"imghost.toml": f"[options]\napi_url = '{host.api_url}'\n", "plain.yml": "site_name: x\n"}
        )
        (project.folder / "mkdocs.yml").unlink()  # which this generator does not have
        project.run("mkdocs build -q -f plain.yml")
        environ = READ_THE_DOCS | {"READTHEDOCS_OUTPUT": str(project.folder.parent / "out put")}
        for line in parsed(SNIPPETS / "readthedocs-any.yaml")["build"]["jobs"]["post_build"]:
            project.run(line, environ)
        assert "http://127.0.0.1" in (project.folder.parent / "out put/html/index.html").read_text("utf-8")
        assert len(host.server.requests()) == asked


def test_frozen_in_ci_alone_stops_a_build_whose_lock_lacks_an_image(tmp_path, host):
    """The line that is offered: at home the same project uploads."""
    (line,) = re.findall(r"frozen: .*", (SNIPPETS.parent / "ci.md").read_text("utf-8"))
    project = Project(tmp_path, host, "https://unused.test/")
    config = (project.folder / "mkdocs.yml").read_text("utf-8")
    write(project.folder, {"mkdocs.yml": config.replace("host: img.pro", f"host: img.pro\n      {line}")})
    key = {"IMGPRO_API_KEY": VERIFIED}
    stopped = project.attempt("mkdocs build --strict", key)
    assert (stopped.returncode, host.server.requests()) == (1, [])
    project.run("unset CI; mkdocs build --strict", key)
    assert len(host.uploads) == 1
    asked = len(host.server.requests())
    project.run("mkdocs build --strict", key)
    assert len(host.server.requests()) == asked


class TestAction:
    @pytest.fixture
    def project(self, tmp_path, host):
        made = Project(tmp_path, host, "https://unused.test/")
        small_site(made.folder / "a site")
        (tmp_path / "temp").mkdir()
        (tmp_path / "temp/imghost").symlink_to(Path(sys.executable).parent.parent)
        return made

    def call(self, project: Project, **given: str) -> subprocess.CompletedProcess[str]:
        action = parsed(ROOT / "action.yml")
        inputs = {name: str(declared["default"]) for name, declared in action["inputs"].items()} | given
        step = next(step for step in action["runs"]["steps"] if step["name"] == "Run")
        environ = {
            name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: inputs[found[1]], text)
            for name, text in step["env"].items()
        }
        return project.attempt(step["run"], environ | {"RUNNER_TEMP": str(project.folder.parent / "temp")})

    def test_it_rehosts_a_site_with_options(self, project):
        done = self.call(project, site="a site", options="--host directory\n--report out.json")
        assert done.returncode == 0, done.stderr
        assert "_imghost/" in (project.folder / "a site/index.html").read_text("utf-8")
        assert (project.folder / "out.json").is_file()

    def test_it_runs_commands_without_a_site_and_gives_their_status(self, project):
        assert "directory" in self.call(project, command="hosts").stdout
        assert self.call(project, command="check", site="a site").returncode == 1
        assert self.call(project, site="nowhere").returncode == 2

    def test_no_input_is_a_command_of_the_shell(self, project):
        self.call(project, command="$(touch a)", site="$(touch b)", options="$(touch c) ; touch d")
        assert not [name for name in "abcd" if (project.folder / name).exists()]

    def test_it_installs_what_was_checked_out_with_it(self):
        install = parsed(ROOT / "action.yml")["runs"]["steps"][0]
        *others, own = [line for line in install["run"].splitlines() if "pip install" in line]
        assert own.endswith('--no-deps --no-build-isolation "$GITHUB_ACTION_PATH"')
        assert all("--require-hashes --only-binary :all:" in line for line in others)
        assert others

    @pytest.mark.parametrize("extras", ["", "x402", "s3,x402"])
    def test_each_extra_is_a_list_of_hashes(self, tmp_path, extras):
        """Nothing is asked of an index here: what would be installed is enough."""
        told = self.installing(tmp_path, EXTRAS=extras)
        lists = re.findall(r"-r (\S+)", told)
        names = ["base", *filter(None, extras.split(","))]
        assert lists == [str(ROOT / f".github/requirements/{name}.txt") for name in names]
        assert all(Path(path).is_file() for path in lists)

    def installing(self, tmp_path: Path, **given: str) -> str:
        """Run the step that installs, with a Python that only notes what it is asked and sees; gives the notes."""
        install = parsed(ROOT / "action.yml")["runs"]["steps"][0]
        stub = tmp_path / "python"
        stub.write_text(
            '#!/bin/sh\necho "$@" >> "$SEEN"; env >> "$SEEN"\n'
            'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
        )
        stub.chmod(0o755)
        seen = tmp_path / "seen"
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path / "temp"), "SEEN": str(seen)}
        environ |= {"GITHUB_ACTION_PATH": str(ROOT), "EXTRAS": "", **given}
        subprocess.run(["bash", "-e", "-c", install["run"]], env=environ, check=True)
        return seen.read_text()

    def test_what_is_installed_sees_no_key(self, tmp_path):
        """Packages of others run code of theirs while they are installed."""
        names = [name for kind in registry.installed() for name in registry.host_type(kind).credentials]
        assert {"IMGPRO_API_KEY", "IMG402_PRIVATE_KEY", "IMAGEUPLOAD_API_KEY"} <= set(names)
        told = self.installing(tmp_path, **dict.fromkeys(names, "secret-of-the-job"))
        assert told.count("pip install") == 2
        assert "secret-of-the-job" not in told


class TestPreCommit:
    @pytest.fixture
    def project(self, tmp_path, host):
        return Project(tmp_path, host, "https://unused.test/")

    def hook(self, at: int) -> str:
        offered = parsed(ROOT / ".pre-commit-hooks.yaml")[at]
        used = parsed(SNIPPETS / "pre-commit-config.yaml")["repos"][0]["hooks"][at]
        assert (used["id"], offered["language"], offered["pass_filenames"]) == (offered["id"], "python", False)
        return " ".join([offered["entry"], *used["args"]])

    @pytest.mark.long
    def test_a_push_is_refused_while_the_lock_does_not_cover_the_site(self, project, host):
        settings = f"host = 'img.pro'\n[options]\napi_url = '{host.api_url}'\n"
        write(project.folder, {"imghost.toml": settings})
        assert project.attempt(self.hook(0), {}).returncode == 2
        small_site(project.folder / "site", count=1)
        refused = project.attempt(self.hook(0), {})
        assert (refused.returncode, "images/0.png" in refused.stdout) == (1, True)
        project.run("imghost rehost site", {"IMGPRO_API_KEY": VERIFIED, "CI": ""})
        assert project.attempt(self.hook(0), {}).returncode == 0

    @pytest.mark.long
    def test_a_push_is_refused_while_an_image_is_broken_or_has_no_text(self, project):
        assert project.attempt(self.hook(1), {}).returncode == 2
        write(project.folder, {"site/index.html": '<img src="gone.png">'})
        refused = project.attempt(self.hook(1), {})
        assert (refused.returncode, "1 broken, 1 alt" in refused.stdout) == (1, True)
        write(project.folder, {"site/index.html": "<p>no image</p>"})
        assert project.attempt(self.hook(1), {}).returncode == 0


class TestMerging:
    """Two branches that each add an image."""

    MERGE = "git -c user.name=a -c user.email=a@b.test merge -q -m both left"

    @pytest.fixture
    def project(self, tmp_path, host):
        made = Project(tmp_path, host, "https://unused.test/")
        made.commit({".gitattributes": (SNIPPETS / "gitattributes").read_bytes(), "imghost.lock": lock_text(0)})
        for number, branch in enumerate(("left", "right"), 1):
            made.run(f"git checkout -q -b {branch} main")
            write(made.folder, {"imghost.lock": lock_text(0, number)})
            made.run(f"git add . && git -c user.name=a -c user.email=a@b.test commit -qm {branch}")
        return made

    def test_git_merges_the_lock_by_itself_with_the_line_that_is_offered(self, project):
        project.run(self.MERGE)
        lock = locks.read(project.folder / "imghost.lock")
        assert (lock.host, [record.id for record in lock.records]) == ("img.pro", ["r0", "r1", "r2"])

    def test_without_it_there_is_a_conflict(self, project):
        write(project.folder, {".git/info/attributes": "imghost.lock !merge\n"})
        assert project.attempt(self.MERGE, {}).returncode == 1


def lock_text(*numbers: int) -> str:
    """Write a lock with these records."""
    uploaded = datetime(2026, 11, 1, tzinfo=UTC)
    url = "https://src.img.pro/t/r{}.png"
    records = [
        Record(f"{number:064x}", "img.pro", url.format(number), f"r{number}", "", 9, "image/png", 4, 3, uploaded)
        for number in numbers
    ]
    return locks.render(locks.Lock("img.pro", tuple(records)))


def test_the_owners_file_names_the_lock_and_what_decides_about_it():
    lines = [line.split() for line in (SNIPPETS / "CODEOWNERS").read_text("utf-8").splitlines() if line[0] != "#"]
    assert [line[0] for line in lines] == ["/imghost.lock", "/mkdocs.yml"]
    assert all(owner.startswith("@") for line in lines for owner in line[1:])


COMMIT = SNIPPETS / "commit-lock.sh"


class TestCommitLock:
    """The script that the other services' files call: whoever pushes at the same time, the lock arrives."""

    @pytest.fixture
    def project(self, tmp_path, host):
        return Project(tmp_path, host, "https://token@git.test/you/docs.git")

    def commit(self, project: Project, folder: Path) -> subprocess.CompletedProcess[str]:
        environ = {"ORIGIN": "https://token@git.test/you/docs.git", "BRANCH": "main", "IMGPRO_API_KEY": VERIFIED}
        return project.attempt(f"sh {COMMIT}", environ, folder)

    def built(self, project: Project, name: str) -> Path:
        folder = project.fresh(name)
        project.run("mkdocs build -q", {"IMGPRO_API_KEY": VERIFIED}, folder)
        return folder

    @pytest.mark.long
    def test_two_that_push_at_once_lose_no_record(self, project, host):
        first = self.built(project, "first")
        project.commit({"docs/index.md": "![one](one.png)\n\n![two](two.png)\n", "docs/two.png": picture(2)})
        second = self.built(project, "second")
        asked = len(host.server.requests())
        for folder in (second, first):
            done = self.commit(project, folder)
            assert done.returncode == 0, done.stderr
        assert project.committed()[0] >= 2
        assert len(host.server.requests()) == asked

    @pytest.mark.long
    def test_a_tracked_file_that_the_build_changes_is_no_obstacle(self, project, host):
        folder = self.built(project, "first")
        write(folder, {"docs/index.md": "changed by the build\n"})
        project.commit({"docs/other.md": "meanwhile\n"}, "meanwhile")
        assert self.commit(project, folder).returncode == 0
        assert project.committed() == (1, ["Record where the images live", "meanwhile", "first"])
        assert (folder / "docs/index.md").read_text("utf-8") == "changed by the build\n"

    @pytest.mark.long
    def test_without_a_new_record_nothing_is_committed(self, project, host):
        assert self.commit(project, self.built(project, "first")).returncode == 0
        assert self.commit(project, self.built(project, "second")).returncode == 0
        assert project.committed() == (1, ["Record where the images live", "first"])

    @pytest.mark.long
    def test_the_lock_of_a_sphinx_project_is_where_conf_py_says(self, project, host):
        folder = project.fresh("sphinx")
        config = f"extensions = ['sphinx_imghost']\nimghost_host = 'img.pro'\nimghost_options = {{'api_url': '{host.api_url}'}}\n"
        (folder / "mkdocs.yml").unlink()
        write(folder, {"docs/conf.py": config, "docs/index.rst": "Title\n=====\n\n.. image:: one.png\n"})
        (folder / "docs/index.md").unlink()
        project.run("git add -A && git -c user.name=a -c user.email=a@b.test commit -qm sphinx", folder=folder)
        project.run("python -m sphinx -q -b html . _build/html", {"IMGPRO_API_KEY": VERIFIED}, folder / "docs")
        done = self.commit(project, folder / "docs")
        assert done.returncode == 0, done.stderr
        assert "imghost.lock" in project.run("git show --name-only --format= main", folder=project.origin)

    @pytest.mark.long
    def test_a_push_that_nobody_takes_is_an_error(self, project, host):
        folder = self.built(project, "first")
        write(project.origin, {"hooks/pre-receive": "#!/bin/sh\nexit 1\n"})
        (project.origin / "hooks/pre-receive").chmod(0o755)
        done = self.commit(project, folder)
        assert done.returncode == 1
        assert "could not be pushed" in done.stderr

    @pytest.mark.sampled(1)
    @pytest.mark.parametrize("name", ["azure-pipelines.yml", "circleci.yml", "bitbucket-pipelines.yml", "Jenkinsfile"])
    def test_the_services_own_files_upload_commit_and_build(self, project, host, name):
        """Their steps in order, except what installs and what only the service has."""
        folder = project.fresh("runner")
        write(folder, {"docs/ci/commit-lock.sh": COMMIT.read_text("utf-8")})
        (folder / ".git/info/exclude").write_text("docs/ci/\n", "utf-8")
        environ = {"ORIGIN": "https://token@git.test/you/docs.git", "BRANCH": "main", "IMGPRO_API_KEY": VERIFIED}
        text = (SNIPPETS / name).read_text("utf-8")
        scripts = re.findall(
            r"(?:script: |command: |sh \'|^\s+- )((?:mkdocs|sh docs|BRANCH=main sh docs)[^\'\n]*)", text, re.M
        )
        assert any("mkdocs build" in script for script in scripts)
        assert any("commit-lock.sh" in script for script in scripts)
        for script in scripts if name != "bitbucket-pipelines.yml" else scripts[1:]:
            project.run(script, environ, folder)
        assert (len(host.uploads), project.committed()[0]) == (1, 1)

    @pytest.mark.long
    @pytest.mark.parametrize("name", ["netlify.toml", "vercel.json", "cloudflare-pages.sh"])
    def test_a_service_that_only_publishes_asks_nobody(self, project, host, name):
        project.run("mkdocs build -q && git add imghost.lock", {"IMGPRO_API_KEY": VERIFIED, "CI": ""})
        asked = len(host.server.requests())
        text = (SNIPPETS / name).read_text("utf-8")
        (command,) = set(re.findall(r"mkdocs build[a-z -]*", text))
        project.run(command)
        assert "http://127.0.0.1" in (project.folder / "site/index.html").read_text("utf-8")
        assert len(host.server.requests()) == asked
        assert "IMGPRO" not in text


def test_a_missing_secret_does_not_stay_green_where_it_is_required(tmp_path, host):
    project = Project(tmp_path, host, "https://unused.test/")
    config = (project.folder / "mkdocs.yml").read_text("utf-8")
    write(project.folder, {"mkdocs.yml": config.replace("host: img.pro", "host: img.pro\n      require: true")})
    assert project.attempt("mkdocs build", {"IMGPRO_API_KEY": ""}).returncode == 1
    assert host.server.requests() == []
