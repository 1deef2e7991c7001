"""Keras's backends: the packages that bring each, the module that drives it, and what its kernels cost to compile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.core.errors import named


@dataclass(frozen=True)
class KernelCost:
    """What a kernel costs beside TensorFlow's generic one, for the estimate of a plan's time; seen on two cores."""

    compile_seconds: float
    """Tracing and compiling, mean over the three cells."""
    step_factor: float
    """A step's time over that of TensorFlow's generic kernel, mean over the three cells."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One of Keras's backends."""

    name: str
    adapter: str
    """`module:class` that drives it in the worker; a `bench.worker.backends.BackendAdapter`."""
    distributions: tuple[str, ...]
    """Distributions that bring it: the usual one first, then its builds for other hardware."""
    libraries: tuple[str, ...]
    """Distributions beside its own that hold the kernels it runs."""
    programs_are_all: bool = True
    """Whether what trains is in the executed programs alone. torch runs Python at each step, which no program shows."""
    extra: str = ""
    """The extra of this program's package that asks for it; empty for the backend that is always asked for."""
    costs: Mapping[str, KernelCost] = field(default_factory=dict)
    """By kernel; `generic` is there, and stands for each kernel that isn't."""

    @property
    def package(self) -> str:
        """The distribution that a new environment gets."""
        return self.distributions[0]

    def cost(self, kernel: str) -> KernelCost:
        """What is expected of a kernel on this backend."""
        return self.costs.get(kernel, self.costs["generic"])


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            name="tensorflow",
            adapter="bench.worker.backends.tensorflow:TensorFlowBackend",
            distributions=(
                "tensorflow",
                "tensorflow-cpu",
                "tensorflow-macos",
                "tensorflow-rocm",
                "tf-nightly",
                "tf-nightly-cpu",
            ),
            libraries=("nvidia-cudnn-cu12", "nvidia-cublas-cu12", "tensorflow-metal"),
            costs={
                "generic": KernelCost(4.0, 1.0),
                "unrolled": KernelCost(7.0, 1.0),
                "xla": KernelCost(12.0, 3.5),
            },
        ),
        Backend(
            name="jax",
            adapter="bench.worker.backends.jax:JaxBackend",
            distributions=("jax",),
            libraries=(
                "jaxlib",
                "jax-cuda12-plugin",
                "jax-cuda13-plugin",
                "nvidia-cudnn-cu12",
                "nvidia-cudnn-cu13",
                "jax-metal",
            ),
            extra="jax",
            costs={"generic": KernelCost(10.0, 0.8), "unrolled": KernelCost(28.0, 2.3)},
        ),
        Backend(
            name="torch",
            adapter="bench.worker.backends.torch:TorchBackend",
            distributions=("torch",),
            libraries=("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cublas-cu12", "nvidia-cublas"),
            programs_are_all=False,
            extra="torch",
            costs={"generic": KernelCost(3.0, 2.0), "compiled": KernelCost(75.0, 1.4)},
        ),
    )
}


def find(name: str, origin: str = "a case") -> Backend:
    """The backend of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    return named("backend", name, BACKENDS, origin)
