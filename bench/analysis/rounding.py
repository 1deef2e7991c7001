"""Arithmetic in float64 that gives gradients, and that can be perturbed as rounding to a number format would.

Repeated with other random perturbations, the spread of the results is what that format allows: Monte Carlo arithmetic
(Parker 1997, "Monte Carlo arithmetic: exploiting randomness in floating-point arithmetic", UCLA CSD-970002). Each
result of an operation gets a relative error within the unit roundoff u. A sum of n products, whose order nobody knows,
gets what its n roundings add up to where they are independent, some sqrt(n) · u, instead of the n · u that the worst
of them would be (Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput.
41(5), theorem 2.4). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FUNCTION_ULPS = 4
"""How many units of roundoff an exponential or a hyperbolic tangent may be off: vectorised ones are not exact."""


@dataclass(frozen=True)
class Precision:
    """How a number format rounds."""

    roundoff: float
    """The largest relative error of a rounding: 2**-24 in float32."""
    smallest: float
    """What is lost of a number however small: below it there are no more digits, or none at all."""
    inputs: float = 0.0
    """The same of the factors of a matrix product alone, where these are rounded further: 2**-11 in TF32."""


EXACT = Precision(0.0, 0.0)
"""float64 as it is."""


class Value:
    """An array of a computation, and once `Tape.backward` was called the gradient of its result with respect to it."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.gradient = np.zeros_like(array)


_FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "linear": (lambda x: x, np.ones_like),
    "relu": (lambda x: np.maximum(x, 0.0), lambda x: (x > 0).astype(x.dtype)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (lambda x: _sigmoid(x), lambda x: _sigmoid(x) * _sigmoid(-x)),
    "hard_sigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), lambda x: (abs(x) < 3) / 6),
    "softsign": (lambda x: x / (1 + abs(x)), lambda x: (1 + abs(x)) ** -2),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1.0, np.exp(x))),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x))),
    "log": (np.log, lambda x: 1 / x),
}
"""By name: a function of each element, and its derivative."""


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))


