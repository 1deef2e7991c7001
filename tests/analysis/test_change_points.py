"""bench.analysis.change_points: on data whose truth is known, the false ones, and those that are missed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.change_points import SEGMENT, change_points, long_run_deviation, smallest_detectable
from scripts.simulate_history import FLOOR, false_changes, series

RANDOM = np.random.default_rng


def saved_squares(values: np.ndarray, at: int) -> float:
    """What a split removes of the squares about the mean."""
    left, right = values[:at], values[at:]
    return float(
        ((values - values.mean()) ** 2).sum() - sum(((part - part.mean()) ** 2).sum() for part in (left, right))
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_single_change_is_the_best_of_all_splits(seed: int) -> None:
    """Against the obvious version, with independent noise."""
    values = RANDOM(seed).normal(0, 1, 40) + np.repeat([0.0, 6.0], [12 + seed, 28 - seed])
    best = max(range(SEGMENT, 36), key=lambda at: saved_squares(values, at))
    assert change_points(list(values)) == (best,)


@pytest.mark.parametrize("at", [5, 12, 25])
def test_a_step_is_found_where_it_is(at: int) -> None:
    values = RANDOM(1).normal(0, 1, 30)
    values[at:] += 12
    assert change_points(list(values)) == (at,)


@pytest.mark.parametrize("at", [0, 4, 14, 29])
@pytest.mark.parametrize("width", [1, 2])
def test_a_spike_is_no_change_however_high(at: int, width: int) -> None:
    values = RANDOM(2).normal(0, 1, 30)
    values[at : at + width] += 1_000
    assert change_points(list(values)) == ()


def test_four_points_are_no_level_and_five_are() -> None:
    values = RANDOM(3).normal(0, 0.5, 30)
    for width, least in ((4, 0), (5, 1), (6, 1)):
        moved = values.copy()
        moved[30 - width :] += 8
        assert len(change_points(list(moved))) >= least
        if not least:
            assert all(30 - start >= SEGMENT for start in change_points(list(moved)))


def test_two_steps_are_two_changes() -> None:
    values = RANDOM(4).normal(0, 1, 60) + np.repeat([0, 8, 16], 20)
    assert change_points(list(values)) == (20, 40)


def test_a_level_that_moves_and_comes_back_is_two_changes() -> None:
    """Neither stands out from the noise that the other makes, so that they are sought together."""
    values = RANDOM(4).normal(0, 1, 90) + np.repeat([0, 5, 0], 30)
    assert change_points(list(values)) == (30, 60)


def test_what_is_too_short_too_equal_or_not_a_number_has_no_change() -> None:
    assert change_points([]) == ()
    assert change_points([0.0] * 4 + [9.0] * 5) == ()
    assert change_points([5.0] * 30) == ()
    assert change_points([1.0] * 15 + [math.nan] + [9.0] * 15) == ()


def test_a_step_between_values_that_are_otherwise_equal_is_found_if_it_is_large_enough() -> None:
    steps = [0.0] * 10 + [1.0] * 10
    assert change_points(steps) == (10,)
    assert change_points(steps, least=0.1) == (10,)
    assert change_points(steps, least=10.0) == ()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(st.just(1.0), st.floats(0.5, 2), st.just(math.nan)), max_size=25))
def test_levels_of_anything_are_long_enough(values: list[float]) -> None:
    edges = [0, *change_points(values), len(values)]
    assert edges == sorted(edges)
    if len(edges) > 2:
        assert min(b - a for a, b in itertools.pairwise(edges)) >= SEGMENT


@pytest.mark.parametrize(("n", "most"), [(10, 24), (30, 9)])
def test_a_series_without_a_change_rarely_has_one(n: int, most: int) -> None:
    """Of 200 series of normal noise. Measured: 4 % at 10 points and 1 % at 30; bounds far from it."""
    generator = RANDOM(5)
    false = sum(bool(change_points(list(generator.normal(size=n)))) for _ in range(200))
    assert false <= most


def test_a_step_of_four_times_the_noise_is_rarely_missed() -> None:
    generator = RANDOM(6)
    starts_of_series = [change_points(list(generator.normal(size=30) + np.repeat([0, 4], 15))) for _ in range(60)]
    near = sum(any(abs(start - 15) <= 1 for start in starts) for starts in starts_of_series)
    assert near >= 51


def noise(kind: str, n: int, generator: np.random.Generator) -> np.ndarray:
    draws: dict[str, Callable[[], np.ndarray]] = {
        "normal": lambda: generator.normal(size=n),
        "skewed": lambda: generator.lognormal(0, 0.5, n),
        "heavy": lambda: generator.standard_t(4, n),
    }
    return draws[kind]()


@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy"])
@pytest.mark.parametrize(("n", "place", "least"), [(10, 5, 0.78), (15, 10, 0.85), (30, 5, 0.9), (30, 15, 0.95)])
def test_a_step_of_the_smallest_detectable_size_is_rarely_missed(kind: str, n: int, place: int, least: float) -> None:
    """Of 200 steps, up and down, each as large as its own series gives without the step. Bounds far from the counts."""
    generator = RANDOM(7)
    seen = 0
    for number in range(200):
        values = noise(kind, n, generator)
        values[place:] += smallest_detectable(list(values)) * (-1) ** number
        seen += bool(change_points(list(values)))
    assert seen >= 200 * least


def test_a_step_of_a_third_of_the_smallest_detectable_size_is_rarely_seen() -> None:
    """So that it is no excuse: it is of the size that is needed."""
    generator = RANDOM(8)
    seen = 0
    for _ in range(200):
        values = generator.normal(size=30)
        values[5:] += smallest_detectable(list(values)) / 3
        seen += bool(change_points(list(values)))
    assert seen <= 40


def multiple(n: int, longest: int) -> float:
    """The smallest detectable step in standard deviations of the noise, by the formula."""
    return (math.sqrt(6 * math.log(n)) + 2.33) * math.sqrt(longest / (5 * (longest - 5)))


def test_the_smallest_detectable_step_is_the_formulas() -> None:
    assert smallest_detectable([0.0] * 20, least=0.5) == pytest.approx(0.5 * multiple(20, 20))
    assert smallest_detectable([0.0] * 8 + [9.0] * 12, least=0.5, starts=[8]) == pytest.approx(0.5 * multiple(20, 12))


def test_two_modes_that_alternate_are_noise() -> None:
    """All differences of neighbours are equal but for their sign, so that these alone would show no noise at all."""
    assert smallest_detectable([0.0, 1.0] * 10) >= 0.5 * multiple(20, 20)


@pytest.mark.parametrize(("values", "starts"), [([0.0] * 9, []), ([1.0] * 19, [9, 14]), ([1.0] * 15 + [math.nan], [])])
def test_nothing_is_detectable_in_a_level_that_is_too_short(values: list[float], starts: list[int]) -> None:
    assert smallest_detectable(values, 0.1, starts) == math.inf


# --- noise that is correlated, and repeated examinations ---


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5, 0.8])
def test_the_long_run_deviation_is_rarely_below_the_truth(correlation: float) -> None:
    """Of an autoregression of variance 1 it is √((1 + ρ) / (1 - ρ)); too large costs power, too small gives alarms."""
    generator = RANDOM(9)
    truth = math.sqrt((1 + correlation) / (1 - correlation))
    estimates = []
    for _ in range(200):
        drawn = generator.normal(size=100)
        for i in range(1, 100):
            drawn[i] = correlation * drawn[i - 1] + math.sqrt(1 - correlation**2) * drawn[i]
        estimates.append(long_run_deviation(drawn - drawn.mean(), 1))
    assert np.mean(np.array(estimates) > 0.9 * truth) > 0.8
    assert np.median(estimates) < 2.5 * truth


@pytest.mark.parametrize(
    ("scenario", "most"),
    [
        ("independent noise", 1),
        ("noise correlated by 0.5", 1),
        ("correlated by 0.5, episodes of 3 to 10 nights every month", 5),
    ],
)
def test_a_year_of_nights_shows_next_to_no_change_that_is_not_there(scenario: str, most: int) -> None:
    """Five years of each, examined every night; docs/between-days.md has 200 of them."""
    generator = RANDOM(10)
    assert sum(false_changes(series(scenario, generator)) for _ in range(5)) <= most


def test_a_change_is_shown_within_weeks_though_every_night_is_examined() -> None:
    generator = RANDOM(11)
    for scenario, nights in (("independent noise", 14), ("noise correlated by 0.5", 60)):
        seen = 0
        for _ in range(20):
            values = series(scenario, generator, 90 + nights)
            values[90:] += 15
            seen += bool(change_points(list(values), FLOOR))
        assert seen >= 17
