"""The kernels: how a recurrent layer is computed, what each asks of a Keras layer, and what Keras picks by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.catalog import networks, tasks
from bench.catalog.activations import DEFAULT
from bench.catalog.cells import BUILT_IN
from bench.catalog.layer_rules import MASK, CudnnObstacle, cudnn_obstacles
from bench.catalog.networks import Recurrent
from bench.core.case import Case, written
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
    # TensorFlow compiles the whole model with XLA, unless a layer was made such that cuDNN could take it
    made_for_cudnn = any(is_made_for_cudnn(case, layer) for layer in layers)
    loop = "xla" if case.backend == "tensorflow" and not made_for_cudnn else "generic"
    return tuple("cudnn" if cudnn_obstacle(case, layer) is None else loop for layer in layers)


_KERAS_CLASSES = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
_AXES = {"use_bias": "bias"}
"""The fields of a case whose names aren't those of Keras's options."""


def cudnn_obstacle(case: Case, layer: Recurrent) -> str | None:
    """What keeps a recurrent layer out of cuDNN on a GPU, as a sentence in the names of axes; None where nothing does.

    A user's cell is judged as an LSTM: by the options that it may have too.
    """
    obstacle = next(_obstacles(case, layer), None)
    return None if obstacle is None else obstacle.sentence(_subject(case, obstacle))


def is_made_for_cudnn(case: Case, layer: Recurrent) -> bool:
    """Whether nothing that a layer knows when it is made keeps it out of cuDNN."""
    return not any(obstacle.when_made for obstacle in _obstacles(case, layer))


def _obstacles(case: Case, layer: Recurrent) -> Iterator[CudnnObstacle]:
    options = {
        "use_bias": layer.bias,
        **{name: getattr(layer, name) for name in ("reset_after", "activation", "recurrent_activation")},
        "recurrent_dropout": layer.recurrent_dropout,
    }
    padded = (task := tasks.known(case)) is not None and task.mask_value is not None
    mask = "right" if padded and case.mask == "none" else case.mask
    return cudnn_obstacles(_KERAS_CLASSES.get(case.cell, "LSTM"), options, case.backend, mask=mask)


def _subject(case: Case, obstacle: CudnnObstacle) -> str:
    """What a case calls the option that is at fault."""
    if obstacle.option == MASK:
        return f"mask={case.mask}" if case.mask != "none" else f"the padding of {case.task}"
    if obstacle.option == "activation" and case.activation == DEFAULT:
        return f"the network's {obstacle.value}"
    return f"{_AXES.get(obstacle.option, obstacle.option)}={written(obstacle.value)}"
