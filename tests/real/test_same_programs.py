"""A program's digest says what it computes: the same in each process, whatever stands around the cell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.store import load
from tests.real.test_real_runs import TINY, bench

pytestmark = pytest.mark.real

CELL = """
import keras

class Cell(keras.layers.Layer):
    def __init__(self, units, activation):
        super().__init__()
        self.units = self.state_size = self.output_size = units
        self.activation = keras.activations.get(activation)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units))
        self.recurrent = self.add_weight(shape=(self.units, self.units))

    def call(self, x, states):
        state = self.activation(keras.ops.matmul(x, self.kernel) - keras.ops.matmul(states[0], self.recurrent))
        return state, [state]

def cell(units, activation, return_sequences, name):
    return keras.layers.RNN(Cell(units, activation), return_sequences=return_sequences, name=name)
"""
MOVED = '"""A docstring."""\nimport math\n\n\ndef unrelated(x):\n    return math.sin(x)\n\n\n' + CELL
SWAPPED = CELL.replace(" - keras.ops", " + keras.ops")


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.extra("jax"))])
def test_a_program_s_digest_is_that_of_what_it_computes(tmp_path: Path, backend: str) -> None:
    sources = {"plain": CELL, "moved": MOVED, "swapped": SWAPPED}
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    cells = ",".join(f"{name}:cell" for name in sources)
    settings = ["--set", f"cells={cells}", "--set", f"backends={backend}"]
    done = bench("run", *TINY, *settings, "--results", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = load([tmp_path / "out"], warn=pytest.fail).drop_duplicates("run_id")
    programs = {
        str(run.cell): {
            phase: {layer["artefact"] for layer in layers.values()}
            for phase, layers in json.loads(str(run.attestation_json)).items()
        }
        for run in runs.itertuples()
    }
    assert programs["moved:cell"] == programs["plain:cell"]
    assert set(programs["swapped:cell"]) == {"train", "evaluate"}
    for phase, digests in programs["swapped:cell"].items():
        assert digests.isdisjoint(programs["plain:cell"][phase])
