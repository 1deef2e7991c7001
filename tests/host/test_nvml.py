"""bench.host.nvml with a simulated driver (tests.support.fake_nvml says where its answers come from)."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.host import hardware, nvml
from bench.host.gpu_remarks import gpu_remarks
from bench.host.hardware import Machine
from bench.host.nvml import Gpu, open_gpu
from bench.run.server import WorkerEnvironment, _variables
from tests.support.fake_nvml import FakeMismatchError, FakeNvml, card_of_cuda


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


STATES = ("sm_mhz", "memory_mhz", "celsius", "milliwatts", "reasons", "utilisation", "processes")
FACTS = ("bus", "memory_bytes", "limit_milliwatts", "mig", "persistence")


@pytest.mark.parametrize("missing", [*STATES, *FACTS, "millijoules"])
def test_what_a_card_does_not_support_is_none_and_the_rest_is_there(missing: str) -> None:
    """Each query by itself is "Not Supported", as some are on virtual cards and GeForce ones."""
    driver = FakeNvml()
    setattr(driver, missing, None)
    whole, without = card(FakeNvml()), card(driver)
    before = {**asdict(whole.read()), **asdict(whole.facts()), "joules": whole.energy_joules()}
    after = {**asdict(without.read()), **asdict(without.facts()), "joules": without.energy_joules()}
    changed = [name for name, value in before.items() if after[name] != value]
    assert [after[name] for name in changed] == [None] * len(changed)
    assert len(changed) == (0 if missing == "mig" else 1)  # a whole card has no profile as it is


def test_a_card_that_is_lost_while_it_is_asked_has_no_state_and_raises_nothing() -> None:
    driver = FakeNvml(processes={7: 1}, busy={})
    opened = card(driver)
    driver.lost = True
    assert set(asdict(opened.read()).values()) == {None}
    assert opened.energy_joules() is None
    assert opened.process_utilisation(0) == {}
    assert set(asdict(replace(opened.facts(), driver=None)).values()) == {None}


def test_a_driver_that_is_older_than_the_library_is_asked_for_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-ml-py 13 raises an error of its own where the driver has an earlier list of processes: no NVMLError."""

    def mismatch(*_: object) -> None:
        raise FakeMismatchError

    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetComputeRunningProcesses", mismatch)
    assert (card(FakeNvml()).read().process_bytes, card(FakeNvml()).read().sm_mhz) == (None, 1980)


def test_a_library_that_is_older_than_a_function_is_asked_for_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(FakeNvml, "nvmlDeviceGetMigMode")
    monkeypatch.delattr(FakeNvml, "nvmlDeviceGetProcessUtilization")
    assert (card(FakeNvml()).facts().mig, card(FakeNvml()).process_utilisation(0)) == (None, {})


def test_how_busy_each_process_keeps_a_card_is_a_fraction() -> None:
    assert card(FakeNvml(busy={11: 97, 12: 0})).process_utilisation(5) == {11: 0.97, 12: 0.0}


def unlike() -> FakeNvml:
    """Two cards, of which the driver's library has the slow one first: its numbers are in no order that it promises."""
    fast = FakeNvml(uuid="GPU-5e6f7a8b", bus=0x3B, sm_mhz=1980, memory_bytes=80 << 30, millijoules=7_000)
    slow = FakeNvml("NVIDIA L4", "GPU-1a2b3c4d", 0xC1, sm_mhz=300, memory_bytes=24 << 30, millijoules=1_000)
    slow.beside = (fast,)
    return slow


def crossed() -> FakeNvml:
    """Two cards of which the slow one comes first on the bus, so that CUDA by itself would number them otherwise."""
    slow = unlike()
    slow.bus = 0x18
    return slow


