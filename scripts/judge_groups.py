"""What recorded process groups give: measurements of several cells, coverage of intervals, two stores hours apart.

    python -m scripts.judge_groups results/reference/duels/groups --out results/reference/duels/groups.json --docs docs

The recording (`scripts/record_groups.py`) has sessions, hours apart. Nothing in a duel is chosen on the last:
measurements are drawn from it; of two stores the base's groups are drawn from the first session, and the new side's
from the last. While there is a single session its halves stand for two.

- Measurements (2,000 each) are judged by the duel's own judge on a calendar of their own. Those of different cells are
  real groups, drawn with replacement, whose ratios stay together; their truth is what the whole session gives for
  groups of all rounds, or of as many rounds as were drawn. Three equal sides were not recorded: their ratios are those
  of two equal sides, correlated as ratios to a common base are (`scripts/simulate_sides.py`).
- Coverage is that of duels which run to the end of ten minutes (20,000 each; `scripts/replay_servers.py`). Kept whole
  are neighbouring groups, three at a time, without a change of sign: their truth is the session's own ratio.
- A store has the groups that `bench run --interleave` would have stopped after, in their order from a drawn one on; so
  how a session drifts and what lies between two of them is real. The time over the anchor's is judged by
  `bench.analysis.findings`, as three of a gate's twelve intervals.

`--docs` writes the tables between their markers, which have the recording's name, in how-sure.md and between-days.md of
that folder.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.interleaved_figures import TRIMMED
from bench.analysis.samples import Reading
from bench.analysis.stats import single_difference, trimmed_t, welch
from bench.analysis.verdict import Verdict
from bench.catalog.cells import REFERENCE_CELL
from bench.core.metric import Margins
from bench.duel.interleaved_cells import PRECISION
from bench.duel.sequential import Contrast
from scripts.group_tables import SAME_SESSION, tables, with_tables
from scripts.recorded_groups import EqualGroups, Floats, ResampledGroups, Session, base_and_new, read_sessions
from scripts.replay_servers import PUT_IN, draw, missed
from scripts.simulate_anchor import verdict_between
from scripts.simulate_duels import fraction
from scripts.simulate_sides import Design, measure, rows_in_turn, summary

MEASUREMENTS, DUELS = 2_000, 20_000
DUEL_PRECISION = 0.01
"""What a duel of different cells is to find out."""
BUDGETS = (10.0, 20.0, 30.0)
"""Minutes that a store's interleaved measurement may take."""
SLOWDOWN = 0.05
HOUR = 3600.0
NEIGHBOURS = 3
FIRST = 3
"""So many comparisons of each kind are written down, to be made again by a test."""

OF_PAIRS_MACHINE = "groups"
"""The recording of the machine that pairs were recorded on too: its tables have both."""

_QUARTER = Margins(tolerance=0.005, floor=0.0025)

EQUAL = (
    Design(name="two equal sides", sides=2),
    Design(name="three equal sides", sides=3),
    Design(name="three equal sides, all pairs", sides=3, all_pairs=True),
    Design(name="three sides, one 3 % slower", sides=3, slower=(0.0, 0.03)),
    Design(
        name="tolerance 0.5 %, floor 0.25 %, 1 % slower",
        sides=2,
        slower=(0.01,),
        budget_minutes=20,
        margins=_QUARTER,
    ),
)
"""Measurements of equal cells."""

DIFFERENT = {
    "two sides to ± 1 %": (("simple_rnn", "lstm"), False, 10.0),
    "three sides to ± 1 %": (("simple_rnn", "lstm", "gru"), False, 10.0),
    "three sides to ± 1 %, all pairs": (("simple_rnn", "lstm", "gru"), True, 20.0),
    "four sides to ± 1 %, 20 minutes": (("simple_rnn", "lstm", "gru", "lstm"), False, 20.0),
}
"""Measurements of different cells: the cells, whether all pairs are asked for, and the minutes that it may take."""


# --- the recording ---


