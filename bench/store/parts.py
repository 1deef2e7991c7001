"""The store: one immutable parquet part a run, written whole or not at all, and read back as one table.

A row is one observation; what is true of the run stands beside each of its rows. A store is a folder with `runs/`
(the parts), `campaigns/` (see `bench.store.campaign`) and whatever the runner keeps beside them. Merging two stores is
copying their files: a run that is there twice counts once.

The version of the schema stands in each part twice: in the file's metadata (`bench_schema_version`), and as a column,
because tools that copy or join parquet files keep columns and drop metadata. The metadata wins where both are there.

History of the schema:

- version 1, 2026-11-23: the first.
- version 2, 2026-11-24: runtimes and inference (`runtime`, `latency_calls`, `output_difference`, `entry`,
  `predict_batch`, `call`), and the test set's predictions (`test_predictions`). Only new columns.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.core.case import Case, Status, digest
from bench.core.errors import NothingSureError, UsageError
from bench.core.metrics import Observation, RunMetadata
from bench.store.campaign import Campaign, locked, publish, refused, sweep, sync_folder

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 2

UPGRADES: dict[int, Callable[[pa.Table], pa.Table]] = {}
"""By version: what turns a table of it into one of the next version. Columns that are merely new need none: they are
filled with the case's default, or with nulls."""

_log = logging.getLogger(__name__)

_VERSION_KEY = b"bench_schema_version"
_TEXT = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")

_READERS = 2
"""Threads that open parts. On 2 cores, 1,000 parts took 1.8 s with one thread, 1.0 s with two, and more with four."""

_ROW_GROUP = 131_072
_DICTIONARY_BYTES = 64 << 20
"""Above its limit (1 MiB by default) a column falls back to plain text, repeated in each row: the JSON of some hundred
runs is more than that."""


