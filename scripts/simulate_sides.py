"""Simulated measurements of two to eight sides, drawn from recorded pairs: how often they err, what they find in time.

    python -m scripts.simulate_sides results/reference/duels/recording --out results/reference/duels/sides.json

The ratios of two equal sides were recorded, of fresh process pairs (`scripts/record_rounds.py`); the later half of each
cell's is judged on. Here a process group of k sides has the recorded ratios of every side to the base, drawn with
replacement and with either sign alike, and correlated as ratios to a common base are (0.5, by a normal copula, which
keeps the recorded distribution of each). Groups are independent, as those with fresh servers are. Each measurement is
judged by `bench.duel.sequential.SequentialJudge` itself, on a calendar of its own: a group takes `OVERHEAD_SECONDS` a
side, and half a second a round and side. A recorded pair has eight rounds; the ratios of other numbers of rounds vary
by √(0.1 + 0.9 · 8 / rounds) of that, since nine tenths of the variance are within a pair (four rounds gave 1.9 times
the variance of eight).

Designs that `--out` has already are left out, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from bench.analysis.verdict import Verdict
from bench.core.metric import Margins
from bench.duel.rounds import group_log_ratio
from bench.duel.sequential import MARGINS, Contrast, Decision, GroupRatios, Question, SequentialJudge, StopReason
from bench.report.document import Column, Document, Table
from bench.report.markdown import render_markdown
from scripts.recordings import RECORDED_ROUNDS, Recorded, halves, read
from scripts.simulate_duels import fraction

Floats = npt.NDArray[np.float64]

OVERHEAD_SECONDS = 5.0
"""What a side adds to a group beside its rounds: its server imports, its process builds, compiles and warms up. The
recorded pairs took 6 s beside their rounds, and each two servers for four pairs; as servers for each pair would have
taken a quarter of the time more, a side took about 5 s."""

ROUND_SECONDS = 0.5

BETWEEN_PAIRS = 0.1
"""The fraction of a recorded pair's variance that more rounds don't remove."""


FIRST = 9
"""So many measurements of each design are written down, to be simulated again by a test."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A kind of measurement."""

    name: str
    sides: int
    slower: tuple[float, ...] = ()
    """By how much sides 1, 2, … are slower than the base; the rest is as fast."""
    rounds: int = 12
    """Of a group; the most of it, where `bench.duel.allocation` gives it its rounds."""
    budget_minutes: float = 10.0
    margins: Margins = MARGINS
    precision: float | None = None
    all_pairs: bool = False

    @property
    def question(self) -> Question:
        """What is to be found out."""
        pairs = combinations(range(self.sides), 2) if self.all_pairs else ((0, side) for side in range(1, self.sides))
        return Question(
            contrasts=tuple(Contrast(base, side) for base, side in pairs),
            margins=self.margins,
            budget_seconds=60 * self.budget_minutes,
            precision=self.precision,
        )

    def truth(self, contrast: Contrast) -> float:
        """The true logarithm of a ratio."""
        logs = [0.0, *(math.log1p(fraction) for fraction in self.slower), *[0.0] * self.sides]
        return logs[contrast.side] - logs[contrast.base]


_FLOOR_HALF, _FLOOR_QUARTER = (Margins(tolerance=0.005, floor=floor) for floor in (0.005, 0.0025))

DESIGNS = (
    Design(name="two equal sides", sides=2),
    Design(name="two sides, 2 % slower", sides=2, slower=(0.02,)),
    Design(name="three equal sides", sides=3),
    Design(name="three equal sides, 8 rounds", sides=3, rounds=8),
    Design(name="three equal sides, 13 minutes", sides=3, budget_minutes=13),
    Design(name="three equal sides, all pairs", sides=3, all_pairs=True),
    Design(name="three sides, one 3 % slower", sides=3, slower=(0.0, 0.03)),
    Design(name="three sides to ± 1 %", sides=3, slower=(1.0, 1.3), precision=0.01),
    Design(name="two sides to ± 1 %", sides=2, slower=(1.0,), precision=0.01),
    Design(name="three sides to ± 1 %, 20 minutes", sides=3, slower=(1.0, 1.3), precision=0.01, budget_minutes=20),
    Design(name="four sides to ± 1 %, 20 minutes", sides=4, slower=(1.0, 1.3), precision=0.01, budget_minutes=20),
    Design(name="eight equal sides", sides=8, budget_minutes=30),
    Design(name="eight sides, one 3 % slower", sides=8, slower=(0.0, 0.0, 0.03), budget_minutes=30),
    Design(name="tolerance 0.5 %, equal sides", sides=2, budget_minutes=20, margins=_FLOOR_QUARTER),
    Design(
        name="tolerance 0.5 %, floor 0.25 %, 1 % slower",
        sides=2,
        slower=(0.01,),
        budget_minutes=20,
        margins=_FLOOR_QUARTER,
    ),
    Design(
        name="tolerance 0.5 %, floor 0.5 %, 1 % slower", sides=2, slower=(0.01,), budget_minutes=20, margins=_FLOOR_HALF
    ),
)


