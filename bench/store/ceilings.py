"""The roofline's measured ceilings of a machine, kept beside the runs.

Two for each shape of products: the speed of a large matrix product, and the time of the *serial chain*, the products of
a network's forward pass when nothing else is done: those with the state one after another, a recurrent layer's steps
after the layer before, and those with the inputs hoisted into one large product a layer. Both are measured on the
backend, device, dtype and threads of the runs.

The idea of a ceiling that a program's speed is set against is the roofline model's (Williams, Waterman and Patterson,
Communications of the ACM 52(4), 2009); a recurrent network's ceiling is its chain of dependent products.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bench.catalog import cells, networks
from bench.catalog.tasks import Task
from bench.core.case import Case, digest
from bench.store.files import publish
from bench.store.shapes import check_record, parsed

CEILINGS_VERSION = 1
"""The version of the files in a store's folder `bounds/`, under `bounds_version`."""
PEAK_SIZE = 2048
"""Rows and columns of the large product's factors."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ProductShape:
    """What ceilings hold for, beside the machine and its software."""

    backend: str
    device: str
    dtype: str
    threads: int
    gates: int
    """Products with [units, units] that the cell has at each step: 1 for SimpleRNN, 4 for LSTM."""
    units: int
    batch_size: int
    steps: int
    features: int
    layers: int = 2
    """Recurrent layers. A file written before it was recorded has two."""
    directions: int = 1
    """Chains of steps in each layer, which don't wait for each other. A file written before has one."""
    tf32: str = "default"
    """Whether products in float32 may be TF32. A file written before has the backend's own rule."""

    @classmethod
    def of(cls, case: Case, task: Task) -> Self | None:
        """The shape of a case's products; None where there is none.

        That is so for a cell or a network whose arithmetic is unknown, for a cell that doesn't multiply its state, and
        for a GRU that resets before the product, which has two that wait for each other at each step.

        Raises:
            UsageError: the case's cell or network is not known here.
        """
        cell, network = cells.find(case.cell), networks.of(case)
        gates = cell.gates
        if gates is None or not cell.state_gates or network.factory or not case.reset_after:
            return None
        return cls(
            backend=case.backend,
            device=case.device,
            dtype=case.dtype,
            threads=case.threads,
            tf32=case.tf32,
            gates=gates,
            units=case.units,
            batch_size=case.batch_size,
            steps=task.steps,
            features=task.features,
            layers=len(network.recurrent),
            directions=network.recurrent[0].directions,
        )

    @property
    def input_widths(self) -> tuple[int, ...]:
        """What each recurrent layer reads at a step: the task's features, then what the layer before gives."""
        return (self.features, *[self.directions * self.units] * (self.layers - 1))


CeilingsKey = tuple[ProductShape, str, str]
"""What ceilings hold for: the shape, the fingerprint of the machine, that of the software."""


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """Both ceilings of one shape on one machine, as they were measured once."""

    shape: ProductShape
    machine_fingerprint: str
    software_fingerprint: str
    measured_at: str
    """UTC, ISO 8601."""
    peak_flops_per_second: float
    """Speed of the large product: 2 operations a multiply-add, per second."""
    serial_seconds: float
    """Seconds of the serial chain of one batch's forward pass."""

    @property
    def key(self) -> CeilingsKey:
        """What they hold for."""
        return self.shape, self.machine_fingerprint, self.software_fingerprint

    def to_data(self) -> dict[str, Any]:
        """As it stands in a store: what the fields' defaults are goes unsaid, so that what was written before stays
        what it was."""
        content = asdict(self)
        for shape_field in fields(ProductShape):
            if content["shape"][shape_field.name] == shape_field.default:
                del content["shape"][shape_field.name]
        return {"bounds_version": CEILINGS_VERSION, **content}


def save(store: Path, ceilings: Ceilings) -> Path:
    """Keep ceilings in a store, whole or not at all; measured again, they are a file more.

    Raises:
        UsageError: the store cannot be written to.
    """
    text = json.dumps(ceilings.to_data(), indent=1, sort_keys=True)
    path = store / "bounds" / f"{digest(text)}.json"
    publish(path, lambda file: file.write(text.encode()))
    return path


def load(stores: Iterable[Path], *, warn: Callable[[str], None] = _log.warning) -> dict[CeilingsKey, Ceilings]:
    """The ceilings of stores, by `Ceilings.key`.

    Of several measurements of one key the best is taken: a ceiling is what was possible, and
    disturbances only lower it.

    Args:
        stores: folders of results; those without ceilings are as good as absent.
        warn: called with a sentence for each file that cannot be read; it is left out.
    """
    known: dict[CeilingsKey, Ceilings] = {}
    for path in (path for store in stores for path in sorted((store / "bounds").glob("[!.]*.json"))):
        try:
            content = parsed(path.read_bytes())
            if content.pop("bounds_version") > CEILINGS_VERSION:
                warn(f"{path} was written by a newer bench and is left out: upgrade bench to read it.")
                continue
            check_record(ProductShape, content["shape"])
            check_record(Ceilings, {name: value for name, value in content.items() if name != "shape"})
            measured = Ceilings(**{**content, "shape": ProductShape(**content["shape"])})
            if not (measured.peak_flops_per_second > 0 and measured.serial_seconds > 0):
                raise ValueError("a ceiling is above 0")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            warn(f"{path} holds no readable ceilings ({error}) and is left out.")
            continue
        known[measured.key] = _best([measured, known.get(measured.key, measured)])
    return known


def _best(measured: Sequence[Ceilings]) -> Ceilings:
    fastest = max(measured, key=lambda ceilings: ceilings.peak_flops_per_second)
    shortest = min(measured, key=lambda ceilings: ceilings.serial_seconds)
    return Ceilings(**{**vars(shortest), "peak_flops_per_second": fastest.peak_flops_per_second})


def now() -> str:
    """When ceilings are measured: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
