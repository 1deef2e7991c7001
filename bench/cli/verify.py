"""`bench verify`: one case of a store is run again, and its losses compared with those that are stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import DataDirOption
from bench.cli.output import notify, put_text
from bench.core.errors import ExitCode, NoVerdictError, UsageError
from bench.report.values import count
from bench.run.pool import WORKER
from bench.store.objects import store_path

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.case import Case

REFERENCE = Path("results/reference/mnist_rows")
"""What is verified if nothing is named."""
_NEEDED = (
    "status",
    "machine_fingerprint",
    "software_fingerprint",
    "data_digest",
    "epoch",
    "loss",
    "accuracy",
    "mae",
    "seconds",
)


def verify(
    store: Annotated[
        Path, typer.Argument(metavar="STORE", parser=store_path, help="The results to check.")
    ] = REFERENCE,
    case: Annotated[
        str | None,
        typer.Option("--case", metavar="CELL|ID", help="A cell, or the beginning of a case's or a run's id."),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Run one case of a store again here, and compare its losses with the stored ones.

    Without --case it is the one that took the shortest. On the machine and software that it was measured on, losses
    must agree to the last bit; on others, within the spread of the store's own seeds. Ends with 0 if all agree, 1 if
    not, 3 if the case can't be run here, 4 if the run failed.
    """
    verify_again(store, case, data_dir)


def verify_again(store: Path, wanted: str | None, data_dir: Path | None, *, worker: str = WORKER) -> None:
    """`bench verify` behind its options. `worker` is the module that does a run; tests name another."""
    from bench.analysis.verification import check
    from bench.catalog import variables
    from bench.core.case import Case
    from bench.host.hardware import read_machine
    from bench.host.software import read_software
    from bench.report.document import Column, Document, Table

    frame = _load(store)
    run = _choose(frame, wanted, store)
    stored = frame[frame["run_id"] == run]
    recorded = stored.iloc[0]
    case = Case.from_record(recorded.to_dict())
    machine, software = read_machine(), read_software(case.backend, variables=variables.find(case.env))
    same_machine = recorded["machine_fingerprint"] == machine.fingerprint
    same_software = recorded["software_fingerprint"] == software.fingerprint
    exact = bool(same_machine and same_software)
    notify(f"run {run}: {case.label()}, {case.task}, {count(case.epochs, 'epoch')}, kernel {case.kernel}")
    if exact:
        notify("the same machine and software: losses and accuracies must agree to the last bit")
    else:
        same = {"machine": same_machine, "software": same_software}
        differ = " and ".join(name for name, agrees in same.items() if not agrees)
        notify(f"another {differ}: losses and accuracies must lie within the spread of the store's own seeds")
    again = _run_again(case, data_dir, worker)
    _check_data(case, str(recorded["data_digest"]), str(again.iloc[0]["data_digest"]))
    seeds = frame[(frame["configuration_id"] == recorded["configuration_id"]) & (frame["status"] == "ok")]
    checks = check(stored, again, seeds, exact=exact)
    rows = tuple(
        (
            f"{result.phase} {result.epoch or ''}".strip(),
            result.metric,
            f"{result.stored:.8g}",
            "–" if result.again is None else f"{result.again:.8g}",
            "bit for bit" if result.within == 0 else f"{result.centre:.6g} ± {result.within:.2g}",
            "agrees" if result.ok else "DIFFERS",
        )
        for result in checks
    )
    columns = (
        *(Column("phase"), Column("figure"), Column("stored", left=False), Column("again", left=False)),
        *(Column("must be", wrap=True), Column("verdict")),
    )
    put_text(Document((Table(columns, rows),)))
    wrong = sum(not result.ok for result in checks)
    if not checks:
        raise NoVerdictError(f"the run {run} has no losses to compare.")
    nearness = "to the last bit" if exact else "within what must be"
    figures = count(len(checks), "figure")
    notify(f"{wrong} of {figures} do not agree {nearness}" if wrong else f"all {len(checks)} figures agree {nearness}")
    if wrong:
        raise typer.Exit(ExitCode.REGRESSION)


