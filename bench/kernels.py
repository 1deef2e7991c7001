"""What each kernel asks of a Keras layer, and the static rules of what can be had where.

The rules are assumptions, good for planning: what really ran is read from the executed program (`bench.worker`).
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.case import Case
from bench.errors import unknown
from bench.networks import find_network


@dataclass(frozen=True)
class Kernel:
    """How a recurrent layer is computed. Every kernel but `auto` pins all three switches."""

    name: str
    title: str
    use_cudnn: bool | str = False
    unroll: bool = False
    jit_compile: bool | str = False


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("auto", "what Keras picks by itself", use_cudnn="auto", jit_compile="auto"),
        Kernel("generic", "the backend's own loop over the steps"),
        Kernel("unrolled", "one operation after another, without a loop", unroll=True),
        Kernel("xla", "the loop, compiled with XLA", jit_compile=True),
        Kernel("cudnn", "NVIDIA's fused kernels", use_cudnn=True),
    )
}


def find_kernel(name: str, origin: str = "a case") -> Kernel:
    """The kernel of that name, or an error that names the nearest one."""
    if name not in KERNELS:
        raise unknown("kernel", name, KERNELS, origin)
    return KERNELS[name]


def jit_compile(kernel: str, backend: str) -> bool | str:
    """What `Model.compile` is given. JAX is always compiled: without it Keras would run every operation by itself."""
    return "auto" if backend == "jax" else find_kernel(kernel).jit_compile


def refusal(case: Case) -> str | None:
    """Why this case's kernel can't be had, by Keras's own rules (3.15, `backend/*/rnn.py`); None where it can."""
    if case.kernel == "xla" and case.backend == "jax":
        return "JAX always compiles with XLA: its generic kernel is the loop under XLA"
    if case.kernel == "xla" and case.backend == "torch":
        return "Keras doesn't compile torch with XLA"
    if case.kernel == "unrolled" and case.backend == "torch":
        return "Keras on torch ignores unroll: the generic kernel runs the same operations"
    if case.kernel != "cudnn":
        return None
    if case.cell == "simple_rnn":
        return "Keras has no cuDNN path for SimpleRNN on any backend"
    if case.cell == "gru" and case.backend == "jax":
        return "Keras's JAX backend has no cuDNN GRU"
    if not case.device.startswith("gpu"):
        return f"cuDNN runs on NVIDIA GPUs only, and the device is {case.device}"
    if find_network(case.network).activations != ("tanh", "tanh"):
        return "the second layer's relu rules cuDNN out (layer 1 only): use the network cudnn_ready"
    return None
