"""Recorded process groups of several cells, each cell twice, and the anchor: their sessions, and groups drawn again.

`scripts/record_groups.py` records them. A session is a run of groups without half an hour between two of them.
"""

from __future__ import annotations

import functools
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.analysis.interleaved_figures import TRIMMED
from bench.analysis.stats import trimmed_t
from bench.catalog.cells import REFERENCE_CELL
from bench.duel.allocation import GroupCost, GroupValue, next_rounds
from bench.duel.rounds import ANCHOR, Round, group_log_ratio, rounds_of, side_key
from bench.duel.sequential import Contrast
from scripts.record_groups import COPIES
from scripts.recordings import ABOUT, machines, recorded
from scripts.simulate_sides import correlated

Floats = npt.NDArray[np.float64]

SESSION_GAP_SECONDS = 1800.0

NUMPY = "numpy"
"""The cell that the anchor in NumPy was recorded as, beside another one."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """Process groups that were recorded one after the other.

    Sides are numbered: `COPIES` of the first cell, of the second and so on, and the anchor is the last.
    """

    cells: tuple[str, ...]
    """The reference cell first."""
    ended_at: Floats
    """When each group had ended, seconds since 1970, UTC."""
    log_ratios_by_rounds: Floats
    """log(side / base) of groups that had ended after 1, 2, … rounds, by number of rounds less 1, group, base and side;
    NaN where too many of so few are contaminated."""
    round_log_ratios: Floats
    """The same of single rounds, by group, round, base and side; NaN where one is contaminated."""
    anchor_seconds: Floats
    """A step of the anchor, by group: the median over its timed batches."""
    anchor_is_trained: bool
    """Whether Keras trained the anchor; before 28 November 2026 it did not."""
    over_numpy: Floats | None
    """log(side / anchor in NumPy), by group and side; None where that is no side beside another anchor."""
    seconds: Floats
    """What each group took, from the start of its first server to the end of its last process."""
    server_seconds: float
    """The mean part of it until a server that all sides share had imported its backend; 0 where each had its own."""
    timed_seconds: Floats
    """The sum over the timed batches, by group and side."""
    discarded: int
    """Groups that were left out, because some side was disturbed in half of its rounds."""

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def rounds(self) -> int:
        """Those of each group."""
        return len(self.log_ratios_by_rounds)

    @property
    def log_ratios(self) -> Floats:
        """log(side / base) of all rounds, by group, base and side."""
        of_all: Floats = self.log_ratios_by_rounds[-1]
        return of_all

    def sides(self, cell: str) -> tuple[int, ...]:
        """The numbers of a cell's sides."""
        first = COPIES * self.cells.index(cell)
        return tuple(range(first, first + COPIES))

    def equal(self, cell: str) -> Floats:
        """The log-ratios of a cell's two sides, which are equal, by group."""
        base, side = self.sides(cell)
        return self.log_ratios[:, base, side]

    def over_anchor(self, cell: str) -> Floats:
        """log(side / anchor), by group and side of the cell."""
        return self.log_ratios[:, -1, list(self.sides(cell))]

    def between(self, base: str, cell: str, rounds: int | None = None) -> Floats:
        """The log-ratios of each side of a cell to each of another, by group and pair of sides.

        Args:
            base: the cell that the ratio is to.
            cell: the other one.
            rounds: of groups that had ended after so many; None: after all.
        """
        log_ratios = self.log_ratios_by_rounds[(rounds or self.rounds) - 1]
        pairs = [(b, s) for b in self.sides(base) for s in self.sides(cell)]
        return np.stack([log_ratios[:, b, s] for b, s in pairs], axis=1)

    @functools.cached_property
    def whole_by_rounds(self) -> tuple[dict[tuple[str, str], float], ...]:
        """What the whole session gives for the log-ratio of a cell to a base, as a measurement estimates it.

        By number of rounds less 1: of groups that had ended after so many.
        """
        return tuple(
            {
                (base, cell): 0.0
                if base == cell
                else trimmed_t(self.between(base, cell, rounds).ravel(), TRIMMED).value
                for base in self.cells
                for cell in self.cells
            }
            for rounds in range(1, self.rounds + 1)
        )

    @property
    def whole(self) -> dict[tuple[str, str], float]:
        """The same of all rounds."""
        return self.whole_by_rounds[-1]

    @functools.cached_property
    def overhead_seconds(self) -> float:
        """What a side adds to a group beside its timed batches: its process, building, compiling, its own server.

        The anchor's are in it.
        """
        untimed = self.seconds - self.timed_seconds.sum(axis=1)
        return (float(untimed.mean()) - self.server_seconds) / (COPIES * len(self.cells))

    def side_seconds(self, cell: str) -> float:
        """The timed batches of a side of a cell in a group, in the mean."""
        return float(self.timed_seconds[:, list(self.sides(cell))].mean())

    @property
    def slowest_side_seconds(self) -> float:
        """Those of the slowest cell: what a side of any cell takes where all sides are of it."""
        return max(self.side_seconds(cell) for cell in self.cells)

    def part(self, chosen: slice) -> Session:
        """Some of its groups."""
        return Session(
            cells=self.cells,
            ended_at=self.ended_at[chosen],
            log_ratios_by_rounds=self.log_ratios_by_rounds[:, chosen],
            round_log_ratios=self.round_log_ratios[chosen],
            anchor_seconds=self.anchor_seconds[chosen],
            anchor_is_trained=self.anchor_is_trained,
            over_numpy=None if self.over_numpy is None else self.over_numpy[chosen],
            seconds=self.seconds[chosen],
            server_seconds=self.server_seconds,
            timed_seconds=self.timed_seconds[chosen],
            discarded=0,
        )