@pytest.mark.parametrize("driver", [unlike(), crossed()], ids=["library unordered", "bus against speed"])
@pytest.mark.parametrize(
    ("number", "visible"),
    [
        (0, None),
        (1, None),
        (0, "1"),
        (0, "1,0"),
        (1, "1,0"),
        (0, "GPU-1a2b3c4d"),
        (0, "GPU-5e6f"),  # CUDA takes the beginning too
        (1, "GPU-1,GPU-5"),
    ],
)
def test_the_card_that_is_asked_is_the_one_that_the_run_computes_on(
    driver: FakeNvml, number: int, visible: str | None
) -> None:
    """CUDA's choice is simulated by the words of its Programming Guide (`card_of_cuda`), in a worker's variables."""
    chosen = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    environ = _variables("torch", WorkerEnvironment(variables=chosen))
    computing = card_of_cuda([driver, *driver.beside], environ, number)
    opened = open_gpu(f"gpu:{number}", environ, driver)
    assert opened is not None
    facts = opened.facts()
    assert (facts.model, facts.pci_bus) == (computing.model, f"00000000:{computing.bus:02X}:00.0")
    assert facts.memory_bytes == computing.memory_bytes
    assert (opened.read().sm_mhz, opened.energy_joules()) == (computing.sm_mhz, (computing.millijoules or 0) / 1e3)


def test_without_their_places_cards_are_in_the_librarys_order() -> None:
    driver = unlike()
    driver.bus = None
    opened = open_gpu("gpu:0", {}, driver)
    assert opened is not None
    assert opened.facts().model == "NVIDIA L4"


@pytest.mark.parametrize("visible", ["GPU-", "GPU-9", "MIG-1", "2", "-1", "", "0,0"])
def test_a_name_that_is_no_cards_or_several_ones_opens_none(visible: str) -> None:
    assert open_gpu("gpu:0", {"CUDA_VISIBLE_DEVICES": visible}, unlike()) is None


@pytest.mark.parametrize(("device", "visible"), [("cpu", None), ("gpu:1", None), ("gpu:7", None), ("gpu:1", "0")])
def test_there_is_no_card_where_there_is_none(device: str, visible: str | None) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert open_gpu(device, environ, FakeNvml()) is None


@pytest.mark.parametrize(
    ("visible", "profile"),
    [("MIG-2", "2g.20gb"), (None, "1g.10gb"), ("0", "1g.10gb"), ("MIG-1a", "1g.10gb"), ("MIG-1", "1g.10gb")],
)
def test_a_partition_has_its_profile_and_processes_and_the_cards_clocks(visible: str | None, profile: str) -> None:
    """Without a name CUDA takes a card's first partition. Names as NVIDIA's user guide of MIG has them."""
    driver = FakeNvml(mig=(1, 1), partitions={"MIG-1a": "1g.10gb", "MIG-2": "2g.20gb"}, processes={7: 900 << 20})
    opened = open_gpu("gpu:0", {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}, driver)
    assert opened is not None
    assert (opened.facts().mig, opened.facts().power_limit_watts) == (profile, 700)
    assert (opened.read().sm_mhz, opened.read().process_bytes) == (1980, {7: 900 << 20})
    assert driver.asked[-1] == {"1g.10gb": "MIG-1a", "2g.20gb": "MIG-2"}[profile]
    assert opened.facts().memory_bytes == (80 << 30) // 7
    assert opened.energy_joules() is None  # what all partitions use is nobody's


def test_of_a_partition_that_is_hidden_nothing_is_told_that_is_all_partitions() -> None:
    """Without the right to see partitions each of them is "Not Found"."""
    opened = card(FakeNvml(mig=(1, 1), processes={7: 1}))
    assert opened.facts().mig == "on"
    assert (opened.energy_joules(), opened.read().process_bytes) == (None, None)
    assert opened.read().sm_mhz == 1980


def test_without_the_library_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert open_gpu("gpu:0", {}) is None


@pytest.mark.extra("pynvml")
def test_the_functions_that_are_asked_are_those_of_nvidia_ml_py() -> None:
    pynvml = importlib.import_module("pynvml")
    source = inspect.getsource(nvml)
    named = {*re.findall(r"\bnvml\.(\w+)", source), *re.findall(r'"(nvml[A-Z]\w+|NVML\w+)"', source)}
    assert len(named) > 20
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
        remark.kind: remark for remark in gpu_remarks(["cpu", "gpu:0"], lambda device, _: open_gpu(device, {}, driver))
    }
    assert [str(kind) for kind in kinds] == ["card shared", "card throttled", "card unloaded"]
    assert next(remark.text for remark in kinds.values()) == "2 processes hold memory on gpu:0"
    assert all(remark.advice for remark in kinds.values())
    assert gpu_remarks(["gpu:0"], lambda device, _: card(FakeNvml())) == ()


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
