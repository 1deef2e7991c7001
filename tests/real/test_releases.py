"""Releases of Keras as sides: the oldest, some in between and the newest, on each backend with a fitting release of it.

Their environments are built from a package index, which takes minutes and gigabytes: with BENCH_TEST_RELEASES=1 alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.catalog import tasks
from bench.catalog.cache import default_cache, obtain
from bench.core.protocol import TimedPhase
from bench.duel.interleaved import Batching, InterleavedRunner
from bench.duel.sides import WORKER
from bench.duel.specification import asked, prepare_sides

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("BENCH_TEST_RELEASES"), reason="BENCH_TEST_RELEASES isn't set"),
]

RELEASES = {
    "tensorflow": ("keras==3.3.3", "keras==3.7.0", "keras==3.12.0", "keras==3.15.1"),
    "torch": ("keras==3.3.3", "keras==3.7.0", "keras==3.12.0", "keras==3.15.1"),
    "jax": ("keras==3.3.3 jax==0.4.30", "keras==3.7.0 jax==0.4.38", "keras==3.12.0", "keras==3.15.1"),
}


@pytest.mark.parametrize("phase", [TimedPhase.TRAIN, TimedPhase.PREDICT, TimedPhase.COMPILED_CALLS])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("backend", RELEASES)
def test_each_release_trains_and_infers_and_its_kernel_is_attested(
    backend: str, cell: str, phase: TimedPhase, tmp_path: Path
) -> None:
    what = asked(RELEASES[backend], [f"backends={backend}", f"cells={cell}", "units=16"], phase=phase)
    data = obtain(tasks.of(what.cases[0], "a test"), data_dir=None, report=print)
    sides = prepare_sides(what, scratch=tmp_path, cache=default_cache(), build=False, worker=WORKER, notify=print)
    numbers = range(len(sides))
    with InterleavedRunner(sides, data=data, folder=tmp_path, phase=phase) as runner:
        group = runner.measure(0, Batching(2, 2), numbers, rounds=2)
    assert [group.metadata[number].attested_kernel for number in numbers] == ["generic"] * len(sides)
    assert len({group.metadata[number].parameters for number in numbers}) == 1
    assert [side.packages["keras"] for side in sides] == ["3.3.3", "3.7.0", "3.12.0", "3.15.1"]
