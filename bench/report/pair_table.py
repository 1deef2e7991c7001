"""`bench table --pairs`: every row against every other, as a document, and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.analysis.pairs import AllPairs, RowPair, all_pairs
from bench.analysis.summary import Section
from bench.report.document import Block, Column, Document, Heading, Lines, Notes, Paragraph, Table
from bench.report.section_notes import heading, subheadings
from bench.report.values import NONE, ranged, row_label


def pairs_document(sections: Sequence[Section]) -> Document:
    """A table of all pairs for each section."""
    if not sections:
        return Document((Paragraph("Nothing was measured yet."),))
    return Document(tuple(block for section in sections for block in _blocks(section)))


def pair_records(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """A record for each pair, flat, in SI units and full precision."""
    return [
        {
            "section": number,
            "task": section.task,
            "metric": pair.metric.name,
            "row": row_label(pair.row),
            "against": row_label(pair.against),
            "change": "ratio" if pair.metric.as_ratio and pair.replicate != "seed" else "difference",
            "value": pair.change.value,
            "low": pair.change.interval.low if pair.change.interval else None,
            "high": pair.change.interval.high if pair.change.interval else None,
            "confidence_each": every.confidence,
            "n": pair.change.n,
            "better": row_label(pair.leads) if pair.leads else None,
            "better_in": pair.better,
            "shared": pair.shared,
            "replicate": pair.replicate,
        }
        for number, section in enumerate(sections)
        for every in (all_pairs(section),)
        for pair in every.pairs
    ]


def _blocks(section: Section) -> Iterator[Block]:
    every = all_pairs(section)
    yield Heading(heading(section))
    yield Lines(subheadings(section))
    yield Table(
        (
            Column("metric", group=True),
            Column("row"),
            Column("against"),
            Column("change", left=False),
            Column("simultaneous 95 %", left=False),
            Column("better"),
            Column("in", left=False),
        ),
        tuple(_row(pair) for pair in every.pairs),
        empty="No two rows have a result.",
    )
    yield Notes(tuple(_notes(every)))


def _row(pair: RowPair) -> tuple[str, ...]:
    value, interval = _change(pair)
    won = f"{pair.better} of {pair.shared} {pair.replicate}s" if pair.shared else "unpaired"
    leads = row_label(pair.leads) if pair.leads else "can't tell"
    return pair.metric.title, row_label(pair.row), row_label(pair.against), value, interval, leads, won


def _change(pair: RowPair) -> tuple[str, str]:
    """The change and its interval, with a sign for a difference and × for a ratio."""
    if not pair.change.n:
        return NONE, NONE
    if pair.replicate != "seed":
        value, interval = ranged(pair.change)
        return f"{value} ×", interval or NONE
    scale, interval_of = pair.metric.unit.scales[-1], pair.change.interval

    def signed(value: float) -> str:
        return f"{scale.factor * value:+.{2 if scale.decimals is None else scale.decimals}f}".replace("-", "−")

    interval = f"{signed(interval_of.low)} to {signed(interval_of.high)}" if interval_of else NONE
    return f"{signed(pair.change.value)}{pair.metric.unit.difference}", interval


def _notes(every: AllPairs) -> Iterator[str]:
    if not every.pairs:
        return
    yield (
        f"All {len(every.pairs)} intervals hold together with 95 %: each has {100 * every.confidence:.2f} % "
        "(Bonferroni). A ratio is row / against, a difference row − against; in: where the row is better."
    )
    yield (
        "Scores are paired by seed, Student's t; times by block, as ratios, Student's t on the logarithms. can't tell: "
        "the interval contains no change."
    )
    if any(pair.replicate == "group" for pair in every.pairs):
        yield (
            "By groups: these rows alternated in an interleaved measurement, and the ratio is of their training steps, "
            "trimmed mean over process groups, as in the table; the interval allows for when the measurement ended."
        )
