"""A task's data as a network is given it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from bench.catalog import dtypes, tasks
from bench.core.protocol import Request


@dataclass(frozen=True)
class Data:
    """What `fit` is given: 0 … 1 in the dtype of the variables, as Keras would turn it into; float32 by default."""

    x_train: np.ndarray[Any, np.dtype[np.floating[Any]]]
    y_train: np.ndarray[Any, np.dtype[np.uint8]]
    x_test: np.ndarray[Any, np.dtype[np.floating[Any]]]
    y_test: np.ndarray[Any, np.dtype[np.uint8]]

    @classmethod
    def load(cls, request: Request, task: tasks.Task) -> Self:
        arrays = tasks.load(request.data, task)
        count = request.case.train_samples or task.train_samples
        kind = np.dtype(dtypes.find(request.case.dtype).variables)
        return cls(
            np.divide(arrays.x_train[:count], 255, dtype=kind),
            arrays.y_train[:count],
            np.divide(arrays.x_test, 255, dtype=kind),
            arrays.y_test,
        )
