"""Measures the ceilings of a plan (`bench.store.ceilings`) in worker processes, and keeps them in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
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
from bench.store.ceilings import PEAK_SIZE, Ceilings, ProductShape
from bench.store.files import local_file, make_folder, refused

WORKER = "bench.worker.products"

_SILENCE_SECONDS = 300.0


def shapes(plan: Plan) -> dict[ProductShape, Case]:
    """What is to be measured for a plan, and a case of each; cells whose arithmetic is unknown have none."""
    by_shape: dict[ProductShape, Case] = {}
    for scheduled in plan.scheduled:
        case = scheduled.case.configuration
        shape = ProductShape.of(case, tasks.of(case))
        if shape is not None:
            by_shape.setdefault(shape, case)
    return by_shape


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
    """Measure the ceilings of a plan's shapes, and keep them; returns those that were measured now.

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
    known = ceilings.load([store], warn=report)
    measured = []
    with Workers(worker=worker, isolation=isolation, silence_seconds=_SILENCE_SECONDS, cpus=cpus) as workers:
        for shape, case in shapes(plan).items():
            key = (shape, machine.fingerprint, software[SoftwareKey.of(case)].fingerprint)
            if key in known and not again:
                continue
            log = local_file(store / "logs" / f"ceilings-{case.id}.log")
            with refused(log.parent):
                make_folder(log.parent)
            with machine_lock(report, lock):
                workers.prepare(case)
                outcome = workers.run(Request(case=case, data=Path(), log=log))
            seconds = {observation.phase: observation.seconds for observation in outcome.observations}
            peak, serial = seconds.get("peak"), seconds.get("serial")
            if outcome.status is not Status.OK or not peak or not serial:
                report(f"the ceilings of {_named(shape)} were not measured: {outcome.error}; the log is {log}")
                continue
            with contextlib.suppress(OSError):
                log.unlink(missing_ok=True)
            result = Ceilings(
                shape=shape,
                machine_fingerprint=key[1],
                software_fingerprint=key[2],
                measured_at=ceilings.now(),
                peak_flops_per_second=2 * PEAK_SIZE**3 / peak,
                serial_seconds=serial,
            )
            ceilings.save(store, result)
            measured.append(result)
            report(
                f"ceilings of {_named(shape)}: large product {result.peak_flops_per_second / 1e9:.3g} GFLOP/s, "
                f"serial chain {1000 * serial:.3g} ms a forward pass"
            )
    return measured


def _named(shape: ProductShape) -> str:
    threads = [f"{shape.threads} threads"] if shape.threads else []
    words = [shape.backend, shape.device, shape.dtype, f"{shape.gates} × {shape.units} units"]
    return " ".join([*words, f"batch {shape.batch_size}", *threads])
