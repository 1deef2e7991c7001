"""`bench duel A B`: two commits, environments or settings take turns until it is sure which is slower."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.duel_text import (
    HEADINGS,
    Bout,
    Phase,
    Progress,
    described,
    headline,
    remarks_on,
    rows_of,
    to_data,
    to_markdown,
)
from bench.cli.layout import paragraph, say, table
from bench.cli.options import LOCAL_RESULTS, CpusOption, DataDirOption, Format, FormatOption, ResultsOption, SetOption
from bench.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.core.case import Case
    from bench.core.metrics import Margins
    from bench.duel.interleaved import Result
    from bench.duel.sides import Kind, Made

_SUITE = "quick"
_OWN_CELL = re.compile(r"\s*cells\s*=\s*[\w.]+:\w+\s*")
_STAND_IN = "cells=lstm"
"""In the plan, for a cell of the user's own."""
_USUAL = {"cells": "lstm", "seeds": "0", "epochs": "1", "threads": "1"}
"""What is duelled where nothing else is said: the notebook's LSTM on the digits that come with the program, each side
on one thread. Two threads on two cores wait for each other and for the neighbours, and spare a tenth of the time."""


def duel(
    a: Annotated[
        str | None, typer.Argument(metavar="A", help="The base: a commit, requirements, settings.", show_default=False)
    ] = None,
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="What is compared with it; `.` is the working tree.")
    ] = None,
    a_option: Annotated[str | None, typer.Option("--a", metavar="A", help="The same as the first argument.")] = None,
    b_option: Annotated[str | None, typer.Option("--b", metavar="B", help="The same as the second argument.")] = None,
    overrides: SetOption = None,
    phase: Annotated[Phase, typer.Option("--phase", help="What is timed: steps of training, or of prediction.")] = (
        Phase.TRAIN
    ),
    budget: Annotated[
        float, typer.Option("--budget", metavar="MINUTES", help="The time that it may take, imports left out.")
    ] = 10.0,
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="PERCENT", help="What still counts as the same.")
    ] = 1.5,
    floor: Annotated[
        float, typer.Option("--floor", metavar="PERCENT", help="What a difference must exceed to be one.")
    ] = 0.5,
    results: ResultsOption = LOCAL_RESULTS,
    data_dir: DataDirOption = None,
    cpus: CpusOption = None,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """Let two commits, environments or settings take turns until it is sure which is slower, or that they are the same.

    Exit code: 0 the same or faster, 1 slower, 3 not sure within the budget, 4 a side failed.

    Examples:

      bench duel HEAD~1 HEAD --set cells=my_cells:my_cell

      bench duel --a "tensorflow==2.20.0" --b "tensorflow==2.21.0"

      bench duel --a kernel=generic --b kernel=unrolled --set cells=gru
    """
    from bench.host.hardware import parse_cpus

    base, new = _given("A", a, a_option), _given("B", b, b_option)
    if budget <= 0 or not math.isfinite(budget):
        raise UsageError(f"--budget {budget:g} is no time: write minutes, as in --budget 10.")
    if not 0 <= floor <= tolerance < 100 or tolerance == 0:
        raise UsageError(
            f"--tolerance {tolerance:g} with --floor {floor:g} can't be used: the floor lies between 0 and the "
            f"tolerance, and the tolerance is above 0 %."
        )
    from bench.core.metrics import Margins

    execute(
        base,
        new,
        overrides=overrides or [],
        phase=phase,
        budget_seconds=60 * budget,
        margins=Margins(tolerance=tolerance / 100, floor=floor / 100),
        results=results,
        data_dir=data_dir,
        cpus=parse_cpus(cpus),
        fmt=fmt,
    )


def _given(letter: str, argument: str | None, option: str | None) -> str:
    if (argument is None) == (option is None):
        raise UsageError(
            f"side {letter} is {'given twice' if argument else 'missing'}: write `bench duel A B`, or --a A --b B, "
            f"where each is a commit, requirements (keras==3.15.1) or settings (kernel=generic)."
        )
    return argument or option or ""


