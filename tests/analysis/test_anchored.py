"""Times over the anchor's: verdicts between two occasions on a machine that drifts, and series over many."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.analysis.comparison import Comparison, compare
from bench.analysis.findings import unknown_drift
from bench.analysis.history import By, Conclusion, series
from bench.analysis.interleaved_figures import AnchoredGroup, InterleavedFigures, InterleavedKey
from bench.analysis.occasions import OCCASIONS, UNFOLLOWED, AnchoredDrift
from bench.analysis.samples import Reading
from bench.analysis.stats import NOTHING, Estimate, Floats, StandardError
from bench.analysis.verdict import Verdict
from bench.core.case import Case
from bench.core.errors import ExitCode
from bench.core.metrics import METRICS
from bench.plan.gate import Gate, read_gate
from bench.report.document import Document
from bench.report.text import render_text
from bench.report.verdicts import verdicts_data, verdicts_document
from scripts.simulate_anchor import SCENARIOS, counted, residuals
from tests.analysis.test_comparison import of, side, wobbling
from tests.analysis.test_occasions import DAY, on_days
from tests.support.frames import MACHINE

RECORDING = Path(__file__).parents[2] / "results" / "reference" / "duels" / "anchored.json"
ANCHOR = "version 3, Keras 3.15.1, tensorflow 2.21.0"
LSTM = Case(cell="lstm")
ANCHORED = METRICS["step_over_anchor"]


def figures(
    *,
    ratio: float = 20.0,
    speed: float = 1.0,
    spread: float = 0.003,
    groups: int = 20,
    day: float = 0.0,
    anchor: str = ANCHOR,
    trained: bool = True,
) -> InterleavedFigures:
    """Process groups whose step takes `ratio` times as long as the anchor's, on a machine that is so much slower."""
    generator = np.random.default_rng([groups, round(day)])
    # scaled to the spread itself, so that what is judged is no luck of the draw
    noise = generator.normal(size=groups)
    noise = spread * (noise - noise.mean()) / noise.std(ddof=1)
    return InterleavedFigures(
        step_seconds=NOTHING,
        ratio=None,
        anchor_ratio=Estimate(ratio, None, groups),
        anchor=anchor,
        groups=tuple(
            AnchoredGroup(
                log_ratio=math.log(ratio) + float(log),
                anchor_seconds=0.015 * speed,
                anchor_is_trained=trained,
                started_at=day * DAY + 30 * place,
            )
            for place, log in enumerate(noise)
        ),
    )


def known(**of_campaign: InterleavedFigures) -> dict[InterleavedKey, InterleavedFigures]:
    return {(LSTM, campaign): measured for campaign, measured in of_campaign.items()}


def compared(base: InterleavedFigures | None, new: InterleavedFigures | None, gate: Gate | None = None) -> Comparison:
    """Two stores a day apart; the machine is half as fast on the second."""
    before, after = (
        on_days({day: side(name, wobbling(5.0 * (day + 1), 0.005, day))}) for day, name in enumerate(("b", "n"))
    )
    of_campaign = {name: measured for name, measured in (("b", base), ("n", new)) if measured is not None}
    return compare(before, after, gate or Gate(), interleaved=known(**of_campaign))


@pytest.mark.parametrize(
    ("ratio", "verdict", "code"),
    [
        (20.0, Verdict.SAME, ExitCode.OK),
        (21.2, Verdict.SLOWER, ExitCode.REGRESSION),
        (18.8, Verdict.FASTER, ExitCode.OK),
        (20.6, Verdict.INCONCLUSIVE, ExitCode.NO_VERDICT),
    ],
)
def test_with_an_anchor_on_both_sides_a_time_has_a_verdict(ratio: float, verdict: Verdict, code: ExitCode) -> None:
    spread = 0.03 if verdict is Verdict.INCONCLUSIVE else 0.003
    comparison = compared(figures(spread=spread), figures(ratio=ratio, speed=1.01, spread=spread, day=1))
    anchored, training = of(comparison, "step_over_anchor"), of(comparison)
    assert (anchored.verdict, anchored.base_values, anchored.new_values) == (verdict, 20, 20)
    assert anchored.change is not None
    assert anchored.change.value == pytest.approx(ratio / 20)
    # the machine was half as fast, which training times alone would take for a regression
    assert (training.verdict, training.stand_in) == (Verdict.INCONCLUSIVE, ANCHORED)
    assert comparison.exit_code(Gate()) is code


