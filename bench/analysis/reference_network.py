"""The networks that come with the program, computed from their definitions in float64: outputs and gradients. Pure.

Written from the equations, and not from any backend's code, so that what all backends have in common is checked too:
LSTM as Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000), GRU as Cho et al. (2014) with its
reset gate before the product with the state, or after it as cuDNN has it. A step that is masked leaves the state, and
the output, as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.analysis.rounding import EXACT, Array, Precision, Tape, Value
from bench.catalog import masks, networks
from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import Dense, Dropout, Output, PlacedLayer, Recurrent
from bench.catalog.tasks import Task
from bench.core.case import Case

Kept = NDArray[np.bool_] | None
"""Which steps are no padding, samples × steps; None where none is masked."""


@dataclass(frozen=True)
class Problem:
    """What every kernel is given: a batch, and the weights of the network."""

    x: NDArray[np.float32]
    """Samples × steps × features; steps that are padding hold `bench.catalog.masks.PADDING`."""
    y: NDArray[np.int64] | NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    """In the order, and of the shapes, in which Keras has them."""
    names: tuple[str, ...]
    """Those of the weights: `recurrent_a kernel`."""


def problem(case: Case, task: Task, seed: int) -> Problem:
    """A batch of normal noise, and weights as Keras would draw them, but biases too, so that none is left unchecked.

    All from NumPy's generator, and in float32, so that every backend gets the same bits.

    Args:
        case: gives the network, its width and its options, the mask and the batch size.
        task: gives the shapes.
        seed: what all is drawn from.
    """
    random = np.random.default_rng(seed)
    x = random.standard_normal((case.batch_size, task.steps, task.features)).astype(np.float32)
    steps = (task.steps,) if task.target.per_step else ()
    y = (
        random.integers(0, task.outputs, (case.batch_size, *steps))
        if task.target.is_class
        else random.standard_normal((case.batch_size, *steps, task.outputs)).astype(np.float32)
    )
    named = [
        (f"{placed.name or type(placed.layer).__name__.lower()} {name}", _drawn(random, name, shape))
        for placed in networks.of(case).placed(case.units, task)
        for name, shape in _shapes(case, placed)
    ]
    return Problem(
        x=masks.padded(x, case.mask), y=y, weights=tuple(w for _, w in named), names=tuple(name for name, _ in named)
    )


def _drawn(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Glorot's uniform distribution for kernels, as much variance for those of the state, and biases within ± 0.1."""
    if "bias" in name:
        return random.uniform(-0.1, 0.1, shape).astype(np.float32)
    if "recurrent" in name.split():
        return (random.standard_normal(shape) / math.sqrt(shape[0])).astype(np.float32)
    return (random.uniform(-1, 1, shape) * math.sqrt(6 / sum(shape))).astype(np.float32)


def _shapes(case: Case, placed: PlacedLayer) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The weights of a layer in Keras's order: a name and a shape each."""
    width, layer = placed.inputs[-1], placed.layer
    if isinstance(layer, Recurrent):
        for direction in ("", "backward ")[: layer.directions]:
            for name, shape in _CELLS[case.cell].shapes(width, case.units, layer):
                yield f"{direction}{name}", shape
    elif isinstance(layer, Dense | Output):
        yield "kernel", (width, placed.outputs[-1])
        yield "bias", (placed.outputs[-1],)


@dataclass(frozen=True)
class Computed:
    """What a batch comes to."""

    outputs: Array
    """As the network gives them: samples × outputs, or samples × steps × outputs."""
    gradients: tuple[Array, ...]
    """The derivatives of the batch's loss with respect to each of the weights."""
    loss: float


