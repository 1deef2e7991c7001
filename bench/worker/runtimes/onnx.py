"""ONNX Runtime: Keras trains on TensorFlow, the trained model is exported, and a session does the inference."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

from bench.catalog import networks
from bench.core.metric import STREAMING
from bench.worker.data import Array
from bench.worker.evidence.attestation import Attestation
from bench.worker.evidence.onnx import read_nodes
from bench.worker.evidence.programs import Program, Scopes
from bench.worker.evidence.steps import read_phase
from bench.worker.inference import CallPath, Inputs, Outputs, infer_all
from bench.worker.runtimes import StepNumbers
from bench.worker.runtimes.keras import OUTPUT_BATCH, KerasRuntime
from bench.worker.step import StepNetwork
from bench.worker.streaming import State, StreamingCall

_OPSET = 18
_ERRORS_ONLY = 3


class OnnxRuntime(KerasRuntime):
    """See `bench.worker.runtimes.RuntimeAdapter`."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._executed: dict[str, onnx.ModelProto] = {}
        """By call path."""

    def call_paths(self) -> dict[str, CallPath]:
        return {"compiled": self._compiled_call(), **self._streaming(self._exported_stream)}

    def _compiled_call(self) -> CallPath:
        session = self._session("compiled", lambda x: self.model(x, training=False), self.data.x_test[0])
        (given,), (wanted,) = session.get_inputs(), session.get_outputs()

        def infer(inputs: Inputs) -> Outputs:
            outputs: Outputs = session.run([wanted.name], {given.name: inputs})[0]
            return outputs

        given_outputs = infer_all(infer, self.data.x_test, OUTPUT_BATCH)
        self.output_difference = float(np.abs(given_outputs - self.outputs()).max())
        return infer

    def step_numbers(self, weights: Sequence[Array]) -> StepNumbers:
        of_keras = super().step_numbers(weights)
        infer = self._compiled_call()
        return StepNumbers(
            outputs=np.asarray(infer(self.data.x_test)), gradients=None, phases=(*of_keras.phases, "compiled")
        )

    def attest(self, steps: int, phases: tuple[str, ...]) -> Attestation:
        versions = {module.__name__: module.__version__ for module in (onnxruntime, onnx, tf2onnx)}
        scopes = Scopes.of_names(networks.of(self.case).recurrent_names, steps)
        keras = super().attest(steps, phases)
        exported = {path: read_phase(path, scopes, partial(_read, model)) for path, model in self._executed.items()}
        return Attestation(
            evidence={**keras.evidence, **exported},
            phases=phases,
            settings={**keras.settings, **versions, "opset": _OPSET},
        )

    def _exported_stream(self, network: StepNetwork) -> StreamingCall:
        """A session whose inputs and outputs are a step's, and the states beside them."""
        before = network.flat_start(1)
        session = self._session(STREAMING, network.flat_call, self.data.x_test[0, 0], *(state[0] for state in before))
        given, *kept = (value.name for value in session.get_inputs())

        def run_step(x: Inputs, states: State) -> tuple[Outputs, State]:
            outputs, *after = session.run(None, {given: x, **dict(zip(kept, states, strict=True))})
            return outputs, after

        return StreamingCall(network.flat_start, run_step)

    def _session(self, call_path: str, function: Callable[..., Any], *samples: Array) -> Any:
        """A session that computes the function for batches of any size.

        Args:
            call_path: what it is for.
            function: of as many batches.
            samples: one of each, without the batch.
        """
        signature = [
            tf.TensorSpec([None, *sample.shape], sample.dtype, name=f"x{place}") for place, sample in enumerate(samples)
        ]
        model, _ = tf2onnx.convert.from_function(
            tf.function(function, autograph=False), input_signature=signature, opset=_OPSET
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = options.inter_op_num_threads = self.case.threads  # 0 is the default
        with tempfile.TemporaryDirectory() as folder:
            # what the session executes is not what it was given: it writes down what its optimiser made of it
            optimised = Path(folder) / "optimised.onnx"
            options.optimized_model_filepath = str(optimised)
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            self._executed[call_path] = onnx.load(optimised)
        return session


def _read(model: onnx.ModelProto, scopes: Scopes) -> Program:
    """What an executed graph shows, by the steps that its layers do."""
    (steps,) = set(scopes.steps.values())
    nodes = [(node.op_type, node.name) for node in model.graph.node]
    artefact = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:16]
    return read_nodes(nodes, tuple(scopes.steps), steps, artefact)