def _load(store: Path) -> pd.DataFrame:
    from dataclasses import fields

    from bench.core.case import Case
    from bench.store import load

    names = (*_NEEDED, "configuration_id", *(field.name for field in fields(Case)))
    return load([store], columns=names, phases=("train", "validate", "evaluate", "run"), warn=notify)


def _choose(frame: pd.DataFrame, wanted: str | None, store: Path) -> str:
    """The id of the run to make again: of those that match, the one that took the shortest."""
    runs = frame[(frame["phase"] == "run") & (frame["status"] == "ok")]
    if runs.empty:
        raise NoVerdictError(f"no run in {store} ended ok: there is nothing to verify.")
    if wanted is not None:
        cell = runs["cell"].astype(str) == wanted
        by_id = runs["case_id"].astype(str).str.startswith(wanted) | runs["run_id"].astype(str).str.startswith(wanted)
        cells = ", ".join(sorted(runs["cell"].astype(str).unique()))
        runs = runs[cell if cell.any() else by_id]
        if runs.empty:
            raise UsageError(f"no ok run in {store} matches --case {wanted}: give an id, or one of the cells {cells}.")
    return str(runs.sort_values(["seconds", "run_id"])["run_id"].iloc[0])


def _run_again(case: Case, data_dir: Path | None, worker: str) -> pd.DataFrame:
    """The observations of the case, run here now, in a store that is gone afterwards.

    Raises:
        NoVerdictError: it can't be run here.
        UsageError: the code that makes its cell, network or data isn't here.
        typer.Exit: the run failed, with its error reported.
    """
    from bench import catalog
    from bench.catalog import tasks
    from bench.catalog.cache import obtain
    from bench.catalog.support import refusal
    from bench.catalog.users_data import prepare_task
    from bench.cli.progress import CampaignProgress
    from bench.core.scratch import ScratchFolder
    from bench.host.capabilities import read_capabilities
    from bench.host.hardware import read_machine
    from bench.plan.plan import Plan, ScheduledCase
    from bench.run.execution import RunConditions
    from bench.run.runner import CampaignSettings, run_campaign
    from bench.run.session import campaign_of, software_of, terminated_as_interrupted
    from bench.store import load
    from bench.store.lease import Leases

    machine = read_machine()
    for catalogue, name in (("cells", case.cell), ("networks", case.network)):
        catalog.check(catalogue, name, "the store")
    if ":" in case.task:
        prepare_task(case.task, "the store", notify)
    if reason := refusal(case, read_capabilities(machine)):
        raise NoVerdictError(f"{case.label()} can't be run here: {reason}.")
    plan = Plan("verify", "", 0, _SILENCE_SECONDS, (ScheduledCase(case, 0, 0),), ())
    data = {case.task: obtain(tasks.of(case, "the store"), data_dir=data_dir, report=notify)}
    software = software_of(plan)
    with (
        ScratchFolder("verify") as folder,
        terminated_as_interrupted(),
        Leases(folder) as leases,
    ):
        settings = CampaignSettings(
            folder=folder,
            conditions=RunConditions(
                campaign=campaign_of(plan, machine.fingerprint, software),
                machine=machine,
                software=software,
                data=data,
            ),
            leases=leases,
            worker=worker,
        )
        with CampaignProgress(sys.stderr) as progress:
            run_campaign(plan, settings, progress)
        frame = load([folder], warn=notify)
    first = frame.iloc[0]
    if first["status"] != "ok":
        notify(f"the run ended {first['status']}: {first['error']}")
        raise typer.Exit(ExitCode.RUNS_FAILED)
    return frame


def _check_data(case: Case, stored: str, here: str) -> None:
    """Refuse to compare losses on different data, as those of a user's task are whose function has changed."""
    if stored != here:
        raise NoVerdictError(
            f"the data of {case.task} are others than those that the store was measured on (digest {here[:12]}, and "
            f"{stored[:12]} there): their losses can't be compared."
        )


_SILENCE_SECONDS = 600.0
"""How long the run may report nothing before it is taken for dead; suites have the same."""
