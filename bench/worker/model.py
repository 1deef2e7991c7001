"""Builds the network around a cell, and the cells that come with the program."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from string import ascii_lowercase
from typing import Any

import keras

from bench.catalog import cells, kernels, masks, networks
from bench.catalog.kernels import Kernel, jit_compile
from bench.catalog.networks import Dense, Dropout, Embedding, Output, PlacedLayer, Recurrent
from bench.catalog.tasks import Task
from bench.core.case import Case
from bench.core.protocol import FailedRun
from bench.worker.failure import USERS_ERRORS, failure_reason
from bench.worker.users_code import load_factory


def simple_rnn(layer: Recurrent, kernel: Kernel, **given: Any) -> keras.layers.Layer:
    """Keras's SimpleRNN. It has no cuDNN path and rejects the argument."""
    return keras.layers.SimpleRNN(unroll=kernel.unroll, **_options(layer), **given)


def lstm(layer: Recurrent, kernel: Kernel, **given: Any) -> keras.layers.Layer:
    """Keras's LSTM, forget bias 1 (its default)."""
    return keras.layers.LSTM(**_gates(layer, kernel), **_options(layer), **given)


def gru(layer: Recurrent, kernel: Kernel, **given: Any) -> keras.layers.Layer:
    """Keras's GRU, reset after the matrix product (its default, and cuDNN's form) unless the case asks otherwise."""
    return keras.layers.GRU(**_gates(layer, kernel), reset_after=layer.reset_after, **_options(layer), **given)


def _gates(layer: Recurrent, kernel: Kernel) -> dict[str, Any]:
    return {
        "recurrent_activation": layer.recurrent_activation,
        "use_cudnn": kernel.use_cudnn,
        "unroll": kernel.unroll,
    }


def _options(layer: Recurrent) -> dict[str, Any]:
    return {
        "use_bias": layer.bias,
        "dropout": layer.dropout,
        "recurrent_dropout": layer.recurrent_dropout,
        "stateful": layer.stateful,
    }


def build(case: Case, task: Task) -> keras.Model:
    """The network of `case`, built and compiled.

    Raises:
        FailedRun: the factory cannot be imported, or what it returns isn't a layer of the right shape.
    """
    if networks.find(case.network).factory:
        model = _users_network(case, task)
    else:
        inputs = _input(case, task)
        model = keras.Model(inputs, _layers(inputs, case, task))
    # the legacy `decay` of the notebook's optimizer: learning_rate / (1 + decay · step)
    schedule = keras.optimizers.schedules.InverseTimeDecay(case.learning_rate, decay_steps=1, decay_rate=case.decay)
    compile_model(model, case, task, keras.optimizers.Adam(schedule))
    return model


class CellMaker:
    """Makes the case's recurrent layers in a user's network, with the kernel that the case asks for."""

    def __init__(self, case: Case) -> None:
        self._case, self._factory = case, _factory(case.cell)
        self.names: list[str] = []
        """Those of the layers that were made."""

    def __call__(
        self, units: int, *, return_sequences: bool = False, name: str | None = None, activation: str = "tanh"
    ) -> keras.layers.Layer:
        """A recurrent layer of the case's cell.

        Args:
            units: its width.
            return_sequences: whether it gives an output for each step.
            name: what the evidence calls it; `recurrent_a`, `recurrent_b`, … where it has none.
            activation: that of its outputs.

        Raises:
            FailedRun: the name is taken, or what the cell's factory returns isn't a layer of that name.
        """
        name = name or f"recurrent_{ascii_lowercase[len(self.names)]}"
        if name in self.names:
            raise FailedRun(f"the network {self._case.network!r} made two recurrent layers of the name {name!r}")
        self.names.append(name)
        placed = PlacedLayer(Recurrent(activation), name, (), (0, units) if return_sequences else (units,))
        return _recurrent(self._factory, replace(self._case, units=units), Recurrent(activation), placed)


def _users_network(case: Case, task: Task) -> keras.Model:
    """What the user's factory `build(cell, task, units)` returns, once it is seen to be a model for the task."""
    what, cell = f"the network {case.network!r}", CellMaker(case)
    factory = load_factory(what, networks.find(case.network).factory, "a Keras model")
    try:
        model = factory(cell, task, case.units)
    except FailedRun:
        raise
    except USERS_ERRORS as error:
        raise FailedRun(
            f"{what} can't be built: {failure_reason(error)} (it is called as build(cell, task, units))"
        ) from error
    if not isinstance(model, keras.Model):
        raise FailedRun(f"{what} returned a {type(model).__name__}, not a keras.Model")
    # a wrapper has copies of its layer, whose names have more in front
    inside = [layer.name for layer in model._flatten_layers()]
    if not any(made in name for made in cell.names for name in inside):
        raise FailedRun(f"{what} made no layer with `cell`, or left it out: with any cell it is the same model")
    taken = (task.steps,) if task.vocabulary else (task.steps, task.features)
    expected = (task.steps, task.outputs) if task.target.per_step else (task.outputs,)
    try:
        outputs = model(_input(case, task))  # which builds a subclassed one
    except USERS_ERRORS as error:
        raise FailedRun(
            f"{what} doesn't take inputs of the shape {_sizes(taken)}, those of the task {case.task}: "
            f"{failure_reason(error)}"
        ) from error
    if not isinstance(outputs, keras.KerasTensor):
        raise FailedRun(
            f"{what} gives a {type(outputs).__name__} of {len(keras.tree.flatten(outputs))} outputs, where a task has "
            f"a single one, and no list or dictionary"
        )
    if (given := tuple(outputs.shape)[1:]) != expected:
        raise FailedRun(f"{what} gives {_sizes(given)} outputs, where the task {case.task} has {_sizes(expected)}")
    return model


