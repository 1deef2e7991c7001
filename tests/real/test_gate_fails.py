"""The gate can fail: real regressions, committed to a temporary clone and measured there, each with its exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import ExitCode

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]

BASE = """
import keras


def cell(units, activation, return_sequences, name):
    return keras.layers.SimpleRNN(units, return_sequences=return_sequences, name=name)
"""
# A recurrence of much more arithmetic, and weights that are all zero, which learn no more than frequencies.
NEW = """
import keras


def cell(units, activation, return_sequences, name):
    zeros = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
    wide = keras.layers.SimpleRNN(512, return_sequences=return_sequences, **zeros)
    return keras.Sequential([wide, keras.layers.Dense(units, kernel_initializer="zeros")], name=name)
"""
# It can be built, so the run begins.
CRASHING = """
import keras


class Crashing(keras.layers.SimpleRNN):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        if training:
            raise RuntimeError("a bug of this commit")
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)


def cell(units, activation, return_sequences, name):
    return Crashing(units, return_sequences=return_sequences, name=name)
"""
ONLY_TIME = """[gate]
drift = "20 %"
accuracy = { tolerance = "100 points" }
loss = { tolerance = "1e4 %" }
memory = { tolerance = "1e4 %" }
"""
ONLY_ACCURACY = """[gate]
drift = "20 %"
training = { tolerance = "1e8 %" }
compile = { tolerance = "1e8 %" }
memory = { tolerance = "1e4 %" }
"""
# Untuned input, with which no epoch waits for the end of TensorFlow's iterator, so that two of them are enough.
LESS = [
    word
    for option in ("units=16", "train_samples=640", "batch_size=40", "epochs=2", "learning_rate=0.02", "steady=true")
    for word in ("--set", option)
]
CELL = ["--set", "cells=my_cells:cell"]


@dataclass
class Clone:
    """A clone of this repository, with a cell of a user's own."""

    folder: Path

    def bench(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from bench.cli import main; main()", *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=600,
        )

    def commit(self, cells: str) -> None:
        (self.folder / "my_cells.py").write_text(cells)
        who = ["-c", "user.name=a test", "-c", "user.email=test@example.com"]
        for command in (["add", "my_cells.py"], [*who, "commit", "-qm", "my cells"]):
            subprocess.run(["git", *command], cwd=self.folder, check=True)

    def measure(self, results: str, *sets: str) -> subprocess.CompletedProcess[str]:
        return self.bench("run", "quick", *LESS, *sets, "--results", results)

    def gate(self, base: str, new: str, margins: str = "") -> tuple[int, dict[str, Any]]:
        (self.folder / "margins.toml").write_text(margins or "[gate]\n")
        itself = ["--self"] if base == new else []
        done = self.bench("gate", base, new, "--format", "json", "--margins", "margins.toml", *itself)
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout else {}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """With the base measured as `old`, the regressions as `new`, and a crash as `crashed`."""
    made = Clone(tmp_path_factory.mktemp("clone") / "project")
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(made.folder)], check=True)
    for cells, results in ((BASE, "old"), (NEW, "new")):
        made.commit(cells)
        done = made.measure(results, *CELL, "--set", "seeds=0..4")
        assert done.returncode == ExitCode.OK, done.stderr
    made.commit(CRASHING)
    crashed = made.measure("crashed", *CELL, "--set", "seeds=0")
    assert crashed.returncode == ExitCode.RUNS_FAILED, crashed.stderr
    return made


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {one["metric"] or "runs": one["verdict"] for one in document["findings"]}


def test_a_slower_cell_is_a_regression(clone: Clone) -> None:
    code, document = clone.gate("old", "new", ONLY_TIME)
    assert verdicts(document)["train_seconds"] == "slower"
    assert verdicts(document)["accuracy"] == "same"
    assert code == ExitCode.REGRESSION
    assert document["base"]["project_commits"] != document["new"]["project_commits"]


def test_a_broken_initialiser_is_a_regression(clone: Clone) -> None:
    code, document = clone.gate("old", "new", ONLY_ACCURACY)
    assert verdicts(document)["accuracy"] == "worse"
    assert verdicts(document)["train_seconds"] == "same"
    assert code == ExitCode.REGRESSION


def test_the_base_against_itself_is_green(clone: Clone) -> None:
    assert clone.gate("old", "old")[0] == ExitCode.OK


def test_a_crash_is_a_failure(clone: Clone) -> None:
    code, document = clone.gate("old", "crashed")
    assert code == ExitCode.RUNS_FAILED
    assert verdicts(document) == {"runs": "failed"}


def test_a_deleted_base_is_not_green(clone: Clone) -> None:
    shutil.rmtree(clone.folder / "old")
    assert clone.gate("old", "new") == (ExitCode.NO_VERDICT, {})
