"""Observations → the summary: sections of rows, a row for each configuration. Pure: no clock, no files, no printing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pandas as pd

from bench.analysis.interleaved_figures import KnownInterleaved, latest
from bench.analysis.joining import CODE, merged_software, side_by_side
from bench.analysis.records import MeasuredRun, RunRecord, measured_runs, stored_object
from bench.analysis.rows import KnownCeilings, Row, make_rows
from bench.analysis.sections import SectionKey
from bench.analysis.stats import CONFIDENCE
from bench.catalog.tasks import SIZES
from bench.core.axes import SETTING_FIELDS, varying
from bench.core.case import Case
from bench.core.claim import DeclaredClaim
from bench.core.metric import Metric
from bench.core.metrics import METRICS


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows that may be compared: one task and its data, one machine, one software, one version of users' code."""

    key: SectionKey
    machine: Mapping[str, Any]
    software: Mapping[str, Any]
    commits: tuple[str, ...]
    """The program's commits that measured it."""
    shared: Mapping[str, Any]
    """The fields of the case that are the same in all rows."""
    axes: tuple[str, ...]
    """The fields of the case that differ, without the cell."""
    rows: tuple[Row, ...]
    keys: tuple[SectionKey, ...] = ()
    """The sections that a join has made it from; its own key where there is no join."""
    joined: tuple[str, ...] = ()
    """What the user joined, of what differs here: fields of the case, and `code`."""
    claims: tuple[DeclaredClaim, ...] = ()
    """What the suites of its campaigns claim, and what the user asks about."""
    together: int = 0
    """How many intervals of its rows hold together with 95 %; 0 where each does by itself."""

    @property
    def score(self) -> Metric | None:
        """What its rows are ranked by beside time: the accuracy, or the loss where targets are numbers.

        None where neither means anything, as of noise.
        """
        task = self.rows[0].task
        if task is not None and not task.scored:
            return None
        return METRICS["accuracy" if task is None or task.target.is_class else "loss"]

    @property
    def score_words(self) -> str:
        """What the score is, in words: `mean squared error` for the loss of a task whose targets are numbers."""
        return "mean squared error" if self.score is METRICS["loss"] else "accuracy"

    @property
    def validated_on(self) -> str:
        """What its runs are scored on after each epoch: most tasks have no validation set of their own."""
        task = self.rows[0].task
        return "validation set" if task is not None and task.validation_samples else "test set"

    @property
    def by_size(self) -> Mapping[str, Section]:
        """Its rows apart by the size of their data: more steps are another problem, and nothing is the best over all.

        The values in which the sizes differ, `steps=50`, and the rows of that size; one entry, without a name, where
        all have the same.
        """
        sized = [name for name in SIZES if name in self.axes]
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            groups[", ".join(f"{name}={row.axes[name]}" for name in sized)].append(row)
        return {name: replace(self, rows=tuple(rows)) for name, rows in groups.items()}

    @property
    def runs(self) -> Mapping[Case, tuple[RunRecord, ...]]:
        """The runs that ended ok, by configuration."""
        return {row.configuration: row.runs for row in self.rows}

    @property
    def task(self) -> str:
        """The data set and what is asked of it."""
        return self.key.task

    @property
    def data_digest(self) -> str | None:
        """Digest of the content of the data."""
        return self.key.data_digest

    @property
    def machine_fingerprint(self) -> str | None:
        """Digest of the machine facts that must agree."""
        return self.key.machine_fingerprint

    @property
    def software_fingerprint(self) -> str | None:
        """Digest of the software facts that must agree."""
        return self.key.software_fingerprint

    @property
    def code_digest(self) -> str:
        """Digest of the source of the users' cells; empty where there are none."""
        return self.key.code_digest

    @property
    def code_versions(self) -> tuple[str, ...]:
        """Digests of all versions of the users' code here: several where they execute the same programs."""
        return (self.key.code_digest, *self.key.same_programs)


