"""Whether a case can run here, and why not: the one rule, for plans, `bench verify` and `bench kernels`.

What holds on any machine is read off Keras 3.15 (`backend/*/rnn.py`) and the runtimes; these are assumptions, good for
planning: what really ran is read from the executed program (`bench.worker`). What this machine has comes as data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.catalog import networks, tasks
from bench.catalog.activations import DEFAULT
from bench.catalog.backends import BACKENDS
from bench.catalog.cells import BUILT_IN
from bench.catalog.kernels import cudnn_obstacle, default_kernels
from bench.catalog.number_rules import double_precision_refusal, half_precision_refusal, number_format_refusal
from bench.catalog.runtimes import RUNTIMES
from bench.core.axes import changed
from bench.core.case import Case, written

OPTIONS = (
    "bidirectional",
    "dropout",
    "recurrent_dropout",
    "mask",
    "stateful",
    "reset_after",
    "bias",
    "activation",
    "recurrent_activation",
)
"""The fields of a case that are options of recurrent layers."""
_OPTIONS_OF_KERAS = tuple(name for name in OPTIONS if name != "activation")
"""Those that a factory isn't given: only Keras's own layers have them."""

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
    compile_problem: Callable[[str], str | None] = lambda device: None
    """Why torch.compile can't make code for a device; None where it can."""


def refusal(case: Case, host: Capabilities) -> str | None:
    """Why this case can't run on this host, as a sentence without its full stop; None where it can."""
    return (
        host.backends[case.backend]
        or host.device_problem(case.device)
        or option_refusal(case)
        or runtime_refusal(case)
        or host.runtimes.get(case.runtime)
        or kernel_refusal(case)
        or (host.compile_problem(case.device) if case.kernel == "compiled" else None)
    )


def missing(case: Case, host: Capabilities) -> str | None:
    """What this host lacks for a case: its backend, device, runtime, or what compiles for it; None where it has all.

    What can be had nowhere needs no compiler.
    """
    compiles = case.kernel == "compiled" and kernel_refusal(case) is None
    return (
        host.backends[case.backend]
        or host.device_problem(case.device)
        or host.runtimes.get(case.runtime)
        or (host.compile_problem(case.device) if compiles else None)
    )


def ideal_host() -> Capabilities:
    """A host that has everything: what is refused there is refused by the rules alone."""
    return Capabilities(
        backends=dict.fromkeys(BACKENDS), runtimes=dict.fromkeys(RUNTIMES), device_problem=lambda device: None
    )


def probe_refusal(case: Case, host: Capabilities) -> str | None:
    """Why nothing can be learnt from trying this configuration; None where it can be tried, be it in vain.

    Keras's rules are what a probe tests, so they don't rule one out: only what can't even be asked for does.
    """
    if {"xla": "tensorflow", "compiled": "torch"}.get(case.kernel, case.backend) != case.backend:
        return _switch_refusal(case)
    if case.kernel == "cudnn" and case.cell == "simple_rnn":
        return "Keras's SimpleRNN rejects use_cudnn"
    if case.kernel == "cudnn" and case.cell == "min_gru":
        return _CUDNN_HAS_NO_MIN_GRU
    if case.kernel == "parallel":
        return _scan_refusal(case)
    return (
        host.backends[case.backend]
        or host.device_problem(case.device)
        or option_refusal(case)
        or runtime_refusal(case)
        or host.runtimes.get(case.runtime)
        or number_format_refusal(case)
        or (host.compile_problem(case.device) if case.kernel == "compiled" else None)
    )


def numbers_refusal(case: Case) -> str | None:
    """Why a configuration's outputs and gradients can't be set beside a reference's; None where they can."""
    if case.cell not in BUILT_IN:
        return f"there is no reference of {case.cell}: it is for the cells that come with the program"
    if networks.find(case.network).factory:
        return "there is no reference of a network of your own, but for those that come with the program"
    if case.dropout or case.recurrent_dropout:
        return "what is dropped is drawn by each backend in its own way: compare without dropout"
    if case.stateful:
        return "in its first batch a stateful layer computes what any other does: compare without"
    task = tasks.known(case)
    if task is not None and (task.vocabulary or task.mask_value is not None):
        return f"the reference reads numbers without padding of their own, which {case.task} has not: use noise"
    return None


