"""What `bench run --on` names: a cluster of Ray that is running, or one that is started here to try things on."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cluster.admission import requirements_of
from bench.cluster.campaign_driver import CampaignDriver
from bench.cluster.local_cluster import local_cluster
from bench.cluster.node import NodeSettings
from bench.cluster.node_state import ClusterReporter
from bench.cluster.provision import Provision
from bench.cluster.ray_nodes import ADDRESS, RayNodes
from bench.core.case import digest
from bench.core.errors import UsageError
from bench.host.capabilities import read_capabilities
from bench.plan.plan import Plan
from bench.plan.prepare import PreparedSuite
from bench.run.runner import CampaignOutcome, CampaignSettings
from bench.run.session import SessionSettings

CLUSTER_FINGERPRINT = digest("a cluster of Ray")
"""What stands for a machine in the identity of a campaign on a cluster: each run has its own, and the driver may be on
any."""
_MOST_LOCAL_NODES = 16
_HOST_AND_PORT = re.compile(r"(?:\[[\da-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
_RUNNING_HERE = "auto"
"""What Ray takes for the cluster that was started on this machine."""


@dataclass(frozen=True)
class ClusterAddress:
    """Where a campaign is to run: `ray`, at an address, or `ray-local:N`, N nodes that are started here."""

    address: str = ""
    """`host:port`; empty where the nodes are started here."""
    local_nodes: int = 0

    @classmethod
    def parse(cls, on: str, address: str | None) -> ClusterAddress:
        """Read the options `--on` and `--address`.

        Raises:
            UsageError: `--on` names no cluster, or there is no address, or one that is none.
        """
        if on == "ray":
            origin = address or os.environ.get(ADDRESS, "")
            if not origin:
                raise UsageError(
                    f"--on ray needs the address of a cluster: --address HOST:PORT, or {ADDRESS}. `ray-local:2` starts "
                    f"one of two nodes on this machine, to try it."
                )
            _check_form(origin, f"--address {address}" if address else f"{ADDRESS}={origin}")
            return cls(address=origin)
        match = re.fullmatch(r"ray-local:(\d+)", on)
        if match is None or not 1 <= int(match[1]) <= _MOST_LOCAL_NODES:
            raise UsageError(f"--on {on} is no cluster: write ray, or ray-local:N, N being 1 to {_MOST_LOCAL_NODES}.")
        if address is not None:
            raise UsageError(f"--address {address} and --on {on} exclude each other: those nodes are started here.")
        return cls(local_nodes=int(match[1]))

    def planned(self, prepared: PreparedSuite) -> PreparedSuite:
        """A suite planned for the devices of the nodes: the driver may have others, or none. Software is the driver's.

        Raises:
            UsageError: the cluster cannot be joined.
        """
        if self.local_nodes or set(prepared.suite.values("devices")) == {"cpu"}:
            return prepared
        with RayNodes(self.address, {}) as nodes:
            gpus = nodes.most_gpus()

        def device_problem(device: str) -> str | None:
            if device == "cpu" or int(device.removeprefix("gpu:")) < gpus:
                return None
            return f"{device}: no node of the cluster has {'a GPU' if gpus == 0 else f'more GPUs than {gpus}'}"

        here = read_capabilities(prepared.machine)
        return replace(prepared, host=replace(here, device_problem=device_problem))

    @contextlib.contextmanager
    def joined(self) -> Iterator[str]:
        """The address to connect to; nodes that were started here end with this context."""
        if self.local_nodes:
            with local_cluster(self.local_nodes) as address:
                yield address
        else:
            yield self.address


def _check_form(address: str, origin: str) -> None:
    match = _HOST_AND_PORT.fullmatch(address)
    if address != _RUNNING_HERE and (match is None or not 0 < int(match[1]) < 1 << 16):
        raise UsageError(
            f"{origin} is no address of a cluster's head: write HOST:PORT, as `ray start --head` prints it (the port "
            f"is 6379, if none was given there; neither ray:// nor the dashboard's)."
        )


@dataclass(frozen=True)
class RayEngine:
    """Does the runs of a campaign on the nodes of a Ray cluster (`bench.run.session.Engine`)."""

    cluster: ClusterAddress
    reporter: ClusterReporter
    provision: Provision | None = None
    """The environment that each node gets; None: it measures in its own."""

    @property
    def machine_fingerprint(self) -> str:
        """The same for all clusters."""
        return CLUSTER_FINGERPRINT

    def run_campaign(self, plan: Plan, settings: CampaignSettings, session: SessionSettings) -> CampaignOutcome:
        """See `bench.run.session.Engine`.

        Raises:
            UsageError: the cluster cannot be joined, or no node of it can measure.
        """
        conditions = settings.conditions
        requirements, sent = requirements_of(plan, conditions.data, Path.cwd())
        node_settings = NodeSettings(
            campaign=conditions.campaign,
            requirements=requirements,
            silence_seconds=plan.silence_seconds,
            worker=settings.worker,
            isolation=settings.isolation,
        )
        with self.cluster.joined() as address, RayNodes(address, sent, self.provision) as nodes:
            return CampaignDriver(
                plan, settings, session, node_settings, nodes, self.reporter, shared=self.cluster.local_nodes > 1
            ).run()
