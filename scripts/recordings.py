"""Recorded slices: their files, and pairs of processes that fight again on a clock of their own.

A recording is a folder with one for each machine, named by the machine's fingerprint: `about.json`, `slices.parquet`,
and while it is being made a part for each pair.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.metrics import RunMetadata
from bench.duel.interleaved import Pace, Pair
from bench.duel.sequential import Look, Schedule, Slice

ABOUT = "about.json"
PARTS = "pairs"
"""The folder of a machine's recording that has a file for each pair until they are folded."""

_SHORT = 6
_WHOLE = "slices.parquet"
_KEY = ["cell", "pair", "turn", "side"]
_FIELDS = tuple(Slice.__dataclass_fields__)


@dataclass(frozen=True)
class Recorded:
    """One recorded pair of processes, A against A."""

    cell: str
    slices: tuple[Slice, ...]
    seconds: float
    """What the pair took, from the start of both processes to the end of both."""

    @property
    def turns(self) -> int:
        """Slices of each side."""
        return 1 + max(one.turn for one in self.slices)

    @property
    def pace(self) -> Pace:
        """Of all its slices."""
        return pace_of(self.slices[0])

    def shortened(self, turns: int) -> Recorded:
        """As if it had ended after so many turns."""
        kept = tuple(one for one in self.slices if one.turn < turns)
        spared = sum(one.seconds for one in self.slices) - sum(one.seconds for one in kept)
        return replace(self, slices=kept, seconds=self.seconds - spared)

    def slowed(self, slowdown: float) -> Recorded:
        """As if each of B's slices had taken that share longer."""
        factors = {"a": 1.0, "b": 1 + slowdown}
        slices = tuple(
            replace(
                one,
                seconds=one.seconds * factors[one.side],
                strokes=tuple(seconds * factors[one.side] for seconds in one.strokes),
            )
            for one in self.slices
        )
        longer = sum(one.seconds for one in slices) - sum(one.seconds for one in self.slices)
        return replace(self, slices=slices, seconds=self.seconds + longer)

    def swapped(self) -> Recorded:
        """The sides with each other's names."""
        return replace(self, slices=tuple(replace(one, side="ba"["ab".index(one.side)]) for one in self.slices))

    def times(self, side: str) -> list[float]:
        """The side's seconds a step, slice by slice."""
        ordered = sorted((one for one in self.slices if one.side == side), key=lambda one: one.turn)
        return [one.seconds / one.steps for one in ordered]


def machines(recording: Path) -> list[Path]:
    """The folders of the machines."""
    return sorted(path.parent for path in recording.glob(f"*/{ABOUT}"))


def minutes(recording: Path) -> float:
    """Of slices, summed up over the machines."""
    return sum(float(recorded(folder)["seconds"].sum()) for folder in machines(recording)) / 60


def recorded(folder: Path) -> pd.DataFrame:
    """A machine's slices, each once: of the parts, and of the file that they are folded into."""
    files = [*folder.glob(_WHOLE), *sorted((folder / PARTS).glob("*.parquet"))]
    if not files:
        return pd.DataFrame({name: [] for name in ("cell", "pair", "seconds")})
    frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    return frame.drop_duplicates(_KEY).sort_values(_KEY, ignore_index=True)


def fold(folder: Path) -> None:
    """All parts into one file, and they are gone. Whenever it is killed, every slice is in one or the other."""
    part, whole = folder / f"{_WHOLE}.part", folder / _WHOLE
    recorded(folder).to_parquet(part, index=False, compression="zstd")
    part.replace(whole)
    for one in (folder / PARTS).glob("*.parquet"):
        one.unlink()
    with contextlib.suppress(FileNotFoundError):
        (folder / PARTS).rmdir()


def slice_of(row: Mapping[Any, Any]) -> Slice:
    """A row of a file of slices."""
    return Slice(**{name: row[name] for name in _FIELDS} | {"strokes": tuple(map(float, row["strokes"]))})


def pace_of(one: Slice) -> Pace:
    """Of a recorded slice, and so of all of its pair."""
    return Pace(one.steps // len(one.strokes), len(one.strokes))


def read(recording: Path) -> dict[str, list[Recorded]]:
    """By cell and machine (`gru on 3dac00`): the recorded pairs in the order in which they were recorded."""
    frames = {folder.name[:_SHORT]: recorded(folder) for folder in machines(recording)}
    if all(frame.empty for frame in frames.values()):
        raise SystemExit(f"there is no recording in {recording}: make one with scripts/record_slices.py.")
    found: dict[str, list[Recorded]] = {}
    for machine, frame in frames.items():
        for (cell, _), rows in frame.groupby(["cell", "pair"], sort=True):
            slices = tuple(slice_of(row) for row in rows.to_dict("records"))
            pair = Recorded(str(cell), slices, float(rows["pair_seconds"].iloc[0]))
            found.setdefault(f"{cell} on {machine}", []).append(pair)
    return found


def halves(recording: dict[str, list[Recorded]]) -> tuple[dict[str, list[Recorded]], dict[str, list[Recorded]]]:
    """The earlier half of each cell's pairs, to calibrate on, and the later half, to judge on."""
    first = {cell: pairs[: len(pairs) // 2] for cell, pairs in recording.items()}
    return first, {cell: pairs[len(pairs) // 2 :] for cell, pairs in recording.items()}


class Replay:
    """What `bench.duel.interleaved.duel_until_sure` needs of an arena: pairs drawn from recorded ones, by their clock.

    They are drawn with replacement, in runs of neighbours, so that what a disturbance did to neighbouring pairs stays
    together. In each pair it is drawn too which side is called A: both ran the same, so the true ratio of what is drawn
    is exactly 1, where that of some thirty recorded pairs is off by a few tenths of a percent by chance.
    """

    NEIGHBOURS = 3

    def __init__(self, pairs: Sequence[tuple[Recorded, Recorded]], seed: str) -> None:
        """`pairs`: each as it was recorded, and with its sides swapped."""
        self.now = 0.0
        self._pairs, self._random = pairs, random.Random(seed)
        self._at, self._left = 0, 0

    def clock(self) -> float:
        """Seconds that the duel has taken."""
        return self.now

    def fight(self, number: int, pace: Pace | None, turns: int = 0, begun: float = 0.0) -> Pair:
        """The next pair; how many turns it takes was decided before."""
        if self._left == 0:
            self._at, self._left = self._random.randrange(len(self._pairs)), self.NEIGHBOURS
        pair = self._random.choice(self._pairs[self._at % len(self._pairs)])
        self._at, self._left = self._at + 1, self._left - 1
        self.now += pair.seconds
        facts = RunMetadata()
        return Pair(slices=pair.slices, facts=(facts, facts), pace=pair.pace, seconds=pair.seconds)


class Silent:
    """A reporter that says nothing."""

    def pair_ended(self, log_ratio: float | None, so_far: Look, schedule: Schedule, seconds: float) -> None:
        """See `bench.duel.interleaved.Reporter`."""
