"""One side of a duel: a model that trains, or predicts, a timed batch of steps at a time, and waits in between.

Commands come by standard input, a line a timed batch (`bench.core.protocol`): how many steps to do. 0 asks for the
evidence of the kernel, and ends the side. Single calls of inference are timed each by itself
(`bench.worker.side_calls`). Timed batches of steps are parts of a long `fit`'s epochs, or of a `predict`, which
waits between two of its steps: exactly what these run, on any backend.

The time is that of the steps alone. Before an epoch's first step TensorFlow makes its iterator anew, and that takes
12 ms, 100 ms or 560 ms, as it happens (two cores, 5 steps of an LSTM of 38 ms each): more than a whole timed batch.
So its pipeline is left untuned, or a process group might wait at an epoch's end for as long as the epoch has taken.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
import numpy as np

from bench.catalog import dtypes, masks, networks, tasks
from bench.catalog.dtypes import Dtype
from bench.catalog.tasks import Arrays, Task
from bench.core import code
from bench.core.case import Case
from bench.core.observation import RunMetadata
from bench.core.protocol import CodeImported, Emit, InvalidRun, Request, TimedBatch, TimedPhase
from bench.worker.backends import BackendAdapter
from bench.worker.data import task_of, with_padding
from bench.worker.evidence.attestation import attest, contradictions, watch
from bench.worker.evidence.code import imported_modules
from bench.worker.iterators import leave_untuned
from bench.worker.model import build
from bench.worker.session import preload as preload
from bench.worker.session import start_session
from bench.worker.side_calls import time_calls

_MANY_EPOCHS = 1_000_000_000
_EPOCH_STEPS = 128
"""Steps of an epoch of `fit`, and of a `predict`: the more there are, the seldomer an epoch has to begin."""


def measure(request: Request, emit: Emit) -> None:
    """Build the model and do timed batches until 0 is read.

    Raises:
        FailedRun: the cell can't be built.
        InvalidRun: the kernel that ran isn't the one asked for.
    """
    if request.phase.call_path:
        time_calls(request, emit, next_command)
        return
    case, task = request.case, task_of(request)
    dtype = dtypes.find(case.dtype)
    backend = start_session(case)
    if case.backend == "tensorflow" and not case.steady:  # a steady session has done so
        leave_untuned()
    arrays = tasks.load(request.data, task)
    keras.utils.set_random_seed(case.seed)
    before = frozenset(sys.modules)
    model = build(case, task)
    layers = watch(model, backend, case) or networks.of(case).recurrent_names
    emit(CodeImported(code.to_json(imported_modules(before, with_bench=True))))
    backend.build_symbolically(model, *_batches(case, task, arrays, 1, dtype), case.batch_size)
    timer = BatchTimer(backend, emit)
    while timer.steps:
        x, y = _batches(case, task, arrays, timer.steps_per_epoch + 1, dtype)
        if request.phase is TimedPhase.TRAIN:
            model.fit(x, y, case.batch_size, epochs=_MANY_EPOCHS, verbose=0, callbacks=[timer])
        else:
            while not timer.changed:
                model.predict(x, case.batch_size, verbose=0, callbacks=[timer])
        timer.changed = False
    evidence = attest(model, backend, layers, task.steps, (request.phase.value,))
    emit(
        RunMetadata(
            parameters=model.count_params(),
            attested_kernel=evidence.kernel,
            attestation_json=evidence.to_json(),
            extra_json=evidence.settings_json(),
        )
    )
    if problems := contradictions(case, evidence):
        raise InvalidRun("; ".join(problems))


def _batches(case: Case, task: Task, arrays: Arrays, steps: int, dtype: Dtype) -> tuple[Any, Any]:
    """The samples of so many full batches, from the first on, and round again: a partial one would compile again."""
    chosen = np.arange(steps * case.batch_size) % len(arrays.x_train)
    lengths = None if arrays.lengths_train is None else arrays.lengths_train[chosen]
    x = with_padding(task.scaled(arrays.x_train[chosen], dtype.variables), lengths, task.mask_value)
    y = arrays.y_train[chosen]
    return masks.padded(x, case.mask), y if task.target.is_class else y.astype(dtype.variables)


class BatchTimer(keras.callbacks.Callback):  # type: ignore[misc] # keras has no type information
    """Times each batch of steps, reports it, and waits for the next command; another length ends this `fit`.

    The time ends where the next step begins: a hook at a step's end would change how Keras dispatches its callbacks,
    and so what is timed. The last step of an epoch is there for that alone, and its timed batch is reported when the
    next epoch has begun: then it is for the other side to work.
    """

    def __init__(self, backend: BackendAdapter, emit: Emit) -> None:
        super().__init__()
        self._backend, self._emit = backend, emit
        self._done: TimedBatch | None = None
        self._until = -1
        self._cpu = 0
        self.start_ns = 0
        """The start of the timed batch, by `time.perf_counter_ns`."""
        self.changed = False
        """Whether the next timed batch is of another length, or there is none."""
        self.steps = next_command()

    @property
    def steps_per_epoch(self) -> int:
        """The number of an epoch's steps that are timed."""
        return max(1, _EPOCH_STEPS // self.steps) * self.steps

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stop the clock where a timed batch has ended, and go on with the next."""
        if batch == self._until:
            self._backend.synchronise()
            cpu, now = time.process_time_ns(), time.perf_counter_ns()
            self._done = TimedBatch(self.steps, (now - self.start_ns) / 1e9, (cpu - self._cpu) / 1e9)
        if batch == 0 or (batch == self._until and batch < self.steps_per_epoch):
            self._go_on(batch)

    def on_predict_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """See `on_train_batch_begin`."""
        self.on_train_batch_begin(batch)

    def _go_on(self, batch: int) -> None:
        """Report the last timed batch, wait for the next command, and start the clock with this step."""
        if self._done:
            self._emit(self._done)
            self._done = None
            steps = next_command()
            if steps != self.steps:
                self.steps, self.changed, self._until = steps, True, -1
                self.model.stop_training = self.model.stop_predicting = True
                return
        self._until = batch + self.steps
        self._backend.synchronise()
        self._cpu = time.process_time_ns()
        self.start_ns = time.perf_counter_ns()


def next_command() -> int:
    """Wait for the next number of steps; 0 too when the harness has closed its end."""
    return int(sys.stdin.buffer.readline() or 0)