@dataclass(frozen=True)
class Column:
    """A column of the store: its name, its type, what it means and in which unit."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = True


def _required(name: str, kind: pa.DataType, doc: str) -> Column:
    return Column(name, kind, doc, nullable=False)


_HEADER = (
    _required("schema_version", pa.int32(), "version of the schema that the row was written or folded with"),
    _required("run_id", _TEXT, "digest of campaign id, case id and attempt"),
    _required("campaign_id", _TEXT, "the campaign that the run belongs to"),
    _required("case_id", _TEXT, "digest of the case's canonical form"),
    _required("configuration_id", _TEXT, "digest of the case without seed and repeat"),
    _required("attempt", pa.int32(), "from 1; readers take a case's last attempt in a campaign"),
    _required("status", _TEXT, "ok, failed, timeout or invalid; only ok enters a comparison"),
    Column("error", _TEXT, "what went wrong, in a sentence; null for ok"),
    Column("log", _TEXT, "the kept log of the run's process, relative to the store"),
    _required("started_at", _TIME, "when the run began, UTC"),
    _required("campaign_started_at", _TIME, "when the campaign began, UTC"),
    _required("suite", _TEXT, "name of the suite"),
    _required("plan_hash", _TEXT, "digest of the plan"),
    _required("order_seed", pa.int64(), "the number that the order of the cases was drawn from"),
    _required("block", pa.int32(), "one (seed, repeat) over all configurations; pairing is by block"),
    _required("position", pa.int32(), "place of the case in the plan"),
    _required("program_version", _TEXT, "version of bench"),
    Column("program_commit", _TEXT, "commit of bench's own checkout, +dirty after it where files were changed"),
    Column("project_commit", _TEXT, "commit of the checkout that the command was given in"),
    _required("cells_digest", _TEXT, "digest of the source of the user's own cells; empty for none"),
    _required("isolation", _TEXT, "how the run's process was started: fork or spawn"),
)

_CASE = (
    _required("cell", _TEXT, "the recurrent cell: a name, or module:factory"),
    _required("task", _TEXT, "the data set and what is asked of it"),
    _required("network", _TEXT, "the network that the cell is put in"),
    _required("backend", _TEXT, "Keras's backend"),
    _required("kernel", _TEXT, "the kernel that was asked for"),
    _required("device", _TEXT, "cpu, gpu:0, ..."),
    _required("dtype", _TEXT, "the number format of weights and activations"),
    _required("threads", pa.int64(), "threads that one operation may use; 0 leaves the backend's default"),
    _required("runtime", _TEXT, "what computes the network: keras, onnxruntime or torch.nn"),
    _required("units", pa.int64(), "width of the recurrent layers"),
    _required("batch_size", pa.int64(), "samples a training step"),
    _required("epochs", pa.int64(), "epochs asked for"),
    _required("train_samples", pa.int64(), "training samples used, from the first; 0 is all"),
    _required("learning_rate", pa.float64(), "Adam's, at step 0"),
    _required("decay", pa.float64(), "the rate at step n is learning_rate / (1 + decay * n)"),
    _required("latency_calls", pa.int64(), "timed calls of inference at batch 1, for each entry; 0 times no inference"),
    _required("seed", pa.int64(), "of weights, dropout and shuffling"),
    _required("repeat", pa.int64(), "counts the runs of one configuration and seed, from 0"),
)

_ENVIRONMENT = (
    _required("machine_fingerprint", _TEXT, "digest of the machine facts that must agree before times are compared"),
    _required("software_fingerprint", _TEXT, "digest of the software facts"),
    _required("machine_json", _TEXT, "the machine facts, JSON"),
    _required("software_json", _TEXT, "the software facts, JSON"),
    _required("host_json", _TEXT, "recorded, never fingerprinted: host name, kernel build, load, free memory; JSON"),
)

_FACTS = (
    Column("parameters", pa.int64(), "weights of the built model, trainable or not"),
    Column("forward_flops_per_sample", pa.float64(), "floating-point operations, by formula; a multiply-add is 2"),
    Column("training_flops_per_sample", pa.float64(), "the same for forward and backward; null for an unknown cell"),
    Column("attested_kernel", _TEXT, "the kernel that the executed programs show; mixed where layers or phases differ"),
    Column("attestation_json", _TEXT, "the evidence by phase and layer, JSON"),
    Column("data_digest", _TEXT, "digest of the data's content"),
    Column("test_predictions", _TEXT, "the test set's labels and predicted probabilities (bench.core.predictions)"),
    Column("output_difference", pa.float64(), "largest absolute difference of the runtime's outputs from Keras's"),
    Column("rss_start_bytes", pa.int64(), "resident memory just before the model is built, bytes"),
    Column("rss_train_bytes", pa.int64(), "resident memory just before the first timed epoch, bytes"),
    Column("peak_rss_bytes", pa.int64(), "highest resident memory from there to the end of the run, bytes"),
    Column("load_start", pa.float64(), "load average over one minute when the run began"),
    Column("load_end", pa.float64(), "load average over one minute when the run ended"),
    Column("steal_fraction_start", pa.float64(), "processor time taken by the hypervisor before the run, share of all"),
    Column("steal_fraction", pa.float64(), "the same, during the run"),
    Column("other_cpu_fraction", pa.float64(), "processor time used by other processes during the run, share of all"),
    Column("extra_json", _TEXT, "facts of the backend read back after the run, JSON"),
)

_OBSERVATION = (
    _required("phase", _TEXT, "build, compile, warmup, train, validate, evaluate, predict, or run for the whole run"),
    Column("epoch", pa.int64(), "from 1, for train and validate"),
    Column("seconds", pa.float64(), "wall time of the phase, seconds"),
    Column("cpu_seconds", pa.float64(), "processor time of all threads of the run's process, seconds"),
    Column("samples", pa.int64(), "samples processed"),
    Column("loss", pa.float64(), "mean over the samples"),
    Column("accuracy", pa.float64(), "share of samples, 0 to 1"),
    Column("entry", _TEXT, "for predict: predict (model.predict) or compiled (the call that a service would use)"),
    Column("predict_batch", pa.int64(), "for predict: samples a call"),
    Column("call", pa.int64(), "for predict: from 1, in the order of the calls of this entry and batch"),
)

COLUMNS: tuple[Column, ...] = (*_HEADER, *_CASE, *_ENVIRONMENT, *_FACTS, *_OBSERVATION)

SCHEMA = pa.schema([pa.field(column.name, column.type, column.nullable) for column in COLUMNS])

KEYS = ("run_id", "campaign_id", "case_id", "attempt", "phase")
"""What tells runs and their rows apart; in every frame."""

_BY_NAME = {column.name: column for column in COLUMNS}
_CASE_DEFAULTS = {field.name: field.default for field in fields(Case) if isinstance(field.default, str | int | float)}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of one case in a process of its own, however it ended."""

    campaign: Campaign
    case: Case
    block: int
    position: int
    attempt: int
    """From 1."""
    status: Status
    error: str | None
    log: str | None
    """The kept log of its process, relative to the store."""
    started_at: datetime
    isolation: str
    machine_json: str
    software_json: str
    machine_fingerprint: str
    software_fingerprint: str
    host_json: str
    facts: RunMetadata
    observations: tuple[Observation, ...]

    @property
    def id(self) -> str:
        return digest(f"{self.campaign.id} {self.case.id} {self.attempt}")


