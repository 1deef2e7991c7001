"""ONNX Runtime: Keras trains on TensorFlow, the trained model is exported, and a session does the inference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

from bench.core.scratch import ScratchFolder
from bench.worker.data import Array
from bench.worker.evidence.onnx import read_nodes
from bench.worker.evidence.programs import Program, Scopes
from bench.worker.runtimes.exported import ExportedFunction, ExportedRuntime

_OPSET = 18
_ERRORS_ONLY = 3


class OnnxRuntime(ExportedRuntime):
    """See `bench.worker.runtimes.RuntimeAdapter`."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._executed: dict[str, onnx.ModelProto] = {}
        """By call path."""

    def export(self, call_path: str, function: Callable[..., Any], *samples: Array) -> ExportedFunction:
        signature = [
            tf.TensorSpec([None, *sample.shape], sample.dtype, name=f"x{place}") for place, sample in enumerate(samples)
        ]
        model, _ = tf2onnx.convert.from_function(
            tf.function(function, autograph=False), input_signature=signature, opset=_OPSET
        )
        session = self._session(call_path, model.SerializeToString())
        names = [value.name for value in session.get_inputs()]

        def run(*arrays: Array) -> list[Array]:
            outputs: list[Array] = session.run(None, dict(zip(names, arrays, strict=True)))
            return outputs

        return run

    def read(self, call_path: str, scopes: Scopes) -> Program:
        model = self._executed[call_path]
        (steps,) = set(scopes.steps.values())
        nodes = [(node.op_type, node.name) for node in model.graph.node]
        artefact = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:16]
        return read_nodes(nodes, tuple(scopes.steps), steps, artefact)

    def facts(self) -> dict[str, Any]:
        return {module.__name__: module.__version__ for module in (onnxruntime, onnx, tf2onnx)} | {"opset": _OPSET}

    def _session(self, call_path: str, exported: bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = options.inter_op_num_threads = self.case.threads  # 0 is the default
        with ScratchFolder("onnx") as folder:
            # what the session executes is not what it was given: it writes down what its optimiser made of it
            optimised = folder / "optimised.onnx"
            options.optimized_model_filepath = str(optimised)
            session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
            self._executed[call_path] = onnx.load(optimised)
        return session
