"""Counters of energy: RAPL's for a processor (Linux's powercap), NVML's for a card. What has none is never estimated.

RAPL counts whole packages, and so whatever else runs on the machine; a card's counter has all that uses the card.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.host.nvml import Gpu
from bench.host.procfs import SYS, read_number

_MICRO = 1e-6
_IDLE_SECONDS = 1.0


class EnergyCounter(Protocol):
    """What counts joules since some moment."""

    source: str
    """`nvml` or `rapl`."""

    def joules(self) -> float | None:
        """What was used since then; None where it cannot be read now."""


class RaplCounter:
    """The packages of this machine's processors, each a counter that begins anew at a largest value.

    It has to be read before any of them has begun anew twice: at 200 W that takes some minutes.
    """

    source = "rapl"

    def __init__(self, zones: tuple[Path, ...]) -> None:
        self._zones = {zone: read_number(zone / "max_energy_range_uj") or 0 for zone in zones}
        self._last = {zone: read_number(zone / "energy_uj") or 0 for zone in zones}
        self._total = 0

    def joules(self) -> float | None:
        """What the packages have used since this was made."""
        for zone, largest in self._zones.items():
            counted = read_number(zone / "energy_uj")
            if counted is None:
                return None
            step = counted - self._last[zone]
            self._total += step if step >= 0 else step + largest + 1
            self._last[zone] = counted
        return self._total * _MICRO


class NvmlCounter:
    """The counter of a card."""

    source = "nvml"

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def joules(self) -> float | None:
        """What the card has used since its driver was loaded."""
        return self._gpu.energy_joules()


def open_counter(gpu: Gpu | None, device: str, sys: Path = SYS) -> EnergyCounter | None:
    """The counter of the device that a run computes on; None where there is none that may be read.

    Args:
        gpu: the card, where the device is one that can be asked.
        device: the run's.
        sys: the folder that stands for /sys. The kernel shows RAPL to root alone, unless somebody has allowed it.
    """
    if device != "cpu":
        return NvmlCounter(gpu) if gpu is not None and gpu.energy_joules() is not None else None
    zones = tuple(
        sorted((sys / "class" / "powercap").glob("intel-rapl:[0-9]*"))
    )  # AMD's too; parts have a second colon
    packages = tuple(zone for zone in zones if zone.name.count(":") == 1)
    readable = packages and all(read_number(zone / "energy_uj") is not None for zone in packages)
    return RaplCounter(packages) if readable else None


def joules_between(before: float | None, after: float | None) -> float | None:
    """What a counter has counted between two readings.

    None where either is missing, or the counter began anew meanwhile: a driver was loaded again, a card was reset.
    """
    return after - before if before is not None and after is not None and after >= before else None


@dataclass(frozen=True)
class IdlePower:
    """What a device takes while this program does nothing."""

    watts: float


def measure_idle(
    counter: EnergyCounter,
    seconds: float = _IDLE_SECONDS,
    *,
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> IdlePower | None:
    """Wait, and see what the device takes meanwhile; None where the counter cannot be read, or begins anew.

    Args:
        counter: of the device.
        seconds: how long.
        wait: waits so many seconds.
        clock: seconds.
    """
    begun, before = clock(), counter.joules()
    wait(seconds)
    used, ended = joules_between(before, counter.joules()), clock()
    return None if used is None or ended <= begun else IdlePower(used / (ended - begun))
