"""The networks that a cell is put into: their shape, and their arithmetic by formula.

The model itself is built in the worker (`bench.worker.model`), from the description here.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.errors import unknown

DENSE_UNITS = 32
"""Width of the dense layer between the recurrent layers and the classes."""


@dataclass(frozen=True)
class Network:
    """Two recurrent layers, a dense one and the classes, with dropout between them (docs/design.md, the protocol)."""

    name: str
    activations: tuple[str, str]
    """Of the first and the second recurrent layer."""
    title: str


NETWORKS = {
    network.name: network
    for network in (
        Network(
            "notebook",
            ("tanh", "relu"),
            "the notebook's network: relu in the second recurrent layer, which cuDNN cannot do",
        ),
        Network("cudnn_ready", ("tanh", "tanh"), "tanh in both recurrent layers, so that cuDNN's kernels can be had"),
    )
}


def find(name: str, origin: str = "a case") -> Network:
    """The network of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS, origin)
    return NETWORKS[name]


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations for one sample, 2 per multiply-add; element-wise work is not counted."""

    forward: float
    training: float
    """Forward and backward, less the gradient with respect to the first layer's input, which nobody needs."""


def arithmetic(gates: int, units: int, *, steps: int, features: int, classes: int) -> Arithmetic:
    """The arithmetic of a network whose cells multiply `gates` times by [inputs, units] and [units, units] a step."""
    first_input = 2 * steps * gates * features * units
    recurrent = 2 * steps * gates * units * units
    second_input = recurrent  # the second layer reads the first one's `units` outputs
    dense = 2 * (units * DENSE_UNITS + DENSE_UNITS * classes)
    forward = first_input + recurrent + second_input + recurrent + dense
    return Arithmetic(forward=forward, training=3 * forward - first_input)