def spreads(session: Session) -> list[dict[str, Any]]:
    """By cell: how much a group's ratios vary, and what a side takes of a group."""
    base = session.cells[0]
    return [
        {
            "cell": cell,
            "groups": len(session),
            "sd_equal": float(session.equal(cell).std(ddof=1)),
            "sd_to_base": None if cell == base else _spread(session.between(base, cell)),
            "sd_over_anchor": _spread(session.over_anchor(cell)),
            "lag_one": _lag_one(session.equal(cell)),
            "timed_seconds": session.side_seconds(cell),
            "overhead_seconds": session.overhead_seconds,
            "server_seconds": session.server_seconds,
        }
        for cell in session.cells
    ]


def _spread(logs: Floats) -> float:
    """The standard deviation of a group's log-ratio of one side, over the groups: the mean over the columns."""
    return float(np.sqrt(logs.var(axis=0, ddof=1).mean()))


def _lag_one(values: Floats) -> float:
    about = values - values.mean()
    return float(about[1:] @ about[:-1] / (about @ about))


def between_sessions(base: Session, new: Session) -> dict[str, Any]:
    """How far two sessions are apart, in logarithms: the anchor, and ratios with half their 95 % intervals."""
    anchors = [np.log(session.anchor_seconds) for session in (base, new)]
    return {
        "hours": float(np.median(new.ended_at) - np.median(base.ended_at)) / HOUR,
        "anchor_moved": float(anchors[1].mean() - anchors[0].mean()),
        "anchor_sd": float(anchors[1].std(ddof=1)),
        "cells": {cell: _moved(base.over_anchor(cell), new.over_anchor(cell)) for cell in base.cells},
        **_over_numpy(base, new),
        "to_reference": {
            cell: _moved(base.between(REFERENCE_CELL, cell), new.between(REFERENCE_CELL, cell))
            for cell in base.cells
            if cell != REFERENCE_CELL
        },
    }


def _over_numpy(base: Session, new: Session) -> dict[str, Any]:
    """The same over the anchor in NumPy, where that was measured beside another one."""
    if base.over_numpy is None or new.over_numpy is None:
        return {}
    of_sides = {cell: list(base.sides(cell)) for cell in base.cells} | {"the anchor": [-1]}
    return {
        "over_numpy": {
            name: _moved(base.over_numpy[:, sides], new.over_numpy[:, sides]) for name, sides in of_sides.items()
        }
    }


def _moved(base: Floats, new: Floats) -> dict[str, float]:
    """How far a log-ratio moved, by group and pair of sides, and how far two groups differ (standard deviation)."""
    sides = [logs.mean(axis=1) for logs in (base, new)]
    spread, of_groups = welch(*sides), single_difference(*sides)
    return {
        "moved": float(sides[1].mean() - sides[0].mean()),
        "half": spread.half_width(0.95) if spread else 0.0,
        "of_groups": of_groups.error if of_groups else 0.0,
    }


# --- measurements ---


def measurements_of_equal(design: Design, session: Session, number: int, first: int = 0) -> list[dict[str, Any]]:
    """A row for each measurement of equal sides, the cells in turn.

    Args:
        design: what is measured.
        session: whose ratios of two equal sides are drawn, with either sign.
        number: how many measurements.
        first: the number of the first.
    """
    return rows_in_turn(
        design,
        sorted(session.cells),
        lambda cell, seed: EqualGroups(session, cell, design.sides, seed),
        number,
        first,
    )


def design_of(name: str, session: Session) -> Design:
    """A measurement of different cells, with the session's own ratios as the truth."""
    cells, all_pairs, budget = DIFFERENT[name]
    return Design(
        name=name,
        sides=len(cells),
        slower=tuple(math.expm1(session.whole[cells[0], cell]) for cell in cells[1:]),
        precision=DUEL_PRECISION,
        all_pairs=all_pairs,
        budget_minutes=budget,
    )


