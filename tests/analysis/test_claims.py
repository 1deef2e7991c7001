"""bench.analysis.claims: each verdict from data that must give it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.analysis.claims import Claim, ClaimVerdict, judge_claims
from bench.analysis.interleaved_figures import InterleavedFigures
from bench.analysis.rows import Row
from bench.analysis.stats import Estimate, Interval
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.claim import read_claim, read_claims
from bench.core.errors import UsageError
from tests.support.frames import CELLS, Rows, frame, notebook_like, run, runs

HOLDS, DOES_NOT, CANNOT_TELL = ClaimVerdict.HOLDS, ClaimVerdict.DOES_NOT, ClaimVerdict.CANNOT_TELL


def section_of(*observed: Rows) -> Section:
    (section,) = summarise(frame(*observed))
    return section


def claims_of(*observed: Rows) -> tuple[Claim, Claim, Claim, Claim]:
    accuracy, loss, time, swap = judge_claims(section_of(*observed))
    return accuracy, loss, time, swap


def verdicts(*observed: Rows) -> list[ClaimVerdict]:
    return [claim.verdict for claim in claims_of(*observed)]


def with_cells_swapped(**by: str) -> Callable[[str, int], dict[str, Any]]:
    return lambda cell, seed: notebook_like(by.get(cell, cell), seed)


def test_all_hold_on_data_like_the_notebook_s() -> None:
    assert verdicts(*runs(CELLS, range(3), notebook_like)) == [HOLDS] * 4


def test_the_evidence_names_differences_intervals_and_seeds() -> None:
    accuracy, loss, time, swap = claims_of(*runs(CELLS, range(3), notebook_like))
    assert accuracy.evidence.startswith("GRU − LSTM +0.90 points (95 % +0.40 to +1.40, 3 seeds); LSTM − ")
    assert loss.evidence.startswith("GRU − LSTM −0.0372 (95 % −0.0422 to −0.0323, 3 seeds)")
    assert time.evidence.startswith("LSTM / SimpleRNN 2.30 × (95 % 2.15 to 2.46, 3 blocks)")
    assert swap.evidence == "3 configurations at 1 setting differ in nothing but the cell; 9 of 9 runs ended ok"


def test_one_pair_the_other_way_round_is_enough_against_an_order() -> None:
    # GRU and LSTM change places: LSTM > SimpleRNN still holds, GRU > LSTM does not; their times are both longer still.
    swapped = with_cells_swapped(gru="lstm", lstm="gru")
    assert verdicts(*runs(CELLS, range(3), swapped)) == [DOES_NOT, DOES_NOT, HOLDS, HOLDS]


def test_simple_rnn_slower_than_one_other_is_enough_against_the_claim_on_time() -> None:
    _, _, time, _ = claims_of(*runs(CELLS, range(3), with_cells_swapped(simple_rnn="lstm", lstm="simple_rnn")))
    assert time.verdict == DOES_NOT


@pytest.mark.parametrize("repeat", [0, 1])
def test_one_seed_never_tells(repeat: int) -> None:
    observed = runs(CELLS, [0], notebook_like)
    if repeat:  # the same seed again is no new seed
        observed += [run(Case(cell=c, repeat=1), **notebook_like(c, 0)) for c in CELLS]
    accuracy, loss, _, _ = claims_of(*observed)
    assert [accuracy.verdict, loss.verdict] == [CANNOT_TELL] * 2
    assert "1 seed: no interval from one" in accuracy.evidence


def test_one_block_never_tells_about_time() -> None:
    _, _, time, swap = claims_of(*runs(CELLS, [0], notebook_like))
    assert time.verdict == CANNOT_TELL
    assert swap.verdict == HOLDS


def test_seeds_that_all_show_the_same_difference_do_not_tell() -> None:
    # Two seeds of a test set of 1000 are often equal by chance; a spread of zero is no certainty.
    same = lambda cell, seed: notebook_like(cell, 0)  # noqa: E731
    accuracy, loss, time, _ = claims_of(*runs(CELLS, [0, 1], same))
    assert [accuracy.verdict, loss.verdict, time.verdict] == [CANNOT_TELL] * 3
    assert "all the same, which gives no interval" in accuracy.evidence


def test_a_spread_wider_than_the_difference_does_not_tell() -> None:
    def noisy(cell: str, seed: int) -> dict[str, Any]:
        sign = 1 if (seed + CELLS.index(cell)) % 2 else -1
        return {"accuracy": 0.9 + 0.05 * sign, "loss": 0.3 + 0.1 * sign, "epoch_seconds": (1.0, 5.0 + 2 * sign)}

    assert verdicts(*runs(CELLS, range(4), noisy))[:3] == [CANNOT_TELL] * 3


def test_cells_that_do_not_differ_are_seldom_said_to() -> None:
    draw = np.random.default_rng(0)
    said = 0
    trials = 60
    for _ in range(trials):
        equal = lambda cell, seed: {  # noqa: E731
            "accuracy": round(0.9 + 0.02 * draw.normal(), 3),
            "epoch_seconds": (1.0, float(np.exp(0.1 * draw.normal()))),
        }
        accuracy, _, time, _ = claims_of(*runs(CELLS, range(4), equal))
        said += (accuracy.verdict != CANNOT_TELL) + (time.verdict != CANNOT_TELL)
    # "doesn't" errs in at most 2.5 % of orders, "holds" in fewer; 120 orders and three standard errors.
    assert said / (2 * trials) < 0.07


def test_against_an_order_the_intervals_are_bonferroni_s() -> None:
    # GRU − LSTM differences of -0.01 whose 95 % interval ends below 0 and whose 97.5 % interval does not.
    differences = (-0.004, -0.007, -0.013, -0.016)

    def close(cell: str, seed: int) -> dict[str, Any]:
        accuracy = {"simple_rnn": 0.5 + 0.01 * seed, "lstm": 0.9, "gru": 0.9 + differences[seed]}[cell]
        return {**notebook_like(cell, seed), "accuracy": accuracy}

    accuracy, *_ = claims_of(*runs(CELLS, range(4), close))
    assert "GRU − LSTM −1.00 points (95 % −1.87 to −0.13" in accuracy.evidence
    assert accuracy.verdict == CANNOT_TELL


@pytest.mark.parametrize(
    "settings",
    [
        {"task": "pixel_mnist"},
        {"units": 64},
        {"network": "cudnn_ready"},
        {"bidirectional": True},
        {"learning_rate": 0.01},
    ],
)
def test_the_notebook_claims_nothing_about_what_is_not_its_protocol(settings: dict[str, Any]) -> None:
    assert judge_claims(section_of(*runs(CELLS, range(3), notebook_like, **settings))) == ()


def test_the_notebook_s_claims_need_its_three_cells() -> None:
    assert judge_claims(section_of(*runs(["lstm", "my.cells:new"], range(3), lambda c, s: {}))) == ()
    apart = [run(Case(cell=cell, kernel=k)) for cell, k in zip(CELLS, ("auto", "generic", "xla"), strict=True)]
    assert judge_claims(section_of(*apart)) == ()


def test_the_protocol_s_own_setting_is_used_where_it_was_measured() -> None:
    upside_down = with_cells_swapped(gru="simple_rnn", simple_rnn="gru")
    observed = [
        *runs(CELLS, range(3), notebook_like),
        *runs(CELLS, range(3), upside_down, network="cudnn_ready"),
        *runs(CELLS, range(3), upside_down, epochs=1),
    ]
    claims = claims_of(*observed)
    assert [c.verdict for c in claims] == [HOLDS] * 4
    assert not any("; at " in c.evidence for c in claims)
    assert "6 configurations at 2 settings" in claims[3].evidence


def test_else_the_nearest_of_the_protocol_is_used_and_named() -> None:
    near, far = {"epochs": 2}, {"epochs": 40}
    farther = {"epochs": 4, "kernel": "unrolled"}  # nearer in numbers, but in two fields
    upside_down = with_cells_swapped(gru="simple_rnn", simple_rnn="gru")
    observed = [
        *runs(CELLS, range(3), upside_down, **far),
        *runs(CELLS, range(3), notebook_like, **near),
        *runs(CELLS, range(3), upside_down, **farther),
    ]
    accuracy, loss, time, _ = claims_of(*observed)
    assert [c.verdict for c in (accuracy, loss, time)] == [HOLDS] * 3
    assert all(c.evidence.endswith("; at epochs=2") for c in (accuracy, loss, time))


def test_a_setting_with_results_comes_before_a_nearer_one_without() -> None:
    observed = [
        *runs(CELLS, range(3), notebook_like, epochs=2),
        *runs(["simple_rnn", "lstm"], range(3), notebook_like),
        *runs(["gru"], range(3), lambda c, s: {"status": "failed", "error": "out of memory"}),
    ]
    accuracy, *_, swap = claims_of(*observed)
    assert accuracy.verdict == HOLDS
    assert accuracy.evidence.endswith("; at epochs=2")
    assert (swap.verdict, swap.evidence) == (DOES_NOT, "GRU has no valid run (out of memory)")


def test_seeds_without_a_pair_are_counted_in_the_evidence() -> None:
    observed = [
        *runs(["simple_rnn", "lstm"], range(4), notebook_like),
        *runs(["gru"], range(3), notebook_like),
        run(Case(cell="gru", seed=3), status="timeout", error="silent for 600 s"),
    ]
    accuracy, _, time, swap = claims_of(*observed)
    assert "3 of 4 seeds" in accuracy.evidence
    assert "3 of 4 blocks" in time.evidence
    assert swap.verdict == CANNOT_TELL
    assert "11 of 12 runs ended ok" in swap.evidence


def test_all_failed_tells_nothing() -> None:
    observed = runs(CELLS, range(3), lambda c, s: {"status": "failed", "error": "boom"})
    claims = claims_of(*observed)
    assert {c.verdict for c in claims} == {CANNOT_TELL}
    assert "no seed in which both have a result" in claims[0].evidence


def test_kernels_that_differ_between_the_cells_are_told() -> None:
    def on_a_gpu(cell: str, seed: int) -> dict[str, Any]:
        return {**notebook_like(cell, seed), "ran": "xla" if cell == "simple_rnn" else "cudnn"}

    *_, swap = claims_of(*runs(CELLS, range(3), on_a_gpu))
    assert swap.verdict == HOLDS
    assert swap.evidence.endswith("but the kernels differ: SimpleRNN ran xla, LSTM ran cudnn, GRU ran cudnn")


def test_campaigns_add_blocks_but_no_seeds() -> None:
    again = [run(Case(cell=c, seed=s), campaign="c2", **notebook_like(c, s + 2)) for c in CELLS for s in (0, 1, 2)]
    accuracy, _, time, _ = claims_of(*runs(CELLS, range(3), notebook_like), *again)
    assert "3 seeds" in accuracy.evidence
    assert "6 blocks" in time.evidence


def declared(*texts: str, observed: Sequence[Rows], join: Sequence[str] = ()) -> list[Claim]:
    """The claims of the campaign `c1`, judged; the notebook's are left out."""
    claims = read_claims(texts, "a test")
    (section,) = summarise(frame(*observed), join=join, claims={"c1": claims})
    titles = {claim.text for claim in claims}
    return [claim for claim in judge_claims(section) if claim.text in titles]


