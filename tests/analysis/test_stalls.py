"""bench.analysis.stalls on runs of which it is known which epochs waited."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from bench.analysis.comparison import compare
from bench.analysis.records import RunRecord
from bench.analysis.reductions import SteadyEpochs
from bench.analysis.stalls import find_lost_cores, find_stalls
from bench.analysis.summary import summarise
from bench.analysis.verdict import Verdict
from bench.core.case import Case
from bench.plan.gate import Gate
from tests.support.frames import Rows, frame, run
from tests.support.rendering import table_in

QUIET = ((0.3, 0.19, 0.19, 0.19, 0.19), (0.6, 0.38, 0.38, 0.38, 0.38))
"""Seconds and CPU seconds of a run of five epochs on two cores."""


def record(
    seconds: list[float],
    cpu_seconds: Sequence[float | None],
    number: int = 0,
    iterator_seconds: Sequence[float | None] = (),
) -> RunRecord:
    return RunRecord(
        run_id=str(number),
        campaign_id="c",
        block=number,
        seed=number,
        repeat=0,
        started_at=0.0,
        epochs=SteadyEpochs(tuple(seconds), tuple(cpu_seconds), tuple(iterator_seconds)),
    )


def lstm(seed: int, *, stalled: dict[int, float] | None = None, campaign: str = "c1") -> Rows:
    """A run whose epochs took so much longer, by their number, without more CPU time."""
    seconds = [took + (stalled or {}).get(epoch, 0.0) for epoch, took in enumerate(QUIET[0], 1)]
    wobble = 1 + 0.001 * (seed * 5 % 7)
    return run(
        Case(cell="lstm", seed=seed),
        epoch_seconds=[wobble * took for took in seconds],
        cpu_seconds=[wobble * took for took in QUIET[1]],
        campaign=campaign,
    )


def test_the_iterators_560_ms_are_found_in_the_epochs_that_have_them() -> None:
    runs = [record([0.19, 0.75, 0.19, 0.19], [0.38] * 4, 0), record([0.19] * 4, [0.38] * 4, 1)]
    stalls = find_stalls(runs)
    assert stalls is not None
    assert (stalls.epochs, stalls.of_epochs, stalls.runs, stalls.of_runs) == (1, 8, 1, 2)
    assert stalls.least_seconds == stalls.most_seconds == pytest.approx(0.56)
    assert str(stalls) == "1 of 8 epochs in 1 of 2 runs, by 0.560 s"


def test_what_making_iterators_took_of_a_stall_is_stated() -> None:
    waited = record([0.19, 0.75, 0.19, 0.85], [0.38] * 4, 0, [0.01, 0.55, None, None])
    assert (
        str(find_stalls([waited]))
        == "2 of 4 epochs in 1 of 1 runs, by 0.560 to 0.660 s, 0.550 s of it making iterators"
    )


def test_more_work_is_no_stall() -> None:
    """An epoch that takes four times the wall time and four times the CPU time computed something."""
    assert find_stalls([record([0.2, 0.8, 0.2], [0.4, 1.6, 0.4])]) is None


@pytest.mark.parametrize(("beyond", "stalled"), [(1.49, False), (1.51, True)])
def test_the_threshold_is_half_as_much_again(beyond: float, stalled: bool) -> None:
    assert (find_stalls([record([0.2, 0.2 * beyond, 0.2], [0.4] * 3)]) is not None) is stalled


def test_an_epoch_alone_in_its_run_is_held_against_those_of_the_other_runs() -> None:
    runs = [record([seconds], [0.4], number) for number, seconds in enumerate((0.2, 0.2, 0.9))]
    stalls = find_stalls(runs)
    assert stalls is not None
    assert (stalls.epochs, stalls.of_epochs, stalls.runs, stalls.of_runs) == (1, 3, 1, 3)
    assert stalls.most_seconds == pytest.approx(0.7)


def test_nothing_is_found_where_nothing_is_known() -> None:
    assert find_stalls([]) is None
    assert find_stalls([record([9.0], [1.0])]) is None
    assert find_stalls([record([1.0, 9.0], [None, None])]) is None
    assert find_stalls([record([1.0, 9.0], [0.0, 0.0])]) is None


def test_no_remark_in_2000_quiet_campaigns() -> None:
    """Ten runs of ten epochs, whose speed varies by 10 %, and whose rate of wall to CPU time by 5 %."""
    generator = np.random.default_rng(12)
    for _ in range(2_000):
        cpu = 0.4 * np.exp(generator.normal(0, 0.1, (10, 10)))
        wall = cpu / 2 * np.exp(generator.normal(0, 0.05, (10, 10)))
        assert find_stalls([record(list(wall[n]), list(cpu[n]), n) for n in range(10)]) is None


def test_stalls_stand_under_the_table_and_every_run_stays_in_its_figures() -> None:
    rows = [lstm(seed, stalled={2: 0.56, 3: 0.3} if seed == 4 else None) for seed in range(6)]
    (section,) = summarise(frame(*rows))
    text = " ".join(table_in([section], "text", 80).split())
    assert "explains by the run's other epochs" in text
    assert "They are in the figures: lstm 2 of 24 epochs in 1 of 6 runs, by 0.302 to 0.563 s." in text
    (row,) = section.rows
    assert row.estimates["train_seconds"].n == 6
    (made,) = json.loads(table_in([section], "json"))["sections"][0]["rows"]
    assert (made["stalls"]["epochs"], made["stalls"]["of_epochs"]) == (2, 24)


def test_a_comparison_remarks_the_stalls_of_each_side() -> None:
    base = [lstm(seed, campaign="old") for seed in range(6)]
    new = [lstm(seed, campaign="new", stalled={4: 0.56} if seed % 2 else None) for seed in range(6)]
    findings = compare(frame(*base), frame(*new), Gate(drift=0.0)).findings
    remarks = {finding.metric.name: finding.remarks for finding in findings if finding.metric}
    assert "epochs that stalled on the new side: 3 of 24 epochs in 3 of 6 runs, by 0.561 to 0.563 s" in str(
        remarks["train_seconds"]
    )
    assert not any("stalled" in remark for name, of in remarks.items() if name != "train_seconds" for remark in of)
    (training,) = [finding for finding in findings if finding.metric and finding.metric.name == "train_seconds"]
    assert (training.verdict, training.new_values) == (Verdict.SAME, 6)


def test_a_table_without_stalls_has_no_remark() -> None:
    (section,) = summarise(frame(*(lstm(seed) for seed in range(3))))
    assert "Stalls" not in table_in([section], "text")


def runs_on(cores: Sequence[float], cpu_seconds: Sequence[float]) -> list[RunRecord]:
    """A run of three epochs for each number of cores, which took so much CPU time an epoch."""
    return [
        record([cpu / used] * 3, [cpu] * 3, number)
        for number, (used, cpu) in enumerate(zip(cores, cpu_seconds, strict=True))
    ]


def test_runs_that_took_longer_on_fewer_cores_are_named_with_their_speeds() -> None:
    draw = np.random.default_rng(1)
    cores = [1.6, 1.6, 1.0, 1.3, 1.0, 1.6, 1.0, 1.2]
    lost = find_lost_cores([runs_on(cores, list(20 * np.exp(draw.normal(0, 0.02, 8)))), runs_on([1.6] * 8, [20.0] * 8)])
    assert lost[1] is None
    assert lost[0] is not None
    assert lost[0].runs == 8
    assert (lost[0].most_cores, lost[0].least_cores) == pytest.approx((1.6, 1.0))
    assert str(lost[0]).startswith("12.")
    assert str(lost[0]).endswith(" s/epoch with 1.60 to 1.00 cores, over 8 runs")


@pytest.mark.parametrize(
    ("cores", "cpu_seconds"),
    [
        pytest.param([1.6] * 8, [20, 22, 24, 26, 28, 30, 32, 34], id="more work, as many cores"),
        pytest.param(
            [1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1.0, 0.9], [20, 25, 31, 39, 49, 61, 76, 95], id="more work on fewer cores"
        ),
        pytest.param([1.60, 1.59, 1.58, 1.57, 1.56, 1.55, 1.54, 1.53], [20] * 8, id="hardly slower"),
        pytest.param([1.6, 1.4, 1.2, 1.1, 1.0], [20] * 5, id="too few runs"),
    ],
)
def test_runs_are_slower_for_other_reasons(cores: list[float], cpu_seconds: list[float]) -> None:
    assert find_lost_cores([runs_on(cores, cpu_seconds)]) == [None]


def test_cores_that_have_nothing_to_do_with_times_are_seldom_named() -> None:
    """Four configurations whose CPU times and waits vary alike: at most 5 % of tables name any."""
    draw = np.random.default_rng(2)
    named = 0
    for _ in range(400):
        rows = []
        for _ in range(4):
            seconds, cores = np.exp(draw.normal(0, 0.1, 10)), 1.5 * np.exp(draw.normal(0, 0.05, 10))
            rows.append(runs_on(list(cores), list(seconds * cores)))
        named += any(find_lost_cores(rows))
    assert named <= 0.05 * 400


def test_the_table_says_which_runs_lost_cores() -> None:
    rows = [
        run(
            Case(cell="lstm", seed=seed),
            epoch_seconds=[(0.38 + 0.001 * seed) / used] * 4,
            cpu_seconds=[0.38 + 0.001 * seed] * 4,
            campaign="c1",
        )
        for seed, used in enumerate((1.6, 1.61, 1.0, 1.3, 1.02, 1.65))
    ]
    (section,) = summarise(frame(*rows))
    text = " ".join(table_in([section], "text").split())
    assert "as much CPU time: lstm 0.233 to 0.382 s/epoch with 1.65 to 1.00 cores, over 6 runs." in text
    (named,) = json.loads(table_in([section], "json"))["sections"][0]["lost_cores"]
    assert named["runs"] == 6
