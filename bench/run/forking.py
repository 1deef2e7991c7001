"""Whether runs on a GPU may fork from a server that has imported the framework: tested there once, and kept.

A driver's state does not survive a fork, so a process may fork only as long as it has none: a server imports a
framework and initialises no device. Whether that holds for a framework's version and a driver is what the test shows.
Until it has, runs on a GPU are spawned (`bench.run.server.default_isolation`), at some seconds each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.catalog.cache import default_cache
from bench.catalog.matrix import probe_case
from bench.core.case import Case, Status
from bench.core.protocol import Request
from bench.core.scratch import ScratchFolder
from bench.host.hardware import Machine
from bench.host.software import Software
from bench.run.lock import machine_lock
from bench.run.pool import WORKER, RunOutcome, Workers
from bench.run.server import Isolation
from bench.store.files import make_folder, refused, replace_file

_VERSION = 1
_SILENCE_SECONDS = 120.0
_LOSS_TOLERANCE = 1e-3
"""The largest relative difference between the losses of equal runs: on a GPU sums are made in an order that varies."""


@dataclass(frozen=True, kw_only=True)
class ForkingResult:
    """What the test of forking showed."""

    works: bool
    reason: str
    """What was seen, in words."""
    tested_at: str


def try_forking(
    backend: str, device: str, data: Path | None, report: Callable[[str], None], *, worker: str = WORKER
) -> ForkingResult:
    """Do a short run spawned, then two forked from one server: these must end well, with the same kernel and loss.

    The second one shows whether the first has left a state in the server. The machine's lock is held meanwhile.

    Args:
        backend: Keras's.
        device: `gpu:0`.
        data: the data of `bench.catalog.matrix.PROBE_TASK`.
        report: called with a sentence while another process holds the lock.
        worker: the module that does a run.
    """
    case = probe_case(Case(cell="lstm", backend=backend, device=device, network="cudnn_ready"))

    def done(isolation: Isolation, runs: int) -> list[RunOutcome]:
        with Workers(worker=worker, isolation=isolation, silence_seconds=_SILENCE_SECONDS) as workers:
            workers.prepare(case)
            log = folder / f"{isolation}.log"
            return [workers.run(Request(case=case, data=data, log=log)) for _ in range(runs)]

    with machine_lock(report), ScratchFolder("forking") as folder:
        (spawned,) = done(Isolation.SPAWN, 1)
        problem = _problem(spawned, done(Isolation.FORK, 2) if spawned.status is Status.OK else [])
    return ForkingResult(
        works=problem is None,
        reason=problem or "two forked runs ended as a spawned one did, with the same kernel and loss",
        tested_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _problem(spawned: RunOutcome, forked: list[RunOutcome]) -> str | None:
    """What speaks against forking; None where nothing does."""
    if spawned.status is not Status.OK:
        return f"the spawned run failed: {spawned.error}"
    for outcome in forked:
        if outcome.isolation is not Isolation.FORK:  # silent, and tried again by spawn
            return "a forked run was silent, and was killed"
        if outcome.status is not Status.OK:
            return f"a forked run failed: {outcome.error}"
        kernels = outcome.metadata.attested_kernel, spawned.metadata.attested_kernel
        if kernels[0] != kernels[1]:
            return f"a forked run ran {kernels[0]}, and a spawned one {kernels[1]}"
        if not math.isclose(_loss(outcome), _loss(spawned), rel_tol=_LOSS_TOLERANCE):
            return f"a forked run's loss is {_loss(outcome):g}, and a spawned one's {_loss(spawned):g}"
    return None


def _loss(outcome: RunOutcome) -> float:
    losses = [observation.loss for observation in outcome.observations if observation.loss is not None]
    return losses[-1] if losses else math.nan


def keep(machine: Machine, software: Software, result: ForkingResult) -> None:
    """Keep the result for this machine and software, in the place of an earlier one.

    Raises:
        UsageError: the user's cache cannot be written to.
    """
    file = _file(machine, software)
    with refused(file.parent, "set BENCH_CACHE_DIR to another folder"):
        make_folder(file.parent)
        replace_file(file, json.dumps({"version": _VERSION, **asdict(result)}, indent=1).encode())


def works(machine: Machine, software: Software) -> bool:
    """Whether the test has shown that runs may fork on this machine's GPUs with this software."""
    try:
        content = json.loads(_file(machine, software).read_text(encoding="utf-8"))
        return content["version"] == _VERSION and content["works"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _file(machine: Machine, software: Software) -> Path:
    return default_cache() / "forking" / f"{machine.fingerprint}-{software.fingerprint}.json"