def execute(
    base: str,
    new: str,
    *,
    overrides: list[str],
    phase: Phase,
    budget_seconds: float,
    margins: Margins,
    results: Path,
    data_dir: Path | None,
    cpus: tuple[int, ...],
    fmt: Format,
    worker: str | None = None,
    turns: int | None = None,
) -> None:
    """`bench duel` behind its options. `worker` and `turns` are for tests and scripts."""
    from bench.analysis.verdict import exit_code
    from bench.catalog import tasks
    from bench.catalog.cache import default_cache, obtain
    from bench.duel import interleaved as arena
    from bench.duel import sides
    from bench.host.hardware import read_machine
    from bench.host.noise import read_quiet, remarks
    from bench.run.lock import machine_lock
    from bench.run.session import terminated_as_interrupted

    kind = sides.common_kind(base, new)
    cases = _cases(base, new, kind, overrides)
    data = obtain(tasks.find(cases[0].task, "a duel"), data_dir=data_dir, report=say)
    machine = read_machine(cpus)
    folder = results / "duels" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    logs = _made_folder(folder / "logs")
    try:
        with terminated_as_interrupted(), tempfile.TemporaryDirectory(prefix="bench-duel-") as scratch:
            made = _made(base, new, kind, cases, Path(scratch), default_cache())
            fighters = tuple(
                arena.Side(
                    title=one.title,
                    case=case,
                    place=sides.steadied(one.place),
                    worker=worker or arena.WORKER,
                )
                for one, case in zip(made, cases, strict=True)
            )
            bout = Bout((fighters[0], fighters[1]), made, phase, margins, budget_seconds, machine)
            for remark in remarks(read_quiet(), machine):
                say(f"warning: {remark.text}: {remark.advice}")
            if reason := sides.unsteady_memory():
                say(f"warning: {reason}: a process's speed will depend on where its memory happens to lie")
            progress = Progress(sys.stderr, budget_seconds)
            with (
                machine_lock(say),
                arena.Arena(*bout.sides, data=data, folder=logs, phase=phase.value, cpus=cpus) as ring,
            ):
                say(f"{described(cases[0], phase)}: A is {made[0].title}, B is {made[1].title}")
                say("both sides import their backend (in no time of the budget)")
                ring.prepare()
                result = arena.duel_until_sure(
                    ring, progress, budget_seconds=budget_seconds, margins=margins, turns=turns or arena.TURNS
                )
    except KeyboardInterrupt:
        say("interrupted; an unfinished duel says nothing, and nothing of it is kept.")
        shutil.rmtree(folder, ignore_errors=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    shutil.rmtree(logs)
    record = to_data(bout, result)
    _keep(folder, record, result)
    _print(record, folder, fmt)
    code = exit_code([result.look.verdict])
    if code:
        raise typer.Exit(code)


def _cases(base: str, new: str, kind: Kind, overrides: list[str]) -> tuple[Case, Case]:
    """One case a side: the same but for the settings that are duelled."""
    from bench.duel import sides
    from bench.plan.prepare import excluded_by_reason, prepare

    found = []
    own_cell = None if kind is sides.Kind.SETTINGS else next(filter(_OWN_CELL.fullmatch, overrides), None)
    if own_cell:  # the sides have it, each its own; here it needn't be
        overrides = [_STAND_IN if one == own_cell else one for one in overrides]
    for letter, text in (("A", base), ("B", new)):
        own = sides.settings_of(text, letter) if kind is sides.Kind.SETTINGS else []
        keys = {one.partition("=")[0].strip() for one in [*overrides, *own]}
        usual = [f"{axis}={value}" for axis, value in _USUAL.items() if axis not in keys]
        twice = {one.partition("=")[0].strip() for one in overrides} & {one.partition("=")[0] for one in own}
        if twice:
            raise UsageError(f"{sorted(twice)[0]} is set both by --set and by side {letter}: leave one out.")
        plan = prepare(_SUITE, [*usual, *overrides, *own, "repeats=1"], 0).plan()
        if not plan.scheduled:
            reasons = "; ".join(f"{names}: {reason}" for reason, names in excluded_by_reason(plan))
            raise UsageError(f"side {letter} ({text}) cannot run here: {reasons}.")
        if len(plan.scheduled) > 1:
            several_cells = len({scheduled.case.cell for scheduled in plan.scheduled}) > 1
            axes = ", ".join([*(["cell"] if several_cells else []), *plan.varying]) or "seeds"
            raise UsageError(
                f"a duel is over one configuration, and {len(plan.scheduled)} were asked for: give one value for "
                f"{axes}."
            )
        case = plan.scheduled[0].case
        found.append(replace(case, cell=own_cell.partition("=")[2].strip()) if own_cell else case)
    a, b = found
    for case in found:
        if case.runtime != "keras":
            raise UsageError(f"a duel is fought in Keras, and runtimes={case.runtime} was asked for: leave it out.")
    if kind is sides.Kind.SETTINGS and a == b:
        raise UsageError(f"both sides are the same configuration ({base}): a duel needs two.")
    if a.batch_size != b.batch_size:
        raise UsageError(
            f"the sides have different batch sizes ({a.batch_size}, {b.batch_size}): a step must be as many samples on "
            f"both, or its time says nothing."
        )
    if a.task != b.task:
        raise UsageError(
            f"the sides work on different data ({a.task}, {b.task}): their times say nothing of each other."
        )
    return a, b


def _made(base: str, new: str, kind: Kind, cases: tuple[Case, Case], scratch: Path, cache: Path) -> tuple[Made, Made]:
    from bench.catalog.cells import BUILT_IN
    from bench.duel import sides

    made = []
    for letter, text, case in zip("ab", (base, new), cases, strict=True):
        own = scratch / letter
        own.mkdir()
        if kind is sides.Kind.COMMITS:
            made.append(sides.commit_side(text, own, case, case.cell in BUILT_IN))
        elif kind is sides.Kind.ENVIRONMENTS:
            made.append(sides.environment_side(text, case, cache, own, say))
        else:
            made.append(sides.Made(title=text))
    return made[0], made[1]


def _made_folder(folder: Path) -> Path:
    from bench.store.files import refused

    with refused(folder):
        folder.mkdir(parents=True)
    return folder


def _keep(folder: Path, record: Mapping[str, Any], result: Result) -> None:
    """Every slice, as parquet, and the record beside them."""
    import pandas as pd

    from bench.store.files import publish

    frame = pd.DataFrame([asdict(one) for one in result.slices])
    publish(folder / "slices.parquet", lambda file: frame.to_parquet(file, index=False))
    publish(folder / "duel.json", lambda file: file.write(json.dumps(record, indent=1).encode()))


def _print(record: dict[str, Any], folder: Path, fmt: Format) -> None:
    if fmt is Format.JSON:
        typer.echo(json.dumps(record, indent=1))
    elif fmt is Format.MD:
        typer.echo(to_markdown(record), nl=False)
    else:
        from bench.core.case import Case

        typer.secho(headline(record), bold=True)
        typer.echo(described(Case(**record["sides"]["a"]["case"]), Phase(record["phase"])))
        table(HEADINGS, rows_of(record), wrap=1, right=(2,), indent="  ")
        for remark in remarks_on(record):
            paragraph(remark)
    say(f"slices: {folder / 'slices.parquet'}")
