"""Whether a case can run here, and why not: the one rule, for plans, `bench verify` and `bench kernels`.

What holds on any machine is read off Keras 3.15 (`backend/*/rnn.py`) and the runtimes; these are assumptions, good for
planning: what really ran is read from the executed program (`bench.worker`). What this machine has comes as data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.catalog import dtypes, networks, tasks
from bench.catalog.cells import BUILT_IN
from bench.core.case import Case

_CUDNN_HAS_NO_MIN_GRU = "cuDNN has no minGRU"
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a host offers. `bench.host.capabilities` reads this one's."""

    backends: Mapping[str, str | None]
    """By backend: why it can't be used; None where it can."""
    runtimes: Mapping[str, str | None]
    """By runtime: the same."""
    device_problem: Callable[[str], str | None]
    """Why a device can't be used; None where it can."""


def refusal(case: Case, host: Capabilities) -> str | None:
    """Why this case can't run on this host, as a sentence without its full stop; None where it can."""
    return (
        host.backends[case.backend]
        or host.device_problem(case.device)
        or runtime_refusal(case)
        or host.runtimes.get(case.runtime)
        or kernel_refusal(case)
    )


def probe_refusal(case: Case, host: Capabilities) -> str | None:
    """Why nothing can be learnt from trying this configuration; None where it can be tried, be it in vain.

    Keras's rules are what a probe tests, so they don't rule one out: only what can't even be asked for does.
    """
    if case.kernel == "xla" and case.backend != "tensorflow":
        return f"Keras has no switch for XLA on {case.backend}"
    if case.kernel == "cudnn" and case.cell == "simple_rnn":
        return "Keras's SimpleRNN rejects use_cudnn"
    if case.kernel == "cudnn" and case.cell == "min_gru":
        return _CUDNN_HAS_NO_MIN_GRU
    if case.kernel == "parallel":
        return _scan_refusal(case)
    return (
        host.backends[case.backend]
        or host.device_problem(case.device)
        or runtime_refusal(case)
        or host.runtimes.get(case.runtime)
        or dtypes.find(case.dtype).problem
    )


def kernel_refusal(case: Case) -> str | None:
    """Why Keras has not this kernel for this cell, backend, device, network and dtype; None where it has."""
    return (
        dtypes.find(case.dtype).problem
        or _double_precision_refusal(case)
        or (_cudnn_refusal(case) if case.kernel == "cudnn" else _switch_refusal(case))
        or _half_precision_refusal(case)
    )


def runtime_refusal(case: Case) -> str | None:
    """Why this case can't be had of its runtime; None where it can."""
    match case.runtime:
        case "onnxruntime":
            return _onnx_refusal(case)
        case "torch.nn":
            return _torch_refusal(case)
    return None


def _switch_refusal(case: Case) -> str | None:
    if case.kernel == "parallel":
        return _scan_refusal(case)
    if case.kernel == "xla" and case.backend == "jax":
        return "JAX always compiles with XLA: its generic kernel is the loop under XLA"
    if case.kernel == "xla" and case.backend == "torch":
        return "torch is not compiled with XLA: there, jit_compile=True is torch.compile"
    if case.kernel == "unrolled" and case.backend == "torch":
        return "Keras on torch ignores unroll: the generic kernel runs the same operations"
    return None


def _scan_refusal(case: Case) -> str | None:
    if case.cell in BUILT_IN and not BUILT_IN[case.cell].scannable:
        return (
            "the cell multiplies its state by a matrix and activates it at each step, which no scan can compute: "
            "parallel is for cells like min_gru"
        )
    return None


