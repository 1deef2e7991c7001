"""What a report shows of quality beyond accuracy: scores, recall by class, confusion."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.quality import Quality, judge_quality
from bench.analysis.stats import Estimate
from bench.analysis.summary import Section
from bench.catalog.tasks import CLASS_LABEL
from bench.core.predictions import MOST_CLASSES
from bench.report.document import Block, Column, Details, Notes, Table
from bench.report.measured import Measured
from bench.report.values import NONE, row_label

_CONFUSIONS = 6
"""Matrices on the page; a table of all would be nothing to read."""


def score_blocks(measured: Measured, section: Section) -> tuple[Block, ...]:
    """The scores of each row whose runs kept their predictions, a note on them, recall and confusion."""
    qualities = [quality for row in section.rows if (quality := judge_quality(row, measured.predictions))]
    if not qualities:
        return (Table((), (), caption="Scores on the test set", empty=_why_none(section)),)
    confusions = (_confusion(quality) for quality in qualities[:_CONFUSIONS])
    return (
        _scores(qualities),
        Notes((_note(qualities),)),
        _recalls(qualities),
        *(Details(table.caption, (table,)) for table in confusions),
    )


def _scores(qualities: Sequence[Quality]) -> Table:
    rows = []
    for quality in qualities:
        worst, number = min((recall.value, number) for number, recall in enumerate(quality.recalls) if recall.n)
        label, taken_for, fraction = quality.worst_confusion
        rows.append(
            (
                row_label(quality.row),
                _percent(quality.row.estimates.get("accuracy")),
                _percent(quality.macro_f1),
                _percent(quality.roc_auc, 3),
                f"{number}: {100 * worst:.1f} %",
                f"{label} taken for {taken_for}: {100 * fraction:.2f} %",
            )
        )
    figures = ("accuracy %", "macro F1 %", "ROC AUC %", f"worst {_label(qualities)}")
    columns = (Column("cell"), *(Column(head, left=False) for head in figures), Column("most frequent mistake"))
    return Table(columns, tuple(rows), caption="Scores on the test set", sortable=True)


def _why_none(section: Section) -> str:
    if not any(row.runs for row in section.rows):
        return "No run ended ok, so there is nothing to score."
    task = section.rows[0].task
    if task is not None and not task.scored:
        return f"The task {section.task} is for speed alone: nothing is there to be learnt."
    if task is not None and task.target is not CLASS_LABEL:
        return f"These scores are of tasks with a class per sequence, and {section.task} has {task.target.title}."
    if task is not None and task.outputs > MOST_CLASSES:
        return f"No predictions are kept of more than {MOST_CLASSES} classes."
    return "These runs keep no predictions: they were measured before bench stored them (schema 1)."


def _recalls(qualities: Sequence[Quality]) -> Table:
    numbers = range(max(len(quality.recalls) for quality in qualities))
    return Table(
        (Column("cell"), *(Column(str(number), left=False) for number in numbers)),
        tuple(
            (row_label(quality.row), *(_percent(recall, 1, interval=False) for recall in quality.recalls))
            for quality in qualities
        ),
        caption=f"Recall by {_label(qualities)}, %: the fraction of its samples that were recognised, mean over seeds",
        sortable=True,
    )


def _confusion(quality: Quality) -> Table:
    numbers = range(len(quality.confusion))
    return Table(
        (Column("label"), *(Column(f"→ {number}", left=False) for number in numbers)),
        tuple(
            (str(number), *(f"{100 * fraction:.1f}" if fraction else "0" for fraction in quality.confusion[number]))
            for number in numbers
        ),
        caption=f"Confusion of {row_label(quality.row)}, % of each label's samples, all runs together",
    )


def _label(qualities: Sequence[Quality]) -> str:
    """What the task calls one of its classes; a section has one task."""
    task = qualities[0].row.task
    return task.words.label if task else "class"


def _note(qualities: Sequence[Quality]) -> str:
    label = _label(qualities)
    damaged = sum(quality.damaged for quality in qualities)
    more = f" {damaged} runs' predictions could not be read." if damaged else ""
    few = f" Confusion is shown of the first {_CONFUSIONS} rows." if len(qualities) > _CONFUSIONS else ""
    return (
        f"On {qualities[0].samples:,} test samples, a figure a run, then the mean over seeds with its 95 % interval "
        f"(Student's t). F1 is the mean of each {label}'s; ROC AUC is each {label} against the rest, then their mean."
        f"{few}{more}"
    )


def _percent(estimate: Estimate | None, decimals: int = 2, *, interval: bool = True) -> str:
    if estimate is None or not estimate.n or not math.isfinite(estimate.value):
        return NONE
    value = f"{100 * estimate.value:.{decimals}f}"
    if estimate.interval is None or not interval:
        return value
    return f"{value} ± {50 * (estimate.interval.high - estimate.interval.low):.{decimals}f}"
