"""A cluster without Ray, on a clock of its own: nodes that take their time, die, refuse and lie as a test wants it."""

from __future__ import annotations

import functools
import hashlib
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.cluster.node import CeilingsOrder, NodeCeilings, NodeFacts, NodeRun, NodeSettings, RunOrder
from bench.cluster.nodes import Admitted, CeilingsArrived, Lost, NodeEvent, Refused, RunArrived
from bench.core.case import Status
from bench.core.observation import Observation, RunMetadata
from bench.host.hardware import Machine
from bench.host.software import Software
from bench.run.ceiling_runs import shapes
from bench.store.campaign import Campaign
from bench.store.ceilings import Ceilings
from bench.store.parts import Run, part_bytes
from tests.support.roots import LAPTOP

SOFTWARE = Software(python="3.11.7", keras="3.15.1", backend="tensorflow", backend_version="2.21.0", numpy="2.4.6")


@dataclass
class FakeNode:
    """How a node behaves."""

    machine: Machine = LAPTOP
    seconds: float = 10.0
    """What a run takes."""
    checked_after: float = 1.0
    """What its check takes."""
    host: str = "host"
    boot: str = ""
    """Empty: a machine of its own."""
    lock: str = "lock"
    card: str | None = None
    """The GPU that it is the slot of."""
    refusals: tuple[str, ...] = ()
    dies_in_runs: set[int] = field(default_factory=set)
    """Which of its runs, from 1, its process dies in."""
    leaves_in_run: int = 0
    """Which of its runs it leaves the cluster in; 0: in none."""
    dies_in_ceilings: bool = False
    """Whether its process dies the first time that it measures ceilings."""
    full_disk: bool = False
    mangles: set[int] = field(default_factory=set)
    """Which of its runs arrive damaged."""
    status: Status = Status.OK
    disturbed: float = 0.0
    begun: int = 0
    """How many runs it has begun."""


class FakeCluster:
    """`ClusterNodes` by `FakeNode`s; its clock moves from event to event.

    Args:
        nodes: by id.
        as_part: makes the part of a run.
    """

    def __init__(self, nodes: Mapping[str, FakeNode], as_part: Callable[[Run], bytes] = part_bytes) -> None:
        self.nodes = dict(nodes)
        self.now = 0.0
        self.started: list[str] = []
        self.orders: list[tuple[str, str, int]] = []
        """Node, label of the case, and attempt of each run that was begun."""
        self.measuring: dict[str, RunOrder | CeilingsOrder] = {}
        self.facts: dict[str, NodeFacts] = {}
        self._as_part = as_part
        self._events: list[tuple[float, int, NodeEvent]] = []
        self._number = 0
        self._campaign: Campaign | None = None

    def clock(self) -> float:
        return self.now

    def alive(self) -> Mapping[str, str]:
        return {identity: node.host for identity, node in self.nodes.items()}

    def start(self, node: str, settings: NodeSettings) -> None:
        self._campaign = settings.campaign
        self.started.append(node)
        fake = self.nodes[node]
        facts = NodeFacts(
            boot=fake.boot or f"boot of {node}",
            lock=fake.lock,
            card=fake.card,
            machine=fake.machine,
            refusals=fake.refusals,
        )
        self.facts[node] = facts
        self._after(fake.checked_after, Admitted(node, facts))

    def measure(self, node: str, order: RunOrder) -> None:
        fake = self.nodes[node]
        assert node not in self.measuring, f"{node} measures already"
        self.measuring[node] = order
        self.orders.append((node, order.scheduled.case.label(), order.attempt))
        fake.begun += 1
        if fake.full_disk:
            self._after(0.1, Refused(node, "cannot write to /tmp (no space left on device)"))
        elif fake.leaves_in_run == fake.begun:
            del self.nodes[node]
        elif fake.begun in fake.dies_in_runs:
            self._after(fake.seconds / 2, Lost(node, "its process was killed"))
        else:
            self._after(fake.seconds, RunArrived(node, self._result(fake, order, self.facts[node])))

    def measure_ceilings(self, node: str, order: CeilingsOrder) -> None:
        fake = self.nodes[node]
        assert node not in self.measuring, f"{node} measures already"
        self.measuring[node] = order
        self.orders.append((node, "ceilings", len(order.configurations)))
        if fake.dies_in_ceilings:
            fake.dies_in_ceilings = False
            self._after(fake.seconds / 2, Lost(node, "its process was killed"))
            return
        machine = self.facts[node].machine_when(order.shared).fingerprint
        measured = tuple(
            Ceilings(
                shape=shape,
                machine_fingerprint=machine,
                software_fingerprint=SOFTWARE.fingerprint,
                measured_at="2026-11-28T01:02:03+00:00",
                peak_flops_per_second=1e12,
                serial_seconds=0.004,
            )
            for shape in shapes(order.configurations)
        )
        self._after(fake.seconds, CeilingsArrived(node, NodeCeilings(ceilings=measured, notes=("its fan is loud",))))

    def stop(self, node: str) -> None:
        self.measuring.pop(node, None)
        self._events = [entry for entry in self._events if entry[2].node != node]
        heapq.heapify(self._events)

    def events(self, seconds: float) -> list[NodeEvent]:
        until = self.now + seconds
        if not self._events or self._events[0][0] > until:
            self.now = until
            return []
        self.now, _, event = heapq.heappop(self._events)
        if not isinstance(event, Admitted):
            self.measuring.pop(event.node, None)
        return [event]

    def _after(self, seconds: float, event: NodeEvent) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, event))

    def _result(self, fake: FakeNode, order: RunOrder, facts: NodeFacts) -> NodeRun:
        assert self._campaign is not None
        run = a_run(self._campaign, order, facts.machine_when(order.shared), fake)
        part = self._as_part(run)
        sent = part[:-1] if fake.begun in fake.mangles else part
        return NodeRun(
            run=run,
            part=sent,
            sha256=hashlib.sha256(part).hexdigest(),
            log=b"" if run.status is Status.OK else b"what went wrong",
            seconds=fake.seconds,
        )


@functools.cache
def _facts(machine: Machine) -> tuple[str, str]:
    """A machine's record and fingerprint, each machine once: simulations have many thousands of runs."""
    return machine.to_json(), machine.fingerprint


def a_run(campaign: Campaign, order: RunOrder, machine: Machine, fake: FakeNode) -> Run:
    """The run that a node was asked for."""
    machine_json, machine_fingerprint = _facts(machine)
    facts: dict[str, Any] = {"software_json": "{}", "software_fingerprint": "s", "host_json": "{}"}
    seconds = {"train": fake.seconds / 2, "validate": fake.seconds / 4}
    return Run(
        campaign=campaign,
        case=order.scheduled.case,
        block=order.scheduled.block,
        position=order.scheduled.position,
        attempt=order.attempt,
        status=fake.status,
        error=None if fake.status is Status.OK else "it failed",
        log=None if fake.status is Status.OK else "logs/one.log",
        started_at=order.started_at,
        isolation="fork",
        machine_json=machine_json,
        machine_fingerprint=machine_fingerprint,
        metadata=RunMetadata(attested_kernel="generic", other_cpu_fraction=fake.disturbed, data_digest="d"),
        observations=tuple(
            Observation(phase=phase, epoch=1, seconds=each, samples=100, loss=0.1, accuracy=0.9)
            for phase, each in seconds.items()
        ),
        **facts,
    )
