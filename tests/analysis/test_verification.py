"""bench.analysis.verification: the same losses again, or a tolerance that is reported."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.analysis.verification import check


def rows(loss: float, *, epoch: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "phase": ["train", "evaluate"],
            "epoch": [epoch, float("nan")],
            "loss": [2 * loss, loss],
            "accuracy": [0.5, 0.9],
            "mae": [float("nan")] * 2,
        }
    )


def test_the_same_machine_must_agree_to_the_last_bit() -> None:
    near = rows(0.3 + 2**-50)
    assert all(figure.ok for figure in check(rows(0.3), rows(0.3), rows(0.3), exact=True))
    checks = check(rows(0.3), near, rows(0.3), exact=True)
    assert [(figure.phase, figure.metric, figure.ok) for figure in checks] == [
        ("train", "loss", False), ("train", "accuracy", True),
        ("evaluate", "loss", False), ("evaluate", "accuracy", True),
    ]  # fmt: skip


def test_another_machine_must_lie_among_the_seeds() -> None:
    seeds = pd.concat([rows(loss) for loss in (0.30, 0.31, 0.32)])
    for loss, ok in ((0.335, True), (0.345, False), (0.281, True), (0.275, False)):
        by_figure = {
            (figure.phase, figure.metric): figure for figure in check(rows(0.30), rows(loss), seeds, exact=False)
        }
        assert by_figure["evaluate", "loss"].ok is ok, loss
        assert by_figure["evaluate", "loss"].centre == pytest.approx(0.31)


def test_few_seeds_leave_a_tenth() -> None:
    assert [figure.ok for figure in check(rows(0.30), rows(0.32), rows(0.30), exact=False)] == [True] * 4
    assert not check(rows(0.30), rows(0.34), rows(0.30), exact=False)[0].ok


def test_what_was_not_measured_again_differs() -> None:
    checks = check(rows(0.3), rows(0.3, epoch=2), rows(0.3), exact=True)
    assert [figure.ok for figure in checks] == [False, False, True, True]
