"""Which nodes measure no more, and why: those that keep failing, are slow or noisy, or die again and again. Pure.

A node is judged by the others: what fails, or is slow, or is disturbed everywhere is no fault of a node.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from dataclasses import dataclass
from statistics import median

from bench.core.case import Case, Status
from bench.plan.plan import ScheduledCase
from bench.store.parts import Run

IN_SUCCESSION = 3
"""So many runs in succession, or losses of a node without a run between them, are no accident."""
SLOW_FACTOR = 3.0
"""A run that takes so many times the median of the same configuration on other machines of the same kind is slow."""
NOISY_FRACTION = 0.25
"""A run is disturbed where the hypervisor and other processes took so much of the machine's CPU time."""
QUIET_FRACTION = 0.10
"""What the other nodes' median must be below for a node to be noisy."""
_KEPT = 20
"""So many runs of a configuration, and of a node, are remembered."""


@dataclass(frozen=True)
class _NodeRun:
    """What is remembered of a run."""

    scheduled: ScheduledCase
    status: Status
    seconds: float
    disturbed_fraction: float


class NodeHealth:
    """What the runs of a campaign show about its nodes."""

    def __init__(self) -> None:
        self._machines: dict[str, str] = {}
        self._recent: dict[str, deque[_NodeRun]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._seconds: dict[tuple[str, Case], deque[tuple[str, float]]] = defaultdict(lambda: deque(maxlen=_KEPT))
        """By machine fingerprint and configuration: node and wall time of runs that were well."""
        self._well: dict[Case, set[str]] = defaultdict(set)
        """By configuration: the nodes on which it has run well."""
        self._failed: dict[str, list[ScheduledCase]] = defaultdict(list)
        self._losses: dict[str, int] = defaultdict(int)
        self._lost_checks: dict[str, int] = defaultdict(int)

    def ended(self, node: str, scheduled: ScheduledCase, run: Run, seconds: float) -> None:
        """A node's run has ended.

        Args:
            node: its name.
            scheduled: what it ran.
            run: what came of it.
            seconds: the run's wall time.
        """
        metadata = run.metadata
        # what runs on the other cards of its machine take is no fault of a node
        cpu_of_others = 0.0 if json.loads(run.host_json).get("neighbour_runs") else metadata.other_cpu_fraction or 0.0
        disturbed = (metadata.steal_fraction or 0.0) + cpu_of_others
        self._machines[node] = run.machine_fingerprint
        self._recent[node].append(_NodeRun(scheduled, run.status, seconds, disturbed))
        self._losses[node] = self._lost_checks[node] = 0
        configuration = scheduled.case.configuration
        if run.status is Status.OK:
            self._well[configuration].add(node)
            self._seconds[run.machine_fingerprint, configuration].append((node, seconds))
        else:
            self._failed[node].append(scheduled)

    def lost(self, node: str, *, checked: bool) -> None:
        """A node, or its process, has died.

        Args:
            node: its name.
            checked: whether it had been checked; a process that dies before may be one of a node that is dead already.
        """
        (self._losses if checked else self._lost_checks)[node] += 1

    def left(self, node: str) -> None:
        """A node has left the cluster: that is why it could not be checked since its process died."""
        self._lost_checks[node] = 0

    def failed_here_alone(self, node: str) -> list[ScheduledCase]:
        """The runs that failed on a node, and whose configurations have run well on another."""
        return [each for each in self._failed[node] if self._well[each.case.configuration] - {node}]

    def problem(self, node: str) -> str | None:
        """Why a node should measure no more, as a phrase; None where nothing is wrong with it."""
        return self._dies(node) or self._fails(node) or self._slow(node) or self._noisy(node)

    def _dies(self, node: str) -> str | None:
        losses = max(self._losses[node], self._lost_checks[node])
        return f"it died {losses} times without a finished run in between" if losses >= IN_SUCCESSION else None

    def _last(self, node: str) -> list[_NodeRun]:
        recent = list(self._recent[node])[-IN_SUCCESSION:]
        return recent if len(recent) == IN_SUCCESSION else []

    def _fails(self, node: str) -> str | None:
        last = self._last(node)
        if not last or any(
            run.status is Status.OK or not self._well[run.scheduled.case.configuration] - {node} for run in last
        ):
            return None
        how = {Status.TIMEOUT: "fell silent"}.get(last[-1].status, "failed")
        return f"its last {len(last)} runs {how}, and the same configurations run well on other nodes"

    def _slow(self, node: str) -> str | None:
        factors = []
        for run in self._last(node):
            kept = self._seconds[self._machines[node], run.scheduled.case.configuration]
            elsewhere = [seconds for name, seconds in kept if name != node]
            if run.status is not Status.OK or not elsewhere:
                return None
            factors.append(run.seconds / median(elsewhere))
        if not factors or min(factors) < SLOW_FACTOR:
            return None
        return (
            f"its last {len(factors)} runs took {min(factors):.2g} times as long as on other machines of its kind, or "
            f"longer"
        )

    def _noisy(self, node: str) -> str | None:
        disturbed = [run.disturbed_fraction for run in self._last(node)]
        if not disturbed or min(disturbed) < NOISY_FRACTION:
            return None
        elsewhere = [
            median(run.disturbed_fraction for run in runs)
            for name, runs in self._recent.items()
            if name != node and len(runs) >= IN_SUCCESSION
        ]
        if not elsewhere or median(elsewhere) >= QUIET_FRACTION:
            return None
        return (
            f"other processes or the hypervisor took {min(disturbed):.0%} of its CPU time or more in its last "
            f"{len(disturbed)} runs, and {median(elsewhere):.0%} on other nodes"
        )
