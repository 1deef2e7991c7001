"""When an interval is narrow enough: the rule, and what stopping by it does to coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.analysis.precision import FEWEST_BLOCKS, PrecisionTarget, half_width, while_measuring, widening
from bench.analysis.stats import CONFIDENCE, Estimate, Interval, mean_t, median_runs
from bench.core.metrics import METRICS

ACCURACY, SECONDS = METRICS["accuracy"], METRICS["train_seconds"]


def test_half_a_width_is_in_points_or_a_fraction_of_the_time() -> None:
    estimate = Estimate(4.0, Interval(3.0, 5.5), 12)
    assert half_width(estimate, ACCURACY) == pytest.approx(1.25)
    assert half_width(estimate, SECONDS) == pytest.approx(1.25 / 4)
    assert half_width(Estimate(4.0, None, 12), SECONDS) is None


def test_nothing_is_precise_before_ten_blocks() -> None:
    target = PrecisionTarget(ACCURACY, 0.01)
    narrow = Interval(0.899, 0.901)
    assert not target.reached(Estimate(0.9, narrow, FEWEST_BLOCKS - 1))
    assert target.reached(Estimate(0.9, narrow, FEWEST_BLOCKS))
    assert not target.reached(Estimate(0.9, None, 50))


def test_an_interval_that_is_read_again_and_again_is_wider_to_both_sides() -> None:
    for metric, wider in ((ACCURACY, math.sqrt(1 + 4 / 16)), (SECONDS, 1 + 0.8 / 4)):
        interval = while_measuring(Estimate(10.0, Interval(9.0, 12.0), 16), metric).interval
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx((10 - wider, 10 + 2 * wider))
        first = Estimate(10.0, Interval(9.0, 12.0), FEWEST_BLOCKS)
        assert while_measuring(first, metric) == first
        assert widening(10_000, metric) == pytest.approx(1, abs=0.01)
    assert PrecisionTarget(ACCURACY, 0.05).reached(Estimate(1.0, Interval(0.96, 1.04), 16))
    assert not PrecisionTarget(ACCURACY, 0.05).reached(Estimate(1.0, Interval(0.954, 1.046), 16))


def test_how_many_values_it_would_take() -> None:
    estimate = Estimate(10.0, Interval(9.0, 11.0), 10)
    assert PrecisionTarget(SECONDS, 0.05).values_needed(estimate) == 40
    assert PrecisionTarget(SECONDS, 0.5).values_needed(estimate) == FEWEST_BLOCKS
    assert PrecisionTarget(SECONDS, 0.05).values_needed(Estimate(10.0, None, 1)) is None


def test_the_truth_is_held_by_95_percent_of_means_where_they_stop() -> None:
    """Where 25 values are needed, where uncorrected intervals lose most."""
    generator, target, campaigns = np.random.default_rng(8), PrecisionTarget(ACCURACY, 0.4), 1_200
    held = {"corrected": 0, "uncorrected": 0}
    for _ in range(campaigns):
        values = list(generator.standard_normal(FEWEST_BLOCKS))
        while not target.reached(mean_t(values)):
            values.append(generator.standard_normal())
        for kind, estimate in (
            ("corrected", while_measuring(mean_t(values), ACCURACY)),
            ("uncorrected", mean_t(values)),
        ):
            assert estimate.interval is not None
            held[kind] += estimate.interval.low <= 0 <= estimate.interval.high
    error = 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / campaigns)
    assert abs(held["corrected"] / campaigns - CONFIDENCE) < 0.01 + error
    assert held["corrected"] - held["uncorrected"] > 0.005 * campaigns


def test_medians_hold_it_too() -> None:
    generator, target, campaigns = np.random.default_rng(9), PrecisionTarget(SECONDS, 0.05), 400
    held = 0
    for _ in range(campaigns):
        values = list(np.exp(generator.normal(0.0, 0.1, FEWEST_BLOCKS)))
        while not target.reached(median_runs(values)):
            values.append(math.exp(generator.normal(0.0, 0.1)))
        interval = while_measuring(median_runs(values), SECONDS).interval
        assert interval is not None
        held += interval.low <= 1 <= interval.high
    assert held / campaigns > CONFIDENCE - 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / campaigns)
