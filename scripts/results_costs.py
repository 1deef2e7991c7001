"""The parts of docs/results.md on what steps, layers and options of a layer cost.

As in `scripts.results_page`, the sentences hold no figure, and no finding that the data might contradict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from bench.analysis.rows import Row, ratio_between
from bench.analysis.stats import paired_ratio
from bench.core.case import Case
from bench.report.document import Document, Gallery
from bench.report.growth import growth_blocks
from bench.report.markdown import render_markdown
from bench.report.measured import read_sections
from bench.store import load
from scripts.results_format import REFERENCE, ROOT, TITLES, conditions, interval, sections, table

OPTIONS: Mapping[str, tuple[str, bool | float | str]] = {
    "both directions": ("bidirectional", True),
    "recurrent dropout": ("recurrent_dropout", 0.2),
    "a mask of padding on the right": ("mask", "right"),
    "a mask with gaps": ("mask", "gaps"),
}
"""What a row of the table is about → the field of a configuration, and its value."""


DEFAULTS: Mapping[str, Any] = {field.name: field.default for field in fields(Case)}


def parts() -> Iterator[str]:
    """The paragraphs and tables, in order."""
    yield from scaling()
    yield from options()
    yield from steady()


def scaling() -> Iterator[str]:
    """How training time grows with steps and layers, and where a scan overtakes a loop."""
    blocks = growth_blocks(read_sections([ROOT / REFERENCE / "scaling"], warn=print))
    _, *tables = [block for block in blocks if not isinstance(block, Gallery)]
    yield f"## How training time grows\n\n{conditions('scaling', sections('scaling'))}"
    yield render_markdown(Document(tuple(tables))).strip()


def steady() -> Iterator[str]:
    """What leaving TensorFlow's input pipeline untuned does to epochs and to runs."""
    read = sections("steady")
    yield (
        f"## Steady epochs\n\n{conditions('quick', read)} By chance an epoch on TensorFlow waits for the end of its "
        f"input pipeline's tuning, and the last one's wait comes after it "
        f"([why](how-sure.md#why-tensorflows-epochs-have-two-speeds)); with `steady=true` none does. Epochs are "
        f"those from 2 on; a run's time is their median, and its waiting the part of the run after its last epoch."
    )
    frame, row_of = load([ROOT / REFERENCE / "steady"], warn=print), ["cell", "steady"]
    epochs = frame[(frame["phase"] == "train") & (frame["epoch"] > 1)]
    of_runs = epochs.groupby([*row_of, "run_id"], observed=True)["seconds"]
    medians = of_runs.median().groupby(row_of, observed=True)
    within = (of_runs.max() / of_runs.min()).groupby(row_of, observed=True).median()
    waits = frame[frame["phase"] == "finish"].groupby(row_of, observed=True)["seconds"].max()
    yield table(
        (
            *("cell", "steady", "s/epoch", "slowest run ÷ fastest", "slowest epoch ÷ fastest, of a run (median)"),
            "longest waiting, s",
        ),
        (
            (
                TITLES[row["cell"]],
                str(row["axes"]["steady"]).lower(),
                interval(row["train_seconds"]),
                f"{medians.max()[place] / medians.min()[place]:.2f}",
                f"{within[place]:.2f}",
                f"{waits[place]:.2f}",
            )
            for section in read
            for row in section["rows"]
            for place in [(row["cell"], row["axes"]["steady"])]
        ),
    )


def options() -> Iterator[str]:
    """What each option costs: over all that the other options were, time with it to time without."""
    yield (
        f"## What options cost\n\n{conditions('options', sections('options'))} "
        f"An option's cost is the ratio of the time of an epoch with "
        f"it to that without it, all else equal: its geometric mean over what the other options were, with Student's t "
        f"interval over these. `bench table {REFERENCE}/options` has each combination, and the kernel that ran in it."
    )
    read = list(read_sections([ROOT / REFERENCE / "options"], warn=print))
    cells = list(dict.fromkeys(row.cell for section in read for row in section.rows))
    yield table(
        ("backend", "option", *(TITLES[cell] for cell in cells)),
        (
            (
                TITLES.get(section.software["backend"], section.software["backend"]),
                title,
                *(_cost([row for row in section.rows if row.cell == cell], *option) for cell in cells),
            )
            for section in read
            for title, option in OPTIONS.items()
        ),
    )


def _cost(rows: Sequence[Row], field: str, value: bool | float | str) -> str:
    plain = {row.configuration: row for row in rows}
    pairs = [
        (row, plain[replace(row.configuration, **{field: DEFAULTS[field]})])
        for row in rows
        if getattr(row.configuration, field) == value
    ]
    ratios = [ratio_between(*pair).value for pair in pairs]
    ratio = paired_ratio(ratios, [1.0] * len(ratios))
    bounds = ratio.interval
    return interval({"value": ratio.value, "low": bounds and bounds.low, "high": bounds and bounds.high})
