"""How fast this machine could be: two measured bounds, kept beside the runs, and what share of them a figure reaches.

The *peak* is a large matrix product's speed. The *serial bound* is the time that the products of a network's forward
pass take when nothing else is done: those with the state one after another, 2·T of them in two layers, and those with
the inputs hoisted into one large product a layer. Both on the same backend, device, dtype and threads as the runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from bench.catalog import cells
from bench.catalog.tasks import Task
from bench.core.case import Case, digest
from bench.store.campaign import publish

BOUNDS_VERSION = 1
PEAK_SIZE = 2048
"""Rows and columns of the large product's factors."""
LAYERS = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a bound holds for, beside the machine and its software."""

    backend: str
    device: str
    dtype: str
    threads: int
    gates: int
    """How many products with [units, units] the cell has a step: 1 for SimpleRNN, 4 for LSTM."""
    units: int
    batch_size: int
    steps: int
    features: int

    @classmethod
    def of(cls, case: Case, task: Task) -> Self | None:
        """The shape of a case's products; None for a cell whose arithmetic is unknown."""
        gates = cells.find(case.cell).gates
        if gates is None:
            return None
        return cls(
            backend=case.backend,
            device=case.device,
            dtype=case.dtype,
            threads=case.threads,
            gates=gates,
            units=case.units,
            batch_size=case.batch_size,
            steps=task.steps,
            features=task.features,
        )


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The two bounds, as they were measured once."""

    shape: Shape
    machine_fingerprint: str
    software_fingerprint: str
    measured_at: str
    """UTC, ISO 8601."""
    peak_flops_per_second: float
    serial_seconds: float
    """Of one forward pass of a batch."""

    @property
    def key(self) -> tuple[Shape, str, str]:
        return self.shape, self.machine_fingerprint, self.software_fingerprint


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How near a configuration's training comes to what is possible. A share that no bound is known for is None."""

    flops_per_second: float
    """By formula: the operations of training over the time they took."""
    seconds_per_dependent_step: float
    """A training step's time over the 4·T products that wait for each other: T in each of two layers, and back."""
    peak_fraction: float | None
    serial_fraction: float | None
    """The time of the serial bound over the time that it took. A training step's bound is the forward pass's, times the
    operations of training over those of the forward pass."""


def limits(
    *,
    samples_per_second: float,
    forward_flops: float,
    training_flops: float,
    batch_size: int,
    steps: int,
    bound: Bound | None,
) -> Limits:
    """The arithmetic, of a training speed and of the operations for one sample."""
    achieved = samples_per_second * training_flops
    step_seconds = batch_size / samples_per_second
    possible = bound and bound.serial_seconds * training_flops / forward_flops
    return Limits(
        flops_per_second=achieved,
        seconds_per_dependent_step=step_seconds / (2 * LAYERS * steps),
        peak_fraction=achieved / bound.peak_flops_per_second if bound else None,
        serial_fraction=possible / step_seconds if possible else None,
    )


def save(store: Path, bound: Bound) -> Path:
    """Keep a bound in a store, whole or not at all; measured again, it is a file more.

    Raises:
        UsageError: the store cannot be written to.
    """
    text = json.dumps({"bounds_version": BOUNDS_VERSION, **asdict(bound)}, indent=1, sort_keys=True)
    path = store / "bounds" / f"{digest(text)}.json"
    publish(path, lambda file: file.write(text.encode()))
    return path


def load(stores: Iterable[Path], *, say: Callable[[str], None] = _log.warning) -> dict[tuple[Shape, str, str], Bound]:
    """The bounds of stores, by `Bound.key`. Of several measurements the best is taken: a bound is what was possible.

    `say` is told of each file that cannot be read; it is left out.
    """
    found: dict[tuple[Shape, str, str], Bound] = {}
    for path in (path for store in stores for path in sorted((store / "bounds").glob("[!.]*.json"))):
        try:
            content = json.loads(path.read_bytes())
            if content.pop("bounds_version") > BOUNDS_VERSION:
                say(f"{path} was written by a newer bench and is left out: upgrade bench to read it.")
                continue
            bound = Bound(**{**content, "shape": Shape(**content["shape"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            say(f"{path} is not a readable bound ({error}) and is left out.")
            continue
        found[bound.key] = _best([bound, found.get(bound.key, bound)])
    return found


def _best(bounds: Sequence[Bound]) -> Bound:
    fastest = max(bounds, key=lambda bound: bound.peak_flops_per_second)
    shortest = min(bounds, key=lambda bound: bound.serial_seconds)
    return Bound(**{**vars(shortest), "peak_flops_per_second": fastest.peak_flops_per_second})


def now() -> str:
    """When a bound is measured: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
