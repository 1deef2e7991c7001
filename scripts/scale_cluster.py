"""How a campaign scales over the nodes of a Ray cluster, what a run costs there, and how many the driver bears.

    python scripts/scale_cluster.py [--nodes 1,2,4,8,16] [--seconds 10] [--blocks 2] [--out docs/cluster-scale.json]

Real Ray, nodes as processes of this machine, each with a lock of its own and taken for a machine of its own; runs are
the fake worker's, which sleeps. Each node has the same work: the figure has the time of one node over that of n. In a
row, efficiency is the time that the runs sleep over the time
that their nodes were there for them until the last run of all was stored, and so counts all that a run needs beside,
and waiting at the end. `efficiency` is of all runs, from the first one's start; `steady_efficiency` leaves out each
node's first run, in which the interpreter of its runs is started. The start of the nodes is `start_seconds`, in
neither. `load_before` and `load_after` are the machine's, of the last minute. The overhead of a run is the difference,
by run, of two campaigns whose runs take no time: on a cluster of one node, and by `bench run` here. The simulation
(`tests/support/fake_cluster.py`) has 1,000 nodes and 100,000 runs in the driver's real loop; parts are not written,
since that is the disk's time.

Each row is added to the file when it is known: interrupted, the same command goes on from there. Draws the figure.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.cluster import campaign_driver
from bench.cluster.admission import requirements_of
from bench.cluster.campaign_driver import CampaignDriver
from bench.cluster.local_cluster import loopback_environment
from bench.cluster.node import NodeFacts, NodeSettings, RunOrder
from bench.cluster.node_state import ClusterNode
from bench.cluster.ray_nodes import SLOT, NodeProcess, RayNodes, import_ray
from bench.host.capabilities import read_capabilities
from bench.host.hardware import read_machine
from bench.plan.plan import Plan, make_plan
from bench.plan.suite import load
from bench.run.execution import RunConditions
from bench.run.lock import LOCK_VARIABLE
from bench.run.runner import CampaignSettings, run_campaign
from bench.run.session import SessionSettings, campaign_of, software_of
from bench.store.campaign import owner_lease
from bench.store.lease import Leases
from tests.support.fake_cluster import FakeCluster, FakeNode
from tests.support.fake_worker import SCRIPT
from tests.support.harness import FAKE, ROOT

TASK = "mnist_5k"
CONFIGURATIONS = 3
"""Runs of a block: the cells of the suite."""


class MachineOfItsOwn(NodeProcess):
    """A node that is taken for a machine: it shares this one with the others, and no lock."""

    def admit(self, sent: Any) -> NodeFacts:  # type: ignore[override]
        """Check the node."""
        return replace(super().admit(sent), boot=os.environ[LOCK_VARIABLE])


@dataclass
class Silent:
    """A reporter that keeps when the first run was given out, and when the last was stored."""

    first: float = 0.0
    last: float = 0.0
    ends: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By node: when its runs were stored."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None

    def run_stored(self, node: ClusterNode, *_: object) -> None:
        """A run is stored."""
        self.last = time.monotonic()
        self.ends[node.name].append(self.last)


@dataclass(frozen=True)
class Measurement:
    """A campaign to be measured: where it is kept, its plan and what its runs share."""

    settings: CampaignSettings
    plan: Plan

    @classmethod
    def of(cls, folder: Path, leases: Leases, blocks: int) -> Measurement:
        """A campaign of so many blocks."""
        machine = read_machine()
        suite = load("quick", [f"tasks={TASK}", f"seeds=0..{blocks - 1}", "epochs=1"])
        plan = make_plan(suite, order_seed=0, host=read_capabilities(machine))
        software = software_of(plan)
        campaign = campaign_of(plan, machine.fingerprint, software)
        leases.take(owner_lease(campaign.id))
        data = {TASK: obtain(tasks.find(TASK), data_dir=None, report=print)}
        conditions = RunConditions(campaign=campaign, machine=machine, software=software, data=data)
        return cls(CampaignSettings(folder=folder, conditions=conditions, leases=leases, worker=FAKE), plan)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="1,2,4,8,16")
    parser.add_argument("--seconds", type=float, default=10.0, help="what a run takes")
    parser.add_argument("--blocks", type=int, default=2, help="for each node")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "cluster-scale.json")
    parser.add_argument("--simulate", action="store_true", help="only the simulation, as a row on standard output")
    parser.add_argument("--runs", type=int, default=100_000, help="that are simulated")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)  # the nodes' processes import what this one does
    if arguments.simulate:
        print(json.dumps(simulated(nodes=1_000, runs=arguments.runs)))
        return 0
    rows: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}

    def keep(name: str, row: Callable[[], Any]) -> None:
        if name not in rows:
            rows[name] = row()
            print(name, rows[name], flush=True)
            arguments.out.write_text(json.dumps(rows, indent=1) + "\n")

    for number in map(int, arguments.nodes.split(",")):
        keep(f"{number} nodes", functools.partial(scaled, number, arguments.seconds, arguments.blocks))
    keep("overhead", overhead)
    command = [sys.executable, __file__, "--simulate"]
    keep("simulation", lambda: json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    draw(rows, arguments.out.with_suffix(".svg"))
    return 0


def scaled(number: int, seconds: float, blocks: int) -> dict[str, float]:
    """The efficiency of so many nodes, and how long they took to start."""
    begun, load = time.monotonic(), os.getloadavg()[0]
    runs = number * blocks * CONFIGURATIONS
    seen = on_cluster(number, seconds, number * blocks)
    there = sum(seen.last - ends[0] for ends in seen.ends.values())
    return {
        "nodes": number,
        "runs": runs,
        "start_seconds": seen.first - begun,
        "seconds": seen.last - seen.first,
        "efficiency": runs * seconds / (number * (seen.last - seen.first)),
        "steady_efficiency": (runs - len(seen.ends)) * seconds / there,
        "load_before": load,
        "load_after": os.getloadavg()[0],
    }


def on_cluster(number: int, seconds: float, blocks: int) -> Silent:
    """When the first run of a campaign was given out, and when each was stored."""
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch, loopback_environment():
        import_ray()
        from ray.cluster_utils import Cluster

        folder = Path(scratch)
        (folder / "script.json").write_text(json.dumps({"seconds": seconds}))
        cluster = Cluster()
        cluster.add_node(num_cpus=0, node_ip_address="127.0.0.1", include_dashboard=False)
        for each in range(number):
            variables = {LOCK_VARIABLE: str(folder / f"lock-{each}"), SCRIPT: str(folder / "script.json")}
            cluster.add_node(
                wait=False, num_cpus=1, resources={SLOT: 1}, node_ip_address="127.0.0.1", env_vars=variables
            )
        cluster.wait_for_nodes(120)
        try:
            with Leases(folder / "results") as leases:
                return _driven(Measurement.of(folder / "results", leases, blocks), str(cluster.address))
        finally:
            cluster.shutdown()


def _driven(measurement: Measurement, address: str) -> Silent:
    settings, plan = measurement.settings, measurement.plan
    requirements, sent = requirements_of(plan, settings.conditions.data, ROOT)
    node_settings = NodeSettings(
        campaign=settings.conditions.campaign, requirements=requirements, silence_seconds=600, worker=FAKE
    )
    reporter = Silent()

    class Noting(RayNodes):
        def measure(self, node: str, order: RunOrder) -> None:
            reporter.first = reporter.first or time.monotonic()
            super().measure(node, order)

    with Noting(address, sent, process=MachineOfItsOwn) as nodes:
        session = SessionSettings(results=settings.folder, command="")
        CampaignDriver(plan, settings, session, node_settings, nodes, reporter).run()
    return reporter


def overhead(blocks: int = 30) -> dict[str, float]:
    """What a run costs more on a cluster than here, seconds."""
    seen = on_cluster(1, 0.0, blocks)
    # the first one waits for the interpreter, here and there
    on_node = (seen.last - next(iter(seen.ends.values()))[0]) / (blocks * CONFIGURATIONS - 1)
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        folder = Path(scratch)
        (folder / "script.json").write_text(json.dumps({"seconds": 0.0}))
        variables = {SCRIPT: str(folder / "script.json"), LOCK_VARIABLE: str(folder / "lock")}
        with patch.dict(os.environ, variables), Leases(folder / "results") as leases:
            measurement = Measurement.of(folder / "results", leases, blocks)
            starts: list[float] = []

            class Timed(Silent):
                def run_started(self, *_: object) -> None:
                    starts.append(time.monotonic())

            run_campaign(measurement.plan, measurement.settings, Timed())
            here = (time.monotonic() - starts[1]) / (blocks * CONFIGURATIONS - 1)
    return {"on_a_node_seconds": on_node, "here_seconds": here, "overhead_seconds": on_node - here}


def simulated(nodes: int, runs: int) -> dict[str, float]:
    """What the driver needs for so many runs on so many nodes: seconds of CPU, and memory."""
    begun = time.process_time()
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch, Leases(Path(scratch)) as leases:
        measurement = Measurement.of(Path(scratch), leases, runs // CONFIGURATIONS)
        planned = time.process_time()
        cluster = FakeCluster(
            {f"node {number}": FakeNode(seconds=10.0 + number % 7) for number in range(nodes)},
            as_part=lambda run: b"part",
        )
        node_settings = NodeSettings(
            campaign=measurement.settings.conditions.campaign,
            requirements=None,  # type: ignore[arg-type]
            silence_seconds=600,
            worker=FAKE,
        )
        session = SessionSettings(results=Path(scratch), command="")
        with patch.object(campaign_driver, "write_part", lambda *_: None):
            outcome = CampaignDriver(
                measurement.plan, measurement.settings, session, node_settings, cluster, Silent(), clock=cluster.clock
            ).run()
    ideal = sum(10.0 + number % 7 for number in range(nodes)) / nodes
    return {
        "nodes": nodes,
        "runs": outcome.done_now,
        "plan_cpu_seconds": planned - begun,
        "driver_cpu_seconds": time.process_time() - planned,
        "efficiency": outcome.done_now * ideal / (nodes * cluster.now),
        "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def draw(rows: dict[str, Any], path: Path) -> None:
    """The figure: efficiency against the number of nodes."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    scale = [row for name, row in rows.items() if name.endswith(" nodes")]
    with plt.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
        efficiency = [scale[0]["seconds"] / row["seconds"] for row in scale]
        axes.plot([row["nodes"] for row in scale], efficiency, "o-")
        axes.axhline(0.95, color="0.6", linewidth=0.8, linestyle="--")
        axes.set(xscale="log", ylim=(0, 1.05), xlabel="nodes", ylabel="efficiency, against one node")
        axes.set_xticks([row["nodes"] for row in scale], [str(row["nodes"]) for row in scale])
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