def test_a_declared_claim_is_judged_by_the_same_rules() -> None:
    observed = runs(CELLS, range(3), notebook_like)
    accuracy, loss, time = declared(
        "accuracy: gru > lstm > simple_rnn", "loss: gru < lstm", "training: simple_rnn < gru",
        observed=observed,
    )  # fmt: skip
    notebook = claims_of(*observed)
    assert (accuracy.verdict, accuracy.evidence) == (notebook[0].verdict, notebook[0].evidence)
    assert (loss.verdict, loss.evidence) == (HOLDS, notebook[1].evidence.partition(";")[0])
    assert time.verdict == HOLDS
    assert time.evidence.startswith("GRU / SimpleRNN 2.51 × (95 % ")
    (wrong,) = declared("training: gru < simple_rnn", observed=observed)
    assert wrong.verdict == DOES_NOT


def test_a_declared_claim_is_judged_at_each_setting_and_on_any_cell() -> None:
    alike = {"my:cell": "gru", "lstm": "lstm"}
    observed = [
        run(Case(cell=cell, seed=seed, units=units, task="pixel_mnist"), **notebook_like(alike[cell], seed))
        for cell in alike for units in (64, 128) for seed in range(3)
    ]  # fmt: skip
    claims = declared("accuracy: my:cell > lstm", observed=observed)
    assert [claim.verdict for claim in claims] == [HOLDS] * 2
    assert [claim.evidence.rpartition("; ")[2] for claim in claims] == ["at units=64", "at units=128"]
    assert claims[0].evidence.startswith("my:cell − LSTM +0.90 points (95 %")