def changed_options(case: Case, options: Sequence[str] = OPTIONS) -> list[str]:
    """Those of a case's options that are not at their default, each with its value: `recurrent_dropout=0.2`."""
    return [f"{name}={written(value)}" for name, value in changed(case, options)]


def option_refusal(case: Case) -> str | None:
    """Why this case's cell can't have its options on any machine; None where it can."""
    if networks.find(case.network).factory and (case.layers or changed_options(case)):
        return f"the network {case.network} has the layers that it makes: layers and their options are for those here"
    has_options = case.cell in BUILT_IN and BUILT_IN[case.cell].has_options
    options = changed_options(case, OPTIONS if has_options else _OPTIONS_OF_KERAS)
    if not options:
        return None
    if not has_options:
        return f"{options[0]} is an option of Keras's layers: the layers of {case.cell} are made without"
    if not case.reset_after and case.cell != "gru":
        return "only a GRU has reset_after"
    if case.recurrent_activation != DEFAULT and case.cell == "simple_rnn":
        return "SimpleRNN has no gates, and so no recurrent_activation"
    return _mask_refusal(case) or (_stateful_refusal(case) if case.stateful else None)


def _mask_refusal(case: Case) -> str | None:
    task = tasks.known(case)
    if case.mask == "none" or task is None:
        return None
    if task.vocabulary:
        return f"the inputs of {case.task} are tokens, which padding would be one of"
    if task.mask_value is not None:
        return f"the sequences of {case.task} have lengths of their own, and are masked by them: set masks=none"
    if task.target.per_step:
        return f"{case.task} has a target for each step, and padding would hide some: set masks=none"
    return None


def _stateful_refusal(case: Case) -> str | None:
    if case.backend == "jax":
        return "Keras on JAX carries no state from one batch to the next in fit, evaluate and predict"
    if case.backend == "torch" and case.cell != "simple_rnn" and case.kernel != "generic":
        # the states that the fast path kept for the gradients are assigned to before the backward pass
        return "Keras on torch can't train a stateful LSTM or GRU on its fast path: ask for the kernel generic"
    if case.latency_calls:
        return "a stateful network takes batches of one size, and inference is timed at several: set latency_calls=0"
    task = tasks.of(case)
    counts = (case.train_samples or task.train_samples, task.test_samples)
    if not any(count % case.batch_size for count in counts):
        return None
    common = math.gcd(*counts)
    fits = min((n for n in range(1, common + 1) if common % n == 0), key=lambda n: (abs(n - case.batch_size), n))
    return (
        f"a stateful network takes whole batches alone, and batches of {case.batch_size} don't divide "
        f"{counts[0]:,} training and {counts[1]:,} test samples: set batch_size={fits}"
    )


def kernel_refusal(case: Case) -> str | None:
    """Why Keras has not this kernel for this cell, backend, device, network and dtype; None where it has."""
    return (
        number_format_refusal(case)
        or double_precision_refusal(case)
        or _deterministic_refusal(case)
        or _steady_refusal(case)
        or (_cudnn_refusal(case) if case.kernel == "cudnn" else _switch_refusal(case))
        or half_precision_refusal(case)
        or _gaps_refusal(case)
    )


def runtime_refusal(case: Case) -> str | None:
    """Why this case can't be had of its runtime; None where it can."""
    match case.runtime:
        case "onnxruntime":
            return _onnx_refusal(case)
        case "litert":
            return _litert_refusal(case)
        case "torch.nn":
            return _torch_refusal(case)
    return None


def _deterministic_refusal(case: Case) -> str | None:
    if case.deterministic and case.kernel == "xla" and case.backend == "tensorflow":
        return "TensorFlow does not compile with XLA under op determinism: set deterministic=false, or another kernel"
    return None


