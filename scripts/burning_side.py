"""A duel's side whose training steps burn a fraction of their own time: a slowdown of known size, for spot checks.

`BURN_FRACTION` says how much: 0.02 makes each step 2 % longer. Both sides of a spot check run this module, A with 0, so
that the callback itself is on both.
"""

from __future__ import annotations

import os
import time
from typing import Any

import keras

from bench.core.protocol import Emit, Request
from bench.worker import side
from bench.worker.side import preload as preload


class _Burn(keras.callbacks.Callback):  # type: ignore[misc] # keras has no type information
    """Spins after each step for a fraction of what has passed since it last ended: the step, and what lies between two.

    Not of the time in which the other side worked.
    """

    def __init__(self, fraction: float, timer: side.BatchTimer) -> None:
        super().__init__()
        self._fraction, self._timer = fraction, timer
        self._ended = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        now = time.perf_counter_ns()
        until = now + (now - max(self._ended, self._timer.start_ns)) * self._fraction
        while (now := time.perf_counter_ns()) < until:
            pass
        self._ended = now


def measure(request: Request, emit: Emit) -> None:
    """Do the side's timed batches, with the burning added to each `fit`."""
    fraction, fit = float(os.environ["BURN_FRACTION"]), keras.Model.fit

    def burning_fit(model: keras.Model, *arguments: Any, callbacks: list[side.BatchTimer], **named: Any) -> Any:
        (timer,) = callbacks
        return fit(model, *arguments, callbacks=[timer, _Burn(fraction, timer)], **named)

    keras.Model.fit = burning_fit
    side.measure(request, emit)
