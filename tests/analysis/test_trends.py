"""bench.analysis.trends on times whose trend is known, and against scipy's tests."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.analysis.comparison import compare
from bench.analysis.records import RunRecord
from bench.analysis.reductions import SteadyEpochs
from bench.analysis.stats import Floats
from bench.analysis.summary import summarise
from bench.analysis.trends import FLOOR, TimeSeries, Trends, find_trends, kendall_p_value, trend_of
from bench.core.case import Case
from bench.plan.gate import Gate
from tests.support.frames import Rows, frame, run
from tests.support.rendering import table_in, verdicts_in

QUIET = np.random.default_rng(10)


def series(values: Floats) -> TimeSeries:
    return TimeSeries(tuple(range(len(values))), tuple(values))


def noise(generator: np.random.Generator, *shape: int, spread: float = 0.02) -> Floats:
    return np.exp(generator.normal(0, spread, shape))


def records(epochs: Floats, *, cell: str = "lstm", first: int = 0, every: int = 1) -> list[RunRecord]:
    """Runs with these steady epochs (n_runs × n_epochs), begun one after another."""
    return [
        RunRecord(
            run_id=f"{cell} {number}",
            campaign_id="c",
            block=number,
            seed=number,
            repeat=0,
            started_at=float(first + every * number),
            figures={"train_seconds": float(np.median(seconds))},
            epochs=SteadyEpochs(tuple(seconds.tolist()), (None,) * len(seconds)),
        )
        for number, seconds in enumerate(epochs)
    ]


# --- the test itself ---


@pytest.mark.parametrize("n", [5, 8, 30, 60, 150])
def test_the_p_value_and_the_slope_are_those_of_scipy(n: int) -> None:
    generator = np.random.default_rng(n)
    values = noise(generator, n) * np.exp(0.002 * np.arange(n))
    trend = trend_of([series(values)])
    assert trend is not None
    exact = n <= 60
    wanted = stats.kendalltau(np.arange(n), values, method="exact" if exact else "asymptotic")
    assert trend.p_value == pytest.approx(wanted.pvalue, rel=1e-9 if exact else 0.02)
    slope = stats.theilslopes(np.log(values)).slope
    assert trend.change == pytest.approx(math.expm1(slope * (n - 1)))


def test_the_p_value_of_several_series_is_that_of_all_their_orders() -> None:
    sizes = (2, 3, 3)

    def score(orders: tuple[tuple[int, ...], ...]) -> int:
        return sum(int(np.sign(b - a)) for order in orders for a, b in itertools.combinations(order, 2))

    scores = [score(orders) for orders in itertools.product(*(itertools.permutations(range(size)) for size in sizes))]
    for wanted in set(scores):
        as_far = sum(abs(each) >= abs(wanted) for each in scores) / len(scores)
        assert kendall_p_value(wanted, sizes) == pytest.approx(as_far)


def test_the_normal_approximation_meets_the_exact_distribution() -> None:
    from bench.analysis import trends

    sizes = (100,)
    exact = [kendall_p_value(score, sizes) for score in range(0, 1_500, 50)]
    kendall_p_value.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trends, "_EXACT_PAIRS", 0)
        assert [kendall_p_value(score, sizes) for score in range(0, 1_500, 50)] == pytest.approx(exact, abs=1e-3)
    kendall_p_value.cache_clear()


def test_equal_values_make_no_trend() -> None:
    trend = trend_of([series(np.full(20, 5.0))])
    assert trend is not None
    assert (trend.change, trend.p_value) == (0.0, 1.0)


def test_four_values_show_nothing() -> None:
    assert trend_of([series(np.array([1.0, 2.0, 3.0, 4.0]))]) is None
    assert trend_of([series(np.array([1.0]))] * 9) is None


def test_a_long_series_is_thinned_and_keeps_its_size() -> None:
    values = noise(QUIET, 5_000) * np.exp(np.linspace(0, 0.1, 5_000))
    trend = trend_of([series(values)])
    assert trend is not None
    assert trend.n == 1_000
    assert trend.change == pytest.approx(math.expm1(0.1), rel=0.1)


# --- what is remarked ---


def test_quiet_campaigns_are_remarked_no_oftener_than_stated() -> None:
    """2,000 campaigns of 3 cells, 8 runs each, 10 steady epochs a run, whose times scatter by 2 % and drift not at all.

    At most 5 % may have a remark on epochs, and 5 % one on the campaign; 6.5 % is three standard deviations more.
    """
    generator = np.random.default_rng(2026)
    false = {"epochs": 0, "campaigns": 0}
    for _ in range(2_000):
        levels = noise(generator, 3, 8, 1, spread=0.05)
        runs = {
            Case(cell=cell): records(level * noise(generator, 8, 10), cell=cell, first=place, every=3)
            for place, (cell, level) in enumerate(zip(("simple_rnn", "lstm", "gru"), levels, strict=True))
        }
        trends = find_trends(runs)
        false["epochs"] += bool(trends.epochs)
        false["campaigns"] += bool(trends.campaigns)
    assert all(count <= 130 for count in false.values()), false
    assert false["campaigns"] > 20  # the test is there at all


def test_epochs_that_grow_are_found_with_their_size() -> None:
    grown = noise(QUIET, 6, 12, spread=0.01)
    grown[2] *= np.exp(0.01 * np.arange(12))
    (trend,) = find_trends({Case(cell="lstm"): records(grown), Case(cell="gru"): records(noise(QUIET, 6, 12))}).epochs
    assert (trend.configuration.cell, trend.of_runs) == ("lstm", 6)
    assert list(trend.changes) == pytest.approx([math.expm1(0.11)], abs=0.03)


def test_two_steady_epochs_a_run_are_enough_where_all_runs_agree() -> None:
    """The notebook's protocol has three epochs: no run shows a trend by itself, ten runs together do."""
    grown = noise(QUIET, 10, 2, spread=0.005) * np.array([1.0, 1.06])
    (trend,) = find_trends({Case(cell="lstm"): records(grown)}).epochs
    assert trend.changes == ()
    assert trend.together == pytest.approx(0.06, abs=0.01)


