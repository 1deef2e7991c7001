"""What the manifests of a store promised, and which of these runs the store lacks. Pure.

A campaign that was interrupted has fewer runs than it was meant to have, and which ones are left is no accident: those
that take long, or that crash the machine, are missing first. So no finding rests on such a store without a word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from bench.analysis.matching import RunGroup
from bench.core.case import Case
from bench.store.campaign import Manifest


@dataclass(frozen=True, kw_only=True)
class RunCounts:
    """How many runs of one side stand behind a finding."""

    promised: int | None = None
    """Runs that the manifests of its campaigns promised; None where there is no manifest."""
    ended: int = 0
    """Runs that the store has, however they ended."""
    entered: int = 0
    """Runs whose figure is in the finding's values: those that ended ok, have the figure, and a partner if paired."""


@dataclass(frozen=True)
class FindingRuns:
    """The runs behind a finding, on both sides."""

    base: RunCounts
    new: RunCounts


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What the manifest of one campaign promised of one configuration."""

    campaign_id: str
    command: str
    """The command that goes on with the campaign; empty where the manifest has none."""
    runs: int
    """Runs that were promised, without those that a later campaign made instead."""
    lacking: int
    """Those of them that the store lacks."""


@dataclass(frozen=True)
class Promises:
    """What the manifests of one store promised, by configuration (with no `latency_calls`) and campaign."""

    by_configuration: Mapping[Case, Mapping[str, Promise]] = field(default_factory=dict)

    def lacking(self, configuration: Case) -> tuple[Promise, ...]:
        """The promises of a configuration that were not kept, in the order of the manifests."""
        return tuple(promise for promise in self.by_configuration.get(configuration, {}).values() if promise.lacking)

    def counts(self, configuration: Case, groups: Sequence[RunGroup], entered: int = 0) -> RunCounts:
        """How many runs were promised, ended, and entered a finding.

        What a campaign promised counts where it has a run in the groups; where there are no groups, every campaign's.

        Args:
            configuration: what the finding is on.
            groups: the runs of the configuration that the finding could have been made from.
            entered: how many runs are behind its values.
        """
        promised = self.by_configuration.get(configuration, {})
        campaigns = {run.campaign_id for group in groups for run in (*group.runs, *group.failed)} or promised.keys()
        known = campaigns <= promised.keys() and bool(promised)
        return RunCounts(
            promised=sum(promised[campaign].runs for campaign in campaigns) if known else None,
            ended=sum(len(group.ids) for group in groups),
            entered=entered,
        )


def read_promises(runs: pd.DataFrame, manifests: Sequence[Manifest]) -> Promises:
    """What the manifests of a store promised, held against its runs.

    A run that a campaign lacks is not missed where a campaign that began later has made it: a campaign that was given
    up, and begun anew after an edit, promises nothing more.

    Args:
        runs: observations with `campaign_id`, `case_id` and `campaign_started_at`, at least a row of each run.
        manifests: those of the store; of none nothing is known.
    """
    if not manifests:
        return Promises()
    there: dict[str, set[str]] = defaultdict(set)
    latest: dict[str, pd.Timestamp] = {}
    columns = runs[["campaign_id", "case_id", "campaign_started_at"]].drop_duplicates()
    for campaign, case, began in columns.itertuples(index=False):
        there[campaign].add(case)
        latest[case] = max(began, latest.get(case, began))
    promised: dict[Case, dict[str, Promise]] = defaultdict(dict)
    for manifest in manifests:
        campaign_id, began = manifest.campaign.id, manifest.campaign.started_at
        start = pd.to_datetime(began, utc=True, errors="coerce")
        ids: dict[Case, list[str]] = defaultdict(list)
        for case_id, case in manifest.cases.items():
            if case_id in there[campaign_id] or not (case_id in latest and latest[case_id] > start):
                ids[replace(case.configuration, latency_calls=0)].append(case_id)
        for configuration, planned in ids.items():
            promised[configuration][campaign_id] = Promise(
                campaign_id=campaign_id,
                command=str(manifest.plan.get("command") or ""),
                runs=len(planned),
                lacking=len(set(planned) - there[campaign_id]),
            )
    return Promises(promised)
