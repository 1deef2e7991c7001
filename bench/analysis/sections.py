"""The identity of a section: which runs may stand in one table, because their times may be compared. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.analysis.same_programs import executed_by_run, versions_as_executed
from bench.catalog.tasks import family_of
from bench.core import code
from bench.core.case import digest


class SectionKey(NamedTuple):
    """What all runs of a section agree in. A fact that was not recorded is None."""

    task: str
    data_digest: str | None
    """Digest of the data's content; where a recipe makes them, of the recipe (`bench.catalog.tasks.Task.family`)."""
    machine_fingerprint: str | None
    software_fingerprint: str | None
    code_digest: str
    """Digest of the users' code; empty where there is none. Two versions of a cell are two cells."""
    same_programs: tuple[str, ...] = ()
    """Other digests of the users' code, whose runs are here too because they executed the same programs."""

    @property
    def order(self) -> tuple[str, ...]:
        """What sections are sorted by."""
        facts = (self.task, self.data_digest, self.machine_fingerprint, self.software_fingerprint, self.code_digest)
        return tuple(part or "" for part in facts)

    @property
    def whatever_code(self) -> SectionKey:
        """The same for all versions of the users' code."""
        return self._replace(code_digest="", same_programs=())


def section_keys(runs: pd.DataFrame, frame: pd.DataFrame) -> list[SectionKey]:
    """The section of each run, aligned with `runs`.

    A run that failed before it read the data belongs with the others of its task, machine and software. Data that one
    recipe makes in several sizes are of one section, in which the size is an axis. Two versions of the users' code that
    executed the same programs are one (`bench.analysis.same_programs`).

    Args:
        runs: a row for each run of a frame of observations, all of them: the others show what such a run would read.
        frame: the observations.
    """
    names = ("task", "data_digest", "task_json", "machine_fingerprint", "software_fingerprint")
    facts = [_texts(runs, name) for name in names]
    families = {text: family_of(text) for text in set(facts[names.index("task_json")])}
    keys = [
        SectionKey(task or "", data and (families[described] or data), machine, software, code)
        for task, data, described, machine, software, code in zip(*facts, code_digests(runs), strict=True)
    ]
    # sorted, since the order in which a store gives its runs depends on whether they are folded
    known = sorted({key for key in keys if key.data_digest is not None}, key=lambda key: key.order, reverse=True)
    data = {(key.task, key.machine_fingerprint, key.software_fingerprint): key.data_digest for key in known}
    keys = [
        key
        if key.data_digest is not None
        else key._replace(data_digest=data.get((key.task, key.machine_fingerprint, key.software_fingerprint)))
        for key in keys
    ]
    return _joined(keys, runs, frame)


def _joined(keys: list[SectionKey], runs: pd.DataFrame, frame: pd.DataFrame) -> list[SectionKey]:
    """The keys with those made equal whose versions of the users' code executed the same programs."""
    versions: dict[SectionKey, list[str]] = defaultdict(list)
    started = runs["started_at"].to_numpy()
    # by time and digest, since the order in which a store gives its runs depends on whether they are folded
    for place in sorted(range(len(keys)), key=lambda place: (started[place], keys[place].code_digest)):
        known = versions[keys[place].whatever_code]
        if keys[place].code_digest and keys[place].code_digest not in known:
            known.append(keys[place].code_digest)
    several = {environment for environment, digests in versions.items() if len(digests) > 1}
    if not several:
        return keys
    executed = executed_by_run(runs, frame)
    joined: dict[SectionKey, SectionKey] = {}
    for environment in several:
        of_version = {
            version: [
                run
                for key, run in zip(keys, executed, strict=True)
                if run is not None and key.code_digest == version and key.whatever_code == environment
            ]
            for version in versions[environment]
        }
        for first, *later in versions_as_executed(of_version):
            for version in (first, *later):
                joined[environment._replace(code_digest=version)] = environment._replace(
                    code_digest=first, same_programs=tuple(later)
                )
    return [joined.get(key, key) for key in keys]


def code_digests(runs: pd.DataFrame) -> list[str]:
    """Identity of the users' code of each run, aligned with the rows; empty where there is none.

    A campaign is one program: its identity is that of all modules that its runs imported, by name and content, wherever
    the files lie. So a run of a built-in cell, which imports none of them, stands with the users' cells beside it. A
    run that imported another content of a module than the campaign's first run did, because a file was edited in
    between, has an identity of its own. A run that recorded no code (schema 2 and older, or it failed before) has its
    campaign's, and where the campaign has none, the digest of the cells' source files.

    Args:
        runs: a row for each run, with `run_id`, `campaign_id`, `started_at`, `code_json` and `cells_digest`.
    """
    texts, campaigns = _texts(runs, "code_json"), _texts(runs, "campaign_id")
    parsed = {text: _contents(text) for text in set(texts)}
    shared: dict[str | None, dict[str, str]] = defaultdict(dict)
    for place in np.lexsort((runs["run_id"].astype(str).to_numpy(), runs["started_at"].to_numpy())):
        shared[campaigns[place]] = {**parsed[texts[place]], **shared[campaigns[place]]}
    digests = []
    for text, campaign, cells in zip(texts, campaigns, _texts(runs, "cells_digest"), strict=True):
        modules = {**shared[campaign], **parsed[text]}
        digests.append(digest(json.dumps(modules, sort_keys=True)) if modules else cells or "")
    return digests


def _contents(text: str | None) -> dict[str, str]:
    """The content of each module that a run imported, by name."""
    return {module.name: f"{module.distribution} {module.sha256}" for module in code.from_json(text)}


def _texts(runs: pd.DataFrame, column: str) -> list[str | None]:
    return [None if pd.isna(text) else str(text) for text in runs[column].astype(object)]
