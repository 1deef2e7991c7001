"""What a run trains and asks: Keras's model, or what stands in its place."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from bench.catalog import runtimes
from bench.catalog.tasks import Task
from bench.core.case import Case
from bench.worker.backends import BackendAdapter
from bench.worker.clock import Clock
from bench.worker.data import Data
from bench.worker.evidence.attestation import Attestation
from bench.worker.inference import Answer

Outputs = np.ndarray[Any, np.dtype[Any]]


class RuntimeAdapter(Protocol):
    """A network of one case, and how it is trained and asked; its methods are called in this order.

    Made of (case, task, data, backend), the backend configured.
    """

    output_difference: float | None
    """The largest absolute difference of its answers from Keras's over the test set, once `answers` was called; None
    where Keras itself answers, or was not there."""

    def build(self) -> int:
        """Make the network; its number of weights."""

    def warm_up(self, clock: Clock) -> None:
        """Trace and compile for every batch shape, run each once more, and put everything back."""

    def train(self, clock: Clock) -> None:
        """Train and validate, epoch by epoch."""

    def evaluate(self) -> Mapping[str, float]:
        """`loss` and `accuracy` on the test set."""

    def outputs(self) -> Outputs:
        """The trained network's outputs for the test set, in no timed phase."""

    def answers(self) -> dict[str, Answer]:
        """By entry of inference: how the trained network is asked."""

    def programs(self) -> int:
        """How many programs have been traced or compiled so far."""

    def attest(self, steps: int, phases: tuple[str, ...]) -> Attestation:
        """What was executed in `phases`, and the settings as they are after the run. Not told which kernel was asked
        for."""


def load_runtime(case: Case, task: Task, data: Data, backend: BackendAdapter) -> RuntimeAdapter:
    """The adapter of a case's runtime. Only its own module is imported: what the others need may be missing."""
    module, _, kind = runtimes.find(case.runtime).adapter.partition(":")
    adapter: RuntimeAdapter = getattr(importlib.import_module(module), kind)(case, task, data, backend)
    return adapter
