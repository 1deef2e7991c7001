"""bench.host.nvml with a stand-in for the driver (tests.support.fake_nvml says where its answers come from)."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.host import hardware, nvml
from bench.host.gpu_remarks import gpu_remarks
from bench.host.hardware import Machine
from bench.host.nvml import Gpu, open_gpu
from tests.support.fake_nvml import FakeNvml


def card(driver: FakeNvml) -> Gpu:
    opened = open_gpu("gpu:0", {}, driver)
    assert opened is not None
    return opened


def test_what_is_read_of_a_card_is_in_si_units() -> None:
    driver = FakeNvml(milliwatts=412_345, reasons=0x1 | 0x4 | 0x40, processes={7: 900 << 20})
    reading, facts = card(driver).read(), card(driver).facts()
    assert (reading.sm_mhz, reading.memory_mhz, reading.celsius, reading.watts) == (1980, 2619, 41, 412.345)
    assert reading.throttling == ("power cap", "heat, by hardware")
    assert (reading.utilisation_fraction, reading.process_bytes) == (0.5, {7: 900 << 20})
    assert card(driver).energy_joules() == 5_000
    assert (facts.model, facts.driver, facts.power_limit_watts) == ("NVIDIA H100 80GB HBM3", "580.95.05", 700)
    assert (facts.mig, facts.ecc, facts.persistence) == (None, True, True)


def test_what_a_card_does_not_support_is_none() -> None:
    driver = FakeNvml(
        sm_mhz=None, memory_mhz=None, celsius=None, milliwatts=None, reasons=None, millijoules=None, mig=None
    )
    reading = card(driver).read()
    assert (reading.sm_mhz, reading.celsius, reading.watts, reading.throttling) == (None, None, None, ())
    assert card(driver).energy_joules() is None
    assert card(driver).facts().mig is None
    assert card(driver).process_utilisation(0) == {}


def test_how_busy_each_process_keeps_a_card_is_a_fraction() -> None:
    assert card(FakeNvml(busy={11: 97, 12: 0})).process_utilisation(5) == {11: 0.97, 12: 0.0}


@pytest.mark.parametrize(
    ("device", "visible", "asked"),
    [("gpu:0", None, [0]), ("gpu:1", "3,0", [0]), ("gpu:0", "GPU-8f1c", ["GPU-8f1c"]), ("gpu:0", " MIG-7 ", ["MIG-7"])],
)
def test_a_card_is_the_one_that_cuda_calls_so(device: str, visible: str | None, asked: list[object]) -> None:
    driver = FakeNvml()
    assert open_gpu(device, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}, driver)
    assert driver.asked == asked


@pytest.mark.parametrize(("device", "visible"), [("cpu", None), ("gpu:1", None), ("gpu:1", "0")])
def test_there_is_no_card_where_there_is_none(device: str, visible: str | None) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert open_gpu(device, environ, FakeNvml()) is None


@pytest.mark.parametrize(
    ("visible", "profile"), [("MIG-2", "2g.20gb"), (None, "1g.10gb"), ("0", "1g.10gb"), ("MIG-1", "1g.10gb")]
)
def test_a_partition_has_its_profile_and_processes_and_the_cards_clocks(visible: str | None, profile: str) -> None:
    """Without a name CUDA takes a card's first partition. Names as NVIDIA's user guide of MIG has them."""
    driver = FakeNvml(mig=(1, 1), partitions={"MIG-1": "1g.10gb", "MIG-2": "2g.20gb"}, processes={7: 900 << 20})
    opened = open_gpu("gpu:0", {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}, driver)
    assert opened is not None
    assert (opened.facts().mig, opened.facts().power_limit_watts) == (profile, 700)
    assert (opened.read().sm_mhz, opened.read().process_bytes) == (1980, {7: 900 << 20})
    assert driver.asked[-1] == {"1g.10gb": "MIG-1", "2g.20gb": "MIG-2"}[profile]
    assert opened.energy_joules() is None  # what all partitions use is nobody's


def test_a_partitioned_card_without_partitions_says_so() -> None:
    assert card(FakeNvml(mig=(1, 1))).facts().mig == "on"


def test_without_the_library_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert open_gpu("gpu:0", {}) is None


@pytest.mark.extra("pynvml")
def test_the_functions_that_are_asked_are_those_of_nvidia_ml_py() -> None:
    pynvml = importlib.import_module("pynvml")
    named = set(re.findall(r"\bnvml\.(\w+)", inspect.getsource(nvml)))
    assert len(named) > 15
    assert [name for name in named if not hasattr(pynvml, name)] == []
    assert [name for name in named if not hasattr(FakeNvml, name)] == []


@pytest.mark.extra("pynvml")
def test_throttle_reasons_are_the_bits_of_the_header() -> None:
    pynvml = importlib.import_module("pynvml")
    bits = {getattr(pynvml, name) for name in dir(pynvml) if re.fullmatch(r"nvmlClocksThrottleReason\w+", name)}
    assert set(nvml.THROTTLE_REASONS) <= bits


def test_a_card_in_use_slowed_down_or_unloaded_is_remarked_with_advice() -> None:
    driver = FakeNvml(reasons=0x20, persistence=0, processes={7: 1, 8: None})
    kinds = {
        remark.kind: remark for remark in gpu_remarks(["cpu", "gpu:0"], lambda device: open_gpu(device, {}, driver))
    }
    assert [str(kind) for kind in kinds] == ["card shared", "card throttled", "card unloaded"]
    assert next(remark.text for remark in kinds.values()) == "2 processes hold memory on gpu:0"
    assert all(remark.advice for remark in kinds.values())
    assert gpu_remarks(["gpu:0"], lambda device: card(FakeNvml())) == ()


def test_power_limit_and_partitions_are_in_a_machines_fingerprint_and_nothing_new_is_in_a_processors() -> None:
    processor = Machine(architecture="x86_64", cpu_model="a", usable_cores=2)
    assert processor.fingerprint == "920ffa4f7ac4d10f"  # as before these facts were added
    with_card = replace(processor, gpus=("NVIDIA H100 80GB HBM3",), gpu_driver="580.95.05")
    capped = replace(with_card, gpu_power_limit_watts=(350.0,))
    assert len({with_card.fingerprint, capped.fingerprint, replace(capped, gpu_mig=("on",)).fingerprint}) == 3
    assert Machine.from_json(capped.to_json()) == capped


def test_only_this_module_imports_the_library() -> None:
    package = Path(nvml.__file__).parents[1]
    users = [path.name for path in package.rglob("*.py") if re.search(r"pynvml", path.read_text())]
    assert users == ["nvml.py"]


def test_the_partition_that_runs_compute_on_is_in_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeNvml(mig=(1, 1), partitions={"MIG-1": "1g.10gb", "MIG-2": "2g.20gb"})
    monkeypatch.setattr(hardware, "open_gpu", lambda device, environ: open_gpu(device, environ, driver))
    assert hardware._partitions(1, None) == ("1g.10gb",)
    assert hardware._partitions(1, "MIG-2,MIG-1") == ("2g.20gb", "1g.10gb")
    assert hardware._partitions(1, "") == ()
    assert hardware._partitions(0, None) == ()
    driver.mig, driver.partitions = (0, 0), {}
    assert hardware._partitions(1, None) == ("off",)
