"""How long the rest of a campaign takes: the plan's estimates, scaled by how long its runs took so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bench.plan.estimate import estimate_seconds
from bench.plan.plan import ScheduledCase


class RemainingTime:
    """The runs that are due, and how long those that are left take."""

    blocks_needed: float = math.inf
    """How many blocks the campaign needs in all: later ones don't count."""

    def __init__(self, todo: Sequence[ScheduledCase]) -> None:
        self.todo = todo
        self._left = dict.fromkeys(todo)
        self._estimated = self._spent = 0.0

    def saw(self, scheduled: ScheduledCase, seconds: float) -> None:
        """Learn from a run that has taken so many seconds."""
        self._estimated += estimate_seconds(scheduled.case)
        self._spent += seconds
        self.skip(scheduled)

    def skip(self, scheduled: ScheduledCase) -> None:
        """Take a run off that needs no time of this harness any more."""
        self._left.pop(scheduled, None)

    @property
    def total(self) -> int:
        """How many runs were due at the beginning."""
        return sum(scheduled.block < self.blocks_needed for scheduled in self.todo)

    def left(self) -> float:
        """The remaining time in seconds."""
        return self.expected(scheduled for scheduled in self._left if scheduled.block < self.blocks_needed)

    def expected(self, cases: Iterable[ScheduledCase]) -> float:
        """The time of some runs in seconds."""
        return sum(estimate_seconds(scheduled.case) for scheduled in cases) * self._correction

    @property
    def _correction(self) -> float:
        return self._spent / self._estimated if self._estimated else 1.0
