"""The networks that a cell is put into: tuples of layer descriptions, and what follows from them by formula.

Declared once: the Keras and the torch builder, the arithmetic, the numbers of parameters, the drawing, the ceilings of
the serial chain and the attestation all read the tuple. A network more is one row of `NETWORKS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from bench.catalog.activations import DEFAULT
from bench.catalog.factories import FACTORY, check_factory
from bench.core.case import Case
from bench.core.errors import named

if TYPE_CHECKING:
    from bench.catalog.cells import Cell
    from bench.catalog.tasks import Task


@dataclass(frozen=True)
class Recurrent:
    """The case's cell, as wide as the case's `units`. It returns the sequence where another one follows.

    A row of `NETWORKS` gives the activation; the rest are the case's options (`of`).
    """

    activation: str
    recurrent_activation: str = "sigmoid"
    """That of the gates; SimpleRNN has none."""
    bias: bool = True
    reset_after: bool = True
    """Whether a GRU's reset gate stands after the product with the state."""
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    stateful: bool = False
    bidirectional: bool = False
    """Whether a second layer like it reads the sequence backwards; both outputs stand beside each other."""

    @property
    def directions(self) -> int:
        """The chains of steps in it, which don't wait for each other."""
        return 2 if self.bidirectional else 1


@dataclass(frozen=True)
class Embedding:
    """A vector for each token, where the task's inputs are tokens; no network declares it."""

    vocabulary: int


@dataclass(frozen=True)
class Dropout:
    """Drops this fraction of its inputs while training."""

    rate: float


@dataclass(frozen=True)
class Dense:
    """A fully connected layer of fixed width."""

    units: int
    activation: str


@dataclass(frozen=True)
class Output:
    """The fully connected output layer: its width and activation are the task's."""


Layer = Embedding | Recurrent | Dropout | Dense | Output


@dataclass(frozen=True)
class PlacedLayer:
    """A layer in its network, sized for a task: the shapes are those of one sample, without the batch."""

    layer: Layer
    name: str
    """`recurrent_a`, `recurrent_b`, …: the scope of a recurrent layer in the executed programs; else empty."""
    inputs: tuple[int, ...]
    """steps × width, or width."""
    outputs: tuple[int, ...]
    """steps × width, or width."""

    @property
    def returns_sequence(self) -> bool:
        """Whether it gives an output for each step."""
        return len(self.outputs) == 2

    @property
    def positions(self) -> int:
        """How often the layer's weights are applied to one sample: at each step of a sequence, else once."""
        return math.prod(self.inputs[:-1])


@dataclass(frozen=True)
class Network:
    """A stack of layers around the case's cell, from the sequence to the task's outputs; or a user's factory."""

    name: str
    title: str
    layers: tuple[Layer, ...]
    """None of a user's network: nothing follows from it by formula, and its layers are known when it is built."""
    factory: str = ""
    """`module:factory` of a user's network (`bench.worker.model`)."""

    def __post_init__(self) -> None:
        if self.factory:
            return
        kinds: list[type[Layer]] = [type(layer) for layer in self.layers if not isinstance(layer, Dropout)]
        recurrent = kinds.count(Recurrent)
        dense = len(kinds) - recurrent - 1
        if not recurrent or kinds != [*[Recurrent] * recurrent, *[Dense] * dense, Output]:
            raise ValueError(
                f"the network {self.name} must be recurrent layers, then dense ones, then the output; dropout anywhere"
            )

    @property
    def recurrent(self) -> tuple[Recurrent, ...]:
        """The recurrent layers, in the order in which the data goes through them."""
        return tuple(layer for layer in self.layers if isinstance(layer, Recurrent))

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each recurrent layer."""
        return tuple(layer.activation for layer in self.recurrent)

    @property
    def recurrent_names(self) -> tuple[str, ...]:
        """The name of each recurrent layer, in the order in which the data goes through them."""
        return tuple(f"recurrent_{ascii_lowercase[number]}" for number in range(len(self.recurrent)))

    def dependent_steps(self, task: Task) -> int:
        """Products of a training step that wait for each other: a sequence's steps in each layer, forward and back.

        A reset gate before the product with the state makes two of each. Two directions don't wait for each other.
        """
        return sum(2 * task.steps * (1 if layer.reset_after else 2) for layer in self.recurrent)

    def with_depth(self, layers: int) -> Network:
        """The network with so many recurrent layers: its first ones, then its last one again, with the dropout behind.

        Args:
            layers: how many, at least 1.
        """
        starts = [place for place, layer in enumerate(self.layers) if isinstance(layer, Recurrent)]
        head = next(place for place, layer in enumerate(self.layers) if isinstance(layer, Dense | Output))
        groups = [self.layers[start:end] for start, end in zip(starts, [*starts[1:], head], strict=True)]
        groups = [*groups[:layers], *[groups[-1]] * (layers - len(groups))]
        kept = (*self.layers[: starts[0]], *(layer for group in groups for layer in group), *self.layers[head:])
        return replace(self, layers=kept)

    def placed(self, units: int, task: Task) -> tuple[PlacedLayer, ...]:
        """The layers with their shapes, for a cell of `units` and the sequences and targets of `task`.

        The last recurrent layer gives the sequence too where there is a target for each step.
        """
        names = iter(self.recurrent_names)
        last = self.recurrent_names[-1]
        shape: tuple[int, ...] = (task.steps, task.features)
        placed = []
        if task.vocabulary:
            placed.append(PlacedLayer(Embedding(task.vocabulary), "", (task.steps,), shape))
        for layer in self.layers:
            name, inputs = "", shape
            match layer:
                case Recurrent():
                    name, width = next(names), layer.directions * units
                    whole = name != last or task.target.per_step
                    shape = (task.steps, width) if whole else (width,)
                case Dense():
                    shape = (*shape[:-1], layer.units)
                case Output():
                    shape = (*shape[:-1], task.outputs)
            placed.append(PlacedLayer(layer, name, inputs, shape))
        return tuple(placed)


_HEAD = (Dense(32, "relu"), Dropout(0.1), Output())

NETWORKS = {
    network.name: network
    for network in (
        Network(
            "notebook",
            "the notebook's network: relu in the second recurrent layer, which cuDNN cannot do",
            (Recurrent("tanh"), Dropout(0.2), Recurrent("relu"), Dropout(0.2), *_HEAD),
        ),
        Network(
            "single",
            "one recurrent layer with tanh, and the output: for tasks that are about the cell's memory alone",
            (Recurrent("tanh"), Output()),
        ),
        Network(
            "cudnn_ready",
            "tanh in both recurrent layers, so that cuDNN's kernels can be had",
            (Recurrent("tanh"), Dropout(0.2), Recurrent("tanh"), Dropout(0.2), *_HEAD),
        ),
    )
}


def find(name: str, origin: str = "a case") -> Network:
    """The network of that name, or the one that `module:factory` names; whether that is there isn't looked for here.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    if FACTORY.fullmatch(name):
        return _of_user(name)
    if ":" in name:
        check_factory("network", name, origin)
    return named("network", name, NETWORKS, origin)


