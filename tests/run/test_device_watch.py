"""bench.run.device_watch: what is recorded of a device, by a stand-in for its driver (tests.support.fake_nvml)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Began, Event, Started
from bench.host.energy import IdlePower
from bench.host.nvml import open_gpu
from bench.run import device_watch
from bench.run.device_watch import DeviceWatcher, RunWatch
from tests.support.fake_nvml import FakeNvml

ON_GPU, ON_CPU = Case(cell="lstm", device="gpu:0"), Case(cell="lstm")


def watcher(driver: FakeNvml) -> DeviceWatcher:
    return DeviceWatcher(lambda device: open_gpu(device, {}, driver), idle=lambda counter: IdlePower(70.0))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_clocks_power_and_throttling_are_those_of_the_timed_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_watch, "SAMPLE_SECONDS", 0.001)
    driver = FakeNvml(sm_mhz=345, processes={41: 1 << 30, 99: None})
    with watcher(driver).watch(ON_GPU) as watch:
        watch.saw(Started(41), 0.0)
        until(lambda: watch._seen.readings > 3)  # while it compiles
        driver.sm_mhz, driver.milliwatts = 1980, 500_000
        watch.saw(Began("train", 1), 1.0)
        until(lambda: len(watch._seen.timed) > 3)
        driver.sm_mhz, driver.reasons, driver.celsius = 1410, 0x4, 83
        driver.processes = {41: 3 << 30, 99: None, 98: 5}
        seen = len(watch._seen.timed)
        until(lambda: len(watch._seen.timed) > seen + 3)
        watch.saw(Observation(phase="train", epoch=1, seconds=1.0), 2.0)
        driver.sm_mhz = 210
    record = watch.completed(RunMetadata(parameters=5))
    assert record.parameters == 5
    assert (record.device_sm_mhz_highest, record.device_sm_mhz_lowest) == (1980, 1410)
    assert (record.device_throttling, record.device_celsius_highest, record.device_watts) == ("power cap", 83, 500.0)
    assert (record.device_process_bytes, record.device_others) == (3 << 30, 2)
    facts = json.loads(record.device_json or "")
    assert (facts["power_limit_watts"], facts["before"]["sm_mhz"], facts["after"]["sm_mhz"]) == (700, 345, 210)
    assert facts["after"]["processes"] == 3  # how many, and not which


def test_energy_is_that_of_the_phase_with_idle_power_apart() -> None:
    driver = FakeNvml(millijoules=0)
    with watcher(driver).watch(ON_GPU) as watch:
        watch.saw(Began("train", 1), 10.0)
        driver.millijoules = 1_000_000
        epoch = watch.saw(Observation(phase="train", epoch=1, seconds=1.9), 12.0)
        watch.saw(Began("predict"), 20.0)
        driver.millijoules = 1_300_000
        for number in range(200):  # through both call paths, reported together
            watch.saw(Observation(phase="predict", predict_batch=1, call=number + 1, seconds=0.01), 22.0)
        driver.millijoules = 9_000_000
        watch.saw(Observation(phase="predict", predict_batch=32, call=1, seconds=0.01), 30.0)
    assert isinstance(epoch, Observation)
    assert (epoch.energy_joules, epoch.idle_energy_joules) == (860, 140)
    (calls,) = watch.observations()
    assert (calls.phase, calls.samples, calls.energy_joules, calls.idle_energy_joules) == ("calls", 200, 160, 140)
    assert watch.completed(RunMetadata()).idle_watts == 70
    assert watch.completed(RunMetadata()).energy_counter == "nvml"


def test_a_load_of_twice_the_length_takes_twice_the_energy_within_3_percent() -> None:
    """The counter of a card that takes 300 W while it works, read when each phase begins and ends."""
    used = []
    for seconds in (2.0, 4.0):
        driver = FakeNvml(millijoules=0)
        with watcher(driver).watch(ON_GPU) as watch:
            watch.saw(Began("train", 1), 0.0)
            driver.millijoules = round(300e3 * seconds)
            epoch = watch.saw(Observation(phase="train", epoch=1, seconds=seconds), seconds)
        assert isinstance(epoch, Observation)
        used.append(epoch.energy_joules or 0.0)
    assert used[1] / used[0] == pytest.approx(2, rel=0.03)


def test_where_nothing_can_be_asked_nothing_is_recorded(tmp_path: Path) -> None:
    nothing = DeviceWatcher(lambda device: None, lambda card, device: None)
    events: list[Event] = [Started(1), Began("train", 1), Observation(phase="train", epoch=1, seconds=1.0)]
    for case in (ON_CPU, ON_GPU):
        with nothing.watch(case) as watch:
            assert [watch.saw(event, 0.0) for event in events] == events
        assert watch.completed(RunMetadata()) == RunMetadata()
        assert watch.observations() == ()
        assert watch._thread is None


def test_the_device_is_asked_ten_times_a_second_or_more() -> None:
    assert device_watch.SAMPLE_SECONDS <= 0.1
    with watcher(FakeNvml()).watch(ON_GPU) as watch:
        until(lambda: watch._seen.readings >= 5)
    assert isinstance(watch, RunWatch)
