"""bench.analysis.comparison on frames whose truth is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.comparison import Comparison, compare
from bench.analysis.findings import MIN_RUNS, MIN_SEEDS, Finding
from bench.analysis.stats import Interval, mean_t, paired_ratio
from bench.analysis.verdict import IMPROVEMENTS, REGRESSIONS, Verdict
from bench.core.case import Case
from bench.core.errors import ExitCode
from bench.plan.gate import Gate, read_gate
from bench.store import load
from tests.support.frames import CELLS, MACHINE, MEGABYTE, SOFTWARE, Rows, frame, run

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "mnist_rows"
TRAINING_ONLY = read_gate({"require": ["train_seconds"]}, "here")


def side(
    campaign: str,
    seconds: Callable[[int], float] = lambda seed: 5.0,
    *,
    cell: str = "lstm",
    n: int = 8,
    accuracy: Callable[[int], float] = lambda seed: 0.9 + seed / 1000,
    more: Any = None,
    **settings: Any,
) -> list[Rows]:
    """A run for each of n seeds, with these training seconds and accuracies."""
    return [
        run(
            Case(cell=cell, seed=seed, **(more or {})),
            campaign=campaign,
            epoch_seconds=(9.0, seconds(seed), seconds(seed)),
            accuracy=accuracy(seed),
            loss=1 - accuracy(seed),
            **settings,
        )
        for seed in range(n)
    ]


def wobbling(mean: float, spread: float, generator: int) -> Callable[[int], float]:
    """Seconds of each seed: `mean`, and a log-normal spread."""
    factors = np.exp(np.random.default_rng(generator).normal(0, spread, 100))
    return lambda seed: mean * float(factors[seed])


def interleaved(base: list[Rows], new: list[Rows]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two sides as if each seed had been measured on both, one right after the other, and each first in turn."""
    frames = frame(*base), frame(*new)
    for place, measured in enumerate(frames):
        seed = measured["seed"] % 100
        measured["started_at"] += pd.to_timedelta(2 * seed + (seed + place) % 2, unit="min")
    return frames


def judged(base: list[Rows], new: list[Rows], **settings: Any) -> Comparison:
    return compare(*interleaved(base, new), Gate(), **settings)


def of(comparison: Comparison, metric: str = "train_seconds", cell: str = "lstm") -> Finding:
    (finding,) = [
        finding
        for finding in comparison.findings
        if (finding.metric.name if finding.metric else "runs") == metric and finding.configuration.cell == cell
    ]
    return finding


BASE = side("old", wobbling(5.0, 0.01, 1))


# --- verdicts on known truth ---


@pytest.mark.parametrize(
    ("factor", "verdict", "code"),
    [
        (1.00, Verdict.SAME, ExitCode.OK),
        (1.015, Verdict.SAME, ExitCode.OK),
        (1.10, Verdict.SLOWER, ExitCode.REGRESSION),
        (0.90, Verdict.FASTER, ExitCode.OK),
        (1.03, Verdict.INCONCLUSIVE, ExitCode.NO_VERDICT),
    ],
)
def test_training_seconds_that_changed_by_a_known_factor(factor: float, verdict: Verdict, code: ExitCode) -> None:
    spread = 0.002 if verdict is Verdict.SAME else 0.02 if verdict is Verdict.INCONCLUSIVE else 0.01
    base, drifted = wobbling(5.0, 0.03, 1), wobbling(factor, spread, 2)
    comparison = judged(side("old", base), side("new", lambda seed: base(seed) * drifted(seed)))
    finding = of(comparison)
    assert finding.verdict is verdict
    assert finding.change is not None
    assert finding.change.value == pytest.approx(factor, rel=0.02)
    assert (finding.basis, finding.base_values, finding.new_values) == ("8 pairs of runs, by nearness in time", 8, 8)
    assert comparison.exit_code(Gate()) is code
    if factor == 1.015:
        assert "a measurable difference, inside the tolerance" in finding.remarks


