"""The comparison table: a row for each configuration, its notes, and the notebook's claims judged by it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.analysis.claims import judge_claims
from bench.analysis.rows import REFERENCE_CELL, InferenceFigures, Row
from bench.analysis.stalls import find_stalls
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.analysis.trends import find_trends
from bench.catalog.tasks import CLASS_LABEL
from bench.core.axes import BY_FIELD
from bench.core.case import written
from bench.core.metric import FromCalls, Metric, MetricKind
from bench.core.metrics import METRICS
from bench.report.document import Block, Cell, Column, Document, Either, Facts, Heading, Lines, Notes, Paragraph, Table
from bench.report.inference_table import INFERENCE_NOTE, inference_findings, inference_table
from bench.report.jsonout import estimate_object
from bench.report.remarks import stall_notes, trend_notes, trends_object
from bench.report.roofline import ROOFLINE_NOTE, roofline_table
from bench.report.values import (
    NONE,
    broken,
    figure_in,
    machine_words,
    ranged,
    row_label,
    software_words,
    together,
    whole,
)

_FIRST_ONLY = "†"
_RATIOED = "train_seconds"
"""The metric whose ratios to SimpleRNN and to the generic kernel stand behind it."""


def table_document(sections: Sequence[Section]) -> Document:
    """The comparison table of each section, its notes and its claims."""
    if not sections:
        return Document((Paragraph("Nothing was measured yet."),))
    return Document(tuple(block for section in sections for block in _blocks(section)))


def _blocks(section: Section) -> Iterator[Block]:
    yield Heading(heading(section))
    yield Lines(subheadings(section))
    yield comparison_table(section)
    yield from (table for table in (inference_table(section), roofline_table(section)) if table.rows)
    yield Notes(tuple(notes(section)))
    yield Either(terminal=(Facts(_claims_by_verdict(section)),), page=(claims_table(section),))


# --- the table ---


@dataclass(frozen=True)
class _Part:
    """What a table shows of a row: a text, and what belongs to it (an interval), behind it or below it."""

    head: str
    lines: Callable[[Row], tuple[str, str]]
    left: bool = False
    joined: Callable[[str, str], str] = together
    """How the two stand in one line."""


_CELL = _Part("cell", lambda row: (row.cell, ""), left=True)
_PARAMETERS = _Part("parameters", lambda row: (whole(row.parameters), ""))
_KERNEL = _Part("kernel", lambda row: _kernel(row), left=True, joined=lambda asked, ran: f"{asked} {ran}".rstrip())
_RUNS = _Part("runs", lambda row: (f"{len(row.runs)}/{row.runs_tried}" if row.excluded else str(row.runs_tried), ""))
_SEEDS = _Part("seeds", lambda row: (str(row.seeds), ""))
_RATIO = _Part("ratio to SimpleRNN", lambda row: _one_or(row.cell == REFERENCE_CELL, row.ratio))
_GENERIC_RATIO = _Part(
    "ratio to generic", lambda row: _one_or(row.configuration.kernel == "generic", row.generic_ratio)
)


def comparison_table(section: Section) -> Table:
    """A row for each configuration; in the narrow arrangement of two lines, so that three cells fit 80 columns."""
    axes = [_axis(name, section) for name in _axes(section)]
    figures: list[_Part] = []
    for metric in _shown(section):
        figures.append(_of(metric))
        if metric.name == _RATIOED:
            figures += [_RATIO, *([_GENERIC_RATIO] if _against_generic(section) else [])]
    parts = (_CELL, *axes, _PARAMETERS, *figures, _KERNEL, _RUNS, _SEEDS)
    return Table(
        columns=tuple(Column(part.head, left=part.left) for part in parts),
        rows=tuple(tuple(part.joined(*part.lines(row)) for part in parts) for row in section.rows),
        narrow=_narrow(section),
    )


def _narrow(section: Section) -> Table:
    """Two lines a row: a figure over its interval, or two figures; the axes stand above their rows."""
    shown = [metric for metric in _shown(section) if metric.column and metric.column.narrow]
    columns: list[tuple[Column, Callable[[Row], Cell]]] = [_two(_CELL, _PARAMETERS, left=True)]
    for metric in shown:
        if _has_interval(metric):
            columns.append(_over(_of(metric)))
            columns += [_over(_RATIO)] if metric.name == _RATIOED else []
    halves = [_of(metric) for metric in shown if not _has_interval(metric)]
    halves += [_GENERIC_RATIO] if _against_generic(section) else []
    pairs = [halves[i : i + 2] for i in range(0, len(halves), 2)]
    columns += [_two(*pair) if len(pair) > 1 else _alone(*pair) for pair in pairs]
    columns += [(Column(("kernel", "→ ran")), _KERNEL.lines), _two(_RUNS, _SEEDS)]
    rows = [tuple(cell(row) for _, cell in columns) for row in section.rows]
    heads = tuple(column for column, _ in columns)
    names = _axes(section)
    if not names:
        return Table(heads, tuple(rows))
    groups = [" · ".join(f"{name} = {written(row.axes[name])}" for name in names) for row in section.rows]
    in_order = sorted(zip(groups, rows, strict=True), key=lambda pair: groups.index(pair[0]))
    return Table((Column("", group=True), *heads), tuple((group, *row) for group, row in in_order))


def _over(part: _Part) -> tuple[Column, Callable[[Row], Cell]]:
    return Column(broken(part.head), left=part.left), part.lines


def _two(upper: _Part, lower: _Part, *, left: bool = False) -> tuple[Column, Callable[[Row], Cell]]:
    return Column((upper.head, lower.head), left=left), lambda row: (upper.lines(row)[0], lower.lines(row)[0])


def _alone(part: _Part) -> tuple[Column, Callable[[Row], Cell]]:
    return Column(part.head, left=part.left), lambda row: part.lines(row)[0]


def _axes(section: Section) -> list[str]:
    """What differs in the section, without what every table shows."""
    return [name for name in section.axes if name != _KERNEL.head]


def _axis(name: str, section: Section) -> _Part:
    return _Part(name, lambda row: (written(row.axes[name]), ""), left=isinstance(section.rows[0].axes[name], str))


def _shown(section: Section) -> list[Metric]:
    """The metrics that have a column, in the columns' order."""
    placed = [(metric.column.position, metric) for metric in METRICS.values() if metric.column and not metric.of_calls]
    return [
        metric
        for _, metric in sorted(placed, key=lambda pair: pair[0])
        if metric.column
        and (_means_something(metric, section) or any(metric.name in row.estimates for row in section.rows))
    ]


