"""The kernels: how a recurrent layer is computed, what each asks of a Keras layer, and what Keras picks by itself."""

from __future__ import annotations

from dataclasses import dataclass

from bench.catalog import networks, tasks
from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import Recurrent
from bench.core.case import Case
from bench.core.errors import named


@dataclass(frozen=True)
class Kernel:
    """How a recurrent layer is computed. Every kernel but `auto`, and `compiled` on a GPU, pins all of its switches."""

    name: str
    title: str
    use_cudnn: bool | str = False
    unroll: bool = False
    jit_compile: bool | str = False
    scan: bool = False
    """Whether a layer that can be computed by a scan is."""


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("auto", "what Keras picks by itself", use_cudnn="auto", jit_compile="auto", scan=True),
        Kernel("generic", "the backend's own loop over the steps"),
        Kernel("unrolled", "one operation after another, without a loop", unroll=True),
        Kernel("xla", "the loop, compiled with XLA", jit_compile=True),
        # "auto", because without it Keras's layers take the general loop, in which torch.compile breaks the graph
        Kernel("compiled", "the whole step, compiled with torch.compile", use_cudnn="auto", jit_compile=True),
        Kernel("cudnn", "NVIDIA's fused kernels", use_cudnn=True),
        Kernel("parallel", "an associative scan, without a loop over the steps", scan=True),
    )
}


def find(name: str, origin: str = "a case") -> Kernel:
    """The kernel of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    return named("kernel", name, KERNELS, origin)


def jit_compile(kernel: str, backend: str) -> bool | str:
    """What `Model.compile` is given. JAX is always compiled: without it Keras would run every operation by itself."""
    return "auto" if backend == "jax" else find(kernel).jit_compile


def default_kernels(case: Case) -> tuple[str, ...]:
    """What Keras picks by itself for the recurrent layers, by its own rules; empty for a cell whose rules are unknown.

    On a GPU each backend has a rule of its own, so that the defaults of two backends, or of two cells on one, are not
    like for like. The phases of a run don't differ: no rule asks whether the layer is being trained.
    """
    if case.cell not in BUILT_IN:
        return ()
    layers = networks.of(case).recurrent
    if BUILT_IN[case.cell].scannable:
        in_xla = case.device != "cpu" and case.backend == "tensorflow"
        return ("parallel_xla" if in_xla else "parallel",) * len(layers)
    if case.device == "cpu":
        return ("generic",) * len(layers)
    # TensorFlow compiles the whole model with XLA, unless a layer was made such that cuDNN could take it: recurrent
    # dropout and masks are seen only when it is called
    made_for_cudnn = any(cudnn_obstacle_when_made(case, layer) is None for layer in layers)
    loop = "xla" if case.backend == "tensorflow" and not made_for_cudnn else "generic"
    return tuple("cudnn" if cudnn_obstacle(case, layer) is None else loop for layer in layers)


def cudnn_obstacle(case: Case, layer: Recurrent) -> str | None:
    """What keeps a recurrent layer of a built-in cell out of cuDNN on a GPU, as a sentence; None where nothing does.

    Read off `LSTM.inner_loop`, `GRU.inner_loop` and `backend/*/rnn.py` of Keras 3.15; a test asks Keras the same.
    """
    if reason := cudnn_obstacle_when_made(case, layer):
        return reason
    if layer.recurrent_dropout:
        return (
            f"recurrent_dropout={layer.recurrent_dropout:g} rules cuDNN out, in evaluation and prediction too: Keras "
            "takes the loop wherever it isn't 0"
        )
    task = tasks.known(case)
    if case.backend != "tensorflow" and (case.mask != "none" or (task is not None and task.mask_value is not None)):
        cause = f"mask={case.mask}" if case.mask != "none" else f"the padding of {case.task}"
        return f"{cause} rules cuDNN out: Keras takes the loop on {case.backend} wherever there is a mask"
    if case.mask == "gaps":
        return "mask=gaps rules cuDNN out: TensorFlow's cuDNN takes right padding alone"
    return None


def cudnn_obstacle_when_made(case: Case, layer: Recurrent) -> str | None:
    """The part of `cudnn_obstacle` that a layer knows when it is made: all but recurrent dropout and masks."""
    if case.cell == "simple_rnn":
        return "Keras has no cuDNN path for SimpleRNN on any backend"
    if case.cell == "gru" and case.backend == "jax":
        return "Keras's JAX backend has no cuDNN GRU"
    if not layer.bias:
        return "bias=false rules cuDNN out: Keras takes it for layers with biases alone"
    if case.cell == "gru" and not layer.reset_after:
        return "reset_after=false rules cuDNN out: its GRU has the reset gate after the product with the state"
    if layer.recurrent_activation != "sigmoid":
        return f"recurrent_activation={layer.recurrent_activation} rules cuDNN out: its gates have sigmoid"
    if layer.activation != "tanh":
        return f"the activation {layer.activation} rules cuDNN out: its kernels have tanh"
    return None
