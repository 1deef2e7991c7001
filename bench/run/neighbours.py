"""What is timed beside a run on the machine's other cards: how many runs, and how busy they keep those cards.

A thread samples it once a second, from the harness and never in the run: the cards' locks, which whoever times there
holds, and what the driver reports. What neighbours take from the processors is in `other_cpu_fraction` of a run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Self

from bench.host.nvml import Gpu, OpenCard, open_gpu
from bench.run.lock import cards_in_use

_SAMPLE_SECONDS = 1.0
_RESPONSE_SECONDS = 10.0
"""How long a sample may take: a driver that has lost a card may never respond."""


class NeighbourWatch:
    """Samples a machine's other cards during a run that holds its own card's lock; a context manager.

    Args:
        cards: the other cards whose driver can be asked.
        lock: the machine's lock, as `bench.run.lock.machine_lock` has it.
        sample_seconds: from one sample to the next.
    """

    def __init__(
        self, cards: Iterable[Gpu] = (), lock: Path | None = None, sample_seconds: float = _SAMPLE_SECONDS
    ) -> None:
        self._cards, self._lock, self._sample_seconds = tuple(cards), lock, sample_seconds
        self._busy: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_the_end, daemon=True, name="neighbours")
        self.runs = 0
        """The most other runs at a time so far."""

    @property
    def gpu_fraction(self) -> float | None:
        """The part of the time in which the other cards were busy, mean over them; None where none could be asked."""
        return fmean(self._busy) if self._busy else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(_RESPONSE_SECONDS)

    def _sample_until_the_end(self) -> None:
        self._sample()
        while not self._end.wait(self._sample_seconds):
            self._sample()

    def _sample(self) -> None:
        # this run's card is among those in use
        self.runs = max(self.runs, len(cards_in_use(self._lock)) - 1)
        self._busy += [used for card in self._cards if (used := card.read().utilisation_fraction) is not None]


def other_cards(count: int, bus: str | None, open_card: OpenCard = open_gpu) -> list[Gpu]:
    """The cards of a machine but for the one that a run is on; none where the driver does not report which that is.

    Args:
        count: how many the machine has.
        bus: where the run's card is in the machine.
        open_card: gives the card of a device.
    """
    cards = (open_card(f"gpu:{number}", {}) for number in range(count if bus else 0))
    return [card for card in cards if card is not None and card.facts().pci_bus != bus]
