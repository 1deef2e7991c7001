"""Which runs of two frames are compared with which: by configuration, and by environment within it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from bench.analysis.interleaved_figures import InterleavedFigures, KnownInterleaved, of_campaigns
from bench.analysis.records import RunRecord
from bench.analysis.rows import Row
from bench.analysis.summary import Section, summarise
from bench.core.case import Case
from bench.core.metric import Metric, MetricKind
from bench.host.fingerprint import differences


@dataclass(frozen=True, kw_only=True)
class ComparisonEnvironment:
    """What the two sides of a finding were measured on: new's machine and software, and in what base's differ."""

    machine: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, Any] = field(default_factory=dict)
    machine_differences: tuple[str, ...] = ()
    software_differences: tuple[str, ...] = ()
    data_differ: bool = False

    def incomparable(self, metric: Metric, across_software: bool) -> str | None:
        """Why a metric of the two sides can't be compared; None where it can.

        Args:
            metric: a quality depends on the data alone, all else on the machine and the software too.
            across_software: the difference of the software is what is asked.
        """
        if self.data_differ:
            return "the data differ"
        if metric.kind is MetricKind.QUALITY:
            return None
        if self.machine_differences:
            return f"the machines differ: {'; '.join(self.machine_differences)}"
        if self.software_differences and not across_software:
            return f"the software differs: {'; '.join(self.software_differences)} (--across software compares it)"
        return None


class EnvironmentKey(NamedTuple):
    """What the runs of one group agree in; empty where it is unknown."""

    machine_fingerprint: str
    software_fingerprint: str
    data_digest: str


@dataclass(frozen=True)
class RunGroup:
    """The runs of one configuration in one environment on one side."""

    sections: tuple[Section, ...]
    rows: tuple[Row, ...]
    interleaved: Mapping[str, InterleavedFigures] = field(default_factory=dict)
    """The figures of the interleaved measurements of its campaigns, by the campaign's id."""

    @property
    def runs(self) -> list[RunRecord]:
        """Those that ended ok."""
        return [run for row in self.rows for run in row.runs]

    @property
    def failed(self) -> list[RunRecord]:
        """Those that did not."""
        return [run for row in self.rows for run in row.failed]

    @property
    def ids(self) -> set[str]:
        """The ids of all its runs."""
        return {run.run_id for run in [*self.runs, *self.failed]}

    @property
    def kernels(self) -> str:
        """The attested kernels, in words."""
        return ", ".join(sorted({kernel for row in self.rows for kernel in row.kernels_attested})) or "unknown"

    @property
    def cell_versions(self) -> set[str]:
        """Digests of the source of a user's cell; a cell of bench's own has none."""
        users_cell = ":" in self.rows[0].cell
        return {section.code_digest for section in self.sections} if users_cell else set()


Groups = Mapping[EnvironmentKey, RunGroup]
"""The runs of one configuration, by environment."""


def by_configuration(frame: pd.DataFrame, interleaved: KnownInterleaved = MappingProxyType({})) -> dict[Case, Groups]:
    """The runs of a frame by configuration, in the order of its sections and rows.

    The number of timed calls does not distinguish configurations here: what both sides have is compared.

    Args:
        frame: observations, a row each.
        interleaved: the figures of the interleaved measurements that its campaigns ended with.
    """
    cases: dict[Case, dict[EnvironmentKey, RunGroup]] = defaultdict(dict)
    for section in summarise(frame):
        key = EnvironmentKey(
            section.machine_fingerprint or "", section.software_fingerprint or "", section.data_digest or ""
        )
        for row in section.rows:
            groups = cases[replace(row.configuration, latency_calls=0)]
            group = groups.get(key, RunGroup((), ()))
            measured = of_campaigns(interleaved, row.configuration, {run.campaign_id for run in row.runs})
            groups[key] = RunGroup((*group.sections, section), (*group.rows, row), {**group.interleaved, **measured})
    return dict(cases)


def matched(base: Groups, new: Groups) -> list[tuple[EnvironmentKey, EnvironmentKey]]:
    """Which environments of two sides are compared, as (base, new); neither side may be empty.

    Those that are the same on both sides; where there is none, the two that differ least and were measured most.
    """
    same = [(key, key) for key in base if key in new]
    if same:
        return same

    def distance(pair: tuple[EnvironmentKey, EnvironmentKey]) -> tuple[Any, ...]:
        before, after = pair
        return (
            before.data_digest != after.data_digest,
            before.machine_fingerprint != after.machine_fingerprint,
            before.software_fingerprint != after.software_fingerprint,
            -min(len(base[before].runs), len(new[after].runs)),
            pair,
        )

    return [min(((before, after) for before in base for after in new), key=distance)]


def comparison_environment(
    base: Groups, new: Groups, before: EnvironmentKey, after: EnvironmentKey
) -> ComparisonEnvironment:
    """The machine and software of two groups, and in what they differ.

    Args:
        base: the base's groups of a configuration.
        new: the new side's groups of it.
        before: the environment of base that is compared.
        after: the environment of new that it is compared with.
    """
    theirs, ours = base[before].sections[0], new[after].sections[0]

    def differing(old: Mapping[str, Any], now: Mapping[str, Any], differ: bool) -> tuple[str, ...]:
        return (differences(old, now) or ("facts that are not recorded",)) if differ else ()

    return ComparisonEnvironment(
        machine=ours.machine,
        software=ours.software,
        machine_differences=differing(
            theirs.machine, ours.machine, before.machine_fingerprint != after.machine_fingerprint
        ),
        software_differences=differing(
            theirs.software, ours.software, before.software_fingerprint != after.software_fingerprint
        ),
        data_differ=bool(before.data_digest and after.data_digest) and before.data_digest != after.data_digest,
    )
