"""Stands for the module `pynvml`: functions, constants and units as nvidia-ml-py 13.615 and NVML's header have them.

The figures are invented, in the range of an H100's data sheet (1,980 MHz, 700 W); no GPU has been asked yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class FakeNVMLError(Exception):
    """Stands for `pynvml.NVMLError`."""


@dataclass
class FakeNvml:
    """A driver with one card, whose state a test sets; what is None, it does not support."""

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
    processes: Mapping[int, int | None] = field(default_factory=dict)
    busy: Mapping[int, int] = field(default_factory=dict)
    """Per cent of the last sample by process."""
    utilisation: int = 50
    """Per cent of the last sample, by anybody."""
    since: int | None = None
    """What samples were last asked for: those newer than this."""
    asked: list[Any] = field(default_factory=list)

    NVMLError = FakeNVMLError
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0

    def _given(self, value: Any) -> Any:
        if value is None:
            raise FakeNVMLError("Not Supported")
        return value

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names, here and below
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self.asked.append(index)
        if index > 0:
            raise FakeNVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:  # noqa: N802
        self.asked.append(name)
        return name

    def nvmlDeviceIsMigDeviceHandle(self, handle: Any) -> int:  # noqa: N802
        return int(handle in self.partitions)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, _: str) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetMaxMigDeviceCount(self, _: Any) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, _: Any, index: int) -> str:  # noqa: N802
        # indices of partitions that were not made are "Not Found": here the first ones
        made = [None, *self.partitions]
        return str(self._given(made[index] if index < len(made) else None))

    def nvmlDeviceGetName(self, handle: Any) -> str:  # noqa: N802
        card = "NVIDIA H100 80GB HBM3"
        return f"{card} MIG {self.partitions[handle]}" if handle in self.partitions else card

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        return b"580.95.05"

    def nvmlDeviceGetEnforcedPowerLimit(self, _: Any) -> int:  # noqa: N802
        return int(self._given(self.limit_milliwatts))

    def nvmlDeviceGetMigMode(self, handle: Any) -> list[int]:  # noqa: N802
        assert handle not in self.partitions
        return list(self._given(self.mig))

    def nvmlDeviceGetEccMode(self, _: Any) -> list[int]:  # noqa: N802
        return [1, 1]

    def nvmlDeviceGetPersistenceMode(self, _: Any) -> int:  # noqa: N802
        return int(self._given(self.persistence))

    def nvmlDeviceGetClockInfo(self, _: Any, kind: int) -> int:  # noqa: N802
        return int(self._given(self.sm_mhz if kind == self.NVML_CLOCK_SM else self.memory_mhz))

    def nvmlDeviceGetTemperature(self, _: Any, sensor: int) -> int:  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return int(self._given(self.celsius))

    def nvmlDeviceGetPowerUsage(self, _: Any) -> int:  # noqa: N802
        return int(self._given(self.milliwatts))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _: Any) -> int:  # noqa: N802
        return int(self._given(self.reasons))

    def nvmlDeviceGetUtilizationRates(self, _: Any) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self.utilisation, memory=10)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:  # noqa: N802
        self.asked.append(handle)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.processes.items()]

    def nvmlDeviceGetTotalEnergyConsumption(self, _: Any) -> int:  # noqa: N802
        return int(self._given(self.millijoules))

    def nvmlDeviceGetProcessUtilization(self, _: Any, since: int) -> list[Any]:  # noqa: N802
        self.since = since
        if not self.busy:
            raise FakeNVMLError("Not Found")
        return [SimpleNamespace(pid=pid, smUtil=used, timeStamp=since + 1) for pid, used in self.busy.items()]
