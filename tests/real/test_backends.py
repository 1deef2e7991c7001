"""JAX and torch through the command line: what runs there, and what the evidence says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench.core.predictions import unpack
from bench.store import load
from tests.real.test_real_runs import TINY, bench

pytestmark = pytest.mark.real


def measured(out: Path, *arguments: str) -> pd.DataFrame:
    done = bench("run", *TINY, *arguments, "--results", str(out))
    assert done.returncode == 0, done.stderr
    frame = load([out], warn=pytest.fail)
    for run in frame[frame["phase"] == "evaluate"].itertuples():
        kept = unpack(str(run.test_predictions))
        assert (kept.predicted == kept.labels).mean() == pytest.approx(run.accuracy, abs=0.0015)
    return frame[frame["phase"] == "run"].set_index("kernel")


@pytest.mark.extra("jax")
def test_jax_loops_and_unrolls_and_the_loaded_programs_show_it(tmp_path: Path) -> None:
    runs = measured(
        *(tmp_path, "--set", "backends=jax", "--set", "kernels=auto,generic,unrolled", "--set", "cells=simple_rnn"),
        *("--set", "threads=1", "--set", "deterministic=true"),
    )
    expected = {"auto": "generic", "generic": "generic", "unrolled": "unrolled"}
    assert runs["attested_kernel"].to_dict() == expected
    evidence = json.loads(str(runs.loc["generic", "attestation_json"]))
    # in training, the forward loop and its transpose
    assert evidence["train"]["recurrent_a"]["operations"]["while"] == 2
    assert evidence["evaluate"]["recurrent_b"]["operations"]["while"] == 1
    settings = json.loads(str(runs.loc["unrolled", "extra_json"]))
    assert (settings["jit_compile"], settings["threads"], settings["op_determinism"]) == (True, 1, True)
    assert settings["recurrent_a"] == {"dtype": "float32", "use_cudnn": None, "unroll": True}


ONE_SEQUENCE = """
import keras
import numpy as np
from bench.worker.backends import load_backend
from bench.worker.evidence.programs import Scopes

STEPS = 5
backend = load_backend("jax")
backend.configure("cpu", 0)
inputs = keras.Input((STEPS, 3))
layers = {name: keras.layers.SimpleRNN(4, unroll=unroll, return_sequences=True, name=name)
          for name, unroll in (("recurrent_a", True), ("recurrent_b", False))}
model = keras.Model(inputs, layers["recurrent_b"](layers["recurrent_a"](inputs)))
infer = backend.compile_inference(model)
for batch in (1, 2):
    infer(np.ones((batch, STEPS, 3), "float32"))
shown = backend.attest(model, layers, Scopes.of_names(tuple(layers), STEPS))["compiled"]
print({name: evidence.kernel for name, evidence in shown.items()})
"""


@pytest.mark.extra("jax")
def test_products_of_one_sequence_have_no_name_in_jax_and_are_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_SEQUENCE], env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["{'recurrent_a': 'unrolled', 'recurrent_b': 'generic'}"], done.stderr


SYNCHRONISED = """
import numpy as np
from bench.worker.backends import load_backend

backend = load_backend("jax")
backend.configure("cpu", 0)
square = backend.array(np.ones((2048, 2048)), "float32")
product = backend.compiled(lambda a, b: a @ b)
product(square, square).block_until_ready()
for _ in range(5):
    result = product(square, square)
    backend.synchronise()
    assert result.is_ready()
"""


@pytest.mark.extra("jax")
def test_jax_has_finished_when_it_is_synchronised() -> None:
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", SYNCHRONISED], check=True, env=environment, timeout=120)


@pytest.mark.extra("torch")
def test_torch_runs_its_python_loop_and_the_profiler_shows_it(tmp_path: Path) -> None:
    runs = measured(
        *(tmp_path, "--set", "backends=torch", "--set", "kernels=auto,generic", "--set", "cells=lstm"),
        *("--set", "threads=1", "--set", "dtypes=mixed_bfloat16", "--set", "deterministic=true"),
    )
    assert list(runs["attested_kernel"]) == ["generic", "generic"]
    evidence = json.loads(str(runs.loc["generic", "attestation_json"]))
    assert evidence["train"]["recurrent_a"]["kernel"] == "generic"
    assert sum(evidence["evaluate"]["recurrent_b"]["operations"].values()) >= 28
    settings = json.loads(str(runs.loc["generic", "extra_json"]))
    assert (settings["threads"], settings["op_determinism"]) == (1, True)
    assert settings["recurrent_b"] == {"dtype": "bfloat16", "use_cudnn": False, "unroll": False}
    assert json.loads(str(runs.loc["auto", "extra_json"]))["recurrent_b"]["use_cudnn"] == "auto"
