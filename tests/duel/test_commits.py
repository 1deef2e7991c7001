"""Commits as sides of a duel: what is unpacked, where it is imported from, and what is refused."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench.catalog.backends import BACKENDS
from bench.core.case import Case
from bench.core.code import ImportedModule
from bench.core.errors import UsageError
from bench.core.protocol import DUEL_PROTOCOL
from bench.duel import sides
from bench.duel.code import foreign_modules
from bench.duel.commits import built_commit_side, commit_side
from tests.support.git import git

USER_CELL = Case(cell="my_cells:small", task="mnist_5k")


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
    first = commit_side("HEAD~1", tmp_path / "a", USER_CELL, False, print)
    second = commit_side("main", tmp_path / "b", USER_CELL, False, print)
    assert (tmp_path / "a" / "my_cells.py").read_text() == "first\n"
    assert (tmp_path / "b" / "my_cells.py").read_text() == "second\n"
    assert not (tmp_path / "b" / "helper.py").exists()
    commit = git(project, "rev-parse", "HEAD")[:10]
    assert second.title == f"main ({commit})"
    assert commit_side(commit[:7], tmp_path / "c", USER_CELL, False, print).title == commit
    for side, folder in ((first, tmp_path / "a"), (second, tmp_path / "b")):
        assert side.environment.folder == folder
        assert side.environment.path is not None
        assert side.environment.path[0] == folder
        # a module that the commit hasn't got isn't found in the checkout
        assert project not in side.environment.path
        assert Path(bench.__file__).parents[1] in side.environment.path
    assert git(project, "status", "--porcelain") == "M my_cells.py\n?? new.py"  # and nothing of ours in it
    assert not (project / ".git" / "worktrees").exists()


def test_the_working_tree_is_what_git_would_commit(project: Path, tmp_path: Path) -> None:
    side = commit_side(".", tmp_path / "a", USER_CELL, False, print)
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
    environment = commit_side("HEAD", tmp_path / "a", USER_CELL, False, print).environment
    assert environment.folder == tmp_path / "a" / "inner"
    assert environment.path is not None
    assert environment.path[:2] == (tmp_path / "a" / "inner" / "src", tmp_path / "a" / "inner")


def test_the_settings_of_the_project_hold_in_its_subfolders(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("python", "experiments"):
        (project / name).mkdir()
        (project / name / f"in_{name}.py").write_text("x\n")
    (project / "pyproject.toml").write_text("[tool.bench]\nsource = ['python']\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "a layout")
    monkeypatch.chdir(project / "experiments")
    path = commit_side("HEAD", tmp_path / "a", USER_CELL, False, print).environment.path
    assert path is not None
    assert path[:2] == (tmp_path / "a" / "experiments", tmp_path / "a" / "python")
    (project / "pyproject.toml").write_text("[tool.bench]\nsources = ['python']\n")
    with pytest.raises(UsageError, match=r"unknown key 'sources' .*: did you mean 'source'\?"):
        commit_side("HEAD", tmp_path / "b", USER_CELL, False, print)


def test_a_project_without_settings_of_ours_is_found_from_its_subfolders(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("src/my/cells.py", "experiments/try.py"):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text("x\n")
    (project / "pyproject.toml").write_text("[project]\nname = 'my'\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "a layout")
    monkeypatch.chdir(project / "experiments")
    side = commit_side("HEAD", tmp_path / "a", USER_CELL, False, print)
    assert side.environment.path is not None
    assert side.environment.path[:2] == (tmp_path / "a" / "experiments", tmp_path / "a" / "src")
    assert side.commit is not None
    assert {"my", "try"} <= side.commit.packages


def test_what_is_no_commit_and_what_has_no_part_in_the_duel_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="'nowhere' is no commit of the project here"):
        commit_side("nowhere", tmp_path / "a", USER_CELL, False, print)
    with pytest.raises(UsageError, match=r"is no commit"):
        commit_side("--output=/x", tmp_path / "a", USER_CELL, False, print)
    with pytest.raises(UsageError, match="nothing of this project takes part in a duel over the cell 'lstm'"):
        commit_side("HEAD", tmp_path / "b", Case(cell="lstm"), True, print)
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
            commit_side("HEAD", tmp_path / f"protocol-{number}", USER_CELL, False, print)
    with pytest.raises(UsageError, match=r"another duel protocol than this one \(there is no DUEL_PROTOCOL"):
        commit_side("HEAD~2", tmp_path / "old", USER_CELL, False, print)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is not in a git repository"):
        commit_side("HEAD", tmp_path / "d", USER_CELL, False, print)


def test_links_are_unpacked_as_they_were_committed_and_names_may_be_any_bytes(project: Path, tmp_path: Path) -> None:
    (project / "hosts").symlink_to("/etc/hosts")
    (project / "dangling").symlink_to("../nowhere")
    Path(os.fsdecode(os.fsencode(project) + b"/bad\xff")).write_text("x")
    for name in ("commit", "."):
        git(project, "add", "-A")
        git(project, "commit", "-q", "--allow-empty", "-m", "odd files")
        folder = tmp_path / f"odd-{len(name)}"
        commit_side("HEAD" if name == "commit" else ".", folder, USER_CELL, False, print)
        assert (folder / "hosts").readlink() == Path("/etc/hosts")
        assert (folder / "dangling").readlink() == Path("../nowhere")
        assert os.fsdecode(b"bad\xff") in {path.name for path in folder.iterdir()}


def test_a_shallow_clone_and_a_branch_of_the_remote_are_named_with_the_way_out(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(project, "stash", "-q")
    git(project, "branch", "feature")
    for name, depth in (("shallow", ["--depth", "1"]), ("whole", [])):
        git(tmp_path, "clone", "-q", *depth, f"file://{project}", name)
        git(tmp_path / name, "checkout", "-q", "--detach")
        git(tmp_path / name, "branch", "-D", "main")
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(UsageError, match=r"'HEAD~1' is not in this clone, which is shallow: .*`fetch-depth: 0`"):
        commit_side("HEAD~1", tmp_path / "a", USER_CELL, False, print)
    monkeypatch.chdir(tmp_path / "whole")
    with pytest.raises(UsageError, match=r"no local branch 'feature', but the remote has it: name origin/feature"):
        commit_side("feature", tmp_path / "b", USER_CELL, False, print)
    commit_side("origin/feature", tmp_path / "c", USER_CELL, False, print)


def test_a_repository_of_another_user_is_named_with_the_way_out(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    with pytest.raises(UsageError, match=r"belongs to another user .*git config --global --add safe\.directory"):
        commit_side("HEAD", tmp_path / "a", USER_CELL, False, print)


BACKEND = """
import zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name, info = "my-1-py3-none-any.whl", "my-1.dist-info"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr("my/cells.py", "from my.generated import size\\n")
        wheel.writestr("my/generated.py", open("size.txt").read())  # as a compiled extension, it is in no commit
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: my\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


