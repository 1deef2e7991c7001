"""Builds the network around a cell, and the cells that come with the program."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

import keras

from bench.catalog import cells, kernels, networks
from bench.catalog.kernels import Kernel, jit_compile
from bench.catalog.networks import DENSE_UNITS
from bench.catalog.tasks import Task
from bench.core.case import Case
from bench.core.protocol import FailedRun

RECURRENT_LAYERS = ("recurrent_a", "recurrent_b")
"""The names of the two recurrent layers: their scopes in the executed program bear them."""


def simple_rnn(units: int, activation: str, return_sequences: bool, name: str, kernel: Kernel) -> keras.layers.Layer:
    """Keras's SimpleRNN. It has no cuDNN path and rejects the argument."""
    return keras.layers.SimpleRNN(
        units, activation=activation, return_sequences=return_sequences, unroll=kernel.unroll, name=name
    )


def lstm(units: int, activation: str, return_sequences: bool, name: str, kernel: Kernel) -> keras.layers.Layer:
    """Keras's LSTM, forget bias 1 (its default)."""
    return _gated(keras.layers.LSTM, units, activation, return_sequences, name, kernel)


def gru(units: int, activation: str, return_sequences: bool, name: str, kernel: Kernel) -> keras.layers.Layer:
    """Keras's GRU, reset after the matrix product (its default, and cuDNN's form)."""
    return _gated(keras.layers.GRU, units, activation, return_sequences, name, kernel)


def _gated(
    kind: type[Any], units: int, activation: str, return_sequences: bool, name: str, kernel: Kernel
) -> keras.layers.Layer:
    return kind(
        units,
        activation=activation,
        return_sequences=return_sequences,
        use_cudnn=kernel.use_cudnn,
        unroll=kernel.unroll,
        name=name,
    )


def build(case: Case, task: Task) -> keras.Model:
    """The network of `case`, built and compiled.

    Raises:
        FailedRun: the factory cannot be imported, or what it returns isn't a layer of the right shape.
    """
    network, factory = networks.find(case.network), _factory(case.cell)
    # layer after layer, as in the notebook's Sequential: each draws its seeds from Python's random state when made
    inputs = keras.Input((task.steps, task.features))
    first = _layer(factory, case, network.activations[0], True, RECURRENT_LAYERS[0])
    x = _checked(
        first(inputs), (None, task.steps, case.units), case, "first", "a sequence, because the second reads one"
    )
    x = keras.layers.Dropout(0.2)(x)
    second = _layer(factory, case, network.activations[1], False, RECURRENT_LAYERS[1])
    x = _checked(second(x), (None, case.units), case, "second", "the last step's output")
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(DENSE_UNITS, activation="relu")(x)
    x = keras.layers.Dropout(0.1)(x)
    model = keras.Model(inputs, keras.layers.Dense(task.classes, activation="softmax")(x))
    # the legacy `decay` of the notebook's optimizer: learning_rate / (1 + decay · step)
    schedule = keras.optimizers.schedules.InverseTimeDecay(case.learning_rate, decay_steps=1, decay_rate=case.decay)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=jit_compile(case.kernel, case.backend),
    )
    return model


def _factory(name: str) -> Callable[..., Any]:
    cell = cells.find(name)
    module_name, _, attribute = cell.factory.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the folder that the user stands in, as `python -m` would
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # whatever the user's module raises
        raise FailedRun(f"the cell {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(factory):
        raise FailedRun(f"the cell {name!r} is a {type(factory).__name__}, not a factory that returns a Keras layer")
    made: Callable[..., Any] = factory
    return made


def is_told_kernel(cell: str) -> bool:
    """Whether the cell's factory is told the kernel asked for, so that its layers have to bear its switches."""
    return cells.find(cell).built_in or _takes_kernel(_factory(cell))


def _layer(
    factory: Callable[..., Any], case: Case, activation: str, return_sequences: bool, name: str
) -> keras.layers.Layer:
    options: dict[str, Any] = {
        "units": case.units,
        "activation": activation,
        "return_sequences": return_sequences,
        "name": name,
    }
    if cells.find(case.cell).built_in:
        options["kernel"] = kernels.find(case.kernel)
    elif _takes_kernel(factory):
        options["kernel"] = case.kernel
    layer = factory(**options)
    if not isinstance(layer, keras.layers.Layer):
        raise FailedRun(
            f"the cell {case.cell!r} returned a {type(layer).__name__}, not a Keras layer: a bare cell goes into "
            f"keras.layers.RNN(cell, return_sequences=return_sequences, name=name)"
        )
    if layer.name != name:
        raise FailedRun(
            f"the cell {case.cell!r} named its layer {layer.name!r} where {name!r} was asked: pass `name` on to the "
            f"layer, because the kernel that ran is looked up by it"
        )
    return layer


def _takes_kernel(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "kernel" or p.kind is p.VAR_KEYWORD for p in parameters)


def _checked(output: Any, expected: tuple[int | None, ...], case: Case, which: str, why: str) -> Any:
    shape = getattr(output, "shape", None)
    if shape is None or tuple(shape) != expected:
        wanted = ", ".join("batch" if size is None else str(size) for size in expected)
        got = "no tensor" if shape is None else ", ".join("batch" if size is None else str(size) for size in shape)
        raise FailedRun(
            f"the cell {case.cell!r} gives the shape ({got}) as the {which} recurrent layer, where ({wanted}) is "
            f"expected: {why} (return_sequences={which == 'first'})"
        )
    return output
