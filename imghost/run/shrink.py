"""A branch that holds published versions, made smaller: its images hosted, their copies taken out, one commit."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from imghost import files
from imghost.errors import ImghostError, SettingsError
from imghost.models import NamedTuple
from imghost.net import Client
from imghost.records.cache import Cache
from imghost.run.job import Job, Planned
from imghost.run.plan import plan_run
from imghost.run.rehost import Result, rehost
from imghost.site.survey import is_page

PAGES_LIMIT: Final = 1_000_000_000
"""Bytes that a site on GitHub Pages may have, by GitHub's page on its usage limits."""

_FOLDER: Final = "imghost-shrink-"
_LINK: Final = "120000"
_FILES: Final = frozenset({"100644", "100755", "100664"})
_NONE: Final = "0" * 40


class Branch(NamedTuple):
    """A branch of a checkout, as it was when we looked."""

    top: Path
    """The checkout's top level; no file of its work tree is read or written."""
    name: str
    commit: str
    is_local: bool
    """False where only a remote has it: then --yes makes the local one."""


class _Blob(NamedTuple):
    """A file of the branch."""

    path: str
    mode: str
    sha: str


class Version(NamedTuple):
    """One folder of the branch: how much it publishes before and after, in bytes."""

    name: str
    """The folder's name; `.` for what lies at the top."""
    before: int
    after: int
    aliases: tuple[str, ...] = ()
    """Links at the top that lead to the folder, like mike's `latest`: they publish nothing of their own."""


class Shrunk(NamedTuple):
    """What shrinking a branch would do, or did."""

    versions: tuple[Version, ...]
    planned: Planned | None = None
    """Set where nothing was done."""
    result: Result | None = None
    """Set where it was done."""
    commit: str = ""
    """The new commit on the branch; empty where there is none."""

    @property
    def before(self) -> int:
        """Bytes that the branch publishes now."""
        return sum(version.before for version in self.versions)

    @property
    def after(self) -> int:
        """Bytes that it publishes then."""
        return sum(version.after for version in self.versions)


