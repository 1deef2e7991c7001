"""Builds the network around a cell, and the cells that come with the program."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras

from bench.catalog import cells, kernels, networks
from bench.catalog.kernels import Kernel, jit_compile
from bench.catalog.networks import Dense, Dropout, Embedding, Output, PlacedLayer, Recurrent
from bench.catalog.tasks import Task
from bench.core.case import Case
from bench.core.protocol import FailedRun
from bench.worker.users_code import load_factory


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
    inputs = keras.Input((task.steps,), dtype="int32") if task.vocabulary else keras.Input((task.steps, task.features))
    model = keras.Model(inputs, _layers(inputs, case, task))
    _compile(model, case, task)
    return model


def _layers(x: Any, case: Case, task: Task) -> Any:
    """The network's outputs for its input `x`."""
    factory = _factory(case.cell)
    if task.mask_value is not None and not task.vocabulary:
        x = keras.layers.Masking(task.mask_value)(x)
    # layer after layer, as in the notebook's Sequential: each draws its seeds from Python's random state when made
    for placed in networks.find(case.network).placed(case.units, task):
        match placed.layer:
            case Embedding(vocabulary):
                x = keras.layers.Embedding(vocabulary, task.features, mask_zero=task.mask_value is not None)(x)
            case Recurrent(activation):
                x = _checked(_layer(factory, case, activation, placed)(x), case, placed)
            case Dropout(rate):
                x = keras.layers.Dropout(rate)(x)
            case Dense(units, activation):
                x = keras.layers.Dense(units, activation=activation)(x)
            case Output():
                x = keras.layers.Dense(task.outputs, activation=task.target.activation)(x)
    return x


def _compile(model: keras.Model, case: Case, task: Task) -> None:
    # the legacy `decay` of the notebook's optimizer: learning_rate / (1 + decay · step)
    schedule = keras.optimizers.schedules.InverseTimeDecay(case.learning_rate, decay_steps=1, decay_rate=case.decay)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=task.target.loss,
        metrics=list(task.target.metrics),
        jit_compile=jit_compile(case.kernel, case.backend),
    )


def _factory(name: str) -> Callable[..., Any]:
    return load_factory(f"the cell {name!r}", cells.find(name).factory, "a Keras layer")


def takes_kernel(cell: str) -> bool:
    """Whether the cell's factory gets the kernel asked for, so that its layers have to bear its switches."""
    return cells.find(cell).built_in or _takes_kernel(_factory(cell))


def _layer(factory: Callable[..., Any], case: Case, activation: str, placed: PlacedLayer) -> keras.layers.Layer:
    name = placed.name
    options: dict[str, Any] = {
        "units": case.units,
        "activation": activation,
        "return_sequences": placed.returns_sequence,
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


def _checked(output: Any, case: Case, placed: PlacedLayer) -> Any:
    expected, shape = (None, *placed.outputs), getattr(output, "shape", None)
    if shape is None or tuple(shape) != expected:
        why = "a sequence, because the next layer reads one" if placed.returns_sequence else "the last step's output"
        wanted, got = (
            "no tensor" if sizes is None else ", ".join("batch" if size is None else str(size) for size in sizes)
            for sizes in (expected, shape)
        )
        raise FailedRun(
            f"the cell {case.cell!r} gives the shape ({got}) as the layer {placed.name}, where ({wanted}) is expected: "
            f"{why} (return_sequences={placed.returns_sequence})"
        )
    return output
