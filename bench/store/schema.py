"""The columns of the store, derived from the records that fill them, and the versions of the schema.

A row is one observation; what is true of its run stands beside it in each row. An axis (a field of `Case`), a fact of
a run (of `RunMetadata`) and a measurement (of `Observation`) are columns by being fields: the type, whether it may be
missing and the documentation are read from the field. What no record declares is declared here.

The version of the schema stands in each part twice: in the file's metadata (`bench_schema_version`), and as a column,
because tools that copy or join parquet files keep columns and drop metadata. The metadata wins where both are there.

History of the schema:

- version 1, 2026-11-23: the first.
- version 2, 2026-11-24: runtimes and inference (`runtime`, `latency_calls`, `output_difference`, `entry`,
  `predict_batch`, `call`), and the test set's predictions (`test_predictions`). Only new columns.
- version 3, 2026-11-27: the user's modules that a run imported (`code_json`), and the date and first parent of the
  commit (`committed_at`, `parent_commit`). Only new columns.
- version 4, 2026-11-27: data of any size and kind of target (`steps`, `features`, `classes`, `coarse`, `task_json`,
  `targets`, `mae`, `r2`), memory over the calls of inference (`series`, `rss_bytes`, `device_bytes`), the part of an
  epoch that making its iterators took (`iterator_seconds`), and options of
  recurrent layers (`layers`, `bidirectional`, `dropout`, `recurrent_dropout`, `mask`, `stateful`, `reset_after`,
  `bias`, `activation`, `recurrent_activation`). Only new columns.
- version 5, 2026-11-27: the state of a GPU, its memory and energy (`device_*`, `energy_joules`, `idle_energy_joules`,
  `idle_watts`, `energy_counter`); how far outputs of streaming inference are from those of whole sequences
  (`streaming_difference`), and the accuracy that an export costs (`accuracy_lost`); environment variables and
  determinism as axes (`env`, `deterministic`). Only new columns.
- version 6, 2026-11-27: TF32 as an axis (`tf32`). Only new columns.
- version 7, 2026-11-28: an untuned input pipeline as an axis (`steady`). Only a new column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.case import Case
from bench.core.observation import Observation, RunMetadata

SCHEMA_VERSION = 7

UPGRADES: dict[int, Callable[[pa.Table], pa.Table]] = {}
"""By version: the step from a table of it to one of the next version. Columns that are merely new need none: they are
filled with the case's default, or with nulls."""

_VERSION_KEY = b"bench_schema_version"
TEXT = pa.dictionary(pa.int32(), pa.string())
TIME = pa.timestamp("us", tz="UTC")

