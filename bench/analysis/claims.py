"""The notebook's claims, judged on a section. Pure.

A claim that orders cells is a claim about each adjacent pair, so it holds when every pair's 95 % interval lies on the
claimed side: an intersection-union test, in which each pair is tested at the full level and nothing needs correction
(Berger, 1982). It doesn't hold when any pair's interval lies on the other side; there the pairs are several chances to
err, so those intervals are Bonferroni's. Everything else is "can't tell yet", one seed or one block always.

Cells are compared at one setting: rows that differ in nothing but the cell. Of the settings at which all three cells
were tried, those at which all three have results come first, then the one that differs from the protocol in the fewest
fields, then the one whose numbers are nearest the protocol's (by the sum of the absolute logarithms of their ratios).
The evidence names in what it differs. The notebook's remaining claim, that F1 and ROC AUC are worth having, is no
question for measurements.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.analysis.records import RunRecord
from bench.analysis.rows import Row, paired, paired_train_seconds
from bench.analysis.stats import CONFIDENCE, Estimate, Interval, mean_t, paired_ratio
from bench.analysis.summary import Section
from bench.core.axes import SETTING_FIELDS
from bench.core.case import Case, written


class ClaimVerdict(StrEnum):
    """The verdict of the measurements on a claim."""

    HOLDS = "holds"
    DOES_NOT = "doesn't"
    CANNOT_TELL = "can't tell yet"


@dataclass(frozen=True)
class Claim:
    """A claim, the verdict, and the figures behind it, as one sentence."""

    text: str
    verdict: ClaimVerdict
    evidence: str


_NAMES = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}

_ACCURACY = "accuracy: GRU > LSTM > SimpleRNN"
_LOSS = "loss: GRU < LSTM < SimpleRNN"
_ERROR = "loss (mean squared error): GRU < LSTM < SimpleRNN"
_TIME = "SimpleRNN trains fastest; LSTM and GRU take longer"
_SWAP = "swapping the cell changes nothing else in the code"

# (the cell claimed to be better, the other); for time (slower, faster).
_QUALITY_PAIRS = (("gru", "lstm"), ("lstm", "simple_rnn"))
_TIME_PAIRS = (("lstm", "simple_rnn"), ("gru", "simple_rnn"))


def judge_claims(section: Section) -> tuple[Claim, ...]:
    """The notebook's claims that measurements can decide, in its order, each with its verdict and evidence.

    Of a task whose targets are numbers there is no accuracy to claim anything about, and of noise no loss either.

    Accuracies and losses are paired by seed, training times by campaign and block.

    Args:
        section: rows of one machine, one software and one task.
    """
    settings = _settings(section)
    if not settings:
        missing = [name for cell, name in _NAMES.items() if all(row.cell != cell for row in section.rows)]
        why = f"not measured: {', '.join(missing)}" if missing else "no setting was measured with all three cells"
        texts = (*(text for text, _ in _qualities(section)), _TIME, _SWAP)
        return tuple(Claim(text, ClaimVerdict.CANNOT_TELL, why) for text in texts)
    setting = min(settings, key=lambda s: (not all(row.runs for row in settings[s].values()), *_from_protocol(s)))
    rows = settings[setting]
    at = _deviations(setting)
    return (
        *(_ordered(text, rows, _QUALITY_PAIRS, compare, at) for text, compare in _qualities(section)),
        _ordered(_TIME, rows, _TIME_PAIRS, _time_pair, at),
        _swap(settings),
    )


def _qualities(section: Section) -> tuple[tuple[str, _Compare], ...]:
    """The claims about what is learnt, as far as the section's task has it."""
    if section.score is None:
        return ()
    if section.score_words != "accuracy":
        return ((_ERROR, _loss_pair),)
    return (_ACCURACY, _accuracy_pair), (_LOSS, _loss_pair)


@dataclass(frozen=True)
class _Pair:
    """What one pair shows: an estimate of which more than `null` speaks for the claim, and the text for a reader."""

    text: str
    estimate: Estimate
    corrected: Interval | None
    null: float

    @property
    def speaks_for(self) -> bool:
        return self.estimate.interval is not None and self.estimate.interval.low > self.null

    @property
    def speaks_against(self) -> bool:
        return self.corrected is not None and self.corrected.high < self.null


_Rows = Mapping[str, Row]
_Compare = Callable[[Row, Row, float], _Pair]


def _ordered(
    text: str,
    rows: _Rows,
    pairs: Sequence[tuple[str, str]],
    compare: _Compare,
    at: str,
) -> Claim:
    bonferroni = 1 - (1 - CONFIDENCE) / len(pairs)
    shown = [compare(rows[a], rows[b], bonferroni) for a, b in pairs]
    if all(pair.speaks_for for pair in shown):
        verdict = ClaimVerdict.HOLDS
    elif any(pair.speaks_against for pair in shown):
        verdict = ClaimVerdict.DOES_NOT
    else:
        verdict = ClaimVerdict.CANNOT_TELL
    return Claim(text, verdict, "; ".join(pair.text for pair in shown) + at)


def _accuracy_pair(better: Row, worse: Row, corrected: float) -> _Pair:
    def points(run: RunRecord) -> float | None:
        accuracy = run.figure("accuracy")
        return None if accuracy is None else 100 * accuracy

    return _seed_pair(better, worse, points, 1, corrected, lambda x: f"{x:+.2f}", " points")


