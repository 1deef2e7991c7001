"""`bench duel`: commits, environments, settings or configurations, interleaved until it is sure which is slower."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import LOCAL_RESULTS, CpusOption, DataDirOption, Format, FormatOption, ResultsOption, SetOption
from bench.cli.output import notify, put
from bench.cli.time_margins import FloorOption, ToleranceOption, time_margins
from bench.core.errors import ExitCode, UsageError
from bench.core.margins import read_percentage
from bench.core.protocol import TimedPhase

if TYPE_CHECKING:
    from bench.duel.procedure import Duel


_BETWEEN_SIDES = re.compile(r",(?![^\[]*\])(?!\s*[<>=!~])")
"""A comma that is no part of a requirement, as those in `keras[extra,more]>=3.7,<3.9` are."""


def duel(
    a: Annotated[
        str | None, typer.Argument(metavar="A", help="The base: a commit, requirements, settings.", show_default=False)
    ] = None,
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="What is compared with it; `.` is the working tree.")
    ] = None,
    a_option: Annotated[str | None, typer.Option("--a", metavar="A", help="The same as the first argument.")] = None,
    b_option: Annotated[str | None, typer.Option("--b", metavar="B", help="The same as the second argument.")] = None,
    several: Annotated[
        list[str] | None,
        typer.Option("--sides", metavar="B,C,…", help="More than one B, with commas between them; needs --base."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="A", help="What each of --sides is compared with.")
    ] = None,
    overrides: SetOption = None,
    phase: Annotated[TimedPhase, typer.Option("--phase", help="What is timed: steps, or single calls (p50, p95).")] = (
        TimedPhase.TRAIN
    ),
    budget: Annotated[float, typer.Option("--budget", metavar="MINUTES", help="The time that it may take.")] = 10.0,
    precision: Annotated[
        str | None,
        typer.Option("--precision", metavar="PERCENT", help="Go on until each ratio is known to so much: 1, or '1 %'."),
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="The ratio of each two sides, and not of each to the base alone.")
    ] = False,
    tolerance: ToleranceOption = None,
    floor: FloorOption = None,
    build: Annotated[
        bool,
        typer.Option("--build", help="Install each commit's package into an environment of its own, with uv."),
    ] = False,
    results: ResultsOption = LOCAL_RESULTS,
    data_dir: DataDirOption = None,
    cpus: CpusOption = None,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """Interleave commits, environments, settings or configurations until it is sure which is slower, or that none is.

    Without A and B, the configurations of --set are compared with the first of them. With A and B, these are compared
    within each configuration, with one exit code for all.

    Exit code: 0 the same or faster, 1 slower, 3 not sure within the budget, 4 a side failed. Where configurations are
    compared, none is a regression: 0 as soon as every ratio is settled.

    Examples:

      bench duel HEAD~1 HEAD --set cells=my_cells:my_cell

      bench duel main HEAD --set cells=lstm,gru,my_cells:my_cell

      bench duel --set cells=simple_rnn,lstm,gru --precision 1%

      bench duel --a "tensorflow==2.20.0" --b "tensorflow==2.21.0"

      bench duel --sides keras==3.3.3,keras==3.7.0,keras==3.12.0 --base keras==3.15.1 --set backends=torch

      bench duel main HEAD --set cells=my_cells:my_cell --phase compiled-calls

      bench duel --a kernel=generic --b kernel=unrolled --set cells=gru
    """
    from bench.cli.progress import DuelProgress
    from bench.duel import procedure, record
    from bench.host.hardware import parse_cpus
    from bench.plan.gate import find_gate
    from bench.report.duel import duel_document

    names = _names((a, a_option), (b, b_option), several or [], base)
    if budget <= 0 or not math.isfinite(budget):
        raise UsageError(f"--budget {budget:g} is no time: write minutes, as in --budget 10.")
    margins, processors = time_margins(tolerance, floor, find_gate(None), phase), parse_cpus(cpus)
    with record.duel_folder(results) as folder:
        settings = procedure.DuelSettings(
            names=names,
            folder=folder,
            margins=margins,
            overrides=tuple(overrides or ()),
            all_pairs=all_pairs,
            precision=None if precision is None else _precision(precision),
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
    if code := _exit_code(ended):
        raise typer.Exit(code)


def _exit_code(ended: Duel) -> ExitCode:
    from bench.analysis.verdict import exit_code
    from bench.duel.sequential import StopReason

    if ended.specification.is_regression_test:
        return exit_code([analysis.verdict for analysis in ended.result.analyses.values()])
    return ExitCode.NO_VERDICT if ended.result.stop is StopReason.TIME else ExitCode.OK


def _kept(ended: Duel, facts: Mapping[str, Any]) -> UsageError | None:
    """Keep the record of a duel; why that cannot be done does not come before the verdict, which took minutes."""
    from bench.duel import record

    try:
        record.keep(ended.folder, facts, ended.result.rounds)
    except UsageError as error:
        return error
    return None


def _precision(text: str) -> float:
    precision = read_percentage(text, f"--precision {text}", least=0.1)
    if not 0 < precision < 1:
        raise UsageError(f"--precision {text} can't be used: it is above 0 % and below 100 %, as in --precision 1%.")
    return precision


def _names(
    a: tuple[str | None, str | None], b: tuple[str | None, str | None], several: Sequence[str], base: str | None
) -> tuple[str, ...]:
    """The base and what is compared with it, as arguments or as options; none where configurations are compared."""
    for letter, given in (("A", a), ("B", b)):
        if None not in given:
            raise UsageError(f"side {letter} is given twice: write `bench duel A B`, or --a A --b B.")
    first, second = (argument if argument is not None else option for argument, option in (a, b))
    if several or base is not None:
        return _several_names((first, second), several, base)
    if first is None and second is None:
        return ()
    if first is None or second is None:
        raise UsageError(
            f"side {'A' if first is None else 'B'} is missing: write `bench duel A B`, or --a A --b B, where each is a "
            f"commit, requirements (keras==3.15.1) or settings (kernel=generic); or neither, to compare "
            f"configurations, as in --set cells=lstm,gru."
        )
    return first, second


def _several_names(pair: tuple[str | None, str | None], several: Sequence[str], base: str | None) -> tuple[str, ...]:
    """The base and all of `--sides`."""
    sides = [name.strip() for text in several for name in _BETWEEN_SIDES.split(text) if name.strip()]
    if base is None or not sides:
        raise UsageError(
            f"{'--base' if base is None else '--sides'} is missing: both are needed, as in "
            f"--sides keras==3.7.0,keras==3.12.0 --base keras==3.15.1."
        )
    if pair != (None, None):
        raise UsageError("--sides and --base stand for A and B: leave A and B out.")
    return base, *sides
