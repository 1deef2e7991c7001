"""Computes a batch with given weights by each of several kernels, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.case import Case, Status
from bench.core.protocol import Request
from bench.core.scratch import ScratchFolder
from bench.run.lock import machine_lock
from bench.run.pool import Workers

WORKER = "bench.worker.step_numbers"
"""The module whose `measure` computes the batch."""
RESULT = "numbers.npz"
"""The file that it writes beside the log."""
_SILENCE_SECONDS = 600.0
"""Compiling an unrolled layer, or a training step with torch.compile, takes a minute or two."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """What every kernel computes: inputs, targets, and the weights in the order in which Keras has them."""

    x: Array
    y: Array
    weights: Sequence[Array]


@dataclass(frozen=True, kw_only=True)
class NumbersRun:
    """What a kernel computed."""

    case: Case
    attested: str | None
    """The kernel that the executed programs showed."""
    error: str | None
    """Why there are no numbers; None where there are."""
    settings_json: str | None
    outputs: Array | None
    gradients: tuple[Array, ...] | None
    """None of a runtime that only infers, and where there are no numbers."""


def compute_numbers(
    given: Iterable[tuple[Case, Batch]], report: Callable[[str], None], *, worker: str = WORKER
) -> Iterator[NumbersRun]:
    """Let each case's kernel compute its batch, and yield what came of it as soon as it is there.

    The machine's lock is held meanwhile.

    Args:
        given: the cases, and what each computes.
        report: called with a sentence while another process holds the lock.
        worker: the module that computes it.
    """
    with (
        machine_lock(report),
        ScratchFolder("numbers") as scratch,
        Workers(worker=worker, silence_seconds=_SILENCE_SECONDS) as workers,
    ):
        for number, (case, batch) in enumerate(given):
            folder = scratch / str(number)
            folder.mkdir()
            data = folder / "batch.npz"
            named: dict[str, Any] = {f"weight {place:03}": weight for place, weight in enumerate(batch.weights)}
            np.savez(data, x=batch.x, y=batch.y, **named)
            outcome = workers.run(Request(case=case, data=data, log=folder / "log"))
            outputs, gradients = None, None
            if outcome.status is Status.OK:
                outputs, gradients = _read(folder / RESULT)
            yield NumbersRun(
                case=case,
                attested=outcome.metadata.attested_kernel,
                error=None if outputs is not None else outcome.error or "it ended without an error message",
                settings_json=outcome.metadata.extra_json,
                outputs=outputs,
                gradients=gradients,
            )


def _read(path: Path) -> tuple[Array, tuple[Array, ...] | None]:
    with np.load(path, allow_pickle=False) as written:
        gradients = tuple(written[name] for name in sorted(written.files) if name != "outputs")
        return written["outputs"], gradients or None
