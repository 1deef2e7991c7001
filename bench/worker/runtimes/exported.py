"""What the runtimes that a trained Keras model is exported to have in common: Keras trains, and they only infer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from bench.catalog import networks
from bench.core.metric import STREAMING
from bench.worker.data import Array
from bench.worker.evidence.attestation import Attestation
from bench.worker.evidence.programs import Program, Scopes
from bench.worker.evidence.steps import read_phase
from bench.worker.inference import CallPath, Inputs, Outputs, infer_all
from bench.worker.runtimes import StepNumbers
from bench.worker.runtimes.keras import OUTPUT_BATCH, KerasRuntime
from bench.worker.step import StepNetwork
from bench.worker.streaming import State, StreamingCall, largest_difference

ExportedFunction: TypeAlias = Callable[..., Sequence[Array]]
"""What an export is called by: arrays in NumPy's memory, each a batch, to the function's outputs there."""


class ExportedRuntime(KerasRuntime):
    """A runtime that infers with the trained Keras model, exported; see `bench.worker.runtimes.RuntimeAdapter`."""

    @abstractmethod
    def export(self, call_path: str, function: Callable[..., Any], *samples: Array) -> ExportedFunction:
        """The function as the runtime computes it, for batches of any size.

        Args:
            call_path: what it is for.
            function: of as many batches as there are samples; TensorFlow traces it.
            samples: one of each batch's, without the batch.
        """

    @abstractmethod
    def read(self, call_path: str, scopes: Scopes) -> Program:
        """What the runtime executes in a call path shows of each recurrent layer."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The runtime's versions, and how it is set."""

    def network(self) -> Callable[[Any], Any]:
        """The trained network, as a function of whole sequences that TensorFlow can trace."""
        return partial(self.model, training=False)

    def call_paths(self) -> dict[str, CallPath]:
        return {"compiled": self._compiled_call(), **self._streaming(self._exported_stream)}

    def _compiled_call(self) -> CallPath:
        run = self.export("compiled", self.network(), self.data.x_test[0])

        def infer(inputs: Inputs) -> Outputs:
            return run(inputs)[0]

        given, of_keras = infer_all(infer, self.data.x_test, OUTPUT_BATCH), self.outputs()
        self.output_difference = largest_difference(given, of_keras)
        if self.task.target.is_class:
            targets = self.data.targets_test(self.data.y_test)
            right = [self.data.targets_test(outputs).argmax(axis=-1) == targets for outputs in (of_keras, given)]
            self.accuracy_lost = float(right[0].mean() - right[1].mean())
        return infer

    def _exported_stream(self, network: StepNetwork) -> StreamingCall:
        """A function whose inputs and outputs are a step's, and the states beside them."""
        states = (state[0] for state in network.flat_start(1))
        run = self.export(STREAMING, network.flat_call, self.data.x_test[0, 0], *states)

        def run_step(x: Inputs, states: State) -> tuple[Outputs, State]:
            outputs, *after = run(x, *states)
            return outputs, after

        return StreamingCall(network.flat_start, run_step)

    def step_numbers(self, weights: Sequence[Array]) -> StepNumbers:
        of_keras = super().step_numbers(weights)
        infer = self._compiled_call()
        return StepNumbers(
            outputs=np.asarray(infer(self.data.x_test)), gradients=None, phases=(*of_keras.phases, "compiled")
        )

    def attest(self, steps: int, phases: tuple[str, ...]) -> Attestation:
        scopes = Scopes.of_names(networks.of(self.case).recurrent_names, steps)
        keras = super().attest(steps, phases)
        paths = [path for path in phases if path in ("compiled", STREAMING)]
        exported = {path: read_phase(path, scopes, partial(self.read, path)) for path in paths}
        return Attestation(
            evidence={**keras.evidence, **exported}, phases=phases, settings={**keras.settings, **self.facts()}
        )