def test_what_was_not_measured_is_named() -> None:
    (claim,) = declared("accuracy: gru > lstm", observed=runs(["gru"], range(3), notebook_like))
    assert (claim.verdict, claim.evidence) == (CANNOT_TELL, "not measured: lstm")
    (claim,) = declared("accuracy: gru > gruu", observed=runs(["gru"], range(3), notebook_like))
    assert claim.evidence == "not measured: gruu (did you mean gru?)"


def of_equal_size(campaign: Callable[[str], str]) -> list[Rows]:
    """The three cells at as many parameters, on digits read pixel by pixel."""
    units = {"simple_rnn": 128, "lstm": 64, "gru": 74}
    return [
        run(Case(cell=c, seed=s, units=units[c], task="pixel_mnist"), campaign=campaign(c), **notebook_like(c, s))
        for c in CELLS for s in range(3)
    ]  # fmt: skip


def test_claims_are_judged_over_rows_that_are_joined() -> None:
    texts = ("accuracy: gru > lstm > simple_rnn", "training: simple_rnn < lstm")
    apart = declared(*texts, observed=of_equal_size(lambda cell: "c1"))
    assert {claim.verdict for claim in apart} == {CANNOT_TELL}
    assert "they differ in units (`--join`" in apart[0].evidence
    accuracy, time = declared(*texts, observed=of_equal_size(lambda cell: "c1"), join=("units",))
    assert [accuracy.verdict, time.verdict] == [HOLDS] * 2
    assert accuracy.evidence.endswith("; with GRU units=74, LSTM units=64, SimpleRNN units=128")
    assert "LSTM / SimpleRNN 2.30 × (95 % 2.15 to 2.46, 3 blocks)" in time.evidence


