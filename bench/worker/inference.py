"""Times inference: each answer at batch 1, and of some larger batches, through each way in. Knows no framework."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bench.core.metrics import Observation

BATCHES = (32, 256, 1024)
"""Batches whose throughput is measured, those that are smaller than the test set."""
THROUGHPUT_CALLS = 20
"""Of each entry and larger batch; fewer where fewer latencies are asked for."""

_TURN_CALLS = 50
"""An entry's calls in a row, before it is another one's turn: many, so that the median call follows one of its kind."""
_WARM_CALLS = 3

Inputs = np.ndarray[Any, np.dtype[Any]]
Answer = Callable[[Inputs], object]
"""Takes inputs as they come to a service, in NumPy's memory, and gives the outputs there. So it ends when the device
has: nothing of the work is left when the clock is read."""


def plan_calls(latency_calls: int, samples: int) -> dict[int, int]:
    """How many calls each entry gets, by batch: 1, and those of `BATCHES` that are smaller than the test set."""
    larger = min(latency_calls, THROUGHPUT_CALLS)
    return {1: latency_calls, **{batch: larger for batch in BATCHES if batch < samples}}


def warm_up(entries: Mapping[str, Answer], x: Inputs, calls: Mapping[int, int]) -> None:
    """Let each entry trace and compile what it needs for each batch."""
    for batch in calls:
        for answer in entries.values():
            for _ in range(_WARM_CALLS):
                answer(x[:batch])


def time_calls(entries: Mapping[str, Answer], x: Inputs, batch: int, calls: int) -> list[Observation]:
    """An observation for each call of each entry, in the order in which they were made.

    The entries take turns, in the order A B B A, so that what drifts hits all alike. Each call gets other inputs than
    the one before, and every entry the same ones. Nothing but the call is between two readings of the clock, and
    nothing is reported until all is done.
    """
    names, starts = tuple(entries), _starts(len(x), batch, calls)
    taken: list[tuple[str, int, int]] = []
    for turn, first in enumerate(range(0, calls, _TURN_CALLS)):
        for entry in names if turn % 2 == 0 else reversed(names):
            answer = entries[entry]
            for call in range(first, min(calls, first + _TURN_CALLS)):
                inputs = x[starts[call] : starts[call] + batch]
                begun = time.perf_counter_ns()
                answer(inputs)
                taken.append((entry, call + 1, time.perf_counter_ns() - begun))
    return [
        Observation(
            phase="predict",
            entry=entry,
            predict_batch=batch,
            call=call,
            seconds=nanoseconds / 1e9,
            samples=batch,
        )
        for entry, call, nanoseconds in taken
    ]


def _starts(samples: int, batch: int, calls: int) -> list[int]:
    """Where in the test set each call's inputs begin: one batch after another, and round again a sample further on."""
    return [start for start, _ in zip(_round_and_round(samples, batch), range(calls), strict=False)]


def _round_and_round(samples: int, batch: int) -> Iterator[int]:
    offset = 0
    while True:
        yield from range(offset, samples - batch + 1, batch)
        offset = (offset + 1) % min(batch, samples - batch + 1)
