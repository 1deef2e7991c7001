"""The commit that is checked out in a folder, as git has it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

_GIT_SECONDS = 5.0


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
    return f"{commit}+dirty" if changed else commit


def commit_problem(folder: Path) -> str | None:
    """Why no commit can be read in a folder that lies in a checkout; None where one can, or there is no checkout.

    In CI it is most often that the checkout belongs to another user than this one.
    """
    inside = any((parent / ".git").exists() for parent in (folder.absolute(), *folder.absolute().parents))
    if not inside or _git(folder, "rev-parse", "--verify", "HEAD"):
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        return f"git cannot be run: {error.strerror}"
    if "dubious ownership" in done.stderr:
        return f"it belongs to another user: `git config --global --add safe.directory {folder}` allows it"
    return next(iter(done.stderr.strip().splitlines()), "git gives no reason")


def commit_of_files(files: Iterable[Path]) -> str | None:
    """The commit of the checkout that files lie in, as `commit_of` gives it; several where they lie in several.

    None where one of them lies in no checkout, and for no file: what ran then is at no commit that could be named.
    """
    commits = {commit_of(folder) for folder in {file.parent for file in files}}
    named = sorted(commit for commit in commits if commit is not None)
    return ", ".join(named) if len(named) == len(commits) and named else None


def _git(folder: Path, *arguments: str) -> str | None:
    # No optional locks: a `git` of the user's running at the same time must not find the index locked by ours.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_GIT_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
