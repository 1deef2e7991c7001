"""`bench show`: one run, with its case, phases, evidence and environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import DataFormat, DataFormatOption, ResultsArgument, measured
from bench.cli.output import notify, put
from bench.core.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def show(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it; `last` is the newest.")
    ],
    results: ResultsArgument = None,
    folders: Annotated[
        list[Path] | None, typer.Option("--results", metavar="DIR", help="The same as RESULTS. Repeatable.")
    ] = None,
    fmt: DataFormatOption = DataFormat.TEXT,
) -> None:
    """Show one run: its case, its phases, the evidence of its kernel, its environment."""
    from bench.report.one_run import run_data, run_document
    from bench.store import load

    named = [*(results or ()), *(folders or ())]
    run = run_data(_find(load(measured(named), warn=notify, all_attempts=True), run_id))
    put(fmt, lambda: run_document(run), lambda: run)


def _find(frame: pd.DataFrame, wanted: str) -> pd.DataFrame:
    if wanted == "last":
        matching = [str(frame.sort_values(["started_at", "run_id"])["run_id"].iloc[-1])]
    else:
        matching = [run for run in map(str, frame["run_id"].unique()) if run.startswith(wanted)]
    if not matching:
        raise UsageError(f"no run has an id that begins with {wanted!r}: parts are named by the id of their run.")
    if len(matching) > 1:
        raise UsageError(f"{len(matching)} runs have an id that begins with {wanted!r}: give more of it.")
    return frame[frame["run_id"] == matching[0]]
