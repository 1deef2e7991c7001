"""The generated sentences, against observations whose truth is known, the undecidable ones included."""

from __future__ import annotations

from typing import Any

import pytest

from bench.analysis.claims import ClaimVerdict, judge_claims
from bench.analysis.leaders import best_scoring, fastest_to_infer, fastest_to_train, pareto
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.report.recommendation import exchange, recommendation
from tests.support.frames import CELLS, frame, notebook_like, run, runs


def section(*several: Any) -> Section:
    (one,) = summarise(frame(*several))
    return one


@pytest.fixture(scope="module")
def clear() -> Section:
    return section(*runs(CELLS, range(5), notebook_like))


def test_a_clear_case_is_called(clear: Section) -> None:
    accurate, quick, trade = recommendation(clear)
    assert accurate.startswith("Most accurate: gru, with 98.38 % ± ")
    assert "(5 seeds)" in accurate
    assert "against every other row is on its side" in accurate
    assert quick.startswith("Fastest to train: simple_rnn, with 20.0 s an epoch (95 % ")
    assert trade.startswith("Best trade: your choice; gru gives +4.")
    assert trade.endswith("the training time of simple_rnn.")


def test_what_a_step_of_the_front_buys(clear: Section) -> None:
    front = pareto(clear)
    assert [row.cell for row in front] == ["simple_rnn", "lstm", "gru"]
    assert exchange(clear)[0].startswith("simple_rnn to lstm: +3.46 points for 2.")


def test_a_row_that_is_beaten_in_both_is_not_on_the_front() -> None:
    figures = {"simple_rnn": (0.90, 1.0), "lstm": (0.95, 5.0), "gru": (0.96, 4.0)}
    one = section(
        *runs(CELLS, (0, 1), lambda c, s: {"accuracy": figures[c][0], "epoch_seconds": (figures[c][1] + s / 9,) * 2})
    )
    assert [row.cell for row in pareto(one)] == ["simple_rnn", "gru"]


def test_overlapping_seeds_cannot_tell() -> None:
    wobble = {"lstm": (0.96, 0.98, 0.97), "gru": (0.98, 0.96, 0.974)}
    one = section(*runs(wobble, range(3), lambda c, s: {"accuracy": wobble[c][s], "epoch_seconds": (5.0 + s,) * 2}))
    accurate, quick, trade = recommendation(one)
    assert accurate.startswith("Most accurate: can't tell yet. gru leads with 97.13 %")
    assert accurate.endswith("can't be distinguished from lstm.")
    assert quick.startswith("Fastest to train: can't tell yet.")
    assert trade.startswith("Best trade: ")
    assert "your choice" not in trade


def test_one_seed_never_tells_however_far_apart() -> None:
    one = section(*runs(CELLS, (0,), lambda c, s: notebook_like(c, s)))
    assert [sentence.partition(": ")[2][:10] for sentence in recommendation(one)] == ["can't tell"] * 3
    assert "can't be distinguished from one seed from" in recommendation(one)[0]


def test_many_rows_need_wider_intervals() -> None:
    """Of pure noise, over 40 rows the best of them would often be called best at 95 % each."""
    import numpy as np

    draw, called = np.random.default_rng(3), 0
    for _ in range(20):
        noise = draw.normal(0.95, 0.005, (10, 4))
        several = [
            run(Case(cell="lstm", units=2**n, seed=s), accuracy=float(noise[n, s])) for n in range(10) for s in range(4)
        ]
        best = best_scoring(section(*several))
        assert best is not None
        called += best.clear
    assert called <= 2


def test_of_three_cells_the_recommendation_agrees_with_the_claim() -> None:
    """A page that called SimpleRNN the fastest in one place and not in another would be believed in neither."""
    import numpy as np

    draw, held = np.random.default_rng(11), 0
    for _ in range(40):
        times = {cell: draw.normal(mean, 1.0, 3) for cell, mean in (("simple_rnn", 8), ("lstm", 11), ("gru", 12))}
        one = section(
            *(
                run(Case(cell=cell, seed=seed), epoch_seconds=(float(seconds),) * 2)
                for cell, own in times.items()
                for seed, seconds in enumerate(own)
            )
        )
        quick, claim = fastest_to_train(one), judge_claims(one)[2]
        assert quick is not None
        assert (quick.clear and quick.row.cell == "simple_rnn") == (claim.verdict is ClaimVerdict.HOLDS)
        held += claim.verdict is ClaimVerdict.HOLDS
    assert 5 < held < 35  # both kinds were seen


def test_of_more_rows_the_wider_intervals_are_named() -> None:
    cells = {f"own:{n}": 0.9 + n / 50 for n in range(5)}
    one = section(
        *runs(cells, range(5), lambda c, s: {"accuracy": cells[c] + s / 1000 + (c == "own:4") * (s % 2) / 1000})
    )
    assert (
        "(5 seeds); its 97.5 % (95 % over all rows) interval against every other row is on its side."
        in recommendation(one)[0]
    )


def test_of_equal_rows_no_trade_is_certain_only_because_two_were_chosen() -> None:
    """Twenty tables of ten equal rows: at 95 % each some would be called certain."""
    import numpy as np

    draw, trades = np.random.default_rng(5), []
    for _ in range(20):
        score, seconds = draw.normal(0.95, 0.005, (10, 5)), np.exp(draw.normal(1.6, 0.05, (10, 5)))
        several = [
            run(
                Case(cell="lstm", units=2**n, seed=s),
                accuracy=float(score[n, s]),
                epoch_seconds=(9.0, float(seconds[n, s])),
            )
            for n in range(10)
            for s in range(5)
        ]
        trades.append(recommendation(section(*several))[-1])
    assert sum("your choice" in trade for trade in trades) <= 1
    assert sum("but not certainly for two that were chosen among 10 rows" in trade for trade in trades) >= 1


def test_nothing_ended_well() -> None:
    one = section(run(Case(cell="lstm"), status="failed", error="x"), run(Case(cell="gru"), status="timeout"))
    assert recommendation(one) == ("No recommendation: none of 2 runs ended ok.",)
    assert best_scoring(one) is fastest_to_train(one) is fastest_to_infer(one) is None


def test_one_configuration_has_nothing_beside_it() -> None:
    accurate, quick = recommendation(section(*runs(("lstm",), (0, 1, 2), notebook_like)))
    assert accurate.startswith("Most accurate: only lstm was measured")
    assert quick.startswith("Fastest to train: only lstm was measured")


def test_nothing_in_common() -> None:
    one = section(
        run(Case(cell="lstm", seed=0), accuracy=0.9, epoch_seconds=(1.0, 1.0), block=0),
        run(Case(cell="gru", seed=1), accuracy=0.95, epoch_seconds=(2.0, 2.0), block=1),
    )
    assert recommendation(one)[-1] == "Best trade: can't tell yet; gru and lstm have no seed and no block in common."
