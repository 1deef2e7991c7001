from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.host import checkout
from bench.host.checkout import commit_of


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
