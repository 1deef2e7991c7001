"""What a report is made from: the observations, the calls of inference apart, the predictions, and the summary."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from bench.analysis.records import CALLS, NEEDED, PHASES
from bench.analysis.sections import section_keys
from bench.analysis.summary import Section, summarise
from bench.core.claim import DeclaredClaim, read_claims
from bench.core.errors import NoVerdictError, UsageError
from bench.duel.interleaved_cells import load_interleaved
from bench.store import ceilings, load
from bench.store.campaign import Manifest, read_manifests
from bench.store.objects import store_path

_PHASES = frozenset({"build", "validate", "run"}) | PHASES
"""The phases of the rows that a report reads, calls of inference apart."""
STORES = "bench_stores"
"""The attribute of a frame that lists the stores which it was read from."""
_PROVENANCE = ("order_seed", "load_start", "steal_fraction")
"""The columns that a report shows beside those of the summary."""


@dataclass(frozen=True, eq=False)
class Measured:
    """All that a report shows comes from here."""

    frame: pd.DataFrame
    """The observations but for the calls of inference; of each run one row at least."""
    calls: pd.DataFrame
    """The calls of inference: run_id, entry, predict_batch, seconds."""
    predictions: Mapping[str, str]
    """The test set's predictions, packed, by run id."""
    sections: tuple[Section, ...]
    manifests: tuple[Manifest, ...] = ()
    """The manifests of the campaigns in the frame, newest first, where they are at hand."""
    warnings: tuple[str, ...] = ()
    """What could not be read and is left out, a sentence each."""

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Self:
        """What a frame of all columns holds, as `bench.store.load` gives it."""
        inference = frame["phase"] == "predict"
        texts = frame.dropna(subset=["test_predictions"]).drop_duplicates("run_id") if len(frame) else frame
        one_each = ~frame["run_id"].duplicated()
        return cls(
            frame[~inference | one_each],
            frame.loc[inference, ["run_id", *CALLS]],
            dict(zip(texts["run_id"].astype(str), texts["test_predictions"].astype(str), strict=True)),
            sections_of(frame),
        )

    def runs_of(self, section: Section) -> pd.DataFrame:
        """A row for each run of a section, those that failed too."""
        runs = self.frame.drop_duplicates("run_id")
        in_section = [key in section.keys for key in section_keys(runs, self.frame)]
        return runs[in_section].sort_values(["started_at", "run_id"])


def sections_of(frame: pd.DataFrame, join: Sequence[str] = ()) -> tuple[Section, ...]:
    """The sections of a frame, with what the stores that it was read from have beside their observations.

    Args:
        frame: observations, as `bench.load` gives them, or any part of their rows (n_observations × n_columns).
        join: what may differ within a section (`bench.analysis.joining.read_join`).
    """
    stores = [store_path(store) for store in frame.attrs.get(STORES, ())]
    return summarise(frame, ceilings=ceilings.load(stores), interleaved=load_interleaved(stores), join=join)


def read(
    paths: Sequence[Path],
    *,
    suite: str | None,
    join: Sequence[str] = (),
    claims: Sequence[DeclaredClaim] = (),
    warn: Callable[[str], None],
) -> Measured:
    """Read stores for a report.

    Args:
        paths: results folders or parquet files.
        suite: the only suite that is read; None for all.
        join: what may differ within a section (`bench.analysis.joining.read_join`).
        claims: what is to be judged beside what the suites declare.
        warn: is given a sentence for each part that can't be read.

    Raises:
        UsageError: a path is not there, cannot be read, or was written by a newer bench.
        NoVerdictError: there is nothing measured in any of them, or nothing of the suite.
    """
    warnings: list[str] = []

    def keep(text: str) -> None:
        warnings.append(text)
        warn(text)

    warn_once = _each_once(keep)
    frame, calls = _observations(paths, (*NEEDED, *_PROVENANCE), "suite", suite, warn_once)
    texts = load(paths, columns=("test_predictions",), phases=(), warn=warn_once).dropna(subset=["test_predictions"])
    manifests = _manifests(paths, frame, warn_once)
    return Measured(
        frame,
        calls,
        dict(zip(texts["run_id"].astype(str), texts["test_predictions"].astype(str), strict=True)),
        summarise(
            frame,
            calls,
            ceilings=ceilings.load(paths, warn=warn_once),
            interleaved=load_interleaved(paths, warn=warn_once),
            join=join,
            claims=_claims(frame, manifests, claims, warn_once),
        ),
        manifests,
        tuple(warnings),
    )


