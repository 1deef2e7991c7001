"""Slow trends, which a median hides: over the epochs of a run, and over the runs of a campaign. Pure.

Memory fragments, something leaks, the processor throttles: each epoch, or each run, takes a little longer than the one
before. The test is Mann's (1945, *Econometrica* 13, 245): Kendall's S, the number of pairs of values that rise less
those that fall, against its distribution where all orders are equally likely. Runs of a campaign are of several
configurations, so only pairs of one configuration count, and S is their sum (Hirsch, Slack & Smith, 1982, *Water
Resources Research* 18, 107). The size is Sen's slope, the median of the slopes of the same pairs (1968, *JASA* 63,
1379), of the logarithms. Neither is moved by a stalled epoch or an outlying run.

A section has two families of tests, epochs and campaigns. In each a section in which nothing drifts has a chance of at
most 5 % of any remark (Bonferroni over the tests of the family). Epochs are tested in each run, and over all runs of a
configuration together, where a few epochs a run are enough.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# scipy.stats takes a second to import; this is the same function without its frame.
from scipy.special import ndtr

from bench.analysis.records import RunRecord
from bench.analysis.stats import CONFIDENCE, Floats
from bench.core.case import Case
from bench.core.metrics import COMPARED

FLOOR = COMPARED["train_seconds"].floor
"""The smallest total change that is remarked: that which nothing about training time is claimed below."""

_FEWEST = 5
"""The fewest values that can show a trend: of four, the two monotonic orders alone have 2/24 > 5 %."""

_MOST = 1_000
"""Values of a series that are used, evenly spaced: the number of pairs grows with the square."""

_EXACT_PAIRS = 5_000
"""From so many pairs on the normal approximation of S is used, whose error is below a thousandth there."""


@dataclass(frozen=True)
class TimeSeries:
    """Times in their order: of the epochs of a run, or of the runs of one configuration in a campaign."""

    place: tuple[float, ...]
    """Where each stands, ascending: its number among all epochs, or among all runs of the campaign; n_values."""
    seconds: tuple[float, ...]
    """Positive; n_values."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How times change from the first to the last place, and how likely such an order is where they don't."""

    change: float
    """The relative change over the whole: 0.1 is 10 % longer at the end."""
    p_value: float
    """Two-sided."""
    n: int
    """How many values there are."""


@dataclass(frozen=True, kw_only=True)
class EpochTrend:
    """The epochs of a configuration's runs change from the second to the last."""

    configuration: Case
    together: float | None
    """The relative change over a run, of all runs together; None where these have no trend."""
    changes: tuple[float, ...]
    """The relative changes of those runs that have a trend by themselves, ascending."""
    of_runs: int
    """How many runs there are."""


@dataclass(frozen=True, kw_only=True)
class CampaignTrend:
    """The training times of a campaign's runs change from the first to the last, all configurations together."""

    campaign_id: str
    change: float
    """The relative change over the campaign."""
    runs: int


@dataclass(frozen=True)
class Trends:
    """The trends of a section."""

    epochs: tuple[EpochTrend, ...] = ()
    campaigns: tuple[CampaignTrend, ...] = ()


RunsByConfiguration = Mapping[Case, Sequence[RunRecord]]


def find_trends(runs: RunsByConfiguration) -> Trends:
    """The trends of a section's runs.

    Args:
        runs: all runs of the section that ended ok.
    """
    return Trends(_epoch_trends(runs), _campaign_trends(runs))


def _epoch_trends(runs: RunsByConfiguration) -> tuple[EpochTrend, ...]:
    series = [[_of_epochs(run) for run in of_case if run.epochs.seconds] for of_case in runs.values()]
    alone = [_known(trend_of([epochs]) for epochs in of_case) for of_case in series]
    together = [trend_of(of_case) if len(of_case) > 1 else None for of_case in series]
    tests = sum(map(len, alone)) + len(_known(together))
    trends = [
        EpochTrend(
            configuration=configuration,
            together=pooled.change if pooled and _remarkable(pooled, tests) else None,
            changes=tuple(sorted(trend.change for trend in by_run if _remarkable(trend, tests))),
            of_runs=len(runs[configuration]),
        )
        for configuration, by_run, pooled in zip(runs, alone, together, strict=True)
    ]
    return tuple(trend for trend in trends if trend.changes or trend.together is not None)


