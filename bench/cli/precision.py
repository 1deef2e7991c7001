"""`bench run --precision`: the targets as they are written, and the rule by which a campaign stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UsageError
from bench.core.margins import read_margin
from bench.core.metric import Metric
from bench.core.metrics import find_metric
from bench.core.units import FRACTION, significant
from bench.report.values import count

if TYPE_CHECKING:
    from bench.analysis.precision import PrecisionTarget
    from bench.analysis.stats import Estimate

MOST_BLOCKS = 200
"""The most blocks of a campaign that is measured until it is precise: seeds 0 to 199."""

OVERRIDES = (f"seeds=0..{MOST_BLOCKS - 1}", "repeats=1")
"""What `--precision` makes of a suite: a new seed in each block."""


def read_targets(text: str) -> tuple[PrecisionTarget, ...]:
    """The targets of `--precision`: `accuracy=0.2%,train_seconds=3%`.

    Raises:
        UsageError: an unknown metric, one that a run has several times, or a width that makes no sense.
    """
    from bench.analysis.precision import PrecisionTarget

    targets: dict[str, PrecisionTarget] = {}
    for part in text.split(","):
        name, equals, width = (word.strip() for word in part.partition("="))
        where = f"--precision {text}"
        if not equals:
            raise UsageError(f"{part.strip()!r} ({where}) names no width: write metric=width, as in accuracy=0.2%.")
        metric = find_metric(name, where)
        if metric.of_calls:
            raise UsageError(f"{metric.title} ({where}) has a figure for each call path, and so no single interval.")
        if metric.is_interleaved:
            raise UsageError(
                f"{metric.title} ({where}) is of process groups, and seeds add none: --interleave 10 measures it."
            )
        half = read_margin(width, metric, f"{part.strip()} ({where})")
        if not 0 < half <= 1:
            raise UsageError(f"{part.strip()} ({where}) is no width: write half the interval's, as in 3%.")
        if metric.name in targets:
            raise UsageError(f"{metric.title} stands twice in {where}: leave one of them out.")
        targets[metric.name] = PrecisionTarget(metric, half)
    return tuple(targets.values())


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse what `--precision` itself sets.

    Raises:
        UsageError: the seeds or repeats are set.
    """
    for override in overrides:
        if override.partition("=")[0].strip() in ("seeds", "repeats"):
            raise UsageError(f"--set {override} and --precision exclude each other: each block takes a new seed.")


@dataclass
class PrecisionRule:
    """Stops a campaign when every interval of every configuration is narrow enough (`bench.run.stopping`)."""

    targets: tuple[PrecisionTarget, ...]
    results: Path
    note: Callable[[str], None]
    noted: int = 0
    """The number of blocks that the last note was about."""
    _seen: tuple[frozenset[str], int] = (frozenset(), 0)
    """The parts that were there the last time, and how many blocks they made needed."""

    @property
    def fewest_blocks(self) -> int:
        """See `StoppingRule`, and so below."""
        from bench.analysis.precision import FEWEST_BLOCKS

        return FEWEST_BLOCKS

    def to_data(self) -> Mapping[str, Any]:
        """What was asked for."""
        return {
            "half_widths": {target.metric.name: target.half_width for target in self.targets},
            "fewest_blocks": self.fewest_blocks,
            "most_blocks": MOST_BLOCKS,
        }

    def blocks_needed(self, campaign_id: str) -> int:
        """All those that are done, where every target is reached; else as many as that would take."""
        parts = frozenset(path.name for path in (self.results / "runs").glob("*.parquet"))
        if parts != self._seen[0] or not parts:
            self._seen = parts, self._read_needed(campaign_id) if parts else self.fewest_blocks
        return self._seen[1]

    def _read_needed(self, campaign_id: str) -> int:
        done, widest = self._read(campaign_id)
        if not done:
            return self.fewest_blocks
        reached = done >= self.fewest_blocks and all(
            estimate is not None and target.reached(estimate) for target, _, estimate in widest
        )
        if done != self.noted:
            self.noted = done
            self.note(
                "; ".join([count(done, "block"), *_words(widest), *(["every interval is narrow enough"] * reached)])
            )
        if reached:
            return done
        values = [target.values_needed(estimate) if estimate else None for target, _, estimate in widest]
        return min(MOST_BLOCKS, max(done + 1, self.fewest_blocks, *(number or 0 for number in values)))

    def conclude(self, campaign_id: str) -> None:
        """Note how wide the intervals are at the end, and what to do where they are wider than was asked for."""
        needed = self.blocks_needed(campaign_id)
        if needed > self.noted:
            self.note(
                f"not every interval is as narrow as was asked for, which takes about {needed} blocks"
                + ("; no campaign has more" if needed == MOST_BLOCKS else ": the same command goes on")
            )

    def _read(self, campaign_id: str) -> tuple[int, list[tuple[PrecisionTarget, str, Estimate | None]]]:
        """The blocks that are stored, and of each target the configuration that is farthest from it."""
        from bench.analysis.precision import half_width, while_measuring
        from bench.analysis.records import NEEDED
        from bench.analysis.summary import summarise
        from bench.report.values import row_label
        from bench.store import load

        frame = load([self.results], columns=NEEDED, warn=lambda text: None)
        frame = frame[frame["campaign_id"] == campaign_id]
        if frame.empty:
            return 0, []
        rows = [row for section in summarise(frame) for row in section.rows]
        widest = []
        for target in self.targets:
            figures = [(row_label(row), row.estimates.get(target.metric.name)) for row in rows]

            def distance(figure: tuple[str, Estimate | None], metric: Metric = target.metric) -> float:
                half = half_width(while_measuring(figure[1], metric), metric) if figure[1] else None
                return float("inf") if half is None else half

            widest.append((target, *max(figures, key=distance)))
        return int(frame["block"].max()) + 1, widest


def _words(widest: Sequence[tuple[PrecisionTarget, str, Estimate | None]]) -> Iterator[str]:
    """Each target with the widest interval that there is, and whose it is."""
    from bench.analysis.precision import half_width, while_measuring

    for target, label, estimate in widest:
        metric = target.metric
        half = half_width(while_measuring(estimate, metric), metric) if estimate else None
        asked = _width(target.half_width, metric)
        width = "no interval yet" if half is None else f"± {_width(half, metric)}"
        yield f"{metric.title} {width} of ± {asked} ({label})"


def _width(half: float, metric: Metric) -> str:
    if metric.as_ratio:
        return f"{significant(100 * half)} %"
    return f"{significant(100 * half)} points" if metric.unit is FRACTION else significant(half)