def test_the_estimate_is_the_paired_ratio_with_its_own_interval_and_a_wider_one_for_the_verdict() -> None:
    base, new = wobbling(5.0, 0.03, 1), wobbling(5.5, 0.01, 2)
    comparison = judged(side("old", base), side("new", new))
    finding = of(comparison)
    values = [new(seed) for seed in range(8)], [base(seed) for seed in range(8)]
    assert comparison.intervals == 5
    assert comparison.confidence == pytest.approx(1 - 0.05 / 5)
    assert finding.change == paired_ratio(*values)
    assert finding.simultaneous == paired_ratio(*values, confidence=1 - 0.05 / 5).interval
    assert (finding.base, finding.new) == (np.median(values[1]), np.median(values[0]))


def test_runs_are_the_unit_and_epochs_never_pooled() -> None:
    """400 epochs of one run are one value still."""
    long_run = [run(Case(cell="lstm"), campaign="old", epoch_seconds=[5.0 + e % 7 / 100 for e in range(1, 400)])]
    short_run = [run(Case(cell="lstm"), campaign="new", epoch_seconds=[9.0 + e % 7 / 100 for e in range(1, 400)])]
    finding = of(judged(long_run, short_run))
    assert (finding.base_values, finding.verdict) == (1, Verdict.INCONCLUSIVE)


def test_an_accuracy_is_compared_by_seed_in_points() -> None:
    def lower(seed: int) -> float:
        return 0.88 + seed / 1000 + 0.0001 * (seed % 3)

    comparison = judged(BASE, side("new", wobbling(5.0, 0.01, 1), accuracy=lower))
    finding = of(comparison, "accuracy")
    assert finding.verdict is Verdict.WORSE
    assert of(comparison, "loss").verdict is Verdict.WORSE
    assert finding.basis == "8 pairs of seeds, by seed"
    assert finding.change == mean_t([lower(seed) - (0.9 + seed / 1000) for seed in range(8)])
    assert comparison.exit_code(Gate()) is ExitCode.REGRESSION


def test_less_memory_is_better_and_more_is_worse() -> None:
    more = [run(Case(cell="lstm", seed=s), campaign="new", memory_bytes=(450 + s) * MEGABYTE) for s in range(6)]
    less = [run(Case(cell="lstm", seed=s), campaign="old", memory_bytes=(400 + s % 2) * MEGABYTE) for s in range(6)]
    assert of(judged(less, more), "memory_bytes").verdict is Verdict.WORSE
    assert of(judged(more, less), "memory_bytes").verdict is Verdict.BETTER


def test_latency_is_compared_by_entry_and_throughput_by_entry_and_batch_a_value_a_run() -> None:
    def answering(campaign: str, latency: float, big: float) -> list[Rows]:
        wobble = wobbling(1.0, 0.005, len(campaign))
        return side(
            campaign,
            wobbling(5.0, 0.001, 1),
            n=6,
            calls={
                ("predict", 1): [0.03] * 5,
                ("compiled", 1): [latency * wobble(call) for call in range(50)],
                ("compiled", 64): [big * wobble(call) for call in range(9)],
            },
        )

    comparison = judged(answering("old", 0.002, 0.010), answering("newer", 0.0025, 0.008))
    inference = [f for f in comparison.findings if f.metric and f.metric.name in ("latency_seconds", "throughput")]
    assert [(f.metric.name if f.metric else "", f.detail, f.verdict) for f in inference] == [
        ("latency_seconds", "predict", Verdict.SAME),
        ("latency_seconds", "compiled", Verdict.SLOWER),
        ("throughput", "compiled, batch 64", Verdict.FASTER),
    ]
    assert {(finding.base_values, finding.new_values) for finding in inference} == {(6, 6)}
    throughput = inference[-1]
    assert throughput.change is not None
    assert throughput.change.value == pytest.approx(1.25, rel=0.02)  # more samples a second are better
    blind = judged(answering("old", 0.002, 0.010), side("newer", wobbling(5.0, 0.001, 1), n=6))
    assert [f.verdict for f in blind.findings].count(Verdict.MISSING) == 3


# --- a store against itself, and runs that both sides hold ---


@pytest.mark.parametrize("n", [1, 2, 8])
def test_a_store_against_itself_is_the_same_and_green(n: int) -> None:
    broken = run(Case(cell="gru", seed=0), status="failed", error="boom", campaign="old")
    some = [*side("old", wobbling(5.0, 0.2, 1), n=n), broken, run(Case(cell="lstm", seed=99), status="invalid")]
    comparison = judged(some, some)
    assert {finding.verdict for finding in comparison.findings} == {Verdict.SAME}
    assert comparison.exit_code(Gate()) is ExitCode.OK
    assert comparison.intervals == 0