def _loss_pair(better: Row, worse: Row, corrected: float) -> _Pair:
    return _seed_pair(better, worse, lambda run: run.figure("loss"), -1, corrected, lambda x: f"{x:+.4f}", "")


def _seed_pair(
    better: Row,
    worse: Row,
    figure: Callable[[RunRecord], float | None],
    sign: int,
    corrected: float,
    number: Callable[[float], str],
    unit: str,
) -> _Pair:
    """Differences paired by seed. `sign` is -1 where less is better; the text shows better minus worse all the same."""
    pairs = zip(*paired(better.runs, worse.runs, figure, by="seed"), strict=True)
    differences = [sign * (ours - theirs) for ours, theirs in pairs]
    estimate = mean_t(differences)
    shown = None
    if estimate.interval:
        shown = sorted((sign * estimate.interval.low, sign * estimate.interval.high))
    tried = max(better.seeds_tried, worse.seeds_tried)
    name = f"{_NAMES[better.cell]} − {_NAMES[worse.cell]}"
    text = _worded(name, sign * estimate.value, shown, estimate.n, tried, "seed", number, unit)
    return _Pair(text, estimate, mean_t(differences, corrected).interval, 0.0)


def _time_pair(slower: Row, faster: Row, corrected: float) -> _Pair:
    times = paired_train_seconds(slower, faster)
    estimate = paired_ratio(*times)
    shown = [estimate.interval.low, estimate.interval.high] if estimate.interval else None
    tried = max(slower.runs_tried, faster.runs_tried)
    name = f"{_NAMES[slower.cell]} / {_NAMES[faster.cell]}"
    text = _worded(name, estimate.value, shown, estimate.n, tried, "block", lambda x: f"{x:.2f}", " ×")
    return _Pair(text, estimate, paired_ratio(*times, corrected).interval, 1.0)


def _worded(
    name: str,
    value: float,
    shown: Sequence[float] | None,
    n: int,
    tried: int,
    what: str,
    number: Callable[[float], str],
    unit: str,
) -> str:
    if not n:
        return f"{name}: no {what} in which both have a result"

    def signed(x: float) -> str:
        return number(x).replace("-", "−")

    count = f"{n}{f' of {tried}' if n < tried else ''} {what}{'s' if max(n, tried) > 1 else ''}"
    if shown is None:
        why = "no interval from one" if n == 1 else "all the same, which gives no interval"
        return f"{name} {signed(value)}{unit} ({count}: {why})"
    return f"{name} {signed(value)}{unit} (95 % {signed(shown[0])} to {signed(shown[1])}, {count})"


def _swap(settings: Mapping[Case, _Rows]) -> Claim:
    """Whether the three cells ran at settings that differ in nothing but the cell."""
    # A cell none of whose runs ended ok, where another cell's did: the swap itself broke something.
    broken = [
        f"{_NAMES[cell]} has no valid run ({row.excluded[0].reason})"
        for rows in settings.values()
        for cell, row in rows.items()
        if not row.runs and row.excluded and any(swapped.runs for swapped in rows.values())
    ]
    every = [row for rows in settings.values() for row in rows.values()]
    if broken:
        return Claim(_SWAP, ClaimVerdict.DOES_NOT, "; ".join(dict.fromkeys(broken)))
    ok, tried = sum(len(row.runs) for row in every), sum(row.runs_tried for row in every)
    many = len(settings)
    evidence = (
        f"{len(every)} configurations at {many} setting{'s' if many > 1 else ''} differ in nothing but the cell; "
        f"{ok} of {tried} runs ended ok"
    )
    differing = [rows for rows in settings.values() if len({row.kernels_attested for row in rows.values()}) > 1]
    if differing:
        kernels = ", ".join(
            f"{name} ran {' and '.join(differing[0][cell].kernels_attested) or 'without evidence'}"
            for cell, name in _NAMES.items()
        )
        evidence += f"; but the kernels differ: {kernels}"
    verdict = ClaimVerdict.HOLDS if ok == tried else ClaimVerdict.CANNOT_TELL
    return Claim(_SWAP, verdict, evidence)


def _settings(section: Section) -> dict[Case, dict[str, Row]]:
    """The settings at which all three cells were tried."""
    settings: dict[Case, dict[str, Row]] = defaultdict(dict)
    for row in section.rows:
        if row.cell in _NAMES:
            settings[row.setting][row.cell] = row
    return {setting: rows for setting, rows in settings.items() if len(rows) == len(_NAMES)}


_PROTOCOL = Case(cell="")
_IN_SETTING = tuple(name for name in SETTING_FIELDS if name != "task")


def _differing(setting: Case) -> list[str]:
    return [name for name in _IN_SETTING if getattr(setting, name) != getattr(_PROTOCOL, name)]


def _from_protocol(setting: Case) -> tuple[int, float, str]:
    differing = _differing(setting)
    numbers = [(getattr(setting, name), getattr(_PROTOCOL, name)) for name in differing]
    away = sum(abs(math.log(a / b)) for a, b in numbers if isinstance(b, (int, float)) and a > 0 and b > 0)
    return len(differing), away, setting.canonical


def _deviations(setting: Case) -> str:
    differing = _differing(setting)
    return f"; at {', '.join(f'{name}={written(getattr(setting, name))}' for name in differing)}" if differing else ""