def recorded_ratios(recording: Mapping[str, Sequence[Recorded]], rounds: int) -> dict[str, Floats]:
    """By cell: the log-ratios of its recorded pairs, each with either sign, as groups of so many rounds have them.

    Args:
        recording: by cell and machine.
        rounds: of a group.
    """
    scale = math.sqrt(BETWEEN_PAIRS + (1 - BETWEEN_PAIRS) * RECORDED_ROUNDS / rounds)
    ratios = {cell: [group_log_ratio(pair.rounds, 0, 1) for pair in pairs] for cell, pairs in recording.items()}
    return {
        cell: scale * np.sort([sign * value for value in values if value is not None for sign in (-1, 1)])
        for cell, values in ratios.items()
    }


class Groups(Protocol):
    """The process groups of a measurement, on a calendar of their own."""

    def log_ratios(self, contrasts: Sequence[Contrast]) -> Floats:
        """log(side / base) of the next group about its truth, by base and side; NaN where it gives none.

        Args:
            contrasts: those that are not settled.
        """

    def seconds(self, sides: int) -> float:
        """What a group of so many sides takes, if it has as many rounds as the last one."""


class SimulatedGroups:
    """Groups of a cell's equal sides: recorded ratios, correlated by a normal copula.

    Args:
        design: what is measured.
        ratios: the log-ratios that are drawn, ascending.
        seed: of the random numbers.
    """

    def __init__(self, design: Design, ratios: Floats, seed: Sequence[int]) -> None:
        self._design, self._ratios = design, ratios
        self._generator = np.random.default_rng(seed)

    def log_ratios(self, contrasts: Sequence[Contrast]) -> Floats:
        """See `Groups`."""
        return correlated(self._ratios, self._design.sides, self._generator)

    def seconds(self, sides: int) -> float:
        """See `Groups`."""
        return sides * (OVERHEAD_SECONDS + ROUND_SECONDS * self._design.rounds)


def correlated(ratios: Floats, sides: int, generator: np.random.Generator) -> Floats:
    """log(side / base) of a group of equal sides, by base and side: those to side 0 are correlated, and drawn.

    Args:
        ratios: what is drawn from, ascending.
        sides: how many there are.
        generator: of random numbers.
    """
    common = generator.standard_normal()
    normals = (common + generator.standard_normal(sides - 1)) / math.sqrt(2)
    ranks = np.minimum((ndtr(normals) * len(ratios)).astype(int), len(ratios) - 1)
    logs = np.concatenate(([0.0], ratios[ranks]))
    return logs - logs[:, np.newaxis]


def measure(design: Design, groups: Groups) -> tuple[Decision, float, bool]:
    """Measure until the judge stops it.

    Args:
        design: what is measured.
        groups: whence the groups are drawn.

    Returns:
        What was decided, the minutes that it took, and whether any interval missed its truth: of all that there were,
        or, of a measurement to a precision, of those that it ended with.
    """
    question = design.question
    judge = SequentialJudge(question)
    active = set(range(design.sides))
    elapsed, since_departure, missed = 0.0, 0, False
    unsettled = question.contrasts
    while True:
        logs = groups.log_ratios(unsettled)
        elapsed += groups.seconds(len(active))
        since_departure += 1
        decision = judge.group_ended(
            GroupRatios(
                log_ratios={
                    each: float(logs[each.base, each.side]) + design.truth(each)
                    for each in question.contrasts
                    if {each.base, each.side} <= active and not math.isnan(logs[each.base, each.side])
                },
                elapsed_seconds=elapsed,
                balanced=since_departure % len(active) == 0,
                last=elapsed + groups.seconds(len(active)) > question.budget_seconds,
            )
        )
        if decision.analysed and (question.precision is None or decision.stop is not None):
            missed |= any(
                each.low is not None
                and each.high is not None
                and not each.low <= math.exp(design.truth(contrast)) <= each.high
                for contrast, each in decision.analyses.items()
            )
        if decision.stop is not None:
            return decision, elapsed / 60, missed
        unsettled = tuple(each for each in question.contrasts if each not in decision.settled)
        needed = {side for each in unsettled for side in (each.base, each.side)}
        if needed != active:
            active, since_departure = needed, 0


def simulate(design: Design, ratios: Mapping[str, Floats], number: int, first: int = 0) -> list[dict[str, Any]]:
    """A row for each measurement, the cells in turn.

    Args:
        design: what is measured.
        ratios: by cell, those that a group's are drawn from.
        number: how many measurements.
        first: the number of the first; the same numbers give the same measurements again.
    """
    return rows_in_turn(
        design, sorted(ratios), lambda cell, seed: SimulatedGroups(design, ratios[cell], seed), number, first
    )