def _campaign_trends(runs: RunsByConfiguration) -> tuple[CampaignTrend, ...]:
    campaigns = {campaign: trend_of(series) for campaign, series in _by_campaign(runs).items()}
    tests = len(_known(campaigns.values()))
    return tuple(
        CampaignTrend(campaign_id=campaign, change=trend.change, runs=trend.n)
        for campaign, trend in campaigns.items()
        if trend is not None and _remarkable(trend, tests)
    )


def trend_of(series: Sequence[TimeSeries]) -> Trend | None:
    """The trend that series have in common; None where there are too few values to show any.

    Args:
        series: one, or several whose values are compared only with those of the same series; a series of one value
            shows nothing.
    """
    used = [_thinned(each) for each in series if len(each.seconds) > 1]
    n = sum(len(each.seconds) for each in used)
    if n < _FEWEST:
        return None
    score, slopes = 0, []
    for each in used:
        place, logs = np.asarray(each.place), np.log(each.seconds)
        earlier, later = np.triu_indices(len(logs), k=1)
        rises = logs[later] - logs[earlier]
        score += int(np.sign(rises).sum())
        slopes.append(rises / (place[later] - place[earlier]))
    span = max(each.place[-1] for each in used) - min(each.place[0] for each in used)
    return Trend(
        change=math.expm1(float(np.median(np.concatenate(slopes))) * span),
        p_value=kendall_p_value(score, tuple(sorted(len(each.seconds) for each in used))),
        n=n,
    )


@functools.lru_cache(maxsize=4_096)
def kendall_p_value(score: int, sizes: tuple[int, ...]) -> float:
    """The chance that S is at least as far from 0 as this where every order of each series is equally likely.

    With equal values, which count neither as a rise nor as a fall, it is too large rather than too small.

    Args:
        score: S, over all series.
        sizes: the number of values of each series.
    """
    pairs = sum(size * (size - 1) // 2 for size in sizes)
    if pairs <= _EXACT_PAIRS:
        falls = (pairs - abs(score)) // 2  # or more, where values are equal
        return min(1.0, 2 * float(_distribution(sizes)[: falls + 1].sum()))
    deviation = math.sqrt(sum(size * (size - 1) * (2 * size + 5) for size in sizes) / 18)
    return min(1.0, 2 * float(ndtr(-max(abs(score) - 1, 0) / deviation)))


@functools.lru_cache(maxsize=256)
def _distribution(sizes: tuple[int, ...]) -> Floats:
    """The chance of each number of falling pairs, from 0.

    The i-th value of a series, put among those before it at random, falls below 0 to i - 1 of them, each as likely.
    """
    chances: Floats = np.ones(1)
    for size in sizes:
        for count in range(2, size + 1):
            chances = np.convolve(chances, np.full(count, 1 / count))
    return chances


def _remarkable(trend: Trend, tests: int) -> bool:
    return trend.p_value <= (1 - CONFIDENCE) / tests and abs(trend.change) >= FLOOR


def _known(trends: Iterable[Trend | None]) -> list[Trend]:
    return [trend for trend in trends if trend is not None]


def _of_epochs(run: RunRecord) -> TimeSeries:
    return TimeSeries(tuple(range(len(run.epochs.seconds))), run.epochs.seconds)


def _by_campaign(runs: RunsByConfiguration) -> Mapping[str, list[TimeSeries]]:
    """The training times of each campaign's runs, a series for each configuration, by the order of all its runs."""
    timed = sorted(
        (
            (run, number, seconds)
            for number, of_case in enumerate(runs.values())
            for run in of_case
            if (seconds := run.figure("train_seconds")) is not None and seconds > 0 and math.isfinite(run.started_at)
        ),
        key=lambda entry: entry[0].started_at,
    )
    counts: dict[str, int] = defaultdict(int)
    values: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for run, number, seconds in timed:
        values[run.campaign_id][number].append((counts[run.campaign_id], seconds))
        counts[run.campaign_id] += 1
    return {
        campaign: [TimeSeries(*zip(*pairs, strict=True)) for pairs in by_row.values()]
        for campaign, by_row in values.items()
    }


def _thinned(series: TimeSeries) -> TimeSeries:
    step = -(-len(series.seconds) // _MOST)
    return TimeSeries(series.place[::step], series.seconds[::step])