def compute(case: Case, task: Task, given: Problem, precision: Precision = EXACT, seed: int = 0) -> Computed:
    """The outputs of a batch and the gradients of its loss, without dropout.

    Args:
        case: gives the network, its width and options.
        task: gives the target.
        given: the batch and the weights.
        precision: what each result is perturbed as if rounded to.
        seed: of the perturbations.
    """
    tape = Tape(precision, seed)
    values = [Value(weight.astype(np.float64)) for weight in given.weights]
    left = iter(values)
    kept = None if case.mask == "none" else (given.x != masks.PADDING).any(axis=2)
    # Keras's Masking layer puts zeros where it masks
    x = given.x.astype(np.float64) if kept is None else given.x * kept[:, :, None].astype(np.float64)
    sequence = [Value(x[:, step]) for step in range(task.steps)]
    for placed in networks.of(case).placed(case.units, task):
        match placed.layer:
            case Recurrent() as layer:
                sequence = _recurrent(tape, case, placed, layer, sequence, kept, left)
            case Dropout():
                pass
            case Dense(activation=activation):
                sequence = _dense(tape, sequence, left, activation)
            case Output():
                sequence = _dense(tape, sequence, left, task.target.activation)
    losses = [_loss(tape, task, output, given.y, step) for step, output in enumerate(sequence)]
    weight = 1 / (losses[0].array.size * len(losses))
    tape.backward(losses, weight)
    outputs = np.stack([output.array for output in sequence], axis=1)
    return Computed(
        outputs=outputs if task.target.per_step else outputs[:, 0],
        gradients=tuple(value.gradient for value in values),
        loss=weight * sum(float(loss.array.sum()) for loss in losses),
    )


def _loss(tape: Tape, task: Task, output: Value, y: NDArray[np.int64] | NDArray[np.float32], step: int) -> Value:
    """The losses of one step of the outputs; the batch's is their mean."""
    targets = y[:, step] if task.target.per_step else y
    if task.target.is_class:
        likelihood = tape.part(output, (np.arange(len(targets)), targets))
        return tape.subtract_from(0.0, tape.function("log", likelihood))
    difference = tape.add(output, Value(-targets.astype(np.float64)))
    return tape.multiply(difference, difference)


def _dense(tape: Tape, sequence: Sequence[Value], weights: Iterator[Value], activation: str) -> list[Value]:
    kernel, bias = next(weights), next(weights)
    sums = [tape.add(tape.product(value, kernel), bias) for value in sequence]
    return [tape.softmax(each) if activation == "softmax" else tape.function(activation, each) for each in sums]


def _recurrent(
    tape: Tape,
    case: Case,
    placed: PlacedLayer,
    layer: Recurrent,
    sequence: Sequence[Value],
    kept: Kept,
    weights: Iterator[Value],
) -> list[Value]:
    """The outputs of a recurrent layer: of each step, or the last one's alone."""
    directions = []
    for backwards in (False, True)[: layer.directions]:
        cell = _CELLS[case.cell]
        own_weights = [next(weights) for _ in cell.shapes(placed.inputs[-1], case.units, layer)]
        steps = range(len(sequence))
        order = steps[::-1] if backwards else steps
        zero = np.zeros((len(sequence[0].array), case.units))
        states = [Value(zero) for _ in range(cell.states)]
        outputs: dict[int, Value] = {}
        for step in order:
            after = cell.step(tape, layer, sequence[step], states, own_weights)
            if kept is not None:
                real = kept[:, step, None]
                after = [tape.chosen(real, new, old) for new, old in zip(after, states, strict=True)]
            states = after
            outputs[step] = states[0]
        directions.append([outputs[step] for step in steps] if placed.returns_sequence else [states[0]])
    return directions[0] if len(directions) == 1 else [tape.joined(both) for both in zip(*directions, strict=True)]


_Step = Callable[[Tape, Recurrent, Value, list[Value], Sequence[Value]], list[Value]]


