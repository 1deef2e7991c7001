"""The line that a duel prints of each process group."""

from __future__ import annotations

import io

import pytest

from bench.analysis.verdict import Verdict
from bench.cli.progress import DuelProgress
from bench.duel.sequential import Contrast, Decision, InterimAnalysis

B, C = Contrast(0, 1), Contrast(0, 2)


def printed(*analyses: tuple[float, float, float]) -> str:
    stream = io.StringIO()
    of_contrast = {
        contrast: InterimAnalysis(2, ratio, low, high, Verdict.INCONCLUSIVE)
        for contrast, (ratio, low, high) in zip((B, C), analyses, strict=False)
    }
    decision = Decision(analyses=of_contrast, analysed=False, settled=frozenset(), stop=None)
    DuelProgress(stream, 600.0).group_ended(dict.fromkeys(of_contrast, 0.02), decision, 77.0)
    return stream.getvalue()


@pytest.mark.parametrize("high", [1.1e14, float("inf")])
def test_an_interval_that_says_nothing_is_not_printed(high: float) -> None:
    """Two groups give one by a t of one degree of freedom, at the level of a first interim analysis."""
    assert "B / A 1.0202  so far 1.0211 (too few groups for an interval)" in printed((1.0211, 1e-14, high))
    several = printed((1.0211, 1e-14, high), (1.5, 1.4, 1.6))
    assert several == (
        "group  1  0 of 2 ratios settled  least certain: B / A 1.0211 (too few groups for an interval)  1:17 of 10:00\n"
    )


def test_an_interval_that_says_something_is() -> None:
    assert "so far 1.0211 (0.9142 to 1.1554)  " in printed((1.0211, 0.9142, 1.1554))
    assert "least certain: C / A 1.5000 (1.2000 to 1.9000)" in printed((1.0, 0.9, 1.1), (1.5, 1.2, 1.9))
