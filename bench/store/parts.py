"""One part of the store: a run, written whole or not at all, and read back in today's schema.

A store is a folder with `runs/` (the parts), `campaigns/` (see `bench.store.campaign`) and whatever the runner keeps
beside them. Merging two stores is copying their files: a run that is there twice counts once.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core import code
from bench.core.case import Case, Status, digest
from bench.core.errors import UsageError
from bench.core.observation import Observation, RunMetadata
from bench.store import schema
from bench.store.campaign import Campaign
from bench.store.files import publish, refused
from bench.store.objects import ObjectPath
from bench.store.schema import BY_NAME, COLUMNS, SCHEMA, as_text, codes_of, upgraded, version_metadata, version_of
from bench.store.soundness import is_sound

_UNPACKED_BYTES = 256 << 20
_MOST_PACKED = 100
"""A part may unpack to the larger of 256 MiB and a hundred times its size: JSON of many runs packs to a thirtieth."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of one case in a process of its own, however it ended."""

    campaign: Campaign
    case: Case
    block: int
    position: int
    attempt: int
    """Number of the attempt at the case in its campaign, from 1."""
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
    metadata: RunMetadata
    observations: tuple[Observation, ...]
    code_commit: str | None = None
    """The commit of the checkout that the run's code of the user's came from; None where it came from none."""
    committed_at: datetime | None = None
    """The committer's date of `project_commit`; of the program's commit where only its own code ran, outside of git."""
    parent_commit: str | None = None
    """The first parent of that commit."""

    @property
    def project_commit(self) -> str | None:
        """The commit of the run's code of the user's; where it has none, of the folder the command was given in."""
        return self.code_commit if self.imported_files else self.campaign.project_commit

    @property
    def imported_files(self) -> tuple[Path, ...]:
        """The files of the user's own code that it imported: none for a cell of bench, or of an installed package."""
        modules = code.from_json(self.metadata.code_json)
        return tuple(Path(module.file) for module in modules if not module.distribution)

    @property
    def id(self) -> str:
        """Digest of campaign, case and attempt; the part is named after it."""
        return digest(f"{self.campaign.id} {self.case.id} {self.attempt}")


def write_run(store: Path, run: Run) -> Path:
    """Writes the run's part, durably and whole, and returns its path; see `write_part`.

    Raises:
        UsageError: the store cannot be written to, or is full.
    """
    table = _table(run)
    return _publish_part(store, run.id, lambda file: _write_table(table, file))


def part_bytes(run: Run) -> bytes:
    """The content of the run's part: a parquet file."""
    file = io.BytesIO()
    _write_table(_table(run), file)
    return file.getvalue()


def _write_table(table: pa.Table, file: IO[bytes]) -> None:
    # Small parts are read by the hundred: without compression and statistics that takes half the time.
    pq.write_table(table, file, compression="NONE", write_statistics=False, write_page_checksum=True)


def write_part(store: Path, run_id: str, content: bytes) -> Path:
    """Gives a store a run's part, durably and whole, and returns its path.

    A part that is there already is kept: it is the same run. Only one that cannot be read, or does not hold the run
    soundly, is moved aside, to `<run id>.corrupt`, since its case would otherwise be measured again and again and never
    kept.

    Args:
        store: the results folder.
        run_id: the run's.
        content: what `part_bytes` made of it.

    Raises:
        UsageError: the store cannot be written to, or is full.
    """
    return _publish_part(store, run_id, lambda file: file.write(content))


def _publish_part(store: Path, run_id: str, write: Callable[[IO[bytes]], object]) -> Path:
    path = store / "runs" / f"{run_id}.parquet"
    there = read_part(path, tuple(BY_NAME))
    if isinstance(there, pa.Table) and run_id in there["run_id"].to_pylist() and is_sound(there):
        return path
    if getattr(there, "errno", None) is None:  # its content is at fault, not the way to it
        with refused(path.parent):
            path.replace(path.with_suffix(".corrupt"))
    publish(path, write)
    return path


def _table(run: Run) -> pa.Table:
    campaign = run.campaign
    observations = run.observations or (Observation(phase="run"),)
    shared: dict[str, Any] = {
        "schema_version": schema.SCHEMA_VERSION,
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
        "project_commit": run.project_commit,
        "committed_at": run.committed_at,
        "parent_commit": run.parent_commit,
        "cells_digest": campaign.cells_digest,
        "isolation": run.isolation,
        "machine_fingerprint": run.machine_fingerprint,
        "software_fingerprint": run.software_fingerprint,
        "machine_json": run.machine_json,
        "software_json": run.software_json,
        "host_json": run.host_json,
        **asdict(run.case),
        **asdict(run.metadata),
    }
    rows = {name: [value] * len(observations) for name, value in shared.items()}
    for field in fields(Observation):
        rows[field.name] = [getattr(observation, field.name) for observation in observations]
    arrays = [pa.array(map(_storable, rows[column.name]), column.type) for column in COLUMNS]
    return pa.table(arrays, SCHEMA.with_metadata(version_metadata()))