def _means_something(metric: Metric, section: Section) -> bool:
    """Whether a metric has its column although no row has it: no accuracy of numbers, and no loss of noise."""
    if metric.kind is not MetricKind.QUALITY:
        return metric.column is not None and metric.column.always
    return section.score is not None and metric in (section.score, METRICS["loss"])


def _has_interval(metric: Metric) -> bool:
    return metric.column is not None and metric.column.interval != "none"


def _of(metric: Metric) -> _Part:
    def lines(row: Row) -> tuple[str, str]:
        assert metric.column is not None
        value, interval = figure_in(row.estimates.get(metric.name), metric.column)
        return value + (_FIRST_ONLY if metric.name == _RATIOED and row.first_epoch_only else ""), interval

    assert metric.column is not None
    return _Part(metric.column.heading, lines)


def _one_or(reference: bool, ratio: Estimate | None) -> tuple[str, str]:
    return ("1", "") if reference and ratio else ranged(ratio)


def _against_generic(section: Section) -> bool:
    """Whether some cell ran on its generic kernel and on another."""
    return any(row.generic_ratio and row.configuration.kernel != "generic" for row in section.rows)


def _kernel(row: Row) -> tuple[str, str]:
    """The kernel that was asked for, and the one that ran where that is another."""
    asked, ran = row.configuration.kernel, ", ".join(row.kernels_attested)
    return (asked, "") if not row.runs or ran == asked else (asked, f"→ {ran or '?'}")


# --- the claims ---


def claims_table(section: Section) -> Table:
    """A row for each of the notebook's claims: whether it holds, and the figures behind that."""
    claims = judge_claims(section)
    return Table(
        (Column("the notebook's claim"), Column("verdict"), Column("figures")),
        tuple((claim.text, str(claim.verdict), claim.evidence) for claim in claims),
    )