def _steady_refusal(case: Case) -> str | None:
    if case.steady and case.backend != "tensorflow":
        return f"on {case.backend} no epoch waits for the end of an input pipeline's tuning: set steady=false"
    return None


def _switch_refusal(case: Case) -> str | None:
    if case.kernel == "parallel":
        return _scan_refusal(case)
    if case.kernel == "xla" and case.backend == "jax":
        return "JAX always compiles with XLA: its generic kernel is the loop under XLA"
    if case.kernel == "xla" and case.backend == "torch":
        return "torch is not compiled with XLA: there, jit_compile=True is torch.compile, which is the kernel compiled"
    if case.kernel == "compiled":
        return _compile_refusal(case)
    if case.kernel == "unrolled" and case.backend == "torch":
        return "Keras on torch ignores unroll: the generic kernel runs the same operations"
    return None


def _compile_refusal(case: Case) -> str | None:
    if case.backend == "torch":
        return _graph_break(case)
    if case.backend == "jax":
        return "torch.compile is torch's alone: JAX always compiles, and its generic kernel is the loop under XLA"
    return f"torch.compile is torch's alone: on {case.backend} ask for the kernel xla"


def _graph_break(case: Case) -> str | None:
    """Why torch.compile has no graph of a layer: the general loop of Keras breaks it at every step.

    On a GPU there is a graph of LSTM and GRU all the same: while Dynamo traces, Keras passes cuDNN by and takes the
    loop with the product of all inputs hoisted (`torch.compiler.is_compiling`, backend/torch/rnn.py).
    """
    task = tasks.known(case)
    causes = (
        (case.cell in ("simple_rnn", "min_gru"), case.cell),
        (bool(case.recurrent_dropout), f"recurrent_dropout={case.recurrent_dropout:g}"),
        (not case.reset_after, "reset_after=false"),
        (case.mask != "none", f"mask={case.mask}"),
        (task is not None and task.mask_value is not None, f"the padding of {case.task}"),
    )
    if cause := next((text for holds, text in causes if holds), None):
        return (
            f"{cause} takes Keras's general loop over the steps, in which torch.compile breaks the graph: use generic"
        )
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
    network = networks.of(case)
    obstacles = [cudnn_obstacle(case, layer) for layer in network.recurrent]
    if case.cell == "simple_rnn" or (case.cell == "gru" and case.backend == "jax"):
        return obstacles[0]
    if case.device == "cpu":
        return f"cuDNN runs on NVIDIA GPUs only, and the device is {case.device}"
    activations = network.activations
    fused = [str(number) for number, activation in enumerate(activations, start=1) if activation == "tanh"]
    if case.activation == DEFAULT and len(fused) < len(activations):
        number, activation = next((n, name) for n, name in enumerate(activations) if name != "tanh")
        left = f"layer {' and '.join(fused)} only" if fused else "no layer is left"
        ordinal = _ORDINALS[number] if number < len(_ORDINALS) else f"{number + 1}th"
        return f"the {ordinal} layer's {activation} rules cuDNN out: {left}; use the network cudnn_ready"
    return next((obstacle for obstacle in obstacles if obstacle), None)


def _gaps_refusal(case: Case) -> str | None:
    """TensorFlow's cuDNN is picked by Keras whatever the mask, and then ends the run where that isn't right padding."""
    if case.mask != "gaps" or case.backend != "tensorflow" or case.kernel != "auto":
        return None
    if "cudnn" not in default_kernels(replace(case, mask="none")):
        return None
    return "mask=gaps rules cuDNN out, and Keras on TensorFlow picks it all the same: the run ends; use generic"


def _inputs_refusal(case: Case) -> str | None:
    """What runtimes beside Keras are not given: padding, which Keras's layers skip, and tokens, which it embeds."""
    task = tasks.known(case)
    if task is not None and task.vocabulary:
        return f"the inputs of {case.task} are tokens: {case.runtime} is given numbers alone here"
    if task is not None and task.mask_value is not None:
        return f"sequences of {case.task} have padding: {case.runtime} is given none here"
    return None


