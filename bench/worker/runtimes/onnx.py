"""ONNX Runtime: Keras trains on TensorFlow, the trained model is exported, and a session does the inference."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

from bench.catalog import networks
from bench.worker.data import Array
from bench.worker.evidence.attestation import Attestation
from bench.worker.evidence.onnx import read_nodes
from bench.worker.inference import CallPath, Inputs, Outputs, infer_all
from bench.worker.runtimes import StepNumbers
from bench.worker.runtimes.keras import OUTPUT_BATCH, KerasRuntime

_OPSET = 18
_ERRORS_ONLY = 3


class OnnxRuntime(KerasRuntime):
    """See `bench.worker.runtimes.RuntimeAdapter`."""

    _executed: onnx.ModelProto

    def call_paths(self) -> dict[str, CallPath]:
        session = self._session(self._exported())
        (given,), (wanted,) = session.get_inputs(), session.get_outputs()

        def infer(inputs: Inputs) -> Outputs:
            outputs: Outputs = session.run([wanted.name], {given.name: inputs})[0]
            return outputs

        given_outputs = infer_all(infer, self.data.x_test, OUTPUT_BATCH)
        self.output_difference = float(np.abs(given_outputs - self.outputs()).max())
        return {"compiled": infer}

    def step_numbers(self, weights: Sequence[Array]) -> StepNumbers:
        of_keras = super().step_numbers(weights)
        infer = self.call_paths()["compiled"]
        return StepNumbers(
            outputs=np.asarray(infer(self.data.x_test)), gradients=None, phases=(*of_keras.phases, "compiled")
        )

    def attest(self, steps: int, phases: tuple[str, ...]) -> Attestation:
        nodes = [(node.op_type, node.name) for node in self._executed.graph.node]
        artefact = hashlib.sha256(self._executed.SerializeToString(deterministic=True)).hexdigest()[:16]
        versions = {module.__name__: module.__version__ for module in (onnxruntime, onnx, tf2onnx)}
        layers = networks.of(self.case).recurrent_names
        keras = super().attest(steps, phases)
        return Attestation(
            evidence={**keras.evidence, "compiled": read_nodes(nodes, layers, steps, artefact)},
            phases=phases,
            settings={**keras.settings, **versions, "opset": _OPSET},
        )

    def _exported(self) -> bytes:
        signature = [tf.TensorSpec([None, self.task.steps, self.task.features], self.data.x_test.dtype, name="x")]
        function = tf.function(lambda x: self.model(x, training=False))
        model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=_OPSET)
        exported: bytes = model.SerializeToString()
        return exported

    def _session(self, exported: bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = options.inter_op_num_threads = self.case.threads  # 0 is the default
        with tempfile.TemporaryDirectory() as folder:
            # what the session executes is not what it was given: it writes down what its optimiser made of it
            optimised = Path(folder) / "optimised.onnx"
            options.optimized_model_filepath = str(optimised)
            session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
            self._executed = onnx.load(optimised)
        return session
