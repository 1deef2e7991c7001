"""Stands for the module `pynvml`: functions, constants and units as nvidia-ml-py 13.615 and NVML's header have them.

The figures are invented, in the range of an H100's data sheet (1,980 MHz, 700 W); no GPU has been asked yet. A card is
its own handle, and so is the driver, which is the first of its cards.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class FakeNVMLError(Exception):
    """Stands for `pynvml.NVMLError`."""


class FakeMismatchError(Exception):
    """Stands for `pynvml.NVMLLibraryMismatchError`, which is no `NVMLError`."""


@dataclass(eq=False)
class FakeNvml:
    """A driver with its first card, whose state a test sets; what is None, it does not support."""

    model: str = "NVIDIA H100 80GB HBM3"
    uuid: str = "GPU-1a2b3c4d"
    bus: int | None = 0x3B
    memory_bytes: int | None = 80 << 30
    sm_mhz: int | None = 1980
    memory_mhz: int | None = 2619
    celsius: int | None = 41
    milliwatts: int | None = 71_000
    reasons: int | None = 0x1
    millijoules: int | None = 5_000_000
    limit_milliwatts: int | None = 700_000
    mig: tuple[int, int] | None = (0, 0)
    partitions: Mapping[str, str] = field(default_factory=dict)
    """By UUID: the profile of a partition of the card."""
    persistence: int | None = 1
    processes: Mapping[int, int | None] | None = field(default_factory=dict)
    busy: Mapping[int, int] = field(default_factory=dict)
    """Per cent of the last sample by process."""
    utilisation: int | None = 50
    """Per cent of the last sample, by anybody."""
    beside: Sequence[FakeNvml] = ()
    """The driver's other cards, as it numbers them."""
    lost: bool = False
    """Whether every function fails, as it does of a card that fell off the bus."""
    response_seconds: float = 0.0
    """How long the power of the card takes to be told."""
    responding: bool = False
    """Whether it is taking that long."""
    since: int | None = None
    """What samples were last asked for: those newer than this."""
    asked: list[Any] = field(default_factory=list)
    """The partitions and cards whose processes were asked for."""

    NVMLError = FakeNVMLError
    NVMLLibraryMismatchError = FakeMismatchError
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0

    def _given(self, value: Any) -> Any:
        if self.lost:
            raise FakeNVMLError("GPU is lost")
        if value is None:
            raise FakeNVMLError("Not Supported")
        return value

    def _cards(self) -> list[FakeNvml]:
        return [self, *self.beside]

    def _with(self, partition: str) -> FakeNvml:
        """The card that a partition is of."""
        return next(card for card in self._cards() if partition in card.partitions)

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names, here and below
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._cards())

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeNvml:  # noqa: N802
        return self._cards()[index]

    def nvmlDeviceGetHandleByUUID(self, name: str) -> Any:  # noqa: N802
        named = {card.uuid: card for card in self._cards()}
        parts = {part: part for card in self._cards() for part in card.partitions}
        return self._given({**named, **parts}.get(name))

    def nvmlDeviceGetUUID(self, handle: Any) -> str:  # noqa: N802
        return handle if isinstance(handle, str) else str(handle.uuid)

    def nvmlDeviceGetPciInfo(self, card: FakeNvml) -> Any:  # noqa: N802
        bus = card._given(card.bus)
        return SimpleNamespace(domain=0, bus=bus, device=0, busId=f"00000000:{bus:02X}:00.0".encode())

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        whole = handle if isinstance(handle, FakeNvml) else self._with(handle)
        part = 1 if whole is handle else 7
        return SimpleNamespace(total=whole._given(whole.memory_bytes) // part)

    def nvmlDeviceIsMigDeviceHandle(self, handle: Any) -> int:  # noqa: N802
        return int(isinstance(handle, str))

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, partition: str) -> FakeNvml:  # noqa: N802
        return self._with(partition)

    def nvmlDeviceGetMaxMigDeviceCount(self, _: Any) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: FakeNvml, index: int) -> str:  # noqa: N802
        # indices of partitions that were not made are "Not Found": here the first ones
        made = [None, *card.partitions]
        return str(card._given(made[index] if index < len(made) else None))

    def nvmlDeviceGetName(self, handle: Any) -> str:  # noqa: N802
        if isinstance(handle, str):
            card = self._with(handle)
            return f"{card.model} MIG {card.partitions[handle]}"
        return str(handle._given(handle.model))

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        return b"580.95.05"

    def nvmlDeviceGetEnforcedPowerLimit(self, card: FakeNvml) -> int:  # noqa: N802
        return int(card._given(card.limit_milliwatts))

    def nvmlDeviceGetMigMode(self, card: FakeNvml) -> list[int]:  # noqa: N802
        return list(card._given(card.mig))

    def nvmlDeviceGetEccMode(self, card: FakeNvml) -> list[int]:  # noqa: N802
        return list(card._given([1, 1]))

    def nvmlDeviceGetPersistenceMode(self, card: FakeNvml) -> int:  # noqa: N802
        return int(card._given(card.persistence))

    def nvmlDeviceGetClockInfo(self, card: FakeNvml, kind: int) -> int:  # noqa: N802
        return int(card._given(card.sm_mhz if kind == self.NVML_CLOCK_SM else card.memory_mhz))

    def nvmlDeviceGetTemperature(self, card: FakeNvml, sensor: int) -> int:  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return int(card._given(card.celsius))

    def nvmlDeviceGetPowerUsage(self, card: FakeNvml) -> int:  # noqa: N802
        card.responding = True
        time.sleep(card.response_seconds)
        card.responding = False
        return int(card._given(card.milliwatts))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card: FakeNvml) -> int:  # noqa: N802
        return int(card._given(card.reasons))

    def nvmlDeviceGetUtilizationRates(self, card: FakeNvml) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=card._given(card.utilisation), memory=10)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:  # noqa: N802
        self.asked.append(handle)
        card = handle if isinstance(handle, FakeNvml) else self._with(handle)
        processes = card._given(card.processes)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes.items()]

    def nvmlDeviceGetTotalEnergyConsumption(self, card: FakeNvml) -> int:  # noqa: N802
        return int(card._given(card.millijoules))

    def nvmlDeviceGetProcessUtilization(self, card: FakeNvml, since: int) -> list[Any]:  # noqa: N802
        card.since = since
        if not card.busy:
            raise FakeNVMLError("Not Found")
        return [SimpleNamespace(pid=pid, smUtil=used, timeStamp=since + 1) for pid, used in card.busy.items()]


def card_of_cuda(cards: Sequence[FakeNvml], environ: Mapping[str, str], number: int) -> FakeNvml:
    """The card that CUDA calls by this number in a process with these variables, as its Programming Guide has it.

    Without CUDA_DEVICE_ORDER the fastest is the first, which is the one with the higher clock here; with PCI_BUS_ID
    their places decide.

    Args:
        cards: of the machine, in any order.
        environ: the process's.
        number: as a program gives it.
    """
    by_bus = environ.get("CUDA_DEVICE_ORDER", "FASTEST_FIRST") == "PCI_BUS_ID"
    ordered = sorted(cards, key=lambda card: (card.bus or 0) if by_bus else -(card.sm_mhz or 0))
    shown = environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(len(ordered))))).split(",")
    name = shown[number]
    return ordered[int(name)] if name.isdigit() else next(card for card in cards if card.uuid.startswith(name))
