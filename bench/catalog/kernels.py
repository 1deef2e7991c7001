"""What each kernel asks of a Keras layer, and the static rules of what can be had where.

The rules are assumptions, good for planning: what really ran is read from the executed program (`bench.worker`).
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.catalog.cells import BUILT_IN
from bench.catalog.dtypes import find_dtype
from bench.catalog.networks import find_network
from bench.core.case import Case
from bench.core.errors import unknown


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
    return (
        find_dtype(case.dtype).problem
        or _double_precision_refusal(case)
        or (_cudnn_refusal(case) if case.kernel == "cudnn" else _switch_refusal(case))
        or _half_precision_refusal(case)
    )


def _switch_refusal(case: Case) -> str | None:
    if case.kernel == "xla" and case.backend == "jax":
        return "JAX always compiles with XLA: its generic kernel is the loop under XLA"
    if case.kernel == "xla" and case.backend == "torch":
        return "Keras doesn't compile torch with XLA"
    if case.kernel == "unrolled" and case.backend == "torch":
        return "Keras on torch ignores unroll: the generic kernel runs the same operations"
    return None


def _cudnn_refusal(case: Case) -> str | None:
    if case.cell == "simple_rnn":
        return "Keras has no cuDNN path for SimpleRNN on any backend"
    if case.cell == "gru" and case.backend == "jax":
        return "Keras's JAX backend has no cuDNN GRU"
    if case.device == "cpu":
        return f"cuDNN runs on NVIDIA GPUs only, and the device is {case.device}"
    if find_network(case.network).activations != ("tanh", "tanh"):
        return "the second layer's relu rules cuDNN out: layer 1 only; use the network cudnn_ready"
    return None


def _double_precision_refusal(case: Case) -> str | None:
    if case.dtype == "float64" and case.backend != "tensorflow":
        # backend/common/dtypes.py: 64 bits become 32 "to be aligned with JAX's default behavior", on torch too
        return f"Keras computes parts of a float64 model in float32 on {case.backend}: use tensorflow"
    return None


def _half_precision_refusal(case: Case) -> str | None:
    """JAX's cuDNN LSTM is picked by Keras whatever the dtype, and then has no program in half precision."""
    takes_cudnn = case.device != "cpu" and case.cell == "lstm" and case.kernel in ("auto", "cudnn")
    if takes_cudnn and case.backend == "jax" and find_dtype(case.dtype).compute in ("float16", "bfloat16"):
        return "JAX's cuDNN LSTM has no half precision, and Keras picks it all the same: use generic"
    return None


def can_be_asked(case: Case) -> bool:
    """Whether Keras has a switch by which this kernel is asked for, be it in vain."""
    if case.kernel == "xla":
        return case.backend == "tensorflow"
    return case.kernel != "cudnn" or case.cell != "simple_rnn"


def default_kernels(case: Case) -> tuple[str, ...]:
    """What Keras picks by itself for the recurrent layers, by its own rules; empty for a cell whose rules are unknown.

    On a GPU each backend has a rule of its own, so that the defaults of two backends, or of two cells on one, are not
    like for like.
    """
    if case.cell not in BUILT_IN:
        return ()
    activations = find_network(case.network).activations
    if case.device == "cpu":
        return ("generic",) * len(activations)
    has_cudnn = case.cell == "lstm" or (case.cell == "gru" and case.backend != "jax")
    in_cudnn = [has_cudnn and activation == "tanh" for activation in activations]
    # TensorFlow compiles the whole model with XLA, unless one layer takes cuDNN
    loop = "xla" if case.backend == "tensorflow" and not any(in_cudnn) else "generic"
    return tuple("cudnn" if fused else loop for fused in in_cudnn)
