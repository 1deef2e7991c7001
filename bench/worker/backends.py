"""What differs between Keras's backends: synchronising, random state, building, and reading the executed program."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras


@dataclass(frozen=True)
class Evidence:
    """What the executed programs of one phase show of one recurrent layer."""

    kernel: str
    """`generic`, `unrolled`, `xla`, `cudnn`; `unrolled_xla` for an unrolled layer inside XLA; `none` where no
    recurrence is seen."""
    operations: Mapping[str, int]
    """The operations in the layer's scope that the judgement rests on, counted."""
    artefact: str
    """Digest of the program text that was read."""


class Backend(Protocol):
    """One of Keras's backends, as the measuring code sees it."""

    def configure(self, device: str, threads: int) -> None:
        """Set the device and the threads; the first call that may touch a device."""

    def build_symbolically(self, model: keras.Model, x: Any, y: Any, batch_size: int) -> None:
        """Create every variable that `fit` would create, leaving random state as plain `fit` would have it."""

    def synchronise(self) -> None:
        """Wait until the device has finished."""

    def random_state(self) -> Any:
        """The backend's own random state."""

    def set_random_state(self, state: Any) -> None:
        """Put back what `random_state` gave."""

    def programs(self, model: keras.Model) -> int:
        """How many programs have been traced or compiled for this model so far."""

    def attest(self, model: keras.Model, layers: tuple[str, ...], steps: int) -> dict[str, dict[str, Evidence]]:
        """phase → layer → evidence, read from the programs that were executed. Not told which kernel was asked for."""

    def read_back(self, model: keras.Model) -> dict[str, Any]:
        """Settings as the backend has them after the run: jit_compile, TF32, library versions."""


def agreed(traces: Sequence[Evidence]) -> Evidence:
    """One piece of evidence for all executed programs of a phase; `mixed` where they differ."""
    kernels = {trace.kernel for trace in traces}
    operations: Counter[str] = Counter()
    for trace in traces:
        operations.update(trace.operations)
    return Evidence(
        kernels.pop() if len(kernels) == 1 else "mixed",
        dict(operations),
        "+".join(sorted({trace.artefact for trace in traces})),
    )


def load_backend(name: str) -> Backend:
    """The backend that Keras runs on in this process. Only its own module is imported: others may be missing."""
    module, kind = {
        "tensorflow": ("backend_tensorflow", "TensorFlowBackend"),
        "jax": ("backend_jax", "JaxBackend"),
        "torch": ("backend_torch", "TorchBackend"),
    }[name]
    made: Backend = getattr(importlib.import_module(f"bench.worker.{module}"), kind)()
    return made