@lru_cache(maxsize=64)
def _of_user(name: str) -> Network:
    return Network(name, "named on the command line or in the suite", (), factory=name)


def of(case: Case) -> Network:
    """The network that a case names, with the case's number of recurrent layers, and its options in each of them.

    A user's network is what it is.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    return _with_options(
        find(case.network),
        case.layers,
        case.activation,
        recurrent_activation="sigmoid" if case.recurrent_activation == DEFAULT else case.recurrent_activation,
        bias=case.bias,
        reset_after=case.reset_after,
        dropout=case.dropout,
        recurrent_dropout=case.recurrent_dropout,
        stateful=case.stateful,
        bidirectional=case.bidirectional,
    )


@lru_cache(maxsize=1024)
def _with_options(network: Network, layers: int, activation: str, **options: Any) -> Network:
    if network.factory:
        return network
    if activation != DEFAULT:
        options["activation"] = activation
    deep = network.with_depth(layers) if layers else network
    return replace(
        deep,
        layers=tuple(replace(layer, **options) if isinstance(layer, Recurrent) else layer for layer in deep.layers),
    )


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations for one sample, 2 per multiply-add; element-wise work is not counted."""

    forward: float
    training: float
    """Forward and backward, less the gradient with respect to the network's inputs, which nobody needs."""


def arithmetic(network: Network, gates: int, units: int, task: Task, *, state_gates: int | None = None) -> Arithmetic:
    """The operations of a network for one sample.

    Args:
        network: the layers.
        gates: how often the cell multiplies its inputs by [inputs, units] at each step.
        units: the cell's width.
        task: gives the steps, the features and the outputs.
        state_gates: how often it multiplies its state by [units, units]; None: as often.
    """
    placed = network.placed(units, task)
    # per position: the products with the layer's inputs, and those with a recurrent layer's state
    inputs = [2 * layer.positions * _weights(layer, gates) for layer in placed]
    states = sum(
        2 * layer.positions * layer.layer.directions * (gates if state_gates is None else state_gates) * units * units
        for layer in placed
        if isinstance(layer.layer, Recurrent)
    )
    forward = sum(inputs) + states
    # backward is a product for the weights' gradient and one for the inputs', each as large as the forward one
    first = 0 if task.vocabulary else next(operations for operations in inputs if operations)
    return Arithmetic(forward=forward, training=3 * forward - first)


def parameters(placed: PlacedLayer, cell: Cell) -> int | None:
    """The layer's weights and biases; None for a recurrent layer whose cell's arithmetic is unknown."""
    if isinstance(placed.layer, Recurrent):
        if cell.gates is None or cell.state_gates is None:
            return None
        layer = placed.layer
        units = placed.outputs[-1] // layer.directions
        # the second vector of biases is the one that a reset gate multiplies after the product with the state
        biases = (cell.biases if layer.reset_after else 1) if layer.bias else 0
        of_state = layer.directions * units * (cell.state_gates * units + cell.gates * biases)
        return _weights(placed, cell.gates) + of_state
    if isinstance(placed.layer, Embedding):
        return placed.layer.vocabulary * placed.outputs[-1]
    return _weights(placed, 1) + placed.outputs[-1] if _weights(placed, 1) else 0


def _weights(placed: PlacedLayer, gates: int) -> int:
    """The elements of the matrices that the layer's inputs are multiplied by; a recurrent layer has one a gate."""
    match placed.layer:
        case Embedding() | Dropout():
            return 0
        case Recurrent():
            return gates * placed.inputs[-1] * placed.outputs[-1]
    return placed.inputs[-1] * placed.outputs[-1]
