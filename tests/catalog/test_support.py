"""bench.catalog.support: whether a case can run here, and why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.catalog.backends import BACKENDS
from bench.catalog.support import (
    kernel_refusal,
    missing,
    option_refusal,
    probe_refusal,
    refusal,
    runtime_refusal,
)
from bench.core.case import Case
from tests.support.hosts import a_host


def test_torch_compile_needs_what_it_compiles_with() -> None:
    compiled = Case(cell="lstm", backend="torch", kernel="compiled", network="cudnn_ready")
    offered: dict[str, Any] = {"backends": dict.fromkeys(BACKENDS), "runtimes": {"torch.nn": None}}
    without = a_host(**offered, compile_problem=lambda device: "g++ is not here")
    assert refusal(compiled, a_host(**offered)) is None
    assert refusal(compiled, without) == probe_refusal(compiled, without) == missing(compiled, without)
    assert refusal(compiled, without) == "g++ is not here"
    assert refusal(replace(compiled, kernel="generic"), without) is None
    assert "TorchDynamo traces none of them" in (refusal(replace(compiled, runtime="torch.nn"), without) or "")


def test_what_the_host_lacks_comes_first() -> None:
    """The backend, then the device, then what no host could do."""
    impossible = Case(cell="simple_rnn", kernel="cudnn", device="gpu:0", runtime="torch.nn")
    no_gpu: dict[str, Any] = {"device_problem": lambda device: f"{device}: no GPU here"}
    assert refusal(impossible, a_host(backends={"tensorflow": "not installed"}, **no_gpu)) == "not installed"
    assert refusal(impossible, a_host(**no_gpu)) == "gpu:0: no GPU here"
    assert "needs the backend torch" in (refusal(impossible, a_host()) or "")
    exported = Case(cell="lstm", runtime="onnxruntime", latency_calls=1)
    assert refusal(exported, a_host(runtimes={"onnxruntime": "onnx is not installed"})) == "onnx is not installed"
    assert "no cuDNN path" in (refusal(Case(cell="simple_rnn", kernel="cudnn"), a_host()) or "")
    assert refusal(Case(cell="lstm"), a_host()) is None


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"backend": "jax", "kernel": "xla"}, "JAX always compiles with XLA"),
        (
            {"backend": "torch", "kernel": "xla"},
            "jit_compile=True is torch.compile, which is the kernel compiled",
        ),
        ({"backend": "jax", "kernel": "compiled"}, "torch.compile is torch's alone: JAX always compiles"),
        ({"kernel": "compiled", "backend": "torch", "cell": "simple_rnn"}, "simple_rnn takes Keras's general loop"),
        ({"kernel": "compiled", "backend": "torch", "mask": "gaps"}, "mask=gaps takes Keras's general loop"),
        ({"kernel": "compiled", "backend": "torch", "recurrent_dropout": 0.1}, "recurrent_dropout=0.1 takes Keras's"),
        (
            {"kernel": "compiled", "backend": "torch", "cell": "gru", "reset_after": False},
            "reset_after=false takes Keras's general loop over the steps, in which torch.compile breaks the graph",
        ),
        ({"kernel": "compiled"}, "torch.compile is torch's alone: on tensorflow ask for the kernel xla"),
        ({"backend": "torch", "kernel": "unrolled"}, "Keras on torch ignores unroll"),
        ({"cell": "simple_rnn", "kernel": "cudnn", "device": "gpu:0"}, "no cuDNN path for SimpleRNN"),
        ({"cell": "gru", "kernel": "cudnn", "device": "gpu:0", "backend": "jax"}, "no cuDNN GRU"),
        ({"kernel": "cudnn"}, "the device is cpu"),
        (
            {"kernel": "cudnn", "device": "gpu:0"},
            "the second layer's relu rules cuDNN out: layer 1 only; use the network cudnn_ready",
        ),
        ({"dtype": "float16"}, "use mixed_float16"),
        ({"dtype": "int8"}, "ask for --set runtimes=litert"),
        ({"dtype": "float64", "backend": "jax"}, "parts of a float64 model in float32 on jax: use tensorflow"),
        ({"dtype": "float64", "backend": "torch"}, "in float32 on torch"),
        ({"dtype": "bfloat16", "backend": "jax"}, "use mixed_bfloat16"),
        (
            {
                **{"kernel": "cudnn", "device": "gpu:0", "network": "cudnn_ready"},
                **{"backend": "jax", "dtype": "mixed_bfloat16"},
            },
            "JAX's cuDNN LSTM has no half precision",
        ),
        ({"device": "gpu:0", "backend": "jax", "dtype": "mixed_float16"}, "Keras picks it all the same: use generic"),
        ({"tf32": "on"}, "TF32 is a format of an NVIDIA GPU's tensor cores, and the device is cpu"),
        (
            {"tf32": "off", "device": "gpu:0", "dtype": "mixed_float16", "backend": "torch"},
            "TF32 stands in for float32, and with mixed_float16 layers compute in float16: set tf32=default",
        ),
        ({"kernel": "parallel"}, "no scan can compute: parallel is for cells like min_gru"),
        ({"kernel": "cudnn", "device": "gpu:0", "cell": "min_gru"}, "cuDNN has no minGRU"),
    ],
)
def test_a_kernel_that_cannot_be_had_has_its_reason(axes: dict[str, Any], reason: str) -> None:
    assert reason in (kernel_refusal(Case(**{"cell": "lstm", **axes})) or "")


@pytest.mark.parametrize(
    "axes",
    [
        {"kernel": "cudnn", "device": "gpu:0", "network": "cudnn_ready"},
        {"kernel": "unrolled", "backend": "jax"},
        {"tf32": "on", "device": "gpu:0"},
        {"kernel": "xla"},
        {"backend": "torch", "kernel": "generic"},
        {"dtype": "mixed_float16"},
        {"dtype": "float64"},
        {"kernel": "compiled", "backend": "torch"},
        {"kernel": "compiled", "backend": "torch", "device": "gpu:0", "network": "cudnn_ready"},
        {"kernel": "parallel", "cell": "min_gru"},
        {"kernel": "xla", "cell": "min_gru"},
        {"kernel": "parallel", "cell": "my_cells:lru"},
        {"device": "gpu:0", "backend": "jax", "dtype": "mixed_float16", "kernel": "generic"},
        {"device": "gpu:0", "backend": "torch", "dtype": "mixed_float16", "kernel": "cudnn", "network": "cudnn_ready"},
    ],
)
def test_a_kernel_that_can_be_had_is_not_refused(axes: dict[str, Any]) -> None:
    assert kernel_refusal(Case(**{"cell": "lstm", **axes})) is None


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (Case(cell="lstm", kernel="cudnn"), "NVIDIA GPUs only, and the device is cpu"),
        (Case(cell="lstm", kernel="cudnn", device="gpu:1"), "relu rules cuDNN out"),
        (Case(cell="simple_rnn", kernel="cudnn", device="gpu:0", network="cudnn_ready"), "no cuDNN path for SimpleRNN"),
        (Case(cell="lstm", kernel="cudnn", device="gpu:0", network="cudnn_ready"), None),
        (Case(cell="mine:factory", kernel="cudnn", device="gpu:0", network="cudnn_ready"), None),
        *((Case(cell="lstm", kernel=kernel), None) for kernel in ("auto", "generic", "unrolled", "xla")),
    ],
)
def test_kernels_that_cannot_be_had(case: Case, said: str | None) -> None:
    reason = kernel_refusal(case)
    assert reason is None if said is None else said in (reason or "")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"runtime": "onnxruntime", "backend": "jax"}, "needs the backend tensorflow"),
        ({"runtime": "onnxruntime", "device": "gpu:0"}, "on the CPU here, and the device is gpu:0"),
        ({"runtime": "onnxruntime", "latency_calls": 0}, "--set latency_calls=500"),
        ({"runtime": "onnxruntime", "dtype": "mixed_bfloat16"}, "float32 and float64 only"),
        ({"runtime": "onnxruntime", "kernel": "xla"}, "leaves XLA behind"),
        ({"runtime": "onnxruntime", "kernel": "generic"}, "one fused LSTM node"),
        ({"runtime": "onnxruntime", "cell": "min_gru"}, "scan's export is not attested"),
        ({"runtime": "litert", "backend": "jax"}, "needs the backend tensorflow"),
        ({"runtime": "litert", "device": "gpu:0"}, "on the CPU here, and the device is gpu:0"),
        ({"runtime": "litert", "latency_calls": 0}, "--set latency_calls=500"),
        ({"runtime": "litert", "cell": "my_cells:lstm"}, "not for your own"),
        ({"runtime": "litert", "dtype": "float64"}, "float32 and int8 only, not in float64"),
        (
            {"runtime": "litert", "kernel": "generic"},
            "that LiteRT's interpreter has not: ask for auto, or unrolled",
        ),
        ({"runtime": "litert", "mask": "right"}, "without options, and not with mask=right"),
        ({"runtime": "torch.nn", "cell": "min_gru"}, "min_gru has no peer there"),
        ({"runtime": "torch.nn", "backend": "tensorflow"}, "needs the backend torch"),
        ({"runtime": "torch.nn", "network": "notebook"}, "use the network cudnn_ready"),
        ({"runtime": "torch.nn", "cell": "my_cells:lstm"}, "has no peer there"),
        ({"runtime": "torch.nn", "kernel": "unrolled"}, "picks its kernel by itself: ask for the kernel auto"),
        ({"runtime": "torch.nn", "kernel": "cudnn"}, "picks its kernel by itself: ask for the kernel auto"),
        ({"runtime": "torch.nn", "dtype": "mixed_float16"}, "float32 and float64 here"),
        ({"runtime": "torch.nn", "recurrent_dropout": 0.1}, "drop nothing inside themselves"),
        ({"runtime": "torch.nn", "dropout": 0.1}, "drop nothing inside themselves"),
        ({"runtime": "torch.nn", "mask": "right"}, "take no mask"),
        ({"runtime": "torch.nn", "stateful": True}, "carry no state"),
        ({"runtime": "torch.nn", "cell": "gru", "reset_after": False}, "its reset gate after the product"),
        ({"runtime": "torch.nn", "recurrent_activation": "relu"}, "gates have sigmoid"),
        ({"runtime": "torch.nn", "activation": "relu"}, "know tanh only"),
        ({"runtime": "onnxruntime", "bidirectional": True}, "without options, and not with bidirectional=true"),
    ],
)
def test_what_a_runtime_cannot_do_has_its_reason(asked: dict[str, Any], reason: str) -> None:
    possible: dict[str, dict[str, Any]] = {
        "onnxruntime": {"latency_calls": 500},
        "litert": {"latency_calls": 500},
        "torch.nn": {"backend": "torch", "network": "cudnn_ready"},
    }
    assert reason in (runtime_refusal(Case(**{"cell": "lstm", **possible[asked["runtime"]], **asked})) or "")


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        (
            {"cell": "my:cell", "recurrent_dropout": 0.2},
            "recurrent_dropout=0.2 is an option of Keras's layers",
        ),
        ({"cell": "min_gru", "bias": False}, "bias=false is an option of Keras's layers"),
        ({"reset_after": False}, "only a GRU has reset_after"),
        ({"cell": "simple_rnn", "recurrent_activation": "relu"}, "SimpleRNN has no gates"),
        ({"stateful": True, "backend": "jax"}, "Keras on JAX carries no state"),
        ({"stateful": True, "backend": "torch"}, "can't train a stateful LSTM or GRU on its fast path"),
        ({"stateful": True, "latency_calls": 1, "batch_size": 40}, "set latency_calls=0"),
        (
            {"stateful": True, "task": "mnist_5k"},
            "batches of 32 don't divide 4,000 training and 1,000 test samples: set batch_size=25",
        ),
        ({"stateful": True, "task": "mnist_5k", "train_samples": 900, "batch_size": 64}, "set batch_size=50"),
    ],
)
def test_an_option_that_cannot_be_had_has_its_reason(axes: dict[str, Any], reason: str) -> None:
    case = Case(**{"cell": "lstm", **axes})
    host = a_host(backends={"tensorflow": None, "jax": None, "torch": None})
    assert reason in (refusal(case, host) or "")
    assert probe_refusal(case, host) == option_refusal(case)


@pytest.mark.parametrize(
    "axes",
    [
        {"cell": "my:cell", "layers": 3, "activation": "elu"},
        {"cell": "min_gru", "layers": 3, "activation": "elu"},
        {"cell": "gru", "reset_after": False, "bias": False, "recurrent_activation": "relu", "activation": "elu"},
        {"cell": "simple_rnn", "bidirectional": True, "mask": "gaps", "dropout": 0.1, "recurrent_dropout": 0.1},
        {"stateful": True, "task": "mnist_5k", "batch_size": 40, "backend": "torch", "kernel": "generic"},
        {"stateful": True, "task": "mnist_5k", "batch_size": 40, "backend": "torch", "cell": "simple_rnn"},
    ],
)
def test_an_option_that_can_be_had_is_not_refused(axes: dict[str, Any]) -> None:
    assert refusal(Case(**{"cell": "lstm", **axes}), a_host(backends={"tensorflow": None, "torch": None})) is None


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        (
            {"recurrent_dropout": 0.25},
            "recurrent_dropout=0.25 rules cuDNN out: where it isn't 0 Keras takes the loop, in evaluation and",
        ),
        ({"bias": False}, "bias=false rules cuDNN out"),
        ({"recurrent_activation": "relu"}, "recurrent_activation=relu rules cuDNN out: its gates have sigmoid"),
        ({"activation": "relu", "network": "notebook"}, "activation=relu rules cuDNN out: its kernels have tanh"),
        ({"cell": "gru", "reset_after": False}, "reset_after=false rules cuDNN out"),
        ({"mask": "gaps"}, "mask=gaps rules cuDNN out: TensorFlow's cuDNN takes right padding alone"),
        ({"mask": "gaps", "kernel": "auto"}, "Keras on TensorFlow picks it all the same: the run ends; use generic"),
        ({"mask": "right", "backend": "torch"}, "mask=right rules cuDNN out: Keras takes the loop on torch wherever"),
        ({"layers": 9, "network": "notebook"}, "the second layer's relu rules cuDNN out"),
    ],
)
def test_the_option_that_rules_cudnn_out_is_named(axes: dict[str, Any], reason: str) -> None:
    case = Case(**{"cell": "lstm", "kernel": "cudnn", "device": "gpu:0", "network": "cudnn_ready", **axes})
    assert reason in (kernel_refusal(case) or "")


@pytest.mark.parametrize(
    "axes",
    [
        {"activation": "tanh", "network": "notebook"},
        {"mask": "right"},
        {"mask": "gaps", "kernel": "generic"},
        {"mask": "gaps", "kernel": "auto", "bias": False},
        {"dropout": 0.5, "bidirectional": True, "stateful": True, "layers": 4, "recurrent_activation": "sigmoid"},
    ],
)
def test_options_that_cudnn_can_have(axes: dict[str, Any]) -> None:
    case = Case(**{"cell": "lstm", "kernel": "cudnn", "device": "gpu:0", "network": "cudnn_ready", **axes})
    assert kernel_refusal(case) is None


def test_what_a_runtime_can_do_is_not_refused() -> None:
    native: dict[str, Any] = {"runtime": "torch.nn", "backend": "torch", "network": "cudnn_ready"}
    for asked in (
        {"cell": "my_cells:lstm", "backend": "jax", "kernel": "unrolled"},
        {"cell": "lstm", "runtime": "onnxruntime", "latency_calls": 1},
        {"cell": "gru", "runtime": "onnxruntime", "latency_calls": 1, "kernel": "generic"},
        {"cell": "lstm", "runtime": "onnxruntime", "latency_calls": 1, "kernel": "unrolled"},
        {"cell": "gru", **native},
        {"cell": "gru", **native, "network": "notebook", "activation": "tanh"},
        {"cell": "lstm", **native, "bidirectional": True, "bias": False, "layers": 3},
        {"cell": "lstm", "runtime": "onnxruntime", "latency_calls": 1, "layers": 3},
        {"cell": "lstm", **native, "device": "gpu:0", "kernel": "cudnn"},
    ):
        assert runtime_refusal(Case(**asked)) is None


def test_what_a_probe_can_try() -> None:
    """What Keras's rules refuse is tried all the same, since a probe tests them; what has no switch is not."""
    host = a_host(backends={"tensorflow": None, "torch": None})
    tried = {
        (kernel, backend, cell): probe_refusal(Case(cell=cell, kernel=kernel, backend=backend), host) is None
        for kernel in ("unrolled", "xla", "cudnn")
        for backend in ("tensorflow", "torch")
        for cell in ("simple_rnn", "gru")
    }
    assert {configuration for configuration, can in tried.items() if not can} == {
        ("xla", "torch", "simple_rnn"),
        ("xla", "torch", "gru"),
        ("cudnn", "tensorflow", "simple_rnn"),
        ("cudnn", "torch", "simple_rnn"),
    }
    for hopeless in ({"dtype": "float16"}, {"runtime": "torch.nn"}, {"runtime": "onnxruntime"}):
        asked: dict[str, Any] = {"cell": "lstm", **hopeless}
        assert probe_refusal(Case(**asked), host) is not None
    assert probe_refusal(Case(cell="lstm"), a_host(device_problem=lambda device: "hidden")) == "hidden"
