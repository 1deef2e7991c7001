"""The parts of docs/results.md beyond rows of digits: what cells remember over a delay.

As in `scripts.results_page`, the sentences hold no figure, and no finding that the data might contradict.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from scripts.results_format import TITLES, Json, conditions, figure, interval, sections, table

BAI_2018 = ("accuracy: gru > simple_rnn", "accuracy: lstm > simple_rnn", "accuracy: gru > lstm")


def parts() -> Iterator[str]:
    """The paragraphs and tables, in order."""
    yield from adding(sections("adding"))
    yield from pixels(sections("pixels", "--join", "units", *(f"--claim={claim}" for claim in BAI_2018)))


def adding(read: Sequence[Json]) -> Iterator[str]:
    """The adding problem: at which delays a cell still learns, and what it takes."""
    (section,) = read
    yield (
        f"## Memory over a delay\n\n{conditions('adding', read)} Each run had a single thread. Two numbers of a "
        f"sequence are marked, and their sum is asked for; a loss of 0.1667, the variance of the sum, is that of a "
        f"network that has learnt nothing."
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
        f"## Images read pixel by pixel\n\n{conditions('pixels', read)} Other work ran beside these runs, at a lower "
        f"priority: it made them slower, and changed nothing in what was learnt. Digits of 14 × 14 pixels, each the "
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


def _claims(read: Sequence[Json]) -> str:
    return table(
        ("task", "claim", "verdict", "figures"),
        (
            (f"`{section['task']}`", html.escape(claim["text"]), claim["verdict"], claim["evidence"])
            for section in read
            for claim in section["claims"]
        ),
    )
