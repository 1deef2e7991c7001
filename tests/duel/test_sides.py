"""What a side's name stands for, and making it: commits unpacked, environments built."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.catalog.backends import BACKENDS
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.protocol import DUEL_PROTOCOL
from bench.duel import sides
from bench.duel.sides import commit_side, differing, environment_side
from bench.duel.specification import SideKind, common_kind, kind_of, settings_of
from bench.run.server import WorkerEnvironment
from tests.support.wheels import a_wheel

USER_CELL = Case(cell="my_cells:small", task="mnist_5k")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("kernel=generic", SideKind.SETTINGS),
        ("units=64 kernel=xla", SideKind.SETTINGS),
        ("tensorflow==2.20.0", SideKind.ENVIRONMENTS),
        ("keras>=3.14 numpy<2.4", SideKind.ENVIRONMENTS),
        ("jax[cuda12]==0.10", SideKind.ENVIRONMENTS),
        ("HEAD~1", SideKind.COMMITS),
        (".", SideKind.COMMITS),
        ("feature/faster", SideKind.COMMITS),
        ("v1.0", SideKind.COMMITS),
    ],
)
def test_what_a_name_stands_for(text: str, kind: SideKind) -> None:
    assert kind_of(text) is kind


def test_folders_and_wheels_stand_for_environments(tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").touch()
    wheel = a_wheel(tmp_path, "slow", "1.0", "")
    assert kind_of(str(tmp_path / "env")) is kind_of(str(wheel)) is SideKind.ENVIRONMENTS
    assert kind_of(f"{wheel} keras==3.15.1") is SideKind.ENVIRONMENTS
    with pytest.raises(UsageError, match="between two of a kind"):
        common_kind(str(wheel), "HEAD")


def test_settings_become_overrides_of_a_suite() -> None:
    assert settings_of("kernel=generic units=64", "A") == ["kernels=generic", "units=64"]
    assert settings_of("cells=gru learning_rate=0.01", "B") == ["cells=gru", "learning_rate=0.01"]


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *name, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose last commit changed its cell and removed a helper; its working tree goes further."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitignore").write_text("ignored.py\n")
    (folder / "my_cells.py").write_text("first\n")
    (folder / "helper.py").write_text("first\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    (folder / "my_cells.py").write_text("second\n")
    (folder / "helper.py").unlink()
    git(folder, "commit", "-qam", "second")
    (folder / "my_cells.py").write_text("now\n")
    (folder / "new.py").write_text("now\n")
    (folder / "ignored.py").write_text("now\n")
    monkeypatch.chdir(folder)
    return folder


def test_a_commit_is_unpacked_and_stands_before_all_else(project: Path, tmp_path: Path) -> None:
    first = commit_side("HEAD~1", tmp_path / "a", USER_CELL, built_in_cell=False)
    second = commit_side("main", tmp_path / "b", USER_CELL, built_in_cell=False)
    assert (tmp_path / "a" / "my_cells.py").read_text() == "first\n"
    assert (tmp_path / "b" / "my_cells.py").read_text() == "second\n"
    assert not (tmp_path / "b" / "helper.py").exists()
    commit = git(project, "rev-parse", "HEAD")[:10]
    assert second.title == f"main ({commit})"
    assert commit_side(commit[:7], tmp_path / "c", USER_CELL, built_in_cell=False).title == commit
    for side, folder in ((first, tmp_path / "a"), (second, tmp_path / "b")):
        assert side.environment.folder == folder
        assert side.environment.path is not None
        assert side.environment.path[0] == folder
        # a module that the commit hasn't got isn't found in the checkout
        assert project not in side.environment.path
        assert Path(sides.__file__).parents[2] in side.environment.path
    assert git(project, "status", "--porcelain") == "M my_cells.py\n?? new.py"  # and nothing of ours in it
    assert not (project / ".git" / "worktrees").exists()


def test_the_working_tree_is_what_git_would_commit(project: Path, tmp_path: Path) -> None:
    side = commit_side(".", tmp_path / "a", USER_CELL, built_in_cell=False)
    assert side.title == "working tree"
    found = {path.name: path.read_text() for path in (tmp_path / "a").iterdir()}
    assert found == {".gitignore": "ignored.py\n", "my_cells.py": "now\n", "new.py": "now\n"}


def test_a_project_below_its_repository_and_a_source_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = project / "inner"
    (inner / "src").mkdir(parents=True)
    (inner / "src" / "cells.py").write_text("x\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "inner")
    monkeypatch.chdir(inner)
    environment = commit_side("HEAD", tmp_path / "a", USER_CELL, built_in_cell=False).environment
    assert environment.folder == tmp_path / "a" / "inner"
    assert environment.path is not None
    assert environment.path[:2] == (tmp_path / "a" / "inner", tmp_path / "a" / "inner" / "src")


def test_what_is_no_commit_and_what_has_no_part_in_the_duel_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="'nowhere' is no commit of the project here"):
        commit_side("nowhere", tmp_path / "a", USER_CELL, built_in_cell=False)
    with pytest.raises(UsageError, match=r"is no commit"):
        commit_side("--output=/x", tmp_path / "a", USER_CELL, built_in_cell=False)
    with pytest.raises(UsageError, match="nothing of this project takes part in a duel over the cell 'lstm'"):
        commit_side("HEAD", tmp_path / "b", Case(cell="lstm"), built_in_cell=True)
    old = project / "bench" / "worker"
    old.mkdir(parents=True)
    (old / "__main__.py").touch()
    git(project, "add", "-A")
    git(project, "commit", "-qm", "as bench was once")
    for number, way_out in ((1, "a later"), (DUEL_PROTOCOL + 1, "an earlier")):
        (project / "bench" / "core").mkdir(exist_ok=True)
        (project / "bench" / "core" / "protocol.py").write_text(f"DUEL_PROTOCOL = {number}\n")
        git(project, "add", "-A")
        git(project, "commit", "-qm", "as bench was, or will be")
        with pytest.raises(UsageError, match=f"DUEL_PROTOCOL is {number} in bench/core/protocol.py, .*name {way_out}"):
            commit_side("HEAD", tmp_path / f"protocol-{number}", USER_CELL, built_in_cell=False)
    with pytest.raises(UsageError, match=r"another duel protocol than this one \(there is no DUEL_PROTOCOL"):
        commit_side("HEAD~2", tmp_path / "old", USER_CELL, built_in_cell=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="not a git repository"):
        commit_side("HEAD", tmp_path / "d", USER_CELL, built_in_cell=False)


def test_an_environment_is_built_and_what_differs_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wheel in the place of Keras and its backend, which take a while to install."""
    monkeypatch.setattr(sides, "WORKER_PACKAGES", ())
    slow = replace(BACKENDS["tensorflow"], distributions=("slow",))
    monkeypatch.setitem(BACKENDS, "tensorflow", slow)
    monkeypatch.setattr(sides, "_plain_name", lambda word: "slow")
    monkeypatch.setenv("UV_OFFLINE", "1")
    notes: list[str] = []
    prepared = []
    for letter, version in (("a", "1.0"), ("b", "2.0")):
        wheel = a_wheel(tmp_path / letter, "slow", version, f"version = {version!r}\n")
        prepared.append(environment_side(str(wheel), USER_CELL, tmp_path / "cache", tmp_path / letter, notes.append))
    assert [line.split(" in ")[0] for line in notes] == [
        f"building the environment of {tmp_path}/{letter}/slow-{version}-py3-none-any.whl"
        for letter, version in (("a", "1.0"), ("b", "2.0"))
    ]
    assert differing(prepared[0].packages, prepared[1].packages) == {"slow": ("1.0", "2.0")}
    code = "import slow, bench, sys; print(slow.version, bench.__file__, len(sys.path))"
    for side, version in zip(prepared, ("1.0", "2.0"), strict=True):
        path = side.environment.path
        assert path is not None
        done = subprocess.run(
            [side.environment.python, "-P", "-c", code],
            env={"PYTHONPATH": os.pathsep.join(map(str, path))},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(f"{version} ")
        # of all that is installed with the harness, the environment sees the harness alone
        assert [entry.name for entry in path[0].iterdir()] == ["bench"]


def test_requirements_that_cannot_be_met_are_refused_with_what_uv_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(UsageError, match=r"the environment 'keras==0\.0\.1' cannot be built:\n"):
        environment_side("keras==0.0.1", USER_CELL, tmp_path / "cache", tmp_path, print)


def test_memory_is_in_huge_pages_on_both_sides_unless_the_user_has_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    pinned = sides.pinned_allocator(WorkerEnvironment(variables={"X": "1"})).variables
    assert "glibc.malloc.hugetlb=1" in pinned["GLIBC_TUNABLES"]
    assert pinned["X"] == "1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    assert sides.pinned_allocator(WorkerEnvironment(variables={"X": "1"})).variables == {"X": "1"}
    assert sys.executable == WorkerEnvironment().python


@pytest.mark.parametrize(
    ("pages", "libc", "said"),
    [
        ("always [madvise] never", ("glibc", "2.36"), None),
        ("[always] madvise never", ("glibc", "2.35"), None),
        ("always madvise [never]", ("glibc", "2.36"), "huge pages are off .*madvise would do"),
        ("always [madvise] never", ("glibc", "2.31"), "glibc 2.35 or newer, and this is glibc 2.31$"),
        ("always [madvise] never", ("", ""), "and this is another library$"),
        (None, ("", ""), None),
    ],
)
def test_what_stands_against_huge_pages_is_said(
    pages: str | None, libc: tuple[str, str], said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    folder = tmp_path / "kernel/mm/transparent_hugepage"
    folder.mkdir(parents=True)
    if pages:
        (folder / "enabled").write_text(f"{pages}\n")
    reason = sides.small_pages_reason(tmp_path)
    assert (reason is None) == (said is None)
    if said:
        assert re.search(said, reason or "")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    assert sides.small_pages_reason(tmp_path) is None
