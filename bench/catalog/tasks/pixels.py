"""The digits of MNIST read pixel by pixel, in their order or in one that is drawn once, and averaged to fewer pixels.

Le, Jaitly and Hinton (2015), "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", section 4.2:
784 steps of one value, "scanline order" or one fixed random permutation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.catalog.tasks import mnist
from bench.catalog.tasks.task import Arrays, Recipe, Task, Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERMUTATION_SEED = 92916
"""The permutation is that of this seed of NumPy's `RandomState`, whose stream never changes."""
_SIDE = 28
_COARSE = (1, 2, 4)


def _sized(task: Task, axes: Mapping[str, Any]) -> Task:
    coarse = axes["coarse"]
    if coarse not in _COARSE:
        raise ValueError(f"the side of its digits, {_SIDE} pixels, is divided by {_COARSE[1]} or {_COARSE[2]}")
    return replace(task, steps=(_SIDE // coarse) ** 2)


def _in_order(task: Task, digits: Arrays | None) -> Arrays:
    return _pixels(task, digits)


def _permuted(task: Task, digits: Arrays | None) -> Arrays:
    import numpy as np

    return _pixels(task, digits, np.random.RandomState(PERMUTATION_SEED).permutation(task.steps))


def _pixels(task: Task, digits: Arrays | None, order: Any = slice(None)) -> Arrays:
    assert digits is not None
    side = round(task.steps**0.5)

    def read(images: NDArray[Any]) -> NDArray[Any]:
        block = _SIDE // side
        blocks = images.reshape(len(images), side, block, side, block)
        # whole numbers again: their mean, rounded to the nearest even
        averaged = blocks.mean(axis=(2, 4)).round().astype("uint8") if block > 1 else images
        return averaged.reshape(len(images), task.steps, 1)[:, order]

    return replace(digits, x_train=read(digits.x_train), x_test=read(digits.x_test))


def _task(digits: Task, prefix: str, title: str, make: Any) -> Task:
    name = digits.name.replace("mnist", f"{prefix}_mnist")
    which = "5,000 MNIST digits" if digits.embedded else "MNIST digits"
    return Task(
        name=name,
        title=f"{which}, {title}",
        words=Words(label="digit", step="pixel"),
        steps=_SIDE * _SIDE,
        features=1,
        outputs=digits.outputs,
        scale=digits.scale,
        train_samples=digits.train_samples,
        test_samples=digits.test_samples,
        recipe=Recipe(version=1, make=make, takes=("coarse",), sized=_sized, source=digits.name),
        stand_in=f"{prefix}_{digits.stand_in}" if digits.stand_in else "",
        credit=digits.credit,
        licence=digits.licence,
    )


TASKS = tuple(
    _task(digits, prefix, title, make)
    for prefix, title, make in (
        ("pixel", "read pixel by pixel", _in_order),
        ("permuted", "read pixel by pixel in one order that was drawn at random", _permuted),
    )
    for digits in mnist.TASKS
)
