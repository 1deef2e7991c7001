"""`bench duel A B`: two commits, environments or settings, interleaved until it is sure which is slower."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import LOCAL_RESULTS, CpusOption, DataDirOption, Format, FormatOption, ResultsOption, SetOption
from bench.cli.output import notify, put
from bench.core.errors import ExitCode, UsageError
from bench.core.margins import read_percentage
from bench.core.metric import Margins
from bench.core.protocol import TimedPhase

if TYPE_CHECKING:
    from bench.duel.procedure import Duel


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
    phase: Annotated[TimedPhase, typer.Option("--phase", help="What is timed: steps of training or prediction.")] = (
        TimedPhase.TRAIN
    ),
    budget: Annotated[
        float, typer.Option("--budget", metavar="MINUTES", help="The time that it may take, imports left out.")
    ] = 10.0,
    tolerance: Annotated[
        str, typer.Option("--tolerance", metavar="PERCENT", help="What still counts as the same: 1.5, or '1.5 %'.")
    ] = "1.5",
    floor: Annotated[
        str, typer.Option("--floor", metavar="PERCENT", help="What a difference must exceed to be one.")
    ] = "0.5",
    build: Annotated[
        bool,
        typer.Option("--build", help="Install each commit's package into an environment of its own, with uv."),
    ] = False,
    results: ResultsOption = LOCAL_RESULTS,
    data_dir: DataDirOption = None,
    cpus: CpusOption = None,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """Interleave two commits, environments or settings until it is sure which is slower, or that they are the same.

    Exit code: 0 the same or faster, 1 slower, 3 not sure within the budget, 4 a side failed.

    Examples:

      bench duel HEAD~1 HEAD --set cells=my_cells:my_cell

      bench duel --a "tensorflow==2.20.0" --b "tensorflow==2.21.0"

      bench duel --a kernel=generic --b kernel=unrolled --set cells=gru
    """
    from bench.analysis.verdict import exit_code
    from bench.cli.progress import DuelProgress
    from bench.duel import procedure, record
    from bench.host.hardware import parse_cpus
    from bench.report.duel import duel_document

    base, new = _given("A", a, a_option), _given("B", b, b_option)
    if budget <= 0 or not math.isfinite(budget):
        raise UsageError(f"--budget {budget:g} is no time: write minutes, as in --budget 10.")
    margins, processors = _margins(tolerance, floor), parse_cpus(cpus)
    with record.duel_folder(results) as folder:
        settings = procedure.DuelSettings(
            a=base,
            b=new,
            folder=folder,
            margins=margins,
            overrides=tuple(overrides or ()),
            build=build,
            phase=phase,
            budget_seconds=60 * budget,
            data_dir=data_dir,
            cpus=processors,
        )
        try:
            ended = procedure.run_duel(settings, DuelProgress(sys.stderr))
        except KeyboardInterrupt:
            notify("interrupted; an unfinished duel has no verdict, and nothing of it is kept.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        facts = record.to_data(ended.specification, ended.result)
        kept = _kept(ended, facts)
    put(fmt, lambda: duel_document(facts, marked=fmt is Format.MD), lambda: facts)
    if kept is not None:
        raise kept
    notify(f"every timed batch: {ended.folder / record.ROUNDS_FILE}")
    if code := exit_code([ended.result.analysis.verdict]):
        raise typer.Exit(code)


def _kept(ended: Duel, facts: Mapping[str, Any]) -> UsageError | None:
    """Keep the record of a duel; why that cannot be done does not come before the verdict, which took minutes."""
    from bench.duel import record

    try:
        record.keep(ended.folder, facts, ended.result.rounds)
    except UsageError as error:
        return error
    return None


def _margins(tolerance: str, floor: str) -> Margins:
    equivalence = read_percentage(tolerance, f"--tolerance {tolerance}", least=0.1)
    noise = read_percentage(floor, f"--floor {floor}")
    if not 0 <= noise <= equivalence < 1 or equivalence == 0:
        raise UsageError(
            f"--tolerance {tolerance} with --floor {floor} can't be used: the floor lies between 0 and the tolerance, "
            f"and the tolerance is above 0 % and below 100 %."
        )
    return Margins(tolerance=equivalence, floor=noise)


def _given(letter: str, argument: str | None, option: str | None) -> str:
    if (argument is None) == (option is None):
        raise UsageError(
            f"side {letter} is {'given twice' if argument else 'missing'}: write `bench duel A B`, or --a A --b B, "
            f"where each is a commit, requirements (keras==3.15.1) or settings (kernel=generic)."
        )
    return argument or option or ""
