from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.host import checkout
from bench.host.checkout import CommitOrigin, commit_of, first_parent_order, origin_of


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def run(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    return run


def test_commit_of_a_checkout(tmp_path: Path, git: Callable[..., str]) -> None:
    assert commit_of(tmp_path) is None
    git("init")
    assert commit_of(tmp_path) is None
    (tmp_path / "code.py").write_text("1")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git("add", ".")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD")
    below = tmp_path / "below"
    installed = tmp_path / ".venv" / "bench"
    for folder in (below, installed):
        folder.mkdir(parents=True)
    assert commit_of(tmp_path) == commit_of(below) == head
    assert commit_of(installed) is None
    (tmp_path / "untracked").write_text("")
    assert commit_of(tmp_path) == head
    (tmp_path / "code.py").write_text("2")
    assert commit_of(tmp_path) == commit_of(below) == f"{head}+dirty"
    assert commit_of(tmp_path / "missing") is None


def test_commit_is_none_without_git(tmp_path: Path, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    assert commit_of(tmp_path) is not None
    monkeypatch.setenv("PATH", "")
    assert commit_of(tmp_path) is None


def test_commit_is_none_where_git_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(checkout, "_GIT_SECONDS", 0.05)
    assert commit_of(tmp_path) is None


@pytest.fixture
def committed(git: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes an empty commit on a day of January 2026, and gives its name."""

    def commit(day: int, *options: str) -> str:
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-01-{day:02d}T12:00:00+0200")
        git("commit", "--allow-empty", "-qm", f"day {day}", *options)
        return git("rev-parse", "HEAD")

    return commit


def noon(day: int) -> datetime:
    return datetime(2026, 1, day, 10, tzinfo=UTC)


def test_the_order_is_that_of_first_parents_whatever_the_dates(
    tmp_path: Path, git: Callable[..., str], committed: Callable[..., str]
) -> None:
    git("init", "-qb", "main")
    first, second, third = committed(3), committed(2), committed(4)
    git("checkout", "-qb", "side", second)
    side = committed(5)
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-ff", "-m", "merge", "side")
    merge = git("rev-parse", "HEAD")
    wanted = [merge, third, side, first, second]
    order = first_parent_order(tmp_path, wanted)
    assert list(order) == [first, second, third, side, merge]
    assert order[first] == noon(3)
    assert list(first_parent_order(tmp_path, [third, first])) == [first, third]


def test_names_that_git_does_not_have_are_left_out_and_none_reaches_it_as_an_option(
    tmp_path: Path, git: Callable[..., str], committed: Callable[..., str]
) -> None:
    assert first_parent_order(tmp_path, ["0" * 40]) == {}
    git("init", "-q")
    commit = committed(1)
    assert list(first_parent_order(tmp_path, [commit, "0" * 40, "--all", "HEAD", "a, b", ""])) == [commit]
    assert first_parent_order(tmp_path, ["--all"]) == {}
    assert first_parent_order(tmp_path / "missing", [commit]) == {}
    assert origin_of(tmp_path, "HEAD") is None
    assert origin_of(tmp_path, "0" * 40) is None


def test_a_commit_has_its_date_and_first_parent_in_a_shallow_clone_too(
    tmp_path: Path, git: Callable[..., str], committed: Callable[..., str]
) -> None:
    git("init", "-q")
    git("config", "i18n.commitEncoding", "latin-1")
    root, head = committed(1), committed(2, "--author", b"J\xf6rg <j@b>".decode("latin-1"))
    assert origin_of(tmp_path, root) == CommitOrigin(committed_at=noon(1), parent=None)
    expected = CommitOrigin(committed_at=noon(2), parent=root)
    assert origin_of(tmp_path, head) == origin_of(tmp_path, f"{head}+dirty") == expected
    git("clone", "-q", "--depth", "1", f"file://{tmp_path}", "shallow")
    assert origin_of(tmp_path / "shallow", head) == expected
    assert list(first_parent_order(tmp_path / "shallow", [root, head])) == [head]


def test_a_date_that_no_calendar_has_is_the_latest(tmp_path: Path, git: Callable[..., str]) -> None:
    git("init", "-q")
    tree = git("write-tree")
    (tmp_path / "raw").write_text(f"tree {tree}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> {10**17} +0000\n\nx\n")
    commit = git("hash-object", "-t", "commit", "-w", "--literally", "raw")
    origin = origin_of(tmp_path, commit)
    assert origin is not None
    assert origin.committed_at.year == 9999
    assert list(first_parent_order(tmp_path, [commit])) == [commit]
