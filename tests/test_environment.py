"""Whose build this is, and whether it may send anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imghost.environment import git_top, leave_to_upload, pull_request, says_yes
from imghost.settings import Settings, read


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "init.defaultBranch=main", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a checkout as a CI has it: a clone that knows its remote's main branch."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    git(origin, "init", "--quiet")
    author = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    git(origin, *author, "commit", "--quiet", "--allow-empty", "--message", "first")
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    (clone / "docs").mkdir()
    return clone


SIGNS = [
    ("GitHub", {"GITHUB_EVENT_NAME": "pull_request"}, {"GITHUB_EVENT_NAME": "push"}),
    ("GitHub", {"GITHUB_EVENT_NAME": "pull_request_target"}, {"GITHUB_EVENT_NAME": "workflow_dispatch"}),
    ("GitHub", {"GITHUB_EVENT_NAME": "pull_request_review"}, {"GITHUB_EVENT_NAME": "release"}),
    ("GitLab", {"CI_MERGE_REQUEST_IID": "7"}, {"CI_MERGE_REQUEST_IID": "", "CI_COMMIT_BRANCH": "main"}),
    ("Read the Docs", {"READTHEDOCS_VERSION_TYPE": "external"}, {"READTHEDOCS_VERSION_TYPE": "branch"}),
    ("Netlify", {"PULL_REQUEST": "true"}, {"PULL_REQUEST": "false"}),
    ("Vercel", {"VERCEL_ENV": "preview"}, {"VERCEL_ENV": "production"}),
    ("Azure", {"BUILD_REASON": "PullRequest"}, {"BUILD_REASON": "IndividualCI"}),
    ("CircleCI", {"CIRCLE_PULL_REQUEST": "https://x.example/pull/7"}, {"CIRCLE_PULL_REQUEST": ""}),
    ("Bitbucket", {"BITBUCKET_PR_ID": "7"}, {"BITBUCKET_BRANCH": "main"}),
    ("Jenkins", {"CHANGE_ID": "7"}, {"BRANCH_NAME": "main"}),
    ("GitLab", {"CI_EXTERNAL_PULL_REQUEST_IID": "7"}, {"CI_EXTERNAL_PULL_REQUEST_IID": ""}),
    ("CircleCI", {"CIRCLE_PULL_REQUESTS": "https://x.example/pull/7"}, {"CIRCLE_PULL_REQUESTS": ""}),
    ("CircleCI", {"CIRCLE_PR_NUMBER": "7"}, {"CIRCLE_BRANCH": "main"}),
    ("Netlify", {"NETLIFY": "true", "CONTEXT": "deploy-preview"}, {"NETLIFY": "true", "CONTEXT": "production"}),
    ("Vercel", {"VERCEL_GIT_PULL_REQUEST_ID": "7"}, {"VERCEL_GIT_PULL_REQUEST_ID": ""}),
    ("Azure", {"SYSTEM_PULLREQUEST_PULLREQUESTID": "7"}, {"SYSTEM_PULLREQUEST_PULLREQUESTID": ""}),
    ("Travis", {"TRAVIS_PULL_REQUEST": "7"}, {"TRAVIS_PULL_REQUEST": "false"}),
    ("AppVeyor", {"APPVEYOR_PULL_REQUEST_NUMBER": "7"}, {"APPVEYOR_REPO_BRANCH": "main"}),
    ("Buildkite", {"BUILDKITE_PULL_REQUEST": "7"}, {"BUILDKITE_PULL_REQUEST": "false"}),
    ("Drone", {"DRONE_BUILD_EVENT": "pull_request"}, {"DRONE_BUILD_EVENT": "push"}),
    ("Woodpecker", {"CI_PIPELINE_EVENT": "pull_request"}, {"CI_PIPELINE_EVENT": "push"}),
    ("Semaphore", {"SEMAPHORE_GIT_REF_TYPE": "pull-request"}, {"SEMAPHORE_GIT_REF_TYPE": "branch"}),
    ("Cirrus", {"CIRRUS_PR": "7"}, {"CIRRUS_BRANCH": "main"}),
    ("CodeBuild", {"CODEBUILD_WEBHOOK_EVENT": "PULL_REQUEST_UPDATED"}, {"CODEBUILD_WEBHOOK_EVENT": "PUSH"}),
    ("CodeBuild", {"CODEBUILD_SOURCE_VERSION": "pr/7"}, {"CODEBUILD_SOURCE_VERSION": "a" * 40}),
    ("Amplify", {"AWS_PULL_REQUEST_ID": "7"}, {"AWS_BRANCH": "main"}),
    ("Render", {"IS_PULL_REQUEST": "true"}, {"IS_PULL_REQUEST": "false"}),
    ("Bitrise", {"BITRISE_PULL_REQUEST": "7"}, {"BITRISE_GIT_BRANCH": "main"}),
    ("Prow", {"PULL_NUMBER": "7"}, {"JOB_TYPE": "postsubmit"}),
]


@pytest.mark.parametrize(("service", "proposed", "own"), SIGNS)
def test_each_services_own_variable_tells_a_pull_request(
    tmp_path: Path, service: str, proposed: dict[str, str], own: dict[str, str]
) -> None:
    assert pull_request(proposed, tmp_path) == service
    assert pull_request({"CI": "true", **own}, tmp_path) is None


@pytest.mark.parametrize(("service", "proposed", "own"), SIGNS)
def test_a_pull_request_sends_nothing_and_that_is_no_warning(
    tmp_path: Path, service: str, proposed: dict[str, str], own: dict[str, str]
) -> None:
    settings = read({}, tmp_path)
    leave = leave_to_upload(settings, {"IMGPRO_API_KEY": "img_live_0123456789", **proposed}, is_serving=False)
    assert (leave.may_upload, leave.code) == (False, "")
    assert service in leave.reason
    assert leave_to_upload(settings, own, is_serving=False).may_upload


@pytest.mark.parametrize(("answer", "may"), [("1", True), ("true", True), ("", False), ("0", False), ("no", False)])
def test_a_pull_request_may_be_allowed_by_the_environment(tmp_path: Path, answer: str, *, may: bool) -> None:
    environ = {"GITHUB_EVENT_NAME": "pull_request", "IMGHOST_ALLOW_PULL_REQUESTS": answer}
    assert leave_to_upload(read({}, tmp_path), environ, is_serving=False).may_upload is may


def test_frozen_counts_before_everything_else(tmp_path: Path) -> None:
    settings = read({"frozen": True}, tmp_path)
    for environ in ({}, {"GITHUB_EVENT_NAME": "pull_request"}, {"IMGHOST_ALLOW_PULL_REQUESTS": "1"}):
        for is_serving in (False, True):
            leave = leave_to_upload(settings, environ, is_serving=is_serving)
            assert (leave.may_upload, leave.code) == (False, "frozen")


def test_a_live_preview_sends_nothing_whatever_is_allowed(tmp_path: Path) -> None:
    for raw in ({}, {"serve": True}):
        leave = leave_to_upload(read(raw, tmp_path), {"IMGHOST_ALLOW_PULL_REQUESTS": "1"}, is_serving=True)
        assert (leave.may_upload, leave.code) == (False, "")


def test_a_build_at_home_may_upload(tmp_path: Path) -> None:
    leave = leave_to_upload(read({}, tmp_path), {}, is_serving=False)
    assert (leave.may_upload, leave.reason, leave.code) == (True, "", "")


@pytest.mark.parametrize(
    ("event", "content", "is_one"),
    [
        ("workflow_run", '{"workflow_run": {"event": "pull_request"}}', True),
        ("workflow_run", '{"workflow_run": {"event": "push"}}', False),
        ("workflow_run", '{"workflow_run": {"event": "pull_request_target"}}', True),
        ("workflow_run", '{"workflow_run": {}}', True),
        ("issue_comment", '{"issue": {"number": 7, "pull_request": {"url": "x"}}}', True),
        ("issue_comment", '{"issue": {"number": 7}}', False),
        ("issue_comment", "[]", True),
        ("workflow_run", "{", True),
        ("workflow_run", None, True),
    ],
)
def test_an_event_that_sees_secrets_is_a_pull_request_where_it_comes_from_one(
    tmp_path: Path, event: str, content: str | None, is_one: bool
) -> None:
    environ = {"GITHUB_EVENT_NAME": event, "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    if content is not None:
        (tmp_path / "event.json").write_text(content, "utf-8")
    assert (pull_request(environ, tmp_path) == "GitHub") is is_one


def test_cloudflare_builds_of_another_branch_than_the_published_one_are_previews(checkout: Path) -> None:
    for folder in (checkout, checkout / "docs"):
        assert pull_request({"CF_PAGES_BRANCH": "topic"}, folder) == "Cloudflare Pages"
        assert pull_request({"CF_PAGES_BRANCH": "main"}, folder) is None
        assert pull_request({}, folder) is None


def test_cloudflare_builds_are_the_projects_own_where_the_published_branch_is_not_known(tmp_path: Path) -> None:
    environ = {"CF_PAGES_BRANCH": "topic"}
    assert pull_request(environ, tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert pull_request(environ, tmp_path) is None
    head = tmp_path / ".git/refs/remotes/origin/HEAD"
    head.parent.mkdir(parents=True)
    for content in (b"", b"\xff\xfe", b"0123456789abcdef\n"):
        head.write_bytes(content)
        assert pull_request(environ, tmp_path) is None


def test_a_branch_whose_name_is_only_like_the_published_one_is_a_preview(checkout: Path) -> None:
    for branch in ("feature/main", "maintenance", "ain", "n", "MAIN", "../main"):
        assert pull_request({"CF_PAGES_BRANCH": branch}, checkout) == "Cloudflare Pages"


def test_the_git_top_level_is_found_from_below(checkout: Path, tmp_path: Path) -> None:
    assert git_top(checkout / "docs") == checkout
    assert git_top(checkout) == checkout
    assert git_top(tmp_path) is None


def test_a_second_working_tree_is_a_top_level_of_its_own(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "--quiet", str(tmp_path / "second"), "-b", "second")
    assert git_top(tmp_path / "second") == tmp_path / "second"


@pytest.mark.parametrize("text", ["1", "true", "TRUE", " yes ", "on"])
def test_a_variable_says_yes_in_a_few_words(text: str) -> None:
    assert says_yes({"X": text}, "X")


@pytest.mark.parametrize("text", ["", "0", "false", "no", "off", "2", "y e s"])
def test_any_other_text_is_a_no(text: str) -> None:
    assert not says_yes({"X": text}, "X")
    assert not says_yes({}, "X")


def test_the_settings_alone_do_not_allow_a_pull_request() -> None:
    assert not any("pull" in name for name in Settings.__slots__)
