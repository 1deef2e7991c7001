"""The verdicts of a comparison: which there are, when each may be given, and its exit code. Pure.

Two margins, both for the change from base to new. The *tolerance*, or equivalence margin, is what still counts as the
same. The *floor*, or noise floor, is what no repetition removes: a difference below it may be the bias of the
measurement itself, however narrow its interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from bench.analysis.stats import Interval
from bench.core.errors import ExitCode, worst
from bench.core.metric import Margins


class Verdict(StrEnum):
    """The verdict on new against base: `SLOWER` and `FASTER` are words for time, `WORSE` and `BETTER` for the rest."""

    SAME = "same"
    FASTER = "faster"
    SLOWER = "slower"
    BETTER = "better"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"
    MISSING = "missing"
    FAILED = "failed"
    INCOMPARABLE = "incomparable"


REGRESSIONS = frozenset({Verdict.SLOWER, Verdict.WORSE})
IMPROVEMENTS = frozenset({Verdict.FASTER, Verdict.BETTER})

_CODES = {
    Verdict.SLOWER: ExitCode.REGRESSION,
    Verdict.WORSE: ExitCode.REGRESSION,
    Verdict.INCONCLUSIVE: ExitCode.NO_VERDICT,
    Verdict.MISSING: ExitCode.NO_VERDICT,
    Verdict.FAILED: ExitCode.RUNS_FAILED,
    Verdict.INCOMPARABLE: ExitCode.NO_VERDICT,
}


def judge(change: Interval | None, margins: Margins) -> Verdict:
    """The verdict on a change of which more is worse, given its interval.

    `SAME` where the whole interval lies within the tolerance: an equivalence test by interval inclusion (Schuirmann,
    1987, *J. Pharmacokinet. Biopharm.* 15, 657), so never for want of evidence. `WORSE` where it lies beyond the floor,
    and not within the tolerance; `BETTER` likewise. Else, and where there is no interval, `INCONCLUSIVE`.

    Args:
        change: the interval, on the scale of the margins: of a ratio the logarithm; None where there is none.
        margins: the equivalence margin and the noise floor.
    """
    if change is None:
        return Verdict.INCONCLUSIVE
    if -margins.tolerance <= change.low and change.high <= margins.tolerance:
        return Verdict.SAME
    if change.low > margins.floor:
        return Verdict.WORSE
    if change.high < -margins.floor:
        return Verdict.BETTER
    return Verdict.INCONCLUSIVE


def exit_code(verdicts: Iterable[Verdict]) -> ExitCode:
    """The exit code of a gate: green only where there is a verdict, and each of them is decided and no regression."""
    given = list(verdicts)
    return worst(_CODES.get(verdict, ExitCode.OK) for verdict in given) if given else ExitCode.NO_VERDICT
