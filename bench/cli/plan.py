"""`bench plan`: what would run, in which order, how long it takes, and what is left out and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.layout import paragraph
from bench.cli.options import DataFormat, DataFormatOption, OrderOption, SetOption, SuiteArgument
from bench.core.errors import ExitCode
from bench.report.values import count, duration

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

    show_plan(prepare(suite, overrides, order_seed).plan(), as_json=fmt is DataFormat.JSON, every=every)


def show_plan(plan: Plan, *, as_json: bool, every: bool) -> None:
    """Print a plan; leaves with the code 3 when nothing of it can run here."""
    from bench.plan.estimate import estimate_all

    seconds = estimate_all([scheduled.case for scheduled in plan.scheduled])
    if as_json:
        head = {"suite": plan.suite, "hash": plan.hash, "order_seed": plan.order_seed, "estimate_seconds": seconds}
        typer.echo(json.dumps({**head, **plan.to_data()}, indent=1))
    else:
        _print(plan, seconds, None if every else _SHOWN)
    if not plan.scheduled:
        raise typer.Exit(ExitCode.NO_VERDICT)


def _print(plan: Plan, seconds: float, shown: int | None) -> None:
    from bench.plan.prepare import excluded_by_reason

    configurations = len({scheduled.case.configuration for scheduled in plan.scheduled})
    paragraph(
        f"{plan.suite}: {count(configurations, 'configuration')}, {count(plan.blocks, 'block')}, "
        f"{count(len(plan.scheduled), 'run')}; about {duration(seconds)} on a machine of 2 cores"
    )
    typer.echo(f"order inside the blocks drawn from {plan.order_seed}")
    labels = [scheduled.case.label(plan.varying) for scheduled in plan.scheduled[:shown]]
    wide = max(map(len, labels), default=0)
    for scheduled, label in zip(plan.scheduled, labels, strict=False):
        if scheduled.position == 0 or plan.scheduled[scheduled.position - 1].block != scheduled.block:
            typer.secho(f"block {scheduled.block + 1}", bold=True)
        typer.echo(f"  {scheduled.position + 1:4d}  {label:{wide}}  " + typer.style(scheduled.case.id, dim=True))
    if len(plan.scheduled) > len(labels):
        typer.echo(f"  … and {len(plan.scheduled) - len(labels):,} more (--all lists them)")
    typer.secho("left out" if plan.excluded else "nothing is left out", bold=bool(plan.excluded))
    for reason, names in excluded_by_reason(plan):
        paragraph(reason, indent="  ")
        paragraph(names, indent="    ", dim=True)
