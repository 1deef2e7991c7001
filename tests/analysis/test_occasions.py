"""bench.analysis.occasions: occasions, interleaved sides, and verdicts on times under drift."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from bench.analysis.comparison import Comparison, compare
from bench.analysis.findings import unknown_drift
from bench.analysis.occasions import MIN_FREEDOM, DeclaredDrift, apart, measured_drift, neighbours
from bench.analysis.samples import Reading
from bench.analysis.verdict import Verdict
from bench.core.errors import ExitCode
from bench.core.metrics import METRICS
from bench.plan.gate import Gate
from scripts.simulate_drift import SCENARIOS, wrong_verdicts
from tests.analysis.test_comparison import BASE, of, side, wobbling
from tests.support.frames import MACHINE, Rows, frame

HOUR, DAY = 3600.0, 86_400.0


def runs(campaign: str, start: float, values: Iterable[float], step: float = 60.0) -> list[Reading]:
    return [Reading(seed, value, start + step * seed, campaign) for seed, value in enumerate(values)]


def on_days(measured: Mapping[int, Sequence[Rows]]) -> pd.DataFrame:
    """Runs of several days, a minute after each other; a day is a campaign."""
    frames = []
    for day, rows in measured.items():
        of_day = frame(*rows)
        of_day["started_at"] += pd.to_timedelta(of_day["seed"], unit="min") + pd.Timedelta(days=day)
        frames.append(of_day)
    return pd.concat(frames, ignore_index=True).astype({"campaign_id": "category", "run_id": "category"})


# --- interleaved sides ---


def starting(order: str) -> tuple[list[Reading], list[Reading]]:
    """Runs of two sides, A and B, in the order of a text."""
    placed = [(name, Reading(0, 1.0, 60.0 * place, name)) for place, name in enumerate(order)]
    return [r for name, r in placed if name == "A"], [r for name, r in placed if name == "B"]


@pytest.mark.parametrize("order", ["ABBAABBA", "ABBA" * 5, "BAABABBA", "ABBAABBAA"])
def test_sides_that_alternate_are_paired_by_nearness(order: str) -> None:
    base, new = starting(order)
    pairs = neighbours(base, new)
    assert pairs is not None
    gaps = [abs(base[i].started_at - new[j].started_at) for i, j in zip(*pairs, strict=True)]
    assert set(gaps) == {60.0}
    assert len(set(pairs[0])) == len(pairs[0]) >= len(new) - 1


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ("AAAABBBB", "one after the other"),
        ("AAAABBBBAAAABBBB", "in halves"),
        ("ABABABABAB", "A is always the first: a machine that slows down would favour it"),
        ("AB", "a single pair"),
        ("AAAA", "one side"),
    ],
)
def test_sides_that_do_not_alternate_evenly_are_not_interleaved(order: str, why: str) -> None:
    assert neighbours(*starting(order)) is None, why


def test_runs_of_unknown_or_equal_times_are_not_interleaved() -> None:
    base, new = starting("ABBAABBA")
    unknown = [*new[:-1], Reading(0, 1.0, math.nan, "B")]
    assert neighbours(base, unknown) is None
    assert neighbours(base, [Reading(0, 1.0, r.started_at, "B") for r in base]) is None


def test_an_overlap_of_the_ranges_is_no_interleaving() -> None:
    """A store to which a run was added after the other side had been measured."""
    late = side("old", wobbling(5.0, 0.01, 1), n=8)
    new = side("new", wobbling(6.0, 0.01, 3))
    comparison = compare(on_days({0: late[:7], 2: late[7:]}), on_days({1: new}), Gate())
    assert of(comparison).verdict is Verdict.INCONCLUSIVE
    assert unknown_drift(METRICS["train_seconds"]) in of(comparison).remarks


# --- occasions ---


def test_five_occasions_of_equal_code_are_the_least() -> None:
    days = [runs(f"c{day}", day * DAY, [1.0, 1.01, 1.02 + day / 100]) for day in range(5)]
    group = [run for day in days for run in day]
    drift = measured_drift([group], DAY)
    assert drift is not None
    assert (drift.occasions, drift.freedom) == (5, MIN_FREEDOM)
    means = [np.log([run.value for run in day]).mean() for day in days]
    assert drift.variance == pytest.approx(np.var(means, ddof=1))
    assert drift.farthest == pytest.approx(np.abs(means - np.mean(means)).max())
    assert measured_drift([group[:-3]], DAY) is None
    assert measured_drift([], DAY) is None
    two_versions = [[run for day in days[:3] for run in day], [run for day in days[3:] for run in day]]
    assert measured_drift(two_versions, DAY) is None  # 2 + 1 degrees of freedom


def test_occasions_nearer_than_the_sides_are_count_as_one() -> None:
    """Ten campaigns within an hour share the drift of that hour: they know nothing of a day's."""
    group = [run for k in range(10) for run in runs(f"c{k}", k * 300.0, [1.0, 1.01])]
    assert measured_drift([group], 300.0) is not None
    assert measured_drift([group], DAY) is None
    assert measured_drift([group], math.nan) is None


def test_how_far_apart_the_sides_are() -> None:
    base = [*runs("a", 0.0, [1.0, 1.0, 1.0]), *runs("b", DAY, [1.0])]
    assert apart(base, runs("c", 2 * DAY, [1.0, 1.0, 1.0])) == DAY + 60
    assert math.isnan(apart(base, []))


