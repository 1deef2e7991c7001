"""Each "can't" of the catalogue (`bench.catalog.support`, `bench.catalog.dtypes`), tried for real with plain Keras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real


def forced(backend: str) -> dict[str, Any]:
    """What came of it on one backend, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "forced.py")],
        env={**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


def of_every_backend(results: dict[str, Any]) -> None:
    # "Keras has no cuDNN path for SimpleRNN on any backend": it rejects the argument
    assert results["cudnn simple_rnn"] == "ValueError"
    # "squares of small gradients are 0 in float16"; "a weight's update is lost in bfloat16's 8 bits"
    assert results["square float16"] == "0.0"
    assert results["update bfloat16"] == "1.0"


def test_tensorflow() -> None:
    results = forced("tensorflow")
    of_every_backend(results)
    assert (results["cudnn lstm"], results["cudnn gru"]) == ("ValueError", "ValueError")  # "cuDNN runs on GPUs only"
    assert results["float64"][0] == "float64"
    # "for any batch Keras's loop needs operations that LiteRT's interpreter has not"
    assert (results["litert loop"], results["litert unrolled"]) == ("ConverterError", "True")


@pytest.mark.extra("jax")
def test_jax() -> None:
    results = forced("jax")
    of_every_backend(results)
    assert results["cudnn lstm"] not in ("True", "False")  # it raises
    assert results["cudnn gru"] == "True"  # "Keras's JAX backend has no cuDNN GRU": it computes the loop
    assert results["float64"][0] == "float32"  # "Keras computes parts of a float64 model in float32"
    assert results["jit_compile"] is True  # "JAX always compiles with XLA"


@pytest.mark.extra("torch")
def test_torch() -> None:
    results = forced("torch")
    of_every_backend(results)
    assert (results["cudnn lstm"], results["cudnn gru"]) == ("True", "True")  # it falls back to the loop
    assert results["float64"][0] == "float32"
    assert results["torch.compile"] == 1  # "there, jit_compile=True is torch.compile"
    assert results["graphs of torch.nn"] == 0  # "torch.compile leaves torch.nn's recurrent layers as they are"
    gru, simple_rnn = results["graph breaks"]
    assert gru == 0
    assert simple_rnn > 1  # "Keras's general loop over the steps, in which torch.compile breaks the graph"
    assert results["unroll is ignored"] is True
    # "know tanh only", "gates have sigmoid", "its reset gate after the product", "take no mask"
    for name in ("activation", "recurrent_activation", "reset_after", "mask"):
        assert results[f"torch.nn {name}"] == "TypeError", name
    # "carry no state from call to call", "drop nothing inside themselves"
    assert (results["torch.nn forgets"], results["torch.nn dropout"]) == ("True", "True")
