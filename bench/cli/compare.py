"""`bench compare`: verdicts between two stores."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import Format, FormatOption
from bench.cli.output import notify, put
from bench.core.errors import NoVerdictError, UsageError
from bench.store.objects import store_path

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.comparison import Comparison
    from bench.plan.gate import Gate


class Across(StrEnum):
    """What may differ between the two sides although times are compared."""

    SOFTWARE = "software"


BaseArgument = Annotated[Path, typer.Argument(metavar="BASE", parser=store_path, help="The results to compare with.")]
NewArgument = Annotated[Path, typer.Argument(metavar="NEW", parser=store_path, help="The results that are judged.")]
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
    known, or divided out by an anchor (`bench run --interleave`). Ends with 0 whatever it finds; `bench gate` makes an
    exit code of it.
    """
    compared(base, new, across, margins, drift, fmt, same_runs=True)


def compared(
    base: Path,
    new: Path,
    across: Across | None,
    margins: Path | None,
    drift: str | None,
    fmt: Format,
    *,
    same_runs: bool,
) -> tuple[Comparison, Gate]:
    """Compare two stores, and print that.

    Args:
        base: the results to compare with.
        new: those that are judged.
        across: what may differ although times are compared.
        margins: the file with the margins; None for the project's.
        drift: of the machine, declared or shown by results; None where neither is named.
        fmt: how it is printed.
        same_runs: let both sides hold the same ones.

    Raises:
        NoVerdictError: a side is not there.
        UsageError: an option's value can't be used, or both sides hold the same runs.
    """
    from bench.analysis import comparison as judging
    from bench.duel.interleaved_cells import load_interleaved
    from bench.host.checkout import subjects
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
        interleaved=load_interleaved((base, new, *_results_of(drift)), warn=notify),
    )
    commits = [
        commit
        for side in (comparison.base, comparison.new)
        for commit in (*side.program_commits, *side.project_commits)
    ]
    known = subjects(Path.cwd(), commits)
    put(fmt, lambda: verdicts_document(comparison, asked, known), lambda: verdicts_data(comparison, asked))
    return comparison, asked


def _with_drift(gate: Gate, drift: str | None) -> tuple[Gate, pd.DataFrame | None]:
    """The gate with the drift that `--drift` declares, or the observations that show it."""
    from bench.analysis.records import NEEDED
    from bench.core.margins import read_percentage
    from bench.plan.gate import checked_drift
    from bench.store import load

    if drift is None:
        return gate, None
    if stores := _results_of(drift):
        return replace(gate, drift=None), load(stores, columns=NEEDED, warn=notify)
    try:
        declared = read_percentage(drift, f"--drift {drift}", least=0.1)
    except UsageError as error:
        raise UsageError(f"{error} Results of that name are not there either.") from None
    return replace(gate, drift=checked_drift(declared, f"--drift {drift}")), None


def _results_of(drift: str | None) -> list[Path]:
    """The results that `--drift` names, if it names any."""
    results = None if drift is None else store_path(drift)
    return [results] if results is not None and results.exists() else []


def _loaded(path: Path, side: str) -> pd.DataFrame:
    """The observations of a side. One that is not there is no mistake of a gate's user, but nothing to be sure from."""
    from bench.analysis.records import NEEDED
    from bench.store import load

    if not path.exists():
        raise NoVerdictError(f"there is no {side}: {path} is not there. Measure it with `bench run --results {path}`.")
    return load([path], columns=NEEDED, warn=notify)
