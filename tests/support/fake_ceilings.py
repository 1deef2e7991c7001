"""A worker that measures no ceilings, and reports what it would have taken: 1 ms the large product, 4 ms the chain."""

from __future__ import annotations

from bench.core.observation import Observation
from bench.core.protocol import Emit, FailedRun, Request


def preload(backend: str) -> None:
    """Nothing is imported."""


def measure(request: Request, emit: Emit) -> None:
    if request.case.units == 13:
        raise FailedRun("thirteen units bring bad luck")
    emit(Observation(phase="peak", seconds=0.001))
    emit(Observation(phase="serial", seconds=0.004))