def read_sessions(recording: Path) -> list[Session]:
    """The sessions of a recording of one machine, in their order.

    Args:
        recording: the folder that has one for the machine.

    Raises:
        SystemExit: there is no recording, or of several machines.
    """
    folders = machines(recording)
    if len(folders) != 1:
        raise SystemExit(f"{recording} has recordings of {len(folders)} machines: name the folder of a single one.")
    frame = recorded(folders[0]).fillna({"server_seconds": 0.0})
    if frame.empty:
        raise SystemExit(f"there is no recording in {recording}: make one with scripts/record_groups.py.")
    cells = sorted({*frame["cell"]} - {side_key(ANCHOR), NUMPY}, key=lambda cell: (cell != REFERENCE_CELL, cell))
    ended = frame.groupby("pair")["recorded_at"].first().map(_timestamp)
    number = (ended.diff() > SESSION_GAP_SECONDS).cumsum()
    is_trained = "anchor" in json.loads((folders[0] / ABOUT).read_text())
    return [
        _session(frame[frame["pair"].isin(groups.index)], tuple(cells), groups, is_trained)
        for _, groups in ended.groupby(number)
    ]


def base_and_new(sessions: Sequence[Session]) -> tuple[Session, Session]:
    """The first session and the last; of a single one its halves, until there is another."""
    if len(sessions) > 1:
        return sessions[0], sessions[-1]
    middle = len(sessions[0]) // 2
    return sessions[0].part(slice(middle)), sessions[0].part(slice(middle, None))


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def _session(frame: pd.DataFrame, cells: tuple[str, ...], ended: pd.Series[float], is_trained: bool) -> Session:
    keys = {
        (cell, side_key(copy)): side_key(COPIES * place + copy) for place, cell in enumerate(cells) for copy in (0, 1)
    }
    numpy_side = COPIES * len(cells)
    keys |= {(side_key(ANCHOR), side_key(ANCHOR)): side_key(ANCHOR), (NUMPY, side_key(0)): side_key(numpy_side)}
    has_numpy = NUMPY in {*frame["cell"]}
    frame = frame.assign(side=[keys[key] for key in zip(frame["cell"], frame["side"], strict=True)])
    numbers = (*range(COPIES * len(cells)), ANCHOR)
    most = int(frame["turn"].max()) + 1
    by_rounds, single, anchors, seconds, timed, ends, over_numpy = [], [], [], [], [], [], []
    for group, rows in frame.groupby("pair", sort=True):
        rounds = rounds_of(rows.to_dict("records"))
        ratios = np.array([_matrix(rounds[:number], numbers) for number in range(1, most + 1)])
        to_numpy = [_log_ratio(rounds, numpy_side, side) for side in numbers] if has_numpy else []
        if np.isnan(ratios[-1]).any() or np.isnan(to_numpy).any():
            continue
        by_rounds.append(ratios)
        single.append([_matrix((each,), numbers) for each in rounds])
        anchors.append(_step_seconds(rounds, ANCHOR))
        over_numpy.append(to_numpy)
        beside = math.fsum(each.sides[numpy_side].seconds for each in rounds) if has_numpy else 0.0
        seconds.append(float(rows["pair_seconds"].iloc[0]) * len(cells) - beside)
        timed.append([math.fsum(each.sides[side].seconds for each in rounds) for side in numbers])
        ends.append(ended[group])
    return Session(
        cells=cells,
        ended_at=np.array(ends),
        log_ratios_by_rounds=np.stack(by_rounds, axis=1),
        round_log_ratios=np.array(single),
        anchor_seconds=np.array(anchors),
        anchor_is_trained=is_trained,
        over_numpy=np.array(over_numpy) if has_numpy else None,
        seconds=np.array(seconds),
        server_seconds=float(frame.groupby("pair")["server_seconds"].first().mean()),
        timed_seconds=np.array(timed),
        discarded=len(ended) - len(seconds),
    )


