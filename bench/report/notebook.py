"""What a notebook calls: `bench.load`, `bench.table`, `bench.figure` and `bench.compare`; each shows itself in Jupyter.

import bench

frame = bench.load("results/reference/mnist_rows")
bench.table(frame)
bench.figure(frame, "accuracy_against_time")
bench.compare("results/main", "results/local")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import store
from bench.core.errors import UsageError
from bench.report.document import Document, Figure
from bench.store.objects import store_path

if TYPE_CHECKING:
    import pandas as pd

    from bench.analysis.summary import Section

__all__ = ["ComparisonView", "TableView", "compare", "figure", "load", "table"]


@dataclass(frozen=True)
class _View:
    """A document that a notebook shows as HTML, and a terminal as text."""

    document: Document

    def _repr_html_(self) -> str:
        from bench.report.html import render_fragment

        return render_fragment(self.document)

    def __repr__(self) -> str:
        from bench.report.text import render_text

        return render_text(self.document, 150)

    def to_latex(self) -> str:
        """Its tables as LaTeX with booktabs' rules."""
        from bench.report.latex import render_latex

        return render_latex(self.document)

    def to_markdown(self) -> str:
        """The same as markdown."""
        from bench.report.markdown import render_markdown

        return render_markdown(self.document)


@dataclass(frozen=True, repr=False)
class TableView(_View):
    """The comparison table."""

    numbers: pd.DataFrame
    """A row for each configuration, numbers as numbers in SI units, the ends of intervals in columns."""

    def to_csv(self) -> str:
        """The numbers as CSV."""
        from bench.report.csv_table import render_csv

        return render_csv(self.numbers.astype(object).where(self.numbers.notna(), None).to_dict("records"))  # type: ignore[arg-type]


@dataclass(frozen=True, repr=False)
class ComparisonView(_View):
    """The verdicts on two stores."""

    numbers: pd.DataFrame
    """A row for each finding: configuration, metric, verdict, the change, and its intervals' ends (`95_low`, ...)."""
    exit_code: int
    """That of `bench gate`: 0 nothing got worse, 1 something did, 3 undecided, 4 runs failed."""


def load(*paths: str | Path) -> pd.DataFrame:
    """The observations of results folders, `s3://bucket/prefix` too, or of parquet files as one frame.

    Raises:
        UsageError: a path is not there, cannot be read, or was written by a newer bench.
        NoVerdictError: there is nothing measured in any of them.
    """
    from bench.report.measured import STORES

    frame = store.load([store_path(path) for path in paths])
    frame.attrs[STORES] = [str(path) for path in paths]
    return frame


def table(frame: pd.DataFrame | str | Path, *, pairs: bool = False, join: str = "") -> TableView:
    """The comparison table of observations, or with `pairs` every row against every other.

    Args:
        frame: observations, as `load` gives them, or any part of their rows (n_observations × n_columns); or the path
            of results.
        pairs: every row against every other.
        join: fields in which rows may differ and are compared all the same: `units,backend`.

    Returns:
        What a notebook shows; `numbers` holds the same as a data frame of numbers.

    Raises:
        UsageError: `join` names no field, or `frame` is neither a frame nor a path of results.
    """
    import pandas as pd

    from bench.report.csv_table import table_records
    from bench.report.pair_table import pair_records, pairs_document
    from bench.report.table import table_document

    sections = _sections(frame, join)
    if pairs:
        return TableView(pairs_document(sections), pd.DataFrame(pair_records(sections)))
    return TableView(table_document(sections), pd.DataFrame(table_records(sections)))


def figure(
    frame: pd.DataFrame | str | Path,
    name: str,
    *,
    section: int = 0,
    file: str | Path | None = None,
    width: float = 3.35,
) -> Figure:
    """A figure of the report, which a notebook shows; with `file` it is written for a paper too.

    Args:
        frame: observations, as `load` gives them, or any part of their rows (n_observations × n_columns); or the path
            of results.
        name: one of `bench.report.figure_names()`.
        section: which of the frame's sections, from 0, where it holds several tasks or machines.
        file: a .pdf, .svg or .png to be written, without a title, fonts embedded.
        width: of the file, inches.

    Raises:
        UsageError: there is no figure of that name, the file cannot be written, or `frame` is neither a frame nor a
            path of results.
        NoVerdictError: there is no such section in the frame, or nothing of it to show.
    """
    import bench.report as report
    from bench.report.figures import write_for_paper
    from bench.report.measured import Measured

    observed = _observations(frame)
    drawn = report.figure(observed, name, section)
    if file is not None:
        measured = Measured.of(observed)
        write_for_paper(name, measured, measured.sections[section], Path(file), width)
    return drawn


def compare(base: str | Path | pd.DataFrame, new: str | Path | pd.DataFrame) -> ComparisonView:
    """The verdicts on what changed from `base` to `new`, each a results folder or a frame of observations.

    The margins are those of the project (`[tool.bench.gate]`), or the usual ones.

    Raises:
        UsageError: a path is not there, cannot be read, or was written by a newer bench.
        NoVerdictError: there is nothing measured in one of them.
    """
    import pandas as pd

    from bench.analysis import comparison as judging
    from bench.duel.interleaved_cells import load_interleaved
    from bench.plan.gate import find_gate
    from bench.report.verdicts import verdicts_data, verdicts_document
    from bench.store.campaign import read_manifests

    gate = find_gate(None)
    (before, base_name), (after, new_name) = _side(base, "base"), _side(new, "new")
    manifests = tuple(read_manifests(store_path(side)) if isinstance(side, str | Path) else [] for side in (base, new))
    comparison = judging.compare(
        before,
        after,
        gate,
        names=(base_name, new_name),
        manifests=(manifests[0], manifests[1]),
        interleaved=load_interleaved(Path(side) for side in (base, new) if isinstance(side, str | Path)),
    )
    data = verdicts_data(comparison, gate)
    numbers = pd.DataFrame(map(_flat, data["findings"]))
    return ComparisonView(verdicts_document(comparison, gate), numbers, data["exit_code"])


_OF_A_FINDING = ("metric", "detail", "verdict", "compared_as", "base", "new", "change", "base_values", "new_values")


def _flat(finding: Mapping[str, Any]) -> dict[str, Any]:
    """A finding without its environment, the ends of both intervals as fields."""
    configuration = {name: value for name, value in finding["configuration"].items() if name not in ("seed", "repeat")}
    ends = {
        f"{name}_{end}": (finding[f"interval_{name}"] or {}).get(end)
        for name in ("95", "of_verdict")
        for end in ("low", "high")
    }
    return {**configuration, **{name: finding[name] for name in _OF_A_FINDING}, **ends}


def _side(side: str | Path | pd.DataFrame, name: str) -> tuple[pd.DataFrame, str]:
    """The observations of a side, and what it is called: its path, or `name`."""
    return _observations(side), str(side) if isinstance(side, str | Path) else name


def _observations(frame: pd.DataFrame | str | Path) -> pd.DataFrame:
    """A frame as it is, or what a path of results holds.

    Raises:
        UsageError: it is neither.
    """
    import pandas as pd

    if isinstance(frame, str | Path):
        return load(frame)
    if not isinstance(frame, pd.DataFrame):
        raise UsageError(f"{frame!r} ({type(frame).__name__}) is no frame of bench.load, and no path of results.")
    return frame


def _sections(frame: pd.DataFrame | str | Path, join: str) -> tuple[Section, ...]:
    from bench.analysis.joining import read_join
    from bench.report.measured import sections_of

    return sections_of(_observations(frame), join=read_join(join))
