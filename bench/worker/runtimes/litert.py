"""LiteRT (TensorFlow Lite's successor): the trained Keras model is converted, and its interpreter does the inference.

Converted loops need operations that the plain interpreter has not, so a copy of the network without loops is exported,
with the trained weights. As int8 the converter keeps the weights of products in 8 bits, with a scale each, and the
interpreter computes with 8-bit inputs whose range it finds at each call (dynamic range).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from bench.core.protocol import InvalidRun
from bench.worker.data import Array
from bench.worker.evidence.onnx import read_nodes
from bench.worker.evidence.programs import Program, Scopes
from bench.worker.model import build
from bench.worker.runtimes.exported import ExportedFunction, ExportedRuntime

_DELEGATE = "DELEGATE"
"""The operation that stands for those that XNNPACK, the interpreter's library of fast kernels, has taken over."""


class LiteRuntime(ExportedRuntime):
    """See `bench.worker.runtimes.RuntimeAdapter`."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._models: dict[str, bytes] = {}
        """By call path."""
        self._interpreters: dict[tuple[str, int], Interpreter] = {}
        """By call path and batch: one of another size would have its memory laid out anew."""

    def network(self) -> Callable[[Any], Any]:
        unrolled = build(replace(self.case, kernel="unrolled"), self.task)
        unrolled.set_weights(self.model.get_weights())
        return partial(unrolled, training=False)

    def export(self, call_path: str, function: Callable[..., Any], *samples: Array) -> ExportedFunction:
        signature = [
            tf.TensorSpec([None, *sample.shape], sample.dtype, name=f"x{place}") for place, sample in enumerate(samples)
        ]
        traced = tf.function(lambda *batches: function(*batches), autograph=False).get_concrete_function(*signature)
        # as variables the weights would have to be set before each use of an interpreter
        converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(traced)])
        if self.case.dtype == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        self._models[call_path] = converter.convert()
        if self.case.dtype == "int8" and "int8" not in self._number_formats(call_path):
            raise InvalidRun(
                "asked for int8, but the export has no weights in it: LiteRT's converter leaves matrices of fewer than "
                "1,024 elements as they are"
            )

        def run(*arrays: Array) -> list[Array]:
            interpreter = self._interpreter(call_path, len(arrays[0]))
            for place, array in zip(interpreter.get_input_details(), arrays, strict=True):
                interpreter.set_tensor(place["index"], array)
            interpreter.invoke()
            return [interpreter.get_tensor(place["index"]) for place in interpreter.get_output_details()]

        return run

    def read(self, call_path: str, scopes: Scopes) -> Program:
        interpreter = self._interpreter(call_path, 1)
        (steps,) = set(scopes.steps.values())
        names = {place["index"]: str(place["name"]) for place in interpreter.get_tensor_details()}
        # an operation has no name, and what it gives has
        nodes = [
            (str(node["op_name"]), names.get(node["outputs"][0], ""))
            for node in interpreter._get_ops_details()
            if len(node["outputs"])
        ]
        artefact = hashlib.sha256(self._models[call_path]).hexdigest()[:16]
        return read_nodes(nodes, tuple(scopes.steps), steps, artefact)

    def facts(self) -> dict[str, Any]:
        nodes = self._interpreter("compiled", 1)._get_ops_details()
        return {
            "litert": version("ai-edge-litert"),
            "litert_number_formats": self._number_formats("compiled"),
            "xnnpack_partitions": sum(node["op_name"] == _DELEGATE for node in nodes),
        }

    def _number_formats(self, call_path: str) -> list[str]:
        """Those of the arrays in the exported graph."""
        places = self._interpreter(call_path, 1).get_tensor_details()
        return sorted({np.dtype(place["dtype"]).name for place in places})

    def _interpreter(self, call_path: str, batch: int) -> Interpreter:
        made = self._interpreters.get((call_path, batch))
        if made is None:
            made = Interpreter(model_content=self._models[call_path], num_threads=self.case.threads or None)
            for place in made.get_input_details():
                made.resize_tensor_input(place["index"], [batch, *place["shape"][1:]])
            made.allocate_tensors()
            self._interpreters[call_path, batch] = made
        return made
