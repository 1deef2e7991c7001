"""A store, or several, read as one table: `load` for figures, `attempts` for what is left to run."""

from __future__ import annotations

import errno
import logging
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from bench.core import code
from bench.core.case import Status
from bench.core.code import ImportedModule
from bench.core.errors import NoVerdictError, UsageError, system_refusal
from bench.store import soundness
from bench.store.objects import ObjectPath
from bench.store.parts import read_part
from bench.store.schema import BY_NAME, KEYS, TEXT, TIME, codes_of

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

_OUT_OF_MEANS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors of the process that reads, not of what it reads: nothing is left out for them."""
_READERS = 2
"""Threads that open parts. On 2 cores, 1,000 parts took 1.8 s with one thread, 1.0 s with two, and more with four."""
_FAR_READERS = 16
"""Threads that ask an object store for parts, and mostly wait."""


def load(
    paths: Sequence[Path],
    *,
    columns: Collection[str] | None = None,
    phases: Collection[str] | None = None,
    all_attempts: bool = False,
    warn: Callable[[str], None] = _log.warning,
) -> pd.DataFrame:
    """The observations of stores, folders of parquet files, and parquet files, as one frame.

    A row is an observation: `n_observations × n_columns`, the columns those of `bench.store.schema.COLUMNS` in their
    order, with their units. The rows of a run stand together, in the order in which it measured them. A run that is
    there twice counts once; of a case's attempts in a campaign only the last is taken. Text is categorical, its
    categories sorted and all in use. A number that may be missing is a float64, NaN where it is, whole numbers too: a
    column's type never depends on its content.

    Args:
        paths: what to read.
        columns: read these only, and those that identify a run (`bench.store.schema.KEYS`); a column that is left out
            costs nothing.
        phases: read the rows of these only, and of each run that has none of them its first row, so that every run is
            there; with () a run is one row, which is all that facts of runs need.
        all_attempts: keep the earlier attempts too.
        warn: is given a sentence about each part that cannot be read; the others are used.

    Raises:
        UsageError: a path is not there, cannot be read, or was written by a newer bench.
        NoVerdictError: there is nothing measured in any of them.
    """
    wanted = tuple(name for name in BY_NAME if columns is None or name in columns or name in KEYS)
    tables: dict[Path, pa.Table] = {}
    for path in paths:
        folder = parts_folder(path)
        if folder is not None:
            tables |= read_folder(folder, wanted, warn, phases)
            continue
        outcome = read_part(path, wanted, phases)
        if not isinstance(outcome, pa.Table):
            raise UsageError(
                f"cannot read {path} as bench results ({outcome}): name a results folder or a part of one."
            )
        tables[path] = outcome
    if not any(table.num_rows for table in tables.values()):
        named = ", ".join(str(path) for path in paths)
        raise NoVerdictError(
            f"nothing measured yet, or nothing readable, in {named}: measure first, as with `bench run quick`."
        )
    rows = Rows.of(tables, warn)
    if not len(rows.first):
        raise NoVerdictError(f"nothing sound in {', '.join(map(str, paths))}: each part there is left out.")
    runs_kept = np.ones(len(rows.first), bool) if all_attempts else rows.last_attempts()
    return _frame(rows.of_runs(runs_kept))


def attempts(store: Path, *, warn: Callable[[str], None] = _log.warning) -> dict[str, dict[str, tuple[int, Status]]]:
    """The last attempt at each case and its status, by campaign id and case id; empty where there is no store yet.

    The store is read once for all its campaigns, and in all its columns: an attempt that would be left out of every
    table is none, and its case is to be measured again. 1,000 parts take about a second.

    Args:
        store: the results folder.
        warn: is given a sentence about each part that cannot be read, or holds a run that isn't sound; the others are
            used.

    Raises:
        UsageError: a part was written by a newer bench.
    """
    by_campaign: dict[str, dict[str, tuple[int, Status]]] = {}
    tables = read_folder(store / "runs", tuple(BY_NAME), warn)
    if not tables:
        return by_campaign
    rows = Rows.of(tables, warn)
    for row in rows.table.take(pa.array(rows.first[rows.last_attempts()])).to_pylist():
        by_campaign.setdefault(row["campaign_id"], {})[row["case_id"]] = (row["attempt"], Status(row["status"]))
    return by_campaign


@dataclass(frozen=True)
class LastAttempt:
    """The last attempt at a case in a campaign."""

    number: int
    """From 1."""
    status: Status
    machine_fingerprint: str
    """The machine that it was made on."""


def last_attempts(store: Path, campaign_id: str) -> dict[str, LastAttempt]:
    """The last attempt of a campaign at each case, by case id; unreadable parts, which `attempts` names, are left out.

    Args:
        store: the results folder.
        campaign_id: the campaign that is asked about.

    Raises:
        UsageError: a part was written by a newer bench.
    """

    def silent(text: str) -> None:
        return None

    tables = read_folder(store / "runs", (*KEYS, "status", "machine_fingerprint"), silent, ())
    if not tables:
        return {}
    rows = Rows.of(tables, silent)
    return {
        row["case_id"]: LastAttempt(row["attempt"], Status(row["status"]), row["machine_fingerprint"])
        for row in rows.table.take(pa.array(rows.first[rows.last_attempts()])).to_pylist()
        if row["campaign_id"] == campaign_id
    }


def imported_code(store: Path, campaign_id: str) -> frozenset[ImportedModule]:
    """The modules of the user's code that the runs of a campaign imported; empty where none recorded any.

    Args:
        store: the results folder.
        campaign_id: the campaign that is asked about.

    Raises:
        UsageError: a part was written by a newer bench.
    """
    modules: set[ImportedModule] = set()

    def silent(text: str) -> None:
        return None  # who resumes a campaign was warned by `attempts`

    tables = read_folder(store / "runs", (*KEYS, "code_json"), silent, ())
    if tables:
        rows = Rows.of(tables, silent)
        for row in rows.table.take(pa.array(rows.first)).to_pylist():
            if row["campaign_id"] == campaign_id:
                modules |= set(code.from_json(row["code_json"]))
    return frozenset(modules)


def finished(
    store: Path, campaign_id: str, *, warn: Callable[[str], None] = _log.warning
) -> dict[str, tuple[int, Status]]:
    """The last attempt of a campaign at each case and its status, by case id.

    Args:
        store: the results folder.
        campaign_id: the campaign that is asked about.
        warn: is given a sentence about each part that cannot be read; the others are used.

    Raises:
        UsageError: a part was written by a newer bench.
    """
    return attempts(store, warn=warn).get(campaign_id, {})


def parts_folder(path: Path) -> Path | None:
    """The folder that holds the parts of a path that the user named, or None for a file.

    Raises:
        UsageError: the path is not there, or cannot be looked at.
    """
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return None
        runs = path / "runs"
        return runs if runs.is_dir() else path
    except OSError as error:
        raise UsageError(f"no results at {path} ({error.strerror}): name a results folder or a part of one.") from error


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".parquet" and path.name[0] not in "._")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"cannot read {folder} ({error.strerror}): check its permissions.") from error


def read_folder(
    folder: Path, columns: Sequence[str], warn: Callable[[str], None], phases: Collection[str] | None = None
) -> dict[Path, pa.Table]:
    """The readable parts of a folder by path, in the order of their names.

    A part may be gone between listing and reading, since another process is compacting; what it held has then a new
    home, so the folder is listed again until a pass misses nothing.

    Args:
        folder: that of the parts.
        columns: the names of the columns to read.
        warn: is given a sentence about each part that cannot be read; the others are used.
        phases: as `load` has it; None for all rows.

    Raises:
        UsageError: the folder cannot be read, the system has no more files or memory, or a part was written by a newer
            bench.
    """
    tables: dict[Path, pa.Table] = {}
    seen: set[Path] = set()
    pending = _list(folder)
    with ThreadPoolExecutor(_FAR_READERS if isinstance(folder, ObjectPath) else _READERS) as readers:
        while pending:
            vanished = False
            outcomes = readers.map(lambda path: read_part(path, columns, phases), pending)
            for path, outcome in zip(pending, outcomes, strict=True):
                if isinstance(outcome, pa.Table):
                    tables[path] = outcome
                elif isinstance(outcome, FileNotFoundError) and not path.is_symlink():
                    vanished = True
                elif isinstance(outcome, OSError) and outcome.errno in _OUT_OF_MEANS:
                    raise system_refusal(outcome, f"cannot read {path}") or outcome
                else:
                    warn(f"{path} cannot be read ({outcome}) and is left out.")
            seen.update(pending)
            pending = [path for path in _list(folder) if path not in seen] if vanished else []
    return {path: tables[path] for path in sorted(tables)}


@dataclass(frozen=True)
class Rows:
    """Rows of many parts, each run once."""

    table: pa.Table
    run: np.ndarray[Any, np.dtype[np.intp]]
    """The number of its run for each row, from 0."""
    first: np.ndarray[Any, np.dtype[np.intp]]
    """The first row of each run."""

    unsound: frozenset[Path]
    """The parts that hold runs, or rows of none, that were left out."""

    @classmethod
    def of(cls, tables: Mapping[Path, pa.Table], warn: Callable[[str], None]) -> Rows:
        """The rows of the sound runs of parts; a run that several of them hold soundly is taken from the first.

        Args:
            tables: the parts by path, at least one, with the columns `KEYS`.
            warn: is given a sentence about each part with a run that is left out, and why.
        """
        table = _joined(list(tables.values()))
        part = np.repeat(np.arange(len(tables)), [each.num_rows for each in tables.values()])
        ids, names = codes_of(table["run_id"])
        # a copy of a run in another part is judged by itself; a row without an id is a run's of its own
        copies = part * (len(names) + 1) + ids
        _, first, copy = np.unique(copies, return_index=True, return_inverse=True)
        bad: dict[int, str] = {}
        for rows, why in soundness.faults(table, copy, first):
            for number in np.unique(copy[rows]).tolist():
                bad.setdefault(number, why)
        unsound = _left_out(bad, ids[first], names, part[first], list(tables), warn)
        sound = np.ones(len(first), bool)
        sound[list(bad)] = False
        # a part that has lost the id of a row has lost track of which rows are whose
        sound &= ~np.isin(part[first], part[first][ids[first] < 0])
        # the first sound copy of each run
        home = np.full(len(names), len(tables))
        np.minimum.at(home, ids[first[sound]], part[first[sound]])
        keep = sound[copy] & (part == home[ids])
        if not keep.all():
            table, ids = table.filter(pa.array(keep)), ids[keep]
        used = np.bincount(ids, minlength=len(names)) > 0
        run = (np.cumsum(used) - 1)[ids]
        return cls(table, run, _first(run), unsound)

    def last_attempts(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For each run, whether it is the last attempt at its case in its campaign."""
        table = self.table.select(["campaign_id", "case_id", "attempt"]).take(pa.array(self.first))
        runs = table.to_pandas()
        latest = runs.groupby(["campaign_id", "case_id"], observed=True)["attempt"].transform("max")
        kept: np.ndarray[Any, np.dtype[np.bool_]] = (runs["attempt"] == latest).to_numpy()
        return kept

    def of_runs(self, runs: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Table:
        """The rows of some runs, given a truth value for each run."""
        return self.table if runs.all() else self.table.filter(pa.array(runs[self.run]))


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all, each column of text in one chunk, so that each of its texts is looked at once."""
    table = pa.concat_tables(tables).unify_dictionaries()
    columns = [
        column.combine_chunks() if column.type == TEXT and column.num_chunks > 1 else column for column in table.columns
    ]
    return pa.table(columns, table.schema)


def _left_out(
    bad: Mapping[int, str],
    ids: np.ndarray[Any, np.dtype[np.int64]],
    names: Sequence[str],
    part: np.ndarray[Any, np.dtype[np.intp]],
    paths: Sequence[Path],
    warn: Callable[[str], None],
) -> frozenset[Path]:
    """Names the parts that hold what is left out, and gives them.

    Args:
        bad: what is wrong, by number of the copy of a run.
        ids: for each copy, the place of its id in `names`; -1 where it has none.
        names: the ids of runs.
        part: for each copy, the place of its part in `paths`.
        paths: of the parts.
        warn: is given a sentence about each part.
    """
    by_part: dict[int, list[int]] = defaultdict(list)
    for number in sorted(bad):
        by_part[int(part[number])].append(number)
    for place, numbers in by_part.items():
        nameless = [number for number in numbers if ids[number] < 0]
        held = int((part == place).sum())
        if nameless:
            warn(f"{paths[place]} is left out: {bad[nameless[0]]}.")
        elif held == 1:
            warn(f"{paths[place]} is left out: {bad[numbers[0]]}.")
        else:
            what = ", ".join(names[ids[number]][:16] for number in numbers[:3])
            more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
            warn(f"of the {held} runs in {paths[place]}, {what}{more} left out: {bad[numbers[0]]}.")
    return frozenset(paths[place] for place in by_part)


def _first(numbers: np.ndarray[Any, np.dtype[np.intp]]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Where each of the numbers 0, 1, ... first occurs."""
    first = np.empty(numbers.max() + 1 if len(numbers) else 0, np.intp)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    return first


def _frame(table: pa.Table) -> pd.DataFrame:
    """The table as a frame whose types depend on the columns alone, never on their content (see `load`)."""
    import pandas as pd

    data: dict[str, Any] = {}
    for name in table.column_names:
        column, values = BY_NAME[name], table[name]
        if column.type == TEXT:
            codes, texts = codes_of(values)
            used = np.flatnonzero(np.bincount(codes + 1, minlength=len(texts) + 1)[1:])
            order = sorted(used, key=texts.__getitem__)
            categories = pd.Index([texts[code] for code in order], dtype="str")
            rank = np.full(len(texts) + 1, -1)  # the last place is for code -1
            rank[order] = np.arange(len(order))
            data[column.name] = pd.Categorical.from_codes(rank[codes], categories)
        elif column.type == TIME:
            data[column.name] = values.to_pandas()
        elif column.nullable:
            data[column.name] = values.to_pandas().astype("float64")
        else:
            data[column.name] = values.to_numpy()
    return pd.DataFrame(data, copy=False)