def test_few_runs_are_enough_where_the_anchor_stands_for_their_times() -> None:
    """As two stores of `make quick` have them: three runs a side decide no time, and their process groups do."""
    frames = [on_days({day: side(name, n=3)}) for day, name in enumerate(("b", "n"))]
    comparison = compare(frames[0], frames[1], Gate(), interleaved=known(b=figures(), n=figures(day=1)))
    assert of(comparison).stand_in is ANCHORED
    assert of(comparison, "step_over_anchor").verdict is Verdict.SAME
    assert comparison.exit_code(Gate()) is ExitCode.OK


def test_without_an_anchor_on_either_side_or_with_an_unlike_one_nothing_stands_for_training() -> None:
    for base, new in (
        (figures(), None),
        (None, figures()),
        (figures(), figures(anchor="version 3, Keras 3.16.0, tensorflow 2.21.0")),
        (figures(groups=4), figures(groups=4)),
    ):
        comparison = compared(base, new)
        assert unknown_drift(METRICS["train_seconds"]) in of(comparison).remarks
        assert of(comparison).stand_in is None
        assert comparison.exit_code(Gate()) is ExitCode.NO_VERDICT


def test_unlike_anchors_are_named_where_both_sides_have_one() -> None:
    """As a store of before November 2026 and a later one; the way out is to measure the base again."""
    other = "version 1, NumPy 2.4.0, some BLAS 1.0"
    said = "step ÷ anchor cannot stand for it: the anchor of the base is "
    comparison = compared(figures(), figures(anchor=other, day=1))
    assert f"{said}{ANCHOR}; on the new side {other}" in of(comparison).remarks
    assert not [remark for remark in of(comparison, "accuracy").remarks if said in remark]
    for alike in (compared(figures(), figures(day=1)), compared(figures(), None)):
        assert not [remark for remark in of(alike).remarks if said in remark]


def test_on_another_machine_it_is_no_more_comparable_than_the_time_itself() -> None:
    base = on_days({0: side("b")})
    new = on_days({1: side("n", machine={**MACHINE, "usable_cores": 64})})
    comparison = compare(base, new, Gate(), interleaved=known(b=figures(), n=figures(day=1)))
    assert of(comparison, "step_over_anchor").verdict is Verdict.INCOMPARABLE


def test_who_does_not_require_training_does_not_require_what_stands_for_it() -> None:
    unsure = figures(ratio=20.6, spread=0.04, day=1)
    gate = read_gate({"require": ["accuracy"]}, "here")
    assert compared(figures(), unsure, gate).exit_code(gate) is ExitCode.OK
    by_name = read_gate({"require": ["step ÷ anchor"]}, "here")
    assert compared(figures(), unsure, by_name).exit_code(by_name) is ExitCode.NO_VERDICT
    missing = compared(None, None, by_name)
    assert of(missing, "step_over_anchor").verdict is Verdict.MISSING


@pytest.mark.parametrize("is_trained", [True, False])
def test_the_farther_the_machine_drifted_the_wider_the_interval(is_trained: bool) -> None:
    """A cell need not follow the machine as the anchor does: slower by 10 %, it may be slower by 11 or by 9 %, and
    beside NumPy's anchor by 13 or by 7 %."""
    groups = [Reading(0, math.exp(0.01 * (place % 3)), float(place)) for place in range(12)]
    halves = []
    for moved in (0.0, 0.1, -0.1):
        drift = AnchoredDrift.between(
            [replace(group, anchor_seconds=1.0, anchor_is_trained=is_trained) for group in groups],
            [replace(group, anchor_seconds=math.exp(moved), anchor_is_trained=is_trained) for group in groups],
        )
        halves.append(drift.half_width(groups, groups, 0.95))
        assert drift.left == pytest.approx(UNFOLLOWED[is_trained] * abs(moved))
    steady, slower, faster = (half or 0.0 for half in halves)
    assert slower == pytest.approx(faster) == pytest.approx(steady + UNFOLLOWED[is_trained] * 0.1)
    far = compared(figures(), figures(speed=2.0, day=1))
    assert of(far, "step_over_anchor").verdict is Verdict.INCONCLUSIVE
    assert of(far, "step_over_anchor").remarks[0].startswith("5 occasions of equal code, or interleaving the sides")