def test_the_reference_against_itself_is_green() -> None:
    reference = load([REFERENCE])
    comparison = compare(reference, reference, Gate())
    assert len(comparison.findings) >= 15
    assert comparison.exit_code(Gate()) is ExitCode.OK


def test_runs_that_both_sides_hold_do_not_speak_for_the_same() -> None:
    """A store that has grown by a night: the old runs in it would agree with themselves."""
    fresh = side("new", wobbling(6.0, 0.01, 3))
    finding = of(judged(BASE, [*BASE, *fresh]))
    assert finding.verdict is Verdict.SLOWER
    assert finding.change == of(judged(BASE, fresh)).change


def test_a_part_of_the_base_is_nothing_new() -> None:
    comparison = judged(BASE, BASE[:6])
    assert {finding.verdict for finding in comparison.findings} == {Verdict.MISSING}


# --- what is paired with what ---


def test_times_are_paired_by_nearness_and_never_by_seed() -> None:
    base, new = wobbling(5.0, 0.01, 1), wobbling(5.5, 0.01, 2)
    moved = [
        run(Case(cell="lstm", seed=seed + 100), campaign="new", epoch_seconds=(9.0, new(seed))) for seed in range(7)
    ]
    finding = of(judged(side("old", base), moved))
    assert finding.basis == "7 pairs of runs, by nearness in time; 1 without a partner"
    assert finding.change == paired_ratio([new(s) for s in range(7)], [base(s) for s in range(7)])
    assert finding.verdict is Verdict.SLOWER


def test_other_seeds_are_independent_samples_of_an_accuracy() -> None:
    moved = [run(Case(cell="lstm", seed=seed + 100), campaign="new", accuracy=0.9 + seed / 1000) for seed in range(7)]
    finding = of(judged(BASE, moved), "accuracy")
    assert finding.basis == "8 and 7 seeds, unpaired"


def test_memory_is_never_paired() -> None:
    assert of(judged(BASE, side("new", wobbling(5.0, 0.01, 2), n=6)), "memory_bytes").basis == "8 and 6 runs, unpaired"


def test_a_seeds_repeats_are_one_value_for_accuracy() -> None:
    """The same seed again gives the same accuracy: that is no more evidence."""
    repeated = [
        run(Case(cell="lstm", seed=0, repeat=repeat), campaign="old", accuracy=0.9, block=repeat) for repeat in range(9)
    ]
    unrepeated = [
        run(Case(cell="lstm", seed=0, repeat=repeat), campaign="new", accuracy=0.7, block=repeat) for repeat in range(9)
    ]
    finding = of(judged(repeated, unrepeated), "accuracy")
    assert (finding.base_values, finding.verdict) == (1, Verdict.INCONCLUSIVE)


# --- never a verdict from too little ---


@pytest.mark.parametrize("n", [1, 2, MIN_RUNS - 1])
def test_few_runs_give_no_verdict_on_time_however_different(n: int) -> None:
    finding = of(judged(side("old", wobbling(5.0, 0.001, 1), n=n), side("new", wobbling(50.0, 0.001, 2), n=n)))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert any("5 runs a side are the least" in remark for remark in finding.remarks)


@pytest.mark.parametrize("n", [1, MIN_SEEDS - 1])
def test_few_seeds_give_no_verdict_on_accuracy(n: int) -> None:
    comparison = judged(side("old", n=n), side("new", n=n, accuracy=lambda seed: 0.1 + seed / 50))
    assert of(comparison, "accuracy").verdict is Verdict.INCONCLUSIVE
    assert comparison.exit_code(Gate()) is ExitCode.NO_VERDICT


