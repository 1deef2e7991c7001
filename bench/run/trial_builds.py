"""Builds what users' factories make before anything is measured, so that their mistakes are no failed runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bench.catalog import cells, networks
from bench.core.case import Case, Status
from bench.core.errors import UsageError
from bench.core.protocol import Request
from bench.run.lock import machine_lock
from bench.run.pool import Workers
from bench.store.files import make_folder, refused

_WITHOUT_EFFECT: dict[str, Any] = {
    f.name: f.default
    for f in fields(Case)
    if f.name
    in ("seed", "repeat", "epochs", "train_samples", "batch_size", "learning_rate", "decay", "latency_calls", "threads")
}
"""The fields of a case that building its network does not hang on, with their defaults."""
_SHOWN = 12


def check_users_factories(
    cases: Iterable[Case],
    workers: Workers,
    *,
    data: Mapping[str, Path | None],
    logs: Path,
    note: Callable[[str], None],
    lock: Path | None = None,
) -> None:
    """Build the network of each configuration that a factory of the user's takes part in, in a process each.

    What is wrong with the machine or the backend, and not with the factory, is left to the runs.

    Args:
        cases: of the plan.
        workers: those that will do the runs, so that the backend is imported once.
        data: the verified data file of each task.
        logs: the folder that the logs of what can't be built are kept in.
        note: called with a sentence while another process holds the machine's lock.
        lock: the file of that lock; None takes the one that all users of the machine share.

    Raises:
        UsageError: a network can't be built, with the reason of each.
    """
    distinct = dict.fromkeys(replace(case, **_WITHOUT_EFFECT) for case in cases if _is_users(case))
    if not distinct:
        return
    problems: dict[str, None] = {}
    with refused(logs):
        make_folder(logs)
    with machine_lock(note, lock):
        for case in distinct:
            workers.prepare(case)
            log = (logs / f"build-{case.id}.log").absolute()
            log.unlink(missing_ok=True)
            outcome = workers.run(Request(case=case, data=data[case.task], log=log, build_only=True))
            # a process that was killed has reported no time, and one whose server did not start neither
            if outcome.status is Status.FAILED and outcome.error and outcome.cpu_seconds is not None:
                named = any(name in outcome.error for name in (case.cell, case.network))
                problems[outcome.error if named else f"the cell {case.cell!r}: {outcome.error}"] = None
            else:
                log.unlink(missing_ok=True)
    if problems:
        lines = [f"{problem.rstrip('.')}." for problem in list(problems)[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"And {len(problems) - _SHOWN} more.")
        head = f"nothing was measured, because a network cannot be built (logs: {logs}):"
        raise UsageError("\n  ".join([head, *lines]))


def _is_users(case: Case) -> bool:
    return not cells.find(case.cell).built_in or bool(networks.find(case.network).factory)
