"""What a driver reports of the cards that sides compute on: what waiting sides use of them, and how fast they run.

Sides alternate within tens of milliseconds, and a driver's samples of who uses a card cover a sixth of a second to one.
So what a side uses while it waits is seen where all of them wait: in a group, once before its rounds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bench.duel.sides import PreparedSide
from bench.host.cuda_devices import VISIBLE
from bench.host.nvml import GpuReading, OpenCard, open_gpu

_SAMPLE_SECONDS = 1.0
"""The longest that a driver's sample covers."""
_READINGS = 10


@dataclass(frozen=True, kw_only=True)
class DeviceUse:
    """What was seen in a process group, or in all groups of a duel."""

    waiting: Mapping[int, float] = field(default_factory=dict)
    """By side: the largest part of a driver's sample in which it kept its card busy while all sides waited. Empty where
    the driver does not know processes apart, as in containers and on partitions."""
    waiting_device: float | None = None
    """The same of the cards, whoever kept them busy; None where the driver has no such figure."""
    sm_mhz_highest: int | None = None
    sm_mhz_lowest: int | None = None
    """The clocks of the cards' processors behind each round."""
    throttling: tuple[str, ...] = ()
    """Why a card was slower than it could be behind some round."""


class DeviceWatch:
    """Asks the drivers of the sides' cards, of a process group at a time; asks nothing where no side has a card.

    Args:
        sides: by number; the variables of a side may show it another card.
        open_card: gives the card of a device.
        wait: waits so many seconds.
        now: seconds since 1970, which a driver's samples are stamped with.
    """

    def __init__(
        self,
        sides: Mapping[int, PreparedSide],
        open_card: OpenCard = open_gpu,
        *,
        wait: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        environs = [(side.case.device, {**os.environ, **side.environment.variables}) for side in sides.values()]
        distinct = {(device, environ.get(VISIBLE)): environ for device, environ in environs}
        cards = [open_card(device, environ) for (device, _), environ in distinct.items()]
        self._cards = [card for card in cards if card is not None]
        self._wait, self._now = wait, now
        self._waiting: dict[int, float] = {}
        self._busy: list[float] = []
        self._readings: list[GpuReading] = []

    def all_wait(self, pids: Mapping[int, int]) -> None:
        """See what sides use of their cards while all of them wait; takes two seconds where there is a card.

        Args:
            pids: the process of each side.
        """
        self._waiting, self._busy, self._readings = {}, [], []
        if not self._cards:
            return
        self._wait(_SAMPLE_SECONDS)  # until no sample has any of their work in it
        since = round(self._now() * 1e6)
        for _ in range(_READINGS):
            self._wait(_SAMPLE_SECONDS / _READINGS)
            self._busy += [used for card in self._cards if (used := card.read().utilisation_fraction) is not None]
        for card in self._cards:
            used_by = card.process_utilisation(since)
            for side, pid in pids.items():
                if pid in used_by:
                    self._waiting[side] = max(self._waiting.get(side, 0.0), used_by[pid])

    def round_ended(self) -> None:
        """Read the cards; between rounds, so that nothing is timed meanwhile."""
        self._readings += [card.read() for card in self._cards]

    def seen(self) -> DeviceUse | None:
        """What was seen since all sides waited; None where no side has a card that can be asked."""
        if not self._cards:
            return None
        clocks = [reading.sm_mhz for reading in self._readings if reading.sm_mhz is not None]
        return DeviceUse(
            waiting=dict(self._waiting),
            waiting_device=max(self._busy, default=None),
            sm_mhz_highest=max(clocks, default=None),
            sm_mhz_lowest=min(clocks, default=None),
            throttling=tuple(
                dict.fromkeys(reason for reading in self._readings for reason in reading.throttling or ())
            ),
        )


def in_all(groups: Iterable[DeviceUse | None]) -> DeviceUse | None:
    """What was seen in any of a duel's groups; None where nothing was."""
    seen = [group for group in groups if group is not None]
    if not seen:
        return None
    sides = dict.fromkeys(side for group in seen for side in group.waiting)
    highest = [group.sm_mhz_highest for group in seen if group.sm_mhz_highest is not None]
    lowest = [group.sm_mhz_lowest for group in seen if group.sm_mhz_lowest is not None]
    return DeviceUse(
        waiting={side: max(group.waiting.get(side, 0.0) for group in seen) for side in sides},
        waiting_device=max((group.waiting_device for group in seen if group.waiting_device is not None), default=None),
        sm_mhz_highest=max(highest, default=None),
        sm_mhz_lowest=min(lowest, default=None),
        throttling=tuple(dict.fromkeys(reason for group in seen for reason in group.throttling)),
    )
