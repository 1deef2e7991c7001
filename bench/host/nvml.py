"""NVIDIA's cards as their driver sees them, through nvidia-ml-py: the only module that imports it, and only if asked.

What a card or a driver does not have is None (virtual cards and older ones lack the energy counter; a partition has no
clock of its own). Nothing here starts a context on a card, so that it can be asked beside a run, and before a fork.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

THROTTLE_REASONS: Mapping[int, str] = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "kept at the pace of another card",
    0x20: "heat, by software",
    0x40: "heat, by hardware",
    0x80: "power brake",
}
"""By bit of `nvmlDeviceGetCurrentClocksThrottleReasons`: why a card is slower than it could be. Left out are the bits
for no fault: 0x1, it is idle; 0x2 and 0x100, somebody has set its clocks."""


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """What stays the same of a card while it runs."""

    model: str | None
    driver: str | None
    power_limit_watts: float | None
    """The one that is in force, which may be below the card's own."""
    mig: str | None
    """The profile of the partition (multi-instance, `1g.10gb`), `on` where it is not to be known; None where the card
    is whole."""
    ecc: bool | None
    persistence: bool | None
    """Whether the driver stays loaded while nobody uses the card: else each process waits for it."""


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """A card at one moment."""

    sm_mhz: int | None = None
    memory_mhz: int | None = None
    celsius: int | None = None
    watts: float | None = None
    throttling: tuple[str, ...] = ()
    """Why it is slower than it could be."""
    utilisation_fraction: float | None = None
    """The part of the driver's last sample (a sixth of a second to one) in which it ran anything."""
    process_bytes: Mapping[int, int | None] | None = None
    """By process that has a context: its memory on the card. In a container process ids may be the host's."""


class Gpu:
    """A card that can be asked, or a partition of one: that has memory and processes of its own, while clocks, heat and
    power are the whole card's.

    Args:
        nvml: the module `pynvml`, or what stands for it in tests.
        handle: what that calls the card.
        partition: what it calls the partition that runs compute on; None for the whole card.
    """

    def __init__(self, nvml: Any, handle: Any, partition: Any = None) -> None:
        self._nvml, self._handle = nvml, handle
        self._partition = partition

    def facts(self) -> GpuFacts:
        """What stays the same of it."""
        nvml = self._nvml
        limit = self._asked(nvml.nvmlDeviceGetEnforcedPowerLimit)
        ecc = self._asked(nvml.nvmlDeviceGetEccMode)  # the current mode, and the one after a reset
        persistence = self._asked(nvml.nvmlDeviceGetPersistenceMode)
        return GpuFacts(
            model=_text(self._asked(nvml.nvmlDeviceGetName)),
            driver=_text(_known(nvml, nvml.nvmlSystemGetDriverVersion)),
            power_limit_watts=None if limit is None else limit / 1e3,
            mig=self._mig(),
            ecc=None if ecc is None else bool(ecc[0]),
            persistence=None if persistence is None else bool(persistence),
        )

    def _mig(self) -> str | None:
        mode = self._asked(self._nvml.nvmlDeviceGetMigMode)
        if self._partition is None:
            return "on" if mode is not None and mode[0] else None
        # "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
        name = _text(_known(self._nvml, self._nvml.nvmlDeviceGetName, self._partition)) or ""
        profile = re.search(r"\bMIG (\S+)", name)
        return profile[1] if profile else "on"

    def read(self) -> GpuReading:
        """It now; 0.1 to 1 ms, as a driver's calls go."""
        nvml = self._nvml
        watts = self._asked(nvml.nvmlDeviceGetPowerUsage)
        bits = self._asked(nvml.nvmlDeviceGetCurrentClocksThrottleReasons) or 0
        rates = self._asked(nvml.nvmlDeviceGetUtilizationRates)
        computing = self._handle if self._partition is None else self._partition
        processes = _known(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, computing)
        return GpuReading(
            sm_mhz=self._asked(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
            memory_mhz=self._asked(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),
            celsius=self._asked(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            watts=None if watts is None else watts / 1e3,
            throttling=tuple(reason for bit, reason in THROTTLE_REASONS.items() if bits & bit),
            utilisation_fraction=None if rates is None else rates.gpu / 100,
            process_bytes=None if processes is None else {each.pid: each.usedGpuMemory for each in processes},
        )

    def energy_joules(self) -> float | None:
        """What it has used since the driver was loaded; None where it has no counter (before Volta, virtual cards).

        A partition has none: the card's counts what all partitions use.
        """
        if self._partition is not None:
            return None
        counted = self._asked(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if counted is None else counted / 1e3

    def process_utilisation(self, since_microseconds: int) -> dict[int, float]:
        """By process: the largest part of a sample in which it kept the card busy, of those newer than a time stamp.

        Empty where the driver keeps none, and where nobody used the card.
        """
        samples = self._asked(self._nvml.nvmlDeviceGetProcessUtilization, since_microseconds) or ()
        used: dict[int, float] = {}
        for sample in samples:
            used[sample.pid] = max(used.get(sample.pid, 0.0), sample.smUtil / 100)
        return used

    def _asked(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return _known(self._nvml, function, self._handle, *arguments)


def _known(nvml: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the driver gives; None where the card, the driver or the user's rights have it not."""
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value  # bytes before nvidia-ml-py 11.5


def open_gpu(device: str, environ: Mapping[str, str] = os.environ, library: Any = None) -> Gpu | None:
    """The card that a run calls `gpu:0`; None where nvidia-ml-py or the driver is missing, or there is no such card.

    Args:
        device: a name that `bench.catalog.devices` has; the CPU is no card.
        environ: whose CUDA_VISIBLE_DEVICES may hide cards, and number those that are left anew.
        library: the module `pynvml`, or what stands for it; None imports it.
    """
    if device == "cpu":
        return None
    try:
        nvml = library or importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handle = _handle(nvml, int(device.removeprefix("gpu:")), environ.get("CUDA_VISIBLE_DEVICES"))
    except (nvml.NVMLError, IndexError):
        return None
    if _known(nvml, nvml.nvmlDeviceIsMigDeviceHandle, handle):
        card = _known(nvml, nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle)
        return None if card is None else Gpu(nvml, card, handle)
    return Gpu(nvml, handle, _first_partition(nvml, handle))


def _first_partition(nvml: Any, card: Any) -> Any:
    """The partition of a card that CUDA takes where none is named; None where the card is whole."""
    mode = _known(nvml, nvml.nvmlDeviceGetMigMode, card)
    if mode is None or not mode[0]:
        return None
    most = _known(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, card) or 0
    partitions = (_known(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, card, index) for index in range(most))
    return next((partition for partition in partitions if partition is not None), None)


def _handle(nvml: Any, index: int, visible: str | None) -> Any:
    name = str(index) if visible is None else visible.split(",")[index].strip()
    return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name)