class Tape:
    """Computes with `Value`s, and remembers how, for the gradients.

    Args:
        precision: what each result is perturbed as if rounded to.
        seed: of the perturbations.
    """

    def __init__(self, precision: Precision = EXACT, seed: int = 0) -> None:
        self._precision, self._random = precision, np.random.default_rng(seed)
        self._backward: list[Callable[[], None]] = []

    def add(self, a: Value, b: Value) -> Value:
        """a + b, broadcast."""
        result = Value(self._rounded(a.array + b.array))

        def backward() -> None:
            self._accumulate(a, result.gradient)
            self._accumulate(b, result.gradient)

        return self._remembered(result, backward)

    def subtract_from(self, number: float, a: Value) -> Value:
        """number - a."""
        result = Value(self._rounded(number - a.array))
        return self._remembered(result, lambda: self._accumulate(a, -result.gradient))

    def multiply(self, a: Value, b: Value) -> Value:
        """a · b, element by element."""
        result = Value(self._rounded(a.array * b.array))

        def backward() -> None:
            self._accumulate(a, self._rounded(result.gradient * b.array))
            self._accumulate(b, self._rounded(result.gradient * a.array))

        return self._remembered(result, backward)

    def product(self, a: Value, b: Value) -> Value:
        """The matrix product of n × k and k × m."""
        result = Value(self._product(a.array, b.array))

        def backward() -> None:
            self._accumulate(a, self._product(result.gradient, b.array.T))
            self._accumulate(b, self._product(a.array.T, result.gradient))

        return self._remembered(result, backward)

    def function(self, name: str, a: Value) -> Value:
        """A function of each element, by Keras's name of the activation; or `log`."""
        compute, derivative = _FUNCTIONS[name]
        ulps = 1 if name in ("linear", "relu") else _FUNCTION_ULPS
        result = Value(self._rounded(compute(a.array), ulps))

        def backward() -> None:
            slope = self._rounded(derivative(a.array), ulps)
            self._accumulate(a, self._rounded(result.gradient * slope))

        return self._remembered(result, backward)

    def softmax(self, a: Value) -> Value:
        """Probabilities along the last axis, each row's sum 1."""
        powers = self._rounded(np.exp(a.array - a.array.max(axis=-1, keepdims=True)), _FUNCTION_ULPS)
        result = Value(self._rounded(powers / self._sum(powers)))

        def backward() -> None:
            weighted = self._sum(self._rounded(result.gradient * result.array))
            self._accumulate(a, self._rounded(result.array * self._rounded(result.gradient - weighted)))

        return self._remembered(result, backward)

    def part(self, a: Value, index: Any) -> Value:
        """A view of some elements, by what stands between the brackets of an array; none of them twice."""
        result = Value(a.array[index])

        def backward() -> None:
            a.gradient[index] = self._rounded(a.gradient[index] + result.gradient)

        return self._remembered(result, backward)

    def joined(self, parts: Sequence[Value]) -> Value:
        """Arrays one behind the next, along the last axis."""
        result = Value(np.concatenate([each.array for each in parts], axis=-1))
        ends = np.cumsum([each.array.shape[-1] for each in parts])

        def backward() -> None:
            for each, gradient in zip(parts, np.split(result.gradient, ends[:-1], axis=-1), strict=True):
                self._accumulate(each, gradient)

        return self._remembered(result, backward)

    def chosen(self, condition: NDArray[np.bool_], a: Value, b: Value) -> Value:
        """a where the condition holds, else b."""
        result = Value(np.where(condition, a.array, b.array))

        def backward() -> None:
            self._accumulate(a, np.where(condition, result.gradient, 0.0))
            self._accumulate(b, np.where(condition, 0.0, result.gradient))

        return self._remembered(result, backward)

    def backward(self, results: Sequence[Value], weight: float) -> None:
        """Give every `Value` its gradient of the sum of all elements of `results`, times `weight`."""
        for result in results:
            result.gradient += weight
        for step in reversed(self._backward):
            step()

    def _remembered(self, result: Value, backward: Callable[[], None]) -> Value:
        self._backward.append(backward)
        return result

    def _accumulate(self, value: Value, gradient: Array) -> None:
        """Add to a gradient; one that was broadcast is summed up."""
        while gradient.ndim > value.array.ndim:
            gradient = self._sum(gradient, axis=0, keepdims=False)
        value.gradient = self._rounded(value.gradient + gradient) if value.gradient.any() else gradient.copy()

    def _sum(self, array: Array, axis: int = -1, keepdims: bool = True) -> Array:
        total: Array = array.sum(axis=axis, keepdims=keepdims)
        squares = np.square(array).sum(axis=axis, keepdims=keepdims)
        return self._perturbed(total, self._of_sum(array.shape[axis], squares, total))

    def _product(self, a: Array, b: Array) -> Array:
        product = a @ b
        if not self._precision.roundoff:
            return product
        squares = np.square(a) @ np.square(b)
        rounded_inputs = self._precision.inputs * np.sqrt(2 * squares)
        return self._perturbed(product, np.hypot(self._of_sum(a.shape[1], squares, product), rounded_inputs))

    def _of_sum(self, terms: int, squares: Array, total: Array) -> Array:
        """What the roundings of a sum's terms, and of its partial sums, add up to where they are independent."""
        return self._precision.roundoff * np.sqrt(terms * (squares + np.square(total)))

    def _rounded(self, array: Array, ulps: int = 1) -> Array:
        return self._perturbed(array, ulps * self._precision.roundoff * abs(array))

    def _perturbed(self, array: Array, error: Array) -> Array:
        if not self._precision.roundoff:
            return array
        return array + (error + self._precision.smallest) * self._random.uniform(-1, 1, array.shape)