def read_sections(
    paths: Sequence[Path],
    *,
    suite: str | None = None,
    campaign: str | None = None,
    join: Sequence[str] = (),
    claims: Sequence[DeclaredClaim] = (),
    simultaneous: bool = False,
    warn: Callable[[str], None],
) -> tuple[Section, ...]:
    """The sections of stores alone: what a table needs.

    Args:
        paths: results folders or parquet files.
        suite: the only suite that is read; None for all.
        campaign: the id of the only campaign that is read; None for all.
        join: what may differ within a section (`bench.analysis.joining.read_join`).
        claims: what is to be judged beside what the suites declare.
        simultaneous: let the intervals of each section hold together.
        warn: is given a sentence for each part that can't be read.

    Raises:
        UsageError, NoVerdictError: as `read`.
    """
    warn = _each_once(warn)
    name, value = ("campaign_id", campaign) if campaign is not None else ("suite", suite)
    frame, calls = _observations(paths, NEEDED, name, value, warn)
    declared = _claims(frame, _manifests(paths, frame, warn), claims, warn)
    return summarise(
        frame,
        calls,
        ceilings=ceilings.load(paths, warn=warn),
        interleaved=load_interleaved(paths, warn=warn),
        join=join,
        claims=declared,
        simultaneous=simultaneous,
    )


def _observations(
    paths: Sequence[Path], columns: Collection[str], name: str, value: str | None, warn: Callable[[str], None]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The observations of the runs whose column `name` has that value, and their calls, which need few columns."""
    frame = load(paths, columns=columns, phases=_PHASES, warn=warn)
    calls = load(paths, columns=CALLS, phases=("predict",), warn=warn)
    # a run that is sound in one of the two readings alone is in neither
    frame = frame[frame["run_id"].isin(set(calls["run_id"]))]
    calls = calls[(calls["phase"] == "predict") & calls["run_id"].isin(set(frame["run_id"]))]
    if frame.empty:
        raise NoVerdictError(f"nothing sound in {', '.join(map(str, paths))}: each part there is left out.")
    if value is not None:
        there = ", ".join(sorted(map(str, frame[name].unique())))
        frame = frame[frame[name] == value]
        if frame.empty:
            raise NoVerdictError(f"nothing of the {name} {value!r} is in these results; measured: {there}.")
        calls = calls[calls["run_id"].isin(set(frame["run_id"]))]
    return frame, calls


def _each_once(warn: Callable[[str], object]) -> Callable[[str], None]:
    """A function that passes each text on once: a part that can't be read is met at each reading."""
    passed: set[str] = set()

    def warn_once(text: str) -> None:
        if text not in passed:
            passed.add(text)
            warn(text)

    return warn_once


def _manifests(paths: Sequence[Path], frame: pd.DataFrame, warn: Callable[[str], None]) -> tuple[Manifest, ...]:
    """The manifests of the campaigns in a frame, each once, the newest first."""
    campaigns = set(frame["campaign_id"].astype(str))
    manifests = [manifest for path in paths if path.is_dir() for manifest in read_manifests(path, warn=warn)]
    by_id = {manifest.campaign.id: manifest for manifest in manifests}
    return tuple(manifest for campaign, manifest in by_id.items() if campaign in campaigns)


def _claims(
    frame: pd.DataFrame,
    manifests: Sequence[Manifest],
    asked: Sequence[DeclaredClaim],
    warn: Callable[[str], None],
) -> dict[str, tuple[DeclaredClaim, ...]]:
    """What is claimed of each campaign, by its id: what its suite declared, then what the user asks about."""
    claims = {str(campaign): tuple(asked) for campaign in frame["campaign_id"].unique()}
    for manifest in manifests:
        campaign, texts = manifest.campaign.id, manifest.plan.get("claims", [])
        try:
            claims[campaign] = (*read_claims(texts, f"campaign {campaign}"), *asked)
        except (UsageError, TypeError) as error:
            warn(f"the claims of campaign {campaign} are not judged: {error}")
    return claims
