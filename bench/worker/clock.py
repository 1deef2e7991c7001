"""Times the phases of a run on a synchronised device, and reports each as it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from bench.core.observation import Observation
from bench.core.phases import PHASES
from bench.core.protocol import Began, Emit, FailedRun


class Clock:
    """Times phases on a synchronised device, and reports them; their scores too, unless these mean nothing."""

    def __init__(self, emit: Emit, *, scored: bool = True) -> None:
        self.emit, self.scored = emit, scored
        self.synchronise: Callable[[], None] = lambda: None
        """Waits until the device has finished; there is nothing to wait for until a backend has one."""

    def phase(
        self, name: str, epoch: int | None = None, samples: int | None = None, targets: int | None = None
    ) -> Phase:
        """Time what is done in the context that this is.

        Args:
            name: a phase of `bench.core.phases`.
            epoch: from 1; None for a phase that belongs to none.
            samples: how many are processed in it.
            targets: how many targets the scores are over, where they are known and aren't the samples.
        """
        return Phase(self, PHASES[name].name, epoch, samples, targets)


class Phase:
    """One timed phase, as a context manager; its mapping takes the scores: `loss`, and those of the task's target.

    `iterator_seconds` may be set until it ends.
    """

    def __init__(self, clock: Clock, name: str, epoch: int | None, samples: int | None, targets: int | None) -> None:
        self._clock, self._name, self._epoch, self._samples, self._targets = clock, name, epoch, samples, targets
        self._results: dict[str, float] = {}
        self.iterator_seconds: float | None = None

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
        scores = self._results if self._clock.scored else {}
        self._clock.emit(
            Observation(
                phase=self._name,
                epoch=self._epoch,
                seconds=seconds,
                cpu_seconds=(time.process_time_ns() - self._cpu) / 1e9,
                iterator_seconds=self.iterator_seconds,
                samples=self._samples,
                targets=self._targets,
                loss=scores.get("loss"),
                accuracy=scores.get("accuracy"),
                mae=scores.get("mae"),
            )
        )
        loss = self._results.get("loss")
        if loss is not None and not math.isfinite(loss):
            where = f" of epoch {self._epoch}" if self._epoch else ""
            raise FailedRun(f"the loss isn't finite: {loss} in {self._name}{where}")
