"""Whose build this is, whether it may upload, and the version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Final, TextIO

from imghost.files import git_top, strict_json
from imghost.models import NamedTuple
from imghost.settings import Settings
from imghost.wording import printable

_REMOTE: Final = cache(partial(re.compile, r'^\[remote "origin"\][^\[]*?^\s*url\s*=\s*(\S+)', re.M))
_YES = {"1", "true", "yes", "on"}


def says_yes(environ: Mapping[str, str], name: str) -> bool:
    """Say whether a variable is set to 1, true, yes or on."""
    return environ.get(name, "").strip().lower() in _YES


def pull_request(environ: Mapping[str, str], folder: Path) -> str | None:
    """Name the service that builds a pull request here, or None.

    Each service's own variables, as its documentation gives them. Where none speaks, the build is the project's own.
    """

    def has(*names: str) -> bool:
        return any(environ.get(name, "").strip().lower() not in {"", "false", "0", "null", "none"} for name in names)

    def says(name: str, *beginnings: str) -> bool:
        return environ.get(name, "").lower().startswith(beginnings)

    signs = {
        "GitHub": says("GITHUB_EVENT_NAME", "pull_request") or _is_about_pull_request(environ),
        "GitLab": has("CI_MERGE_REQUEST_IID", "CI_EXTERNAL_PULL_REQUEST_IID"),
        "Read the Docs": environ.get("READTHEDOCS_VERSION_TYPE") == "external",
        "Netlify": environ.get("PULL_REQUEST") == "true" or (has("NETLIFY") and says("CONTEXT", "deploy-preview")),
        "Vercel": environ.get("VERCEL_ENV") == "preview" or has("VERCEL_GIT_PULL_REQUEST_ID"),
        "Cloudflare Pages": any(
            _is_side_branch(environ.get(name, ""), folder) for name in ("CF_PAGES_BRANCH", "WORKERS_CI_BRANCH")
        ),
        "Azure": environ.get("BUILD_REASON") == "PullRequest" or has("SYSTEM_PULLREQUEST_PULLREQUESTID"),
        "CircleCI": has("CIRCLE_PULL_REQUEST", "CIRCLE_PULL_REQUESTS", "CIRCLE_PR_NUMBER"),
        "Bitbucket": has("BITBUCKET_PR_ID"),
        "Jenkins": has("CHANGE_ID", "ghprbPullId"),
        "Travis": has("TRAVIS_PULL_REQUEST") or says("TRAVIS_EVENT_TYPE", "pull_request"),
        "AppVeyor": has("APPVEYOR_PULL_REQUEST_NUMBER"),
        "Buildkite": has("BUILDKITE_PULL_REQUEST"),
        "Drone": has("DRONE_PULL_REQUEST") or says("DRONE_BUILD_EVENT", "pull_request"),
        "Woodpecker": has("CI_COMMIT_PULL_REQUEST") or says("CI_PIPELINE_EVENT", "pull_request"),
        "Semaphore": has("SEMAPHORE_GIT_PR_NUMBER") or says("SEMAPHORE_GIT_REF_TYPE", "pull-request"),
        "Cirrus": has("CIRRUS_PR"),
        "CodeBuild": says("CODEBUILD_WEBHOOK_EVENT", "pull_request") or says("CODEBUILD_SOURCE_VERSION", "pr/"),
        "Amplify": has("AWS_PULL_REQUEST_ID"),
        "Render": environ.get("IS_PULL_REQUEST") == "true",
        "Bitrise": has("BITRISE_PULL_REQUEST"),
        "Prow": has("PULL_NUMBER"),
    }
    return next((service for service, is_sign in signs.items() if is_sign), None)


def _is_about_pull_request(environ: Mapping[str, str]) -> bool:
    """Say whether one of GitHub's events that see secrets comes from a pull request; one that cannot be read does.

    `workflow_run` follows another workflow, `issue_comment` a remark, and either may check a stranger's branch out.
    """
    event = environ.get("GITHUB_EVENT_NAME", "")
    if event not in {"workflow_run", "issue_comment"}:
        return False
    try:
        about = strict_json(Path(environ["GITHUB_EVENT_PATH"]).read_text("utf-8"))
        if event == "issue_comment":
            return bool(about["issue"].get("pull_request"))
        return str(about["workflow_run"]["event"]).startswith("pull_request")
    except (KeyError, OSError, ValueError, TypeError, AttributeError):
        return True


def _is_side_branch(branch: str, folder: Path) -> bool:
    """Say whether a branch is known not to be the one that git's remote publishes from."""
    if not branch or (top := git_top(folder)) is None:
        return False
    try:
        head = (top / ".git/refs/remotes/origin/HEAD").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return head.startswith("ref: ") and head != f"ref: refs/remotes/origin/{branch}"


def project_name(lock: Path) -> str:
    """Name the project whose lock this is, the same on every machine: where git fetches it from, and the lock's path.

    Without a remote it is the checkout's folder. A name or token in the remote's URL is no part of it.
    """
    top = git_top(lock.parent)
    if top is None:
        return printable(f"{lock.parent.name}/{lock.name}")
    try:
        remotes = _REMOTE().findall((top / ".git/config").read_text("utf-8", "replace"))
    except OSError:  # a linked worktree has a file there
        remotes = []
    address = re.sub(r"^(?:[a-z+]+://)?(?:[^@/]*@)?", "", remotes[0]).removesuffix(".git") if remotes else top.name
    return printable(f"{address.replace(':', '/')}:{lock.relative_to(top).as_posix()}")


class Leave(NamedTuple):
    """Whether this build may send anything, and why not."""

    may_upload: bool
    reason: str = ""
    code: str = ""
    """The code of the warning that an image without a record is worth; empty = none."""


def is_serving(environ: Mapping[str, str]) -> bool:
    """Say whether this builds a live preview, as `sphinx-autobuild` and others tell by `IMGHOST_SERVE=1`."""
    return environ.get("IMGHOST_SERVE") == "1"


def is_watched(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal that can show progress on one line."""
    return is_terminal(stream) and environ.get("TERM") != "dumb" and not environ.get("CI")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal; one that was closed, before or since Python began, is none."""
    try:
        return stream is not None and stream.isatty()
    except (ValueError, OSError):
        return False


def leave_to_upload(settings: Settings, environ: Mapping[str, str], *, is_serving: bool) -> Leave:
    """Decide, before the host is asked anything, whether this build may use the network."""
    if settings.frozen:
        return Leave(may_upload=False, reason="`frozen` is set and the lock has no record", code="frozen")
    if is_serving:
        return Leave(may_upload=False, reason="this is a live preview")
    if not says_yes(environ, "IMGHOST_ALLOW_PULL_REQUESTS") and (service := pull_request(environ, settings.folder)):
        return Leave(may_upload=False, reason=f"a pull request of {service} uploads nothing")
    return Leave(may_upload=True)


_VERSION: Final = "0.1.0"


def version() -> str:
    """Give the version: the project's, written here too since reading it from the installation takes milliseconds."""
    return _VERSION
