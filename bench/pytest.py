"""A fixture for pytest-benchmark: a step of a cell of one's own, with its kernel attested.

    # conftest.py
    pytest_plugins = ["bench.pytest"]

    # test_speed.py
    def test_small_gru(bench_cell):
        bench_cell("my_cells:small_gru", units=64)

The cell is built and run in a process of its own, as a side of a duel is; a round of pytest-benchmark's is a timed
batch there, by that process's clock. The kernel that ran is in the benchmark's `extra_info`. One process is one
observation of its memory layout and its neighbours: to compare two commits, `bench duel` is surer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.catalog.cells import find
from bench.core.case import Case
from bench.core.protocol import Request, TimedPhase
from bench.duel.side_process import SideFailedError, SideProcess
from bench.duel.sides import WORKER
from bench.run.server import HARNESS_ENVIRONMENT, Server, default_isolation

CellBenchmark = Callable[..., None]
"""Times a cell: `bench_cell("my_cells:small_gru", phase="predict", units=64, kernel="generic")`."""

_BATCH_SECONDS = 0.03
"""What a timed batch takes, about: long beside the clock and the pipe, short beside the noise of the machine."""


class _SideClock:
    """Seconds that the side's process has spent in timed batches: the clock that pytest-benchmark reads."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def bench_cell(request: pytest.FixtureRequest, tmp_path: Path) -> CellBenchmark:
    """Time a cell: its name or `module:factory`, then `phase` (train or predict), `rounds`, and fields of `Case`.

    The test fails where the cell cannot be built, or another kernel ran than the one asked for.
    """
    clock = _SideClock()
    marker = request.node.get_closest_marker("benchmark")
    options = {"group": "bench_cell", **(marker.kwargs if marker else {}), "timer": clock}
    request.node.add_marker(pytest.mark.benchmark(**options), append=False)
    benchmark = request.getfixturevalue("benchmark")

    def measure(
        cell: str | Callable[..., Any], *, phase: str = "train", rounds: int = 30, task: str = "mnist_5k", **fields: Any
    ) -> None:
        name = cell if isinstance(cell, str) else f"{cell.__module__}:{cell.__qualname__}"
        find(name, "bench_cell")
        case = Case(cell=name, task=task, **fields)
        with _side(case, TimedPhase(phase), tmp_path) as process:
            process.imported_code()
            process.time_batch(1)  # compiles
            steps = max(1, round(_BATCH_SECONDS / process.time_batch(1).seconds))

            def batch() -> None:
                clock.seconds += process.time_batch(steps).seconds / steps

            benchmark.pedantic(batch, rounds=rounds, warmup_rounds=2)
            metadata = process.end()
        benchmark.extra_info.update(
            kernel_asked=case.kernel,
            kernel_attested=metadata.attested_kernel,
            backend=case.backend,
            phase=phase,
            steps_a_round=steps,
            parameters=metadata.parameters,
        )

    return measure


@contextmanager
def _side(case: Case, phase: TimedPhase, folder: Path) -> Iterator[SideProcess]:
    """A process that builds the case's model and does its timed batches; it is gone when the block ends."""
    data = obtain(tasks.of(case, "bench_cell"), data_dir=None, report=lambda text: None)
    server = Server(case.backend, WORKER, default_isolation(case.device), (), HARNESS_ENVIRONMENT)
    try:
        server.wait_ready(time.monotonic, lambda: None)
        if server.problem:
            raise SideFailedError(f"{case.label()}: {server.problem}")
        process = SideProcess(case.label(), server, Request(case=case, data=data, log=folder / "side.log", phase=phase))
        try:
            yield process
        finally:
            process.close()
    finally:
        server.close()