_TYPES = {str: TEXT, int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
"""The type of the column that a field of this type is kept in."""


@dataclass(frozen=True)
class ValueRange:
    """What the numbers of a column lie in; infinities lie in none."""

    at_least: float
    at_most: float = math.inf
    above: float = -math.inf
    nan: bool = False
    """Whether NaN may stand there too."""


@dataclass(frozen=True)
class StoredColumn:
    """A column of the store: its name, its type, what it means and in which unit, and whether it may be missing."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = True
    allowed: ValueRange | None = None
    """What its numbers lie in; None where they may be anything, NaN and infinities too."""


def _required(name: str, kind: pa.DataType, doc: str, *, at_least: float = 0) -> StoredColumn:
    return StoredColumn(name, kind, doc, nullable=False, allowed=ValueRange(at_least))


def _columns_of(record: type) -> tuple[StoredColumn, ...]:
    """The columns that the fields of a record are kept in."""
    hints = get_type_hints(record)
    return tuple(_column_of(f.name, hints[f.name], f.metadata) for f in fields(record))


def _column_of(name: str, hint: Any, metadata: Mapping[str, Any]) -> StoredColumn:
    kinds = set(get_args(hint) or (hint,))
    (kind,) = kinds - {NoneType}
    doc = ", ".join(filter(None, [metadata["doc"], metadata.get("unit")]))
    given = {limit: metadata[limit] for limit in ("at_least", "at_most", "above") if metadata.get(limit) is not None}
    allowed = ValueRange(**{"at_least": 0, **given}, nan=metadata.get("nan", False)) if given else None
    return StoredColumn(name, _TYPES[kind], doc, nullable=NoneType in kinds, allowed=allowed)


_HEADER = (
    _required("schema_version", pa.int32(), "version of the schema that the row was written or folded with"),
    _required("run_id", TEXT, "digest of campaign id, case id and attempt"),
    _required("campaign_id", TEXT, "the campaign that the run belongs to"),
    _required("case_id", TEXT, "digest of the case's canonical form"),
    _required("configuration_id", TEXT, "digest of the case without seed and repeat"),
    _required("attempt", pa.int32(), "from 1; readers take a case's last attempt in a campaign", at_least=1),
    _required("status", TEXT, "ok, failed, timeout or invalid; only ok enters a comparison"),
    StoredColumn("error", TEXT, "what went wrong, in a sentence; null for ok"),
    StoredColumn("log", TEXT, "the kept log of the run's process, relative to the store"),
    _required("started_at", TIME, "when the run began, UTC"),
    _required("campaign_started_at", TIME, "when the campaign began, UTC"),
    _required("suite", TEXT, "name of the suite"),
    _required("plan_hash", TEXT, "digest of the plan"),
    _required("order_seed", pa.int64(), "the number that the order of the cases was drawn from"),
    _required("block", pa.int32(), "one (seed, repeat) over all configurations; pairing is by block"),
    _required("position", pa.int32(), "place of the case in the plan"),
    _required("program_version", TEXT, "version of bench"),
    StoredColumn("program_commit", TEXT, "commit of bench's own checkout, +dirty after it where files were changed"),
    StoredColumn(
        "project_commit",
        TEXT,
        "commit of the checkout that the user's code was imported from; else of the one that the command was given in",
    ),
    StoredColumn(
        "committed_at",
        TIME,
        "the committer's date, UTC, of project_commit; of program_commit where there is none and no code of the user's",
    ),
    StoredColumn("parent_commit", TEXT, "the first parent of that commit; null for a root"),
    _required("cells_digest", TEXT, "digest of the source of the user's own cells and networks; empty for none"),
    _required("isolation", TEXT, "how the run's process was started: fork or spawn"),
)

_ENVIRONMENT = (
    _required("machine_fingerprint", TEXT, "digest of the machine facts that must agree before times are compared"),
    _required("software_fingerprint", TEXT, "digest of the software facts"),
    _required("machine_json", TEXT, "the machine facts, JSON"),
    _required("software_json", TEXT, "the software facts, JSON"),
    _required("host_json", TEXT, "recorded, never fingerprinted: host name, kernel build, load, free memory; JSON"),
)

COLUMNS: tuple[StoredColumn, ...] = (
    *_HEADER,
    *_columns_of(Case),
    *_ENVIRONMENT,
    *_columns_of(RunMetadata),
    *_columns_of(Observation),
)

SCHEMA = pa.schema([pa.field(column.name, column.type, column.nullable) for column in COLUMNS])

KEYS = ("run_id", "campaign_id", "case_id", "attempt", "phase")
"""The columns that identify a run and a row's phase; in every frame."""

BY_NAME: Mapping[str, StoredColumn] = {column.name: column for column in COLUMNS}

_CASE_DEFAULTS = {field.name: field.default for field in fields(Case) if field.default is not MISSING}


def version_metadata() -> dict[bytes, str]:
    """The metadata of a part that name the version of its schema."""
    return {_VERSION_KEY: str(SCHEMA_VERSION)}


def version_of(part: pq.ParquetFile) -> int:
    """The version of the schema that a part was written with.

    Raises:
        ValueError: it has none, so that it is no part of a store.
    """
    metadata: Mapping[bytes, bytes] = part.schema_arrow.metadata or {}
    if _VERSION_KEY in metadata:
        version = int(metadata[_VERSION_KEY])
    elif "schema_version" in part.schema_arrow.names:
        stored = part.read(["schema_version"])["schema_version"].to_pylist()
        version = max((int(number) for number in stored if number is not None), default=SCHEMA_VERSION)
    else:
        raise ValueError("it has no schema version: bench did not write it")
    if version < 1:
        raise ValueError(f"there is no version {version} of the results format")
    return version


def upgraded(table: pa.Table, version: int, columns: Sequence[str]) -> pa.Table:
    """A table of any version up to today's in today's schema, of these columns.

    Raises:
        ValueError: it lacks a column that may not be missing and has no default.
    """
    for older in range(version, SCHEMA_VERSION):
        table = UPGRADES.get(older, lambda same: same)(table)
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    if table.schema.equals(schema):
        return table.replace_schema_metadata(None)
    return pa.table([_conformed(table, BY_NAME[name]) for name in columns], schema)


def _conformed(table: pa.Table, column: StoredColumn) -> pa.ChunkedArray | pa.Array:
    if column.name == "schema_version":
        return pa.repeat(pa.scalar(SCHEMA_VERSION, column.type), table.num_rows)
    if column.name in table.column_names:
        values = table[column.name]
        if values.type == column.type:
            return values
        if not _may_become(values.type, column.type):
            raise ValueError(f"its column {column.name!r} holds {values.type}")
        return as_text(values) if column.type == TEXT else values.cast(column.type)
    if column.name in _CASE_DEFAULTS:  # an axis that came later: its default is what was done before
        plain = pa.string() if column.type == TEXT else column.type
        values = pa.repeat(pa.scalar(_CASE_DEFAULTS[column.name], plain), table.num_rows)
        return values.dictionary_encode() if column.type == TEXT else values
    if column.nullable:
        return pa.nulls(table.num_rows, column.type)
    raise ValueError(f"it has no column {column.name!r}")


def _may_become(stored: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a type is what other tools make of ours: a truth value is no number, and a number is no text."""
    types = pa.types
    if types.is_dictionary(stored):
        stored = stored.value_type
    if types.is_null(stored):
        return True
    if wanted == TEXT:
        return bool(types.is_string(stored) or types.is_large_string(stored) or stored == pa.string_view())
    if wanted == TIME:
        return bool(types.is_timestamp(stored))
    if wanted == pa.bool_():
        return bool(types.is_boolean(stored))
    return bool(types.is_integer(stored) or types.is_floating(stored))


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text as the store's type of text, whatever other tools made of it."""
    return values if values.type == TEXT else values.cast(pa.string()).dictionary_encode().cast(TEXT)


def codes_of(column: pa.ChunkedArray) -> tuple[np.ndarray[Any, np.dtype[np.int64]], list[str]]:
    """A column of `TEXT` as numbers, a number for each row with -1 for null, and the texts that they stand for."""
    if not column.num_chunks:
        return np.empty(0, np.int64), []
    whole = column.unify_dictionaries().combine_chunks()
    return whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), whole.dictionary.to_pylist()
