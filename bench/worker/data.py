"""A task's data as a network is given it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from bench.catalog import dtypes, masks, tasks
from bench.catalog.tasks import Task
from bench.core.protocol import Request

Array = np.ndarray[Any, np.dtype[Any]]


def task_of(request: Request) -> Task:
    """The task of a request's case; what it is stands in its file where that was prepared from a user's data."""
    if ":" in request.case.task and request.data is not None:
        tasks.register(tasks.read_description(request.data))
    return tasks.of(request.case)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What `fit` is given: scaled inputs in the dtype of the variables, as Keras would convert them, padding marked."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    x_validation: Array
    """The test set's where the task has none of its own."""
    y_validation: Array
    lengths_test: Array | None
    per_step: bool
    """Whether there is a target for each step."""
    digest: str
    """SHA-256, in hex, of the content that all this was made of."""

    def targets_test(self, values: Array) -> Array:
        """The test set's targets, or a network's outputs for them, one after the other, padding left out."""
        return _valid(values, self.lengths_test) if self.per_step else values

    @classmethod
    def load(cls, request: Request, task: Task) -> Self:
        """Read or make the data of a request's case."""
        arrays = tasks.load(request.data, task)
        case = request.case
        count = case.train_samples or task.train_samples
        dtype = dtypes.find(case.dtype).variables

        def inputs(x: Array, lengths: Array | None) -> Array:
            return masks.padded(with_padding(task.scaled(x, dtype), lengths, task.mask_value), case.mask)

        def targets(y: Array) -> Array:
            return y if task.target.is_class else y.astype(dtype)

        x_test, y_test = inputs(arrays.x_test, arrays.lengths_test), targets(arrays.y_test)
        x_validation, y_validation = x_test, y_test
        if arrays.x_validation is not None and arrays.y_validation is not None:
            x_validation = inputs(arrays.x_validation, arrays.lengths_validation)
            y_validation = targets(arrays.y_validation)
        return cls(
            x_train=inputs(arrays.x_train[:count], arrays.lengths_train),
            y_train=targets(arrays.y_train[:count]),
            x_test=x_test,
            y_test=y_test,
            x_validation=x_validation,
            y_validation=y_validation,
            lengths_test=arrays.lengths_test,
            per_step=task.target.per_step,
            digest=tasks.content_digest(arrays) if task.recipe else task.digest,
        )


def with_padding(x: Array, lengths: Array | None, mask_value: float | None) -> Array:
    """Inputs whose steps beyond their sample's length hold the value that marks padding.

    Args:
        x: samples × steps × features, or samples × steps of tokens.
        lengths: steps of each sample, at least as many samples; None leaves `x` as it is.
        mask_value: what marks padding.
    """
    if lengths is None or mask_value is None:
        return x
    marked = x.copy()
    marked[np.arange(x.shape[1]) >= lengths[: len(x), None]] = mask_value
    return marked


def _valid(y: Array, lengths: Array | None) -> Array:
    """The steps that are no padding, of samples × steps or samples × steps × outputs."""
    if lengths is None:
        return y.reshape(-1, *y.shape[2:])
    kept: Array = y[np.arange(y.shape[1]) < lengths[:, None]]
    return kept


def r2(targets: Array, outputs: Array) -> float:
    """R²: 1 less the squared error over the variance of the targets, both summed over the outputs.

    Args:
        targets: n_targets × outputs, without padding.
        outputs: what the network gives for them.

    Returns:
        1 for no error, 0 for what always giving the mean would have, NaN where the targets don't vary.
    """
    targets, outputs = targets.astype(np.float64), outputs.astype(np.float64)
    varied = float(np.square(targets - targets.mean(axis=0)).sum())
    return 1 - float(np.square(targets - outputs).sum()) / varied if varied else float("nan")