def _sizes(shape: tuple[int | None, ...]) -> str:
    return " × ".join(map(str, shape)) or "no"


def _input(case: Case, task: Task) -> Any:
    batch_size = case.batch_size if case.stateful else None
    if task.vocabulary:
        return keras.Input((task.steps,), batch_size=batch_size, dtype="int32")
    return keras.Input((task.steps, task.features), batch_size=batch_size)


def _layers(x: Any, case: Case, task: Task) -> Any:
    """The network's outputs for its input `x`."""
    factory = _factory(case.cell)
    if task.mask_value is not None and not task.vocabulary:
        x = keras.layers.Masking(task.mask_value)(x)
    if case.mask != "none":
        x = keras.layers.Masking(masks.PADDING)(x)
    # layer after layer, as in the notebook's Sequential: each draws its seeds from Python's random state when made
    for placed in networks.of(case).placed(case.units, task):
        match placed.layer:
            case Embedding(vocabulary):
                x = keras.layers.Embedding(vocabulary, task.features, mask_zero=task.mask_value is not None)(x)
            case Recurrent() as layer:
                x = _checked(_recurrent(factory, case, layer, placed)(x), case, placed)
            case Dropout(rate):
                x = keras.layers.Dropout(rate)(x)
            case Dense(units, activation):
                x = keras.layers.Dense(units, activation=activation)(x)
            case Output():
                x = keras.layers.Dense(task.outputs, activation=task.target.activation)(x)
    return x


def compile_model(model: keras.Model, case: Case, task: Task, optimizer: keras.Optimizer) -> None:
    """Set the model up for training: the task's loss and scores, and the case's kernel."""
    model.compile(
        optimizer=optimizer,
        loss=task.target.loss,
        metrics=list(task.target.metrics),
        jit_compile=jit_compile(case.kernel, case.backend),
    )


def _factory(name: str) -> Callable[..., Any]:
    return load_factory(f"the cell {name!r}", cells.find(name).factory, "a Keras layer")


def takes_kernel(cell: str) -> bool:
    """Whether the cell's factory gets the kernel asked for, so that its layers have to bear its switches."""
    return cells.find(cell).built_in or _takes_kernel(_factory(cell))


def _recurrent(factory: Callable[..., Any], case: Case, layer: Recurrent, placed: PlacedLayer) -> keras.layers.Layer:
    made = _made(factory, case, layer, placed)
    if not layer.bidirectional:
        return made
    both = keras.layers.Bidirectional(made, name=placed.name)
    for direction in (both.forward_layer, both.backward_layer):
        # they are made anew from a configuration that lacks `use_cudnn`, as for "auto", which on a GPU rules XLA out
        direction.supports_jit = made.supports_jit
    return both


def _made(factory: Callable[..., Any], case: Case, layer: Recurrent, placed: PlacedLayer) -> keras.layers.Layer:
    name = placed.name
    options: dict[str, Any] = {
        "units": case.units,
        "activation": layer.activation,
        "return_sequences": placed.returns_sequence,
        "name": name,
    }
    cell = cells.find(case.cell)
    if cell.has_options:
        options["layer"] = layer
    if cell.built_in:
        options["kernel"] = kernels.find(case.kernel)
    elif _takes_kernel(factory):
        options["kernel"] = case.kernel
    try:
        made = factory(**options)
    except USERS_ERRORS as error:
        if cell.built_in:
            raise
        hint = "; a class is no factory: write a function that returns its layer" if inspect.isclass(factory) else ""
        raise FailedRun(
            f"the cell {case.cell!r} can't be made: {failure_reason(error)} (it is called with units, activation, "
            f"return_sequences and name{hint})"
        ) from error
    if not isinstance(made, keras.layers.Layer):
        raise FailedRun(
            f"the cell {case.cell!r} returned a {type(made).__name__}, not a Keras layer: a bare cell goes into "
            f"keras.layers.RNN(cell, return_sequences=return_sequences, name=name)"
        )
    if made.name != name:
        raise FailedRun(
            f"the cell {case.cell!r} named its layer {made.name!r} where {name!r} was asked: pass `name` on to the "
            f"layer, because the kernel that ran is looked up by it"
        )
    return made


def _takes_kernel(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "kernel" or p.kind is p.VAR_KEYWORD for p in parameters)


def _checked(output: Any, case: Case, placed: PlacedLayer) -> Any:
    expected = (case.batch_size if case.stateful else None, *placed.outputs)
    shape = getattr(output, "shape", None)
    if shape is None or tuple(shape) != expected:
        if shape is not None and tuple(shape[:-1]) == expected[:-1]:
            why = f"the layer has a width of its own, where units={case.units} was given to the factory"
        else:
            reads = "a sequence, because the next layer reads one"
            what = reads if placed.returns_sequence else "the last step's output"
            why = f"{what} (return_sequences={placed.returns_sequence})"
        wanted, got = (
            "no tensor" if sizes is None else ", ".join("batch" if size is None else str(size) for size in sizes)
            for sizes in (expected, shape)
        )
        raise FailedRun(
            f"the cell {case.cell!r} gives the shape ({got}) as the layer {placed.name}, where ({wanted}) is expected: "
            f"{why}"
        )
    return output
