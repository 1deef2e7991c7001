"""A duel's side whose training steps burn a share of their own time: a slowdown of known size, for spot checks.

`BURN_FRACTION` says how much: 0.02 makes each step 2 % longer. Both sides of a spot check run this module, A with 0, so
that the callback itself is on both.
"""

from __future__ import annotations

import os
import time
from typing import Any

import keras

from bench.wire import Emit, Request
from bench.worker import side
from bench.worker.side import preload as preload


class _Burn(keras.callbacks.Callback):  # type: ignore[misc] # keras has no type information
    """Spins after each step for a share of what has passed since it last ended: the step, and what lies between two.

    Of the first it is what has passed since it began, where the time of a turn begins too.
    """

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self._fraction = fraction

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch == 0:
            self._start = time.perf_counter_ns()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        now = time.perf_counter_ns()
        until = now + (now - self._start) * self._fraction
        while (now := time.perf_counter_ns()) < until:
            pass
        self._start = now


def measure(request: Request, emit: Emit) -> None:
    """The side's turns, with the burning added to each `fit`."""
    burn, fit = _Burn(float(os.environ["BURN_FRACTION"])), keras.Model.fit

    def burning_fit(model: keras.Model, *arguments: Any, callbacks: list[Any], **named: Any) -> Any:
        return fit(model, *arguments, callbacks=[*callbacks, burn], **named)

    keras.Model.fit = burning_fit
    side.measure(request, emit)