def test_a_campaign_that_slows_down_is_found_whatever_the_configurations_take() -> None:
    """30 runs of three cells, interleaved, of 20, 46 and 50 s, that take 8 % longer at the end."""
    runs = {}
    for place, (cell, seconds) in enumerate((("simple_rnn", 20.0), ("lstm", 46.0), ("gru", 50.0))):
        drift = np.exp(math.log(1.08) * (place + 3 * np.arange(10)) / 29)
        runs[Case(cell=cell)] = records(
            seconds * noise(QUIET, 10, 1, spread=0.01) * drift[:, None], cell=cell, first=place, every=3
        )
    (trend,) = find_trends(runs).campaigns
    assert (trend.campaign_id, trend.runs) == ("c", 30)
    assert trend.change == pytest.approx(0.08, abs=0.03)


def test_a_step_between_configurations_is_no_trend_of_the_campaign() -> None:
    slow, fast = noise(QUIET, 10, 3), noise(QUIET, 10, 3)
    runs = {Case(cell="gru"): records(slow, cell="gru"), Case(cell="lstm"): records(9 * fast, first=100)}
    assert find_trends(runs) == Trends()


def test_what_is_smaller_than_the_floor_is_not_remarked() -> None:
    grown = np.exp(np.linspace(0, 0.8 * FLOOR, 30))[None, :]
    assert find_trends({Case(cell="lstm"): records(grown)}).epochs == ()


# --- where it is shown ---


def lstm(seed: int, growth: float, campaign: str = "c1") -> Rows:
    wobble = 1 + 0.001 * (seed * 5 % 7)
    return run(
        Case(cell="lstm", seed=seed),
        epoch_seconds=[9.0, *(5 * wobble * (1 + growth * epoch + 0.0005 * (epoch * 3 % 4)) for epoch in range(10))],
        campaign=campaign,
    )


def drifting(rows: list[Rows]) -> pd.DataFrame:
    table = frame(*rows)
    table["started_at"] += pd.to_timedelta(table["seed"], unit="min")
    return table


def test_trends_stand_under_the_table() -> None:
    (section,) = summarise(drifting([lstm(seed, 0.02) for seed in range(6)]))
    text = " ".join(table_in([section], "text", 80).split())
    assert "Trends over a run's epochs, from the second to the last (Kendall's tau, Sen's slope; at most 5 %" in text
    assert "lstm +18.0 % in all 6 runs together, +18.0 % in 6 of 6 runs by themselves." in text
    assert json.loads(table_in([section], "json"))["sections"][0]["trends"]["epochs"][0]["runs"] == 6
    (quiet,) = summarise(drifting([lstm(seed, 0.0) for seed in range(6)]))
    assert "Trends" not in table_in([quiet], "text")


def test_a_campaign_of_one_configuration_whose_runs_slow_down() -> None:
    rows = [run(Case(cell="lstm", seed=seed), epoch_seconds=(9.0, 5 + 0.1 * seed)) for seed in range(8)]
    (section,) = summarise(drifting(rows))
    text = " ".join(table_in([section], "text", 80).split())
    assert "Trends of training times over a campaign, from its first run to its last" in text
    assert "c1 +14.0 % over 8 runs." in text


def test_a_run_that_began_nobody_knows_when_is_in_no_order() -> None:
    rows = drifting([run(Case(cell="lstm", seed=seed), epoch_seconds=(9.0, 5 + 0.1 * seed)) for seed in range(8)])
    rows.loc[rows["seed"] == 3, "started_at"] = pd.NaT
    (section,) = summarise(rows)
    (trend,) = find_trends(section.runs).campaigns
    assert trend.runs == 7


def test_a_comparison_remarks_the_trends_of_each_side() -> None:
    base, new = (
        drifting([lstm(seed, growth, name) for seed in range(6)]) for name, growth in (("old", 0.0), ("new", 0.02))
    )
    comparison = compare(base, new, Gate())
    text = " ".join(verdicts_in(comparison, Gate(), "text", 80).split())
    assert "new: Trends over a run's epochs" in text
    assert "base: Trends" not in text
    data = json.loads(verdicts_in(comparison, Gate(), "json"))["trends"]
    assert (data["base"]["epochs"], len(data["new"]["epochs"])) == ([], 1)
