"""Which node measures which block, and which run of it comes next. Pure: no Ray, no clock, no files.

A block goes to one node as a whole, so that the ratios of its runs stay within one machine and one hour. Where a node
is lost in the middle of a block, the block is continued by a machine with the same fingerprint. Where there is none, it
starts again on another: the runs that were finished get a further attempt there, and readers take a case's last.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.core.case import Status
from bench.plan.plan import ScheduledCase
from bench.store.reader import LastAttempt


@dataclass(frozen=True)
class DueRun:
    """A run that a node is to do now."""

    scheduled: ScheduledCase
    attempt: int


@dataclass
class _BlockRuns:
    """A block, and what is finished of it."""

    number: int
    cases: Sequence[ScheduledCase]
    last: dict[str, LastAttempt]
    """The last attempt at each case that has one, by case id."""
    to_retry: set[str] = field(default_factory=set)
    """The cases whose last attempt is not to count."""

    def due(self, machine: str) -> list[ScheduledCase]:
        """What is to be run on a machine of this fingerprint for the block to be done there."""
        return [scheduled for scheduled in self.cases if self._is_due(scheduled.case.id, machine)]

    def _is_due(self, case: str, machine: str) -> bool:
        last = self.last.get(case)
        return last is None or last.machine_fingerprint != machine or case in self.to_retry

    @property
    def machine(self) -> str | None:
        """The machine that it was begun on: that of the latest attempts; None where nothing of it counts."""
        begun = [last for case, last in self.last.items() if case not in self.to_retry]
        if not begun:
            return None
        newest = max(last.number for last in begun)
        machines = [last.machine_fingerprint for last in begun if last.number == newest]
        return max(sorted(set(machines)), key=machines.count)

    @property
    def done(self) -> bool:
        machine = self.machine
        return machine is not None and not self.due(machine)


class Dispatcher:
    """The blocks of a campaign, and the nodes that they are assigned to.

    Args:
        scheduled: the plan's cases.
        last: the last attempt at each case that has one, by case id.
        retry_failed: whether to run again what failed, timed out or was invalid.
    """

    def __init__(
        self, scheduled: Iterable[ScheduledCase], last: Mapping[str, LastAttempt], *, retry_failed: bool = False
    ) -> None:
        by_block: dict[int, list[ScheduledCase]] = defaultdict(list)
        for each in scheduled:
            by_block[each.block].append(each)
        self.blocks_needed: float = math.inf
        """How many blocks the campaign needs in all: later ones are not begun."""
        self._blocks: dict[int, _BlockRuns] = {}
        self._fresh: list[int] = []
        """The blocks of which nothing is done, a heap."""
        self._begun: dict[str, list[int]] = defaultdict(list)
        """By machine fingerprint: the blocks that were begun on such a machine, and that no node has now; heaps."""
        self._waiting: dict[int, str | None] = {}
        """The blocks that no node has: the fingerprint by which they are in `_begun`; None for those in `_fresh`."""
        self._assigned: dict[str, _BlockRuns] = {}
        """By node: its block."""
        for number, cases in sorted(by_block.items()):
            known = {each.case.id: last[each.case.id] for each in cases if each.case.id in last}
            block = _BlockRuns(number, cases, known)
            if retry_failed:
                block.to_retry = {case for case, attempt in known.items() if attempt.status is not Status.OK}
            self._blocks[number] = block
            if not block.done:
                self._put_back(block)

    def due_runs(self) -> list[ScheduledCase]:
        """The runs that are left: those of begun blocks by where they were begun."""
        waiting = [self._blocks[number] for number in self._waiting]
        return [
            scheduled
            for block in sorted([*waiting, *self._assigned.values()], key=lambda block: block.number)
            if block.number < self.blocks_needed
            for scheduled in block.due(block.machine or "")
        ]

    def block_of(self, node: str) -> int | None:
        """The number of the block that a node has, from 0; None where it has none."""
        block = self._assigned.get(node)
        return None if block is None else block.number

    def candidate(self, machine: str, machines: Iterable[str]) -> list[ScheduledCase]:
        """What would be due of the block that `assign` would give a node; nothing where it would give none.

        Args:
            machine: the fingerprint of the node's machine.
            machines: those of all nodes that measure.
        """
        number = self._next(machine, machines)
        return [] if number is None else self._blocks[number].due(machine)

    def assign(self, node: str, machine: str, machines: Iterable[str]) -> int | None:
        """Give a node without a block the one that it should do; None where there is none for it.

        First what was begun on such a machine, then what nobody has begun, and last what was begun on a kind of machine
        that is not there any more, which starts again.

        Args:
            node: its name.
            machine: the fingerprint of its machine.
            machines: those of all nodes that measure.
        """
        number = self._next(machine, machines)
        if number is None:
            return None
        block = self._blocks[number]
        heapq.heappop(self._heap(self._waiting.pop(number)))
        self._assigned[node] = block
        return number

    def _next(self, machine: str, machines: Iterable[str]) -> int | None:
        for heap in (self._begun[machine], self._fresh):
            if heap and heap[0] < self.blocks_needed:
                return heap[0]
        here = set(machines)
        orphaned = [heap[0] for home, heap in self._begun.items() if heap and home not in here]
        return min((number for number in orphaned if number < self.blocks_needed), default=None)

    def next_run(self, node: str, machine: str) -> DueRun | None:
        """The next run of a node's block; None where the block is done, which is then taken from it.

        Args:
            node: its name.
            machine: the fingerprint of its machine.
        """
        block = self._assigned[node]
        for scheduled in block.due(machine):
            last = block.last.get(scheduled.case.id)
            return DueRun(scheduled, 1 if last is None else last.number + 1)
        del self._assigned[node]
        return None

    def ended(self, node: str, run: DueRun, status: Status, machine: str) -> None:
        """A node's run is stored.

        Args:
            node: its name.
            run: what it did.
            status: how the run ended.
            machine: the fingerprint of its machine.
        """
        block, case = self._assigned[node], run.scheduled.case.id
        block.last[case] = LastAttempt(run.attempt, status, machine)
        block.to_retry.discard(case)

    def lost(self, node: str, failed: Collection[ScheduledCase] = ()) -> int | None:
        """A node is gone, or measures no more: its block is put back, and its number returned, if it had one.

        Args:
            node: its name.
            failed: runs that failed there, and are to be done again elsewhere.
        """
        for scheduled in failed:
            self._blocks[scheduled.block].to_retry.add(scheduled.case.id)
        assigned = self._assigned.pop(node, None)
        occupied = {block.number for block in self._assigned.values()}
        affected = {scheduled.block for scheduled in failed} | ({assigned.number} if assigned else set())
        for number in sorted(affected - occupied - self._waiting.keys()):
            if not self._blocks[number].done:
                self._put_back(self._blocks[number])
        return None if assigned is None else assigned.number

    def _put_back(self, block: _BlockRuns) -> None:
        home = self._waiting[block.number] = block.machine
        heapq.heappush(self._heap(home), block.number)

    def _heap(self, home: str | None) -> list[int]:
        return self._fresh if home is None else self._begun[home]

    @property
    def unfinished(self) -> bool:
        """Whether a block is left that the campaign needs, be it assigned or not."""
        return bool(self._assigned) or any(number < self.blocks_needed for number in self._waiting)
