"""bench.duel.device_use with a simulated driver (tests.support.fake_nvml), whose figures are invented."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from bench.core.case import Case
from bench.duel.device_use import DeviceUse, DeviceWatch, in_all
from bench.duel.sides import PreparedSide
from bench.host.nvml import open_gpu
from bench.report.duel import device_notes
from bench.run.server import WorkerEnvironment
from tests.support.fake_nvml import FakeNvml

PIDS = {0: 11, 1: 12, -1: 13}


def side(device: str, **variables: str) -> PreparedSide:
    environment = WorkerEnvironment(variables=variables)
    return PreparedSide(title=device, case=Case(cell="lstm", device=device), environment=environment)


def watch(driver: FakeNvml, waited: list[float]) -> DeviceWatch:
    def wait(seconds: float) -> None:
        waited.append(seconds)

    return DeviceWatch(
        {0: side("gpu:0"), 1: side("gpu:0")},
        lambda device, _: open_gpu(device, {}, driver),
        wait=wait,
        now=lambda: 1_700_000_000.0,
    )


def test_what_sides_use_of_a_card_while_they_wait_is_seen_by_process() -> None:
    driver, waited = FakeNvml(busy={11: 0, 12: 34, 99: 50}, utilisation=40, sm_mhz=1980), list[float]()
    seen = watch(driver, waited)
    seen.all_wait(PIDS)
    assert waited[0] >= 1  # until no sample has any of their work in it
    assert 0.99 < sum(waited[1:]) < 1.01
    assert driver.since == 1_700_000_000_000_000
    seen.round_ended()
    driver.sm_mhz, driver.reasons = 1410, 0x4
    seen.round_ended()
    assert seen.seen() == DeviceUse(
        waiting={0: 0.0, 1: 0.34},
        waiting_device=0.4,
        sm_mhz_highest=1980,
        sm_mhz_lowest=1410,
        throttling=("power cap",),
    )
    driver.busy, driver.reasons = {}, 0x1
    seen.all_wait(PIDS)  # of the next group
    seen.round_ended()
    assert seen.seen() == DeviceUse(waiting_device=0.4, sm_mhz_highest=1410, sm_mhz_lowest=1410)


def test_without_a_card_nothing_is_asked_and_nobody_waits() -> None:
    waited: list[float] = []
    for sides in ({0: side("cpu"), 1: side("cpu")}, {0: side("gpu:0")}):
        seen = DeviceWatch(sides, lambda device, _: None, wait=waited.append)
        seen.all_wait(PIDS)
        seen.round_ended()
        assert seen.seen() is None
    assert waited == []
    assert in_all([None, None]) is None


def test_a_card_that_is_lost_between_rounds_ends_no_duel() -> None:
    driver = FakeNvml(busy={11: 0})
    seen = watch(driver, [])
    seen.all_wait(PIDS)
    seen.round_ended()
    driver.lost, driver.busy = True, {}
    seen.round_ended()
    assert seen.seen() == DeviceUse(waiting={0: 0.0}, waiting_device=0.5, sm_mhz_highest=1980, sm_mhz_lowest=1980)
    seen.all_wait(PIDS)
    seen.round_ended()
    assert seen.seen() == DeviceUse()


def test_each_card_that_some_side_is_shown_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = FakeNvml(beside=[FakeNvml("NVIDIA L4", "GPU-2", 0xC1, sm_mhz=300)])
    sides = {0: side("gpu:0"), 1: side("gpu:0", CUDA_VISIBLE_DEVICES="1"), 2: side("gpu:0")}
    seen = DeviceWatch(sides, lambda device, environ: open_gpu(device, environ, driver))
    seen.round_ended()
    assert seen.seen() == DeviceUse(sm_mhz_highest=1980, sm_mhz_lowest=300)


def test_a_duel_has_the_most_of_its_groups() -> None:
    first = DeviceUse(waiting={0: 0.0, 1: 0.2}, waiting_device=0.2, sm_mhz_highest=1980, sm_mhz_lowest=1900)
    second = DeviceUse(waiting={0: 0.1}, waiting_device=None, sm_mhz_lowest=1500, throttling=("power cap",))
    assert in_all([first, None, second]) == DeviceUse(
        waiting={0: 0.1, 1: 0.2},
        waiting_device=0.2,
        sm_mhz_highest=1980,
        sm_mhz_lowest=1500,
        throttling=("power cap",),
    )


def test_a_reader_is_told_what_was_seen() -> None:
    def said(**seen: Any) -> list[str]:
        return device_notes({**asdict(DeviceUse()), **seen})

    assert device_notes(None) == said() == []
    assert said(waiting={"a": 0.0, "b": 0.34}, waiting_device=0.34) == [
        "While all sides waited, some kept the device busy, B for up to 34 % of the time: their work is in the times "
        "of others."
    ]
    assert said(waiting={"a": 0.0}, waiting_device=0.0) == ["While all sides waited, no side used the device."]
    assert said(waiting={"a": 0.0}, waiting_device=0.2) == [
        "While all sides waited, no side used the device, and something else did for up to 20 % of the time."
    ]
    assert said(waiting_device=0.0) == ["While all sides waited, nobody used the device."]
    assert said(waiting_device=0.2) == [
        "While all sides waited, the device was in use for up to 20 % of the time; its driver does not know by whom."
    ]
    assert said(throttling=["power cap"], sm_mhz_lowest=1410, sm_mhz_highest=1980) == [
        "The device was slower than it could be, at 1410 to 1980 MHz: power cap. Sides alternate within tens of "
        "milliseconds, so that it is in the times of all alike."
    ]