@dataclass(frozen=True)
class _ReferenceCell:
    step: _Step
    """The states after a step; the first is the output."""
    states: int
    gates: int
    stateless: bool = False
    """Whether no gate sees the state."""
    resets: bool = False

    def shapes(self, width: int, units: int, layer: Recurrent) -> Iterator[tuple[str, tuple[int, ...]]]:
        columns = self.gates * units
        yield "kernel", (width, columns)
        if not self.stateless:
            yield "recurrent kernel", (units, columns)
        if layer.bias:
            yield "bias", (2, columns) if self.resets and layer.reset_after else (columns,)


def _sum(tape: Tape, first: Value, *rest: Value) -> Value:
    for value in rest:
        first = tape.add(first, value)
    return first


def _columns(tape: Tape, value: Value, parts: int) -> list[Value]:
    width = value.array.shape[-1] // parts
    return [tape.part(value, np.s_[..., part * width : (part + 1) * width]) for part in range(parts)]


def _simple_rnn(tape: Tape, layer: Recurrent, x: Value, states: list[Value], weights: Sequence[Value]) -> list[Value]:
    kernel, recurrent, *bias = weights
    return [
        tape.function(layer.activation, _sum(tape, tape.product(x, kernel), tape.product(states[0], recurrent), *bias))
    ]


def _lstm(tape: Tape, layer: Recurrent, x: Value, states: list[Value], weights: Sequence[Value]) -> list[Value]:
    (output, carry), (kernel, recurrent, *bias) = states, weights
    sums = _sum(tape, tape.product(x, kernel), tape.product(output, recurrent), *bias)
    into, forget, candidate, out = _columns(tape, sums, 4)
    into, forget, out = (tape.function(layer.recurrent_activation, gate) for gate in (into, forget, out))
    carry = tape.add(tape.multiply(forget, carry), tape.multiply(into, tape.function(layer.activation, candidate)))
    return [tape.multiply(out, tape.function(layer.activation, carry)), carry]


def _gru(tape: Tape, layer: Recurrent, x: Value, states: list[Value], weights: Sequence[Value]) -> list[Value]:
    (state,), (kernel, recurrent, *bias) = states, weights
    biases = [tape.part(bias[0], row) for row in range(2)] if bias and layer.reset_after else bias
    of_input = _columns(tape, _sum(tape, tape.product(x, kernel), *biases[:1]), 3)
    if layer.reset_after:
        of_state = _columns(tape, _sum(tape, tape.product(state, recurrent), *biases[1:]), 3)
    else:
        kernels = _columns(tape, recurrent, 3)
        of_state = [tape.product(state, each) for each in kernels[:2]]
    update, reset = (
        tape.function(layer.recurrent_activation, tape.add(*both))
        for both in zip(of_input[:2], of_state[:2], strict=True)
    )
    kept_back = (
        tape.multiply(reset, of_state[2])
        if layer.reset_after
        else tape.product(tape.multiply(reset, state), kernels[2])
    )
    candidate = tape.function(layer.activation, tape.add(of_input[2], kept_back))
    fresh = tape.multiply(tape.subtract_from(1.0, update), candidate)
    return [tape.add(tape.multiply(update, state), fresh)]


def _min_gru(tape: Tape, layer: Recurrent, x: Value, states: list[Value], weights: Sequence[Value]) -> list[Value]:
    kernel, bias = weights
    gate, candidate = _columns(tape, tape.add(tape.product(x, kernel), bias), 2)
    gate = tape.function("sigmoid", gate)
    fresh = tape.multiply(gate, tape.function(layer.activation, candidate))
    return [tape.add(tape.multiply(tape.subtract_from(1.0, gate), states[0]), fresh)]


_CELLS = {
    "simple_rnn": _ReferenceCell(_simple_rnn, states=1, gates=1),
    "lstm": _ReferenceCell(_lstm, states=2, gates=4),
    "gru": _ReferenceCell(_gru, states=1, gates=3, resets=True),
    "min_gru": _ReferenceCell(_min_gru, states=1, gates=2, stateless=True),
}
assert _CELLS.keys() == BUILT_IN.keys()
