from __future__ import annotations

import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.core.errors import UsageError
from bench.core.observation import RunMetadata
from bench.store import compact as module
from bench.store.compact import compact
from bench.store.files import publish
from bench.store.parts import write_run
from bench.store.reader import load
from bench.store.schema import COLUMNS
from tests.support.small_store import a_run, canonical, failed, parts


def test_long_texts_are_folded_in_groups_that_keep_their_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column whose dictionary is too large is written out in every row: 90 kB of predictions a row, here."""
    monkeypatch.setattr(module, "_DICTIONARY_BYTES", 600_000)
    draw = random.Random(0)
    for number in range(9):
        metadata = RunMetadata(test_predictions=draw.randbytes(50_000).hex())
        write_run(tmp_path, a_run(number, metadata=metadata))
    before = canonical(tmp_path)
    assert compact(tmp_path) == (9, 27)
    assert canonical(tmp_path) == before
    (part,) = (tmp_path / "runs").iterdir()
    metadata = pq.ParquetFile(part).metadata
    place = [column.name for column in COLUMNS].index("test_predictions")
    assert metadata.num_row_groups == 3
    for group in range(3):
        column = metadata.row_group(group).column(place)
        assert column.has_dictionary_page
        assert column.total_uncompressed_size < 3.1 * 100_000  # each text of the group's own runs once


def test_compaction_keeps_all_that_was_there(tmp_path: Path) -> None:
    for number in range(6):
        write_run(tmp_path, a_run(number))
    write_run(tmp_path, failed(6))
    write_run(tmp_path, a_run(6, attempt=2))
    before = canonical(tmp_path)
    assert compact(tmp_path) == (8, 22)
    assert [name.startswith("compact-") for name in parts(tmp_path)] == [True]
    assert canonical(tmp_path) == before
    assert load([tmp_path])["position"].is_monotonic_increasing
    assert compact(tmp_path) == (0, 0)
    write_run(tmp_path, a_run(7))
    assert compact(tmp_path) == (2, 25)
    assert len(parts(tmp_path)) == 1
    assert load([tmp_path])["run_id"].nunique() == 8


def test_compaction_touches_only_what_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, a_run(0))
    corrupt = write_run(tmp_path, a_run(1))
    corrupt.write_bytes(b"corrupt")
    real = publish

    def meanwhile(*arguments: Any) -> bool:
        monkeypatch.setattr(module, "publish", real)
        write_run(tmp_path, a_run(2))  # another harness ends a run after the parts were read
        return real(*arguments)

    warnings: list[str] = []
    monkeypatch.setattr(module, "publish", meanwhile)
    assert compact(tmp_path, warn=warnings.append) == (1, 3)
    assert corrupt.read_bytes() == b"corrupt"
    assert corrupt.name in warnings[0]
    assert load([tmp_path], warn=warnings.append)["run_id"].nunique() == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [("loss", 0.0), ("loss", None), ("cell", "gru"), ("error", "new"), ("started_at", datetime(2000, 1, 1))],
)
def test_compaction_that_would_change_a_value_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: object
) -> None:
    for number in range(1, 3):
        write_run(tmp_path, a_run(number))
    before = parts(tmp_path)
    real = pq.ParquetWriter.write_table

    def wrong(writer: pq.ParquetWriter, table: pa.Table, **options: Any) -> None:
        place = table.schema.get_field_index(column)
        values = table[column].to_pylist()
        values[2] = value
        changed = pa.array(values, table[column].type)
        real(writer, table.set_column(place, table.schema.field(column), changed), **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", wrong)
    with pytest.raises(UsageError, match="none was deleted"):
        compact(tmp_path)
    assert parts(tmp_path) == before


def test_compaction_never_trusts_a_file_of_its_name(tmp_path: Path) -> None:
    for number in range(2):
        write_run(tmp_path, a_run(number))
    copies = {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    compact(tmp_path)
    (folded,) = (tmp_path / "runs").iterdir()
    folded.write_bytes(b"corrupt")
    for path, content in copies.items():
        path.write_bytes(content)
    with pytest.raises(UsageError, match="none was deleted"):
        compact(tmp_path, warn=lambda sentence: None)
    assert all(path.read_bytes() == content for path, content in copies.items())
