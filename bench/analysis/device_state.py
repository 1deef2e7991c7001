"""Runs whose device was slowed down, or shared, or had neighbours at work: marked, and left in every figure. Pure.

Which runs count is never decided by what the device did: a card that is capped stays so in the next measurement. What
was not recorded (a CPU, a store of schema 4 or older) marks nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

DEVICE_COLUMNS = (
    *("device_throttling", "device_sm_mhz_highest", "device_sm_mhz_lowest", "device_others"),
    *("host_json", "other_cpu_fraction"),
)
"""The columns of the store that `DeviceState.of` reads."""


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """What the harness saw of the device in the timed phases of a run."""

    throttling: tuple[str, ...] = ()
    """Why it was slower than it could be."""
    sm_mhz_highest: float | None = None
    sm_mhz_lowest: float | None = None
    other_processes: int = 0
    """Other processes that had a context on it."""
    neighbour_runs: int = 0
    """The most runs at a time that were timed on other devices of the machine."""
    neighbour_gpu_fraction: float | None = None
    """The part of the time in which those devices were busy; None where they could not be asked."""
    other_cpu_fraction: float | None = None
    """CPU time of all other processes, a fraction of the machine's."""

    @classmethod
    def of(cls, stored: Mapping[Any, Any]) -> DeviceState:
        """That of a stored run.

        Args:
            stored: its columns, None for what is missing.
        """
        reasons = stored.get("device_throttling") or ""
        host = _host(stored.get("host_json"))
        return cls(
            throttling=tuple(filter(None, str(reasons).split(", "))),
            sm_mhz_highest=stored.get("device_sm_mhz_highest"),
            sm_mhz_lowest=stored.get("device_sm_mhz_lowest"),
            other_processes=int(stored.get("device_others") or 0),
            neighbour_runs=int(host.get("neighbour_runs") or 0),
            neighbour_gpu_fraction=host.get("neighbour_gpu_fraction"),
            other_cpu_fraction=stored.get("other_cpu_fraction"),
        )

    @property
    def marked(self) -> bool:
        """Whether it was not left to itself, so that its times are not the program's alone."""
        return bool(self.throttling or self.other_processes)


def marks(states: Sequence[DeviceState]) -> str:
    """The marked ones among runs, in words; empty where there are none.

    Args:
        states: those of the runs of one configuration.
    """
    slowed = [state for state in states if state.throttling]
    shared = [state for state in states if state.other_processes]
    parts = []
    if slowed:
        reasons = ", ".join(dict.fromkeys(reason for state in slowed for reason in state.throttling))
        highest = [state.sm_mhz_highest for state in slowed if state.sm_mhz_highest is not None]
        lowest = [state.sm_mhz_lowest for state in slowed if state.sm_mhz_lowest is not None]
        fell = (
            f"the clock fell from {max(highest):.0f} to {min(lowest):.0f} MHz "
            if highest and lowest
            else "slowed down "
        )
        parts.append(f"{fell}in {len(slowed)} of {len(states)} runs: {reasons}")
    if shared:
        parts.append(f"other processes were on the card in {len(shared)} of {len(states)} runs")
    return "; ".join(parts)


def neighbours(states: Sequence[DeviceState]) -> str:
    """What was timed on the machine's other devices beside runs, in words; empty where nothing was.

    Args:
        states: those of the runs of one configuration.
    """
    beside = [state for state in states if state.neighbour_runs]
    if not beside:
        return ""
    most = max(state.neighbour_runs for state in beside)
    number = f"{most} other run{'s' * (most > 1)}"
    parts = [f"beside up to {number} in {len(beside)} of {len(states)} runs"]
    gpu = [state.neighbour_gpu_fraction for state in beside if state.neighbour_gpu_fraction is not None]
    cpu = [state.other_cpu_fraction for state in beside if state.other_cpu_fraction is not None]
    if gpu:
        parts.append(f"the other GPUs were busy {100 * fmean(gpu):.0f} % of the time")
    if cpu:
        parts.append(f"other processes took {100 * fmean(cpu):.0f} % of the CPU time")
    return ", ".join(parts)


def _host(text: object) -> Mapping[str, Any]:
    """The record of the host that has neighbours in it; the others need not be read."""
    return json.loads(text) if isinstance(text, str) and '"neighbour_runs"' in text else {}


def marks_apart(base: Sequence[DeviceState], new: Sequence[DeviceState]) -> tuple[str, ...]:
    """What a comparison has to state of the devices' state on its sides; empty where no run is marked.

    Args:
        base: those of the base's runs of a configuration.
        new: those of the new side's.
    """
    named = (("base", marks(base)), ("new side", marks(new)))
    measured = (("base", neighbours(base)), ("new side", neighbours(new)))
    return (
        *(f"the device of the {side}: {words}" for side, words in named if words),
        *(f"the {side} was measured {words}" for side, words in measured if words),
    )
