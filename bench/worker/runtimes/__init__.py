"""What a run trains and predicts with: Keras's model, or what stands in its place."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.catalog import runtimes
from bench.catalog.tasks import Task
from bench.core.case import Case
from bench.worker.backends import BackendAdapter
from bench.worker.clock import Clock
from bench.worker.data import Array, Data
from bench.worker.evidence.attestation import Attestation
from bench.worker.evidence.retracing import Signature
from bench.worker.inference import CallPath, Inputs, Outputs


@dataclass(frozen=True)
class StepNumbers:
    """What a batch comes to with given weights."""

    outputs: Array
    gradients: tuple[Array, ...] | None
    """The derivatives of the batch's loss with respect to each of the weights, in their order and shapes; None of a
    runtime that only infers."""
    phases: tuple[str, ...]
    """What was executed for it."""


class RuntimeAdapter(Protocol):
    """What measuring needs of a runtime: a network of one case, its training and its inference.

    The methods are called in this order. Made of (case, task, data, backend), the backend configured.
    """

    output_difference: float | None
    """The largest difference of its outputs from Keras's over the test set, once `call_paths` was called; None
    for Keras itself, and where Keras was not there."""
    accuracy_lost: float | None
    """The accuracy of Keras's outputs for the test set less that of its own, once `call_paths` was called; None where
    there is nothing to compare, or no class."""

    def build(self) -> int:
        """Make the network; its number of weights."""

    def warm_up(self, clock: Clock) -> None:
        """Trace and compile for every batch shape, run each once more, and put everything back."""

    def train(self, clock: Clock) -> None:
        """Train and validate, epoch by epoch."""

    def evaluate(self) -> Mapping[str, float]:
        """The test set's `loss`, and the scores of the task's target: `accuracy`, or `mae`."""

    def outputs(self) -> Outputs:
        """The trained network's outputs for the test set."""

    def call_paths(self) -> dict[str, CallPath]:
        """The call paths of inference by name; each calls the trained network. `streaming`, where it is there, is a
        `bench.worker.streaming.StreamingCall`."""

    def outputs_by_step(self, x: Inputs) -> Outputs:
        """What a network that streams gives after each step by passes over whole sequences, samples × steps × outputs.

        Args:
            x: samples × steps × features, or samples × steps of tokens.
        """

    def device_bytes(self) -> int | None:
        """Memory in use on the device where inference runs; None where it is the processor, or can't be read."""

    def programs(self) -> int:
        """How many programs have been traced or compiled so far."""

    def signatures(self) -> list[Signature]:
        """The shapes of the arguments of each of these programs, oldest first."""

    def mask_problem(self, attestation: Attestation) -> str | None:
        """What shows that padding was not skipped, as a sentence; None where it was, or there is no mask.

        Args:
            attestation: cuDNN takes right padding alone, so that there its place can't be changed.
        """

    def step_numbers(self, weights: Sequence[Array]) -> StepNumbers:
        """The outputs and the gradients of the training samples as a single batch, without dropout; after `build`.

        Args:
            weights: in the order, and of the shapes, in which Keras has them.

        Raises:
            FailedRun: the network has other weights.
        """

    def attest(self, steps: int, phases: tuple[str, ...]) -> Attestation:
        """The programs executed in `phases`, and the settings after the run, without knowing the kernel asked for."""


def load_runtime(case: Case, task: Task, data: Data, backend: BackendAdapter) -> RuntimeAdapter:
    """The adapter of a case's runtime. Only its own module is imported: what the others need may be missing."""
    module, _, kind = runtimes.find(case.runtime).adapter.partition(":")
    adapter: RuntimeAdapter = getattr(importlib.import_module(module), kind)(case, task, data, backend)
    return adapter
