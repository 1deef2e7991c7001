"""A burning side whose steps take as long whatever else runs on the machine: they sleep for nearly all of it."""

from __future__ import annotations

import time
from typing import Any

import keras

from bench.core.protocol import Emit, Request
from bench.worker.side import preload as preload
from scripts import burning_side


class _Sleep(keras.callbacks.Callback):  # type: ignore[misc] # keras has no type information
    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        time.sleep(0.08)


def measure(request: Request, emit: Emit) -> None:
    """Do the burning side's timed batches, with a sleep before the burning, as a part of the step."""
    fit = keras.Model.fit

    def sleepy_fit(model: keras.Model, *arguments: Any, callbacks: list[Any], **named: Any) -> Any:
        timer, burn = callbacks
        return fit(model, *arguments, callbacks=[timer, _Sleep(), burn], **named)

    keras.Model.fit = sleepy_fit
    burning_side.measure(request, emit)