def write_run(store: Path, run: Run) -> Path:
    """Writes the run's part, durably and whole, and returns its path.

    A part that is there already is kept: it is the same run. Only one that cannot be read is moved aside, to
    `<run id>.corrupt`, since its case would otherwise be measured again and again and never kept.

    Raises:
        UsageError: the store cannot be written to, or is full.
    """
    path = store / "runs" / f"{run.id}.parquet"
    table = _table(run)
    there = _attempt_read(path, ("run_id",))
    if isinstance(there, pa.Table):
        return path
    if getattr(there, "errno", None) is None:  # its content is at fault, not the way to it
        with refused(path.parent):
            path.replace(path.with_suffix(".corrupt"))
    # Small parts are read by the hundred: without compression and statistics that takes half the time.
    publish(
        path,
        lambda file: pq.write_table(table, file, compression="NONE", write_statistics=False, write_page_checksum=True),
    )
    return path


def remove_stale(store: Path) -> int:
    """Removes the temporary files of writers that were killed, never those of a living one; says how many."""
    return sweep(store / "runs") + sweep(store / "campaigns")


def attempts(store: Path, *, say: Callable[[str], None] = _log.warning) -> dict[str, dict[str, tuple[int, Status]]]:
    """By campaign id and case id: the last attempt and its status. Empty where there is no store yet.

    One look at the store for all its campaigns: 1,000 parts take about half a second.

    Raises:
        UsageError: a part was written by a newer bench.
    """
    found: dict[str, dict[str, tuple[int, Status]]] = {}
    tables = _read_all(store / "runs", ("run_id", "campaign_id", "case_id", "attempt", "status"), say)
    if not tables:
        return found
    rows = _Rows.of(tables)
    for row in rows.table.take(pa.array(rows.first[rows.last_attempts()])).to_pylist():
        found.setdefault(row["campaign_id"], {})[row["case_id"]] = (row["attempt"], Status(row["status"]))
    return found


def finished(
    store: Path, campaign_id: str, *, say: Callable[[str], None] = _log.warning
) -> dict[str, tuple[int, Status]]:
    """By case id: the last attempt of a campaign and its status."""
    return attempts(store, say=say).get(campaign_id, {})


