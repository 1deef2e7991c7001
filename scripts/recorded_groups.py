"""Recorded process groups of several cells, each cell twice, and the anchor: their sessions, and groups drawn again.

`scripts/record_groups.py` records them. A session is a run of groups without half an hour between two of them.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.analysis.interleaved_figures import TRIMMED
from bench.analysis.stats import trimmed_t
from bench.catalog.cells import REFERENCE_CELL
from bench.duel.rounds import ANCHOR, Round, group_log_ratio, rounds_of, side_key
from scripts.record_groups import COPIES
from scripts.recordings import machines, recorded

Floats = npt.NDArray[np.float64]

SESSION_GAP_SECONDS = 1800.0


@dataclass(frozen=True, kw_only=True)
class Session:
    """Process groups that were recorded one after the other.

    Sides are numbered: `COPIES` of the first cell, of the second and so on, and the anchor is the last.
    """

    cells: tuple[str, ...]
    """The reference cell first."""
    ended_at: Floats
    """When each group had ended, seconds since 1970, UTC."""
    log_ratios: Floats
    """log(side / base), by group, base and side."""
    anchor_seconds: Floats
    """A step of the anchor, by group: the median over its timed batches."""
    seconds: Floats
    """What each group took, from the start of its first server to the end of its last process."""
    timed_seconds: Floats
    """The sum over the timed batches, by group and side."""
    discarded: int
    """Groups that were left out, because some side was disturbed in half of its rounds."""

    def __len__(self) -> int:
        return len(self.seconds)

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

    def between(self, base: str, cell: str) -> Floats:
        """The log-ratios of each side of a cell to each of another, by group and pair of sides."""
        pairs = [(b, s) for b in self.sides(base) for s in self.sides(cell)]
        return np.stack([self.log_ratios[:, b, s] for b, s in pairs], axis=1)

    @functools.cached_property
    def whole(self) -> dict[tuple[str, str], float]:
        """What the whole session gives for the log-ratio of a cell to a base, as a measurement estimates it."""
        return {
            (base, cell): 0.0 if base == cell else trimmed_t(self.between(base, cell).ravel(), TRIMMED).value
            for base in self.cells
            for cell in self.cells
        }

    @functools.cached_property
    def overhead_seconds(self) -> float:
        """What a side adds to a group beside its timed batches: its server, its process, building, compiling.

        The anchor's are in it.
        """
        untimed = self.seconds - self.timed_seconds.sum(axis=1)
        return float(untimed.mean()) / (COPIES * len(self.cells))

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
            log_ratios=self.log_ratios[chosen],
            anchor_seconds=self.anchor_seconds[chosen],
            seconds=self.seconds[chosen],
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
    frame = recorded(folders[0])
    if frame.empty:
        raise SystemExit(f"there is no recording in {recording}: make one with scripts/record_groups.py.")
    cells = sorted({*frame["cell"]} - {side_key(ANCHOR)}, key=lambda cell: (cell != REFERENCE_CELL, cell))
    ended = frame.groupby("pair")["recorded_at"].first().map(_timestamp)
    number = (ended.diff() > SESSION_GAP_SECONDS).cumsum()
    return [
        _session(frame[frame["pair"].isin(groups.index)], tuple(cells), groups) for _, groups in ended.groupby(number)
    ]


def base_and_new(sessions: Sequence[Session]) -> tuple[Session, Session]:
    """The first session and the last; of a single one its halves, until there is another."""
    if len(sessions) > 1:
        return sessions[0], sessions[-1]
    middle = len(sessions[0]) // 2
    return sessions[0].part(slice(middle)), sessions[0].part(slice(middle, None))


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def _session(frame: pd.DataFrame, cells: tuple[str, ...], ended: pd.Series[float]) -> Session:
    keys = {
        (cell, side_key(copy)): side_key(COPIES * place + copy) for place, cell in enumerate(cells) for copy in (0, 1)
    }
    keys[side_key(ANCHOR), side_key(ANCHOR)] = side_key(ANCHOR)
    frame = frame.assign(side=[keys[key] for key in zip(frame["cell"], frame["side"], strict=True)])
    numbers = (*range(COPIES * len(cells)), ANCHOR)
    log_ratios, anchors, seconds, timed, ends = [], [], [], [], []
    for group, rows in frame.groupby("pair", sort=True):
        rounds = rounds_of(rows.to_dict("records"))
        ratios = [[group_log_ratio(rounds, base, side) for side in numbers] for base in numbers]
        if any(ratio is None for of_base in ratios for ratio in of_base):
            continue
        log_ratios.append(ratios)
        anchors.append(_step_seconds(rounds, ANCHOR))
        seconds.append(float(rows["pair_seconds"].iloc[0]) * len(cells))
        timed.append([math.fsum(each.sides[side].seconds for each in rounds) for side in numbers])
        ends.append(ended[group])
    return Session(
        cells=cells,
        ended_at=np.array(ends),
        log_ratios=np.array(log_ratios, dtype=np.float64),
        anchor_seconds=np.array(anchors),
        seconds=np.array(seconds),
        timed_seconds=np.array(timed),
        discarded=len(ended) - len(seconds),
    )


def _step_seconds(rounds: Sequence[Round], side: int) -> float:
    clean = (each for each in rounds if each.clean((side,)))
    return statistics.median(seconds for each in clean for seconds in each.sides[side].step_seconds)


class ResampledGroups:
    """Groups of a session, drawn with replacement, as a measurement of fewer sides has them.

    Each group's ratios stay together. Of a cell's two sides either is drawn, and both where the cell is there twice;
    so the true ratio of equal sides is 1, and that of different cells is what the whole session gives. The ratios are
    about the truth.

    Args:
        session: what they are drawn from.
        cells: of the sides.
        seed: of the random numbers.
    """

    def __init__(self, session: Session, cells: Sequence[str], seed: Sequence[int]) -> None:
        self._session, self._cells = session, cells
        self._generator = np.random.default_rng(seed)
        self._whole = np.array([[session.whole[base, cell] for cell in cells] for base in cells])
        self._side_seconds = session.overhead_seconds + statistics.mean(map(session.side_seconds, cells))
        self._anchor_seconds = float(session.timed_seconds[:, -1].mean())
        self.drawn: list[tuple[int, tuple[int, ...]]] = []
        """Of each group so far: its number in the session, and the sides' numbers."""

    def log_ratios(self) -> Floats:
        """log(side / base) of the next group about its truth, by base and side."""
        group = int(self._generator.integers(len(self._session)))
        left = {cell: list(self._generator.permutation(self._session.sides(cell))) for cell in self._session.cells}
        sides = tuple(int(left[cell].pop()) for cell in self._cells)
        self.drawn.append((group, sides))
        ratios: Floats = self._session.log_ratios[group][np.ix_(sides, sides)] - self._whole
        return ratios

    def seconds(self, sides: int) -> float:
        """What a group of so many sides takes, with the anchor."""
        return sides * self._side_seconds + self._anchor_seconds
