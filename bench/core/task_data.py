"""What a data factory of a user's returns: plain dataclasses, which a module can make without importing anything heavy.

import bench

def factory():
    return bench.TaskData(target="number_per_step", train=(x, y), test=(x_test, y_test))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Stream:
    """Samples that come one by one, as a generator gives them; read once, into memory. Their lengths may differ."""

    samples: Iterable[tuple[Any, Any]]
    """(x, y) of one sample each: x is steps × features, or steps of tokens."""
    length: int
    """How many samples there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskData:
    """A user's data, and what is asked of them.

    A set is `(x, y)`, `(x, y, lengths)` with the steps of each sample, beyond which there is padding, or a `Stream`.
    x is an array of numbers, samples × steps × features, or of whole numbers, samples × steps, which are tokens.
    """

    target: str
    """`class`: y holds whole numbers from 0, n_samples. `class_per_step`: samples × steps of them. `number`: y holds
    numbers, n_samples or samples × outputs. `number_per_step`: samples × steps, or samples × steps × outputs."""
    train: tuple[Any, ...] | Stream
    test: tuple[Any, ...] | Stream
    validation: tuple[Any, ...] | Stream | None = None
    """What is validated on after each epoch; None takes the test set, as the protocol does."""
    classes: int | None = None
    """How many classes there are; None counts to the largest label."""
    vocabulary: int | None = None
    """Where x holds tokens: how many there are; None counts to the largest."""
    embedding: int = 32
    """Where x holds tokens: the values that each is embedded in."""
    title: str = ""
    """What it is, for reports."""
