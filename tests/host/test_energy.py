"""bench.host.energy: simulated files of RAPL, as the kernel's documentation has them, and a simulated driver of a card.

The figures are invented; `tests.support.fake_nvml` says where the driver's answers come from.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.host.energy import IdlePower, NvmlCounter, RaplCounter, measure_idle, open_counter
from bench.host.nvml import open_gpu
from scripts.energy import TOLERANCE, largest_departure, watts_of_lengths
from tests.support.fake_nvml import FakeNvml

RANGE = 262_143_328_850


def packages(sys: Path, *energies: int) -> list[Path]:
    folders = []
    for number, energy in enumerate(energies):
        folder = sys / "class" / "powercap" / f"intel-rapl:{number}"
        for zone in (folder, sys / "class" / "powercap" / f"intel-rapl:{number}:0"):  # the cores, a part of the package
            zone.mkdir(parents=True)
            (zone / "energy_uj").write_text(f"{energy}\n")
            (zone / "max_energy_range_uj").write_text(f"{RANGE}\n")
        folders.append(folder)
    return folders


def test_packages_are_summed_and_parts_of_them_are_not(tmp_path: Path) -> None:
    first, second = packages(tmp_path, 1_000_000, 5_000_000)
    counter = open_counter(None, "cpu", tmp_path)
    assert isinstance(counter, RaplCounter)
    (first / "energy_uj").write_text("3000000\n")
    (second / "energy_uj").write_text("5500000\n")
    assert counter.joules() == pytest.approx(2.5)
    assert counter.joules() == pytest.approx(2.5)


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path) -> None:
    (package,) = packages(tmp_path, RANGE - 1_000_000)
    counter = open_counter(None, "cpu", tmp_path)
    assert counter is not None
    (package / "energy_uj").write_text("2000000\n")
    assert counter.joules() == pytest.approx(3.000001)


def test_without_a_counter_that_may_be_read_there_is_none(tmp_path: Path) -> None:
    assert open_counter(None, "cpu", tmp_path) is None
    (package,) = packages(tmp_path, 1)
    (package / "energy_uj").unlink()
    (package / "energy_uj").mkdir()  # not to be read, as for anybody but root
    assert open_counter(None, "cpu", tmp_path) is None
    assert open_counter(None, "gpu:0", tmp_path) is None
    assert open_counter(open_gpu("gpu:0", {}, FakeNvml(millijoules=None)), "gpu:0") is None


def test_a_cards_counter_is_the_drivers() -> None:
    counter = open_counter(open_gpu("gpu:0", {}, FakeNvml(millijoules=7_500)), "gpu:0")
    assert isinstance(counter, NvmlCounter)
    assert (counter.source, counter.joules()) == ("nvml", 7.5)


def test_idle_power_is_what_is_used_over_what_it_took() -> None:
    driver, now = FakeNvml(), [100.0]
    counter = open_counter(open_gpu("gpu:0", {}, driver), "gpu:0")
    assert counter is not None

    def wait(seconds: float) -> None:
        now[0] += 2 * seconds  # as late as a busy machine wakes us
        assert driver.millijoules is not None
        driver.millijoules += 140_000

    assert measure_idle(counter, 1.0, wait=wait, clock=lambda: now[0]) == IdlePower(70.0)

    def reset(seconds: float) -> None:
        now[0] += seconds
        driver.millijoules = 3

    assert measure_idle(counter, 1.0, wait=reset, clock=lambda: now[0]) is None


def test_a_load_of_known_length_has_the_same_power_each_time_by_rapl(tmp_path: Path) -> None:
    """Files as powercap has them, of a package that takes 20 W idle and 45 W more under load, in steps of it."""
    (package,) = packages(tmp_path, RANGE - 150_000_000)  # it begins anew in the first repeat
    counter = open_counter(None, "cpu", tmp_path)
    assert counter is not None
    used = [0.0]

    def work(seconds: float) -> float:
        used[0] += 65.0 * seconds
        steps = round(used[0] * 1e6 / 61) * 61  # the unit of many packages is 61 µJ
        (package / "energy_uj").write_text(f"{(RANGE - 150_000_000 + steps) % (RANGE + 1)}\n")
        return seconds

    watts = [watts_of_lengths(counter, 20.0, work) for _ in range(3)]
    assert watts == [[pytest.approx(45.0, rel=0.001)] * 2] * 3
    assert largest_departure(watts) < TOLERANCE
    assert largest_departure([[45.0, 45.0], [45.0, 48.0]]) > TOLERANCE
