"""`bench gate` between commits, in processes of its own: each commit runs its own code; one verdict, one exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.core.errors import UsageError
from bench.run.lock import LOCK_VARIABLE
from bench.store import load
from tests.support.git import git
from tests.support.harness import KEEP_SERVERS
from tests.support.zygote import run_bench

CELL = "def cell(units, activation, return_sequences, name): ...\ndef network(cell, task, units): ...\n"
DATA = """import bench
import numpy as np


def sums():
    x = np.random.default_rng(1).random((40, 5, 2))
    return bench.TaskData(target="number", train=(x, x.sum(axis=(1, 2))), test=(x, x.sum(axis=(1, 2))))
"""
COMMITS = {
    "base": ("A cell of our own", f"{CELL}size, accuracy = 100, 0.9\n"),
    "notes": ("A note on the cell", None),
    "slower": ("Gates one by one", f"{CELL}size, accuracy = 130, 0.9\n"),
    "worse": ("Another initialiser", f"{CELL}size, accuracy = 100, 0.8\n"),
    "broken": ("A helper from elsewhere", f"from elsewhere import helper\n{CELL}"),
}
"""By the branch that is at it: the subject, and the module; each follows the one before."""

Gate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commits") / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitignore").write_text("results/\n")
    (folder / "our_data.py").write_text(DATA)
    for branch, (subject, module) in COMMITS.items():
        if module:
            (folder / "ours.py").write_text(module)
        else:
            (folder / "README.md").write_text("It is fast.\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", subject)
        git(folder, "branch", branch)
    return folder


@pytest.fixture(scope="module")
def gate(project: Path) -> Gate:
    """All in one store."""

    def call(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        variables = {
            "BENCH_TEST_SIDE": "tests.support.importing_side",
            "BENCH_TEST_ANCHOR": "tests.support.fake_side",
            "BENCH_TEST_WORKER": "tests.support.importing_worker",
            KEEP_SERVERS: "1",
            LOCK_VARIABLE: str(project.parent / "lock"),
            "BENCH_CACHE_DIR": str(project.parent / "cache"),
            "COLUMNS": "160",
        }
        return run_bench(verb, *arguments, cwd=project, variables=variables)

    return call


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    return {finding["metric"]: finding["verdict"] for finding in document["findings"]}


COMMON = ("--set", "cells=ours:cell")


def test_a_slower_commit_is_red_by_its_interleaved_times_alone(gate: Gate, project: Path) -> None:
    options = ("--base", "notes", "--head", "slower", *COMMON, "--set", "seeds=0..2")
    done = gate("gate", *options)
    assert done.returncode == 1, done.stderr
    printed = " ".join(done.stdout.split())
    head = git(project, "rev-parse", "slower")
    assert f"new slower ({head[:10]}): Gates one by one · 3 runs" in printed
    assert "training step, interleaved" in printed
    assert "equal in all 3" in printed or "same" in printed
    assert printed.count("slower") > 1
    assert "bench: at most 10 of 20 min are for times; what they leave is for seeds" in done.stderr
    assert "bench: training both commits over 3 seeds, which takes about" in done.stderr
    assert "bench: gate: red: something got worse" in done.stderr
    runs = load([project / "results" / "local"]).drop_duplicates("run_id")
    assert sorted(runs["project_commit"].unique()) == sorted([head, git(project, "rev-parse", "notes")])
    # base first, then the head first
    order = runs.sort_values("started_at")["project_commit"]
    assert "".join("h" if commit == head else "b" for commit in order) == "bhhbbh"


def test_a_commit_that_is_less_accurate_is_red_though_as_fast(gate: Gate) -> None:
    options = ("--base", "notes", "--head", "worse", *COMMON, "--set", "seeds=0..4", "--format", "json")
    done = gate("gate", *options)
    assert done.returncode == 1
    of = verdicts(done)
    assert (of["train_seconds"], of["accuracy"]) == ("same", "worse")
    document = json.loads(done.stdout)
    assert document["commits"]["head"]["subject"] == "Another initialiser"
    assert document["duel"]["contrasts"][0]["same_code"] is False


def test_a_network_of_the_project_is_judged_on_its_data_by_the_squared_error(gate: Gate) -> None:
    ours = ("cells=lstm", "networks=ours:network", "tasks=our_data:sums", "seeds=0..2")
    options = [part for override in ours for part in ("--set", override)]
    done = gate("gate", "--base", "notes", "--head", "worse", *options, "--format", "json")
    assert done.returncode == 1, done.stderr
    of = verdicts(done)
    assert {name: of[name] for name in ("train_seconds", "loss", "mae", "r2")} == {
        "train_seconds": "same",
        **dict.fromkeys(("loss", "mae", "r2"), "worse"),
    }
    assert "accuracy" not in of
    missing = gate("duel", "notes", "worse", *options[:2], "--set", "networks=ours:netwrk")
    assert missing.returncode == 2
    assert "unknown network 'netwrk' (ours:netwrk in notes (" in missing.stderr
    assert "did you mean 'network'?" in missing.stderr


def test_a_commit_that_changes_no_code_is_green_and_the_store_is_read_by_all(gate: Gate, project: Path) -> None:
    done = gate("gate", "--base", "base", "--head", "notes", *COMMON, "--set", "seeds=0..2", "--format", "md")
    assert done.returncode == 0, done.stderr
    assert "both commits execute the same program: no module that either imported differs" in done.stdout
    assert "### ✅" in done.stdout
    table = gate("table", "results/local", "--format", "md")
    assert "ours:cell" in table.stdout, table.stderr
    history = gate("history", "--format", "md")
    assert history.returncode == 0, history.stderr
    for subject in ("A cell of our own", "A note on the cell", "Gates one by one"):
        assert subject in history.stdout
    shown = gate("show", "last", "--results", "results/local")
    assert "ours" in shown.stdout, shown.stderr


def test_a_commit_whose_cell_cannot_be_imported_is_named(gate: Gate) -> None:
    done = gate("gate", "--base", "base", "--head", "broken", *COMMON, "--results", "results/broken")
    assert done.returncode == 2, done.stdout
    assert "'ours:cell' cannot be imported: No module named 'elsewhere'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "BASE and NEW are missing: name two results folders"),
        (["results"], "NEW is missing"),
        (["--head", "slower"], "the base is missing: name the commit that 'slower' is compared with, as in --base"),
        (["a", "b", "--base", "base"], "a is a store, and --base and --head are commits"),
        (["a", "b", "--budget", "3"], "--budget is for commits, which are measured"),
        (["--base", "base", "--drift", "2 %"], "--drift is for stores, and commits are measured interleaved"),
        (["--base", "base", "--budget", "0"], "--budget 0 is no time"),
        (
            ["--base", "base", "--head", "notes", "--budget", "1"],
            "--budget 1 (minutes, 0.5 of them for times) is too short: a process pair usually takes 16 s, and there "
            "is no verdict on fewer than 5: write --budget 2.7.",
        ),
        (["--base", "base", "--head", "notes", "--set", "seeds=0,1"], "seeds=0,1 (--set) is too few: 3 seeds"),
        (["--base", "no-such", "--head", "notes"], "'no-such' is no commit of the project here"),
        (["--base", "HEAD", "--head", "broken"], "base 'HEAD' and head 'broken' are the same commit ("),
        (["--base", ".", "--head", "."], "are the same commit"),
        (["--base", "base", "--tolerance", "0.1"], "--tolerance 0.1 with --floor 0.5 can't be used"),
    ],
)
def test_mistakes_are_named_with_the_way_out(
    project: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["gate", *arguments, *(COMMON if "--base" in arguments else ())])
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_what_is_not_committed_is_not_judged_and_that_is_noted(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    module = project / "ours.py"
    committed = module.read_text()
    module.write_text(f"{committed}# better\n")
    try:
        done = CliRunner().invoke(app, ["gate", "--base", "base", *COMMON, "--budget", "1"])
    finally:
        module.write_text(committed)
    assert "the working tree has changes that aren't in HEAD, and that are not judged" in done.output


def test_the_margins_of_the_project_are_those_of_interleaved_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bench.cli.time_margins import time_margins
    from bench.core.metric import Margins
    from bench.core.protocol import TimedPhase
    from bench.duel.sequential import MARGINS
    from bench.plan.gate import Gate, read_gate

    named = read_gate({"training": {"tolerance": "4 %"}}, "a test")
    assert time_margins(None, None, Gate(), TimedPhase.TRAIN) == MARGINS
    assert time_margins(None, None, named, TimedPhase.TRAIN) == Margins(0.04, 0.005)
    assert time_margins(None, None, named, TimedPhase.PREDICT) == MARGINS
    assert capsys.readouterr().err == "bench: times are judged by the margins of a test\n"
    assert time_margins("2", "1 %", named, TimedPhase.TRAIN) == Margins(0.02, 0.01)
    assert capsys.readouterr().err == ""
