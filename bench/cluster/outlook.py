"""What a cluster would make of a plan: which nodes may measure, which blocks each would do, and how long it takes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.cluster.admission import requirements_of
from bench.cluster.engine import NO_SLOT, ClusterAddress
from bench.cluster.node import SHARED, SHARED_BY_CARDS, NodeSettings
from bench.cluster.node_state import unique_name
from bench.cluster.nodes import Admitted, Lost, Refused
from bench.cluster.ray_nodes import RayNodes
from bench.cluster.slot import Slot
from bench.cluster.time_left import block_assignment
from bench.host.hardware import Machine, with_card_alone
from bench.host.processes import machine_boot
from bench.plan.plan import Plan, ScheduledCase
from bench.run.pool import WORKER
from bench.run.session import campaign_of, software_of

_CHECK_SECONDS = 60.0


@dataclass(frozen=True)
class NodeOutlook:
    """A node, and what it would do."""

    name: str
    machine: Machine | None
    """None where it could not be checked."""
    refusal: str
    """Why it may not measure; empty where it may."""
    blocks: tuple[int, ...] = ()
    """Numbers of the blocks that it would do, from 0."""


@dataclass(frozen=True)
class ClusterOutlook:
    """All nodes, and the time until the last one is done."""

    nodes: Sequence[NodeOutlook]
    seconds: float

    def to_data(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "estimate_seconds": self.seconds,
            "nodes": [
                {
                    "name": node.name,
                    "machine": node.machine and node.machine.fingerprint,
                    "refused": node.refusal or None,
                    "blocks": [block + 1 for block in node.blocks],
                }
                for node in self.nodes
            ],
        }


def cluster_outlook(cluster: ClusterAddress, plan: Plan, machine: Machine) -> ClusterOutlook:
    """Ask the nodes of a cluster whether they may measure, and assign them a plan's blocks as if all took as estimated.

    Nodes that would be started here are not started.

    Args:
        cluster: where the plan would run.
        plan: what would be run.
        machine: this one.

    Raises:
        UsageError: the cluster cannot be joined.
    """
    checked = _started_here(cluster, machine) if cluster.local_nodes else _checked(cluster, plan)
    able = {name: slot for name, (_, refusal, slot) in checked.items() if not refusal}
    by_block: dict[int, list[ScheduledCase]] = defaultdict(list)
    for scheduled in plan.scheduled:
        by_block[scheduled.block].append(scheduled)
    assigned, seconds = block_assignment(by_block, able) if able else ({}, 0.0)
    return ClusterOutlook(
        nodes=[
            NodeOutlook(name, known, refusal, tuple(assigned.get(name, ())))
            for name, (known, refusal, _) in checked.items()
        ],
        seconds=seconds,
    )


_Checked = dict[str, tuple[Machine | None, str, str]]
"""By name of a node: its machine, why it may not measure, and what only one run at a time can be on."""


def _started_here(cluster: ClusterAddress, machine: Machine) -> _Checked:
    """The nodes that would be started here, or their GPUs where each has a slot."""
    if cluster.slot is Slot.GPU:
        shared_by = SHARED_BY_CARDS if len(machine.gpus) > 1 else None
        names = [str(number) for number in range(len(machine.gpus))]
        alone = {name: with_card_alone(machine, name) for name in names}
        return {f"gpu:{name}": (replace(card, shared_by=shared_by), "", name) for name, card in alone.items()}
    here = replace(machine, shared_by=SHARED) if cluster.local_nodes > 1 else machine
    return {f"node {number + 1}": (here, "", machine_boot()) for number in range(cluster.local_nodes)}


def _checked(cluster: ClusterAddress, plan: Plan) -> _Checked:
    """The nodes of a running cluster. What data they have is not asked."""
    tasks = {scheduled.case.task for scheduled in plan.scheduled}
    requirements, sent = requirements_of(plan, dict.fromkeys(tasks), Path.cwd())
    settings = NodeSettings(
        campaign=campaign_of(plan, "", software_of(plan)),
        requirements=replace(requirements, tasks=()),
        silence_seconds=plan.silence_seconds,
        worker=WORKER,
    )
    with cluster.joined() as address, RayNodes(address, sent, slot=cluster.slot) as nodes:
        waiting: dict[str, str] = {}
        for identity, host in nodes.alive().items():
            waiting[identity] = unique_name(host, waiting.values())
            nodes.start(identity, settings)
        without = [host for host, gpus in nodes.gpus_by_host() if cluster.slot is Slot.GPU and not gpus]
        checked: _Checked = dict.fromkeys(without, (None, f"it has no GPU, as Ray counts them: {NO_SLOT}", ""))
        deadline = time.monotonic() + _CHECK_SECONDS
        while waiting and time.monotonic() < deadline:
            for event in nodes.events(1.0):
                name = waiting.pop(event.node)
                if isinstance(event, Admitted):
                    facts = event.facts
                    checked[name] = (facts.machine, "; ".join(facts.refusals), f"{facts.boot} {facts.card}")
                elif isinstance(event, Refused | Lost):
                    checked[name] = (None, event.reason, "")
    late = f"its processors or its measuring slot were not free within {_CHECK_SECONDS:g} s"
    return checked | dict.fromkeys(waiting.values(), (None, late, ""))
