"""Measures a plan's bounds (`bench.store.ceilings`) in worker processes, and keeps them in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bench.catalog import tasks
from bench.core.case import Case, Status
from bench.core.protocol import Request
from bench.host.hardware import Machine
from bench.host.software import Software
from bench.plan.plan import Plan
from bench.run.lock import machine_lock
from bench.run.pool import Workers
from bench.run.server import Isolation
from bench.store import ceilings as bounds
from bench.store.ceilings import PEAK_SIZE, Bound, Shape

WORKER = "bench.worker.products"

_SILENCE_SECONDS = 300.0


def shapes(plan: Plan) -> dict[Shape, Case]:
    """What is to be measured for a plan, and a case of each; cells whose arithmetic is unknown have none."""
    found: dict[Shape, Case] = {}
    for planned in plan.planned:
        case = planned.case.configuration
        shape = Shape.of(case, tasks.find(case.task, "a case"))
        if shape is not None:
            found.setdefault(shape, case)
    return found


def measure_bounds(
    plan: Plan,
    store: Path,
    *,
    machine: Machine,
    software: Mapping[str, Software],
    again: bool,
    cpus: tuple[int, ...] = (),
    isolation: Isolation | None = None,
    say: Callable[[str], None],
    worker: str = WORKER,
    lock: Path | None = None,
) -> list[Bound]:
    """Measure the bounds of a plan's shapes, keep them, and give them.

    Args:
        plan: whose configurations the bounds are for.
        store: where they are kept.
        machine: this one, as the workers see it.
        software: by backend.
        again: measure those too that the store has already.
        cpus: processors to run on; empty: all that the harness has.
        isolation: how the workers' processes are started; None takes each device's default.
        say: told of each that is measured, and of each that goes wrong.
        worker: the module that measures.
        lock: the file of the machine-wide lock; None takes the one that all users of the machine share.

    Raises:
        UsageError: the store cannot be written to.
    """
    known = bounds.load([store], say=say)
    measured = []
    with Workers(worker=worker, isolation=isolation, silence_seconds=_SILENCE_SECONDS, cpus=cpus) as workers:
        for shape, case in shapes(plan).items():
            key = (shape, machine.fingerprint, software[case.backend].fingerprint)
            if key in known and not again:
                continue
            log = (store / "logs" / f"bounds-{case.id}.log").absolute()
            log.parent.mkdir(parents=True, exist_ok=True)
            with machine_lock(say, lock):
                workers.prepare(case)
                ended = workers.run(Request(case=case, data=Path(), log=log))
            seconds = {one.phase: one.seconds for one in ended.observations}
            peak, serial = seconds.get("peak"), seconds.get("serial")
            if ended.status is not Status.OK or not peak or not serial:
                say(f"the bounds of {_named(shape)} were not measured: {ended.error}; the log is {log}")
                continue
            log.unlink(missing_ok=True)
            bound = Bound(
                shape=shape,
                machine_fingerprint=key[1],
                software_fingerprint=key[2],
                measured_at=bounds.now(),
                peak_flops_per_second=2 * PEAK_SIZE**3 / peak,
                serial_seconds=serial,
            )
            bounds.save(store, bound)
            measured.append(bound)
            say(
                f"bounds of {_named(shape)}: large product {bound.peak_flops_per_second / 1e9:.3g} GFLOP/s, "
                f"serial {1000 * serial:.3g} ms a forward pass"
            )
    return measured


def _named(shape: Shape) -> str:
    own = [f"{shape.threads} threads"] if shape.threads else []
    words = [shape.backend, shape.device, shape.dtype, f"{shape.gates} × {shape.units} units"]
    return " ".join([*words, f"batch {shape.batch_size}", *own])