def _storable(value: Any) -> Any:
    """An error may quote bytes that are no text; the file takes UTF-8 only."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def read_part(path: Path, columns: Sequence[str], phases: Collection[str] | None = None) -> pa.Table | Exception:
    """The wanted columns and rows of a part in today's schema, or the error for which they cannot be had.

    Args:
        path: the part; one that was folded holds many runs.
        columns: their names, in the order in which they are wanted.
        phases: as `bench.store.load` has it; None for all rows.

    Raises:
        UsageError: the part was written by a newer bench.
    """
    try:
        _check_file(path)
        with _opened(path) as part:
            _check_size(path, part.metadata)
            version = version_of(part)
            if version > schema.SCHEMA_VERSION:
                raise UsageError(
                    f"{path} is in version {version} of the results format, and this bench knows "
                    f"{schema.SCHEMA_VERSION} at most: upgrade bench to read it."
                )
            # an upgrade may need any column
            whole = any(older in schema.UPGRADES for older in range(version, schema.SCHEMA_VERSION))
            if whole:
                table = part.read(use_threads=False)
            else:
                stored = set(part.schema_arrow.names)
                table = _read_rows(part, [name for name in columns if name in stored], phases)
        table.validate(full=True)
        table = upgraded(table, version, columns)
        if phases is not None and whole:
            table = table.filter(pa.array(_wanted_rows(table, phases)))
        return table
    except (OSError, pa.ArrowException, ValueError, KeyError, OverflowError, MemoryError) as error:
        return error


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The part's file, by its path, which is faster, unless Arrow can't take it: an object's, or one that is no UTF-8.

    Neighbouring columns of an object are fetched together.
    """
    far = isinstance(path, ObjectPath)
    with ExitStack() as stack:
        try:
            str(path).encode()
            source: Path | IO[bytes] = stack.enter_context(path.open("rb")) if far else path
        except UnicodeEncodeError:
            source = stack.enter_context(path.open("rb"))
        yield stack.enter_context(pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=far))


def _check_file(path: Path) -> None:
    """Opening a pipe would wait for its writer for ever."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(mode) else "it is no file")


def _check_size(path: Path, metadata: pq.FileMetaData) -> None:
    """A few bytes that unpack to a full memory are no part of ours, nor is one without a row."""
    if not metadata.num_rows:
        raise ValueError("it holds no rows")
    size = path.stat().st_size
    unpacked = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if metadata.num_rows > size or unpacked > max(_UNPACKED_BYTES, _MOST_PACKED * size):
        raise ValueError(f"{size:,} bytes that claim to hold {metadata.num_rows:,} rows, {unpacked:,} bytes")


def _read_rows(part: pq.ParquetFile, columns: list[str], phases: Collection[str] | None) -> pa.Table:
    """A row group after another where only some rows are wanted: most of a large store are calls of inference."""
    if phases is None:
        return part.read(columns, use_threads=False)
    wanted = _wanted_rows(part.read(["run_id", "phase"], use_threads=False), phases)
    groups, start = [], 0
    for number in range(part.num_row_groups):
        rows = part.metadata.row_group(number).num_rows
        in_group, start = wanted[start : start + rows], start + rows
        if in_group.any():
            group = part.read_row_group(number, columns, use_threads=False)
            groups.append(group if in_group.all() else group.filter(pa.array(in_group)))
    return pa.concat_tables(groups) if groups else part.read(columns, use_threads=False).slice(0, 0)


def _wanted_rows(table: pa.Table, phases: Collection[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """For each row, whether it is of one of the phases, or the first of a run that has none of them."""
    phase, names = codes_of(as_text(table["phase"]))
    # a last place, for code -1
    wanted: np.ndarray[Any, np.dtype[np.bool_]] = np.array([*(name in phases for name in names), False])[phase]
    run, ids = codes_of(as_text(table["run_id"]))
    has_any = np.bincount(run, wanted, minlength=len(ids)) > 0
    numbers, first = np.unique(run, return_index=True)
    wanted[first[~has_any[numbers]]] = True
    return wanted