def load(
    paths: Sequence[Path],
    *,
    columns: Collection[str] | None = None,
    phases: Collection[str] | None = None,
    all_attempts: bool = False,
    say: Callable[[str], None] = _log.warning,
) -> pd.DataFrame:
    """The observations of stores, folders of parquet files, and parquet files, as one frame with `COLUMNS`.

    A run that is there twice counts once; of a case's attempts in a campaign only the last is taken. Text is
    categorical, its categories sorted and all in use. A number that may be missing is a float64, NaN where it is, whole
    numbers too: a column's type never depends on its content.

    Args:
        paths: what to read.
        columns: read these only, and those that tell runs apart (`KEYS`); a column that nobody wants costs nothing.
        phases: read the rows of these only, and of each run that has none of them its first row, so that every run is
            there; with () a run is one row, which is all that facts of runs need.
        all_attempts: keep the earlier attempts too.
        say: is given a sentence about each part that cannot be read; the others are used.

    Raises:
        UsageError: a path is not there, cannot be read, or was written by a newer bench.
        NothingSureError: there is nothing measured in any of them.
    """
    wanted = tuple(name for name in _BY_NAME if columns is None or name in columns or name in KEYS)
    tables: dict[Path, pa.Table] = {}
    for path in paths:
        folder = _folder(path)
        if folder is not None:
            tables |= _read_all(folder, wanted, say, phases)
            continue
        outcome = _attempt_read(path, wanted, phases)
        if not isinstance(outcome, pa.Table):
            raise UsageError(
                f"cannot read {path} as bench results ({outcome}): name a results folder or a part of one."
            )
        tables[path] = outcome
    if not any(table.num_rows for table in tables.values()):
        named = ", ".join(str(path) for path in paths)
        raise NothingSureError(f"nothing measured yet, or nothing readable, in {named}: run `make bench` first.")
    rows = _Rows.of(tables)
    runs_kept = np.ones(len(rows.first), bool) if all_attempts else rows.last_attempts()
    return _frame(rows.only(runs_kept))


def compact(store: Path, *, say: Callable[[str], None] = _log.warning) -> tuple[int, int]:
    """Folds all parts of a store into one, and says how many parts were folded and how many rows there are now.

    The new part is read back and compared before it gets its name, and only then are the parts that it was made from
    deleted. A kill at any moment leaves runs that are there twice at worst, which readers count once; parts that
    another harness writes meanwhile are not touched, nor are those that cannot be read.

    Raises:
        UsageError: there is no such store, it cannot be written to, or a part was written by a newer bench.
    """
    folder = store / "runs"
    if _folder(store) != folder:
        raise UsageError(f"{store} is not a results folder (it has no `runs`): name one that `bench run` wrote.")
    with locked(store):
        tables = _read_all(folder, tuple(_BY_NAME), say)
        if all(path.name.startswith("compact-") for path in tables) and len(tables) < 2:
            return 0, 0
        table, runs, run_ids = _folded(_Rows.of(tables))
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
                    writer.write_table(_with_own_texts(table.slice(start, stop - start)), row_group_size=_ROW_GROUP)

        def check(written: Path) -> None:
            again = _attempt_read(written, tuple(_BY_NAME))
            if not isinstance(again, pa.Table) or not _same(again, table):
                raise UsageError(
                    f"{written} does not hold what the parts beside it hold, so none was deleted: "
                    f"check the disk, move {path.name} away if it is there, and compact again."
                )

        if not publish(path, write, check):
            check(path)
        folded = [part for part in tables if part != path]
        for part in folded:
            part.unlink(missing_ok=True)
        sync_folder(folder)
    return len(folded), table.num_rows


def _table(run: Run) -> pa.Table:
    campaign = run.campaign
    observations = run.observations or (Observation(phase="run"),)
    shared: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.id,
        "campaign_id": campaign.id,
        "case_id": run.case.id,
        "configuration_id": run.case.configuration_id,
        "attempt": run.attempt,
        "status": run.status.value,
        "error": run.error,
        "log": run.log,
        "started_at": run.started_at,
        "campaign_started_at": datetime.fromisoformat(campaign.started_at),
        "suite": campaign.suite,
        "plan_hash": campaign.plan_hash,
        "order_seed": campaign.order_seed,
        "block": run.block,
        "position": run.position,
        "program_version": campaign.program_version,
        "program_commit": campaign.program_commit,
        "project_commit": campaign.project_commit,
        "cells_digest": campaign.cells_digest,
        "isolation": run.isolation,
        "machine_fingerprint": run.machine_fingerprint,
        "software_fingerprint": run.software_fingerprint,
        "machine_json": run.machine_json,
        "software_json": run.software_json,
        "host_json": run.host_json,
        **asdict(run.case),
        **asdict(run.facts),
    }
    rows = {name: [value] * len(observations) for name, value in shared.items()}
    for field in fields(Observation):
        rows[field.name] = [getattr(observation, field.name) for observation in observations]
    arrays = [pa.array(map(_storable, rows[column.name]), column.type) for column in COLUMNS]
    return pa.table(arrays, SCHEMA.with_metadata({_VERSION_KEY: str(SCHEMA_VERSION)}))


