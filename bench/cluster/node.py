"""What happens on a node, or on one of its GPUs: it is checked, and does one run at a time, as `bench run` does there.

No Ray here: `bench.cluster.ray_nodes` makes an actor of `MeasuringNode`, one on each node.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bench.catalog import tasks, variables
from bench.cluster.admission import Fetch, Requirements, admit
from bench.core.case import Case, Status
from bench.core.code import from_json
from bench.core.scratch import ScratchFolder
from bench.host.cuda_devices import VISIBLE
from bench.host.hardware import Machine, with_card_alone
from bench.host.nvml import Gpu, open_gpu
from bench.host.processes import machine_boot
from bench.host.software import Software, SoftwareKey, read_software
from bench.host.state import with_neighbours
from bench.plan.plan import ScheduledCase
from bench.run import ceiling_runs
from bench.run.ceiling_runs import CeilingsFailure, measure_shapes, shapes
from bench.run.device_watch import DeviceWatcher
from bench.run.execution import RunConditions, execute, forking_backends
from bench.run.lock import lock_identity, machine_lock
from bench.run.neighbours import NeighbourWatch, other_cards
from bench.run.pool import Workers
from bench.run.server import HARNESS_ENVIRONMENT, Isolation, WorkerEnvironment
from bench.store.campaign import Campaign
from bench.store.ceilings import Ceilings
from bench.store.files import make_folder, refused
from bench.store.parts import Run, part_bytes

SHARED = "nodes of a cluster"
"""What a machine is shared by on which several nodes of a cluster measure, one at a time."""
SHARED_BY_CARDS = "runs on its other GPUs"
"""What a machine is shared by on which several of its GPUs measure at once."""


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """What the runs of a campaign share, wherever they are done: plain data, which travel."""

    campaign: Campaign
    requirements: Requirements
    silence_seconds: float
    worker: str
    isolation: Isolation | None = None
    ceilings_worker: str = ceiling_runs.WORKER
    """The module that measures ceilings."""


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What the driver knows about a node that was checked."""

    boot: str
    """The boot of its machine: several nodes with the same one share a machine."""
    lock: str
    """What identifies the lock by which its runs are kept apart from others on its machine."""
    machine: Machine
    card: str | None = None
    """The GPU that it measures on: its place in the machine, or what shows it; None for the whole machine."""
    refusals: tuple[str, ...] = ()
    """Why it may not measure; empty where it may."""
    notes: tuple[str, ...] = ()
    """Sentences that a person should read."""

    def machine_when(self, shared: bool) -> Machine:
        """The machine as its runs have it, where others measure on it as well, or none do."""
        by = SHARED if self.card is None else SHARED_BY_CARDS
        return replace(self.machine, shared_by=by) if shared else self.machine

    def excludes(self, facts: NodeFacts) -> bool:
        """Whether another node must wait while this one measures, since no lock would keep the two apart."""
        if self.boot != facts.boot or self.lock == facts.lock:
            return False
        return None in (self.card, facts.card) or self.card == facts.card


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
class CeilingsOrder:
    """Ceilings that a node is to measure."""

    configurations: tuple[Case, ...]
    """One of each shape."""
    shared: bool
    """Whether other nodes of the cluster measure on the same machine."""


@dataclass(frozen=True, kw_only=True)
class NodeCeilings:
    """Ceilings that a node has measured."""

    ceilings: tuple[Ceilings, ...]
    notes: tuple[str, ...] = ()


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
        self._facts: NodeFacts | None = None
        self._other_cards: Sequence[Gpu] = ()
        self._environment = HARNESS_ENVIRONMENT
        self._software: Mapping[SoftwareKey, Software] = {}
        self._workers: Workers | None = None

    def admit(self, fetch: Fetch, visible: str | None = None) -> NodeFacts:
        """Check this node, and equip it with the user's code and data.

        Args:
            fetch: gets what the node's cache lacks from the driver.
            visible: what names the GPU that its runs have to themselves, as in CUDA_VISIBLE_DEVICES; None where they
                have the whole machine.
        """
        notes: list[str] = []
        _take_priority(notes.append)
        admission = admit(self._settings.requirements, fetch, notes.append)
        self._data = admission.data
        self._software = {
            key: read_software(key.backend, variables=variables.find(key.env))
            for key in self._settings.requirements.installation.software
        }
        self._facts = NodeFacts(
            boot=machine_boot(),
            lock=lock_identity(),
            machine=admission.machine,
            refusals=admission.refusals,
            notes=tuple(notes),
        )
        if visible is not None:
            self._facts = self._on_card(self._facts, visible)
        return self._facts

    def _on_card(self, facts: NodeFacts, visible: str) -> NodeFacts:
        """Have runs see this card alone, as `gpu:0`. What shows it is no setting of theirs, so all cards' are alike."""
        card = open_gpu("gpu:0", {VISIBLE: visible})
        bus = card.facts().pci_bus if card else None
        self._other_cards = other_cards(len(facts.machine.gpus), bus)
        self._environment = WorkerEnvironment(variables={VISIBLE: visible})
        return replace(facts, card=bus or visible, machine=with_card_alone(facts.machine, visible))

    def measure(self, order: RunOrder) -> NodeRun:
        """Do a run, when no other bench is timing on this machine, or on this node's GPU.

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
                environment=self._environment,
            )
        # the folder is the run's, since an idle node may be ended at any time, and leaves nothing
        with ScratchFolder("node") as folder:
            with refused(folder, "start Ray there with TMPDIR set to another folder"):
                make_folder(folder / "logs")
            with machine_lock(notes.append, card=self._checked.card):
                self._workers.prepare(order.scheduled.case)
                with self._beside_others() as neighbours:
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
            if neighbours is not None:
                host_json = with_neighbours(run.host_json, neighbours.runs, neighbours.gpu_fraction)
                run = replace(run, host_json=host_json)
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

    def measure_ceilings(self, order: CeilingsOrder) -> NodeCeilings:
        """Measure ceilings, when no other bench is timing on this machine, or on this node's GPU.

        Args:
            order: which.

        Raises:
            UsageError: the node's disk is full, or the lock of its machine cannot be used.
        """
        notes: list[str] = []
        measured: list[Ceilings] = []
        with (
            ScratchFolder("node") as folder,
            Workers(
                worker=self._settings.ceilings_worker,
                isolation=self._settings.isolation,
                silence_seconds=ceiling_runs.SILENCE_SECONDS,
                environment=self._environment,
            ) as workers,
        ):
            for result in measure_shapes(
                shapes(order.configurations),
                workers,
                machine=self._checked.machine_when(order.shared),
                software=self._software,
                logs=folder,
                locked=lambda: machine_lock(notes.append, card=self._checked.card),
            ):
                if isinstance(result, CeilingsFailure):
                    notes.append(str(result))
                else:
                    measured.append(result)
        return NodeCeilings(ceilings=tuple(measured), notes=tuple(notes))

    def _beside_others(self) -> AbstractContextManager[NeighbourWatch | None]:
        return contextlib.nullcontext() if self._checked.card is None else NeighbourWatch(self._other_cards)

    @property
    def _checked(self) -> NodeFacts:
        assert self._facts is not None, "a node measures after it was checked"
        return self._facts

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
        return RunConditions(
            campaign=self._settings.campaign,
            machine=self._checked.machine_when(order.shared),
            software=self._software,
            data=self._data,
        )
