"""`bench kernels --equal` with real kernels: what backends, kernels and runtimes compute is the same, and the mask too.

That of TensorFlow, with a mask and in XLA, is the command of the guide (`tests/real/test_readme.py`).
"""

from __future__ import annotations

import json

import pytest

from tests.real.test_real_runs import bench

pytestmark = pytest.mark.real


@pytest.mark.extra("jax")
@pytest.mark.extra("torch")
def test_jax_torch_and_torch_nn_give_the_outputs_and_gradients_of_the_equations() -> None:
    """A GRU in both directions: its gates stand in another order in torch.nn, and its biases are two."""
    options = "cells=gru backends=jax,torch kernels=auto runtimes=keras,torch.nn bidirectional=true masks=none"
    sets = [word for option in options.split() for word in ("--set", option)]
    done = bench("kernels", "--equal", *sets, "--format", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    how = [(each["backend"], each["runtime"]) for each in result["kernels"]]
    assert how == [("jax", "keras"), ("torch", "keras"), ("torch", "torch.nn")]
    assert all(each["equal"] and each["gradients"]["of"] for each in result["kernels"])
    assert len(result["pairs"]) == 3
    assert all(pair["equal"] for pair in result["pairs"])
    assert [each["configurations"] for each in result["left_out"]] == ["gru × jax × torch.nn"]


@pytest.mark.extra("torch")
def test_a_step_compiled_by_torch_gives_them_too() -> None:
    """Of as little as shows it: compiling takes the time."""
    options = (
        "cells=lstm backends=torch kernels=compiled runtimes=keras masks=none networks=single units=4 steps=1 "
        "features=3 batch_size=4 threads=1"
    )
    sets = [word for option in options.split() for word in ("--set", option)]
    done = bench("kernels", "--equal", *sets, "--format", "json")
    assert done.returncode == 0, done.stderr
    (compiled,) = json.loads(done.stdout)["kernels"]
    assert (compiled["kernel"], compiled["attested"], compiled["equal"]) == ("compiled", "compiled", True)
    assert compiled["gradients"]["of"]
