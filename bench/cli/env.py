"""`bench env`: this machine, its versions, its fingerprints, and how quiet it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.layout import paragraph, say, section, table
from bench.cli.options import (
    LOCAL_RESULTS,
    CpusOption,
    DataFormat,
    DataFormatOption,
    ResultsOption,
    SetOption,
)
from bench.core.errors import NoVerdictError


def env(
    peak: Annotated[
        bool, typer.Option("--peak", help="Measure how fast it could be, for the configurations of --suite; keep it.")
    ] = False,
    suite: Annotated[str, typer.Option("--suite", help="With --peak: the suite whose shapes are measured.")] = "quick",
    overrides: SetOption = None,
    results: ResultsOption = LOCAL_RESULTS,
    cpus: CpusOption = None,
    fmt: DataFormatOption = DataFormat.TEXT,
) -> None:
    """This machine, its versions, both fingerprints, and how quiet it is, each remark with advice.

    Examples:

      bench env

      bench env --peak --suite peers
    """
    if peak:
        _measure_peak(suite, overrides, results, cpus, fmt)
        return
    from bench.host.hardware import read_machine
    from bench.host.noise import read_quiet, remarks
    from bench.host.software import installed_backends, read_software
    from bench.host.state import read_host

    machine, host, quiet = read_machine(), read_host(), read_quiet()
    backends = installed_backends()
    software = {name: read_software(name) for name, problem in backends.items() if problem is None}
    noted = remarks(quiet, machine)
    if fmt is DataFormat.JSON:
        content = {
            "machine": {"fingerprint": machine.fingerprint, **asdict(machine)},
            "software": {name: {"fingerprint": one.fingerprint, **asdict(one)} for name, one in software.items()},
            "host": asdict(host),
            "quiet": asdict(quiet),
            "remarks": [asdict(remark) for remark in noted],
        }
        typer.echo(json.dumps(content, indent=1))
        return
    section(f"machine {machine.fingerprint}", asdict(machine))
    for name, one in software.items():
        typer.echo()
        section(f"software for {name} {one.fingerprint}", asdict(one))
    for problem in filter(None, backends.values()):
        paragraph(problem, indent="  ", dim=True)
    typer.echo()
    section("host (recorded, never fingerprinted)", asdict(host))
    heavy = [f"{one.name} (pid {one.pid}) {one.cores:.2f} cores" for one in quiet.heavy]
    typer.echo()
    section("how quiet it is", {**asdict(quiet), "heavy": heavy})
    if not noted:
        paragraph("nothing disturbs a measurement here", indent="  ", fg="green")
    for remark in noted:
        paragraph(f"{remark.text}: {remark.advice}", indent="  ", fg="yellow")


def _measure_peak(suite: str, overrides: list[str] | None, results: Path, cpus: str | None, fmt: DataFormat) -> None:
    """Both ceilings (`bench.store.ceilings`) of a suite's configurations, measured anew and kept in the store."""
    from bench.host.hardware import parse_cpus
    from bench.host.software import read_software
    from bench.plan.prepare import prepare
    from bench.run.ceiling_runs import measure_ceilings

    pinned = parse_cpus(cpus)
    prepared = prepare(suite, overrides, 0, pinned)
    plan = prepared.plan()
    measured = measure_ceilings(
        plan,
        results,
        machine=prepared.machine,
        software={backend: read_software(backend) for backend in {one.case.backend for one in plan.scheduled}},
        again=True,
        cpus=pinned,
        report=say,
    )
    if not measured:
        raise NoVerdictError(f"no ceiling of the suite {suite} could be measured here; see `bench plan {suite}`.")
    if fmt is DataFormat.JSON:
        typer.echo(json.dumps([asdict(ceilings) for ceilings in measured], indent=1))
        return
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
    heads = ("backend", "device", "dtype", "threads", "gates × units", "batch", "GFLOP/s", "serial chain ms")
    table(heads, rows, wrap=0, right=(5, 6, 7))