def find_branch(folder: Path, name: str) -> Branch:
    """Find a branch of the checkout that a folder lies in, local or a remote's.

    Raises SettingsError where there is no checkout or no such branch, or where somebody works on it.
    """
    try:
        top = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))
    except ImghostError as problem:
        raise SettingsError(f"a branch needs a git checkout, and {folder} is in none: {problem}") from None
    for line in _git(top, "worktree", "list", "--porcelain").decode("utf-8", "replace").split("\n\n"):
        if f"branch refs/heads/{name}" in line.splitlines():
            where = line.splitlines()[0].removeprefix("worktree ")
            raise SettingsError(f"branch {name!r} is checked out in {where}; switch to another branch there")
    remotes = _git(top, "for-each-ref", "--format=%(refname)", f"refs/remotes/*/{name}").decode().split()
    for ref in (f"refs/heads/{name}", f"refs/remotes/origin/{name}", *remotes):
        try:
            commit = _git(top, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()
        except ImghostError:
            continue
        return Branch(top, name, commit, ref.startswith("refs/heads/"))
    raise SettingsError(f"there is no branch {name!r} in {top}, and none of a remote; fetch it, or name another")


def plan_shrink(branch: Branch, job: Job) -> Shrunk:
    """Say what shrinking a branch would do; nothing is uploaded, and no branch changes.

    What would be left is an estimate: a copy that something else in the site names stays.
    """
    with _laid_out(branch) as (site, blobs):
        job = _aimed(job, site)
        with Client(job.settings.timeout, environ=job.environ) as client:
            cache = Cache.load(job.settings.cache_dir)
            try:
                planned = plan_run(job, client, cache)
            finally:
                cache.close()
        before = _sizes(site, (blob.path for blob in blobs))
        plan = planned.plan
        moving = {*plan.reused, *(path for upload in plan.uploads for path in upload.paths)} - plan.staying.keys()
        after = _sizes(site, (blob.path for blob in blobs if blob.path not in moving))
        if planned.host and planned.host.place == "site":  # its files are a part of the branch
            after["."] += plan.bytes
        return Shrunk(_versions(blobs, before, after, _aliases(site, blobs)), planned=planned)


def shrink(branch: Branch, job: Job, *, is_orphan: bool = False) -> Shrunk:
    """Host a branch's images, take their copies out, and commit that on the branch, in one step at the end.

    The branch is whole at any moment: files are changed in a folder of this run's own, objects are added to the
    repository without anything naming them, and git moves the branch only if it is still where it was. With
    `is_orphan` the commit has no parent, so that the history's copies go, too, once the branch is pushed.

    Raises ImghostError where git refuses; uploads and their records stay earned.
    """
    with _laid_out(branch) as (site, blobs):
        before = _sizes(site, (blob.path for blob in blobs))
        stamps = {blob.path: files.stamp(site / blob.path) for blob in blobs}
        result = rehost(_aimed(job, site))
        left = sorted(_walk(site))
        after = _sizes(site, left)
        everything = [*blobs, *(_Blob(path, "", "") for path in left)]
        versions = _versions(everything, before, after, _aliases(site, blobs))
        changed = [path for path in left if stamps.get(path) != files.stamp(site / path)]
        gone = [blob.path for blob in blobs if blob.mode in _FILES and blob.path not in set(left)]
        if result.is_refused or not (changed or gone or is_orphan):
            return Shrunk(versions, result=result)
        summary = f"Take images out of {branch.name}: {result.report.host} serves them\n"
        tree = _tree(branch, site, blobs, changed, gone)
        parents = [] if is_orphan else ["-p", branch.commit]
        commit = _git(branch.top, "commit-tree", tree, *parents, given=summary.encode()).decode().strip()
        _move(branch, commit)
        return Shrunk(versions, result=result, commit=commit)


def _aimed(job: Job, site: Path) -> Job:
    """Point a job at the branch's files; its map lives and ends with them."""
    chosen = replace(job.settings, remove_local=True, fallback=False)
    return replace(job, site=site, settings=chosen, page_map=site.parent / "map.json")


@contextmanager
def _laid_out(branch: Branch) -> Iterator[tuple[Path, list[_Blob]]]:
    """Write a branch's files into a folder of this run's own, byte for byte: no filter of git's applies."""
    parent = Path(tempfile.gettempdir())
    files.sweep_folders(parent, _FOLDER)
    with files.private_folder(parent, _FOLDER) as folder:
        site = folder / "site"
        site.mkdir()
        blobs = list(_blobs(branch))
        # Links last, so that no file is written through one.
        _write(branch, site, sorted(blobs, key=lambda blob: blob.mode == _LINK))
        yield site, blobs


def _blobs(branch: Branch) -> Iterator[_Blob]:
    """List a branch's files and links; another repository's commit in its place is none of our business."""
    for line in _git(branch.top, "ls-tree", "-r", "-z", branch.commit).split(b"\0")[:-1]:
        facts, _, path = line.partition(b"\t")
        mode, kind, sha = facts.decode().split()
        name = os.fsdecode(path)
        if not {"", ".", "..", ".git"}.isdisjoint(name.split("/")):
            raise ImghostError(f"branch {branch.name!r} has a file at {name!r:.80}, which no checkout may have")
        if kind == "blob":
            yield _Blob(name, mode, sha)


def _write(branch: Branch, site: Path, blobs: Sequence[_Blob]) -> None:
    command = ["git", "-C", str(branch.top), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:  # noqa: S603 - git, asked for blobs
        assert reader.stdin is not None
        assert reader.stdout is not None
        for blob in blobs:
            reader.stdin.write(f"{blob.sha}\n".encode())
            reader.stdin.flush()
            head = reader.stdout.readline().split()
            if len(head) != 3:
                raise ImghostError(f"git does not have {blob.path!r:.80} of branch {branch.name!r}; run: git fsck")
            content = reader.stdout.read(int(head[2]))
            reader.stdout.read(1)
            _put(site / blob.path, blob, content)


def _put(path: Path, blob: _Blob, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if blob.mode == _LINK:
        path.symlink_to(os.fsdecode(content))
    else:
        path.write_bytes(content)


def _walk(site: Path) -> Iterator[str]:
    """List the site's own files, links to none."""
    for folder, names, own in files.walk(site):
        names[:] = [name for name in names if not Path(folder, name).is_symlink()]
        for name in own:
            path = Path(folder, name)
            if not path.is_symlink():
                yield path.relative_to(site).as_posix()


def _sizes(site: Path, paths: Iterable[str]) -> Counter[str]:
    """Add up the bytes of each top folder; a link publishes what it leads to, which is counted where that lies."""
    sizes: Counter[str] = Counter()
    for path in paths:
        file = site / path
        if not file.is_symlink() and file.is_file():
            sizes[version_of(path)] += file.stat().st_size
    return sizes


def version_of(path: str) -> str:
    """Name the version that a file of the branch belongs to: its first folder, or `.` at the top."""
    return path.partition("/")[0] if "/" in path else "."


def _aliases(site: Path, blobs: Iterable[_Blob]) -> Mapping[str, tuple[str, ...]]:
    """Name the links of the top by the folder that each leads to."""
    links = {blob.path: (site / blob.path).readlink().as_posix() for blob in blobs if blob.mode == _LINK}
    targets = {name: os.path.normpath(target) for name, target in links.items() if "/" not in name}
    return {it: tuple(sorted(name for name in targets if targets[name] == it)) for it in set(targets.values())}


def _versions(
    blobs: Iterable[_Blob],
    before: Mapping[str, int],
    after: Mapping[str, int],
    aliases: Mapping[str, tuple[str, ...]],
) -> tuple[Version, ...]:
    """Sort the folders by what they publish now; what has no page is no version, and stands with the rest."""
    shown = {version_of(blob.path) for blob in blobs if is_page(blob.path)}
    names = {name if name in shown else "." for name in {*before, *after}}
    rest = {*before, *after} - names

    def of(sizes: Mapping[str, int], name: str) -> int:
        return sizes.get(name, 0) + (sum(sizes.get(other, 0) for other in rest) if name == "." else 0)

    found = (Version(name, of(before, name), of(after, name), aliases.get(name, ())) for name in names)
    return tuple(sorted(found, key=lambda version: (-version.before, version.name)))


def _tree(branch: Branch, site: Path, blobs: Sequence[_Blob], changed: Sequence[str], gone: Sequence[str]) -> str:
    """Make the tree that the branch is to have, by an index of our own."""
    modes = {blob.path: blob.mode for blob in blobs}
    lines = [f"{modes.get(path, '100644')} {_stored(branch, site / path)}\t{path}" for path in changed]
    lines += [f"0 {_NONE}\t{path}" for path in gone]
    index = {"GIT_INDEX_FILE": str(site.parent / "index")}
    _git(branch.top, "read-tree", branch.commit, environ=index)
    given = b"".join(os.fsencode(line) + b"\0" for line in lines)
    _git(branch.top, "update-index", "-z", "--index-info", environ=index, given=given)
    return _git(branch.top, "write-tree", environ=index).decode().strip()


def _stored(branch: Branch, file: Path) -> str:
    """Add a file's bytes to the repository, as they are; gives their name there."""
    with file.open("rb") as source:
        return _git(branch.top, "hash-object", "-w", "--no-filters", "--stdin", given=source.read()).decode().strip()


def _move(branch: Branch, commit: str) -> None:
    """Move the branch to its new commit, in one step, if nobody else has moved it."""
    ref, old = f"refs/heads/{branch.name}", branch.commit if branch.is_local else _NONE
    try:
        _git(branch.top, "update-ref", "-m", "imghost shrink", ref, commit, old)
    except ImghostError as problem:
        text = f"branch {branch.name!r} was moved meanwhile and stays as it is; run it again: {problem}"
        raise ImghostError(text) from None


def _git(folder: Path, *words: str, environ: Mapping[str, str] | None = None, given: bytes = b"") -> bytes:
    """Ask git; raises ImghostError with its own last line."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, and a branch's name that stands behind its folder
            ["git", "-C", str(folder), *words],  # noqa: S607 - whichever git the user has
            input=given, capture_output=True, check=False, env={**os.environ, **(environ or {})},
        )  # fmt: skip
    except FileNotFoundError:
        raise SettingsError("git is not installed, which knows the branch; install it") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ImghostError(said[-1] if said else f"git {words[0]} failed")
    return done.stdout
