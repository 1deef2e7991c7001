"""What happens on a node: it is checked, and does one run at a time for the driver, as `bench run` does them there.

No Ray here: `bench.cluster.ray_nodes` makes an actor of `MeasuringNode`, one on each node.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bench.catalog import tasks, variables
from bench.cluster.admission import Fetch, Requirements, admit
from bench.core.case import Status
from bench.core.code import from_json
from bench.core.scratch import ScratchFolder
from bench.host.hardware import Machine
from bench.host.processes import machine_boot
from bench.host.software import Software, SoftwareKey, read_software
from bench.plan.plan import ScheduledCase
from bench.run.device_watch import DeviceWatcher
from bench.run.execution import RunConditions, execute, forking_backends
from bench.run.lock import lock_identity, machine_lock
from bench.run.pool import Workers
from bench.run.server import Isolation
from bench.store.campaign import Campaign
from bench.store.files import make_folder, refused
from bench.store.parts import Run, part_bytes

SHARED = "nodes of a cluster"
"""What a machine is shared by on which several nodes of a cluster measure."""


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """What the runs of a campaign share, wherever they are done: plain data, which travel."""

    campaign: Campaign
    requirements: Requirements
    silence_seconds: float
    worker: str
    isolation: Isolation | None = None


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What the driver knows about a node that was checked."""

    boot: str
    """The boot of its machine: several nodes with the same one share a machine."""
    lock: str
    """What identifies the lock by which its runs are kept apart from others on its machine."""
    machine: Machine
    refusals: tuple[str, ...] = ()
    """Why it may not measure; empty where it may."""
    notes: tuple[str, ...] = ()
    """Sentences that a person should read."""


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """A run that a node is to do."""

    scheduled: ScheduledCase
    attempt: int
    started_at: datetime
    """By the driver's clock, UTC: a node's may be wrong."""
    shared: bool
    """Whether other nodes of the cluster measure on the same machine."""


@dataclass(frozen=True, kw_only=True)
class NodeRun:
    """A run that a node has done."""

    run: Run
    part: bytes
    """The run's part of the store."""
    sha256: str
    """Digest of the part, as the node made it."""
    log: bytes
    """What the run's process wrote; empty where the run is well."""
    seconds: float
    """Wall time of the run."""
    notes: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        """Whether the part arrived as it was made."""
        return hashlib.sha256(self.part).hexdigest() == self.sha256


def _take_priority(report: Callable[[str], None]) -> None:
    """Give this process, and so its runs, the priority of Ray on this node: Ray lets its workers come behind all else.

    Args:
        report: called with a sentence where the system refuses.
    """
    niceness, of_ray = (os.getpriority(os.PRIO_PROCESS, process) for process in (0, os.getppid()))
    if niceness <= of_ray:
        return
    try:
        os.setpriority(os.PRIO_PROCESS, 0, of_ray)
    except OSError:
        report(
            f"its runs are at niceness {niceness}, behind all else that its machine does, and may be slower for it: "
            f"start Ray there with RAY_worker_niceness=0"
        )


class MeasuringNode:
    """A node, as far as it measures for a driver: the servers of its runs live as long as it does.

    Args:
        settings: what the campaign's runs share.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._data: Mapping[str, Path | None] = {}
        self._machine: Machine | None = None
        self._software: Mapping[SoftwareKey, Software] = {}
        self._workers: Workers | None = None

    def admit(self, fetch: Fetch) -> NodeFacts:
        """Check this node, and equip it with the user's code and data.

        Args:
            fetch: gets what the node's cache lacks from the driver.
        """
        notes: list[str] = []
        _take_priority(notes.append)
        admission = admit(self._settings.requirements, fetch, notes.append)
        self._data, self._machine = admission.data, admission.machine
        self._software = {
            key: read_software(key.backend, variables=variables.find(key.env))
            for key in self._settings.requirements.installation.software
        }
        return NodeFacts(
            boot=machine_boot(),
            lock=lock_identity(),
            machine=admission.machine,
            refusals=admission.refusals,
            notes=tuple(notes),
        )

    def measure(self, order: RunOrder) -> NodeRun:
        """Do a run, when no other bench is timing on this machine.

        Args:
            order: what to run.

        Raises:
            UsageError: the node's disk is full, or the lock of its machine cannot be used.
        """
        notes: list[str] = []
        conditions = self._conditions(order)
        if self._workers is None:
            self._workers = Workers(
                worker=self._settings.worker,
                isolation=self._settings.isolation,
                forking=forking_backends(conditions),
                silence_seconds=self._settings.silence_seconds,
                devices=DeviceWatcher(),
            )
        # the folder is the run's, since an idle node may be ended at any time, and leaves nothing
        with ScratchFolder("node") as folder:
            with refused(folder, "start Ray there with TMPDIR set to another folder"):
                make_folder(folder / "logs")
            with machine_lock(notes.append):
                self._workers.prepare(order.scheduled.case)
                execution = execute(
                    self._workers,
                    conditions,
                    order.scheduled,
                    order.attempt,
                    folder=folder,
                    started_at=order.started_at,
                    clock=time.monotonic,
                )
            run = self._attributed(execution.completed())
            part = part_bytes(run)
            log = b"" if run.status is Status.OK or not execution.log.exists() else execution.log.read_bytes()
        return NodeRun(
            run=run,
            part=part,
            sha256=hashlib.sha256(part).hexdigest(),
            log=log,
            seconds=execution.seconds,
            notes=tuple(notes),
        )

    def _attributed(self, run: Run) -> Run:
        """A run with the commit of its code as the driver has it: there is no checkout here. Other code is invalid."""
        requirements = self._settings.requirements
        if run.imported_files:
            run = replace(run, code_commit=requirements.commit)
        if requirements.code is not None and run.status is Status.OK:
            of_data = set(from_json(tasks.of(run.case).code_json))  # imported by the driver, when it prepared them
            imported = (module for module in from_json(run.metadata.code_json) if module not in of_data)
            if unexpected := requirements.code.unexpected(imported):
                run = replace(run, status=Status.INVALID, error="; ".join(unexpected))
        origin = requirements.origin
        return replace(run, committed_at=origin.committed_at, parent_commit=origin.parent) if origin else run

    def _conditions(self, order: RunOrder) -> RunConditions:
        assert self._machine is not None, "a node measures after it was checked"
        return RunConditions(
            campaign=self._settings.campaign,
            machine=replace(self._machine, shared_by=SHARED) if order.shared else self._machine,
            software=self._software,
            data=self._data,
        )
