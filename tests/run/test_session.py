"""`bench run` and the user's code: a campaign is one program, whose files are looked at again before it resumes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.core.code import ImportedModule
from bench.run.lock import LOCK_VARIABLE
from bench.run.session import edited_files
from bench.store import load
from tests.support.fake_worker import SCRIPT
from tests.support.git import git
from tests.support.harness import ROOT
from tests.support.zygote import run_bench

NOTHING = "0" * 64


def bench_run(folder: Path, *options: str, cwd: Path = ROOT, **script: object) -> str:
    """Run two cells, and give what was printed beside the table."""
    (folder / "script.json").write_text(json.dumps(script))
    command = ("run", "quick", "--set", "cells=lstm,gru", "--results", str(folder / "results"), *options)
    variables = {SCRIPT: str(folder / "script.json"), LOCK_VARIABLE: str(folder / "lock")}
    done = run_bench(*command, cwd=cwd, variables=variables)
    assert done.returncode in (0, 4), done.stderr
    return done.stderr


def test_a_campaign_whose_imported_helper_was_edited_is_not_resumed(tmp_path: Path) -> None:
    helper = tmp_path / "helper.py"
    helper.write_text("x = 1\n")
    bench_run(tmp_path, imports=[str(helper)], gru="fail")
    assert "resuming" in bench_run(tmp_path, "--retry-failed", imports=[str(helper)], gru="fail")
    helper.write_text("x = 2\n")
    printed = bench_run(tmp_path, "--retry-failed", imports=[str(helper)])
    assert f"a new campaign begins, because {helper} has changed" in printed
    assert "resuming" not in printed
    frame = load([tmp_path / "results"])
    assert frame.groupby("campaign_id", observed=True)["code_json"].nunique().tolist() == [1, 1]


def test_a_run_is_at_the_commit_of_the_files_that_it_imported_not_of_the_folder_it_was_started_in(
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q")
    (project / "cells.py").write_text("x = 1\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "cells")
    bench_run(tmp_path, imports=[str(project / "cells.py")])
    commit = git(project, "rev-parse", "HEAD")
    frame = load([tmp_path / "results"])
    assert set(frame["project_commit"]) == {commit}
    assert {date.timestamp() for date in frame["committed_at"]} == {int(git(project, "log", "-1", "--format=%ct"))}
    assert frame["parent_commit"].isna().all()
    (tmp_path / "outside.py").write_text("")
    bench_run(tmp_path, "--new", imports=[str(tmp_path / "outside.py")])
    newest = load([tmp_path / "results"]).sort_values("campaign_started_at").iloc[-1]
    assert newest[["project_commit", "parent_commit"]].isna().all()  # outside of git there is none


def test_files_that_are_gone_or_differ_are_edited(tmp_path: Path) -> None:
    (tmp_path / "there.py").write_text("")
    modules = [
        ImportedModule(name=name, file=str(tmp_path / f"{name}.py"), sha256=NOTHING) for name in ("there", "gone")
    ]
    assert edited_files(modules) == [tmp_path / "gone.py", tmp_path / "there.py"]


def test_a_checkout_whose_commit_cannot_be_read_is_remarked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q")
    git(project, "commit", "-q", "--allow-empty", "-m", "first")
    assert "without the commit" not in bench_run(tmp_path, cwd=project)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    printed = bench_run(tmp_path, "--new", cwd=project)
    assert (
        "warning: results are kept without the commit of this checkout (it belongs to another user: `git c" in printed
    )
    assert "without the commit" not in bench_run(tmp_path, "--new", cwd=tmp_path)  # there is no checkout
