"""`bench cite`: what a paper reports of measurements and of the program: a sentence a section, and BibTeX."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import pandas as pd

import bench
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.report.latex import escaped
from bench.report.section_notes import heading
from bench.report.values import count, machine_words, ranged, row_label, software_words


def sentences(section: Section) -> tuple[str, ...]:
    """What a paper may state of a section, one or more sentences: what was measured, over how many runs, where."""
    rows = [row for row in section.rows if row.runs]
    if not rows:
        return (f"{heading(section)}: no run ended ok, so that there is nothing to cite.",)
    kernels = ", ".join(dict.fromkeys(kernel for row in rows for kernel in row.kernels_attested)) or "unknown"
    runs, seeds = sum(len(row.runs) for row in rows), max(row.seeds for row in rows)
    return (
        *_scores(section, rows),
        *_times(rows),
        f"Measured with rnn-bench {bench.__version__} over {count(seeds, 'seed')} ({count(runs, 'run')}, a process "
        f"each) on {machine_words(section.machine)}, with {software_words(section.software)}; the kernel was attested "
        f"from the executed program in every run ({kernels}).",
    )


def store_digest(frame: pd.DataFrame) -> str:
    """SHA-256 of the observations, whatever files they are kept in and whatever columns came later.

    Args:
        frame: all columns of a store, as `bench.store.load` gives them (n_observations × n_columns).
    """
    place = frame.groupby("run_id", observed=True, sort=False).cumcount()
    ordered = frame.assign(_place=place).sort_values(["run_id", "_place"]).drop(columns="_place")
    total = hashlib.sha256()
    for name in sorted(ordered.columns):
        column = ordered[name]
        if column.isna().all():
            continue
        values = [None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
        total.update(json.dumps([name, values]).encode())
    return total.hexdigest()


def bibtex(frame: pd.DataFrame | None, sections: Sequence[Section]) -> str:
    """BibTeX entries of the program and, where a store is given, of its measurements; ends with a newline.

    Args:
        frame: all columns of the store; None for the program alone.
        sections: what is in it.
    """
    entries = [
        _entry(
            "rnnbench",
            author="{The rnn-bench authors}",
            title="{rnn-bench}: a benchmark harness for recurrent cells in {Keras}",
            note=f"Version {bench.__version__}",
        )
    ]
    if frame is not None:
        digest = store_digest(frame)
        suites = ", ".join(sorted(map(str, frame["suite"].unique())))
        began = frame["started_at"].min()
        entries.append(
            _entry(
                f"rnnbench-{digest[:8]}",
                author="{Measured with rnn-bench}",
                title=f"Measurements of recurrent cells: {escaped(suites)}",
                year=f"{began.year}",
                note="; ".join(map(escaped, _facts(frame, sections, digest))),
            )
        )
    return "\n\n".join(entries) + "\n"


def _facts(frame: pd.DataFrame, sections: Sequence[Section], digest: str) -> Iterator[str]:
    runs = frame.drop_duplicates("run_id")
    yield f"{count(len(runs), 'run')}, {runs['started_at'].min():%Y-%m-%d} to {runs['started_at'].max():%Y-%m-%d}"
    yield f"store sha256 {digest}"
    for what, values in (
        ("machine", [section.machine_fingerprint for section in sections]),
        ("software", [key.software_fingerprint for section in sections for key in section.keys]),
        ("data", [section.data_digest for section in sections]),
        ("users' code", [key.code_digest for section in sections for key in section.keys]),
        ("commit", [commit for section in sections for commit in section.commits]),
    ):
        known = list(dict.fromkeys(str(value) for value in values if value))
        if known:
            yield f"{what} {' '.join(known)}"


def _entry(key: str, **fields: str) -> str:
    lines = [f"  {name:<6} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{{key},", *lines, "}"])


def _scores(section: Section, rows: Sequence[Row]) -> Iterator[str]:
    if section.score is None:
        return
    known = [(row, row.estimates[section.score.name]) for row in rows if section.score.name in row.estimates]
    if known:
        scale, decimals, unit = (100, 2, " %") if section.score_words == "accuracy" else (1, 4, "")
        listed = "; ".join(f"{row_label(row)} {_plus_minus(figure, scale, decimals)}{unit}" for row, figure in known)
        yield (
            f"Test {section.score_words} on {heading(section)} is, as the mean over {_n(known, 'seed')} with its 95 % "
            f"interval (Student's t): {listed}."
        )


def _times(rows: Sequence[Row]) -> Iterator[str]:
    known = [(row, row.estimates["train_seconds"]) for row in rows if "train_seconds" in row.estimates]
    if known:
        listed = "; ".join(f"{row_label(row)} {' s ('.join(filter(None, _interval(figure)))}" for row, figure in known)
        yield f"An epoch of training takes, as the median over {_n(known, 'run')}: {listed}."


def _interval(figure: Estimate) -> tuple[str, str]:
    value, interval = ranged(figure)
    return (value, f"95 % {interval})") if interval else (f"{value} s", "")


def _plus_minus(figure: Estimate, scale: float, decimals: int) -> str:
    value = f"{scale * figure.value:.{decimals}f}"
    if figure.interval is None:
        return value
    return f"{value} ± {scale * (figure.interval.high - figure.interval.low) / 2:.{decimals}f}"


def _n(known: Sequence[tuple[Row, Estimate]], noun: str) -> str:
    numbers = sorted({figure.n for _, figure in known})
    return count(numbers[0], noun) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} {noun}s"
