"""The activations that a recurrent layer may be given, by Keras's names."""

from __future__ import annotations

from bench.core.errors import unknown

DEFAULT = "default"

ACTIVATIONS = {
    DEFAULT: "the network's own in each layer; of gates, sigmoid",
    "tanh": "the hyperbolic tangent, which cuDNN's kernels need",
    "sigmoid": "the logistic function, which cuDNN's kernels need in gates",
    "relu": "max(x, 0)",
    "hard_sigmoid": "x / 6 + 1 / 2, within 0 and 1",
    "linear": "x itself",
    "softsign": "x / (1 + |x|)",
    "elu": "x above 0, exp(x) - 1 below",
    "silu": "x times the logistic function",
}


def find(name: str, origin: str = "a case") -> str:
    """The activation of that name, if there is one.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    if name in ACTIVATIONS:
        return name
    raise unknown("activation", name, ACTIVATIONS, origin)
