"""`bench export`: results in the formats of other tools."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from bench.cli.options import ResultsArgument, measured
from bench.cli.output import notify, put_json


class ExportFormat(StrEnum):
    """The tools that can read what is written."""

    PYTEST_BENCHMARK = "pytest-benchmark"
    GITHUB_ACTION_BENCHMARK = "github-action-benchmark"


def export(
    results: ResultsArgument = None,
    *,
    fmt: Annotated[ExportFormat, typer.Option("--format", help="For which tool.")],
) -> None:
    """Write results for tools that people already have, a value for each run.

    Examples:

      bench export --format pytest-benchmark > main.json && pytest-benchmark compare main.json

      bench export results/nightly --format github-action-benchmark > output.json  # tool: customSmallerIsBetter
    """
    from bench.analysis.summary import summarise
    from bench.report.export import github_action_benchmark, pytest_benchmark
    from bench.store import load

    frame = load(measured(results), warn=notify)
    sections = summarise(frame)
    if fmt is ExportFormat.PYTEST_BENCHMARK:
        document: object = pytest_benchmark(sections, frame["started_at"].min().isoformat())
    else:
        document = github_action_benchmark(sections)
    put_json(document)
