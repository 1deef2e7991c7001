from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.case import Case, Status
from bench.core.errors import UsageError
from bench.core.observation import Observation, RunMetadata
from bench.store.compact import compact
from bench.store.parts import write_run
from bench.store.reader import finished, load
from bench.store.schema import BY_NAME, COLUMNS, SCHEMA_VERSION
from tests.support.small_store import CAMPAIGN, a_run, failed, in_child, parts


def test_a_run_comes_back(tmp_path: Path) -> None:
    run = a_run(4)
    path = write_run(tmp_path / "new" / "store", run)
    assert path == tmp_path / "new" / "store" / "runs" / f"{run.id}.parquet"
    frame = load([tmp_path / "new" / "store"])
    assert list(frame.columns) == [column.name for column in COLUMNS]
    assert list(frame["phase"]) == ["compile", "train", "evaluate"]
    assert list(frame["case_id"].unique()) == [run.case.id]
    assert list(frame["configuration_id"].unique()) == [run.case.configuration_id]
    assert list(frame["campaign_id"].unique()) == [CAMPAIGN.id]
    train = frame.iloc[1]
    assert (train["seconds"], train["epoch"], train["samples"], train["seed"]) == (6.0, 1.0, 60_000, 1)
    assert train["started_at"] == pd.Timestamp(run.started_at)
    assert train["campaign_started_at"] == pd.Timestamp(CAMPAIGN.started_at)
    assert frame["epoch"].isna().tolist() == [True, False, True]
    assert frame["program_commit"].isna().all()


def test_a_run_without_observations_is_a_row(tmp_path: Path) -> None:
    write_run(tmp_path, failed())
    (row,) = load([tmp_path]).to_dict("records")
    assert (row["phase"], row["status"], row["error"]) == ("run", "failed", "the child died")


def test_a_part_describes_itself(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    assert pq.read_schema(path).metadata[b"bench_schema_version"] == str(SCHEMA_VERSION).encode()
    assert pq.read_table(path)["schema_version"].unique().to_pylist() == [SCHEMA_VERSION]


text = st.text(max_size=8)


maybe_text = st.none() | st.text(st.characters(), max_size=8)  # lone surrogates too: an error may quote any bytes


whole = st.integers(-(2**53), 2**53)


number = st.floats()


KINDS: dict[object, st.SearchStrategy[Any]] = {
    "str": text,
    "bool": st.booleans(),
    "int": whole,
    "float": number,
    "str | None": maybe_text,
    "int | None": st.none() | whole,
    "float | None": st.none() | number,
}


def any_sound(name: str, kind: object) -> st.SearchStrategy[Any]:
    """What a column may hold: numbers within its bounds, JSON of its shape."""
    column = BY_NAME[name]
    if name.endswith("_json"):
        return st.none() | st.sampled_from(["[]"] if name == "code_json" else ["{}", ' {"train": {}}'])
    maybe = st.none() if column.nullable else st.nothing()
    if column.allowed is None or "str" in str(kind):
        return KINDS[kind]
    low, high = max(column.allowed.at_least, column.allowed.above), column.allowed.at_most
    if "int" in str(kind):
        return maybe | st.integers(int(low), int(min(high, 2**53)))
    least_open = column.allowed.above >= column.allowed.at_least
    return maybe | st.floats(low, None if high == math.inf else high, allow_infinity=False, exclude_min=least_open)


def any_of(record: type) -> st.SearchStrategy[Any]:
    return st.builds(record, **{field.name: any_sound(field.name, field.type) for field in fields(record)})


@settings(max_examples=60, deadline=None)
@given(
    case=any_of(Case),
    metadata=any_of(RunMetadata),
    observations=st.lists(any_of(Observation), max_size=3).map(tuple),
    error=maybe_text,
    status=st.sampled_from(Status),
    # a time that a clock put forward leaves out is unequal to its own UTC form, whatever is stored
    began=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.timezones(), allow_imaginary=False),
)
def test_whatever_a_run_holds_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    case: Case,
    metadata: RunMetadata,
    observations: tuple[Observation, ...],
    error: str | None,
    status: Status,
    began: datetime,
) -> None:
    store = tmp_path_factory.mktemp("store")
    run = a_run(case=case, metadata=metadata, observations=observations, error=error, status=status, started_at=began)
    write_run(store, run)
    frame = load([store])
    if observations:
        assert len(frame) == len(observations)
    for row, observation in zip(frame.to_dict("records"), observations or [Observation(phase="run")], strict=True):
        assert row["started_at"] == began
        assert row["status"] == status
        expected = {"error": error, "run_id": run.id}
        for record in (case, metadata, observation):
            expected |= {field.name: getattr(record, field.name) for field in fields(record)}
        for name, value in expected.items():
            if value is None or value != value:
                assert pd.isna(row[name]), name
            elif isinstance(value, str):
                assert row[name] == value.encode(errors="backslashreplace").decode(), name
            else:
                assert row[name] == value, name


