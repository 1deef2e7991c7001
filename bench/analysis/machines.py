"""Sections that differ in the machine alone, taken together: what holds on all of them, and how far they differ. Pure.

Times are compared within a machine. What is combined over machines are ratios, each of which was measured on one, and
qualities, which depend on the seed and hardly on the machine.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.pairing import by_seed
from bench.analysis.random_effects import random_effects
from bench.analysis.records import RunRecord
from bench.analysis.rows import Row, paired_train_seconds, ratio_between
from bench.analysis.sections import SectionKey
from bench.analysis.stats import Estimate, Interval, exp_interval, mean_t
from bench.analysis.summary import Section
from bench.core.axes import varying
from bench.core.case import Case

_Rows = Mapping[str, Row]
"""The rows of one configuration, by the machine's fingerprint."""


@dataclass(frozen=True, kw_only=True)
class CombinedRatio:
    """The ratio of a configuration's training time to the reference cell's, over machines."""

    estimate: Estimate
    """That of machines like these, by a random-effects model of the logarithms; `n` is the number of machines."""
    spread_fraction: float
    """How far machines differ: the standard deviation of the logarithm between them, beyond what their runs vary by."""
    expected: Interval | None
    """Where the ratio measured on a further machine lies with 95 %; None for fewer than three machines."""
    by_machine: Mapping[str, Estimate]
    """The ratio on each, by the machine's fingerprint."""

    @property
    def range(self) -> Interval:
        """The lowest and the highest of the machines' ratios."""
        return _range(estimate.value for estimate in self.by_machine.values())


@dataclass(frozen=True, kw_only=True)
class EqualSeeds:
    """How often equal seeds of a configuration gave equal test losses."""

    equal: int
    compared: int
    """Number of the seeds that ran more than once, over all configurations."""


@dataclass(frozen=True, kw_only=True)
class RowOverMachines:
    """One configuration on all machines that measured it."""

    configuration: Case
    machines: int
    ratio: CombinedRatio | None
    """None for the reference itself, and where fewer than two machines measured both."""
    score: Estimate | None
    """The section's score over the seeds of all machines, a seed's runs averaged first; None where it has none."""
    scores: Interval | None
    """The lowest and the highest of the machines' means."""


@dataclass(frozen=True, kw_only=True)
class OverMachines:
    """What several machines measured of one task, with one software and one version of the users' code."""

    sections: tuple[Section, ...]
    """One a machine, two at least."""
    axes: tuple[str, ...]
    """The fields of the case that differ, without the cell."""
    rows: tuple[RowOverMachines, ...]
    alike: EqualSeeds
    """Between runs on machines of one fingerprint."""
    across: EqualSeeds
    """Between runs on machines of different ones."""


def over_machines(sections: Iterable[Section]) -> tuple[OverMachines, ...]:
    """The groups of two sections or more that differ in the machine alone, in the order of the sections.

    Args:
        sections: those of a table.
    """
    groups: dict[tuple[SectionKey, tuple[str, ...]], list[Section]] = defaultdict(list)
    for section in sections:
        groups[section.key._replace(machine_fingerprint=None), section.joined].append(section)
    return tuple(_together(group) for group in groups.values() if len(group) > 1)


def _together(sections: Sequence[Section]) -> OverMachines:
    configurations: dict[Case, dict[str, Row]] = defaultdict(dict)
    for section in sections:
        for row in section.rows:
            if row.runs:
                configurations[row.configuration][section.machine_fingerprint or ""] = row
    metric = sections[0].score.name if sections[0].score else None
    return OverMachines(
        sections=tuple(sections),
        axes=varying(configurations),
        rows=tuple(
            _row(case, rows, configurations.get(next(iter(rows.values())).setting, {}), metric)
            for case, rows in configurations.items()
        ),
        alike=_equal_seeds(row.runs for rows in configurations.values() for row in rows.values()),
        across=_equal_seeds(_first_of_each(rows) for rows in configurations.values()),
    )


def _row(case: Case, rows: _Rows, references: _Rows, metric: str | None) -> RowOverMachines:
    scores = [] if metric is None else [_score(row.runs, metric) for row in rows.values()]
    known = [score.value for score in scores if score.n]
    return RowOverMachines(
        configuration=case,
        machines=len(rows),
        ratio=None if references is rows else _combined(rows, references),
        score=_score([run for row in rows.values() for run in row.runs], metric) if metric and known else None,
        scores=_range(known) if known else None,
    )


def _combined(rows: _Rows, references: _Rows) -> CombinedRatio | None:
    log_ratios, by_machine = [], {}
    for machine in sorted(rows.keys() & references.keys()):
        row, reference = rows[machine], references[machine]
        estimate = ratio_between(row, reference)
        if estimate.n:
            new, base = np.array(paired_train_seconds(row, reference))
            positive = (new > 0) & (base > 0)
            log_ratios.append(np.log(new[positive] / base[positive]))
            by_machine[machine] = estimate
    combined = random_effects(log_ratios)
    if combined is None:
        return None
    return CombinedRatio(
        estimate=Estimate(math.exp(combined.mean.value), exp_interval(combined.mean.interval), combined.mean.n),
        spread_fraction=combined.spread,
        expected=exp_interval(combined.expected),
        by_machine=by_machine,
    )


def _score(runs: Iterable[RunRecord], metric: str) -> Estimate:
    return mean_t(by_seed(runs, lambda run: run.figure(metric)).values())


def _first_of_each(rows: _Rows) -> list[RunRecord]:
    """A run of each seed on each machine."""
    runs = {(machine, run.seed): run for machine, row in rows.items() for run in reversed(row.runs)}
    return list(runs.values())


def _equal_seeds(groups: Iterable[Iterable[RunRecord]]) -> EqualSeeds:
    """Compares the runs of one seed within each group."""
    losses: dict[tuple[int, int], list[float]] = defaultdict(list)
    for number, runs in enumerate(groups):
        for run in runs:
            if (loss := run.figure("loss")) is not None:
                losses[number, run.seed].append(loss)
    repeated = [of_seed for of_seed in losses.values() if len(of_seed) > 1]
    return EqualSeeds(equal=sum(len(set(of_seed)) == 1 for of_seed in repeated), compared=len(repeated))


def _range(values: Iterable[float]) -> Interval:
    known = list(values)
    return Interval(min(known), max(known))
