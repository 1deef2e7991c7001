"""The claims on a section, judged: the notebook's where its protocol was measured, and the user's own. Pure.

A claim that orders cells is a claim about each adjacent pair, so it holds when every pair's 95 % interval lies on the
claimed side: an intersection-union test, in which each pair is tested at the full level and nothing needs correction
(Berger, 1982). It doesn't hold when any pair's interval lies on the other side; there the pairs are several chances to
err, so those intervals are Bonferroni's. Everything else is "can't tell yet", one seed or one block always.

Cells are compared at one setting: rows that differ in nothing but the cell, and in what the user has joined. The
notebook's claims are judged where all three cells were tried at its protocol: its network, its digits, its settings.
How long and on what that is computed is free (epochs, backend, kernel, device, threads), and named where it differs.
Of several such settings those at which all three have results come first, then the one that differs from the protocol
in the fewest fields, then the one whose numbers are nearest the protocol's (by the sum of the absolute logarithms of
their ratios). A declared claim is judged at each setting at which its cells were tried. The notebook's remaining claim,
that F1 and ROC AUC are worth having, is no question for measurements.
"""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bench.analysis import pairing
from bench.analysis.pairing import FigureOfRun, are_paired
from bench.analysis.records import RunRecord
from bench.analysis.rows import Row
from bench.analysis.stats import CONFIDENCE, Estimate, Interval
from bench.analysis.summary import Section
from bench.catalog.cells import REFERENCE_CELL
from bench.core.axes import SETTING_FIELDS
from bench.core.case import Case, written
from bench.core.claim import DeclaredClaim
from bench.core.metric import Metric
from bench.core.metrics import METRICS


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
_TIME = "SimpleRNN trains fastest; LSTM and GRU take longer"
_SWAP = "swapping the cell changes nothing else in the code"

# (the larger in the metric, the smaller)
_ACCURACY_PAIRS = (("gru", "lstm"), ("lstm", "simple_rnn"))
_LOSS_PAIRS = (("lstm", "gru"), ("simple_rnn", "lstm"))
_TIME_PAIRS = (("lstm", "simple_rnn"), ("gru", "simple_rnn"))

_TASKS = ("mnist", "mnist_5k")
"""The digits that the notebook reads row by row, and the part of them that comes with the program."""
_FREE = frozenset(
    {"task", "backend", "kernel", "device", "dtype", "threads", "runtime", "epochs", "train_samples", "latency_calls"}
)
"""The fields of a setting that its protocol leaves open: what is learnt is the same, or the same for less time."""


def judge_claims(section: Section) -> tuple[Claim, ...]:
    """The claims on a section, each with its verdict and evidence: the notebook's in its order, then the user's.

    Accuracies and losses are paired by seed, training times by campaign and block.

    Args:
        section: rows of one machine, one software and one task, or what a join has made of several.
    """
    declared = (claim for each in section.claims for claim in _declared(each, section))
    return (*_notebook_claims(section), *declared)


def _notebook_claims(section: Section) -> tuple[Claim, ...]:
    """The notebook's claims that measurements can decide; none where its protocol was not measured."""
    if section.task not in _TASKS:
        return ()
    settings = {setting: rows for setting, rows in _settings(section, tuple(_NAMES)) if _is_protocol(setting)}
    if not settings:
        return ()
    setting = min(settings, key=lambda s: (not all(row.runs for row in settings[s].values()), *_from_protocol(s)))
    rows, at = settings[setting], _deviations(setting)
    return (
        _ordered(_ACCURACY, rows, _ACCURACY_PAIRS, METRICS["accuracy"], at),
        _ordered(_LOSS, rows, _LOSS_PAIRS, METRICS["loss"], at),
        _ordered(_TIME, rows, _TIME_PAIRS, METRICS["train_seconds"], at),
        _swap(settings),
    )


