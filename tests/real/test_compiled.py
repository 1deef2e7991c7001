"""The kernel `compiled`: Keras's layers under torch.compile, attested from the graphs that a step executes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.store import load
from tests.real.test_real_runs import bench

pytestmark = pytest.mark.real

# as little as shows it: to compile it takes half a minute
TINY = (
    "kernels=compiled cells=lstm networks=single tasks=noise steps=2 features=3 units=4 batch_size=8 train_samples=16 "
    "epochs=1 seeds=0 backends=torch threads=1"
)


@pytest.mark.extra("torch")
def test_torch_compile_is_attested_and_its_graphs_are_counted(tmp_path: Path) -> None:
    sets = [word for option in TINY.split() for word in ("--set", option)]
    done = bench("run", "quick", *sets, "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    frame = load([tmp_path], warn=pytest.fail)
    (run,) = frame[frame["phase"] == "run"].to_dict("records")
    assert run["attested_kernel"] == "compiled"
    evidence = json.loads(run["attestation_json"])
    assert set(evidence) == {"train", "evaluate"}
    # a product of all inputs, and one with the state at each step
    assert all(layers["recurrent_a"]["operations"] == {"matmul": 3} for layers in evidence.values())
    settings = json.loads(run["extra_json"])
    assert settings["compiled_graphs"] >= 3
    assert [reason for reason, _ in settings["graph_breaks"]] == ["Unsupported Tensor.backward() call"]
    seconds = frame.groupby("phase", observed=True)["seconds"].max()
    assert seconds["compile"] > 10 * seconds["train"]
