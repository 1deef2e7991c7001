"""What a user has set for Keras elsewhere must not change what a run measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

CODE = """
import json
import keras
from bench.catalog import dtypes
from bench.worker.session import pin_keras

def settings():
    config = keras.config
    return [config.floatx(), config.dtype_policy().name, config.epsilon(), config.image_data_format(),
            config.max_epochs(), config.max_steps_per_epoch()]

before = settings()
pin_keras(dtypes.find("float32"))
print(json.dumps([before, settings()]))
del keras.config.set_max_epochs, keras.config.set_max_steps_per_epoch  # as in Keras before 3.10
pin_keras(dtypes.find("float32"))
"""


def test_a_users_keras_json_and_limits_do_not_reach_a_run(tmp_path: Path) -> None:
    own = {"floatx": "float64", "epsilon": 0.5, "backend": "jax", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(own))
    limits = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "2"}
    environ = {**os.environ, **limits, "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environ, check=True)
    before, after = json.loads(done.stdout.splitlines()[-1])
    assert before == ["float64", "float64", 0.5, "channels_first", 1, 2]  # so the file and the limits were there
    assert after == ["float32", "float32", 1e-7, "channels_last", None, None]


BESIDE_ANOTHER = """
import json, random, sys
import keras
import numpy as np
from bench.core.case import Case
from bench.worker.session import start_session

def drawn_and_serialised():
    keras.utils.set_random_seed(3)
    keras.layers.Bidirectional(keras.layers.GRU(4))
    numbers = [random.random(), np.random.rand(), *map(float, keras.random.normal((2,)))]
    return [numbers, "tensorflow" in sys.modules]

if sys.argv[1] == "in a session":
    start_session(Case(cell="gru", backend=keras.config.backend()))
print(json.dumps(drawn_and_serialised()))
"""


@pytest.mark.parametrize("backend", [pytest.param(name, marks=pytest.mark.extra(name)) for name in ("jax", "torch")])
def test_keras_does_not_import_tensorflow_beside_another_backend_and_draws_the_same(backend: str) -> None:
    """Its import was two seconds of each run, and 480 MB of its memory."""

    def drawn(where: str) -> tuple[list[float], bool]:
        command = [sys.executable, "-c", BESIDE_ANOTHER, where]
        environ = {**os.environ, "KERAS_BACKEND": backend}
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
        numbers, imported = json.loads(done.stdout.splitlines()[-1])
        return numbers, imported

    (numbers, imported), (plain_numbers, imported_by_keras) = drawn("in a session"), drawn("plainly")
    assert numbers == plain_numbers
    assert (imported, imported_by_keras) == (False, True)
