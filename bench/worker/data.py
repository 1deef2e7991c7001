"""A task's data as a network is given it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from bench.catalog import dtypes, tasks
from bench.core.protocol import Request


@dataclass(frozen=True)
class Data:
    """What `fit` is given: scaled inputs in the dtype of the variables, as Keras would convert them."""

    x_train: np.ndarray[Any, np.dtype[np.floating[Any]]]
    y_train: np.ndarray[Any, np.dtype[np.uint8]]
    x_test: np.ndarray[Any, np.dtype[np.floating[Any]]]
    y_test: np.ndarray[Any, np.dtype[np.uint8]]

    @classmethod
    def load(cls, request: Request, task: tasks.Task) -> Self:
        arrays = tasks.load(request.data, task)
        count = request.case.train_samples or task.train_samples
        dtype = dtypes.find(request.case.dtype).variables
        return cls(
            task.scaled(arrays.x_train[:count], dtype),
            arrays.y_train[:count],
            task.scaled(arrays.x_test, dtype),
            arrays.y_test,
        )
