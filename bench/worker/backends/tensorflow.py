"""TensorFlow: the program that ran is the graph that `fit` kept in its function's closure."""

from __future__ import annotations

import inspect
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework.config import is_op_determinism_enabled  # which Keras reads too
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from bench.core.metric import STREAMING
from bench.core.protocol import MEMORY_LIMIT, FailedRun
from bench.worker import iterators
from bench.worker.evidence.canonical import graph_digest
from bench.worker.evidence.card_kernels import LINE, PLANE, CardKernel, add_kernels, profile_cards
from bench.worker.evidence.marks import mark_calls
from bench.worker.evidence.programs import BY_TWO, Node, Program, Scopes, agreed_by_layer, is_loop, read_graph
from bench.worker.evidence.retracing import Signature, shape_text
from bench.worker.evidence.steps import read_phase
from bench.worker.inference import CallPath, Inputs, Outputs
from bench.worker.step import StepNetwork
from bench.worker.streaming import State, Step
from bench.worker.warmup import Snapshot, steps_again

_FUNCTIONS = {"train": "train_function", "evaluate": "test_function", "predict": "predict_function"}


class TensorFlowBackend:
    """See `bench.worker.backends.BackendAdapter`."""

    def __init__(self) -> None:
        self._compiled: Any = None
        self._step: Any = None
        self._batch: tuple[Any, Any] = ((), ())
        """What `fit` trains on in a step."""

    def configure(self, device: str, threads: int) -> None:
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        else:
            gpus, index = tf.config.list_physical_devices("GPU"), int(device.partition(":")[2])
            if index >= len(gpus):
                raise FailedRun(f"TensorFlow sees no {device}: its build here is for the processor, or finds no CUDA")
            tf.config.set_visible_devices([gpus[index]], "GPU")
            if limit := os.environ.get(MEMORY_LIMIT):
                whole = tf.config.LogicalDeviceConfiguration(memory_limit=int(limit))
                tf.config.set_logical_device_configuration(gpus[index], [whole])

    def make_deterministic(self) -> None:
        tf.config.experimental.enable_op_determinism()

    def allow_tf32(self, allowed: bool) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(allowed)

    def build_symbolically(self, model: keras.Model, x: Any, y: Any, batch_size: int) -> None:
        # with a batch, not an iterator: plain `fit` draws none on TensorFlow
        self._batch = x[:batch_size], y[:batch_size]
        model._symbolic_build(data_batch=self._batch)

    def synchronise(self) -> None:
        tf.test.experimental.sync_devices()

    def device_bytes(self) -> int | None:
        if not tf.config.get_visible_devices("GPU"):
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["current"])  # the only one that is visible

    def peak_device_bytes(self) -> tuple[int | None, int | None]:
        if not tf.config.get_visible_devices("GPU"):
            return None, None
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]), None

    def random_state(self) -> Any:
        # the source of op seeds: every dataset that the warm-up makes draws from it
        return context.context()._rng.getstate()

    def set_random_state(self, state: Any) -> None:
        context.context()._rng.setstate(state)

    def programs(self, model: keras.Model) -> int:
        return sum(len(functions) for functions in self._executed(model).values())

    def signatures(self, model: keras.Model) -> list[Signature]:
        functions = [function for executed in self._executed(model).values() for function in executed]
        # the number behind a function's name is drawn when it is traced
        functions.sort(key=lambda function: int(function.name.rpartition(b"_")[2]))
        return [tuple(map(shape_text, _shapes(function.structured_input_signature))) for function in functions]

    def compile_inference(self, model: keras.Model) -> CallPath:
        compiled = self._compiled = tf.function(lambda x: model(x, training=False), jit_compile=model.jit_compile)
        return lambda x: compiled(tf.constant(x)).numpy()

    def compile_step(self, model: keras.Model, network: StepNetwork) -> Step:
        compiled = self._step = tf.function(
            lambda x, states: network(x, states), jit_compile=model.jit_compile, autograph=False
        )

        def step(x: Inputs, states: State) -> tuple[Outputs, State]:
            outputs, states = compiled(tf.constant(x), states)
            return outputs.numpy(), states

        return step

    def _executed(self, model: keras.Model) -> dict[str, list[Any]]:
        """By phase: the concrete functions."""
        by_phase = {phase: _concrete(model, name) for phase, name in _FUNCTIONS.items()}
        made_here = {"compiled": self._compiled, STREAMING: self._step}
        return by_phase | {
            phase: function._list_all_concrete_functions() if function else [] for phase, function in made_here.items()
        }

    def array(self, values: Any, dtype: str) -> Any:
        return tf.constant(values, dtype=dtype)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = tf.function(function, autograph=False)
        return made

    def attest(self, model: keras.Model, layers: Mapping[str, keras.Layer], scopes: Scopes) -> dict[str, Program]:
        traces = {
            phase: [read_phase(phase, scopes, partial(_read_trace, function)) for function in functions]
            for phase, functions in self._executed(model).items()
        }
        evidence = {phase: agreed_by_layer(programs) for phase, programs in traces.items() if programs}
        if not tf.config.get_visible_devices("GPU"):
            return evidence
        profile = partial(profile_cards, tf.profiler.experimental.Profile, read_profile_file)
        trained = Snapshot(model, self)
        evidence = add_kernels(evidence, steps_again(model, *self._batch), profile, scopes)
        trained.restore()
        return evidence

    def mark(self, layers: Mapping[str, keras.Layer], scopes: Scopes) -> None:
        mark_calls(layers, scopes, tf.name_scope)

    def run_attested(
        self,
        model: keras.Model,
        layers: Mapping[str, keras.Layer],
        scopes: Scopes,
        phases: Mapping[str, Callable[[], object]],
    ) -> dict[str, Program]:
        for run in phases.values():
            run()
        return self.attest(model, layers, scopes)

    def read_back(self, model: keras.Model) -> dict[str, Any]:
        build = tf.sysconfig.get_build_info()
        return {
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "op_determinism": is_op_determinism_enabled(),
            "memory_limit_bytes": _memory_limit_bytes(),
            "threads": tf.config.threading.get_intra_op_parallelism_threads(),
            **({} if iterators.are_tuned() else {"input_tuned": False}),
            "cudnn_version": build.get("cudnn_version"),
            "cuda_version": build.get("cuda_version"),
        }


