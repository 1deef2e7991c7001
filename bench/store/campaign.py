"""A campaign: what one plan measured, and the manifest of what it meant to measure."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from bench.core.case import Case, digest
from bench.store.files import locked, publish
from bench.store.shapes import check_record, parsed

MANIFEST_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What one plan measured: the facts that must agree for an unfinished one to be resumed, and when it began."""

    suite: str
    plan_hash: str
    order_seed: int
    machine_fingerprint: str
    software_fingerprint: str
    program_version: str
    program_commit: str | None
    """Commit of the program's own checkout, `+dirty` after it where tracked files were changed; None without one."""
    project_commit: str | None
    """Commit of the checkout that the command was given in."""
    cells_digest: str
    """Digest of the source of the user's own cells; empty for none."""
    started_at: str
    """Start: UTC, ISO 8601, microseconds."""

    @property
    def id(self) -> str:
        """Digest of all facts, the start included."""
        return digest(self.to_json())

    @property
    def identity(self) -> str:
        """The digest of all but the start: what an unfinished campaign must share to be resumed."""
        facts = asdict(self)
        del facts["started_at"]
        return digest(json.dumps(facts, sort_keys=True))

    def to_json(self) -> str:
        """JSON of all facts, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The campaign that `to_json` wrote."""
        return cls(**json.loads(text))


def opening_lease(campaign: Campaign) -> str:
    """The lease (`bench.store.lease`) that is held while a campaign is looked for that equals this one, or begun."""
    return f"campaigns/{campaign.identity}-opening"


def owner_lease(campaign_id: str) -> str:
    """The lease that the owner of a campaign holds while it is measured."""
    return f"campaigns/{campaign_id}-owner"


def block_lease(campaign_id: str, block: int) -> str:
    """The lease that is held by whoever measures a block of a campaign, its owner too."""
    return f"runs/{campaign_id}-block-{block}"


def leased_blocks(names: Iterable[str], campaign_id: str) -> list[int]:
    """The blocks of a campaign for which there are leases, given the names of all leases of its store."""
    prefix = block_lease(campaign_id, 0)[:-1]
    numbers = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return sorted(int(number) for number in numbers if number.isdecimal())


@dataclass(frozen=True)
class Manifest:
    """A campaign and the whole plan that it began with."""

    campaign: Campaign
    plan: dict[str, Any]

    @property
    def case_ids(self) -> frozenset[str]:
        """Ids of the cases that were planned."""
        return frozenset(self.cases)

    @functools.cached_property
    def cases(self) -> Mapping[str, Case]:
        """The cases that were planned, by id, in their order; an axis that came later has its default."""
        defaults = {f.name: f.default for f in fields(Case) if f.default is not MISSING}
        return {planned["id"]: Case.from_record({**defaults, **planned["case"]}) for planned in self.plan["cases"]}


def open_campaign(
    store: Path,
    wanted: Campaign,
    plan: dict[str, Any],
    finished: Callable[[str], Collection[str]],
    *,
    new: bool,
    join: bool = False,
    resumable: Callable[[Campaign], bool] = lambda campaign: True,
    warn: Callable[[str], None] = _log.warning,
) -> tuple[Campaign, bool]:
    """The campaign to go on with, and whether it is resumed.

    The newest campaign of the store that equals `wanted` in all but its start and still has unfinished cases is
    resumed; where there is none, or `new` asks for it, `wanted` begins and its manifest is written. A lock is held
    meanwhile, so that two harnesses which start at once work on one campaign.

    Args:
        store: the results folder; made where it is missing.
        wanted: the campaign that would begin now.
        plan: what the manifest keeps, as JSON: `cases` (each with its `id` and its `case`) in their order, and whatever
            else a later reader wants to know: what was left out, and how the campaign was started.
        finished: the case ids that need no further run in the campaign of this id.
        new: never resume.
        join: resume a finished campaign too: there was something to join, and it was done sooner.
        resumable: whether an unfinished campaign that is equal may be resumed; asked of the newest first.
        warn: is given a sentence about each manifest that cannot be read.

    Raises:
        UsageError: the store cannot be written to.
    """
    with locked(store):
        if not new:
            for manifest in read_manifests(store, warn=warn):
                campaign = manifest.campaign
                unfinished = join or bool(manifest.case_ids - set(finished(campaign.id)))
                if campaign.identity == wanted.identity and unfinished and resumable(campaign):
                    return campaign, True
        content = {"manifest_version": MANIFEST_VERSION, "campaign": asdict(wanted), "plan": plan}
        text = json.dumps(content, indent=1).encode()
        publish(store / "campaigns" / f"{wanted.id}.json", lambda file: file.write(text))
    return wanted, False


def read_manifests(store: Path, *, warn: Callable[[str], None] = _log.warning) -> list[Manifest]:
    """The manifests of a store, newest campaign first.

    Args:
        store: the results folder.
        warn: is given a sentence about each manifest that cannot be read, which is left out.
    """
    manifests = []
    for path in sorted((store / "campaigns").glob("[!.]*.json")):
        try:
            content = parsed(path.read_bytes())
            if content["manifest_version"] > MANIFEST_VERSION:
                warn(f"{path} was written by a newer bench and is left out: upgrade bench to resume that campaign.")
                continue
            check_record(Campaign, content["campaign"])
            manifest = Manifest(Campaign(**content["campaign"]), content["plan"])
            _check_left_out(manifest.plan)
            if manifest.campaign.id != path.stem or not all(isinstance(case, str) for case in manifest.case_ids):
                raise ValueError("its content does not agree with its name")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            warn(f"{path} is not a readable manifest ({error}) and is left out: its campaign cannot be resumed.")
            continue
        manifests.append(manifest)
    return sorted(manifests, key=lambda manifest: manifest.campaign.started_at, reverse=True)


def _check_left_out(plan: dict[str, Any]) -> None:
    for out in plan.get("left_out") or ():
        if not isinstance(out["case"], dict | str):
            raise ValueError("what it left out is no list of cases")