def rows_in_turn(
    design: Design,
    cells: Sequence[str],
    groups: Callable[[str, Sequence[int]], Groups],
    number: int,
    first: int = 0,
) -> list[dict[str, Any]]:
    """A row for each measurement, the cells in turn.

    Args:
        design: what is measured.
        cells: what the rows are of.
        groups: gives the groups of a measurement, for a cell and the seed of the random numbers.
        number: how many measurements.
        first: the number of the first; the same numbers give the same measurements again.
    """
    return [
        row_of(design, cell, groups(cell, (index, *design.name.encode())))
        for index in range(first, first + number)
        for cell in (cells[index % len(cells)],)
    ]


def row_of(design: Design, cell: str, groups: Groups) -> dict[str, Any]:
    """How a measurement ended.

    Args:
        design: what is measured.
        cell: of the sides.
        groups: whence the groups are drawn.
    """
    decision, minutes, missed = measure(design, groups)
    verdicts = {contrast: each.verdict for contrast, each in decision.analyses.items()}
    wrong = any(is_wrong(verdict, design.truth(contrast), design.margins) for contrast, verdict in verdicts.items())
    right = all(is_right(verdict, design.truth(contrast), design.margins) for contrast, verdict in verdicts.items())
    return {
        "cell": cell,
        "wrong": wrong,
        "right": right if design.precision is None else decision.stop is StopReason.PRECISE,
        "missed": missed,
        "minutes": minutes,
    }


def is_wrong(verdict: Verdict, truth: float, margins: Margins) -> bool:
    """Whether a verdict contradicts the truth: a wrong direction, `same` beyond the tolerance, else of equal sides.

    Args:
        verdict: of one ratio.
        truth: its true logarithm.
        margins: equivalence margin and noise floor.
    """
    logs = margins.of_logarithm
    return {
        Verdict.SAME: abs(truth) > logs.tolerance,
        Verdict.SLOWER: truth < logs.floor,
        Verdict.FASTER: truth > -logs.floor,
    }.get(verdict, False)


def is_right(verdict: Verdict, truth: float, margins: Margins) -> bool:
    """Whether a verdict was made, and doesn't contradict the truth.

    Args:
        verdict: of one ratio.
        truth: its true logarithm.
        margins: equivalence margin and noise floor.
    """
    return verdict is not Verdict.INCONCLUSIVE and not is_wrong(verdict, truth, margins)


def summary(design: Design, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rates of a design's measurements, with their intervals."""
    minutes = [row["minutes"] for row in rows]
    return {
        "design": design.name,
        "sides": design.sides,
        "rounds": design.rounds,
        "budget_minutes": design.budget_minutes,
        **{key: fraction(sum(row[key] for row in rows), len(rows)) for key in ("wrong", "right", "missed")},
        "right_by_cell": {
            cell: fraction(
                sum(row["right"] for row in rows if row["cell"] == cell), sum(row["cell"] == cell for row in rows)
            )
            for cell in sorted({row["cell"] for row in rows})
        },
        "median_minutes": float(np.median(minutes)),
        "minutes_90_percent": float(np.quantile(minutes, 0.9)),
        "first_minutes": minutes[:FIRST],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rates in markdown, a design a line."""
    heads = [
        "measurement",
        "budget",
        "rightly settled",
        "by cell",
        "any wrong",
        "any interval misses",
        "median",
        "90 %",
    ]
    cells = []
    for row in rows:
        by_cell = sorted(part["share"] for part in row["right_by_cell"].values())
        cells.append(
            [
                row["design"],
                f"{row['budget_minutes']:g} min",
                _percent(row["right"]),
                f"{100 * by_cell[0]:.0f} to {100 * by_cell[-1]:.0f} %",
                *(_percent(part) for part in (row["wrong"], row["missed"])),
                f"{row['median_minutes']:.1f} min",
                f"{row['minutes_90_percent']:.1f} min",
            ]
        )
    columns = tuple(Column(head, left=not index) for index, head in enumerate(heads))
    return render_markdown(Document((Table(columns, tuple(map(tuple, cells))),)))


def _percent(part: Mapping[str, float]) -> str:
    return f"{100 * part['share']:.1f} % ({100 * part['low']:.1f} to {100 * part['high']:.1f})"


def main() -> None:
    """Simulate what isn't there yet, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", type=int, default=2000)
    arguments = parser.parse_args()
    _, later = halves(read(arguments.recording))
    done: list[dict[str, Any]] = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for design in DESIGNS:
        if any(row["design"] == design.name for row in done):
            continue
        done.append(summary(design, simulate(design, recorded_ratios(later, design.rounds), arguments.number)))
        done.sort(key=lambda row: [each.name for each in DESIGNS].index(row["design"]))
        content = {"what": "simulated measurements; see scripts/simulate_sides.py", "rows": done}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n")
        print(table([row for row in done if row["design"] == design.name]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
