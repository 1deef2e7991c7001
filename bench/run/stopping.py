"""When a campaign has blocks enough, where that depends on what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class StoppingRule(Protocol):
    """Decides before each block of a campaign whether it is needed."""

    @property
    def fewest_blocks(self) -> int:
        """The number of blocks that are needed in any case: the campaign's manifest promises these."""

    def to_data(self) -> Mapping[str, Any]:
        """JSON-able, for the campaign's manifest."""

    def blocks_needed(self, campaign_id: str) -> int:
        """How many blocks the campaign needs in all, as far as what is stored of it shows.

        Args:
            campaign_id: the campaign's.
        """
