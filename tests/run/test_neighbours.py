"""What is timed beside a run on other cards: counted by their locks, and measured by their driver."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.host.nvml import Gpu, open_gpu
from bench.run.lock import machine_lock
from bench.run.neighbours import NeighbourWatch, other_cards
from tests.support.fake_nvml import FakeNvml

DRIVER = FakeNvml(utilisation=90, beside=[FakeNvml(bus=0x5E, utilisation=30), FakeNvml(bus=0x86, utilisation=50)])


def opened(device: str, environ: Mapping[str, str]) -> Gpu | None:
    return open_gpu(device, environ, DRIVER)


def test_the_most_runs_beside_and_how_busy_the_other_cards_were(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    card = opened("gpu:0", {})
    assert card is not None
    neighbours = other_cards(3, card.facts().pci_bus, opened)
    with machine_lock(pytest.fail, path, card="1"):
        with (
            machine_lock(pytest.fail, path, card="2"),
            machine_lock(pytest.fail, path, card="3"),
            NeighbourWatch(neighbours, path, sample_seconds=0.001) as watch,
        ):
            deadline = time.monotonic() + 60
            while watch.runs < 2 and time.monotonic() < deadline:
                time.sleep(0.001)
        assert watch.runs == 2
        assert watch.gpu_fraction == pytest.approx(0.4), "that of the run's card is left out"
        with NeighbourWatch((), path) as alone:
            pass
    assert (alone.runs, alone.gpu_fraction) == (0, None)


def test_no_card_is_asked_where_the_driver_does_not_tell_which_one_the_run_is_on() -> None:
    assert other_cards(3, None, opened) == []
