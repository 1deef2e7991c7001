"""Each "can't" of the catalogue (`bench.catalog.support`, `bench.catalog.dtypes`), tried for real with plain Keras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real


@cache
def forced(backend: str) -> dict[str, Any]:
    """What came of it on one backend, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "forced.py")],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "KERAS_BACKEND": backend,
            "OMP_NUM_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        },
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
    assert results["stateful"] == "True"  # "in its first batch a stateful layer computes what any other does"
    *read_back, objection = results["tf32"]
    assert read_back[1:] == [True, False]
    assert objection.startswith("asked for tf32=on, but ")


def has_read_the_profile(results: dict[str, Any]) -> None:
    """The recorded one of a card, and one of its own of the processor."""
    *kernels, of_the_processor = results["card kernels"]
    persistent, product = "RNN_blockPersist_fp_LSTM<float, float, float, 128>", "cutlass_80_tensorop_s1688gemm_128x256"
    backward = "gradient_tape/functional/recurrent_b_1/CudnnRNNBackpropV3:CudnnRNNBackpropV3"
    assert kernels == [
        [persistent, "functional/recurrent_a_1/CudnnRNNV3:CudnnRNNV3", ""],
        [persistent, "", "custom-call.36"],
        [product, backward, ""],
        [product, "", "dot.1"],
        ["loop_add_fusion", "", "fusion.2"],
    ]
    assert of_the_processor[0] == "True"


def test_tensorflow() -> None:
    results = forced("tensorflow")
    of_every_backend(results)
    has_read_the_profile(results)
    assert (results["cudnn lstm"], results["cudnn gru"]) == ("ValueError", "ValueError")  # "cuDNN runs on GPUs only"
    assert results["float64"][0] == "float64"
    assert results["tf32"][0] is True  # "JAX and TensorFlow take TF32 for every product"
    # "for any batch Keras's loop needs operations that LiteRT's interpreter has not"
    assert (results["litert loop"], results["litert unrolled"]) == ("ConverterError", "True")
    assert results["deterministic XLA"] is False  # "does not compile with XLA under op determinism"
    assert results["second card"] == ["/physical_device:GPU:1", "1", 4096.0, 4 << 30]
    assert 0 < results["large numbers"] < 1e-6  # which are allowed 1e-5 of the largest


@pytest.mark.extra("jax")
def test_jax() -> None:
    results = forced("jax")
    of_every_backend(results)
    has_read_the_profile(results)
    assert results["cudnn lstm"] not in ("True", "False")  # it raises
    assert results["cudnn gru"] == "True"  # "Keras's JAX backend has no cuDNN GRU": it computes the loop
    assert results["float64"][0] == "float32"  # "Keras computes parts of a float64 model in float32"
    assert results["jit_compile"] is True  # "JAX always compiles with XLA"
    assert results["tf32"][0] is None
    assert results["tf32 in cudnn"] is False  # cuDNN's LSTM goes by the precision of products
    # "JAX's cuDNN LSTM has no half precision, and Keras picks it all the same"
    assert results["for CUDA"] == {"float32": "True", "float16": "ValueError", "bfloat16": "ValueError"}


@pytest.mark.extra("torch")
def test_torch() -> None:
    results = forced("torch")
    of_every_backend(results)
    assert (results["cudnn lstm"], results["cudnn gru"]) == ("True", "True")  # it falls back to the loop
    assert results["float64"][0] == "float32"
    assert results["torch.compile"] == 1  # "there, jit_compile=True is torch.compile"
    assert results["graphs of torch.nn"] == 0  # "torch.compile leaves torch.nn's recurrent layers as they are"
    breaks = results["graph breaks"]
    assert breaks.pop("gru") == 0
    # "takes Keras's general loop over the steps, in which torch.compile breaks the graph"
    assert set(breaks) == {"simple_rnn", "recurrent_dropout", "reset_after", "mask", "min_gru"}
    assert all(breaks.values()), breaks
    assert results["unroll is ignored"] is True
    assert results["tf32"][0] is None  # "torch for cuDNN's kernels and not for others"
    assert results["tf32 in cudnn"] == "none"  # it goes by the general setting, which is full precision
    assert results["second card"] == [1, 0.45]  # it is what is synchronised, and whose memory is read
    # "know tanh only", "gates have sigmoid", "its reset gate after the product", "take no mask", "picks its kernel by"
    for name in ("activation", "recurrent_activation", "reset_after", "mask", "kernel"):
        assert results[f"torch.nn {name}"] == "TypeError", name
    # "carry no state from call to call", "drop nothing inside themselves"
    assert (results["torch.nn forgets"], results["torch.nn dropout"]) == ("True", "True")
    assert results["without a compiler"] == "InductorError"  # "torch.compile needs a C++ compiler"
    before, after, shapes = results["compiled anew"]
    assert (before, after) == (1, 2)
    assert shapes == ": for arguments of the shapes 32 × ? × 3, where until then they were 32 × 5 × 3"


@pytest.mark.extra("jax")
@pytest.mark.extra("torch")
def test_each_backend_drops_in_its_own_way() -> None:
    """From the processes of the tests before: "what is dropped is drawn by each backend in its own way"."""
    drawn = {tuple(forced(backend)["dropout"]) for backend in ("tensorflow", "jax", "torch")}
    assert len(drawn) == 3