def test_what_varies_not_at_all_is_taken_to_vary_by_the_floor() -> None:
    """A clock that counts in whole seconds; never a certainty from nothing."""
    slower = of(judged(side("old"), side("new", lambda seed: 10.0)))
    assert slower.verdict is Verdict.SLOWER
    assert "a spread as large as the floor is assumed" in slower.remarks[0]
    assert slower.simultaneous is not None
    assert slower.simultaneous.low < 2 < slower.simultaneous.high
    same = of(judged(side("old"), side("new")))
    assert (same.verdict, same.remarks) == (Verdict.SAME, ("equal in all 8",))
    floorless = read_gate({"train_seconds": {"floor": 0.0}}, "here")
    unknown = of(compare(*interleaved(side("old"), side("new", lambda seed: 10.0)), floorless))
    assert (unknown.verdict, unknown.simultaneous) == (Verdict.INCONCLUSIVE, None)


SURE = {Verdict.SAME} | REGRESSIONS | IMPROVEMENTS
values = st.lists(st.one_of(st.floats(1e-3, 1e3), st.just(math.nan), st.just(5.0)), min_size=1, max_size=9)


@settings(deadline=None, max_examples=12)
@given(values, values)
def test_whatever_was_measured_there_is_a_finding_and_it_is_sure_only_from_enough(
    old: list[float], new: list[float]
) -> None:
    def measured(campaign: str, seconds: list[float]) -> list[Rows]:
        return [
            run(Case(cell="lstm", seed=s), campaign=campaign, epoch_seconds=(9.0, x)) for s, x in enumerate(seconds)
        ]

    comparison = judged(measured("old", old), measured("new", new))
    of_training = [f for f in comparison.findings if f.metric is not None and f.metric.name == "train_seconds"]
    finite = [sum(map(math.isfinite, side)) for side in (old, new)]
    if not finite[0]:
        assert of_training == []
        return
    (finding,) = of_training
    if finding.verdict in SURE:
        assert min(finding.base_values, finding.new_values) >= MIN_RUNS
        assert finding.simultaneous is not None or finding.remarks[0].startswith("equal in all")
    if not finite[1]:
        assert finding.verdict is Verdict.MISSING


# --- what cannot be compared ---


def test_times_of_another_machine_are_incomparable_and_the_fact_is_named() -> None:
    away = {**MACHINE, "cpu_model": "Fictional 9001", "usable_cores": 4}
    comparison = judged(BASE, side("new", wobbling(5.0, 0.01, 1), machine=away))
    for metric in ("train_seconds", "compile_seconds", "memory_bytes"):
        finding = of(comparison, metric)
        assert finding.verdict is Verdict.INCOMPARABLE
        assert "cpu_model: Fictional 9000 → Fictional 9001; usable_cores: 2 → 4" in finding.remarks[0]
        assert finding.change is None
    assert of(comparison, "accuracy").verdict is Verdict.SAME
    assert comparison.exit_code(Gate()) is ExitCode.NO_VERDICT


def test_other_software_is_compared_only_when_asked_and_then_named() -> None:
    newer = {**SOFTWARE, "backend_version": "2.22.0", "settings": [["OMP_NUM_THREADS", "1"]]}
    fresh = side("new", wobbling(6.0, 0.01, 1), software=newer)
    refused = of(judged(BASE, fresh))
    assert refused.verdict is Verdict.INCOMPARABLE
    assert "backend_version: 2.21.0 → 2.22.0; OMP_NUM_THREADS: none → 1" in refused.remarks[0]
    assert "--across software" in refused.remarks[0]
    asked = of(judged(BASE, fresh, across_software=True))
    assert asked.verdict is Verdict.SLOWER
    assert asked.environment.software_differences == (
        "backend_version: 2.21.0 → 2.22.0", "OMP_NUM_THREADS: none → 1"
    )  # fmt: skip


def test_another_machine_stays_incomparable_across_software() -> None:
    away = side("new", machine={**MACHINE, "usable_cores": 4}, software={**SOFTWARE, "keras": "9"})
    assert of(judged(BASE, away, across_software=True)).verdict is Verdict.INCOMPARABLE


def test_other_data_make_everything_incomparable() -> None:
    comparison = judged(BASE, side("new", data="d2"))
    assert {finding.verdict for finding in comparison.findings} == {Verdict.INCOMPARABLE}


def test_where_the_same_environment_is_there_others_do_not_matter() -> None:
    """A base that also holds results of another machine."""
    elsewhere = side("far", lambda seed: 1.0, machine={**MACHINE, "usable_cores": 64})
    comparison = judged([*elsewhere, *BASE], side("new", wobbling(5.0, 0.01, 1)))
    assert {finding.verdict for finding in comparison.findings} == {Verdict.SAME}