def test_groups_show_how_much_more_than_the_anchor_a_cell_is_slowed_by_other_work() -> None:
    """As on a core whose neighbour is busy now and then: the cell is slowed three times as much as the anchor."""
    generator = np.random.default_rng(3)
    sides = []
    for _ in range(2):
        busy, noise = generator.normal(0.0, 0.02, 20), generator.normal(0.0, 0.01, 20)
        sides.append(
            [
                Reading(0, math.exp(2 * slowed + left), float(place), anchor_seconds=math.exp(slowed))
                for place, (slowed, left) in enumerate(zip(busy, noise, strict=True))
            ]
        )
    drift = AnchoredDrift.between(*sides)
    assert drift.slope is not None
    assert drift.unfollowed == pytest.approx(2.0, abs=drift.slope.half_width(0.99))
    assert 0.03 < drift.slope.error < 0.15


def test_beside_numpys_anchor_two_occasions_may_differ_as_two_groups_do_however_many_there_are() -> None:
    """As was measured: half an hour of groups that vary by 3 %, and an hour later another whose mean is 4 % lower."""
    for groups in (15, 240):
        finding = of(
            compared(
                figures(spread=0.032, groups=groups, trained=False),
                figures(ratio=19.2, spread=0.034, groups=groups, day=1, trained=False),
            ),
            "step_over_anchor",
        )
        assert finding.verdict is Verdict.INCONCLUSIVE
        assert finding.drift is not None
        assert "4.8 % of drift that the anchor doesn't follow" in finding.drift.words


def test_beside_a_trained_anchor_two_occasions_differ_as_recorded_ones_or_as_parts_of_a_store_do() -> None:
    """Groups that vary by 2 %, each by itself, or by as much in slow waves that last as long as a part."""
    generator = np.random.default_rng(1)
    noise = generator.normal(0.0, 0.02, (2, 160))
    waves = np.repeat(generator.normal(0.0, 0.02, (2, 8)), 20, axis=1) + noise / 4

    def occasions(sides: Floats) -> StandardError | None:
        return AnchoredDrift.between(
            *(
                [
                    Reading(0, math.exp(log), float(place), anchor_seconds=1.0, anchor_is_trained=True)
                    for place, log in reversed([*enumerate(side)])  # whatever their order in the store
                ]
                for side in sides
            )
        ).occasions

    assert occasions(noise) == OCCASIONS
    of_waves = occasions(waves)
    means = np.array([[part.mean() for part in np.split(side, 8)] for side in waves])
    assert of_waves is not None
    assert of_waves.freedom == 14
    assert of_waves.error == pytest.approx(math.sqrt(float(means.var(axis=1, ddof=1).sum())), rel=0.01)
    assert occasions(np.zeros((2, 5))) is None
    steady = [Reading(0, 1.0, float(place), anchor_seconds=1.0, anchor_is_trained=True) for place in range(5)]
    assert AnchoredDrift.between(steady, steady).half_width(steady, steady, 0.95) is None


def test_more_groups_make_a_verdict_by_a_trained_anchor_surer() -> None:
    """Equal but for 0.8 %: what an hour may do, which is within the tolerance where groups are many enough."""
    few, many = (
        of(
            compared(figures(spread=0.02, groups=groups), figures(ratio=20.16, spread=0.02, groups=groups, day=1)),
            "step_over_anchor",
        )
        for groups in (12, 100)
    )
    assert (few.verdict, many.verdict) == (Verdict.INCONCLUSIVE, Verdict.SAME)
    assert few.remarks[0].endswith("would decide, or more process groups (a larger --interleave)")
    drifted = of(compared(figures(), figures(speed=1.4, day=1)), "step_over_anchor")
    assert drifted.remarks[0].endswith("would decide; more process groups would not")


