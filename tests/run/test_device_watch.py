"""bench.run.device_watch: what is recorded of a device, by a simulated driver (tests.support.fake_nvml)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.core.case import Case
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Began, Event, Started
from bench.host.energy import IdlePower
from bench.host.nvml import Gpu, GpuReading, open_gpu
from bench.run import device_watch
from bench.run.device_watch import DeviceWatcher
from tests.support.fake_nvml import FakeNvml

ON_GPU, ON_CPU = Case(cell="lstm", device="gpu:0"), Case(cell="lstm")


def watcher(driver: FakeNvml) -> DeviceWatcher:
    return DeviceWatcher(
        lambda device, environ: open_gpu(device, environ, driver), idle=lambda counter: IdlePower(70.0)
    )


@pytest.fixture(autouse=True)
def all_cards_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_clocks_power_and_throttling_are_those_of_the_timed_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_watch, "SAMPLE_SECONDS", 0.001)
    driver = FakeNvml(sm_mhz=345, processes={41: 1 << 30, 99: None})
    with watcher(driver).watch(ON_GPU, {}) as watch:
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
    with watcher(driver).watch(ON_GPU, {}) as watch:
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
        with watcher(driver).watch(ON_GPU, {}) as watch:
            watch.saw(Began("train", 1), 0.0)
            driver.millijoules = round(300e3 * seconds)
            epoch = watch.saw(Observation(phase="train", epoch=1, seconds=seconds), seconds)
        assert isinstance(epoch, Observation)
        used.append(epoch.energy_joules or 0.0)
    assert used[1] / used[0] == pytest.approx(2, rel=0.03)


def test_where_nothing_can_be_asked_nothing_is_recorded(tmp_path: Path) -> None:
    nothing = DeviceWatcher(lambda device, environ: None, lambda card, device: None)
    events: list[Event] = [Started(1), Began("train", 1), Observation(phase="train", epoch=1, seconds=1.0)]
    for case in (ON_CPU, ON_GPU):
        with nothing.watch(case, {}) as watch:
            assert [watch.saw(event, 0.0) for event in events] == events
        assert watch.completed(RunMetadata()) == RunMetadata()
        assert watch.observations() == ()
        assert watch._thread is None


def timed(driver: FakeNvml, readings: int, pid: int = 41) -> RunMetadata:
    """What is recorded of a run in whose training the card is read so often at least."""
    with watcher(driver).watch(ON_GPU, {}) as watch:
        watch.saw(Started(pid), 0.0)
        watch.saw(Began("train", 1), 1.0)
        until(lambda: len(watch._seen.timed) >= readings)
        watch.saw(Observation(phase="train", epoch=1, seconds=1.0), 2.0)
    return watch.completed(RunMetadata())


@pytest.mark.parametrize("response_seconds", [0.0, 0.03, 0.06, 0.09])
def test_the_device_is_asked_ten_times_a_second_whatever_a_response_takes(
    monkeypatch: pytest.MonkeyPatch, response_seconds: float
) -> None:
    """By a clock that only waiting and responses move."""
    now = [100.0]

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            now[0] += timeout or 0.0
            return watch._seen.readings == 20

    class SlowGpu(Gpu):
        def read(self) -> GpuReading:
            now[0] += response_seconds
            return GpuReading()

    monkeypatch.setattr(device_watch, "time", SimpleNamespace(monotonic=lambda: now[0]))
    driver = FakeNvml()
    watch = watcher(driver).watch(ON_GPU, {})
    watch._stop = Stop()
    watch.saw(Began("train", 1), 0.0)
    watch._sample(SlowGpu(driver, driver))
    gap = watch._seen.longest_gap_seconds or 0.0
    assert gap == pytest.approx(max(0.05, response_seconds + 0.005))
    assert gap < 0.1


def test_a_run_that_is_shorter_than_a_reading_says_nothing_of_its_state() -> None:
    """Not that it was not slowed down, nor that nobody else was there: nobody has looked."""
    driver = FakeNvml(reasons=0x4, processes={41: 1, 99: 1})
    with watcher(driver).watch(ON_GPU, {}) as watch:
        watch.saw(Started(41), 0.0)
        watch.saw(Began("train", 1), 0.0)
        watch.saw(Observation(phase="train", epoch=1, seconds=0.001), 0.001)
    record = watch.completed(RunMetadata())
    assert (record.device_throttling, record.device_sm_mhz_lowest, record.device_watts) == (None, None, None)
    facts = json.loads(record.device_json or "")
    assert (facts["timed_readings"], facts["longest_gap_seconds"]) == (0, None)
    assert facts["before"]["throttling"] == ["power cap"]


@pytest.mark.parametrize(
    ("processes", "others", "used"),
    [
        ({41: 1 << 30}, 0, 1 << 30),
        ({41: 1 << 30, 7: 5}, 1, 1 << 30),
        ({30_041: 1 << 30}, 0, 1 << 30),  # the host's number of the run's process, as a container sees it
        ({30_041: 1 << 30, 7: 5}, 1, None),
        ({}, None, None),  # a container that sees none, although the run is on the card
        (None, None, None),
    ],
)
def test_the_runs_own_process_is_no_other_whatever_its_number_on_the_card(
    monkeypatch: pytest.MonkeyPatch, processes: dict[int, int | None] | None, others: int | None, used: int | None
) -> None:
    monkeypatch.setattr(device_watch, "SAMPLE_SECONDS", 0.001)
    record = timed(FakeNvml(processes=processes), readings=2)
    assert (record.device_others, record.device_process_bytes) == (others, used)


def test_a_card_that_is_lost_in_a_run_leaves_what_was_seen_and_the_campaign_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_watch, "SAMPLE_SECONDS", 0.001)
    driver = FakeNvml()
    watching = watcher(driver)
    with watching.watch(ON_GPU, {}) as watch:
        watch.saw(Began("train", 1), 0.0)
        until(lambda: len(watch._seen.timed) > 1)
        driver.lost = True
        epoch = watch.saw(Observation(phase="train", epoch=1, seconds=1.0), 1.0)
    record = watch.completed(RunMetadata())
    assert isinstance(epoch, Observation)
    assert epoch.energy_joules is None
    assert (record.device_sm_mhz_lowest, json.loads(record.device_json or "")["after"]["sm_mhz"]) == (1980, None)
    with watching.watch(ON_GPU, {}) as following:
        following.saw(Began("train", 1), 2.0)
    assert following.completed(RunMetadata()).device_sm_mhz_lowest is None


def test_a_driver_that_never_responds_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_watch, "SAMPLE_SECONDS", 0.001)
    monkeypatch.setattr(device_watch, "_RESPONSE_SECONDS", 0.01)
    driver = FakeNvml()
    watching = watcher(driver)
    with watching.watch(ON_GPU, {}) as watch:
        until(lambda: watch._seen.readings > 0)
        driver.response_seconds = 2.0
        until(lambda: driver.responding)
    assert json.loads(watch.completed(RunMetadata()).device_json or "")["after"] is None
    with watching.watch(ON_GPU, {}) as following:
        assert following._thread is None
    assert following.completed(RunMetadata()).device_json is None


def test_a_counter_of_energy_that_begins_anew_gives_no_energy() -> None:
    """As when the driver is loaded again in the middle of an epoch, or the card is reset; the next epoch counts."""
    driver = FakeNvml(millijoules=9_000_000)
    with watcher(driver).watch(ON_GPU, {}) as watch:
        used = []
        for number, counted in enumerate((3_000, 1_003_000)):
            watch.saw(Began("train", number), 10.0 * number)
            driver.millijoules = counted
            epoch = watch.saw(Observation(phase="train", epoch=number, seconds=1.0), 10.0 * number + 10.0)
            assert isinstance(epoch, Observation)
            used.append((epoch.energy_joules, epoch.idle_energy_joules))
    assert used == [(None, None), (300.0, 700.0)]


def test_a_runs_variables_may_show_it_another_card() -> None:
    """`--set env.CUDA_VISIBLE_DEVICES=1` makes the machine's second card the run's first."""
    driver = FakeNvml(beside=[FakeNvml("NVIDIA L4", "GPU-2", 0xC1, sm_mhz=300)])
    watching = watcher(driver)
    models = []
    for variables in ({}, {"CUDA_VISIBLE_DEVICES": "1"}, {}):
        with watching.watch(ON_GPU, variables) as watch:
            pass
        models.append(json.loads(watch.completed(RunMetadata()).device_json or "")["model"])
    assert models == ["NVIDIA H100 80GB HBM3", "NVIDIA L4", "NVIDIA H100 80GB HBM3"]