def test_two_versions_of_a_users_cell_on_one_side_are_incomparable_and_between_the_sides_remarked() -> None:
    old, newer = side("old", cell="my:cell", cells="v1"), side("new", cell="my:cell", cells="v2")
    assert "the source of the cell differs" in of(judged(old, newer), cell="my:cell").remarks
    mixed = side("x", cell="my:cell", cells="v1"), side("y", cell="my:cell", cells="v2")
    finding = of(judged([*mixed[0], *mixed[1]], newer), cell="my:cell")
    assert finding.verdict is Verdict.INCOMPARABLE
    assert "more than one version of the cell's source" in finding.remarks[0]


def test_another_kernel_that_ran_is_told() -> None:
    finding = of(judged(BASE, side("new", wobbling(9.0, 0.01, 1), ran="xla")))
    assert finding.verdict is Verdict.SLOWER
    assert "the kernel that ran: generic → xla" in finding.remarks


# --- missing, failed, added ---


def test_a_configuration_that_is_gone_is_missing_and_a_new_one_is_no_finding() -> None:
    comparison = judged([*BASE, *side("old", cell="gru")], [*BASE, *side("new", cell="simple_rnn")])
    gone = of(comparison, "runs", "gru")
    assert gone.verdict is Verdict.MISSING
    assert [case.cell for case in comparison.added] == ["simple_rnn"]
    assert all(finding.configuration.cell != "simple_rnn" for finding in comparison.findings)
    assert comparison.exit_code(Gate()) is ExitCode.NO_VERDICT


def test_a_new_failure_is_a_failure_and_what_ended_well_is_judged_all_the_same() -> None:
    crashed = run(Case(cell="lstm", seed=7), campaign="new", status="failed", error="ValueError: boom")
    comparison = judged(BASE, [*side("new", wobbling(7.0, 0.01, 1), n=7), crashed])
    failed = of(comparison, "runs")
    assert (failed.verdict, failed.remarks) == (Verdict.FAILED, ("1 of 8 runs", "failed: ValueError: boom"))
    assert of(comparison).verdict is Verdict.SLOWER
    assert comparison.exit_code(Gate()) is ExitCode.RUNS_FAILED


@pytest.mark.parametrize("status", ["failed", "timeout", "invalid"])
def test_however_a_run_ends_badly_it_is_a_failure_also_in_a_configuration_of_its_own(status: str) -> None:
    comparison = judged(BASE, [*BASE, run(Case(cell="gru"), campaign="new", status=status, error="x")])
    assert of(comparison, "runs", "gru").verdict is Verdict.FAILED


def test_what_failed_in_the_base_too_is_not_new_but_nothing_is_sure_of_it() -> None:
    old, new = (
        [*side(campaign, wobbling(5.0, 0.001, 1)), run(Case(cell="gru"), campaign=campaign, status="failed", error="x")]
        for campaign in ("old", "new")
    )
    comparison = judged(old, new)
    both = of(comparison, "runs", "gru")
    assert (both.verdict, both.remarks) == (Verdict.INCONCLUSIVE, ("no run ended ok on either side",))
    assert comparison.exit_code(Gate()) is ExitCode.NO_VERDICT


def test_a_figure_that_the_new_side_lacks_is_missing() -> None:
    blind = frame(*side("new", wobbling(5.0, 0.01, 1)))
    blind["peak_rss_bytes"] = math.nan
    comparison = compare(frame(*BASE), blind, Gate())
    assert of(comparison, "memory_bytes").verdict is Verdict.MISSING


# --- what a gate requires ---


def test_what_is_inconclusive_and_not_required_leaves_a_gate_green_and_a_regression_never_does() -> None:
    noisy = [
        rows
        for seed, taken in enumerate((350, 400, 450) * 3)
        for rows in side("new", n=seed + 1, memory_bytes=taken * MEGABYTE)[seed:]
    ]
    comparison = judged(side("old", n=9), noisy)
    assert of(comparison, "memory_bytes").verdict is Verdict.INCONCLUSIVE
    assert comparison.exit_code(Gate()) is ExitCode.OK
    strict = read_gate({"require": ["memory_bytes"]}, "here")
    assert comparison.exit_code(strict) is ExitCode.NO_VERDICT
    worse = judged(side("old"), side("new", accuracy=lambda seed: 0.5 + seed % 2 / 100))
    assert worse.exit_code(TRAINING_ONLY) is ExitCode.REGRESSION


