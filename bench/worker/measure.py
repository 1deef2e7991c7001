"""One run: build, compile, warm up, train and validate epoch by epoch, evaluate, and prove which kernel ran."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np

from bench import noise, predictions, tasks
from bench.case import ENTRIES, Case, Observation, RunFacts
from bench.cells import find_cell
from bench.dtypes import Dtype, find_dtype
from bench.networks import Arithmetic, arithmetic
from bench.wire import Began, Emit, FailedRun, InvalidRun, Request
from bench.worker.attest import attest, contradictions
from bench.worker.backends import Backend, load_backend
from bench.worker.inference import Answer, plan_calls, time_calls, warm_up
from bench.worker.model import build
from bench.worker.warmup import Snapshot, warm_size

_PREDICT_BATCH = 1000
"""Samples a call of `_predict`: large enough for Python's share to vanish, and small beside the training's memory."""


def preload(backend: str) -> None:
    """Import the backend's own module; importing this one has imported Keras. No device is initialised."""
    load_backend(backend)


def measure(request: Request, emit: Emit) -> None:
    """Do one run and report each observation as it is made.

    Raises:
        FailedRun: the cell can't be built, or a loss isn't finite.
        InvalidRun: the kernel that ran isn't the one asked for, a setting reads back as another, or a timed epoch
            traced or compiled something.
    """
    case, task = request.case, tasks.find_task(request.case.task, "a case")
    earlier = noise.read_cpu_times()
    dtype = find_dtype(case.dtype)
    pin_keras(dtype)
    backend = load_backend(case.backend)
    backend.configure(case.device, case.threads)
    data = _Data.load(request, task, dtype)
    clock, usage = _Clock(backend, emit), noise.UsageMeter(earlier)
    facts = RunFacts(rss_start_bytes=noise.resident_bytes(), data_digest=task.digest)
    try:
        keras.utils.set_random_seed(case.seed)
        with clock.phase("build"):
            model = build(case, task)
        flops = _arithmetic(case, task)
        facts = replace(
            facts,
            parameters=model.count_params(),
            forward_flops_per_sample=flops.forward if flops else None,
            training_flops_per_sample=flops.training if flops else None,
        )
        _warm_up(model, data, case, backend, clock)
        noise.reset_peak()
        facts = replace(facts, rss_train_bytes=noise.resident_bytes())
        _train(model, data, case, clock)
        with clock.phase("evaluate", samples=len(data.x_test)) as results:
            results.update(model.evaluate(data.x_test, data.y_test, case.batch_size, verbose=0, return_dict=True))
        facts = replace(facts, peak_rss_bytes=noise.peak_bytes())
        if case.latency_calls:
            _answer(model, data, case, clock)
        facts = replace(facts, test_predictions=_predict(model, data))
        found = attest(model, backend, task.steps, ("train", "evaluate", *(ENTRIES if case.latency_calls else ())))
        facts = replace(
            facts,
            attested_kernel=found.kernel,
            attestation_json=found.to_json(),
            extra_json=found.settings_json(),
        )
    finally:
        emit(replace(facts, **asdict(usage.stop())))
    if said := contradictions(case, found):
        raise InvalidRun("; ".join(said))


def pin_keras(dtype: Dtype) -> None:
    """Set what `~/.keras/keras.json` and KERAS_MAX_* may have set otherwise for this user, and no record would show."""
    keras.config.set_floatx(dtype.variables)
    keras.config.set_dtype_policy(dtype.name)
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    # meant for debugging: they would end `fit` early without a word
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


@dataclass(frozen=True)
class _Data:
    """What `fit` is given: 0 … 1 in the dtype of the variables, as Keras would turn it into; float32 by default."""

    x_train: np.ndarray[Any, np.dtype[np.floating[Any]]]
    y_train: np.ndarray[Any, np.dtype[np.uint8]]
    x_test: np.ndarray[Any, np.dtype[np.floating[Any]]]
    y_test: np.ndarray[Any, np.dtype[np.uint8]]

    @classmethod
    def load(cls, request: Request, task: tasks.Task, dtype: Dtype) -> _Data:
        arrays = tasks.load(request.data, task)
        count = request.case.train_samples or task.train_samples
        kind = np.dtype(dtype.variables)
        return cls(
            np.divide(arrays.x_train[:count], 255, dtype=kind),
            arrays.y_train[:count],
            np.divide(arrays.x_test, 255, dtype=kind),
            arrays.y_test,
        )


class _Clock:
    """Times phases on a synchronised device, and reports them."""

    def __init__(self, backend: Backend, emit: Emit) -> None:
        self.backend, self.emit = backend, emit

    def phase(self, name: str, epoch: int | None = None, samples: int | None = None) -> _Phase:
        return _Phase(self, name, epoch, samples)


