"""Whether kernels compute the same: the outputs and gradients of a batch against a float64 reference, and each other.

What is allowed follows from the number format: the reference is computed again and again, each result of an operation
perturbed as rounding to that format would (`bench.analysis.rounding`), and a kernel may be `MARGIN` times as far from
the reference as the farthest of these. Two kernels may be as far from each other as both may be from it. Pure.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.reference_network import Computed, Problem, compute, problem
from bench.analysis.rounding import Precision
from bench.catalog import dtypes, tasks
from bench.core.axes import BY_FIELD
from bench.core.case import Case

HOW = ("kernel", "backend", "device", "runtime", "dtype", "threads", "tf32")
"""The fields of a case that are about how it is computed, and not what."""
SEED = 0
"""What the batch and the weights are drawn from."""
REPETITIONS = 16
"""How often the reference is computed with perturbed results."""
MARGIN = 4.0

_TF32 = 2.0**-11
_FORMATS = {
    "float64": Precision(2.0**-53, 0.0),
    "float32": Precision(2.0**-24, 2.0**-126),
    "bfloat16": Precision(2.0**-8, 2.0**-126),
    "float16": Precision(2.0**-11, 2.0**-25),
}
"""By the format that layers compute in. float32 below its normal numbers is 0 on many devices."""

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class KernelNumbers:
    """What a kernel computed of its batch."""

    case: Case
    attested: str | None
    """The kernel that the executed programs showed."""
    settings_json: str | None
    """What was read back of its settings."""
    outputs: Array
    gradients: tuple[Array, ...] | None
    """None of a runtime that only infers."""


@dataclass(frozen=True)
class Difference:
    """The largest of the differences of two arrays, and how large it may be."""

    array: str
    """What the arrays are: `outputs`, or whose gradient: `recurrent_a kernel`."""
    absolute: float
    relative: float
    """To the reference's largest element."""
    allowed: float
    """Absolute."""

    @property
    def equal(self) -> bool:
        """Whether it is within what is allowed."""
        return self.of_allowed <= 1

    @property
    def of_allowed(self) -> float:
        """It as a fraction of what is allowed; infinite where something is no number."""
        return self.absolute / self.allowed if math.isfinite(self.absolute) else math.inf


@dataclass(frozen=True)
class NumberComparison:
    """Two computations of a batch."""

    first: Case
    second: Case | None
    """None for the reference."""
    outputs: Difference
    gradients: Difference | None
    """Those of the weight whose gradients are the farthest apart, measured by what is allowed; None without any."""

    @property
    def equal(self) -> bool:
        """Whether outputs and gradients agree within what the number format allows."""
        return self.outputs.equal and (self.gradients is None or self.gradients.equal)

    @property
    def of_allowed(self) -> float:
        """The larger difference as a fraction of what is allowed."""
        return max(part.of_allowed for part in (self.outputs, self.gradients) if part is not None)


def question(case: Case) -> Case:
    """What a case's kernel is asked to compute: the case without what computes it. Equal ones get the same batch."""
    defaults: dict[str, Any] = {name: BY_FIELD[name].default[0] for name in HOW}
    return replace(case, **defaults, latency_calls=0, seed=0)


@lru_cache(maxsize=64)
def batch_of(asked: Case) -> Problem:
    """The batch and the weights of a `question`."""
    return problem(asked, tasks.of(asked), SEED)


def against_reference(numbers: KernelNumbers) -> NumberComparison:
    """A kernel's numbers beside the reference's."""
    asked = question(numbers.case)
    reference, allowed = _reference(asked), _allowed(asked, precision(numbers))
    given = numbers.gradients or ()
    names = batch_of(asked).names
    differences = [
        _difference(name, gradient, exact, exact, may)
        for name, gradient, exact, may in zip(names, given, reference.gradients, allowed[1:], strict=False)
    ]
    return NumberComparison(
        first=numbers.case,
        second=None,
        outputs=_difference("outputs", numbers.outputs, reference.outputs, reference.outputs, allowed[0]),
        gradients=_farthest(differences),
    )


def pairs(computed: Sequence[KernelNumbers]) -> list[NumberComparison]:
    """Each kernel's numbers beside those of each other kernel that computed the same batch."""
    return [
        _pair(first, second)
        for first, second in itertools.combinations(computed, 2)
        if question(first.case) == question(second.case)
    ]


def _pair(first: KernelNumbers, second: KernelNumbers) -> NumberComparison:
    asked = question(first.case)
    reference, names = _reference(asked), batch_of(asked).names
    allowed = [sum(both) for both in zip(*(_allowed(asked, precision(each)) for each in (first, second)), strict=True)]
    both_gradients = zip(names, first.gradients or (), second.gradients or (), strict=False)
    differences = [
        _difference(name, a, b, exact, may)
        for (name, a, b), exact, may in zip(both_gradients, reference.gradients, allowed[1:], strict=False)
    ]
    return NumberComparison(
        first=first.case,
        second=second.case,
        outputs=_difference("outputs", first.outputs, second.outputs, reference.outputs, allowed[0]),
        gradients=_farthest(differences),
    )


def precision(numbers: KernelNumbers) -> Precision:
    """How the kernel rounded: by its number format, and on a GPU by whether its products were allowed TF32."""
    compute_format = dtypes.find(numbers.case.dtype).compute
    settings = json.loads(numbers.settings_json or "{}")
    tf32 = numbers.case.device != "cpu" and compute_format == "float32" and _has_tf32(numbers, settings)
    return replace(_FORMATS[compute_format], inputs=_TF32) if tf32 else _FORMATS[compute_format]


def _has_tf32(numbers: KernelNumbers, settings: Mapping[str, Any]) -> bool:
    match numbers.case.backend:
        case "tensorflow":
            return bool(settings.get("tf32"))
        case "torch":
            return bool(settings.get("tf32_matmul") or (numbers.attested == "cudnn" and settings.get("tf32_cudnn")))
    return settings.get("default_matmul_precision") in (None, "default", "fastest", "tensorfloat32")


@lru_cache(maxsize=64)
def _reference(asked: Case) -> Computed:
    return compute(asked, tasks.of(asked), batch_of(asked))


@lru_cache(maxsize=64)
def _allowed(asked: Case, rounding: Precision) -> tuple[float, ...]:
    """How far the outputs, and each weight's gradients, may be from the reference's: absolute."""
    exact = _arrays(_reference(asked))
    farthest = [0.0] * len(exact)
    for seed in range(REPETITIONS):
        perturbed = _arrays(compute(asked, tasks.of(asked), batch_of(asked), rounding, seed))
        distances = [_largest(each - of_exact) for each, of_exact in zip(perturbed, exact, strict=True)]
        farthest = list(map(max, farthest, distances))
    return tuple(MARGIN * distance for distance in farthest)


def _arrays(computed: Computed) -> list[Array]:
    return [computed.outputs, *computed.gradients]


def _largest(array: Array) -> float:
    return float(np.abs(array).max())


def _difference(array: str, first: Array, second: Array, reference: Array, allowed: float) -> Difference:
    absolute = _largest(first.astype(np.float64) - second.astype(np.float64))
    return Difference(array, absolute, absolute / (_largest(reference) or 1.0), allowed)


def _farthest(differences: Sequence[Difference]) -> Difference | None:
    return max(differences, key=lambda each: each.of_allowed, default=None)