def summarise(
    frame: pd.DataFrame,
    calls: pd.DataFrame | None = None,
    *,
    ceilings: KnownCeilings = MappingProxyType({}),
    interleaved: KnownInterleaved = MappingProxyType({}),
    join: Sequence[str] = (),
    claims: Mapping[str, Sequence[DeclaredClaim]] = MappingProxyType({}),
    simultaneous: bool = False,
) -> tuple[Section, ...]:
    """The sections of a frame of observations, ordered by task, machine and software; none for an empty frame.

    Args:
        frame: observations with the columns `bench.analysis.records.NEEDED`, a row each, at least one of each run.
        calls: the calls of inference (`bench.analysis.records.CALLS`), where they are kept apart; else they are among
            the observations.
        ceilings: those measured of the machines; a fraction of an unknown one is None.
        interleaved: the figures of interleaved measurements that campaigns ended with.
        join: what may differ within a section (`bench.analysis.joining.read_join`).
        claims: those that are to be judged on the runs of a campaign, by its id.
        simultaneous: widen the intervals of each section's table so that they hold together (Bonferroni).

    Raises:
        KeyError: a column is missing.
    """
    if frame.empty:
        return ()
    measured = measured_runs(frame, frame if calls is None else calls)
    sections: dict[SectionKey, list[MeasuredRun]] = defaultdict(list)
    keys: dict[SectionKey, set[SectionKey]] = defaultdict(set)
    for run, joined in zip(measured, side_by_side(measured, join), strict=True):
        sections[joined.section].append(joined)
        keys[joined.section].add(run.section)
    return tuple(
        replace(
            _section(
                key,
                sections[key],
                ceilings,
                interleaved,
                _joined(join, sections[key], keys[key]),
                simultaneous=simultaneous,
            ),
            keys=tuple(sorted(keys[key], key=lambda each: each.order)),
            claims=_claims_on(sections[key], claims),
        )
        for key in sorted(sections, key=lambda key: key.order)
    )


def _section(
    key: SectionKey,
    runs: Sequence[MeasuredRun],
    ceilings: KnownCeilings,
    interleaved: KnownInterleaved,
    joined: tuple[str, ...],
    *,
    simultaneous: bool,
) -> Section:
    cases = {run.configuration for run in runs}
    axes = varying(cases)
    stored, some = runs[0].stored, runs[0].configuration
    software = dict.fromkeys(str(run.stored["software_json"]) for run in runs)
    rows, together = make_rows(runs, axes, ceilings, joined), 0
    if simultaneous and (together := sum(row.intervals for row in rows)):
        rows = make_rows(runs, axes, ceilings, joined, 1 - (1 - CONFIDENCE) / together)
    return Section(
        key=key,
        machine=stored_object(stored["machine_json"]),
        software=merged_software(map(stored_object, software)),
        commits=tuple(sorted({str(run.stored["program_commit"]) for run in runs if run.stored["program_commit"]})),
        shared={name: getattr(some, name) for name in SETTING_FIELDS if name not in axes},
        axes=axes,
        rows=tuple(
            replace(row, interleaved=latest(interleaved, row.configuration, {run.campaign_id for run in row.runs}))
            for row in rows
        ),
        joined=joined,
        together=together,
    )


def _joined(join: Sequence[str], runs: Sequence[MeasuredRun], keys: Collection[SectionKey]) -> tuple[str, ...]:
    """Those names of a join in which the runs of a section differ."""
    axes = {
        *varying(run.configuration for run in runs),
        *({CODE} if len({key.code_digest for key in keys}) > 1 else ()),
    }
    return tuple(name for name in join if name in axes)


def _claims_on(runs: Sequence[MeasuredRun], claims: Mapping[str, Sequence[DeclaredClaim]]) -> tuple[DeclaredClaim, ...]:
    campaigns = dict.fromkeys(run.record.campaign_id for run in runs)
    return tuple(dict.fromkeys(claim for campaign in campaigns for claim in claims.get(campaign, ())))