def test_when_all_that_can_be_said_is_not_required_a_gate_is_not_green() -> None:
    comparison = judged(side("old", n=2), side("new", lambda seed: 6.0, n=2, accuracy=lambda seed: 0.3))
    assert {finding.verdict for finding in comparison.findings} == {Verdict.INCONCLUSIVE}
    assert comparison.exit_code(read_gate({"require": ["throughput"]}, "here")) is ExitCode.NO_VERDICT


def test_margins_of_ones_own_are_used() -> None:
    base, drifted = wobbling(5.0, 0.03, 1), wobbling(1.05, 0.002, 2)
    old, new = interleaved(side("old", base), side("new", lambda seed: base(seed) * drifted(seed)))
    assert of(compare(old, new, Gate())).verdict is Verdict.SLOWER
    wide = read_gate({"train_seconds": {"tolerance": 0.10}}, "here")
    assert of(compare(old, new, wide)).verdict is Verdict.SAME


def test_an_inconclusive_finding_says_how_many_more_would_tell() -> None:
    def noise(seed: int) -> float:
        return 5.0 * (1.0, 1.08, 0.95, 1.02)[seed % 4]

    finding = of(judged(side("old", noise), side("new", lambda seed: noise((seed * 3 + 1) % 8))))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.remarks[0].startswith("about ")
    assert finding.remarks[0].endswith(" pairs of runs in all would decide")


# --- multiplicity ---


def excludes_one(interval: Interval | None) -> bool:
    return interval is not None and not interval.low <= 1 <= interval.high


def test_many_configurations_without_a_change_give_no_more_false_verdicts_than_one() -> None:
    """30 comparisons of 12 configurations, nothing changed, 5 % of noise.

    A family-wise 5 % in 30 means 1.5; more than 5 have a chance of 0.3 %. Without the correction one of the intervals
    would be wrong in 46 % of comparisons: 14 of 30.
    """
    generator = np.random.default_rng(20261124)
    cases = [Case(cell="lstm", units=units, seed=seed) for units in range(1, 13) for seed in range(6)]
    old, new = interleaved(*([run(case, campaign=campaign) for case in cases] for campaign in ("old", "new")))
    steady = (old["phase"] == "train") & (old["epoch"] >= 2)
    false = uncorrected = 0
    for _ in range(30):
        for frame_of_side in (old, new):
            frame_of_side.loc[steady, "seconds"] = np.repeat(np.exp(generator.normal(0, 0.05, len(cases))), 2)
        comparison = compare(old, new, Gate())
        training = [f for f in comparison.findings if f.metric is not None and f.metric.name == "train_seconds"]
        assert len(training) == 12
        false += any(excludes_one(finding.simultaneous) for finding in training)
        uncorrected += any(finding.change and excludes_one(finding.change.interval) for finding in training)
    assert false <= 5
    assert uncorrected > 5


# --- of the whole ---


def test_what_is_in_a_side_is_told() -> None:
    comparison = judged(BASE, side("new", commit="def5678"), names=("a", "b"))
    assert (comparison.base.name, comparison.base.runs, comparison.base.program_commits) == ("a", 8, ("abc1234",))
    assert comparison.new.program_commits == ("def5678",)


def test_the_number_of_timed_calls_does_not_make_it_another_configuration() -> None:
    comparison = judged(BASE, side("new", wobbling(5.0, 0.01, 1), more={"latency_calls": 50}))
    assert comparison.added == ()
    assert of(comparison).verdict is Verdict.SAME


def test_findings_are_plain_enough_for_json() -> None:
    from tests.support.rendering import verdicts_in

    comparison = judged([*BASE, *side("old", cell="gru")], side("new"))
    document = json.loads(verdicts_in(comparison, Gate(), "json"), parse_constant=pytest.fail)
    assert document["exit_code"] == ExitCode.NO_VERDICT
    assert {finding["verdict"] for finding in document["findings"]} >= {"missing"}
    assert set(CELLS) >= {finding["configuration"]["cell"] for finding in document["findings"]}
