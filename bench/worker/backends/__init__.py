"""What differs between Keras's backends: synchronising, random state, building, and reading the executed program."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras
import numpy as np

from bench.catalog import backends
from bench.worker.evidence.programs import Program, Scopes
from bench.worker.evidence.retracing import Signature
from bench.worker.inference import CallPath
from bench.worker.step import StepNetwork
from bench.worker.streaming import Step


class BackendAdapter(Protocol):
    """What measuring needs of one of Keras's backends."""

    def configure(self, device: str, threads: int) -> None:
        """Set the device and the threads; the first call that may touch a device.

        Raises:
            FailedRun: the backend does not see the device.
        """

    def make_deterministic(self) -> None:
        """Let every operation give the same numbers again, or refuse; called after `configure`, before all else."""

    def allow_tf32(self, allowed: bool) -> None:
        """Let all products in float32 be computed as TF32, or none; called as `make_deterministic` is."""

    def build_symbolically(self, model: keras.Model, x: Any, y: Any, batch_size: int) -> None:
        """Create every variable that `fit` would create, leaving random state as plain `fit` would have it."""

    def synchronise(self) -> None:
        """Wait until the device has finished."""

    def device_bytes(self) -> int | None:
        """Memory in use on the device; None on a processor, where it is the process's."""

    def peak_device_bytes(self) -> tuple[int | None, int | None]:
        """Highest memory on the device so far: what was in use, and what the allocator held; None where not known."""

    def random_state(self) -> Any:
        """The backend's own random state."""

    def set_random_state(self, state: Any) -> None:
        """Put back what `random_state` gave."""

    def programs(self, model: keras.Model) -> int:
        """How many programs have been traced or compiled for this model so far."""

    def signatures(self, model: keras.Model) -> list[Signature]:
        """The shapes of the arguments of each of these programs, oldest first."""

    def compile_inference(self, model: keras.Model) -> CallPath:
        """The call that a service would make: compiled where the backend compiles. `programs` counts it from then on,
        and `attest` reads it as the phase `compiled`."""

    def compile_step(self, model: keras.Model, network: StepNetwork) -> Step:
        """The same for a single step, which `attest` reads as the phase `streaming`.

        Args:
            model: whose weights it has.
            network: the model as a function of a step and of its states.
        """

    def array(self, values: np.ndarray[Any, Any], dtype: str) -> Any:
        """The values on the device, which can be indexed and multiplied (`@`)."""

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of such arrays, compiled where the backend compiles; without gradients."""

    def attest(self, model: keras.Model, layers: Mapping[str, keras.Layer], scopes: Scopes) -> dict[str, Program]:
        """phase → layer → evidence, read from the programs that were executed, without knowing the kernel asked for.

        Args:
            model: after its run.
            layers: its recurrent layers by their scopes.
            scopes: which layer an operation belongs to.
        """

    def mark(self, layers: Mapping[str, keras.Layer], scopes: Scopes) -> None:
        """Let what the layers execute from now on bear their marks, where programs name what they were traced from."""

    def run_attested(
        self,
        model: keras.Model,
        layers: Mapping[str, keras.Layer],
        scopes: Scopes,
        phases: Mapping[str, Callable[[], object]],
    ) -> dict[str, Program]:
        """Run each phase, and read what it executed of the marked layers, as `attest` does."""

    def read_back(self, model: keras.Model) -> dict[str, Any]:
        """Settings as the backend has them after the run: `threads` (None where that can't be read), `tf32` (whether
        all products in float32 may be TF32; None where some may, or the backend decides), versions."""


def load_backend(name: str) -> BackendAdapter:
    """The adapter of the backend that Keras runs on in this process.

    Only its own module is imported: other backends may be missing.
    """
    module, _, kind = backends.find(name).adapter.partition(":")
    adapter: BackendAdapter = getattr(importlib.import_module(module), kind)()
    return adapter
