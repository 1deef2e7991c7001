"""The identity of a section: which runs may stand in one table, because their times may be compared. Pure."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class SectionKey(NamedTuple):
    """What all runs of a section agree in. A fact that was not recorded is None."""

    task: str
    data_digest: str | None
    machine_fingerprint: str | None
    software_fingerprint: str | None
    cells_digest: str
    """Digest of the source of the users' cells; empty where there are none. Two versions of a cell are two cells."""

    @property
    def order(self) -> tuple[str, ...]:
        """What sections are sorted by."""
        return tuple(part or "" for part in self)


def section_keys(runs: pd.DataFrame) -> list[SectionKey]:
    """The section of each run, aligned with the rows.

    A run that failed before it read the data belongs with the others of its task, machine and software.

    Args:
        runs: a row for each run of a frame of observations, all of them: the others show what such a run would read.
    """
    facts = {name: _texts(runs, name) for name in SectionKey._fields}
    keys = [
        SectionKey(task or "", data, machine, software, cells or "")
        for task, data, machine, software, cells in zip(*facts.values(), strict=True)
    ]
    data: dict[tuple[str, str | None, str | None], str] = {}
    for key in keys:
        if key.data_digest is not None:
            data.setdefault((key.task, key.machine_fingerprint, key.software_fingerprint), key.data_digest)
    return [
        key
        if key.data_digest is not None
        else key._replace(data_digest=data.get((key.task, key.machine_fingerprint, key.software_fingerprint)))
        for key in keys
    ]


def _texts(runs: pd.DataFrame, column: str) -> list[str | None]:
    return [None if pd.isna(text) else str(text) for text in runs[column].astype(object)]
