"""`bench compact`: many small parts into one."""

from __future__ import annotations

import typer

from bench.cli.options import LOCAL_RESULTS, ResultsOption, measured
from bench.cli.output import notify


def compact(results: ResultsOption = LOCAL_RESULTS) -> None:
    """Fold the many small parquet parts of a results folder into one, verified before the small ones go."""
    from bench.store import compact as fold

    if results == LOCAL_RESULTS:
        measured(None)
    parts, rows = fold.compact(results, warn=notify)
    typer.echo(
        f"{results}: folded {parts} parts into one of {rows:,} rows." if parts else f"{results}: nothing to fold."
    )
