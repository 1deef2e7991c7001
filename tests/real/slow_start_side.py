"""A duel's side whose epochs take 0.3 s to begin and to end, of which nothing is a step's."""

from __future__ import annotations

import time
from typing import Any

import keras

from bench.core.protocol import Emit, Request
from bench.worker import side
from bench.worker.side import preload as preload


class _Idle(keras.callbacks.Callback):  # type: ignore[misc] # keras has no type information
    """Sleeps where no step runs."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        time.sleep(0.3)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        time.sleep(0.3)

    def on_predict_begin(self, logs: dict[str, float] | None = None) -> None:
        time.sleep(0.3)

    def on_predict_end(self, logs: dict[str, float] | None = None) -> None:
        time.sleep(0.3)


def measure(request: Request, emit: Emit) -> None:
    """Do the side's timed batches, with sleeps before and after each epoch, and a new epoch every two steps."""
    side._EPOCH_STEPS = 2
    for name in ("fit", "predict"):
        original = getattr(keras.Model, name)

        def slow(
            model: keras.Model, *arguments: Any, callbacks: list[Any], original: Any = original, **named: Any
        ) -> Any:
            return original(model, *arguments, callbacks=[_Idle(), *callbacks, _Idle()], **named)

        setattr(keras.Model, name, slow)
    side.measure(request, emit)