def _cudnn_refusal(case: Case) -> str | None:
    if case.cell == "min_gru":
        return _CUDNN_HAS_NO_MIN_GRU
    if case.cell == "simple_rnn":
        return "Keras has no cuDNN path for SimpleRNN on any backend"
    if case.cell == "gru" and case.backend == "jax":
        return "Keras's JAX backend has no cuDNN GRU"
    if case.device == "cpu":
        return f"cuDNN runs on NVIDIA GPUs only, and the device is {case.device}"
    activations = networks.find(case.network).activations
    fused = [str(number) for number, activation in enumerate(activations, start=1) if activation == "tanh"]
    if len(fused) < len(activations):
        number, activation = next((n, name) for n, name in enumerate(activations) if name != "tanh")
        left = f"layer {' and '.join(fused)} only" if fused else "no layer is left"
        return f"the {_ORDINALS[number]} layer's {activation} rules cuDNN out: {left}; use the network cudnn_ready"
    return None


def _double_precision_refusal(case: Case) -> str | None:
    if case.dtype == "float64" and case.backend != "tensorflow":
        # backend/common/dtypes.py: 64 bits become 32 "to be aligned with JAX's default behavior", on torch too
        return f"Keras computes parts of a float64 model in float32 on {case.backend}: use tensorflow"
    return None


def _half_precision_refusal(case: Case) -> str | None:
    """JAX's cuDNN LSTM is picked by Keras whatever the dtype, and then has no program in half precision."""
    takes_cudnn = case.device != "cpu" and case.cell == "lstm" and case.kernel in ("auto", "cudnn")
    if takes_cudnn and case.backend == "jax" and dtypes.find(case.dtype).compute in ("float16", "bfloat16"):
        return "JAX's cuDNN LSTM has no half precision, and Keras picks it all the same: use generic"
    return None


def _inputs_refusal(case: Case) -> str | None:
    """What runtimes beside Keras are not given: padding, which Keras's layers skip, and tokens."""
    task = tasks.known(case)
    if task is not None and task.vocabulary:
        return f"the inputs of {case.task} are tokens, and an embedding is trained in Keras alone"
    if task is not None and task.mask_value is not None:
        return f"sequences of {case.task} have padding, and masks are known to Keras alone"
    return None


def _onnx_refusal(case: Case) -> str | None:
    if case.backend != "tensorflow":
        return "tf2onnx exports TensorFlow's graph: ONNX Runtime needs the backend tensorflow"
    if case.device != "cpu":
        return f"ONNX Runtime is driven on the CPU here, and the device is {case.device}"
    if not case.latency_calls:
        return "ONNX Runtime only does inference, and none is timed: ask for it with --set latency_calls=500"
    if networks.find(case.network).factory:
        return "the export is checked for the networks that come with the program, not for one of your own"
    if case.dtype not in ("float32", "float64"):
        return f"the export is checked in float32 and float64 only, not in {case.dtype}"
    if case.kernel == "xla":
        return "the export leaves XLA behind: ask for the kernel auto or generic"
    if case.kernel == "parallel" or (case.kernel == "auto" and case.cell == "min_gru"):
        return "a scan's export is not attested: ask for the kernel generic or unrolled"
    if case.kernel == "generic" and case.cell == "lstm":
        return "tf2onnx makes an LSTM's loop one fused LSTM node: ask for the kernel auto, or unrolled"
    return _inputs_refusal(case)


def _torch_refusal(case: Case) -> str | None:
    if case.backend != "torch":
        return "torch.nn is torch's own: it needs the backend torch"
    if networks.find(case.network).factory:
        return "torch.nn has no peer of a network of your own, which is made of Keras's layers"
    if set(networks.find(case.network).activations) != {"tanh"}:
        return "torch.nn's LSTM and GRU know tanh only: use the network cudnn_ready"
    if case.cell not in ("simple_rnn", "lstm", "gru"):
        return f"torch.nn has LSTM, GRU and RNN: {case.cell} has no peer there"
    on_gpu = case.device != "cpu"
    if case.kernel not in (("auto", "cudnn") if on_gpu else ("auto",)):
        return f"torch.nn picks its kernel by itself{' (cudnn on a GPU)' if on_gpu else ''}: ask for the kernel auto"
    if case.dtype not in ("float32", "float64"):
        return f"torch.nn is trained in float32 and float64 here, not in {case.dtype}"
    return _inputs_refusal(case)