def _claims_by_verdict(section: Section) -> tuple[tuple[str, Cell], ...]:
    """Claims beside their verdict; those with the same evidence (a cell that was not measured) together."""
    together = itertools.groupby(judge_claims(section), key=lambda claim: (claim.verdict, claim.evidence))
    return tuple((verdict, (*(claim.text for claim in claims), evidence)) for (verdict, evidence), claims in together)


# --- what stands around it ---


def heading(section: Section) -> str:
    """What a section is of: the task, and what all its rows have in common of network, backend and device."""
    return " · ".join([section.task, *_setting(section, ("network", "backend", "device"))])


def subheadings(section: Section) -> tuple[str, ...]:
    """The rest of what its rows have in common: setting, machine, software, users' code; some may be empty."""
    rest = [name for name in section.shared if name not in {"task", "network", "backend", "device"}]
    return (
        " · ".join(_setting(section, rest)),
        machine_words(section.machine),
        software_words(section.software),
        f"users' code {' and '.join(section.code_versions)}" if section.code_digest else "",
    )


def _setting(section: Section, names: Sequence[str]) -> list[str]:
    """What all rows have in common: the fields everybody asks about, and those that differ from the protocol."""
    words = []
    for name in names:
        if name not in section.shared:
            continue
        axis, value = BY_FIELD[name], section.shared[name]
        if axis.words or (value not in axis.default and name != "kernel"):
            words.append(axis.in_words(value))
    return words


def notes(section: Section) -> list[str]:
    """What the figures of the table mean, and what isn't in them."""
    rows = section.rows
    labels = {row.configuration: row_label(row) for row in rows}
    texts: list[str] = []
    if any(row.runs for row in rows):
        texts += [
            f"Intervals are 95 %.{_scores_in_words(section)}",
            "s/epoch, training alone: each run's median over its epochs from 2 on, then the median over runs; the "
            "interval is between order statistics from 6 runs on, Student's t on the logarithms below.",
            "ratio to SimpleRNN: geometric mean of the ratios of s/epoch, all else equal, paired by block; Student's t "
            "on the logarithms.",
            "first s, compile s: seconds of the first epoch and of compiling, medians over runs, in no other figure. "
            "memory: peak above the start, median, 1 MB = 10⁶ bytes. kernel: asked → ran. runs: ended ok (/ all).",
        ]
    if _KERNEL.head in section.axes:
        texts.append(
            "kernel auto: what Keras picks by itself, which is what people get. generic: the same loop for every cell, "
            "which is the fair comparison of cells."
        )
    if _against_generic(section):
        texts.append("ratio to generic (× generic): of s/epoch, to the same cell's generic kernel, paired by block.")
    ranged_figures = [
        estimate
        for row in rows
        for metric in _shown(section)
        if _has_interval(metric) and (estimate := row.estimates.get(metric.name))
    ]
    if any(estimate.interval is None for estimate in ranged_figures):
        texts.append("No interval where there is one value only, or all are equal.")
    if any(row.first_epoch_only for row in rows):
        texts.append(f"{_FIRST_ONLY} first epoch only: the runs had one epoch, which is not a steady one.")
    if any(row.ratio is None and row.estimates.get("train_seconds") for row in rows):
        texts.append(f"The ratio is {NONE} where SimpleRNN has no result at the same setting and block.")
    texts += _baselines(section)
    texts += _what_is_missing(section)
    texts += [*stall_notes(section), *trend_notes(find_trends(section.runs), labels.__getitem__)]
    if len(section.commits) > 1:
        texts.append(f"Measured by {len(section.commits)} commits of this program: {', '.join(section.commits)}.")
    if section.key.same_programs:
        texts.append(
            f"The versions {' and '.join(section.code_versions)} of the users' code execute the same programs, and "
            "gave the same losses for equal seeds: they are one here."
        )
    texts += [INFERENCE_NOTE] if inference_table(section).rows else []
    texts += [ROOFLINE_NOTE] if roofline_table(section).rows else []
    return [*texts, *inference_findings(section)]


def _scores_in_words(section: Section) -> str:
    """What the scores are, and over what."""
    task = section.rows[0].task
    how = "on the test set: mean over seeds, Student's t."
    if section.score is None:
        return f" No score: {section.task} is for speed alone, and nothing is there to be learnt."
    if task is None or task.target is CLASS_LABEL:
        return f" Accuracy and loss, {how}"
    over = " Over all steps that are no padding." if task.target.per_step else ""
    if task.target.is_class:
        return f" Accuracy (the fraction of steps) and loss, {how}{over}"
    return f" loss is the mean squared error, MAE the mean absolute one (less is better), R² 1 at best; {how}{over}"


