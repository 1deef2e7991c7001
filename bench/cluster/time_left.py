"""How long a campaign takes on several machines: the plan's estimates, scaled by how long its runs took so far."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence

from bench.core.case import Case
from bench.plan.estimate import estimate_seconds
from bench.plan.plan import ScheduledCase


class TimeLeft:
    """The estimates of the runs that are due: each configuration is reckoned once, since plans have many thousands.

    Args:
        due: the runs that are left.
    """

    def __init__(self, due: Iterable[ScheduledCase]) -> None:
        self._estimates: dict[Case, float] = {}
        self._spent = self._estimated = 0.0
        self._left = self._sum(due)

    def _estimate(self, scheduled: ScheduledCase) -> float:
        configuration = scheduled.case.configuration
        if configuration not in self._estimates:
            self._estimates[configuration] = estimate_seconds(configuration)
        return self._estimates[configuration]

    def _sum(self, cases: Iterable[ScheduledCase]) -> float:
        return math.fsum(map(self._estimate, cases))

    def begin_anew(self, due: Iterable[ScheduledCase]) -> None:
        """Take these for what is left; what was learnt stays."""
        self._left = self._sum(due)

    def saw(self, scheduled: ScheduledCase, seconds: float) -> None:
        """Learn from a run that has taken so many seconds."""
        estimate = self._estimate(scheduled)
        self._estimated += estimate
        self._spent += seconds
        self._left = max(0.0, self._left - estimate)

    def expected(self, cases: Iterable[ScheduledCase]) -> float:
        """The time of some runs, one after another, in seconds."""
        return self._sum(cases) * self._correction

    def left(self, machines: int) -> float:
        """The remaining time in seconds, where so many machines measure at once."""
        return self._left * self._correction / max(1, machines)

    @property
    def _correction(self) -> float:
        return self._spent / self._estimated if self._estimated else 1.0


def block_assignment(
    blocks: Mapping[int, Sequence[ScheduledCase]], nodes: Mapping[str, str]
) -> tuple[dict[str, list[int]], float]:
    """Which node would do which blocks, and when the last one would end, if all goes as estimated.

    Each block goes to the node that is free first. Nodes on one machine wait for each other.

    Args:
        blocks: the cases by block.
        nodes: what identifies the machine of each node.

    Returns:
        Numbers of blocks by node, and seconds.
    """
    expected = TimeLeft(())
    assigned: dict[str, list[int]] = {node: [] for node in nodes}
    sharing = {machine: sum(each == machine for each in nodes.values()) for machine in set(nodes.values())}
    # a node that shares its machine with others is as slow as they are many
    free = [(0.0, number, node) for number, node in enumerate(nodes)]
    end = 0.0
    for number, cases in sorted(blocks.items()):
        since, place, node = heapq.heappop(free)
        assigned[node].append(number)
        ended = since + expected.expected(cases) * sharing[nodes[node]]
        end = max(end, ended)
        heapq.heappush(free, (ended, place, node))
    return assigned, end
