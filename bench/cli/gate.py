"""`bench gate`: two stores, or two commits, as an exit code."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.compare import AcrossOption, DriftOption, MarginsOption, compared
from bench.cli.options import LOCAL_RESULTS, CpusOption, DataDirOption, Format, FormatOption, SetOption
from bench.cli.output import notify, put
from bench.cli.time_margins import FloorOption, ToleranceOption, time_margins
from bench.core.errors import ExitCode, UsageError
from bench.core.protocol import TimedPhase
from bench.report.values import count
from bench.store.objects import store_path

if TYPE_CHECKING:
    from bench.analysis.comparison import Comparison
    from bench.plan.gate import Gate

_BUDGET = 20.0
_COMMITS = "Two commits"


def gate(
    base: Annotated[
        Path | None,
        typer.Argument(metavar="BASE", parser=store_path, help="The results to compare with.", show_default=False),
    ] = None,
    new: Annotated[
        Path | None,
        typer.Argument(metavar="NEW", parser=store_path, help="The results that are judged.", show_default=False),
    ] = None,
    across: AcrossOption = None,
    margins: MarginsOption = None,
    drift: DriftOption = None,
    itself: Annotated[
        bool, typer.Option("--self", help="Let both sides be the same, as a test of the gate: it is green.")
    ] = False,
    fmt: FormatOption = Format.TEXT,
    base_commit: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="COMMIT",
            help="Measure this commit, and --head, and compare them.",
            rich_help_panel=_COMMITS,
        ),
    ] = None,
    head_commit: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="COMMIT",
            help="The commit that is judged, HEAD if none is named; `.` is the working tree.",
            rich_help_panel=_COMMITS,
        ),
    ] = None,
    overrides: SetOption = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="MINUTES",
            help=f"The time that it may take: half for times, the rest for seeds. {_BUDGET:g} if it is not given.",
            rich_help_panel=_COMMITS,
            show_default=False,
        ),
    ] = None,
    tolerance: ToleranceOption = None,
    floor: FloorOption = None,
    build: Annotated[
        bool,
        typer.Option(
            "--build",
            help="Install each commit's package into an environment of its own, with uv.",
            rich_help_panel=_COMMITS,
        ),
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            parser=store_path,
            help=f"Where what is measured is kept; {LOCAL_RESULTS} if none is named.",
            rich_help_panel=_COMMITS,
        ),
    ] = None,
    data_dir: DataDirOption = None,
    cpus: CpusOption = None,
) -> None:
    """Judge results, or a commit, for CI: 0 nothing got worse, 1 something did, 3 that is undecided, 4 runs failed.

    Of two stores, BASE and NEW, all is compared that both have. With --base and --head nothing needs to be there: both
    commits are measured, their times interleaved, their accuracy over the same seeds.

    Decided must be what is required (training, inference, accuracy, unless the margins name others); a regression
    counts in every metric.

    Examples:

      bench gate --base main --head HEAD --set cells=lstm,my_cells:my_cell

      bench gate results/main results/local

      bench gate results/main results/local --drift results/nightly

      bench gate results/main results/local --format md >> "$GITHUB_STEP_SUMMARY"
    """
    of_commits = {
        "--set": overrides,
        "--budget": budget,
        "--tolerance": tolerance,
        "--floor": floor,
        "--build": build,
        "--results": results,
        "--cpus": cpus,
    }
    if base_commit is None and head_commit is None:
        stores = _stores(base, new, of_commits)
        _conclude(*compared(*stores, across, margins, drift, fmt, same_runs=itself))
        return
    names = _commits(base_commit, head_commit, [base, new], {"--drift": drift, "--across": across})
    from bench.cli.progress import CommitGateProgress
    from bench.duel import commit_gate, procedure, record
    from bench.host.hardware import parse_cpus
    from bench.plan.gate import find_gate
    from bench.report.verdicts import verdicts_data, verdicts_document

    asked = find_gate(margins)
    minutes = _BUDGET if budget is None else budget
    if not 0 < minutes < math.inf:
        raise UsageError(f"--budget {minutes:g} is no time: write minutes, as in --budget {_BUDGET:g}.")
    rest, seeds = _seeds(overrides or ())
    folder = results or LOCAL_RESULTS
    with record.duel_folder(folder) as duel_folder:
        settings = commit_gate.CommitGateSettings(
            duel=procedure.DuelSettings(
                names=names,
                folder=duel_folder,
                margins=time_margins(tolerance, floor, asked, TimedPhase.TRAIN),
                overrides=rest,
                build=build,
                budget_seconds=60 * minutes,
                data_dir=data_dir,
                cpus=parse_cpus(cpus),
            ),
            gate=asked,
            results=folder,
            command=shlex.join(["bench", *sys.argv[1:]]),
            seeds=seeds,
            itself=itself,
        )
        try:
            ended = commit_gate.run_commit_gate(settings, CommitGateProgress(sys.stderr))
        except KeyboardInterrupt:
            notify("interrupted; the runs that are finished are kept, and the gate has no verdict.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    data = {"commits": ended.commits, "duel": ended.duel}
    put(
        fmt,
        lambda: verdicts_document(ended.comparison, ended.gate),
        lambda: {**verdicts_data(ended.comparison, ended.gate), **data},
    )
    notify(f"observations: {folder / 'runs'}; every timed batch: {duel_folder / record.ROUNDS_FILE}")
    _conclude(ended.comparison, ended.gate)


def _conclude(comparison: Comparison, asked: Gate) -> None:
    """Print the verdict in a line, and leave with its exit code."""
    code = comparison.exit_code(asked)
    spared = len(comparison.findings) - len(comparison.deciding(asked))
    undecided = f"; inconclusive, and not required: {count(spared, 'finding')}" if spared else ""
    notify(f"gate: {_WORDS[code]}{undecided if code is ExitCode.OK else ''}")
    if code:
        raise typer.Exit(code)


_WORDS = {
    ExitCode.OK: "green: nothing that was measured got worse",
    ExitCode.REGRESSION: "red: something got worse",
    ExitCode.NO_VERDICT: "not green: something is missing, incomparable or undecided",
    ExitCode.RUNS_FAILED: "red: runs failed that did not fail in the base",
}


def _stores(base: Path | None, new: Path | None, of_commits: Mapping[str, object]) -> tuple[Path, Path]:
    """The two stores that are compared.

    Raises:
        UsageError: one is missing, or an option is given that only commits have.
    """
    given = [name for name, value in of_commits.items() if value]
    if base is not None and new is not None and not given:
        return base, new
    if given:
        raise UsageError(
            f"{given[0]} is for commits, which are measured: name them with --base main --head HEAD, or leave "
            f"{given[0]} out to compare the stores BASE and NEW."
        )
    raise UsageError(
        f"{'NEW is' if base is not None else 'BASE and NEW are'} missing: name two results folders, as in bench gate "
        f"results/main results/local, or commits, as in bench gate --base main --head HEAD."
    )


def _commits(
    base: str | None, head: str | None, stores: Sequence[Path | None], of_stores: Mapping[str, object]
) -> tuple[str, str]:
    """The names of the base's and the head's commit.

    Raises:
        UsageError: the base is missing, or stores are named too, or an option is given that only stores have.
    """
    if base is None:
        raise UsageError(f"the base is missing: name the commit that {head!r} is compared with, as in --base main.")
    if named := [str(store) for store in stores if store is not None]:
        raise UsageError(f"{named[0]} is a store, and --base and --head are commits: name two stores, or two commits.")
    if given := [name for name, value in of_stores.items() if value]:
        raise UsageError(f"{given[0]} is for stores, and commits are measured interleaved: leave {given[0]} out.")
    return base, "HEAD" if head is None else head


def _seeds(overrides: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The overrides without the seeds, and the seeds; with as many epochs as the suite has, since accuracy is judged.

    Raises:
        UsageError: the seeds are no whole numbers, or too few for a verdict.
    """
    from bench.analysis.findings import MIN_SEEDS
    from bench.plan import suite

    of_seeds = [override for override in overrides if override.partition("=")[0].strip() == "seeds"]
    rest = [override for override in overrides if override not in of_seeds]
    loaded = suite.load("quick", of_seeds)
    if not any(override.partition("=")[0].strip() == "epochs" for override in rest):
        rest.append(f"epochs={','.join(map(str, loaded.values('epochs')))}")
    seeds = loaded.values("seeds") if of_seeds else ()
    if 0 < len(seeds) < MIN_SEEDS:
        raise UsageError(
            f"{of_seeds[0]} (--set) is too few: {MIN_SEEDS} seeds are the least that a verdict on accuracy takes: "
            f"--set seeds=0..{MIN_SEEDS - 1}."
        )
    return tuple(rest), tuple(seeds)
