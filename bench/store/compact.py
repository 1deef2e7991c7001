"""Many parts folded into one, which is verified before the small ones go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.core.case import digest
from bench.core.errors import UsageError
from bench.store.files import locked, publish, refused, remove_stale, sync_folder
from bench.store.parts import read_part
from bench.store.reader import Rows, parts_folder, read_folder
from bench.store.schema import BY_NAME, COLUMNS, TEXT, TIME, codes_of, version_metadata

_log = logging.getLogger(__name__)

_ROW_GROUP = 131_072
_DICTIONARY_BYTES = 64 << 20
"""Above its limit (1 MiB by default) a column falls back to plain text, repeated in each row: the JSON of some hundred
runs is more than that."""


def compact(store: Path, *, warn: Callable[[str], None] = _log.warning) -> tuple[int, int]:
    """Folds all parts of a store into one; returns how many parts were folded, and how many rows the new one has.

    The new part is read back and compared before it gets its name, and only then are the parts that it was made from
    deleted. A kill at any moment leaves runs that are there twice at worst, which readers count once; parts that
    another harness writes meanwhile are not touched, nor are those that cannot be read.

    Args:
        store: the results folder.
        warn: is given a sentence about each part that cannot be read, or holds a run that isn't sound; it is left where
            it is.

    Raises:
        UsageError: there is no such store, it cannot be written to, or a part was written by a newer bench.
    """
    folder = store / "runs"
    if parts_folder(store) != folder:
        raise UsageError(f"{store} is not a results folder (it has no `runs`): name one that `bench run` wrote.")
    with locked(store):
        remove_stale(store)
        tables = read_folder(folder, tuple(BY_NAME), warn)
        # a part with a run that readers leave out stays as it is: somebody may want to mend it
        tables = _sound(tables, warn)
        if all(path.name.startswith("compact-") for path in tables) and len(tables) < 2:
            return 0, 0
        table, runs, run_ids = _folded(Rows.of(tables, warn))
        path = folder / f"compact-{digest(' '.join(sorted(run_ids)))}.parquet"

        def write(file: IO[bytes]) -> None:
            with pq.ParquetWriter(
                file,
                table.schema,
                compression="zstd",
                dictionary_pagesize_limit=_DICTIONARY_BYTES,
                write_page_checksum=True,
            ) as writer:
                for start, stop in _row_groups(table, runs):
                    writer.write_table(_with_used_texts(table.slice(start, stop - start)), row_group_size=_ROW_GROUP)

        def check(written: Path) -> None:
            again = read_part(written, tuple(BY_NAME))
            if not isinstance(again, pa.Table) or not _same(again, table):
                raise UsageError(
                    f"{written} does not hold what the parts beside it hold, so none was deleted: "
                    f"check the disk, move {path.name} away if it is there, and compact again."
                )

        if not publish(path, write, check):
            check(path)
        folded = [part for part in tables if part != path]
        with refused(folder):
            for part in folded:
                part.unlink(missing_ok=True)
            sync_folder(folder)
    return len(folded), table.num_rows


def _sound(tables: Mapping[Path, pa.Table], warn: Callable[[str], None]) -> dict[Path, pa.Table]:
    """The parts in which every run is sound; the others are named."""
    unsound = Rows.of(tables, warn).unsound if tables else ()
    return {path: table for path, table in tables.items() if path not in unsound}


def _row_groups(table: pa.Table, runs: np.ndarray[Any, np.dtype[np.intp]]) -> Iterator[tuple[int, int]]:
    """The first row and the end of each row group: as many whole runs as the dictionary of the longest texts can hold.

    Args:
        table: the rows to write, those of a run together.
        runs: the number of its run for each row.
    """
    longest = 1
    for column in COLUMNS:
        if column.type == TEXT:
            for chunk in table[column.name].chunks[:1]:  # they share one dictionary
                longest = max(longest, pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0)
    most = max(1, _DICTIONARY_BYTES // (2 * longest))
    starts = np.flatnonzero(np.diff(runs, prepend=-1))
    start = 0
    for number, stop in enumerate([*map(int, starts[1:]), *([len(runs)] if len(runs) else [])], 1):
        if number % most == 0 or stop - start >= _ROW_GROUP or stop == len(runs):
            yield start, stop
            start = stop


def _with_used_texts(table: pa.Table) -> pa.Table:
    """The same with dictionaries of the texts in use only: a row group is written with the whole of its dictionary."""
    arrays = []
    for name in table.column_names:
        column = table[name]
        if column.type == TEXT:
            whole = column.combine_chunks()
            codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            used, renumbered = np.unique(codes, return_inverse=True)
            missing = int(used.size > 0 and used[0] < 0)
            indices = pa.array(renumbered - missing, pa.int32(), mask=codes < 0)
            column = pa.DictionaryArray.from_arrays(indices, whole.dictionary.take(pa.array(used[missing:])))
        arrays.append(column)
    return pa.table(arrays, table.schema)


def _folded(rows: Rows) -> tuple[pa.Table, np.ndarray[Any, np.dtype[np.intp]], list[str]]:
    """The rows in the order that they were planned in, the place of each one's run in it, and the run ids."""
    by = ["campaign_started_at", "campaign_id", "position", "attempt", "run_id"]
    runs = rows.table.select(by).take(pa.array(rows.first)).to_pandas()
    runs = runs.astype({"campaign_id": "str", "run_id": "str"}).sort_values(by)
    rank = np.empty(len(runs), np.intp)
    rank[runs.index.to_numpy()] = np.arange(len(runs))
    order = np.argsort(rank[rows.run], kind="stable")
    table = rows.table.unify_dictionaries().take(pa.array(order)).combine_chunks()
    return (
        table.replace_schema_metadata(version_metadata()),
        rank[rows.run][order],
        list(runs["run_id"]),
    )


def _same(written: pa.Table, table: pa.Table) -> bool:
    """Whether two tables of `COLUMNS` hold the same, row by row; NaN equals NaN, and a null only a null."""
    if written.num_rows != table.num_rows:
        return False
    for column in COLUMNS:
        left, right = written[column.name], table[column.name]
        if column.type == TEXT:
            left_codes, left_texts = codes_of(left)
            right_codes, right_texts = codes_of(right)
            place = {text: code for code, text in enumerate(left_texts)}
            to_left = np.array([*(place.get(text, -2) for text in right_texts), -1])
            if not np.array_equal(left_codes, to_left[right_codes]):
                return False
        elif not left.is_null().equals(right.is_null()):
            return False
        else:
            plain = pa.int64() if column.type in (TIME, pa.bool_()) else column.type
            left_numbers, right_numbers = (side.cast(plain).fill_null(0).to_numpy() for side in (left, right))
            if not np.array_equal(left_numbers, right_numbers, equal_nan=True):
                return False
    return True