def _baselines(section: Section) -> Iterator[str]:
    """The loss of a network that has learnt nothing, for each size of the data."""
    known = {
        size: rows.rows[0].task.baseline
        for size, rows in section.by_size.items()
        if rows.rows[0].task and rows.rows[0].task.baseline
    }
    same = len(set(known.values())) == 1
    for size, baseline in list(known.items())[:1] if same else known.items():
        yield f"{f'{size}: ' if size and not same else ''}a loss of {baseline.loss:.4f} is that of {baseline.words}."


def _what_is_missing(section: Section) -> Iterator[str]:
    """Seeds and runs that are not in a figure, and seeds that gave another result when run again."""
    for metric in _shown(section):
        for row in section.rows if metric.kind is MetricKind.QUALITY else ():
            estimate = row.estimates.get(metric.name)
            lost = row.seeds - (estimate.n if estimate else 0)
            if lost:
                yield f"{row_label(row)}: no finite {metric.title} for {lost} of {row.seeds} seeds; left out of it."
    for row in section.rows:
        if row.irreproducible_seeds:
            yield (
                f"{row_label(row)}: {row.irreproducible_seeds} of {row.seeds} seeds gave another test loss when run "
                "again."
            )
    for row in section.rows:
        for out in row.excluded:
            yield f"{row_label(row)}: {out.reason} ({out.runs} {out.status}; in no figure)."


# --- for programs ---


def table_data(sections: Sequence[Section]) -> dict[str, Any]:
    """The same JSON-able, in SI units and full precision."""
    return {"sections": [_section_object(section) for section in sections]}


def _section_object(section: Section) -> dict[str, Any]:
    return {
        "task": section.task,
        "data_digest": section.data_digest,
        "machine_fingerprint": section.machine_fingerprint,
        "software_fingerprint": section.software_fingerprint,
        "machine": dict(section.machine),
        "software": dict(section.software),
        "program_commits": list(section.commits),
        "shared": dict(section.shared),
        "axes": list(section.axes),
        "rows": [_row_object(row) for row in section.rows],
        "trends": trends_object(find_trends(section.runs)),
        "claims": [asdict(claim) for claim in judge_claims(section)],
    }


def _row_object(row: Row) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    for excluded in row.excluded:
        statuses[excluded.status] += excluded.runs
    return {
        "cell": row.cell,
        "axes": dict(row.axes),
        "configuration_id": row.configuration.configuration_id,
        "parameters": row.parameters,
        **{
            metric.json_key: estimate_object(row.estimates.get(metric.name))
            for metric in METRICS.values()
            if not metric.of_calls
        },
        "train_seconds_first_epoch_only": row.first_epoch_only,
        "ratio_to_simple_rnn": estimate_object(row.ratio),
        "ratio_to_generic": estimate_object(row.generic_ratio),
        "limits": asdict(row.efficiency) if row.efficiency else None,
        "inference": [_inference_object(figures) for figures in row.inference],
        "predict_over_compiled": estimate_object(row.predict_ratio),
        "train_seconds_over_keras": estimate_object(row.keras_train_ratio),
        "compiled_latency_over_keras": estimate_object(row.keras_latency_ratio),
        "kernel_asked": row.configuration.kernel,
        "kernels_attested": list(row.kernels_attested),
        "stalls": asdict(stalls) if (stalls := find_stalls(row.runs)) else None,
        "runs_ok": len(row.runs),
        "seeds": row.seeds,
        "runs_left_out": dict(statuses),
        "left_out": [asdict(excluded) for excluded in row.excluded],
    }


def _inference_object(figures: InferenceFigures) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for metric in METRICS.values():
        if isinstance(metric.source, FromCalls) and metric.source.by_batch:
            batches = figures.by_batch.get(metric.name, {})
            values[metric.json_key] = {str(batch): estimate_object(speed) for batch, speed in batches.items()}
        elif metric.of_calls:
            values[metric.json_key] = estimate_object(figures.estimates.get(metric.name))
    return {"entry": figures.call_path, "kernels_attested": list(figures.kernels_attested), **values}
