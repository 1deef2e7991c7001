"""Measures the ceilings of a plan (`bench.store.ceilings`) in worker processes, and keeps them in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.catalog import tasks
from bench.core.case import Case, Status
from bench.core.protocol import Request
from bench.host.hardware import Machine
from bench.host.software import Software, SoftwareKey
from bench.plan.plan import Plan
from bench.run.lock import machine_lock
from bench.run.pool import Workers
from bench.run.server import Isolation
from bench.store import ceilings
from bench.store.ceilings import PEAK_SIZE, Ceilings, CeilingsKey, ProductShape
from bench.store.files import local_file, make_folder, refused

WORKER = "bench.worker.products"

SILENCE_SECONDS = 300.0
"""A measurement of ceilings that reports nothing for so long is killed."""


@dataclass(frozen=True)
class CeilingsFailure:
    """Ceilings that could not be measured."""

    shape: ProductShape
    error: str
    log: Path
    """What the process wrote."""

    def __str__(self) -> str:
        return f"the ceilings of {_named(self.shape)} were not measured: {self.error}"


def shapes(cases: Iterable[Case]) -> dict[ProductShape, Case]:
    """What is to be measured for some cases, and a configuration of each; cells of unknown arithmetic have none."""
    by_shape: dict[ProductShape, Case] = {}
    for case in dict.fromkeys(each.configuration for each in cases):
        shape = ProductShape.of(case, tasks.of(case))
        if shape is not None:
            by_shape.setdefault(shape, case)
    return by_shape


def missing_shapes(
    cases: Iterable[Case],
    known: Iterable[CeilingsKey],
    machine_fingerprint: str,
    software: Mapping[SoftwareKey, Software],
) -> dict[ProductShape, Case]:
    """The shapes of some cases that have no ceilings yet on a machine, and a configuration of each.

    Args:
        cases: what is to be run.
        known: the keys of the ceilings that a store has.
        machine_fingerprint: of the machine that would measure them.
        software: of all the cases.
    """
    measured = set(known)
    return {
        shape: case
        for shape, case in shapes(cases).items()
        if (shape, machine_fingerprint, software[SoftwareKey.of(case)].fingerprint) not in measured
    }


def measure_shapes(
    wanted: Mapping[ProductShape, Case],
    workers: Workers,
    *,
    machine: Machine,
    software: Mapping[SoftwareKey, Software],
    logs: Path,
    locked: Callable[[], AbstractContextManager[None]],
) -> Iterator[Ceilings | CeilingsFailure]:
    """Measure the ceilings of shapes, one after another.

    Args:
        wanted: the shapes, and a configuration of each.
        workers: those that measure ceilings.
        machine: the one they measure on.
        software: of all configurations, as a run would use it.
        logs: the folder for what the processes write; of those that were well nothing is kept.
        locked: holds the lock of what is measured on.

    Raises:
        UsageError: the folder cannot be written to, or the lock cannot be used.
    """
    for shape, case in wanted.items():
        log = local_file(logs / f"ceilings-{case.id}.log")
        with refused(log.parent):
            make_folder(log.parent)
        with locked():
            workers.prepare(case)
            outcome = workers.run(Request(case=case, data=Path(), log=log))
        seconds = {observation.phase: observation.seconds for observation in outcome.observations}
        peak, serial = seconds.get("peak"), seconds.get("serial")
        if outcome.status is not Status.OK or not peak or not serial:
            yield CeilingsFailure(shape, str(outcome.error), log)
            continue
        with contextlib.suppress(OSError):
            log.unlink(missing_ok=True)
        yield Ceilings(
            shape=shape,
            machine_fingerprint=machine.fingerprint,
            software_fingerprint=software[SoftwareKey.of(case)].fingerprint,
            measured_at=ceilings.now(),
            peak_flops_per_second=2 * PEAK_SIZE**3 / peak,
            serial_seconds=serial,
        )


def measure_ceilings(
    plan: Plan,
    store: Path,
    *,
    machine: Machine,
    software: Mapping[SoftwareKey, Software],
    again: bool,
    cpus: tuple[int, ...] = (),
    isolation: Isolation | None = None,
    report: Callable[[str], None],
    worker: str = WORKER,
    lock: Path | None = None,
) -> list[Ceilings]:
    """Measure the ceilings of a plan's shapes on this machine, and keep them; returns those that were measured now.

    Args:
        plan: whose configurations the ceilings are for.
        store: where they are kept.
        machine: this one, as the workers see it.
        software: of all cases of the plan, as a run would use it.
        again: measure those too that the store has already.
        cpus: processors to run on; empty: all that the harness has.
        isolation: how the workers' processes are started; None takes each device's default.
        report: called with a sentence for each that is measured, and for each that goes wrong.
        worker: the module that measures.
        lock: the file of the machine-wide lock; None takes the one that all users of the machine share.

    Raises:
        UsageError: the store cannot be written to.
    """
    known = () if again else ceilings.load([store], warn=report)
    wanted = missing_shapes((each.case for each in plan.scheduled), known, machine.fingerprint, software)
    measured = []
    with Workers(worker=worker, isolation=isolation, silence_seconds=SILENCE_SECONDS, cpus=cpus) as workers:
        for result in measure_shapes(
            wanted,
            workers,
            machine=machine,
            software=software,
            logs=store / "logs",
            locked=lambda: machine_lock(report, lock),
        ):
            if isinstance(result, CeilingsFailure):
                report(f"{result}; the log is {result.log}")
                continue
            ceilings.save(store, result)
            measured.append(result)
            report(ceilings_words(result))
    return measured


def ceilings_words(measured: Ceilings) -> str:
    """What was measured, in a line."""
    return (
        f"ceilings of {_named(measured.shape)}: large product {measured.peak_flops_per_second / 1e9:.3g} GFLOP/s, "
        f"serial chain {1000 * measured.serial_seconds:.3g} ms a forward pass"
    )


def _named(shape: ProductShape) -> str:
    threads = [f"{shape.threads} threads"] if shape.threads else []
    words = [shape.backend, shape.device, shape.dtype, f"{shape.gates} × {shape.units} units"]
    return " ".join([*words, f"batch {shape.batch_size}", *threads])
