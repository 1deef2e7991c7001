"""Kinds of targets on each backend: what is scored is what is no padding, and a run keeps what belongs to its kind."""

from __future__ import annotations

import json
import os
import re
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

def unmasked(units, activation, return_sequences, name):
    import keras

    class Unmasked(keras.layers.GRU):
        def call(self, sequences, initial_state=None, mask=None, training=False):
            return super().call(sequences, initial_state=initial_state, training=training)

    return Unmasked(units, activation=activation, return_sequences=return_sequences, name=name)

def reads_padding(cell, task, units):
    import keras

    x = inputs = keras.Input((task.steps, task.features))
    return keras.Model(inputs, keras.layers.Dense(task.outputs)(cell(units, return_sequences=True)(x)))

def masks_padding(cell, task, units):
    import keras

    inputs = keras.Input((task.steps, task.features))
    x = keras.layers.Masking(task.mask_value)(inputs)
    return keras.Model(inputs, keras.layers.Dense(task.outputs)(cell(units, return_sequences=True)(x)))
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


def run_on_users_data(folder: Path, options: str) -> subprocess.CompletedProcess[str]:
    """`bench run quick` of a small network in `folder`, with the tasks, cells and networks of `MODULE`."""
    (folder / "my_set.py").write_text(MODULE)
    always = "units=4 seeds=0 epochs=1 batch_size=32"
    sets = [word for option in f"{always} {options}".split() for word in ("--set", option)]
    command = [sys.executable, "-c", "from bench.cli import main; main()", "run", "quick", *sets, "--results", "store"]
    environment = {**os.environ, "BENCH_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_layer_that_ignores_the_mask_makes_a_run_invalid(tmp_path: Path) -> None:
    done = run_on_users_data(tmp_path, "cells=my_set:unmasked tasks=my_set:words networks=single")
    assert done.returncode == 4, done.stderr
    (run,) = load([tmp_path / "store"]).query("phase == 'run'").to_dict("records")
    assert run["status"] == "invalid"
    assert "the mask is ignored: the loss of a batch is" in run["error"]


def test_a_users_network_has_to_mask_padding(tmp_path: Path) -> None:
    done = run_on_users_data(
        tmp_path, "cells=gru tasks=my_set:waves networks=my_set:reads_padding,my_set:masks_padding"
    )
    assert done.returncode == 4, done.stderr
    runs = load([tmp_path / "store"], phases=("run",)).set_index("network")
    assert runs["status"].to_dict() == {"my_set:reads_padding": "invalid", "my_set:masks_padding": "ok"}
    error = str(runs.loc["my_set:reads_padding", "error"])
    assert "a network has to mask it: keras.layers.Masking(task.mask_value)" in error


def test_a_users_data_go_through_a_run(tmp_path: Path) -> None:
    """Also those of the guide, by its two commands: its own factory, and a data set of aeon, whose files these are."""
    guide = (ROOT / "docs" / "guides" / "data.md").read_text()
    commands = re.findall(r"^bench run --set tasks=(\S+:\S+) --set networks=single --set seeds=0..4$", guide, re.M)
    assert commands == ["aeon:JapaneseVowels", "my_data:factory"]
    (factory,) = re.findall(r"```python\n# my_data.py\n(.*?)```", guide, re.S)
    (tmp_path / "my_data.py").write_text(factory)
    vowels = tmp_path / "aeon" / "datasets" / "data" / "JapaneseVowels"
    vowels.mkdir(parents=True)
    (tmp_path / "aeon" / "__init__.py").touch()
    for part in ("TRAIN", "TEST"):
        sequences = "1,2,3:4,5,6:a\n7,8:9,10:b\n" * 20
        (vowels / f"JapaneseVowels_{part}.ts").write_text(
            f"@univariate false\n@classLabel true a b\n@data\n{sequences}"
        )
    names = ",".join(("my_set:waves", "my_set:words", *commands))
    done = run_on_users_data(tmp_path, f"cells=gru tasks={names} networks=single")
    assert done.returncode == 0, done.stderr
    frame = load([tmp_path / "store"])
    assert set(frame["status"]) == {"ok"}
    evaluated = frame[frame["phase"] == "evaluate"].set_index("task")
    vowels_of_aeon, of_the_guide = (evaluated.loc[name] for name in commands)
    assert of_the_guide["mae"] > 0
    assert 0 <= vowels_of_aeon["accuracy"] <= 1
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
