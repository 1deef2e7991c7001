"""This machine: hardware, software for each backend, its state, how quiet it is; and its measured ceilings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.host.hardware import Machine
from bench.host.noise import Quiet, Remark
from bench.host.software import Software
from bench.host.state import Host
from bench.report.document import Block, Column, Document, Facts, Paragraph, Table
from bench.report.values import known_facts
from bench.run.forking import ForkingResult
from bench.store.ceilings import Ceilings


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What runs on this machine would be recorded with."""

    machine: Machine
    software: Mapping[str, Software]
    """By backend that is installed."""
    problems: Sequence[str]
    """Why the other backends can't be used, a sentence each."""
    host: Host
    quiet: Quiet
    remarks: Sequence[Remark]
    """What disturbs a measurement here."""


def environment_document(surroundings: Surroundings) -> Document:
    """The facts that are known, and each remark with its advice."""
    return Document(tuple(_blocks(surroundings)))


def _blocks(surroundings: Surroundings) -> Iterator[Block]:
    machine, quiet = surroundings.machine, surroundings.quiet
    yield Facts(known_facts(asdict(machine)), f"machine {machine.fingerprint}")
    for backend, software in surroundings.software.items():
        yield Facts(known_facts(asdict(software)), f"software for {backend} {software.fingerprint}")
    yield from (Paragraph(problem, tone="soft", indent=1) for problem in surroundings.problems)
    yield Facts(known_facts(asdict(surroundings.host)), "host (recorded, never fingerprinted)")
    heavy = [f"{process.name} (pid {process.pid}) {process.cores:.2f} cores" for process in quiet.heavy]
    yield Facts(known_facts({**asdict(quiet), "heavy": heavy}), "how quiet it is")
    if not surroundings.remarks:
        yield Paragraph("nothing disturbs a measurement here", tone="good", indent=1)
    for remark in surroundings.remarks:
        yield Paragraph(f"{remark.text}: {remark.advice}", tone="warning", indent=1)


def environment_data(surroundings: Surroundings) -> dict[str, Any]:
    """The same JSON-able, in SI units."""
    return {
        "machine": {"fingerprint": surroundings.machine.fingerprint, **asdict(surroundings.machine)},
        "software": {
            backend: {"fingerprint": software.fingerprint, **asdict(software)}
            for backend, software in surroundings.software.items()
        },
        "host": asdict(surroundings.host),
        "quiet": asdict(surroundings.quiet),
        "remarks": [asdict(remark) for remark in surroundings.remarks],
    }


def forking_document(results: Mapping[str, ForkingResult]) -> Document:
    """A row for each backend: whether its runs may fork on the GPU, and what was seen.

    Args:
        results: by backend.
    """
    rows = tuple((name, "fork" if result.works else "spawn", result.reason) for name, result in results.items())
    columns = (Column("backend"), Column("runs on the GPU"), Column("what was seen", wrap=True))
    return Document((Table(columns, rows, empty="No backend is installed."),))


def ceilings_document(measured: Sequence[Ceilings]) -> Document:
    """A row for each shape of products: the speed of a large one, and the time of the serial chain."""
    words = ("backend", "device", "dtype", "threads", "gates × units")
    figures = ("batch", "GFLOP/s", "serial chain ms")
    rows = [
        (
            *(shape.backend, shape.device, shape.dtype, str(shape.threads or "default")),
            f"{shape.gates} × {shape.units}",
            str(shape.batch_size),
            f"{ceilings.peak_flops_per_second / 1e9:.4g}",
            f"{1000 * ceilings.serial_seconds:.3g}",
        )
        for ceilings, shape in ((ceilings, ceilings.shape) for ceilings in measured)
    ]
    columns = (*map(Column, words), *(Column(head, left=False) for head in figures))
    return Document((Table(columns, tuple(rows)),))
