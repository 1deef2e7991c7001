"""Which ceilings of a campaign are still to be measured on its nodes: once on each kind of machine."""

from __future__ import annotations

from collections.abc import Callable

from bench.cluster.node import NodeCeilings
from bench.core.case import Case
from bench.plan.plan import Plan
from bench.run.ceiling_runs import ceilings_words, missing_shapes
from bench.run.runner import CampaignSettings
from bench.store import ceilings


class CeilingsDue:
    """The ceilings that a campaign wants and its store lacks, by the fingerprint of the machine.

    Args:
        plan: whose configurations they are for.
        settings: those of its campaign.
        report: called with a sentence for each that has been measured.
    """

    def __init__(self, plan: Plan, settings: CampaignSettings, report: Callable[[str], None]) -> None:
        self._settings, self._report = settings, report
        self._cases = dict.fromkeys(each.case.configuration for each in plan.scheduled) if settings.ceilings else {}
        self._known = ceilings.load([settings.folder], warn=report) if settings.ceilings else {}
        self._taken: set[str] = set()

    def take(self, machine: str) -> tuple[Case, ...]:
        """A configuration of each shape that is to be measured on a machine now; nothing where another node does so.

        Args:
            machine: its fingerprint.
        """
        if not self._cases or machine in self._taken:
            return ()
        self._taken.add(machine)
        return tuple(missing_shapes(self._cases, self._known, machine, self._settings.conditions.software).values())

    def give_back(self, machine: str) -> None:
        """The node that was to measure the ceilings of such a machine is lost."""
        self._taken.discard(machine)

    def measured(self, node: str, result: NodeCeilings) -> None:
        """Keep what a node has measured.

        Args:
            node: its name.
            result: what it sent.

        Raises:
            UsageError: the store cannot be written to.
        """
        for each in result.ceilings:
            ceilings.save(self._settings.folder, each)
            self._report(f"{node}: {ceilings_words(each)}")