def _memory_limit_bytes() -> int | None:
    """What this process may take of its card; None where it has none, or has it all."""
    cards = tf.config.get_visible_devices("GPU")
    parts = [part for card in cards for part in tf.config.get_logical_device_configuration(card) or ()]
    return next((part.memory_limit << 20 for part in parts if part.memory_limit is not None), None)


def read_profile_file(file: Path, plane: str = PLANE, line: str = LINE) -> Iterator[CardKernel]:
    """The kernels in a file of TensorFlow's profiler.

    Args:
        file: an XSpace.
        plane: how the names of the planes that are read begin.
        line: the same of the lines.
    """
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    for device in space.planes:
        if not device.name.startswith(plane):
            continue
        names = {key: entry.name for key, entry in device.stat_metadata.items()}
        for stream in device.lines:
            for event in stream.events if stream.name.startswith(line) else ():
                stats = {
                    names[stat.metadata_id]: stat.str_value or names.get(stat.ref_value, "") for stat in event.stats
                }
                kernel = device.event_metadata[event.metadata_id].name
                yield CardKernel(kernel, stats.get("tf_op", ""), stats.get("hlo_op", ""))


def _shapes(signature: Any) -> Iterator[list[int | None]]:
    """The shapes of a function's arguments: those of an iterator are its elements'."""
    for spec in tf.nest.flatten(signature):
        if isinstance(spec, tf.data.IteratorSpec):
            yield from _shapes(spec._element_spec)
        elif isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None:
            yield spec.shape.as_list()


def _concrete(model: keras.Model, attribute: str) -> list[Any]:
    """The concrete functions of `model.train_function` and its like: kept in closures, several wrappers deep."""
    functions: list[Any] = []
    queue, seen = deque([getattr(model, attribute, None)]), set()
    while queue:
        value = queue.popleft()
        if value is None or id(value) in seen:
            continue
        seen.add(id(value))
        if hasattr(value, "_list_all_concrete_functions"):
            functions += value._list_all_concrete_functions()
        elif inspect.isfunction(value):
            queue += [v for v in inspect.getclosurevars(value).nonlocals.values() if callable(v)]
    return functions


def _nodes(graph_def: Any, whole_in_xla: bool) -> Iterator[Node]:
    """Every node that the graph can reach; `library.function` is walked too, each function once in each situation."""
    library = {function.signature.name: function for function in graph_def.library.function}
    queue: deque[tuple[Any, bool, bool]] = deque([(graph_def.node, whole_in_xla, False)])
    seen: set[tuple[str, bool, bool]] = set()
    while queue:
        nodes, compiled, looped = queue.popleft()
        constants = {node.name: node for node in nodes if node.op == "Const"}
        for node in nodes:
            in_xla = compiled or ("_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b)
            yield Node(node.name, _operation(node, constants), in_xla, looped)
            in_loop = looped or is_loop(node.op)
            for attribute in node.attr.values():
                for function in (attribute.func, *attribute.list.func):
                    key = (function.name, in_xla, in_loop)
                    if function.name in library and key not in seen:
                        seen.add(key)
                        body = library[function.name]
                        queue.append((body.node_def, in_xla or body.attr["_XlaMustCompile"].b, in_loop))


def _operation(node: Any, constants: Mapping[str, Any]) -> str:
    """The type of a node; one that takes every second value is marked."""
    if node.op != "StridedSlice":
        return str(node.op)
    strides = constants.get(node.input[3].partition(":")[0])
    by_two = strides is not None and 2 in tf.make_ndarray(strides.attr["value"].tensor)
    return f"{node.op}{BY_TWO}" if by_two else str(node.op)


def _read_trace(function: Any, scopes: Scopes) -> Program:
    graph_def = function.graph.as_graph_def()
    # the mark of a compiled function is its own, not its nodes'
    whole_in_xla = function.function_def.attr["_XlaMustCompile"].b
    return read_graph(_nodes(graph_def, whole_in_xla), graph_digest(graph_def), scopes)