def measurements_of_different(
    name: str, session: Session, number: int, first: int = 0, *, of_as_many: bool = False
) -> list[dict[str, Any]]:
    """A row for each measurement of different cells, of `DIFFERENT`.

    Args:
        name: of the measurement.
        session: whose groups are drawn.
        number: how many measurements.
        first: the number of the first.
        of_as_many: see `ResampledGroups`.
    """
    design, cells = design_of(name, session), DIFFERENT[name][0]
    return rows_in_turn(
        design, ["all"], lambda _, seed: ResampledGroups(session, cells, seed, of_as_many=of_as_many), number, first
    )


def measurements(session: Session, design: Design) -> dict[str, Any]:
    """What measurements of a design came to; those of different cells by the design's name."""
    if design.name not in DIFFERENT:
        return summary(design, measurements_of_equal(design, session, MEASUREMENTS))
    rows, of_as_many = (
        measurements_of_different(design.name, session, MEASUREMENTS, of_as_many=truth) for truth in (False, True)
    )
    return {
        **summary(design, rows),
        "missed_of_as_many": fraction(sum(row["missed"] for row in of_as_many), MEASUREMENTS),
        "cells": list(DIFFERENT[design.name][0]),
    }


# --- coverage ---


def coverage(session: Session, cell: str) -> list[dict[str, Any]]:
    """In how many duels of two equal sides of a cell some analysis's interval misses the truth, by what is put in."""
    ratios = session.equal(cell)
    groups = int(10 * 60 / (session.server_seconds + 2 * (session.overhead_seconds + session.slowest_side_seconds)))
    rows = []
    for put_number, put_in in enumerate(PUT_IN):
        generator = np.random.default_rng((put_number, *cell.encode()))
        values, truth = draw(ratios[:, np.newaxis], "pair, own servers", put_in, DUELS, generator, groups)
        rows.append({"cell": cell, "put_in": put_in, "groups": groups, "missed": missed(values, truth)})
    generator = np.random.default_rng((len(PUT_IN), *cell.encode()))
    starts = generator.integers(0, len(ratios), (DUELS, -(-groups // NEIGHBOURS), 1))
    places = (starts + np.arange(NEIGHBOURS)).reshape(DUELS, -1)[:, :groups] % len(ratios)
    kept_whole = missed(ratios[places], trimmed_t(ratios, TRIMMED).value)
    return [*rows, {"cell": cell, "put_in": "nothing, neighbours kept whole", "groups": groups, "missed": kept_whole}]


# --- stores ---


def store(session: Session, minutes: float, seed: Sequence[int], started_at: float) -> dict[str, list[Reading]]:
    """By cell: the process groups of a store whose cells were interleaved for so long, or until they were precise.

    Args:
        session: whence the groups are drawn.
        minutes: that it may take.
        seed: of the random numbers.
        started_at: when it began, seconds since 1970, UTC.
    """
    groups = ResampledGroups(session, session.cells, seed, in_order=True)
    design = Design(name="", sides=len(session.cells), precision=PRECISION, budget_minutes=minutes)
    decision, _, _ = measure(design, groups)
    readings = {}
    for place, cell in enumerate(session.cells):
        kept = decision.analyses[Contrast(0, place)].groups if place else len(groups.drawn)
        readings[cell] = [
            Reading(
                seed=0,
                value=math.exp(session.log_ratios_by_rounds[rounds - 1, group, -1, sides[place]]),
                started_at=started_at + number * groups.seconds(len(sides)),
                campaign_id=str(started_at),
                runs=0,
                anchor_seconds=float(session.anchor_seconds[group]),
                anchor_is_trained=session.anchor_is_trained,
            )
            for number, (group, sides, rounds) in enumerate(groups.drawn[:kept])
        ]
    return readings


def compared(
    base: Session, new: Session, minutes: float, slowdown: float, number: int, first: int = 0
) -> list[tuple[list[str], list[int]]]:
    """Of each comparison of two stores: the verdicts on its cells, and the base's and the new side's groups.

    Args:
        base: the session that the base's groups are drawn from.
        new: that of the new side's.
        minutes: that either store's measurement may take.
        slowdown: by how much the new side's cells are slower, put in.
        number: how many comparisons.
        first: the number of the first.
    """
    ended = []
    for index in range(first, first + number):
        old, later = (
            store(session, minutes, (index, side, int(minutes)), side * HOUR)
            for side, session in enumerate((base, new))
        )
        verdicts = []
        for cell in base.cells:
            slower = [replace(reading, value=reading.value * (1 + slowdown)) for reading in later[cell]]
            verdicts.append(verdict_between(old[cell], slower).value)
        ended.append((verdicts, [len(side[base.cells[0]]) for side in (old, later)]))
    return ended


def stores(base: Session, new: Session, apart: str, minutes: float, slowdown: float) -> dict[str, Any]:
    """What comparisons of stores came to."""
    ended = compared(base, new, minutes, slowdown, MEASUREMENTS)
    wanted = Verdict.SLOWER if slowdown else Verdict.SAME
    wrong = (Verdict.FASTER, Verdict.SAME) if slowdown else (Verdict.FASTER, Verdict.SLOWER)
    return {
        "apart": apart,
        "minutes": minutes,
        "slower": slowdown,
        "groups": float(np.median([groups for _, both in ended for groups in both])),
        "all_right": fraction(sum(set(verdicts) == {wanted} for verdicts, _ in ended), len(ended)),
        "right_by_cell": {
            cell: fraction(sum(verdicts[place] == wanted for verdicts, _ in ended), len(ended))
            for place, cell in enumerate(base.cells)
        },
        "wrong": fraction(sum(not {*verdicts}.isdisjoint(wrong) for verdicts, _ in ended), len(ended)),
        "first": [verdicts for verdicts, _ in ended[:FIRST]],
    }


# --- all of it ---


def judge(recording: Path, processes: int) -> dict[str, Any]:
    """All that the recording gives.

    Args:
        recording: its folder.
        processes: that work at a time.
    """
    sessions = read_sessions(recording)
    base, new = base_and_new(sessions)
    half = (new.part(slice(0, None, 2)), new.part(slice(1, None, 2)))
    between = [between_sessions(base, later) for later in (sessions[1:] or [new])]
    kinds = [
        (SAME_SESSION, *half, (0.0,)),
        (f"{between[-1]['hours']:.1f} hours", base, new, (0.0, SLOWDOWN)),
    ]
    with ProcessPoolExecutor(processes) as pool:
        designs = (*EQUAL, *(design_of(name, new) for name in DIFFERENT))
        of_stores = [
            pool.submit(stores, old, later, apart, minutes, slowdown)
            for apart, old, later, slowdowns in kinds
            for minutes in BUDGETS
            for slowdown in slowdowns
        ]
        of_designs = [pool.submit(measurements, new, design) for design in designs]
        of_cells = [pool.submit(coverage, new, cell) for cell in new.cells]
        return {
            "what": "recorded process groups, judged; see scripts/judge_groups.py",
            "sessions": [
                {"groups": len(each), "discarded": each.discarded, "spreads": spreads(each)} for each in sessions
            ],
            "between": between,
            "measurements": [each.result() for each in of_designs],
            "coverage": [row for each in of_cells for row in each.result()],
            "stores": [each.result() for each in of_stores],
        }


def sides_before(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of sides.json, by design."""
    return {row["design"]: row for row in json.loads((folder / "sides.json").read_text())["rows"]}


def main() -> None:
    """Judge, write, and put the tables into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--docs", type=Path, help="the folder of the documentation")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    content = judge(arguments.recording, arguments.processes)
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    name = arguments.recording.name
    made = tables(content, sides_before(arguments.out.parent) if name == OF_PAIRS_MACHINE else {})
    for page, of_page in made.items():
        print(*of_page.values(), sep="\n")
        if arguments.docs:
            path = arguments.docs / page
            path.write_text(with_tables(path.read_text(), name, of_page))


if __name__ == "__main__":
    main()
