"""A node as the driver sees it, and what is reported of a campaign on several of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from bench.cluster.dispatch import DueRun
from bench.cluster.node import NodeFacts
from bench.plan.plan import Plan, ScheduledCase
from bench.store.parts import Run


class NodeState(StrEnum):
    """What a node is doing."""

    CHECKING = "is being checked"
    IDLE = "idle"
    MEASURING = "measuring"
    CEILINGS = "measuring its ceilings"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    LOST = "lost"
    """Its process has died; whether the node has, is seen when the cluster is asked again."""
    GONE = "gone"


@dataclass
class ClusterNode:
    """A node, as the driver sees it."""

    id: str
    """In the cluster."""
    name: str
    """For people, of the host; no two nodes that are there have the same."""
    since: float
    """When its state began, by the driver's clock, seconds."""
    state: NodeState = NodeState.CHECKING
    facts: NodeFacts | None = None
    """What its last check has shown."""
    machine: str = ""
    """The fingerprint of its machine, as its runs have it; empty before it was checked."""
    run: DueRun | None = None
    """What it measures now."""
    done: int = 0
    """Number of runs that it has done in this call."""
    reason: str = ""
    """Why it was refused or quarantined, or how it was lost."""

    def change(self, state: NodeState, since: float, reason: str = "") -> None:
        """Begin another state."""
        self.state, self.since, self.reason = state, since, reason
        if state is not NodeState.MEASURING:
            self.run = None

    def mark(self, shared: bool) -> None:
        """Note the fingerprint of its machine, which others may share."""
        if self.facts is not None:
            self.machine = self.facts.machine_when(shared).fingerprint

    @property
    def busy(self) -> bool:
        """Whether it measures now."""
        return self.state in (NodeState.MEASURING, NodeState.CEILINGS)

    @property
    def measures(self) -> bool:
        """Whether it measures, or will do so again."""
        return self.busy or self.state in (NodeState.IDLE, NodeState.CHECKING)


class ClusterReporter(Protocol):
    """What is reported of a campaign on a cluster. All times are in seconds."""

    def campaign_started(self, plan: Plan) -> None:
        """Called before the first run of the plan."""

    def run_stored(
        self, node: ClusterNode, scheduled: ScheduledCase, run: Run, seconds: float, log: Path | None
    ) -> None:
        """Called when a run of a node is stored; `log` is the log that was kept."""

    def nodes_changed(self, nodes: Collection[ClusterNode], done: int, total: int, left: float) -> None:
        """Called about once a second: the nodes, runs done in this call and due in all, the estimate for the rest."""

    def note(self, text: str) -> None:
        """Called with a sentence that a person should read."""


def unique_name(host: str, taken: Collection[str]) -> str:
    """The name of a node: its host's, with a number where another node has that."""
    names = (host if number == 1 else f"{host}#{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)
