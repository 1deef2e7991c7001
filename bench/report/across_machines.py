"""What several machines show together: ratios that hold on all of them, how far they differ, scores over all seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.analysis.machines import OverMachines, RowOverMachines, over_machines
from bench.analysis.stats import Estimate, Interval
from bench.analysis.summary import Section
from bench.core.metric import Metric
from bench.core.units import significant
from bench.report.document import Block, Cell, Column, Heading, Lines, Notes, Table
from bench.report.jsonout import estimate_object, interval_object
from bench.report.values import (
    NONE,
    case_label,
    count,
    figure_in,
    machine_words,
    percent,
    ranged,
    software_words,
    together,
)


def machine_blocks(sections: Iterable[Section], level: int = 3) -> list[Block]:
    """A part for each group of sections that differ in the machine alone; nothing where there is no such group.

    Args:
        sections: those of the table.
        level: of the headings.
    """
    return [block for group in over_machines(sections) for block in _blocks(group, level)]


def machines_object(sections: Iterable[Section]) -> list[dict[str, Any]]:
    """The same JSON-able, in SI units and full precision."""
    return [
        {
            "task": group.sections[0].task,
            "machine_fingerprints": [section.machine_fingerprint for section in group.sections],
            "software_fingerprint": group.sections[0].software_fingerprint,
            "rows": [_row_object(row) for row in group.rows],
            "equal_seeds_on_machines_alike": asdict(group.alike),
            "equal_seeds_across_machines": asdict(group.across),
        }
        for group in over_machines(sections)
    ]


def _row_object(row: RowOverMachines) -> dict[str, Any]:
    ratio = row.ratio
    return {
        "cell": row.configuration.cell,
        "configuration_id": row.configuration.configuration_id,
        "machines": row.machines,
        "ratio_to_simple_rnn": ratio
        and {
            **(estimate_object(ratio.estimate) or {}),
            "by_machine": {name: estimate_object(estimate) for name, estimate in ratio.by_machine.items()},
            "spread_fraction": ratio.spread_fraction,
            "expected_of_a_further_machine": interval_object(ratio.expected),
        },
        "score": estimate_object(row.score),
        "score_range": interval_object(row.scores),
    }


def _blocks(group: OverMachines, level: int) -> Iterator[Block]:
    section = group.sections[0]
    yield Heading(f"{section.task} · across {len(group.sections)} machines", level=level, anchor="machines")
    yield Lines((software_words(section.software),))
    yield _table(group)
    yield _each_machine(group)
    yield Notes(tuple(_notes(group)))


def _table(group: OverMachines) -> Table:
    metric = group.sections[0].score
    heads: list[Cell] = ["configuration", "machines", ("ratio to", "SimpleRNN"), "on each", "differ by"]
    heads += [("on a", "further one"), *((metric.title, "on each") if metric else ())]
    return Table(
        tuple(Column(head, left=place == 0) for place, head in enumerate(heads)),
        tuple(_cells(row, group, metric) for row in group.rows),
        caption="Over machines",
    )


def _cells(row: RowOverMachines, group: OverMachines, metric: Metric | None) -> tuple[str, ...]:
    ratio = row.ratio
    of_ratio = (
        (
            together(*ranged(ratio.estimate)),
            _low_high(ratio.range),
            percent(ratio.spread_fraction),
            _low_high(ratio.expected),
        )
        if ratio
        else (NONE,) * 4
    )
    of_score = (together(*_score(row.score, metric)), _scores(row.scores, metric)) if metric else ()
    return (case_label(row.configuration, group.axes), str(row.machines), *of_ratio, *of_score)


def _score(estimate: Estimate | None, metric: Metric) -> tuple[str, str]:
    return figure_in(estimate, metric.column) if metric.column else ranged(estimate)


def _scores(interval: Interval | None, metric: Metric) -> str:
    if interval is None:
        return NONE
    low, high = (_score(Estimate(end, None, 1), metric)[0] for end in (interval.low, interval.high))
    return low if low == high else f"{low}–{high}"


def _low_high(interval: Interval | None) -> str:
    return f"{significant(interval.low)}–{significant(interval.high)}" if interval else NONE


def _each_machine(group: OverMachines) -> Table:
    """The figures that were combined: those of each machine."""
    rows = [
        (
            # two machines may differ in what the words leave out
            f"{machine_words(section.machine)} ({(section.machine_fingerprint or NONE)[:8]})",
            case_label(row.configuration, group.axes),
            together(*ranged(row.estimates.get("train_seconds"))),
            together(*ranged(row.ratio)),
            str(len(row.runs)),
        )
        for section in group.sections
        for row in section.rows
        if row.runs
    ]
    heads = (Column("machine", group=True, wrap=True), Column("configuration"))
    figures = (Column(head, left=False) for head in ("s/epoch", "ratio to SimpleRNN", "runs"))
    return Table((*heads, *figures), tuple(rows), caption="On each machine")


def _notes(group: OverMachines) -> Iterator[str]:
    compared = [row for row in group.rows if row.ratio]
    for row in compared:
        yield _finding(row, group.axes)
    if compared:
        yield (
            "ratio to SimpleRNN: of s/epoch, measured within each machine, over machines by a random-effects model of "
            "the logarithms (Paule and Mandel; Hartung and Knapp's interval). differ by: standard deviation between "
            "machines, beyond what their runs vary by. on a further one: where 95 % of such machines are expected."
        )
        if any(row.ratio and row.ratio.expected is None for row in compared):
            yield "Of two machines nothing follows for a third."
    yield from _equal_seeds(group)


def _finding(row: RowOverMachines, axes: Sequence[str]) -> str:
    assert row.ratio
    ends = row.ratio.range
    low, high = significant(ends.low), significant(ends.high)
    label, machines = case_label(row.configuration, axes), count(row.ratio.estimate.n, "machine")
    size = f"{label} ÷ SimpleRNN is {low if low == high else f'{low} to {high}'} over {machines}"
    turned = ": slower on some, faster on others" if ends.low < 1 < ends.high else ""
    if not row.ratio.spread_fraction:
        return f"{size}{turned}; their runs vary as much."
    return f"{size}{turned}; beyond what their runs vary by they differ by {percent(row.ratio.spread_fraction)}."


def _equal_seeds(group: OverMachines) -> Iterator[str]:
    alike, across = group.alike, group.across
    if alike.compared > alike.equal:
        yield (
            f"On machines of one fingerprint {alike.compared - alike.equal} of {count(alike.compared, 'seed')} gave "
            "another test loss when run again: what differs between those machines is not recorded, and the scores "
            "over all machines hold both."
        )
    if not across.compared:
        yield "No seed ran on two machines: the scores of machines differ by their seeds too."
    elif across.compared == across.equal:
        yield f"Equal seeds gave equal test losses on all machines ({count(across.compared, 'seed')} compared)."
    else:
        yield (
            f"{across.compared - across.equal} of {count(across.compared, 'seed')} gave another test loss on another "
            "machine, which may add in another order; scores average a seed over its machines."
        )
