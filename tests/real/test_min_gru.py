"""minGRU as a scan and as a loop, in one model: the same numbers, and programs that show which is which."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.real

PROGRAM = """
import sys
import keras, numpy as np
from bench.catalog import kernels
from bench.worker.backends import load_backend
from bench.worker.evidence.programs import Scopes
from bench.worker.min_gru import min_gru

backend_name = sys.argv[1]
backend = load_backend(backend_name)
backend.configure("cpu", 1)
keras.utils.set_random_seed(7)

STEPS = 12
scan = min_gru(4, "tanh", True, "recurrent_a", kernels.find("parallel"))
loop = min_gru(4, "relu", False, "recurrent_b", kernels.find("generic"))
inputs = keras.Input((STEPS, 3))
model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(loop(scan(inputs))))
model.compile("sgd", "sparse_categorical_crossentropy")
x = np.random.default_rng(0).normal(size=(8, STEPS, 3)).astype("float32")
y = np.arange(8) % 2
backend.build_symbolically(model, x, y, 4)
model.fit(x, y, batch_size=4, verbose=0)
model.evaluate(x, y, batch_size=4, verbose=0)
by_scope = {"recurrent_a": scan, "recurrent_b": loop}
for phase, layers in backend.attest(model, by_scope, Scopes.of_names(tuple(by_scope), STEPS)).items():
    print("evidence", phase, layers["recurrent_a"].kernel, layers["recurrent_b"].kernel)

# the same weights, by the other kernel, the last step only and all of them
for layer in (scan, loop):
    peer = min_gru(4, "tanh" if layer is scan else "relu", layer is scan, "peer",
                   kernels.find("generic" if layer is scan else "parallel"))
    width = layer.cell.kernel.shape[0]
    z = np.random.default_rng(1).normal(size=(5, STEPS, width)).astype("float32")
    peer(z)
    peer.set_weights(layer.get_weights())
    difference = np.abs(keras.ops.convert_to_numpy(layer(z)) - keras.ops.convert_to_numpy(peer(z))).max()
    # float32: each value is a sum of at most STEPS terms below about 4
    assert difference <= STEPS * 4 * np.finfo("float32").eps, difference
    state = np.zeros((5, 4))
    kernel, bias = layer.get_weights()
    for t in range(STEPS):
        gate, candidate = np.split(z[:, t] @ kernel + bias, 2, axis=-1)
        gate = 1 / (1 + np.exp(-gate))
        candidate = np.tanh(candidate) if layer is scan else np.maximum(candidate, 0)
        state = (1 - gate) * state + gate * candidate
    last = keras.ops.convert_to_numpy(peer(z))
    assert np.allclose(last[:, -1] if layer is scan else last, state, atol=1e-5)
print("equal")
"""


@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        pytest.param("jax", marks=pytest.mark.extra("jax")),
        pytest.param("torch", marks=pytest.mark.extra("torch")),
    ],
)
def test_a_scan_and_a_loop_give_the_same_and_are_told_apart(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, backend],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *evidence, last = done.stdout.splitlines()[-3:]
    assert last == "equal"
    assert sorted(evidence) == ["evidence evaluate parallel generic", "evidence train parallel generic"]
