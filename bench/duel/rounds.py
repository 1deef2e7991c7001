"""What is measured: rounds of timed batches, and the ratio of two sides that the rounds of a process group give."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.stats import harrell_davis

MOST_SIDES = 8
"""More would take so long together that a process group were no replicate of one moment of the machine."""

ANCHOR = -1
"""The number of the anchor (`bench.duel.sides`), which is no side that anything is asked of."""

CONTAMINATION_FRACTION = 0.1
"""The fraction of a side's round from which on CPU time of the other sides counts as a disturbance. At half a second
that is five of the system's ticks, where a single tick comes about by rounding."""

_FEWEST_ROUNDS_FRACTION = 0.5
"""The fraction of a group's rounds that must be left; with fewer, a ratio of this group is discarded."""


@dataclass(frozen=True, kw_only=True)
class SideRound:
    """One side's part of a round: timed batches that alternate with those of the other sides, about half a second."""

    steps: int
    """Steps in all its timed batches, as many in each."""
    batches: tuple[float, ...]
    """Seconds of each timed batch."""
    cpu_seconds: float
    """CPU time of all threads of the side's process."""
    idle_cpu_seconds: float
    """CPU time of the other sides' processes meanwhile, to a tick of the system (10 ms)."""
    call_seconds: tuple[float, ...] = ()
    """Seconds of each call, where single calls of inference are timed."""
    start_seconds: float
    """The beginning of the first timed batch, since the beginning of the duel."""

    @property
    def seconds(self) -> float:
        """The sum over the timed batches."""
        return math.fsum(self.batches)

    @property
    def step_seconds(self) -> tuple[float, ...]:
        """Seconds a step, of each timed batch."""
        steps = self.steps / len(self.batches)
        return tuple(seconds / steps for seconds in self.batches)

    @property
    def contaminated(self) -> bool:
        """Whether another side used the processors meanwhile, or a time is no time."""
        return not all(seconds > 0 for seconds in self.batches) or (
            self.idle_cpu_seconds > CONTAMINATION_FRACTION * self.seconds
        )


@dataclass(frozen=True, kw_only=True)
class Round:
    """A balanced order of all sides over their timed batches: as many batches and steps on each."""

    group: int
    """The process group, from 0."""
    number: int
    """From 0 in each process group."""
    core: int | None = None
    """The logical processor that all sides ran on; None where each ran on any."""
    sides: Mapping[int, SideRound]
    """By the side's number from 0, or `ANCHOR`; one that has left the measurement is not in it."""

    def clean(self, sides: Sequence[int]) -> bool:
        """Whether all these sides are in it, and none of them was disturbed."""
        return all(side in self.sides and not self.sides[side].contaminated for side in sides)


def side_key(side: int) -> str:
    """The side's name in records and the names of files: `a` to `h`, `anchor`."""
    return "anchor" if side == ANCHOR else "abcdefgh"[side]


def side_of(key: str) -> int:
    """The number of the side that `side_key` named."""
    return ANCHOR if key == "anchor" else "abcdefgh".index(key)


def side_name(side: int) -> str:
    """The side's name in messages: `A` to `H`, `the anchor`."""
    return "the anchor" if side == ANCHOR else side_key(side).upper()


def anchor_words(facts: Mapping[str, Any]) -> str:
    """What the anchor was, in words: its version, and the libraries that computed it; empty where that is not known.

    Args:
        facts: as they are kept beside its times.
    """
    if "anchor" not in facts:
        return ""
    numpys = f"NumPy {facts['numpy']}, {facts['blas']}" if "numpy" in facts else ""
    return f"version {facts['anchor']}, {facts.get('trained_by') or facts.get('backend') or numpys}"


def group_log_ratio(rounds: Sequence[Round], base: int, side: int, quantile: float | None = None) -> float | None:
    """The log-ratio of two sides of one process group, robustly; None where too few rounds are left.

    It is the median over the log-ratios of all timed batches, each to the neighbouring one of the base. With quiet
    noise the mean would need a third fewer; but on shared cores a timed batch now and then takes three times as long
    (docs/how-sure.md). Rounds in which either side was contaminated are discarded.

    Of a quantile of single calls it is the log-ratio of the estimates by Harrell and Davis. Calls of one process are
    not independent of each other, so no interval comes from them, but from the values of groups.

    Args:
        rounds: those of the group.
        base: the side that the ratio is to, by its number.
        side: the side whose time is divided by the base's.
        quantile: of the calls, above 0 and below 1; None for timed batches.
    """
    clean = [each for each in rounds if each.clean((base, side))]
    if not clean or len(clean) < _FEWEST_ROUNDS_FRACTION * len(rounds):
        return None
    if quantile is not None:
        old, new = (
            harrell_davis((seconds for each in clean for seconds in each.sides[number].call_seconds), quantile)
            for number in (base, side)
        )
        return math.log(new / old)
    return statistics.median(ratio for each in clean for ratio in _neighbours(each, base, side))


def round_log_ratios(rounds: Sequence[Round], base: int, side: int) -> list[float]:
    """The log-ratios of two sides in each round that is clean: each the median over its timed batches.

    Args:
        rounds: those of a group.
        base: the side that the ratio is to, by its number.
        side: the side whose time is divided by the base's.
    """
    return [statistics.median(_neighbours(each, base, side)) for each in rounds if each.clean((base, side))]


def _neighbours(each: Round, base: int, side: int) -> Iterator[float]:
    """The log-ratios of each timed batch to the neighbouring one of the base."""
    pairs = zip(each.sides[base].step_seconds, each.sides[side].step_seconds, strict=True)
    return (math.log(new / old) for old, new in pairs)


def rows_of(rounds: Iterable[Round]) -> list[dict[str, Any]]:
    """The rows of `slices.parquet`: one a side and round, in the order of their numbers; the anchor is a side too."""
    rounds = tuple(rounds)
    has_calls = any(side.call_seconds for each in rounds for side in each.sides.values())
    return [
        {
            "pair": each.group,
            "turn": each.number,
            "side": side_key(number),
            "steps": side.steps,
            "seconds": side.seconds,
            "cpu_seconds": side.cpu_seconds,
            "idle_cpu_seconds": side.idle_cpu_seconds,
            "start_seconds": side.start_seconds,
            "strokes": side.batches,
            **({} if each.core is None else {"core": each.core}),
            **({"calls": side.call_seconds} if has_calls else {}),
        }
        for each in rounds
        for number, side in sorted(each.sides.items())
    ]


def rounds_of(rows: Sequence[Mapping[Any, Any]]) -> tuple[Round, ...]:
    """The rounds that `rows_of` wrote down, in the order of their pairs and numbers."""
    sides: dict[tuple[int, int], dict[int, SideRound]] = {}
    cores: dict[tuple[int, int], int | None] = {}
    for row in rows:
        core = row.get("core")  # none of a measurement before 29 November 2026; NaN beside others in a recording
        cores[int(row["pair"]), int(row["turn"])] = None if core is None or math.isnan(core) else int(core)
        sides.setdefault((int(row["pair"]), int(row["turn"])), {})[side_of(row["side"])] = SideRound(
            steps=int(row["steps"]),
            batches=tuple(map(float, row["strokes"])),
            cpu_seconds=row["cpu_seconds"],
            idle_cpu_seconds=row["idle_cpu_seconds"],
            start_seconds=row["start_seconds"],
            call_seconds=tuple(map(float, row.get("calls", ()))),
        )
    return tuple(
        Round(group=group, number=number, core=cores[group, number], sides=sides[group, number])
        for group, number in sorted(sides)
    )
