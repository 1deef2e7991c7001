"""NVIDIA's cards as their driver sees them, through nvidia-ml-py: the only module that imports it, and only if asked.

What a card, a driver or an older library does not have, or the user may not see, is None (virtual cards and older ones
lack the energy counter; a partition has no clock of its own), and so is all of a card that is lost. Nothing here starts
a context on a card, so that it can be asked beside a run, and before a fork.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.host.cuda_devices import VISIBLE, visible_names

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
    pci_bus: str | None
    """Where the card is in the machine (`00000000:3B:00.0`), which CUDA and the driver agree on."""
    memory_bytes: int | None
    """All that it has, or that a partition has."""
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
    throttling: tuple[str, ...] | None = None
    """Why it is slower than it could be; empty where it is not."""
    utilisation_fraction: float | None = None
    """The part of the driver's last sample (a sixth of a second to one) in which it ran anything."""
    process_bytes: Mapping[int, int | None] | None = None
    """By process that has a context: its memory on the card. In a container process ids may be the host's."""


OpenCard = Callable[[str, Mapping[str, str]], "Gpu | None"]
"""Gives the card that a device's name stands for in a process with these environment variables; as `open_gpu`."""


class Gpu:
    """A card that can be asked, or a partition of one: that has memory and processes of its own, while clocks, heat and
    power are the whole card's.

    Args:
        nvml: the module `pynvml`, or what stands for it in tests.
        handle: what that calls the card.
        partition: what it calls the partition that runs compute on; None for the whole card, or where that is hidden.
    """

    def __init__(self, nvml: Any, handle: Any, partition: Any = None) -> None:
        self._nvml, self._handle, self._partition = nvml, handle, partition
        self._computing = handle if partition is None else partition
        self._partitioned = partition is not None or _is_partitioned(nvml, handle)

    def facts(self) -> GpuFacts:
        """What stays the same of it."""
        bus = self._asked("nvmlDeviceGetPciInfo")
        memory = _known(self._nvml, "nvmlDeviceGetMemoryInfo", self._computing)
        limit = self._asked("nvmlDeviceGetEnforcedPowerLimit")
        ecc = self._asked("nvmlDeviceGetEccMode")  # the current mode, and the one after a reset
        persistence = self._asked("nvmlDeviceGetPersistenceMode")
        return GpuFacts(
            model=_text(self._asked("nvmlDeviceGetName")),
            pci_bus=None if bus is None else _text(bus.busId),
            memory_bytes=None if memory is None else int(memory.total),
            driver=_text(_known(self._nvml, "nvmlSystemGetDriverVersion")),
            power_limit_watts=None if limit is None else limit / 1e3,
            mig=self._mig(),
            ecc=None if ecc is None else bool(ecc[0]),
            persistence=None if persistence is None else bool(persistence),
        )

    def _mig(self) -> str | None:
        if not self._partitioned:
            return None
        if self._partition is None:
            return "on"
        # "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
        name = _text(_known(self._nvml, "nvmlDeviceGetName", self._partition)) or ""
        profile = re.search(r"\bMIG (\S+)", name)
        return profile[1] if profile else "on"

    def read(self) -> GpuReading:
        """It now; 0.1 to 1 ms, as a driver's calls go."""
        nvml = self._nvml
        watts = self._asked("nvmlDeviceGetPowerUsage")
        bits = self._asked("nvmlDeviceGetCurrentClocksThrottleReasons")
        rates = self._asked("nvmlDeviceGetUtilizationRates")
        processes = None
        if self._partition is not None or not self._partitioned:  # else those of all partitions
            processes = _known(nvml, "nvmlDeviceGetComputeRunningProcesses", self._computing)
        return GpuReading(
            sm_mhz=self._asked("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            memory_mhz=self._asked("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            celsius=self._asked("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            watts=None if watts is None else watts / 1e3,
            throttling=None
            if bits is None
            else tuple(reason for bit, reason in THROTTLE_REASONS.items() if bits & bit),
            utilisation_fraction=None if rates is None else rates.gpu / 100,
            process_bytes=None if processes is None else {each.pid: each.usedGpuMemory for each in processes},
        )

    def energy_joules(self) -> float | None:
        """What it has used since the driver was loaded; None where it has no counter (before Volta, virtual cards).

        A partition has none: the card's counts what all partitions use.
        """
        if self._partitioned:
            return None
        counted = self._asked("nvmlDeviceGetTotalEnergyConsumption")
        return None if counted is None else counted / 1e3

    def process_utilisation(self, since_microseconds: int) -> dict[int, float]:
        """By process: the largest part of a sample in which it kept the card busy, of those newer than a time stamp.

        Empty where the driver keeps none, and where nobody used the card.
        """
        samples = self._asked("nvmlDeviceGetProcessUtilization", since_microseconds) or ()
        used: dict[int, float] = {}
        for sample in samples:
            used[sample.pid] = max(used.get(sample.pid, 0.0), sample.smUtil / 100)
        return used

    def _asked(self, function: str, *arguments: Any) -> Any:
        return _known(self._nvml, function, self._handle, *arguments)


def _known(nvml: Any, function: str, *arguments: Any) -> Any:
    """What a function of the library gives; None where library, driver or card have it not, or the user's rights."""
    # the second is what nvidia-ml-py raises where the driver is older than itself, and it is no NVMLError
    unknown = nvml.NVMLError, getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)
    try:
        return getattr(nvml, function, lambda *_: None)(*arguments)
    except unknown:
        return None


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value  # bytes before nvidia-ml-py 11.5


def open_gpu(device: str, environ: Mapping[str, str] = os.environ, library: Any = None) -> Gpu | None:
    """The card that a run calls `gpu:0`; None where nvidia-ml-py or the driver is missing, or there is no such card.

    Args:
        device: a name that `bench.catalog.devices` has; the CPU is no card.
        environ: the run's variables: CUDA_VISIBLE_DEVICES may hide cards, and number those that are left anew.
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
        handle = _handle(nvml, int(device.removeprefix("gpu:")), environ.get(VISIBLE))
    except (nvml.NVMLError, LookupError):
        return None
    if _known(nvml, "nvmlDeviceIsMigDeviceHandle", handle):
        card = _known(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
        return None if card is None else Gpu(nvml, card, handle)
    # where none is named, CUDA takes a card's first partition
    return Gpu(nvml, handle, next(iter(_partitions(nvml, handle)), None))


def _handle(nvml: Any, index: int, visible: str | None) -> Any:
    cards = _cards_by_bus(nvml)
    name = str(index) if visible is None else visible_names(visible, len(cards))[index]
    if name.isdigit():
        return cards[int(name)]
    exact = _known(nvml, "nvmlDeviceGetHandleByUUID", name)
    if exact is not None:
        return exact
    candidates = cards if name.startswith("GPU-") else [part for card in cards for part in _partitions(nvml, card)]
    begun = [each for each in candidates if (_text(_known(nvml, "nvmlDeviceGetUUID", each)) or "").startswith(name)]
    if len(begun) != 1:  # CUDA takes the beginning of an identifier, if it is no other's
        raise LookupError(name)
    return begun[0]


def _cards_by_bus(nvml: Any) -> list[Any]:
    """All cards that this user may use, as `bench.host.cuda_devices.CUDA_ORDER` numbers them.

    The library's own numbers are in no order that it promises.
    """
    handles = (_known(nvml, "nvmlDeviceGetHandleByIndex", number) for number in range(nvml.nvmlDeviceGetCount()))
    cards = [handle for handle in handles if handle is not None]
    places = [_known(nvml, "nvmlDeviceGetPciInfo", card) for card in cards]
    if None in places:
        return cards
    order = sorted(range(len(cards)), key=lambda n: (places[n].domain, places[n].bus, places[n].device))
    return [cards[number] for number in order]


def _is_partitioned(nvml: Any, card: Any) -> bool:
    mode = _known(nvml, "nvmlDeviceGetMigMode", card)
    return bool(mode and mode[0])


def _partitions(nvml: Any, card: Any) -> list[Any]:
    """The partitions of a card, in the driver's order; none where it is whole, or they are not for this user to see."""
    if not _is_partitioned(nvml, card):
        return []
    most = _known(nvml, "nvmlDeviceGetMaxMigDeviceCount", card) or 0
    parts = (_known(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", card, index) for index in range(most))
    return [part for part in parts if part is not None]