def _storable(value: Any) -> Any:
    """An error may quote bytes that are no text; the file takes UTF-8 only."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _folder(path: Path) -> Path | None:
    """The folder that holds the parts of a path that the user named, or None for a file."""
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


def _read_all(
    folder: Path, columns: Sequence[str], say: Callable[[str], None], phases: Collection[str] | None = None
) -> dict[Path, pa.Table]:
    """The readable parts by path, in the order of their names.

    A part may be gone between listing and reading, since another process is compacting; what it held has then a new
    home, so the folder is listed again until a pass misses nothing.
    """
    tables: dict[Path, pa.Table] = {}
    seen: set[Path] = set()
    pending = _list(folder)
    with ThreadPoolExecutor(_READERS) as readers:
        while pending:
            vanished = False
            outcomes = readers.map(lambda path: _attempt_read(path, columns, phases), pending)
            for path, outcome in zip(pending, outcomes, strict=True):
                if isinstance(outcome, pa.Table):
                    tables[path] = outcome
                elif isinstance(outcome, FileNotFoundError):
                    vanished = True
                else:
                    say(f"{path} cannot be read ({outcome}) and is left out.")
            seen.update(pending)
            pending = [path for path in _list(folder) if path not in seen] if vanished else []
    return {path: tables[path] for path in sorted(tables)}


def _attempt_read(path: Path, columns: Sequence[str], phases: Collection[str] | None = None) -> pa.Table | Exception:
    """The wanted columns and rows (see `load`) of a part in today's schema, or why they cannot be had."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as part:
            version = _version(part)
            if version > SCHEMA_VERSION:
                raise UsageError(
                    f"{path} is in version {version} of the results format, and this bench knows {SCHEMA_VERSION} at "
                    "most: upgrade bench to read it."
                )
            if version == SCHEMA_VERSION:
                own = set(part.schema_arrow.names)
                table = _read_rows(part, [name for name in columns if name in own], phases)
            else:
                table = part.read(use_threads=False)
        table.validate(full=True)
        for older in range(version, SCHEMA_VERSION):
            table = UPGRADES.get(older, lambda same: same)(table)
        table = _conform(table, columns)
        if phases is not None and version < SCHEMA_VERSION:
            table = table.filter(pa.array(_wanted_rows(table, phases)))
        return table
    except (OSError, pa.ArrowException, ValueError, KeyError, OverflowError) as error:
        return error


def _read_rows(part: pq.ParquetFile, columns: list[str], phases: Collection[str] | None) -> pa.Table:
    """A row group after another where only some rows are wanted: most of a large store are calls of inference."""
    if phases is None:
        return part.read(columns, use_threads=False)
    wanted = _wanted_rows(part.read(["run_id", "phase"], use_threads=False), phases)
    groups, start = [], 0
    for number in range(part.num_row_groups):
        rows = part.metadata.row_group(number).num_rows
        own, start = wanted[start : start + rows], start + rows
        if own.any():
            group = part.read_row_group(number, columns, use_threads=False)
            groups.append(group if own.all() else group.filter(pa.array(own)))
    return pa.concat_tables(groups) if groups else part.read(columns, use_threads=False).slice(0, 0)