def _declared(claim: DeclaredClaim, section: Section) -> Iterator[Claim]:
    """A declared claim at each setting at which all its cells were tried; else why there is no verdict."""
    settings = list(_settings(section, claim.cells))
    for setting, rows in settings:
        at = _where(section, setting, rows)
        yield _ordered(claim.text, rows, claim.pairs, claim.metric, at)
    if not settings:
        measured = {row.cell for row in section.rows}
        missing = [f"{cell}{_nearest(cell, measured)}" for cell in claim.cells if cell not in measured]
        fields = ", ".join(section.axes)
        why = (
            f"not measured: {', '.join(missing)}"
            if missing
            else f"no setting was measured with all of them: they differ in {fields} (`--join` puts them side by side)"
        )
        yield Claim(claim.text, ClaimVerdict.CANNOT_TELL, why)


def _nearest(cell: str, measured: Collection[str]) -> str:
    """What a cell that was not measured may be a slip for."""
    near = difflib.get_close_matches(cell, measured, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


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


def _ordered(text: str, rows: _Rows, pairs: Sequence[tuple[str, str]], metric: Metric, at: str) -> Claim:
    bonferroni = 1 - (1 - CONFIDENCE) / len(pairs)
    compare = _ratio_pair if metric.as_ratio and metric.replicate == "run" else _seed_pair
    shown = [compare(rows[larger], rows[smaller], metric, bonferroni) for larger, smaller in pairs]
    if all(pair.speaks_for for pair in shown):
        verdict = ClaimVerdict.HOLDS
    elif any(pair.speaks_against for pair in shown):
        verdict = ClaimVerdict.DOES_NOT
    else:
        verdict = ClaimVerdict.CANNOT_TELL
    return Claim(text, verdict, "; ".join(pair.text for pair in shown) + at)


def _seed_pair(larger: Row, smaller: Row, metric: Metric, corrected: float) -> _Pair:
    """The difference of a quality, paired by seed: better minus worse, as it is claimed."""
    sign = -1 if metric.lower_is_better else 1
    first, second = (smaller, larger) if metric.lower_is_better else (larger, smaller)

    def difference(new: Row, base: Row, confidence: float) -> Estimate:
        joined = bool(new.joined)
        return pairing.difference(new.runs, base.runs, _figure(metric), confidence, joined=joined)

    estimate = difference(larger, smaller, CONFIDENCE)
    scale = metric.unit.scales[-1]
    ends = sorted(sign * end for end in _ends(estimate))
    tried = max(larger.seeds_tried, smaller.seeds_tried)
    text = _worded(
        f"{_name(first)} − {_name(second)}",
        _Shown(sign * estimate.value, ends, estimate.n, tried, "seed"),
        lambda x: f"{scale.factor * x:+.{2 if scale.decimals is None else scale.decimals}f}",
        metric.unit.difference,
    )
    return _Pair(text, estimate, difference(larger, smaller, corrected).interval, 0.0)


def _ratio_pair(larger: Row, smaller: Row, metric: Metric, corrected: float) -> _Pair:
    """The ratio of a figure of runs, paired by block; of training times the interleaved one, as in the table."""
    if metric.name == "train_seconds" and (pair := _interleaved_pair(larger, smaller)):
        return pair
    figure, joined = _figure(metric), bool(larger.joined)
    estimate = pairing.ratio(larger.runs, smaller.runs, figure, joined=joined)
    tried = max(larger.runs_tried, smaller.runs_tried)
    what = "block" if not joined or are_paired(larger.runs, smaller.runs, figure) else "unpaired run"
    text = _worded(
        f"{_name(larger)} / {_name(smaller)}",
        _Shown(estimate.value, _ends(estimate), estimate.n, tried, what),
        lambda x: f"{x:.2f}",
        " ×",
    )
    interval = pairing.ratio(larger.runs, smaller.runs, figure, corrected, joined=joined).interval
    return _Pair(text, estimate, interval, 1.0)


def _interleaved_pair(larger: Row, smaller: Row) -> _Pair | None:
    """The ratio from the interleaved measurement; None where there is none, or its base is another cell."""
    if smaller.cell != REFERENCE_CELL or not (larger.interleaved and larger.interleaved.ratio):
        return None
    estimate = larger.interleaved.ratio
    text = _worded(
        f"{_name(larger)} / {_name(smaller)}",
        _Shown(estimate.value, _ends(estimate), estimate.n, estimate.n, "interleaved process group"),
        lambda x: f"{x:.2f}",
        " ×",
    )
    return _Pair(text, estimate, estimate.interval, 1.0)  # its intervals hold together already


def _figure(metric: Metric) -> FigureOfRun:
    """The figure of a run; of calls of inference that of the compiled call, which a service would use."""
    if metric.of_calls:
        return lambda run: RunRecord.call_figure(run, metric.name, "compiled")
    return lambda run: run.figure(metric.name)


def _ends(estimate: Estimate) -> tuple[float, ...]:
    """The ends of its interval; none where it has none."""
    return (estimate.interval.low, estimate.interval.high) if estimate.interval else ()


def _name(row: Row) -> str:
    return _NAMES.get(row.cell, row.cell)


@dataclass(frozen=True)
class _Shown:
    """The change of a pair as a reader sees it, and the blocks or seeds that it is from."""

    value: float
    ends: Sequence[float]
    n: int
    tried: int
    what: str


def _worded(name: str, shown: _Shown, number: Callable[[float], str], unit: str) -> str:
    if not shown.n:
        return f"{name}: no {shown.what} in which both have a result"

    def signed(x: float) -> str:
        return number(x).replace("-", "−")

    n, tried = shown.n, shown.tried
    count = f"{n}{f' of {tried}' if n < tried else ''} {shown.what}{'s' if max(n, tried) > 1 else ''}"
    if not shown.ends:
        why = "no interval from one" if n == 1 else "all the same, which gives no interval"
        return f"{name} {signed(shown.value)}{unit} ({count}: {why})"
    low, high = map(signed, shown.ends)
    return f"{name} {signed(shown.value)}{unit} (95 % {low} to {high}, {count})"


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


def _settings(section: Section, cells: Sequence[str]) -> Iterator[tuple[Case, dict[str, Row]]]:
    """The settings at which all of some cells were tried, and their rows.

    Where rows are joined, those too that differ in what is joined, if each cell has a single row there.
    """
    exact: dict[Case, dict[str, Row]] = defaultdict(dict)
    joined: dict[Case, list[Row]] = defaultdict(list)
    fields = [name for name in section.joined if name in SETTING_FIELDS]
    for row in section.rows:
        if row.cell in cells:
            exact[row.setting][row.cell] = row
            joined[replace(row.setting, **{name: getattr(_PROTOCOL, name) for name in fields})].append(row)
    whole = {setting: _in_order(rows, cells) for setting, rows in exact.items() if len(rows) == len(cells)}
    yield from whole.items()
    for setting, several in joined.items() if fields else ():
        rows = {row.cell: row for row in several}
        if len(several) == len(rows) == len(cells) and several[0].setting not in whole:
            yield setting, _in_order(rows, cells)


def _in_order(rows: _Rows, cells: Sequence[str]) -> dict[str, Row]:
    return {cell: rows[cell] for cell in cells}


_PROTOCOL = Case(cell="")
_IN_SETTING = tuple(name for name in SETTING_FIELDS if name != "task")


def _is_protocol(setting: Case) -> bool:
    return all(name in _FREE for name in _differing(setting))


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


def _where(section: Section, setting: Case, rows: _Rows) -> str:
    """At which of the section's settings a claim was judged, and in what its rows differ."""
    differing = [name for name in section.axes if len({row.axes[name] for row in rows.values()}) > 1]
    alike = [f"{name}={written(getattr(setting, name))}" for name in section.axes if name not in differing]
    each = [
        f"{_name(row)} {', '.join(f'{name}={written(row.axes[name])}' for name in differing)}"
        for row in rows.values()
        if differing
    ]
    where = [f"at {', '.join(alike)}"] if alike else []
    where += [f"with {', '.join(each)}"] if each else []
    return "".join(f"; {words}" for words in where)
