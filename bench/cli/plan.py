"""`bench plan`: what would run, in which order, how long it takes, and what is left out and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    LOCAL_RESULTS,
    AddressOption,
    DataFormat,
    DataFormatOption,
    Format,
    OnOption,
    OrderOption,
    ResultsOption,
    SetOption,
    SlotOption,
    SuiteArgument,
    check_cluster_options,
)
from bench.cli.output import put
from bench.cluster.slot import Slot
from bench.core.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan.prepare import PreparedSuite

_SHOWN = 40
"""Cases listed in a terminal before the rest is counted; --all lists every one."""


def plan(
    suite: SuiteArgument = "mnist_rows",
    overrides: SetOption = None,
    results: ResultsOption = LOCAL_RESULTS,
    order_seed: OrderOption = 0,
    fmt: DataFormatOption = DataFormat.TEXT,
    every: Annotated[bool, typer.Option("--all", help="List every case, however many.")] = False,
    card: Annotated[
        str | None,
        typer.Option("--for", metavar="GPU", help="Plan for a machine with this card, which is not here: h100."),
    ] = None,
    on: OnOption = None,
    address: AddressOption = None,
    slot: SlotOption = Slot.MACHINE,
) -> None:
    """What would run, in which order, how long it would take, and what is left out and why.

    Where the results folder has an unfinished campaign of the plan, also how much of it is done, and who measures it;
    with --on, which nodes of a cluster may measure, and which blocks each would do.
    """
    from bench.catalog import device_profiles
    from bench.plan.prepare import prepare

    check_cluster_options(on, address, {"--for": card}, slot)
    profile = None if card is None else device_profiles.find(card)
    prepared = prepare(suite, overrides, order_seed, profile=profile)
    if on is not None:
        from bench.cluster.engine import ClusterAddress

        prepared = ClusterAddress.parse(on, address, slot).planned(prepared)
    show_plan(prepared, results, fmt, every=every, on=on, address=address, slot=slot)


def show_plan(
    prepared: PreparedSuite,
    results: Path,
    fmt: Format | DataFormat,
    *,
    every: bool,
    on: str | None = None,
    address: str | None = None,
    slot: Slot = Slot.MACHINE,
    data_dir: Path | None = None,
) -> None:
    """Print a plan, and the campaign of it that is unfinished; leaves with the code 3 when nothing can run here."""
    from bench.plan.estimate import estimate_all
    from bench.report.plan import plan_document

    plan, missing = prepared.plan(), prepared.missing_data(data_dir)
    status, outlook, fingerprint = None, None, prepared.machine.fingerprint
    if on is not None:
        from bench.cluster.engine import CLUSTER_FINGERPRINT, ClusterAddress
        from bench.cluster.outlook import cluster_outlook

        fingerprint = CLUSTER_FINGERPRINT
        outlook = cluster_outlook(ClusterAddress.parse(on, address, slot), plan, prepared.machine)
    if (results / "campaigns").is_dir():
        from bench.run.status import unfinished_campaign

        status = unfinished_campaign(plan, fingerprint, results)
    seconds = estimate_all([scheduled.case for scheduled in plan.scheduled])
    head = {"suite": plan.suite, "hash": plan.hash, "order_seed": plan.order_seed, "estimate_seconds": seconds}
    if missing:
        head["missing_data"] = [asdict(data) for data in missing]
    if status is not None:
        head["unfinished"] = status.to_data()
    if outlook is not None:
        head["cluster"] = outlook.to_data()
    put(
        fmt,
        lambda: plan_document(plan, seconds, None if every else _SHOWN, status, outlook, missing),
        lambda: {**head, **plan.to_data()},
    )
    if not plan.scheduled:
        raise typer.Exit(ExitCode.NO_VERDICT)
