"""A warm-up that leaves no trace: afterwards the model is what plain `fit` would have found."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from bench.worker.backends import BackendAdapter


class Snapshot:
    """Weights, optimizer, metrics and seed generators of a model, and the process's random state.

    Taken after every variable exists: a variable made later by the warm-up would not be put back.
    """

    def __init__(self, model: keras.Model, backend: BackendAdapter) -> None:
        self._backend = backend
        # Keras doesn't count the states of stateful layers among its variables
        states = [v for layer in model._flatten_layers() for v in getattr(layer, "states", None) or ()]
        counted = (*model.variables, *model.metrics_variables, *model.optimizer.variables)
        self._variables = {id(v): v for v in (*counted, *(v for v in states if isinstance(v, keras.Variable)))}
        # copies, because a backend may give a view of what the warm-up then writes to
        self._values = {key: np.array(v) for key, v in self._variables.items()}
        self._python, self._numpy = random.getstate(), np.random.get_state()
        self._random: Any = backend.random_state()

    def restore(self) -> None:
        """Put everything back."""
        for key, variable in self._variables.items():
            variable.assign(self._values[key])
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        self._backend.set_random_state(self._random)


def steps_again(model: keras.Model, x: Any, y: Any) -> dict[str, Callable[[], object]]:
    """What executes the programs of training and evaluation once more, by phase.

    Args:
        model: after it was trained.
        x: the inputs of a batch that it was trained on.
        y: their targets.
    """
    return {
        "train": lambda: model.fit(x, y, len(x), epochs=1, verbose=0),
        "evaluate": lambda: model.evaluate(x, y, len(x), verbose=0),
    }


def warm_size(samples: int, batch_size: int) -> int:
    """How many samples show every batch shape of an epoch: two full batches, and the partial last one."""
    return min(samples, 2 * batch_size + samples % batch_size)
