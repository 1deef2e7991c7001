"""`bench history`: a metric over commits or dates, with change points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Format, FormatOption, ResultsArgument, measured
from bench.cli.output import notify, put
from bench.core.errors import NoVerdictError
from bench.core.metrics import COMPARED


def history(
    results: ResultsArgument = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help=f"{', '.join(COMPARED)}.",
        ),
    ] = "train_seconds",
    by_date: Annotated[
        bool, typer.Option("--by-date", help="A point for each campaign, instead of one for each commit.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw it too, as .png, .svg or .pdf.")
    ] = None,
    repository: Annotated[
        Path,
        typer.Option(
            "--repository",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="The repository whose ancestry orders the commits.",
        ),
    ] = Path(),
    fmt: FormatOption = Format.TEXT,
) -> None:
    """Show a metric over commits, where its level changed, and between which commits.

    A level is at least five points; a spike of one is no change. Commits are ordered by ancestry, as the repository has
    it; those that it lacks by their dates, which the store keeps, and only where these are unknown too by when they
    were measured.

    Examples:

      bench history results/nightly --plot reports/figures/history.svg

      bench history results/nightly --metric accuracy --format md

      bench history results/nightly --metric step_over_anchor
    """
    from bench.analysis.history import By, measured_commits, series
    from bench.core.metrics import METRICS, find_metric
    from bench.duel.interleaved_cells import load_interleaved
    from bench.host.checkout import first_parent_order, subjects
    from bench.report.figures.history_plot import check_plot, plot_history
    from bench.report.over_time import history_data, history_document
    from bench.store import load

    if plot is not None:
        check_plot(plot)
    asked = find_metric(metric, "--metric")
    stores = measured(results)
    frame, interleaved = load(stores, warn=notify), load_interleaved(stores, warn=notify)
    ancestry = first_parent_order(repository, measured_commits(frame))
    of_metric = series(frame, asked, By.DATE if by_date else By.COMMIT, ancestry, interleaved)
    if not of_metric:
        measured_names = [
            name
            for name, each in METRICS.items()
            if name in COMPARED and series(frame, each, By.DATE, interleaved=interleaved)
        ]
        raise NoVerdictError(
            f"no run of these results has the metric {metric}; measured: {', '.join(measured_names) or 'none'}."
        )
    commits = {point.commit for each in of_metric for point in each.points if point.commit}
    known = subjects(repository, commits)
    put(fmt, lambda: history_document(of_metric, known), lambda: history_data(of_metric, known))
    if plot is not None:
        plot_history(of_metric, plot)
        notify(f"drawn in {plot}")