def test_an_interval_of_measured_drift_is_students_t_over_occasions() -> None:
    """With occasions of equal size, on the sides as in the history, the replicate is the occasion."""
    generator = np.random.default_rng(7)
    days = [runs(f"c{k}", k * DAY, np.exp(generator.normal(0, 0.1) + generator.normal(0, 0.001, 5))) for k in range(7)]
    drift = measured_drift([[run for day in days for run in day]], DAY)
    assert drift is not None
    new = runs("new", 8 * DAY, [1.0, 1.001, 0.999, 1.0, 1.0005])
    half = drift.half_width(days[0], new, 0.95)
    assert half == pytest.approx(2.4469 * math.sqrt(2 * drift.variance), rel=0.01)
    several = drift.half_width([run for day in days for run in day], new, 0.95)
    assert several == pytest.approx(2.4469 * math.sqrt((1 + 1 / 7) * drift.variance), rel=0.01)


def test_a_declared_drift_widens_the_interval_by_what_was_declared() -> None:
    base, new = (runs(name, 0.0, np.exp(np.random.default_rng(i).normal(0, 0.01, 6))) for i, name in enumerate("ab"))
    none, some = (DeclaredDrift(bound).half_width(base, new, 0.95) for bound in (0.0, 0.02))
    assert none is not None
    assert some == pytest.approx(none + math.log(1.02))


# --- verdicts ---


def nightly(nights: int, spread: float, generator: int) -> dict[int, list[Rows]]:
    """Nights of equal code on a machine whose speed moves from night to night."""
    speeds = np.exp(np.random.default_rng(generator).normal(0, spread, nights))
    return {
        night: side(f"night{night}", wobbling(5.0 * float(speed), 0.005, night)) for night, speed in enumerate(speeds)
    }


def later(factor: float = 1.0, day: int = 31, **settings: object) -> pd.DataFrame:
    return on_days({day: side("new", wobbling(5.0 * factor, 0.005, 99), **settings)})  # type: ignore[arg-type]


def test_without_a_known_drift_no_time_has_a_verdict_and_everything_else_has() -> None:
    comparison = compare(on_days({0: BASE}), later(2.0), Gate())
    finding = of(comparison)
    assert (finding.verdict, finding.simultaneous) == (Verdict.INCONCLUSIVE, None)
    assert finding.change is not None
    assert finding.change.interval is None
    assert of(comparison, "accuracy").verdict is Verdict.SAME
    assert of(comparison, "memory_bytes").verdict is Verdict.SAME
    assert comparison.exit_code(Gate()) is ExitCode.NO_VERDICT


def test_the_bases_nights_show_the_drift_and_a_regression_larger_than_it_is_seen() -> None:
    base = on_days(nightly(30, 0.01, 1))
    worse = of(compare(base, later(1.15), Gate()))
    assert worse.verdict is Verdict.SLOWER
    assert "between 30 occasions" in worse.basis
    assert of(compare(base, later(), Gate())).verdict in (Verdict.SAME, Verdict.INCONCLUSIVE)
    assert of(compare(on_days(nightly(30, 0.1, 1)), later(1.15), Gate())).verdict is Verdict.INCONCLUSIVE


def test_nights_of_another_machine_or_another_version_show_no_drift() -> None:
    away = {night: side(f"n{night}", machine={**MACHINE, "usable_cores": 64}) for night in range(9)}
    elsewhere = on_days({0: BASE, **{night + 1: rows for night, rows in away.items()}})
    assert of(compare(elsewhere, later(2.0), Gate())).verdict is Verdict.INCONCLUSIVE
    versions = {night: side(f"n{night}", commit=f"c{night}") for night in range(9)}
    assert of(compare(on_days(versions), later(2.0), Gate())).drift is None


def test_the_new_side_is_never_taken_for_the_drift_it_is_judged_by() -> None:
    """Equal code by every mark that is kept, and yet slower: nights of the base alone show the drift."""
    base, new = on_days(nightly(10, 0.005, 1)), later(1.3, day=10)
    finding = of(compare(base, new, Gate()))
    assert finding.verdict is Verdict.SLOWER
    again = of(compare(base, new, Gate(), history=pd.concat([base, new], ignore_index=True)))
    assert again.drift == finding.drift


def test_a_history_elsewhere_shows_it_too() -> None:
    history = on_days({night + 100: rows for night, rows in nightly(12, 0.005, 3).items()})
    comparison = compare(on_days({30: BASE}), later(1.2), Gate(), history=history)
    assert of(comparison).verdict is Verdict.SLOWER
    assert "drift between 13 occasions" in of(comparison).basis
    assert any("declared or as equal code shows it" in remark for remark in comparison.remarks)


def test_what_would_decide_is_advised() -> None:
    def advised(comparison: Comparison) -> str:
        assert of(comparison).verdict is Verdict.INCONCLUSIVE
        return of(comparison).remarks[0]

    base = on_days({0: side("old", wobbling(5.0, 0.03, 1))})
    assert "the drift that was declared is too large" in advised(compare(base, later(1.02), Gate(drift=0.05)))
    assert "runs a side in all would decide" in advised(compare(base, later(1.02), Gate(drift=0.001)))
    assert "more occasions" in advised(compare(on_days(nightly(6, 0.05, 1)), later(day=6), Gate()))


def test_all_orders_of_interleaving_are_symmetric() -> None:
    for order in itertools.islice(set(itertools.permutations("AAABBB")), 20):
        base, new = starting("".join(order))
        there, back = neighbours(base, new), neighbours(new, base)
        assert (there is None) == (back is None)
        if there and back:
            assert (back[1], back[0]) == there


def test_a_small_part_of_the_simulation_gives_few_wrong_verdicts() -> None:
    """docs/between-days.md has the whole. Of 300 comparisons a rate of 1 % gives more than 9 with a chance of 0.1 %."""
    worst = SCENARIOS["a day apart, 5 runs, drift of 20 %, 10 nights before"]
    assert wrong_verdicts(worst, comparisons=300, seed=1) <= 9