def test_a_commit_can_be_built_into_an_environment_of_its_own(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "WORKER_PACKAGES", ())
    monkeypatch.setitem(BACKENDS, "tensorflow", replace(BACKENDS["tensorflow"], distributions=("my",)))
    monkeypatch.setattr(sides, "_plain_name", lambda word: "my")
    monkeypatch.setenv("UV_OFFLINE", "1")
    (project / "backend.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "my"\nversion = "1"\n'
    )
    (project / "my").mkdir()
    (project / "my" / "cells.py").write_text("from my.generated import size\n")
    for size in (100, 300):
        (project / "size.txt").write_text(f"size = {size}\n")
        git(project, "add", "-A")
        git(project, "commit", "-qm", f"size {size}")
    for letter, text, size in (("a", "HEAD~1", 100), ("b", "HEAD", 300)):
        monkeypatch.chdir(project if letter == "a" else project / "my")  # what is built is the project, from anywhere
        scratch = tmp_path / letter
        scratch.mkdir()
        unpacked = commit_side(text, scratch / "tree", USER_CELL, False, print)
        side = built_commit_side(unpacked, tmp_path / "cache", scratch, print)
        assert side.title == unpacked.title
        assert side.commit is not None
        done = subprocess.run(
            [side.environment.python, "-c", "import my.cells; print(my.cells.size, my.cells.__file__)"],
            cwd=side.environment.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        found, file = done.stdout.split()
        assert int(found) == size
        module = ImportedModule(name="my.cells", file=str(Path(file).resolve()), sha256="", distribution="my 1")
        assert foreign_modules([module], side.commit) == ()
        assert foreign_modules([replace(module, file=str(project / "my/cells.py"))], side.commit) != ()


def test_what_is_no_package_cannot_be_built(project: Path, tmp_path: Path) -> None:
    side = commit_side("HEAD", tmp_path / "tree", USER_CELL, False, print)
    with pytest.raises(UsageError, match=r"--build: HEAD \(\w+\) has neither pyproject\.toml nor setup\.py"):
        built_commit_side(side, tmp_path / "cache", tmp_path, print)
