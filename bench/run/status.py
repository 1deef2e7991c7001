"""How far the campaign of a plan is, and who is measuring it: what `bench plan` shows of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan.plan import Plan
from bench.run.session import campaign_of, software_of
from bench.store.campaign import Campaign, block_lease, leased_blocks, owner_lease, read_manifests
from bench.store.lease import Holder, Leases
from bench.store.reader import finished


@dataclass(frozen=True)
class CampaignStatus:
    """A campaign that was begun in a store, as it is now."""

    campaign: Campaign
    planned: int
    """Number of cases."""
    ended: int
    """Number of those that have a run."""
    owner: Holder | None
    blocks: Mapping[int, Holder]
    """Who measures a block, by its number from 0."""

    def to_data(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "campaign": self.campaign.id,
            "planned": self.planned,
            "ended": self.ended,
            "owner": self.owner and str(self.owner),
            "blocks": {block + 1: str(holder) for block, holder in self.blocks.items()},
        }


def unfinished_campaign(plan: Plan, machine_fingerprint: str, results: Path) -> CampaignStatus | None:
    """The newest campaign of a store that `bench run` of this plan would resume, or join; None where there is none.

    Args:
        plan: what would be run.
        machine_fingerprint: of this machine, as the workers see it; of the engine that would do the runs.
        results: the store, which may not be there.
    """

    def silent(text: str) -> None:
        return None  # what cannot be read is named when the campaign is resumed

    manifests = read_manifests(results, warn=silent)
    if not manifests or not plan.scheduled:
        return None
    identity = campaign_of(plan, machine_fingerprint, software_of(plan)).identity
    leases = Leases(results)
    for manifest in manifests:
        campaign = manifest.campaign
        if campaign.identity == identity:
            ended = len(manifest.case_ids & set(finished(results, campaign.id, warn=silent)))
            holders = {
                b: leases.holder(block_lease(campaign.id, b)) for b in leased_blocks(leases.names(), campaign.id)
            }
            if ended < len(manifest.case_ids):
                return CampaignStatus(
                    campaign=campaign,
                    planned=len(manifest.case_ids),
                    ended=ended,
                    owner=leases.holder(owner_lease(campaign.id)),
                    blocks={block: holder for block, holder in holders.items() if holder is not None},
                )
    return None
