"""The parts of docs/results.md beyond rows of digits: what cells remember, and what steps, layers and options cost.

As in `scripts.results_page`, the sentences hold no figure, and no finding that the data might contradict.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from bench.analysis.rows import Row, ratio_between
from bench.core.axes import BY_FIELD, changed
from bench.report.document import Document, Gallery
from bench.report.growth import growth_blocks
from bench.report.markdown import render_markdown
from bench.report.measured import read_sections
from scripts.results_format import REFERENCE, ROOT, TITLES, Json, figure, interval, sections, table

OPTIONS = ("bidirectional", "recurrent_dropout", "mask")


def parts() -> Iterator[str]:
    """The paragraphs and tables, in order."""
    yield from adding(sections("adding"))
    yield from pixels(sections("pixels", "--join", "units"))
    yield from scaling()
    yield from options()


def adding(read: Sequence[Json]) -> Iterator[str]:
    """The adding problem: at which delays a cell still learns, and what it takes."""
    (section,) = read
    yield (
        f"## Memory over a delay\n\n{_conditions('adding', read)} Two numbers of a sequence are marked, and "
        f"their sum is asked for; a loss of 0.1667, the variance of the sum, is that of a network that has "
        f"learnt nothing."
    )
    yield table(
        ("steps", "cell", "parameters", "loss", "R²", "s/epoch"),
        (
            (
                str(row["axes"]["steps"]),
                TITLES[row["cell"]],
                f"{row['parameters']:,}",
                interval(row["test_loss"]),
                figure(row["test_r2"]["value"]),
                figure(row["train_seconds"]["value"]),
            )
            for row in section["rows"]
        ),
    )
    yield _claims(read)


def pixels(read: Sequence[Json]) -> Iterator[str]:
    """Images read pixel by pixel, by cells of as many parameters."""
    yield (
        f"## Images read pixel by pixel\n\n{_conditions('pixels', read)} Digits of 14 × 14 pixels, each the "
        f"mean of four, one a step: in their order, and in one order that was drawn once. The widths give the cells "
        f"as many parameters. The claims are the order in table 1 of Bai, Kolter and Koltun (2018)."
    )
    yield table(
        ("task", "cell", "units", "parameters", "accuracy, %", "s/epoch", "ratio to SimpleRNN"),
        (
            (
                f"`{section['task']}`",
                TITLES[row["cell"]],
                str(row["axes"]["units"]),
                f"{row['parameters']:,}",
                interval(row["test_accuracy"], 100),
                figure(row["train_seconds"]["value"]),
                interval(row["ratio_to_simple_rnn"]),
            )
            for section in read
            for row in section["rows"]
        ),
    )
    yield _claims(read)


def scaling() -> Iterator[str]:
    """How training time grows with steps and layers, and where a scan overtakes a loop."""
    read = sections("scaling")
    yield f"## How training time grows\n\n{_conditions('scaling', read)}"
    blocks = growth_blocks(read_sections([ROOT / REFERENCE / "scaling"], warn=print))
    _, *tables = [block for block in blocks if not isinstance(block, Gallery)]
    yield render_markdown(Document(tuple(tables))).strip()


def options() -> Iterator[str]:
    """What each option of a layer costs, as a ratio to the same layer without it, on the same backend."""
    read = sections("options")
    yield (
        f"## What options cost\n\n{_conditions('options', read)} Ratios are of the time of an epoch to that of "
        f"the same cell with no option, on the same backend."
    )
    yield table(
        ("backend", "cell", "options", "ran", "s/epoch", "ratio to none"),
        (
            (
                TITLES.get(section.software["backend"], section.software["backend"]),
                TITLES[row.cell],
                _options(row),
                ", ".join(row.kernels_attested),
                figure(row.estimates["train_seconds"].value),
                interval(_json(row, plain)),
            )
            for section in read_sections([ROOT / REFERENCE / "options"], warn=print)
            for row in section.rows
            for plain in section.rows
            if plain.cell == row.cell
            and not changed(plain.configuration, OPTIONS)
            and changed(row.configuration, OPTIONS)
        ),
    )


def _changed(row: Row) -> list[tuple[str, str | int | float]]:
    return changed(row.configuration, OPTIONS)


def _options(row: Row) -> str:
    return ", ".join(BY_FIELD[name].in_words(value) for name, value in _changed(row))


def _json(row: Row, plain: Row) -> Json:
    ratio = ratio_between(row, plain)
    bounds = ratio.interval
    return {"value": ratio.value, "low": bounds and bounds.low, "high": bounds and bounds.high}


def _claims(read: Sequence[Json]) -> str:
    return table(
        ("claim", "verdict", "figures"),
        (
            (html.escape(claim["text"]), claim["verdict"], claim["evidence"])
            for section in read
            for claim in section["claims"]
        ),
    )


def _conditions(name: str, read: Sequence[Json]) -> str:
    rows = [row for section in read for row in section["rows"]]
    machine = read[0]["machine"]
    return (
        f"The suite `{name}`: {len(rows)} configurations, {max(row['seeds'] for row in rows)} seeds, "
        f"{sum(row['runs_ok'] for row in rows)} runs that ended ok; {machine['cpu_model']}, "
        f"{machine['usable_cores']} cores."
    )
