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
    # in training, the forward loop and its transpose; each for the full batch's program and for the partial one's
    assert evidence["train"]["recurrent_a"]["operations"]["while"] == 4
    assert evidence["evaluate"]["recurrent_b"]["operations"]["while"] == 2
    settings = json.loads(str(runs.loc["unrolled", "extra_json"]))
    assert (settings["jit_compile"], settings["threads"], settings["op_determinism"]) == (True, 1, True)
    assert settings["recurrent_a"] == {"dtype": "float32", "use_cudnn": None, "unroll": True}


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