def _wanted_rows(table: pa.Table, phases: Collection[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Of each row: whether it is of one of the phases, or the first of a run that has none of them."""
    phase, names = _codes(_as_text(table["phase"]))
    # a last place, for code -1
    wanted: np.ndarray[Any, np.dtype[np.bool_]] = np.array([*(name in phases for name in names), False])[phase]
    run, ids = _codes(_as_text(table["run_id"]))
    has_one = np.bincount(run, wanted, minlength=len(ids)) > 0
    numbers, first = np.unique(run, return_index=True)
    wanted[first[~has_one[numbers]]] = True
    return wanted


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values if values.type == _TEXT else values.cast(pa.string()).dictionary_encode().cast(_TEXT)


def _version(part: pq.ParquetFile) -> int:
    metadata: Mapping[bytes, bytes] = part.schema_arrow.metadata or {}
    if _VERSION_KEY in metadata:
        return int(metadata[_VERSION_KEY])
    if "schema_version" not in part.schema_arrow.names:
        raise ValueError("it has no schema version: bench did not write it")
    return int(max(part.read(["schema_version"])["schema_version"].to_pylist(), default=SCHEMA_VERSION))


def _conform(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    if table.schema.equals(schema):
        return table.replace_schema_metadata(None)
    return pa.table([_conformed(table, _BY_NAME[name]) for name in columns], schema)


def _conformed(table: pa.Table, column: Column) -> pa.ChunkedArray | pa.Array:
    if column.name == "schema_version":
        return pa.repeat(pa.scalar(SCHEMA_VERSION, column.type), table.num_rows)
    if column.name in table.column_names:
        values = table[column.name]
        if values.type == column.type:
            return values
        if column.type == _TEXT:
            return values.cast(pa.string()).dictionary_encode()
        return values.cast(column.type)
    if column.name in _CASE_DEFAULTS:  # an axis that came later: its default says what was done before
        plain = pa.string() if column.type == _TEXT else column.type
        values = pa.repeat(pa.scalar(_CASE_DEFAULTS[column.name], plain), table.num_rows)
        return values.dictionary_encode() if column.type == _TEXT else values
    if column.nullable:
        return pa.nulls(table.num_rows, column.type)
    raise ValueError(f"it has no column {column.name!r}")


@dataclass(frozen=True)
class _Rows:
    """Rows of many parts, each run once."""

    table: pa.Table
    run: np.ndarray[Any, np.dtype[np.intp]]
    """Of each row: the number of its run."""
    first: np.ndarray[Any, np.dtype[np.intp]]
    """Of each run: its first row."""

    @classmethod
    def of(cls, tables: Mapping[Path, pa.Table]) -> _Rows:
        table = pa.concat_tables(tables.values())
        part = np.repeat(np.arange(len(tables)), [each.num_rows for each in tables.values()])
        codes, ids = _codes(table["run_id"])
        used = np.bincount(codes, minlength=len(ids)) > 0
        run = (np.cumsum(used) - 1)[codes]
        home = part[_first(run)]
        keep = part == home[run]
        if not keep.all():
            table, run = table.filter(pa.array(keep)), run[keep]
        return cls(table, run, _first(run))

    def last_attempts(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Of each run: whether no later attempt at its case is there, in its campaign."""
        table = self.table.select(["campaign_id", "case_id", "attempt"]).take(pa.array(self.first))
        runs = table.to_pandas()
        latest = runs.groupby(["campaign_id", "case_id"], observed=True)["attempt"].transform("max")
        kept: np.ndarray[Any, np.dtype[np.bool_]] = (runs["attempt"] == latest).to_numpy()
        return kept

    def only(self, runs: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Table:
        return self.table if runs.all() else self.table.filter(pa.array(runs[self.run]))


def _first(numbers: np.ndarray[Any, np.dtype[np.intp]]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Where each of the numbers 0, 1, ... first occurs."""
    first = np.empty(numbers.max() + 1 if len(numbers) else 0, np.intp)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    return first


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray[Any, np.dtype[np.int64]], list[str]]:
    """A text column as numbers, -1 for null, and what they stand for."""
    if not column.num_chunks:
        return np.empty(0, np.int64), []
    whole = column.unify_dictionaries().combine_chunks()
    return whole.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), whole.dictionary.to_pylist()


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    data: dict[str, Any] = {}
    for name in table.column_names:
        column, values = _BY_NAME[name], table[name]
        if column.type == _TEXT:
            codes, texts = _codes(values)
            used = np.flatnonzero(np.bincount(codes + 1, minlength=len(texts) + 1)[1:])
            order = sorted(used, key=texts.__getitem__)
            categories = pd.Index([texts[code] for code in order], dtype="str")
            rank = np.full(len(texts) + 1, -1)  # the last place is for code -1
            rank[order] = np.arange(len(order))
            data[column.name] = pd.Categorical.from_codes(rank[codes], categories)
        elif column.type == _TIME:
            data[column.name] = values.to_pandas()
        elif column.nullable:
            data[column.name] = values.to_pandas().astype("float64")
        else:
            data[column.name] = values.to_numpy()
    return pd.DataFrame(data, copy=False)


def _row_groups(table: pa.Table, runs: np.ndarray[Any, np.dtype[np.intp]]) -> Iterator[tuple[int, int]]:
    """Where to cut: groups of whole runs, of as many as the dictionary of the longest texts has room for."""
    longest = 1
    for column in COLUMNS:
        if column.type == _TEXT:
            for chunk in table[column.name].chunks[:1]:  # they share one dictionary
                longest = max(longest, pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0)
    most = max(1, _DICTIONARY_BYTES // (2 * longest))
    starts = np.flatnonzero(np.diff(runs, prepend=-1))
    start = 0
    for number, stop in enumerate([*map(int, starts[1:]), *([len(runs)] if len(runs) else [])], 1):
        if number % most == 0 or stop - start >= _ROW_GROUP or stop == len(runs):
            yield start, stop
            start = stop


def _with_own_texts(table: pa.Table) -> pa.Table:
    """The same with dictionaries of the texts in use only: a row group is written with the whole of its dictionary."""
    arrays = []
    for name in table.column_names:
        column = table[name]
        if column.type == _TEXT:
            whole = column.combine_chunks()
            codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            used, own = np.unique(codes, return_inverse=True)
            missing = int(used.size > 0 and used[0] < 0)
            indices = pa.array(own - missing, pa.int32(), mask=codes < 0)
            column = pa.DictionaryArray.from_arrays(indices, whole.dictionary.take(pa.array(used[missing:])))
        arrays.append(column)
    return pa.table(arrays, table.schema)


def _folded(rows: _Rows) -> tuple[pa.Table, np.ndarray[Any, np.dtype[np.intp]], list[str]]:
    """The rows in the order that they were planned in, the place of each one's run in it, and the run ids."""
    by = ["campaign_started_at", "campaign_id", "position", "attempt", "run_id"]
    runs = rows.table.select(by).take(pa.array(rows.first)).to_pandas()
    runs = runs.astype({"campaign_id": "str", "run_id": "str"}).sort_values(by)
    rank = np.empty(len(runs), np.intp)
    rank[runs.index.to_numpy()] = np.arange(len(runs))
    order = np.argsort(rank[rows.run], kind="stable")
    table = rows.table.unify_dictionaries().take(pa.array(order)).combine_chunks()
    return (
        table.replace_schema_metadata({_VERSION_KEY: str(SCHEMA_VERSION)}),
        rank[rows.run][order],
        list(runs["run_id"]),
    )


def _same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables of `COLUMNS` hold the same, row by row; NaN equals NaN, and a null only a null."""
    if one.num_rows != other.num_rows:
        return False
    for column in COLUMNS:
        left, right = one[column.name], other[column.name]
        if column.type == _TEXT:
            left_codes, left_texts = _codes(left)
            right_codes, right_texts = _codes(right)
            place = {text: code for code, text in enumerate(left_texts)}
            to_left = np.array([*(place.get(text, -2) for text in right_texts), -1])
            if not np.array_equal(left_codes, to_left[right_codes]):
                return False
        elif not left.is_null().equals(right.is_null()):
            return False
        else:
            plain = pa.int64() if column.type == _TIME else column.type
            left_numbers, right_numbers = (side.cast(plain).fill_null(0).to_numpy() for side in (left, right))
            if not np.array_equal(left_numbers, right_numbers, equal_nan=True):
                return False
    return True
