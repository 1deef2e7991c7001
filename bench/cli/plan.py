"""`bench plan`: what would run, in which order, how long it takes, and what is left out and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import DataFormat, DataFormatOption, Format, OrderOption, SetOption, SuiteArgument
from bench.cli.output import put
from bench.core.errors import ExitCode

if TYPE_CHECKING:
    from bench.plan.plan import Plan

_SHOWN = 40
"""Cases listed in a terminal before the rest is counted; --all lists every one."""


def plan(
    suite: SuiteArgument = "mnist_rows",
    overrides: SetOption = None,
    order_seed: OrderOption = 0,
    fmt: DataFormatOption = DataFormat.TEXT,
    every: Annotated[bool, typer.Option("--all", help="List every case, however many.")] = False,
) -> None:
    """What would run, in which order, how long it would take, and what is left out and why."""
    from bench.plan.prepare import prepare

    show_plan(prepare(suite, overrides, order_seed).plan(), fmt, every=every)


def show_plan(plan: Plan, fmt: Format | DataFormat, *, every: bool) -> None:
    """Print a plan; leaves with the code 3 when nothing of it can run here."""
    from bench.plan.estimate import estimate_all
    from bench.report.plan import plan_document

    seconds = estimate_all([scheduled.case for scheduled in plan.scheduled])
    head = {"suite": plan.suite, "hash": plan.hash, "order_seed": plan.order_seed, "estimate_seconds": seconds}
    put(fmt, lambda: plan_document(plan, seconds, None if every else _SHOWN), lambda: {**head, **plan.to_data()})
    if not plan.scheduled:
        raise typer.Exit(ExitCode.NO_VERDICT)
