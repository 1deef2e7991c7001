"""What stands around a section's table: its heading, its setting, and notes on what the figures mean and leave out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.joining import CODE
from bench.analysis.stats import CONFIDENCE
from bench.analysis.summary import Section
from bench.analysis.trends import find_trends
from bench.catalog.tasks import CLASS_LABEL
from bench.core.axes import BY_FIELD
from bench.core.case import written
from bench.core.metric import MetricKind
from bench.report.apart import joining_fields
from bench.report.columns import FIRST_ONLY, against_generic, has_interval, shown_metrics
from bench.report.inference_table import INFERENCE_NOTE, inference_findings, inference_table
from bench.report.remarks import device_notes, stall_notes, trend_notes
from bench.report.roofline import ROOFLINE_NOTE, roofline_table
from bench.report.values import NONE, machine_words, row_label, software_words


def heading(section: Section) -> str:
    """What a section is of: the task, what all its rows have in common of network, backend and device, and the join."""
    return " · ".join([section.task, *_setting(section, ("network", "backend", "device")), *_side_by_side(section)])


def _side_by_side(section: Section) -> list[str]:
    """What is joined, with the values that stand side by side."""
    words = []
    for name in section.joined:
        if name == CODE:
            words.append(f"{len({key.code_digest for key in section.keys} - {''})} versions of the users' code")
        else:
            values = dict.fromkeys(written(row.axes[name]) for row in section.rows)
            words.append(f"{name.replace('_', ' ')} {', '.join(values)}")
    return [f"side by side: {'; '.join(words)}"] if words else []


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
            f"{_coverage(section)}{_scores_in_words(section)}",
            "s/epoch, training alone: each run's median over its epochs from 2 on, then the median over runs; the "
            "interval is between order statistics from 6 runs on, Student's t on the logarithms below.",
            "ratio to SimpleRNN: geometric mean of the ratios of s/epoch, all else equal, paired by block; Student's t "
            "on the logarithms.",
            "first s, compile s: seconds of the first epoch and of compiling, medians over runs, in no other figure. "
            "memory: peak above the start, median, 1 MB = 10⁶ bytes. kernel: asked → ran. runs: ended ok (/ all).",
        ]
    texts += _of_interleaved(section)
    if "kernel" in section.axes:
        texts.append(
            "kernel auto: what Keras picks by itself, which is what people get. generic: the same loop for every cell, "
            "which is the fair comparison of cells."
        )
    if against_generic(section):
        texts.append("ratio to generic (× generic): of s/epoch, to the same cell's generic kernel, paired by block.")
    ranged_figures = [
        estimate
        for row in rows
        for metric in shown_metrics(section)
        if has_interval(metric) and (estimate := row.estimates.get(metric.name))
    ]
    if any(estimate.interval is None for estimate in ranged_figures):
        texts.append("No interval where there is one value only, or all are equal.")
    if any(row.first_epoch_only for row in rows):
        texts.append(f"{FIRST_ONLY} first epoch only: the runs had one epoch, which is not a steady one.")
    if any(row.ratio is None and row.estimates.get("train_seconds") for row in rows):
        fields = joining_fields(section)
        way = f"; `--join {','.join(fields)}` compares rows that differ in {' and '.join(fields)}" if fields else ""
        texts.append(f"The ratio is {NONE} where SimpleRNN has no result at the same setting and block{way}.")
    if section.joined:
        texts.append(
            f"By --join, rows stand side by side though they differ in {' and '.join(section.joined)}. Those of "
            "different campaigns share no blocks: their ratios are of independent samples (Welch's t), and what "
            "drifted on the machine between the campaigns is in them."
        )
    texts += _baselines(section)
    texts += _what_is_missing(section)
    texts += [
        *device_notes(section),
        *stall_notes(section),
        *trend_notes(find_trends(section.runs), labels.__getitem__),
    ]
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


def _of_interleaved(section: Section) -> Iterator[str]:
    """What the figures of the interleaved measurement are, and which rows have none."""
    measured = [row for row in section.rows if row.interleaved]
    if not measured:
        return
    groups = max(row.interleaved.step_seconds.n for row in measured if row.interleaved)
    ratios = sum(row.interleaved is not None and row.interleaved.ratio is not None for row in measured)
    yield (
        f"ms/step{', and ratio to SimpleRNN where it was measured so' if ratios else ''}: training steps of all cells, "
        f"alternating within seconds, over {groups} groups of fresh processes whose arrays lie in huge pages; s/epoch "
        f"is of the protocol's runs, one after the other. The intervals of these ratios hold together with 95 %."
    )
    if missing := [row_label(row) for row in section.rows if row.runs and not row.interleaved]:
        yield f"Not interleaved, so that their ratios are those of s/epoch: {', '.join(missing)}."


def _coverage(section: Section) -> str:
    """Whether the intervals hold each by itself, or all together, and how the others are had."""
    if not section.together:
        return "Intervals are 95 % each (--simultaneous: together)."
    each = 100 * (1 - (1 - CONFIDENCE) / section.together)
    step = ", those of ms/step apart, of 95 % each" if any(row.interleaved for row in section.rows) else ""
    return (
        f"All {section.together} intervals of this table hold together with 95 %: each is of {each:.4g} % "
        f"(Bonferroni; Student's t where order statistics do not reach that){step}."
    )


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
    for metric in shown_metrics(section):
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