def test_occasions_of_equal_code_show_how_far_the_anchor_can_be_trusted() -> None:
    """Ten nights whose ratios differ by 2 %: their spread is in the interval, and not what a night's groups vary by."""
    factors = np.exp(np.random.default_rng(4).normal(0, 0.02, 11))
    nights = {night: side(f"night{night}", wobbling(5.0, 0.005, night)) for night in range(10)}
    measured = known(
        **{
            f"night{night}": figures(ratio=20 * float(factor), spread=0.002, day=night)
            for night, factor in enumerate(factors[:10])
        },
        n=figures(ratio=20 * float(factors[10]) * 1.03, spread=0.002, day=10),
    )
    base, new = on_days(nights), on_days({10: side("n", wobbling(5.0, 0.005, 10))})
    finding = of(compare(base, new, Gate(), interleaved=measured), "step_over_anchor")
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "drift between 10 occasions" in finding.basis
    # a declared drift is the machine's, which the anchor divides out
    declared = of(compare(base, new, replace(Gate(), drift=0.001), interleaved=measured), "step_over_anchor")
    assert declared.drift == finding.drift


def test_a_campaign_that_both_sides_hold_counts_for_the_base_alone() -> None:
    base = on_days({0: side("b", n=5)})
    new = pd.concat([base, on_days({1: side("n", n=5)})], ignore_index=True)
    comparison = compare(base, new, Gate(), interleaved=known(b=figures(groups=9), n=figures(groups=7, day=1)))
    anchored = of(comparison, "step_over_anchor")
    assert (anchored.base_values, anchored.new_values) == (9, 7)


def test_the_comparison_states_what_stands_for_training_and_what_it_rests_on() -> None:
    comparison = compared(figures(), figures(speed=0.98, day=1))
    document = verdicts_document(comparison, Gate())
    assert isinstance(document, Document)
    text = " ".join(render_text(document, 200).split())
    assert text.count(ANCHOR) == 1  # and not in each row
    assert f"lstm (step ÷ anchor): the anchor is {ANCHOR}." in text
    (compiling,) = [each for each in of(comparison, "compile_seconds").remarks if "drifts between" in each]
    assert "anchor" not in compiling  # which both sides have, and which does nothing for it
    assert "how far the machine drifted is not known, and step ÷ anchor is judged instead" in text
    assert "step ÷ anchor stands for training: the time of a training step over that of a fixed computation" in text
    assert "20 and 20 process groups, unpaired" in text
    assert "and up to 0.2 % for its own change by −2 %" in text
    listed = verdicts_data(comparison, Gate())["findings"]
    (training,) = [finding for finding in listed if finding["metric"] == "train_seconds"]
    assert training["judged_instead"] == "step_over_anchor"
    (anchored,) = [finding for finding in listed if finding["metric"] == "step_over_anchor"]
    assert anchored["drift"] == {
        "moved": pytest.approx(math.log(0.98)),
        "unfollowed": UNFOLLOWED[True],
        "slope": None,
        "occasions": {"error": OCCASIONS.error, "freedom": OCCASIONS.freedom},
    }


@pytest.mark.parametrize(
    "name",
    [
        "18 groups of 1.5 %, drift of 8 %, sensitivity 0.85",
        "18 groups of 1.5 %, unseen 1 %, 10 nights before",
        "18 groups of 1.5 %, drift of 2 % between stores and groups, sensitivity 3",
    ],
)
def test_a_small_part_of_the_simulation_gives_few_wrong_verdicts(name: str) -> None:
    """docs/between-days.md has the whole. Of 40 comparisons a rate of 1 % gives more than 3 with a chance of 0.1 %."""
    noise = residuals(json.loads(RECORDING.read_text()))
    assert counted(SCENARIOS[name], noise, comparisons=40, seed=1).any_wrong <= 3


def test_a_series_over_nights_is_of_the_ratio_and_not_of_the_machine() -> None:
    """Nights on which the machine is up to 20 % slower; the code becomes 6 % slower on the twentieth."""
    speeds = np.exp(np.random.default_rng(2).normal(0, 0.1, 40))
    nights = on_days({night: side(f"night{night}", commit=f"c{night:02}", n=1) for night in range(40)})
    measured = known(
        **{
            f"night{night}": figures(
                ratio=20 * (1.06 if night >= 20 else 1.0) * (1 + 0.003 * (night % 3)), speed=float(speed), day=night
            )
            for night, speed in enumerate(speeds)
        }
    )
    (of_ratio,) = series(nights, ANCHORED, By.DATE, interleaved=measured)
    assert (of_ratio.detail, len(of_ratio.points), of_ratio.points[0].n) == (ANCHOR, 40, 20)
    assert of_ratio.conclusion is Conclusion.CHANGED
    assert [change.index for change in of_ratio.changes] == [20]
    assert series(nights, ANCHORED, By.DATE) == ()
