"""Times the phases of a run on a synchronised device, and reports each as it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from bench.core.metrics import Observation
from bench.core.phases import PHASES
from bench.core.protocol import Began, Emit, FailedRun


class Clock:
    """Times phases on a synchronised device, and reports them."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.synchronise: Callable[[], None] = lambda: None
        """Waits until the device has finished; there is nothing to wait for until a backend has one."""

    def phase(self, name: str, epoch: int | None = None, samples: int | None = None) -> Phase:
        """Time what is done in the context that this is, a phase of `bench.core.phases`."""
        return Phase(self, PHASES[name].name, epoch, samples)


class Phase:
    """One timed phase, as a context manager; its mapping takes the loss and the accuracy."""

    def __init__(self, clock: Clock, name: str, epoch: int | None, samples: int | None) -> None:
        self._clock, self._name, self._epoch, self._samples = clock, name, epoch, samples
        self._results: dict[str, float] = {}

    def __enter__(self) -> dict[str, float]:
        self._clock.emit(Began(self._name, self._epoch))
        self._clock.synchronise()
        self._cpu = time.process_time_ns()
        self._start = time.perf_counter_ns()
        return self._results

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        self._clock.synchronise()
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