def test_the_same_run_is_kept_as_first_written(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    before = path.read_bytes()
    assert write_run(tmp_path, a_run(error="another")) == path
    assert path.read_bytes() == before
    assert parts(tmp_path) == [path.name]


def without_block(path: Path) -> None:
    table = pq.read_table(path)
    place = table.schema.get_field_index("block")
    pq.write_table(table.set_column(place, "block", pa.nulls(table.num_rows, pa.int32())), path)


def another_run(path: Path) -> None:
    write_run(path.parents[1], a_run(1)).replace(path)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"PAR1 half a part"), without_block, another_run])
def test_a_part_that_does_not_hold_its_run_soundly_does_not_block_it(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    path = write_run(tmp_path, a_run())
    damage(path)
    damaged = path.read_bytes()
    assert a_run().case.id not in finished(tmp_path, CAMPAIGN.id, warn=lambda text: None)
    write_run(tmp_path, a_run())
    assert finished(tmp_path, CAMPAIGN.id)[a_run().case.id] == (1, Status.OK)
    assert parts(tmp_path) == sorted([path.name, path.with_suffix(".corrupt").name])
    assert path.with_suffix(".corrupt").read_bytes() == damaged


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"PAR1 half a part"), without_block])
def test_a_part_that_counts_for_nothing_is_named(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path = write_run(tmp_path, a_run())
    damage(path)
    warnings: list[str] = []
    assert finished(tmp_path, CAMPAIGN.id, warn=warnings.append) == {}
    assert path.name in warnings[0]


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_refused_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    def refuse(table: pa.Table, file: Any, **options: Any) -> None:
        file.write(b"PAR1")
        raise OSError(kind, os.strerror(kind))

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", refuse)
        with pytest.raises(UsageError, match=r"cannot write to .*runs .*--results"):
            write_run(tmp_path, a_run())
    assert parts(tmp_path) == []
    for number in range(2):
        write_run(tmp_path, a_run(number))
    before = parts(tmp_path)
    monkeypatch.setattr(pq, "ParquetWriter", lambda file, *_, **__: refuse(pa.table({}), file))
    with pytest.raises(UsageError, match=r"cannot write to"):
        compact(tmp_path)
    assert parts(tmp_path) == before


def test_a_real_refusal_in_the_middle_of_a_part(tmp_path: Path) -> None:
    limited = """
import resource
write_run(Path(sys.argv[1]), a_run(0))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_run(Path(sys.argv[1]), a_run(1, host_json="x" * 100_000))
except UsageError as error:
    print(error)
"""
    printed, _ = in_child(limited, str(tmp_path)).communicate(timeout=60)
    assert "file too large" in printed
    assert parts(tmp_path) == [f"{a_run(0).id}.parquet"]


def test_a_folder_without_permission(tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_run(store, a_run(0))
    if os.geteuid() == 0:
        unprivileged = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    else:
        unprivileged = "pass"
        (store / "runs").chmod(0o500)
    attempt = f"""
{unprivileged}
store = Path(sys.argv[1])
for action in (lambda: write_run(store, a_run(1)), lambda: compact(store)):
    try:
        print(action())
    except UsageError as error:
        print(error)
"""
    try:
        printed, _ = in_child(attempt, str(store)).communicate(timeout=60)
    finally:
        (store / "runs").chmod(0o700)
    first, second = printed.splitlines()
    assert "cannot write to" in first
    assert "permission denied" in first
    assert "ermission denied" in second
    assert parts(store) == [f"{a_run(0).id}.parquet"]


def test_a_file_where_the_store_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a file is in the way"):
        write_run(tmp_path / "file", a_run())
    with pytest.raises(UsageError, match="cannot read"):
        finished(tmp_path / "file", "any")
