"""The commit that is checked out in a folder, and the order of commits, as git has them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import bench
from bench.host.procfs import read_text

_GIT_SECONDS = 5.0

_WHOLE_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A commit's whole name. What else a store may hold as one is never given to git, which would read it as an option."""

_LATEST = 253_402_300_799
"""The last second of the year 9999, since 1970."""

_SET_BY_HOOKS = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_SHALLOW_FILE"),
    *("GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE"),
)
"""Variables that point git at another repository than that of its folder: a hook of git's, from which this program may
be called, has some of them set."""

COMMIT_FILE = "COMMIT"
"""The file of a copied program that states its commit (`bench.run.gpu_kit`)."""

DIRTY = "+dirty"
"""Stands after the name of a commit of whose tracked files some were changed."""


@dataclass(frozen=True, kw_only=True)
class CommitOrigin:
    """Where a commit stands among others, as the commit itself has it."""

    committed_at: datetime
    """The committer's date, UTC."""
    parent: str | None
    """The first parent; None for a root."""


def commit_of(folder: Path) -> str | None:
    """The commit checked out in `folder`, `+dirty` after it where tracked files were changed.

    None where there is no git, no checkout or no commit, and for a folder that its checkout ignores: a package
    installed in a project's `.venv` is not at that project's commit.
    """
    if _git(folder, "check-ignore", "-q", str(folder.absolute())) is not None:
        return None
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changed = _git(folder, "status", "--porcelain", "-uno")
    if not commit or changed is None:
        return None
    return f"{commit}{DIRTY}" if changed else commit


def program_commit() -> str | None:
    """The commit of this program: of its checkout, or the one that a copy for another machine states."""
    package = Path(bench.__file__).parent
    stated = (read_text(package / COMMIT_FILE) or "").strip()
    return stated or commit_of(package)


def commit_problem(folder: Path) -> str | None:
    """Why no commit can be read in a folder that lies in a checkout; None where one can, or there is no checkout.

    In CI it is most often that the checkout belongs to another user than this one.
    """
    inside = any((parent / ".git").exists() for parent in (folder.absolute(), *folder.absolute().parents))
    if not inside or _git(folder, "rev-parse", "--verify", "HEAD"):
        return None
    try:
        refused = run_git(folder, "rev-parse", "HEAD").stderr.decode(errors="replace")
    except OSError as error:
        return f"git cannot be run: {error.strerror}"
    if is_owned_by_another(refused):
        return f"it belongs to another user: {safe_directory(folder)} allows it"
    return next(iter(refused.strip().splitlines()), "git gives no reason")


def commit_of_files(files: Iterable[Path]) -> str | None:
    """The commit of the checkout that files lie in, as `commit_of` gives it; several where they lie in several.

    None where one of them lies in no checkout, and for no file: what ran then is at no commit that could be named.
    """
    commits = {commit_of(folder) for folder in {file.parent for file in files}}
    named = sorted(commit for commit in commits if commit is not None)
    return ", ".join(named) if len(named) == len(commits) and named else None


def origin_of(folder: Path, commit: str) -> CommitOrigin | None:
    """The date and the first parent of a commit, in a shallow clone too; None where they cannot be had.

    Args:
        folder: any folder of the checkout.
        commit: its whole name, with or without the mark of changed files.
    """
    name = commit.removesuffix(DIRTY)
    # The object itself: at the edge of a shallow clone `log` and `rev-list` show no parents.
    raw = _git(folder, "cat-file", "commit", name) if _WHOLE_NAME.fullmatch(name) else None
    head = (raw or "").partition("\n\n")[0]
    seconds = re.search(r"^committer .* (\d+) [+-]\d+$", head, re.M)
    if seconds is None:
        return None
    parent = re.search(r"^parent (\w+)$", head, re.M)
    return CommitOrigin(committed_at=_date(seconds[1]), parent=parent[1] if parent else None)


def first_parent_order(folder: Path, commits: Iterable[str]) -> dict[str, datetime]:
    """Those of the commits that a repository has, oldest first, each with its committer's date.

    A commit comes after all that its chain of first parents leads to; commits of which neither leads to the other, such
    as those of two branches, are in the order of their dates.

    Args:
        folder: any folder of the checkout; the result is empty where it is none, or git refuses it.
        commits: whole names, without the mark of changed files.
    """
    wanted = {commit for commit in commits if _WHOLE_NAME.fullmatch(commit)}
    if not wanted:
        return {}
    listed = _git(
        folder,
        *("rev-list", "--first-parent", "--date-order", "--reverse", "--timestamp", "--ignore-missing", "--stdin"),
        given="\n".join(sorted(wanted)),
    )
    pairs = [line.split() for line in (listed or "").splitlines()]
    return {commit: _date(seconds) for seconds, commit in pairs if commit in wanted}


def subjects(folder: Path, commits: Iterable[str]) -> dict[str, str]:
    """The first line of the message of each commit that a repository has, without what would drive a terminal.

    Args:
        folder: any folder of the checkout; the result is empty where it is none, or git refuses it.
        commits: whole names, with or without the mark of changed files, as the result has them.
    """
    wanted = {commit: commit.removesuffix(DIRTY) for commit in commits}
    names = sorted({name for name in wanted.values() if _WHOLE_NAME.fullmatch(name)})
    if not names:
        return {}
    options = ("--no-walk=unsorted", "--ignore-missing", "--no-show-signature", "--format=%H %s", "--stdin")
    lines = (_git(folder, "log", *options, given="\n".join(names)) or "").splitlines()
    known = {line[: line.find(" ")]: line[line.find(" ") + 1 :] for line in lines if " " in line}
    return {commit: "".join(filter(str.isprintable, known[name])) for commit, name in wanted.items() if known.get(name)}


def _date(seconds: str) -> datetime:
    """A date out of a commit, which may hold any number; one that no calendar has is the latest."""
    return datetime.fromtimestamp(min(int(seconds), _LATEST), UTC)


def run_git(
    folder: Path,
    *arguments: str,
    given: bytes = b"",
    seconds: float | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[bytes]:
    """Run git on the repository that a folder lies in, without its hooks and its fsmonitor.

    Args:
        folder: where git runs.
        arguments: its command and options.
        given: its standard input.
        seconds: the longest that it may take; None for no limit.
        environment: variables, beside those of this process.

    Raises:
        OSError: git cannot be run.
        subprocess.TimeoutExpired: it took longer.
    """
    # No optional locks: a `git` of the user's running at the same time must not find the index locked by ours.
    runs_nothing = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
    command = ["git", "--no-optional-locks", *runs_nothing, *arguments]
    inherited = {name: value for name, value in os.environ.items() if name not in _SET_BY_HOOKS}
    # in English, because what it refuses is read
    variables = {**inherited, "LC_ALL": "C", **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=seconds, input=given, env=variables)


def is_owned_by_another(printed: str) -> bool:
    """Whether git has refused a checkout because it belongs to another user than this one, by what it printed."""
    return "dubious ownership" in printed


def safe_directory(folder: Path) -> str:
    """The command by which a user allows git to read another user's checkout, ready to be copied."""
    return f"`git config --global --add safe.directory {folder}`"


def _git(folder: Path, *arguments: str, given: str = "") -> str | None:
    try:
        done = run_git(folder, *arguments, given=given.encode(), seconds=_GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # names and messages of commits may be in any encoding
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
