"""One side of a duel: a model that trains, or predicts, when it is its turn, and waits when it isn't.

What it is told comes by standard input, a line a turn: how many steps to do. 0 asks for the evidence of the kernel, and
ends the side. A turn of training is an epoch of one long `fit` that waits between its epochs, a turn of inference a
`predict`: exactly what these run, on any backend.

The time is that of the steps alone. Before an epoch's first step TensorFlow makes its iterator anew, and that takes
12 ms, 100 ms or 560 ms, as it happens (two cores, 5 steps of an LSTM of 38 ms each): more than all that is asked.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
import numpy as np

from bench import tasks
from bench.case import RunFacts
from bench.dtypes import Dtype, find_dtype
from bench.wire import Emit, InvalidRun, Request, Turn
from bench.worker.attest import attest, contradictions
from bench.worker.backends import Backend, load_backend
from bench.worker.measure import pin_keras
from bench.worker.measure import preload as preload
from bench.worker.model import build

_MANY_EPOCHS = 1_000_000_000


def measure(request: Request, emit: Emit) -> None:
    """Build the model and take turns until told to end.

    Raises:
        FailedRun: the cell can't be built.
        InvalidRun: the kernel that ran isn't the one asked for.
    """
    case, task = request.case, tasks.find_task(request.case.task, "a duel")
    dtype = find_dtype(case.dtype)
    pin_keras(dtype)
    backend = load_backend(case.backend)
    backend.configure(case.device, case.threads)
    arrays = tasks.load(request.data, task)
    keras.utils.set_random_seed(case.seed)
    model = build(case, task)
    backend.build_symbolically(model, *_batches(arrays, 1, case.batch_size, dtype), case.batch_size)
    turns = _Turns(backend, emit)
    while steps := turns.steps:
        x, y = _batches(arrays, steps + 1, case.batch_size, dtype)
        if request.phase == "train":
            model.fit(x, y, case.batch_size, epochs=_MANY_EPOCHS, verbose=0, callbacks=[turns])
        else:
            while turns.steps == steps:
                model.predict(x, case.batch_size, verbose=0, callbacks=[turns])
    found = attest(model, backend, task.steps, (request.phase,))
    emit(
        RunFacts(
            parameters=model.count_params(),
            attested_kernel=found.kernel,
            attestation_json=found.to_json(),
            extra_json=found.settings_json(),
        )
    )
    if said := contradictions(case, found):
        raise InvalidRun("; ".join(said))


def _batches(arrays: tasks.Arrays, steps: int, batch_size: int, dtype: Dtype) -> tuple[Any, Any]:
    """So many full batches, from the first sample on, and round again: no partial one, which would compile again."""
    chosen = np.arange(steps * batch_size) % len(arrays.x_train)
    return np.divide(arrays.x_train[chosen], 255, dtype=np.dtype(dtype.variables)), arrays.y_train[chosen]


class _Turns(keras.callbacks.Callback):  # type: ignore[misc] # keras has no type information
    """Times each turn, tells it, and waits for the next; one of other length ends this `fit`.

    The time ends where one step more begins, which is there for that: a hook at a step's end would change how Keras
    dispatches its callbacks, and so what is timed.
    """

    def __init__(self, backend: Backend, emit: Emit) -> None:
        super().__init__()
        self._backend, self._emit = backend, emit
        self.steps = _next_command()

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch not in (0, self.steps):
            return
        self._backend.synchronise()
        cpu, now = time.process_time_ns(), time.perf_counter_ns()
        if batch == 0:
            self._cpu, self._start = cpu, now
        else:
            self._turn = Turn(self.steps, (now - self._start) / 1e9, (cpu - self._cpu) / 1e9)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._backend.synchronise()
        self._emit(self._turn)
        steps = _next_command()
        if steps != self.steps:
            self.steps, self.model.stop_training = steps, True

    def on_predict_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.on_train_batch_begin(batch)

    def on_predict_end(self, logs: dict[str, float] | None = None) -> None:
        self.on_epoch_end(0)


def _next_command() -> int:
    """Waits for it; 0 too when the harness has closed its end."""
    return int(sys.stdin.buffer.readline() or 0)