def test_joined_rows_of_several_campaigns_are_independent_samples() -> None:
    campaigns = {"simple_rnn": "c1", "lstm": "c2", "gru": "c3"}
    accuracy, time = declared(
        "accuracy: gru > lstm",
        "training: simple_rnn < lstm",
        observed=of_equal_size(campaigns.__getitem__),
        join=("units",),
    )
    assert [accuracy.verdict, time.verdict] == [HOLDS] * 2
    assert "3 seeds" in accuracy.evidence
    assert "3 unpaired runs" in time.evidence


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("accuracy gru > lstm", "cannot be read"),
        ("accuracy: gru", "cannot be read"),
        ("accuracy: gru > lstm < simple_rnn", "cannot be read"),
        ("accuracy: gru > > lstm", "cannot be read"),
        ("accuracy: gru > gru", "names a cell twice"),
        ("acuracy: gru > lstm", "did you mean 'accuracy'"),
        (7, "cannot be read"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(text: object, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read_claim(text, "a test")


def test_the_claim_on_training_quotes_the_interleaved_ratios_of_the_table() -> None:
    section = section_of(*runs(CELLS, range(3), notebook_like))

    def measured(row: Row) -> Row:
        ratio = {
            "simple_rnn": Estimate(1.0, None, 12),
            "lstm": Estimate(1.83, Interval(1.77, 1.89), 12),
            "gru": Estimate(0.97, Interval(0.95, 0.99), 12),
        }[row.cell]
        figures = InterleavedFigures(step_seconds=ratio, ratio=ratio, anchor_ratio=ratio)
        return replace(row, interleaved=figures)

    claim = judge_claims(replace(section, rows=tuple(map(measured, section.rows))))[2]
    assert claim.verdict is DOES_NOT  # though the runs one after the other say that it holds
    assert "LSTM / SimpleRNN 1.83 × (95 % 1.77 to 1.89, 12 interleaved process groups)" in claim.evidence
