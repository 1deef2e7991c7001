"""`bench env`: this machine, its versions, its fingerprints, and how quiet it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    LOCAL_RESULTS,
    CpusOption,
    DataFormat,
    DataFormatOption,
    ResultsOption,
    SetOption,
)
from bench.cli.output import notify, put
from bench.core.errors import NoVerdictError, UsageError


def env(
    peak: Annotated[
        bool, typer.Option("--peak", help="Measure how fast it could be, for the configurations of --suite; keep it.")
    ] = False,
    forking: Annotated[
        str | None,
        typer.Option("--forking", metavar="DEVICE", help="Test whether runs may fork on this GPU; keep the result."),
    ] = None,
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

      bench env --forking gpu:0
    """
    if forking is not None:
        _test_forking(forking, fmt)
        return
    if peak:
        _measure_peak(suite, overrides, results, cpus, fmt)
        return
    from bench.host.gpu_remarks import gpu_remarks
    from bench.host.hardware import read_machine
    from bench.host.noise import read_quiet, remarks
    from bench.host.software import installed_backends, read_software
    from bench.host.state import read_host
    from bench.report.environment import Surroundings, environment_data, environment_document

    machine, host, quiet, backends = read_machine(), read_host(), read_quiet(), installed_backends()
    surroundings = Surroundings(
        machine=machine,
        software={backend: read_software(backend) for backend, problem in backends.items() if problem is None},
        problems=[problem for problem in backends.values() if problem is not None],
        host=host,
        quiet=quiet,
        remarks=(*remarks(quiet, machine), *gpu_remarks([f"gpu:{number}" for number in range(len(machine.gpus))])),
    )
    put(fmt, lambda: environment_document(surroundings), lambda: environment_data(surroundings))


def _test_forking(device: str, fmt: DataFormat) -> None:
    """Whether runs of each installed backend may fork on a GPU (`bench.run.forking`); kept in the user's cache."""
    from bench.catalog import devices, tasks
    from bench.catalog.cache import obtain
    from bench.catalog.matrix import PROBE_TASK
    from bench.host.capabilities import read_capabilities
    from bench.host.hardware import read_machine
    from bench.host.software import read_software
    from bench.report.environment import forking_document
    from bench.run.forking import keep, try_forking

    machine = read_machine()
    host = read_capabilities(machine)
    if devices.find(device, "--forking") == "cpu":
        raise UsageError("--forking cpu: on a CPU runs fork already; name a GPU, as in --forking gpu:0.")
    if problem := host.device_problem(device):
        raise NoVerdictError(problem)
    data = obtain(tasks.find(PROBE_TASK, "the test of forking"), data_dir=None, report=notify)
    results = {}
    for backend in (name for name, missing in host.backends.items() if missing is None):
        results[backend] = try_forking(backend, device, data, notify)
        keep(machine, read_software(backend), results[backend])
    put(fmt, lambda: forking_document(results), lambda: {name: asdict(result) for name, result in results.items()})


def _measure_peak(suite: str, overrides: list[str] | None, results: Path, cpus: str | None, fmt: DataFormat) -> None:
    """Both ceilings (`bench.store.ceilings`) of a suite's configurations, measured anew and kept in the store."""
    from bench.host.hardware import parse_cpus
    from bench.plan.prepare import prepare
    from bench.report.environment import ceilings_document
    from bench.run.ceiling_runs import measure_ceilings
    from bench.run.session import software_of

    pinned = parse_cpus(cpus)
    prepared = prepare(suite, overrides, 0, pinned)
    plan = prepared.plan()
    measured = measure_ceilings(
        plan,
        results,
        machine=prepared.machine,
        software=software_of(plan),
        again=True,
        cpus=pinned,
        report=notify,
    )
    if not measured:
        raise NoVerdictError(f"no ceiling of the suite {suite} could be measured here; see `bench plan {suite}`.")
    put(fmt, lambda: ceilings_document(measured), lambda: [asdict(ceilings) for ceilings in measured])
