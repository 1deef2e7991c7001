"""What the driver asks of a cluster, and what a cluster reports: `bench.cluster.ray_nodes` is Ray's, tests have others.

A node is named by its id in the cluster. Nothing here waits but `events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bench.cluster.node import CeilingsOrder, NodeCeilings, NodeFacts, NodeRun, NodeSettings, RunOrder


@dataclass(frozen=True)
class Admitted:
    """A node was checked."""

    node: str
    facts: NodeFacts


@dataclass(frozen=True)
class RunArrived:
    """A node has done its run."""

    node: str
    result: NodeRun


@dataclass(frozen=True)
class CeilingsArrived:
    """A node has measured ceilings."""

    node: str
    result: NodeCeilings


@dataclass(frozen=True)
class Refused:
    """A node could not be checked, or could not do its run, for a reason that is its own; it lives."""

    node: str
    reason: str


@dataclass(frozen=True)
class Lost:
    """A node's process has died, or the node; what it was doing is lost."""

    node: str
    reason: str


NodeEvent = Admitted | RunArrived | CeilingsArrived | Refused | Lost


class ClusterNodes(Protocol):
    """The nodes of a cluster, or the GPUs of its nodes, where each has a slot: to the driver a node is what has one."""

    def alive(self) -> Mapping[str, str]:
        """The nodes that are there now and have a measuring slot: the host's name by id.

        Raises:
            UsageError: the cluster is gone.
        """

    def start(self, node: str, settings: NodeSettings) -> None:
        """Begin to check a node: `Admitted`, `Refused` or `Lost` follows."""

    def measure(self, node: str, order: RunOrder) -> None:
        """Let a checked node do a run: `RunArrived`, `Refused` or `Lost` follows."""

    def measure_ceilings(self, node: str, order: CeilingsOrder) -> None:
        """Let a checked node measure ceilings: `CeilingsArrived`, `Refused` or `Lost` follows."""

    def stop(self, node: str) -> None:
        """End a node's process, and the run that it is doing; nothing follows."""

    def events(self, seconds: float) -> list[NodeEvent]:
        """What has happened; waits for so long at most, until something has."""
