"""What `bench run --on` names: a cluster of Ray that is running, or one that is started here to try things on."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cluster.admission import requirements_of
from bench.cluster.campaign_driver import CampaignDriver
from bench.cluster.local_cluster import local_cluster
from bench.cluster.node import NodeSettings
from bench.cluster.node_state import ClusterReporter
from bench.cluster.provision import Provision
from bench.cluster.ray_nodes import ADDRESS, RayNodes
from bench.cluster.slot import Slot
from bench.core.case import digest
from bench.core.errors import UsageError
from bench.host.capabilities import read_capabilities
from bench.host.cuda_devices import VISIBLE
from bench.host.hardware import read_machine
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
_NAMED = 8
"""So many hosts are named in a sentence."""

NO_SLOT = "with --slot gpu only GPUs do"
"""Why nothing is measured on a node without one."""


@dataclass(frozen=True)
class ClusterAddress:
    """Where a campaign is to run, and in which slots: `ray`, at an address, or `ray-local:N`, N nodes started here."""

    address: str = ""
    """`host:port`; empty where the nodes are started here."""
    local_nodes: int = 0
    slot: Slot = Slot.MACHINE

    @classmethod
    def parse(cls, on: str, address: str | None, slot: Slot = Slot.MACHINE) -> ClusterAddress:
        """Read the options `--on`, `--address` and `--slot`.

        Raises:
            UsageError: `--on` names no cluster, there is no address, or one that is none, or no such slots are there.
        """
        if on == "ray":
            origin = address or os.environ.get(ADDRESS, "")
            if not origin:
                raise UsageError(
                    f"--on ray needs the address of a cluster: --address HOST:PORT, or {ADDRESS}. `ray-local:2` starts "
                    f"one of two nodes on this machine, to try it."
                )
            _check_form(origin, f"--address {address}" if address else f"{ADDRESS}={origin}")
            return cls(address=origin, slot=slot)
        match = re.fullmatch(r"ray-local:(\d+)", on)
        if match is None or not 1 <= int(match[1]) <= _MOST_LOCAL_NODES:
            raise UsageError(f"--on {on} is no cluster: write ray, or ray-local:N, N being 1 to {_MOST_LOCAL_NODES}.")
        if address is not None:
            raise UsageError(f"--address {address} and --on {on} exclude each other: those nodes are started here.")
        if slot is Slot.GPU and int(match[1]) > 1:
            raise UsageError(
                f"--on {on} and --slot gpu exclude each other: those nodes would share this machine's GPUs. Write "
                f"ray-local:1, which has a slot for each."
            )
        return cls(local_nodes=int(match[1]), slot=slot)

    def planned(self, prepared: PreparedSuite) -> PreparedSuite:
        """A suite planned for the devices of the nodes: the driver may have others, or none. Software is the driver's.

        Raises:
            UsageError: the cluster cannot be joined, or the suite or the nodes have nothing for slots of a GPU each.
        """
        devices = set(prepared.suite.values("devices"))
        if self.slot is Slot.GPU:
            self._check_slots(devices)
        if devices == {"cpu"} or (self.local_nodes and self.slot is Slot.MACHINE):
            return prepared
        here = read_capabilities(prepared.machine)
        if self.local_nodes:
            gpus = [("this machine", len(prepared.machine.gpus))]
            if problem := here.device_problem("gpu:0"):
                raise UsageError(f"--slot gpu needs GPUs ({problem}): leave it out.")
        else:
            with RayNodes(self.address, {}) as nodes:
                gpus = nodes.gpus_by_host()
        if self.slot is Slot.GPU and not any(number for _, number in gpus):
            raise UsageError(
                f"--slot gpu needs GPUs, and there is none on {_named([host for host, _ in gpus])}, as Ray counts "
                f"them: add a node that has some (`ray start --num-gpus N`, where Ray does not see them by itself), or "
                f"leave --slot gpu out."
            )

        def device_problem(device: str) -> str | None:
            return None if device == "cpu" else self._gpu_problem(device, gpus)

        return replace(prepared, host=replace(here, device_problem=device_problem))

    def _check_slots(self, devices: Collection[str]) -> None:
        """Refuse what has no meaning with a slot for each GPU."""
        if "cpu" in devices:
            raise UsageError(
                "--slot gpu is for runs on GPUs, and the suite has runs on cpu, which share a machine with nothing: "
                "--set devices=gpu:0 leaves them out; without --slot gpu each machine does one run at a time."
            )
        hidden = os.environ.get(VISIBLE)
        if hidden is not None and self.local_nodes:
            raise UsageError(
                f"{VISIBLE} ({hidden!r}) and --slot gpu exclude each other: the slots decide which GPU a run sees. "
                f"Unset it."
            )
        os.environ.pop(VISIBLE, None)  # what a batch system shows the driver is no setting of the nodes' runs

    def _gpu_problem(self, device: str, gpus: Sequence[tuple[str, int]]) -> str | None:
        """Why no node can run on a GPU of this number; None where one can.

        Args:
            device: `gpu:0`, …
            gpus: the number of GPUs of each node, by the host's name.
        """
        number = int(device.removeprefix("gpu:"))
        if self.slot is Slot.GPU:
            return f"{device}: with --slot gpu a run sees a single GPU, which is gpu:0" if number else None
        host, most = max(gpus, key=lambda each: each[1], default=("", 0))
        if number < most:
            return None
        if most == 0:
            return f"{device}: no node of the cluster has a GPU ({_named([host for host, _ in gpus])})"
        return f"{device}: no node of the cluster has more GPUs than {most} ({host})"

    @contextlib.contextmanager
    def joined(self) -> Iterator[str]:
        """The address to connect to; nodes that were started here end with this context."""
        if self.local_nodes:
            gpus = len(read_machine().gpus) if self.slot is Slot.GPU else None
            with local_cluster(self.local_nodes, gpus) as address:
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
        slot = self.cluster.slot
        with self.cluster.joined() as address, RayNodes(address, sent, self.provision, slot=slot) as nodes:
            for host, gpus in nodes.gpus_by_host():
                if slot is Slot.GPU and not gpus:
                    self.reporter.note(f"{host} has no GPU, as Ray counts them, and measures nothing: {NO_SLOT}")
            return CampaignDriver(
                plan, settings, session, node_settings, nodes, self.reporter, shared=self.cluster.local_nodes > 1
            ).run()


def _named(hosts: Sequence[str]) -> str:
    """Names of hosts for a sentence, each once, of many the first."""
    names = list(dict.fromkeys(hosts))
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more]) or "no node at all"