class _Phase:
    """One timed phase, as a context manager; its mapping takes the loss and the accuracy."""

    def __init__(self, clock: _Clock, name: str, epoch: int | None, samples: int | None) -> None:
        self._clock, self._name, self._epoch, self._samples = clock, name, epoch, samples
        self._results: dict[str, float] = {}

    def __enter__(self) -> dict[str, float]:
        self._clock.emit(Began(self._name, self._epoch))
        self._clock.backend.synchronise()
        self._cpu = time.process_time_ns()
        self._start = time.perf_counter_ns()
        return self._results

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        self._clock.backend.synchronise()
        seconds = (time.perf_counter_ns() - self._start) / 1e9
        self._clock.emit(
            Observation(
                phase=self._name,
                epoch=self._epoch,
                seconds=seconds,
                cpu_seconds=(time.process_time_ns() - self._cpu) / 1e9,
                samples=self._samples,
                loss=self._results.get("loss"),
                accuracy=self._results.get("accuracy"),
            )
        )
        loss = self._results.get("loss")
        if loss is not None and not math.isfinite(loss):
            where = f" of epoch {self._epoch}" if self._epoch else ""
            raise FailedRun(f"the loss isn't finite: {loss} in {self._name}{where}")


def _warm_up(model: keras.Model, data: _Data, case: Case, backend: Backend, clock: _Clock) -> None:
    """Trace and compile for every batch shape, run each once more, and put everything back."""
    train = warm_size(len(data.x_train), case.batch_size)
    test = warm_size(len(data.x_test), case.batch_size)

    def one_pass() -> None:
        model.fit(data.x_train[:train], data.y_train[:train], case.batch_size, epochs=1, verbose=0)
        model.evaluate(data.x_test[:test], data.y_test[:test], case.batch_size, verbose=0)

    with clock.phase("compile"):
        backend.build_symbolically(model, data.x_train, data.y_train, case.batch_size)
        snapshot = Snapshot(model, backend)
        one_pass()
    with clock.phase("warmup"):
        one_pass()
    snapshot.restore()


def _train(model: keras.Model, data: _Data, case: Case, clock: _Clock) -> None:
    # no validation_data: `fit` builds the validation's iterator between the end of the epoch's training and any hook,
    # so the epoch's end calls `evaluate` itself, which computes the same
    model.fit(
        data.x_train,
        data.y_train,
        case.batch_size,
        epochs=case.epochs,
        verbose=0,
        callbacks=[_Epochs(clock, data, case.batch_size)],
    )


class _Epochs(keras.callbacks.Callback):  # type: ignore[misc] # keras has no type information
    """Times each epoch's training, from its begin hook to its end hook, then validates. Nothing runs per batch."""

    def __init__(self, clock: _Clock, data: _Data, batch_size: int) -> None:
        super().__init__()
        self._clock, self._data, self._batch_size = clock, data, batch_size

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._programs = self._clock.backend.programs(self.model)
        self._phase = self._clock.phase("train", epoch + 1, len(self._data.x_train))
        self._results = self._phase.__enter__()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._results.update(logs or {})
        self._phase.__exit__(None, None, None)
        data = self._data
        with self._clock.phase("validate", epoch + 1, len(data.x_test)) as results:
            results.update(self.model.evaluate(data.x_test, data.y_test, self._batch_size, verbose=0, return_dict=True))
        if self._clock.backend.programs(self.model) != self._programs:
            raise InvalidRun(f"something was traced or compiled inside the timed epoch {epoch + 1}")


def _answer(model: keras.Model, data: _Data, case: Case, clock: _Clock) -> None:
    """Time the trained model's answers through `predict` and through the call that a service would make."""
    backend, x = clock.backend, data.x_test
    entries: dict[str, Answer] = {
        "predict": lambda inputs: model.predict(inputs, batch_size=len(inputs), verbose=0),
        "compiled": backend.compile_inference(model),
    }
    calls = plan_calls(case.latency_calls, len(x))
    with clock.phase("warmup"):
        warm_up(entries, x, calls)
    programs = backend.programs(model)
    clock.emit(Began("predict"))
    for batch, count in calls.items():
        for observation in time_calls(entries, x, batch, count):
            clock.emit(observation)
    if backend.programs(model) != programs:
        raise InvalidRun("something was traced or compiled inside the timed calls of inference")


def _predict(model: keras.Model, data: _Data) -> str:
    """The test set's predictions, packed; in no timed phase.

    The layers are called as they are: `model.predict` would trace and compile a program of its own, which takes longer
    than computing, and would be one more for the attestation to tell apart.
    """
    batches = np.array_split(data.x_test, math.ceil(len(data.x_test) / _PREDICT_BATCH))
    outputs = [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches]
    return predictions.pack(data.y_test, np.concatenate(outputs))


def _arithmetic(case: Case, task: tasks.Task) -> Arithmetic | None:
    """None for a cell whose arithmetic is unknown: it is not guessed."""
    gates = find_cell(case.cell).gates
    if gates is None:
        return None
    return arithmetic(gates, case.units, steps=task.steps, features=task.features, classes=task.classes)
