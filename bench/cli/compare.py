"""`bench compare` and `bench gate`: verdicts between two stores, and the same as an exit code."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import Format, FormatOption
from bench.cli.output import notify, put
from bench.core.errors import ExitCode, NoVerdictError, UsageError
from bench.report.values import count

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.comparison import Comparison
    from bench.plan.gate import Gate


class Across(StrEnum):
    """What may differ between the two sides although times are compared."""

    SOFTWARE = "software"


BaseArgument = Annotated[Path, typer.Argument(metavar="BASE", help="The results to compare with.")]
NewArgument = Annotated[Path, typer.Argument(metavar="NEW", help="The results that are judged.")]
AcrossOption = Annotated[
    Across | None,
    typer.Option("--across", help="Compare times although the software differs: the difference is what is asked."),
]
MarginsOption = Annotated[
    Path | None,
    typer.Option(
        "--margins",
        metavar="FILE",
        help="A TOML file with the table tool.bench.gate, or a suite with gate; else the project's pyproject.toml.",
    ),
]
DriftOption = Annotated[
    str | None,
    typer.Option(
        "--drift",
        metavar="PERCENT|RESULTS",
        help="How far this machine's speed moves between two occasions at most, as in '2 %'; or results that show it: "
        "equal code measured on five occasions or more.",
    ),
]


def compare(
    base: BaseArgument,
    new: NewArgument,
    across: AcrossOption = None,
    margins: MarginsOption = None,
    drift: DriftOption = None,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """Judge each configuration and metric: is NEW the same as BASE, better or worse, and on which evidence.

    Times of stores that were not interleaved have a verdict only where the machine's drift between the two occasions is
    known. Ends with 0 whatever it finds; `bench gate` makes an exit code of it.
    """
    _compared(base, new, across, margins, drift, fmt, same_runs=True)


def gate(
    base: BaseArgument,
    new: NewArgument,
    across: AcrossOption = None,
    margins: MarginsOption = None,
    drift: DriftOption = None,
    itself: Annotated[
        bool, typer.Option("--self", help="Let both sides hold the same runs, as a test of the gate: it is green.")
    ] = False,
    fmt: FormatOption = Format.TEXT,
) -> None:
    """Compare two stores for CI: 0 nothing got worse, 1 something did, 3 that is undecided, 4 runs failed.

    Decided must be what is required (training, inference, accuracy, unless the margins name others); a regression
    counts in every metric.

    Examples:

      bench gate results/main results/local

      bench gate results/main results/local --drift results/nightly

      bench gate results/main results/local --format md >> "$GITHUB_STEP_SUMMARY"
    """
    comparison, asked = _compared(base, new, across, margins, drift, fmt, same_runs=itself)
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


def _compared(
    base: Path,
    new: Path,
    across: Across | None,
    margins: Path | None,
    drift: str | None,
    fmt: Format,
    *,
    same_runs: bool,
) -> tuple[Comparison, Gate]:
    """The comparison, printed; `same_runs` lets both sides hold the same ones."""
    from bench.analysis import comparison as judging
    from bench.plan.gate import find_gate
    from bench.report.verdicts import verdicts_data, verdicts_document
    from bench.store.campaign import read_manifests

    asked, history = _with_drift(find_gate(margins), drift)
    frames = _loaded(base, "base"), _loaded(new, "new side")
    if not same_runs and set(frames[0]["run_id"]) == set(frames[1]["run_id"]):
        raise UsageError(
            f"BASE {base} and NEW {new} hold the same runs, which are never worse than themselves: name the results of "
            f"the base, or give --self if this is a test of the gate."
        )
    comparison = judging.compare(
        *frames,
        asked,
        across_software=across is not None,
        names=(str(base), str(new)),
        manifests=(read_manifests(base, warn=notify), read_manifests(new, warn=notify)),
        history=history,
    )
    put(fmt, lambda: verdicts_document(comparison, asked), lambda: verdicts_data(comparison, asked))
    return comparison, asked


def _with_drift(gate: Gate, drift: str | None) -> tuple[Gate, pd.DataFrame | None]:
    """The gate with the drift that `--drift` declares, or the observations that show it."""
    from bench.analysis.records import NEEDED
    from bench.core.margins import read_percentage
    from bench.plan.gate import checked_drift
    from bench.store import load

    if drift is None:
        return gate, None
    if Path(drift).exists():
        return replace(gate, drift=None), load([Path(drift)], columns=NEEDED, warn=notify)
    try:
        declared = read_percentage(drift, f"--drift {drift}", least=0.1)
    except UsageError as error:
        raise UsageError(f"{error} Results of that name are not there either.") from None
    return replace(gate, drift=checked_drift(declared, f"--drift {drift}")), None


def _loaded(path: Path, side: str) -> pd.DataFrame:
    """The observations of a side. One that is not there is no mistake of a gate's user, but nothing to be sure from."""
    from bench.analysis.records import NEEDED
    from bench.store import load

    if not path.exists():
        raise NoVerdictError(f"there is no {side}: {path} is not there. Measure it with `bench run --results {path}`.")
    return load([path], columns=NEEDED, warn=notify)