def _matrix(rounds: Sequence[Round], numbers: Sequence[int]) -> Floats:
    """log(side / base), by base and side; NaN where too few rounds are left."""
    ratios = np.zeros((len(numbers), len(numbers)))
    for (row, base), (column, side) in combinations(enumerate(numbers), 2):
        ratios[row, column] = _log_ratio(rounds, base, side)
        ratios[column, row] = -ratios[row, column]
    return ratios


def _log_ratio(rounds: Sequence[Round], base: int, side: int) -> float:
    ratio = group_log_ratio(rounds, base, side)
    return math.nan if ratio is None else ratio


def _step_seconds(rounds: Sequence[Round], side: int) -> float:
    clean = (each for each in rounds if each.clean((side,)))
    return statistics.median(seconds for each in clean for seconds in each.sides[side].step_seconds)


class ResampledGroups:
    """Groups of a session, drawn with replacement, as a measurement of fewer sides has them.

    Each group's ratios stay together. Of a cell's two sides either is drawn, and both where the cell is there twice;
    so the true ratio of equal sides is 1, and that of different cells is what the whole session gives. The ratios are
    about the truth. A group ends after as many of its rounds as the measurement would have given it.

    Args:
        session: what they are drawn from.
        cells: of the sides.
        seed: of the random numbers.
        of_as_many: the truth is what the session gives for groups of as many rounds, and not for those of all.
        in_order: one group after the other, from a drawn one on and round again, so that what drifts drifts.
    """

    def __init__(
        self,
        session: Session,
        cells: Sequence[str],
        seed: Sequence[int],
        *,
        of_as_many: bool = False,
        in_order: bool = False,
    ) -> None:
        self._session, self._cells = session, cells
        self._generator = np.random.default_rng(seed)
        self._first = int(self._generator.integers(len(session))) if in_order else None
        wholes = session.whole_by_rounds if of_as_many else [session.whole] * session.rounds
        self._wholes = [np.array([[whole[base, cell] for cell in cells] for base in cells]) for whole in wholes]
        self._allocation = _Allocation(
            session,
            len(cells),
            statistics.mean(map(session.side_seconds, cells)),
            float(session.timed_seconds[:, -1].mean()),
        )
        self.drawn: list[tuple[int, tuple[int, ...], int]] = []
        """Of each group so far: its number in the session, the sides' numbers, and how many rounds it has."""

    def log_ratios(self, contrasts: Sequence[Contrast]) -> Floats:
        """log(side / base) of the next group about its truth, by base and side.

        Args:
            contrasts: those that are not settled, by which its rounds are allocated.
        """
        rounds = self._allocation.next_rounds(contrasts)
        number = len(self._session)
        drawn = self._generator.integers(number) if self._first is None else (self._first + len(self.drawn)) % number
        group = int(drawn)
        left = {cell: list(self._generator.permutation(self._session.sides(cell))) for cell in self._session.cells}
        sides = tuple(int(left[cell].pop()) for cell in self._cells)
        self.drawn.append((group, sides, rounds))
        ratios: Floats = self._session.log_ratios_by_rounds[rounds - 1, group][np.ix_(sides, sides)]
        ratios = ratios - self._wholes[rounds - 1]
        single = self._session.round_log_ratios[group, :rounds]
        for each in contrasts:
            self._allocation.add(each, ratios[each.base, each.side], single[:, sides[each.base], sides[each.side]])
        return ratios

    def seconds(self, sides: int) -> float:
        """What a group of so many sides takes, with the anchor and as many rounds as the last one had."""
        return self._allocation.seconds(sides)


