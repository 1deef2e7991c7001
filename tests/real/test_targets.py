"""Kinds of targets on each backend: what is scored is what is no padding, and a run keeps what belongs to its kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import load

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
TARGETS = {"tensorflow": "class_per_step", "jax": "number_per_step", "torch": "class_per_step"}

MODULE = """
import numpy as np
import bench

def waves():
    random = np.random.default_rng(1)
    def some(count):
        for _ in range(count):
            wave = np.sin(np.arange(random.integers(5, 9)) * random.uniform(0.2, 1.0))[:, None]
            yield wave[:-1], wave[1:]
    return bench.TaskData(target="number_per_step", train=bench.Stream(some(64), 64), test=bench.Stream(some(20), 20))

def words():
    random = np.random.default_rng(2)
    def part(samples):
        x, lengths = random.integers(1, 30, (samples, 6)), random.integers(2, 7, samples)
        return x, (x[:, 0] > 15).astype(int), lengths
    return bench.TaskData(target="class", train=part(64), validation=part(12), test=part(20), embedding=4)
"""


@pytest.mark.parametrize("backend", [pytest.param(name, marks=pytest.mark.extra(name)) for name in TARGETS])
def test_scores_are_those_of_the_sequences_without_their_padding(backend: str) -> None:
    command = [sys.executable, "-m", "tests.real.masked_scores", TARGETS[backend]]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout.splitlines()[-1])
    # float32, and sums in another order
    assert scores["keras"] == pytest.approx(scores["by hand"], rel=2e-5)


def test_a_users_data_go_through_a_run(tmp_path: Path) -> None:
    (tmp_path / "my_set.py").write_text(MODULE)
    options = "cells=gru networks=single units=4 seeds=0 epochs=1 batch_size=32 tasks=my_set:waves,my_set:words"
    sets = [word for option in options.split() for word in ("--set", option)]
    command = [sys.executable, "-c", "from bench.cli import main; main()", "run", "quick", *sets, "--results", "store"]
    environment = {**os.environ, "BENCH_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    frame = load([tmp_path / "store"])
    assert set(frame["status"]) == {"ok"}
    evaluated = frame[frame["phase"] == "evaluate"].set_index("task")
    waves, words = evaluated.loc["my_set:waves"], evaluated.loc["my_set:words"]
    assert waves["mae"] > 0
    assert waves["r2"] <= 1
    assert waves["targets"] > waves["samples"] == 20
    assert 0 <= words["accuracy"] <= 1
    assert words["test_predictions"].startswith("p1 20 2 ")
    validated = frame[frame["phase"] == "validate"].set_index("task")["samples"]
    assert (validated["my_set:waves"], validated["my_set:words"]) == (20, 12)
    for row in (waves, words):
        assert "my_set" in row["code_json"]
        assert row["data_digest"] == json.loads(str(row["task_json"]))["digest"]