def _onnx_refusal(case: Case) -> str | None:
    if case.backend != "tensorflow":
        return "the export to ONNX is made of TensorFlow's graph: it needs the backend tensorflow"
    if case.device != "cpu":
        return f"ONNX Runtime is driven on the CPU here, and the device is {case.device}"
    if not case.latency_calls:
        return "ONNX Runtime only does inference, and none is timed: ask for it with --set latency_calls=500"
    if networks.find(case.network).factory:
        return "the export is checked for the networks that come with the program, not for one of your own"
    if case.dtype not in ("float32", "float64"):
        return f"the export is checked in float32 and float64 only, not in {case.dtype}"
    if options := changed_options(case):
        return f"the export is checked for layers without options, and not with {options[0]}"
    if case.kernel == "xla":
        return "the export leaves XLA behind: ask for the kernel auto or generic"
    if case.kernel == "parallel" or (case.kernel == "auto" and case.cell == "min_gru"):
        return "a scan's export is not attested: ask for the kernel generic or unrolled"
    if case.kernel == "generic" and case.cell == "lstm":
        return "tf2onnx makes an LSTM's loop one fused LSTM node: ask for the kernel auto, or unrolled"
    return _inputs_refusal(case)


def _litert_refusal(case: Case) -> str | None:
    if case.backend != "tensorflow":
        return "the export to LiteRT is made of TensorFlow's graph: it needs the backend tensorflow"
    if case.device != "cpu":
        return f"LiteRT is driven on the CPU here, and the device is {case.device}"
    if not case.latency_calls:
        return "LiteRT only does inference, and none is timed: ask for it with --set latency_calls=500"
    if networks.find(case.network).factory or case.cell not in BUILT_IN:
        return "the export is made without loops, for cells and networks that come with the program, not for your own"
    if case.dtype not in ("float32", "int8"):
        return f"the export is checked in float32 and int8 only, not in {case.dtype}"
    if options := changed_options(case):
        return f"the export is checked for layers without options, and not with {options[0]}"
    if case.kernel not in ("auto", "unrolled"):
        return (
            "for any batch Keras's loop needs operations that LiteRT's interpreter has not: ask for auto, or unrolled"
        )
    return _inputs_refusal(case)


def _torch_refusal(case: Case) -> str | None:
    if case.backend != "torch":
        return "torch.nn is torch's own: it needs the backend torch"
    if networks.find(case.network).factory:
        return "torch.nn has no peer of a network of your own, which is made of Keras's layers"
    if set(networks.of(case).activations) != {"tanh"}:
        return "torch.nn's LSTM and GRU know tanh only: use the network cudnn_ready"
    if case.cell not in ("simple_rnn", "lstm", "gru"):
        return f"torch.nn has LSTM, GRU and RNN: {case.cell} has no peer there"
    if reason := _torch_option_refusal(case):
        return reason
    if case.kernel == "compiled":
        return "torch.compile leaves torch.nn's recurrent layers as they are: TorchDynamo traces none of them"
    on_gpu = case.device != "cpu"
    if case.kernel not in (("auto", "cudnn") if on_gpu else ("auto",)):
        return f"torch.nn picks its kernel by itself{' (cudnn on a GPU)' if on_gpu else ''}: ask for the kernel auto"
    if case.dtype not in ("float32", "float64"):
        return f"torch.nn is trained in float32 and float64 here, not in {case.dtype}"
    return _inputs_refusal(case)


def _torch_option_refusal(case: Case) -> str | None:
    if case.dropout or case.recurrent_dropout:
        return "torch.nn's layers drop nothing inside themselves: their dropout lies between layers"
    if case.mask != "none":
        return "torch.nn's layers take no mask: packed sequences have lengths alone"
    if case.stateful:
        return "torch.nn's layers carry no state from call to call by themselves"
    if not case.reset_after:
        return "torch.nn's GRU has its reset gate after the product with the state"
    if case.recurrent_activation not in (DEFAULT, "sigmoid"):
        return "torch.nn's gates have sigmoid"
    return None
