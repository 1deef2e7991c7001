"""A platform engineer's day: a cell of their own, a commit that makes it slow and breaks its accuracy, and the gate.

Each command is one of the documentation's, with fewer units, seeds and process groups; what differs is so large that
these are enough on any machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import load
from tests.support.git import git

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
REDUCED = """
from dataclasses import replace
from functools import partial
from bench.duel import commit_gate, interleaved, procedure
interleaved._TRIAL_STEPS, procedure.MOST_GROUPS = 2, 6
procedure.InterleavedRunner = partial(interleaved.InterleavedRunner, fresh_servers=False, round_seconds=0.1)
gate = commit_gate.run_commit_gate
commit_gate.run_commit_gate = lambda settings, reporter: gate(
    replace(settings, duel=replace(settings.duel, rounds=2)), reporter
)
from bench.cli import main
main()
"""
LESS = ("units=8", "train_samples=320", "batch_size=40", "epochs=1", "seeds=0..2")
WIDER = """import keras


def small_gru(units, activation, return_sequences, name):
    wide = keras.layers.GRU(192, return_sequences=return_sequences, reset_after=False)
    return keras.Sequential([wide, keras.layers.Dense(units, activation)], name=name)
"""


def documented(page: str, beginning: str) -> list[str]:
    """The arguments of the first command of a page that begins so."""
    lines = (ROOT / page).read_text().splitlines()
    return next(line for line in lines if line.startswith(f"bench {beginning}")).split()[1:]


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REDUCED, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=1800,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The README's cell in a repository, and a branch on which it does far more work."""
    cell = re.search(r"```python\n# my_cells.py\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert cell
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q", "-b", "main")
    for text, subject in ((cell[1], "Our GRU"), (WIDER, "A wider state")):
        (project / "my_cells.py").write_text(text)
        (project / ".gitignore").write_text("results/\n")
        git(project, "add", "-A")
        git(project, "commit", "-qm", subject)
        if subject == "Our GRU":
            git(project, "switch", "-qc", "wider")
    return project


def test_a_pull_request_that_makes_a_cell_slower_is_red(project: Path) -> None:
    ours = ("--set", "cells=my_cells:small_gru")
    kernels = bench(project, *documented("README.md", "kernels"), *ours)
    assert "my_cells:small_gru" in kernels.stdout, kernels.stderr

    command = documented("docs/guides/gate.md", "gate --base main")
    assert command[:-2] == ["gate", "--base", "main", "--head", "HEAD"]
    assert command[-1] == "cells=gru,my_cells:small_gru"
    reduced = [part for setting in LESS for part in ("--set", setting)]
    done = bench(project, *command[:-1], ours[1], *reduced, "--format", "json")
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    verdicts = {finding["metric"]: finding["verdict"] for finding in document["findings"]}
    assert (done.returncode, verdicts["train_seconds"]) == (1, "slower"), done.stderr
    assert {"accuracy", "loss", "memory_bytes"} <= set(verdicts)
    assert [commit["subject"] for commit in document["commits"].values()] == ["Our GRU", "A wider state"]
    a, b = document["duel"]["sides"].values()
    assert (a["attested_kernel"], b["attested_kernel"]) == ("generic", "generic")
    assert a["parameters"] < b["parameters"]
    assert git(project, "status", "--porcelain") == ""

    # each run has its commit's own code, and the store is like any other
    runs = load([project / "results" / "local"]).drop_duplicates("run_id")
    assert sorted(runs.groupby("project_commit", observed=True)["parameters"].unique().map(list)) == sorted(
        [[a["parameters"]], [b["parameters"]]]
    )
    assert set(runs["status"]) == {"ok"}
    history = bench(project, "history", "results/local", "--metric", "accuracy")
    assert "A wider state" in history.stdout, history.stderr
    shown = bench(project, "show", "last", "--results", "results/local")
    assert "my_cells" in shown.stdout, shown.stderr
