"""Accuracy, or error, after each epoch, on what the task validates on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from bench.analysis.leaders import best_scoring
from bench.analysis.stats import mean_t
from bench.analysis.summary import Section
from bench.core.units import significant
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import count, row_label


def draw_learning_curves(measured: Measured, section: Section) -> style.Drawing:
    """The mean over seeds after each epoch, with its interval.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    if section.score is None:
        raise style.NothingToShowError(style.no_score(section))
    score, words = section.score.name, section.score_words
    scale, unit, sign = (100, "%", 1) if words == "accuracy" else (1, "", -1)
    rows = [row for row in section.rows if row.runs and row.estimates.get(score)]
    seen = measured.frame[(measured.frame["phase"] == "validate") & (measured.frame["status"] == "ok")]
    if not rows or seen.empty:
        raise style.NothingToShowError(style.no_runs(section) if not rows else "no run was validated after its epochs")
    drawn = sorted(rows, key=lambda row: -sign * row.estimates[score].value)[: style.MOST_LINES]
    legend_lines = math.ceil(len(drawn) / 2) if len(drawn) > 3 else 1
    fig, ax = style.axes(height=3.4 + 0.2 * (legend_lines - 1))
    styles, data = style.line_styles(section, drawn), []
    by_run = dict(iter(seen.groupby("run_id", observed=True)))
    texts, explained = style.labels([style.row_name(row) for row in drawn])
    label_of = {id(row): text for row, text in zip(drawn, texts, strict=True)}
    finals: list[tuple[str, int, float]] = []
    for row in [row for row in rows if row in drawn]:
        values: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for run in row.runs:
            validated = by_run.get(run.run_id)
            if validated is None:
                continue
            for epoch, value in zip(validated["epoch"], validated[score], strict=True):
                if math.isfinite(epoch) and math.isfinite(value):
                    values[int(epoch)][run.seed].append(scale * value)
        epochs = sorted(values)
        if not epochs:
            continue
        means = [
            mean_t(math.fsum(same_seed) / len(same_seed) for same_seed in values[epoch].values()) for epoch in epochs
        ]
        shown = [mean.value for mean in means]
        (line,) = ax.plot(epochs, shown, marker="o", markersize=4, label=label_of[id(row)], **styles[id(row)])
        each = (f"{value:.2f} %" if unit else significant(value) for value in shown)
        style.give_value(line, f"{style.row_name(row)}, epoch by epoch: {', '.join(each)}")
        banded = [(epoch, mean.interval) for epoch, mean in zip(epochs, means, strict=True) if mean.interval]
        if banded:
            lows = [interval.low for _, interval in banded]
            highs = np.minimum([interval.high for _, interval in banded], 100 if unit else math.inf)
            colour = styles[id(row)]["color"]
            ax.fill_between([epoch for epoch, _ in banded], lows, highs, color=colour, alpha=0.15, lw=0)
        finals.append((row_label(row), epochs[-1], means[-1].value))
        data += [style.record(row, mean, epoch=epoch, unit=unit) for epoch, mean in zip(epochs, means, strict=True)]
    if not data:
        raise style.NothingToShowError("no run was validated after its epochs")
    ax.set_xlabel("epoch")
    ax.set_ylabel(f"accuracy on the {section.validated_on}, %" if unit else f"{words}\non the {section.validated_on}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    columns = 2 if len(drawn) > 3 or explained else 3
    fig.legend(loc="outside lower center", ncols=columns, title=explained.replace("\n", " ") or None)
    last = max(each["epoch"] for each in data)
    most = style.MOST_LINES
    thinned = f" The {most} best of {len(rows)} rows are drawn." if len(rows) > most else ""
    band = f"On the {section.validated_on}: mean over seeds, with the 95 % interval (Student's t) as a band."
    caption = f"{band} {style.seeds_in(drawn)}.{thinned}"
    final = [each for each in data if each["epoch"] == last]
    what = f"{words.capitalize()} on the {section.validated_on} after {count(last, 'epoch')}"
    alt = f"{what}: {style.values_in_words(final, unit)}."
    return style.Drawing(_title(section, finals), caption, alt, fig, data)


def _title(section: Section, finals: Sequence[tuple[str, int, float]]) -> str:
    """Who has the best score where that is certain; else who leads by the means.

    Args:
        section: of the rows.
        finals: for each row its label, its last epoch, and its mean score then, an accuracy in percent.
    """
    is_accuracy = section.score_words == "accuracy"
    leader, _, best = (max if is_accuracy else min)(finals, key=lambda final: final[2])
    last_epochs = {epoch for _, epoch, _ in finals}
    when = f"After {count(max(last_epochs), 'epoch')}" if len(last_epochs) == 1 else "After its last epoch"
    what = f"mean accuracy on the {section.validated_on}" if is_accuracy else section.score_words
    figure = f"{best:.2f} %" if is_accuracy else f"{best:.4f}"
    if len(finals) == 1:
        return f"{when} {leader} has a {what} of {figure}"
    certain = best_scoring(section)
    if certain and certain.clear and row_label(certain.row) == leader:
        return f"{when} {leader} has the {'highest' if is_accuracy else 'lowest'} {what}, {figure}"
    return f"{when} {leader} leads in {what}, {figure}; it is not yet certain"
