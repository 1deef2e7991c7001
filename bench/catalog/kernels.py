"""The kernels: how a recurrent layer is computed, what each asks of a Keras layer, and what Keras picks by itself."""

from __future__ import annotations

from dataclasses import dataclass

from bench.catalog import networks
from bench.catalog.cells import BUILT_IN
from bench.core.case import Case
from bench.core.errors import named


@dataclass(frozen=True)
class Kernel:
    """How a recurrent layer is computed. Every kernel but `auto` pins all of its switches."""

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
    like for like.
    """
    if case.cell not in BUILT_IN:
        return ()
    activations = networks.find(case.network).activations
    if BUILT_IN[case.cell].scannable:
        in_xla = case.device != "cpu" and case.backend == "tensorflow"
        return ("parallel_xla" if in_xla else "parallel",) * len(activations)
    if case.device == "cpu":
        return ("generic",) * len(activations)
    has_cudnn = case.cell == "lstm" or (case.cell == "gru" and case.backend != "jax")
    in_cudnn = [has_cudnn and activation == "tanh" for activation in activations]
    # TensorFlow compiles the whole model with XLA, unless one layer takes cuDNN
    loop = "xla" if case.backend == "tensorflow" and not any(in_cudnn) else "generic"
    return tuple("cudnn" if fused else loop for fused in in_cudnn)