class EqualGroups:
    """Groups of a cell's equal sides, any number of them, of which a session has two.

    The log-ratios to the base are recorded ones, with either sign, correlated by a normal copula as ratios to a common
    base are (`scripts.simulate_sides`); those of groups with as many rounds as the measurement would have given it.

    Args:
        session: what they are drawn from.
        cell: of all sides.
        sides: how many there are.
        seed: of the random numbers.
    """

    def __init__(self, session: Session, cell: str, sides: int, seed: Sequence[int]) -> None:
        base, side = session.sides(cell)
        both_signs = (session.log_ratios_by_rounds[:, :, base, side], session.log_ratios_by_rounds[:, :, side, base])
        self._ratios = np.sort(np.concatenate(both_signs, axis=1), axis=1)
        self._single = session.round_log_ratios[:, :, base, side]
        self._sides, self._generator = sides, np.random.default_rng(seed)
        self._allocation = _Allocation(session, sides, session.slowest_side_seconds, 0.0)

    def log_ratios(self, contrasts: Sequence[Contrast]) -> Floats:
        """See `ResampledGroups`."""
        rounds = self._allocation.next_rounds(contrasts)
        ratios = self._ratios[rounds - 1]
        logs = correlated(ratios[~np.isnan(ratios)], self._sides, self._generator)
        single = self._single[self._generator.integers(len(self._single)), :rounds]
        for each in contrasts:
            self._allocation.add(each, logs[each.base, each.side], single)
        return logs

    def seconds(self, sides: int) -> float:
        """See `ResampledGroups`; the anchor's time is left out."""
        return self._allocation.seconds(sides)


class _Allocation:
    """The rounds of a simulated measurement's groups, as `bench.duel.allocation` gives them.

    Args:
        session: whose groups are drawn.
        sides: how many there are.
        side_seconds: the timed batches of a side in a group with all rounds.
        anchor_seconds: those of the anchor.
    """

    def __init__(self, session: Session, sides: int, side_seconds: float, anchor_seconds: float) -> None:
        self._most = session.rounds
        self._cost = GroupCost(session.overhead_seconds, side_seconds / session.rounds)
        self._with_server = replace(self._cost, start_seconds=self._cost.start_seconds + session.server_seconds / sides)
        self._server_seconds = session.server_seconds
        self._anchor_seconds = anchor_seconds / session.rounds
        self._values: defaultdict[Contrast, list[GroupValue]] = defaultdict(list)
        self._rounds = 0

    def next_rounds(self, contrasts: Sequence[Contrast]) -> int:
        """The rounds of the next group."""
        values = {each: self._values[each] for each in contrasts}
        self._rounds = min(self._most, next_rounds(values, self._with_server))
        return self._rounds

    def add(self, contrast: Contrast, log_ratio: float, round_log_ratios: Floats) -> None:
        """Take in a group's value of a ratio, and those of its rounds."""
        if not math.isnan(log_ratio):
            clean = round_log_ratios[~np.isnan(round_log_ratios)]
            self._values[contrast].append(GroupValue.of(float(log_ratio), clean.tolist()))

    def seconds(self, sides: int) -> float:
        """What a group of so many sides takes, with as many rounds as the last one had."""
        timed = self._cost.seconds(sides, self._rounds) + self._anchor_seconds * self._rounds
        return self._server_seconds + timed
