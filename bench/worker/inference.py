"""Times inference: single calls at batch 1 and at some larger batches, through each call path. Knows no framework."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bench.core.observation import Observation
from bench.host.noise import resident_bytes

BATCHES = (32, 256, 1024)
"""Batches whose throughput is measured, those that are smaller than the test set."""
THROUGHPUT_CALLS = 20
"""Calls through each call path at each larger batch; fewer where fewer latencies are asked for."""

_ROUND_CALLS = 50
"""A call path's calls in a row: many, so that the median call follows one of its kind."""
_WARM_CALLS = 3
_MEMORY_CALLS = 10
"""Memory is read after every so many calls of a series: often enough to see it grow, and seldom enough to cost nothing
that could be seen (20 to 50 µs a reading, between two calls)."""

Inputs = np.ndarray[Any, np.dtype[Any]]
Outputs = np.ndarray[Any, np.dtype[Any]]
CallPath = Callable[[Inputs], object]
"""A way to call a trained model: takes inputs as they come to a service, in NumPy's memory, and returns the outputs
there. So a call ends when the device has finished: no work is left when the clock is read."""


@runtime_checkable
class FedCallPath(Protocol):
    """A call path whose calls take something else than whole sequences."""

    def feed(self, x: Inputs, batch: int) -> Iterator[Inputs]:
        """The inputs of one call after another, without end; what a call needs beside is made ready when they are
        taken, which is not timed."""

    def __call__(self, inputs: Inputs) -> object: ...


def plan_calls(latency_calls: int, samples: int) -> dict[int, int]:
    """The number of calls through each call path, by batch: 1, and those of `BATCHES` below the test set's size."""
    larger = min(latency_calls, THROUGHPUT_CALLS)
    return {1: latency_calls, **{batch: larger for batch in BATCHES if batch < samples}}


def warm_up(call_paths: Mapping[str, CallPath], x: Inputs, calls: Mapping[int, int]) -> None:
    """Let each call path trace and compile what it needs for each batch."""
    for batch in calls:
        for predict in call_paths.values():
            for inputs in itertools.islice(feed(predict, x, batch), _WARM_CALLS):
                predict(inputs)


def infer_all(infer: Callable[[Inputs], Outputs], x: Inputs, batch: int) -> Outputs:
    """The outputs for all of `x`, samples × classes.

    Every call gets as many samples, since another size would compile again: the last batch begins in the one before.

    Args:
        infer: takes inputs, samples × steps × features, and gives their outputs.
        x: inputs, at least one.
        batch: samples a call.
    """
    last = max(0, len(x) - batch)
    starts = [min(first, last) for first in range(0, len(x), batch)]
    outputs = [infer(x[start : start + batch]) for start in starts]
    return np.concatenate([*outputs[:-1], outputs[-1][batch * (len(starts) - 1) - starts[-1] :]])


def time_calls(
    call_paths: Mapping[str, CallPath],
    x: Inputs,
    batch: int,
    calls: int,
    device_bytes: Callable[[], int | None] = lambda: None,
) -> list[Observation]:
    """Time single calls at one batch size; an observation for each, in the order in which they were made.

    The call paths alternate in the order A B B A, so that what drifts hits all alike. Each call gets other inputs than
    the one before, and every call path of whole sequences the same ones. Nothing but the call is between two readings
    of the clock, and nothing is reported until all is done.

    Memory is read between calls, after the first and the last of each series of calls in a row and some in between: it
    belongs to the process, so what grows within a series is its call path's.

    Args:
        call_paths: by name (`predict`, `compiled`, `streaming`).
        x: the test set's inputs, samples × steps × features.
        batch: samples a call.
        calls: how many through each call path.
        device_bytes: memory in use on the device; None where that can't be read.
    """
    names, feeds = tuple(call_paths), {name: feed(predict, x, batch) for name, predict in call_paths.items()}
    taken: list[tuple[str, int, int, int]] = []
    memory: dict[tuple[str, int], tuple[int, int | None]] = {}
    for number, first in enumerate(range(0, calls, _ROUND_CALLS)):
        for name in names if number % 2 == 0 else reversed(names):
            predict, inputs_of = call_paths[name], feeds[name]
            after = min(calls, first + _ROUND_CALLS)
            for call in range(first, after):
                inputs = next(inputs_of)
                begun = time.perf_counter_ns()
                predict(inputs)
                taken.append((name, number + 1, call + 1, time.perf_counter_ns() - begun))
                if (call - first) % _MEMORY_CALLS == 0 or call == after - 1:
                    memory[name, call + 1] = resident_bytes(), device_bytes()
    return [
        Observation(
            phase="predict",
            entry=name,
            predict_batch=batch,
            call=call,
            series=series,
            seconds=nanoseconds / 1e9,
            samples=batch,
            rss_bytes=memory.get((name, call), (None, None))[0],
            device_bytes=memory.get((name, call), (None, None))[1],
        )
        for name, series, call, nanoseconds in taken
    ]


def feed(call_path: CallPath, x: Inputs, batch: int) -> Iterator[Inputs]:
    """The inputs of one call after another, without end.

    Args:
        call_path: what they are for.
        x: the test set's inputs, samples × steps × features.
        batch: samples a call.
    """
    if isinstance(call_path, FedCallPath):
        return call_path.feed(x, batch)
    return (x[start : start + batch] for start in batch_starts(len(x), batch))


def batch_starts(samples: int, batch: int) -> Iterator[int]:
    """Where in the test set one batch after another begins, without end: each round begins a sample further on.

    Args:
        samples: of the test set.
        batch: samples of a batch.
    """
    offset = 0
    while True:
        yield from range(offset, samples - batch + 1, batch)
        offset = (offset + 1) % min(batch, samples - batch + 1)
