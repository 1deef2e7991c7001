from __future__ import annotations

import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
import types
import typing
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.case import Case, Status
from bench.core.errors import NothingSureError, UsageError
from bench.core.metrics import Observation, RunMetadata
from bench.store import parts as module
from bench.store.campaign import Campaign, publish
from bench.store.parts import COLUMNS, SCHEMA_VERSION, Run, attempts, compact, finished, load, remove_stale, write_run

CAMPAIGN = Campaign(
    suite="quick",
    plan_hash="0123",
    order_seed=7,
    machine_fingerprint="m",
    software_fingerprint="s",
    program_version="0.1",
    program_commit=None,
    project_commit="abc",
    cells_digest="",
    started_at="2026-11-23T01:02:03.000004+00:00",
)


def a_run(number: int = 0, **changes: Any) -> Run:
    run = Run(
        campaign=CAMPAIGN,
        case=Case(cell=("gru", "lstm", "simple_rnn")[number % 3], seed=number // 3),
        block=number // 3,
        position=number,
        attempt=1,
        status=Status.OK,
        error=None,
        log=f"logs/{number}.txt",
        started_at=datetime(2026, 11, 23, 2, tzinfo=UTC) + timedelta(seconds=number),
        isolation="fork",
        machine_json='{"cpu": "x"}',
        software_json='{"python": "3"}',
        machine_fingerprint="m",
        software_fingerprint="s",
        host_json=f'{{"load": {number}}}',
        facts=RunMetadata(parameters=57_450, attested_kernel="generic"),
        observations=(
            Observation(phase="compile", seconds=0.5),
            Observation(phase="train", epoch=1, seconds=2.0 + number, samples=60_000, loss=0.25, accuracy=0.9),
            Observation(phase="evaluate", seconds=0.25, samples=10_000, loss=math.nan),
        ),
    )
    return replace(run, **changes)


def failed(number: int = 0, **changes: Any) -> Run:
    """A run in which nothing was measured, so that most of its columns hold nulls only."""
    empty: dict[str, Any] = {"observations": (), "facts": RunMetadata(), "log": None, "status": Status.FAILED}
    return a_run(number, **{**empty, "error": "the child died", **changes})


def parts(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "runs").iterdir())


def sorted_frame(store: Path, **options: Any) -> pd.DataFrame:
    frame = load([store], **options)
    return frame.sort_values(["position", "attempt", "phase"], ignore_index=True)


def canonical(store: Path) -> str:
    """All that a store holds, as text that two stores can be compared by."""
    frame = sorted_frame(store, all_attempts=True)
    return str(frame.to_json(orient="records", date_format="iso"))


# The schema


PLAIN = {str: pa.dictionary(pa.int32(), pa.string()), int: pa.int64(), float: pa.float64()}


@pytest.mark.parametrize("record", [Case, RunMetadata, Observation])
def test_columns_and_dataclasses_agree(record: type) -> None:
    columns = {column.name: column for column in COLUMNS}
    hints = typing.get_type_hints(record)
    for field in fields(record):
        options = typing.get_args(hints[field.name]) or (hints[field.name],)
        (plain,) = (option for option in options if option is not types.NoneType)
        assert columns[field.name].type == PLAIN[plain], field.name
        assert columns[field.name].nullable == (types.NoneType in options), field.name


def test_every_field_of_a_campaign_and_a_run_is_stored() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    kept = {field.name for record in (Case, RunMetadata, Observation, Run) for field in fields(record)}
    kept |= {field.name for field in fields(Campaign)} | {"campaign_started_at", "campaign_id", "case_id", "run_id"}
    kept |= {"schema_version", "configuration_id"}
    assert set(names) == kept - {"campaign", "case", "facts", "observations"}


def test_every_column_is_documented() -> None:
    assert all(column.doc for column in COLUMNS)


# Writing and reading back


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


@pytest.mark.parametrize("compacted", [False, True])
def test_rows_and_columns_can_be_chosen(tmp_path: Path, compacted: bool) -> None:
    write_run(tmp_path, a_run(0))
    write_run(tmp_path, a_run(1))
    write_run(tmp_path, failed(2))
    if compacted:
        compact(tmp_path)
    everything = sorted_frame(tmp_path)
    few = sorted_frame(tmp_path, columns=["seconds", "position"], phases=["train"])
    assert list(few.columns) == ["run_id", "campaign_id", "case_id", "attempt", "position", "phase", "seconds"]
    assert list(few["phase"]) == ["train", "train", "run"]  # a run without such a row is there all the same
    chosen = everything[everything["phase"].isin(["train", "run"])]
    assert few["seconds"].equals(chosen["seconds"].reset_index(drop=True))
    assert list(few["run_id"]) == list(chosen["run_id"])
    facts = load([tmp_path], phases=())
    assert sorted(facts["run_id"]) == sorted(everything["run_id"].unique())
    assert facts["run_id"].is_unique


def test_long_texts_are_folded_in_groups_that_keep_their_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column whose dictionary is too large is written out in every row: 90 kB of predictions a row, here."""
    monkeypatch.setattr(module, "_DICTIONARY_BYTES", 600_000)
    draw = random.Random(0)
    for number in range(9):
        facts = RunMetadata(test_predictions=draw.randbytes(50_000).hex())
        write_run(tmp_path, a_run(number, facts=facts))
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


def test_types_never_depend_on_content(tmp_path: Path) -> None:
    write_run(tmp_path / "full", a_run())
    write_run(tmp_path / "empty", failed())
    full, empty = (load([tmp_path / name]).dtypes.map(str) for name in ("full", "empty"))
    assert (full == empty).all()
    assert full["epoch"] == "float64"
    assert full["seed"] == "int64"


def test_categories_are_sorted_and_in_use(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        write_run(tmp_path, a_run(number))
    write_run(tmp_path, failed(3))
    write_run(tmp_path, a_run(3, attempt=2))
    frame = load([tmp_path])
    assert list(frame["cell"].cat.categories) == ["gru", "lstm", "simple_rnn"]
    assert list(frame["status"].cat.categories) == ["ok"]


def test_a_run_without_observations_is_a_row(tmp_path: Path) -> None:
    write_run(tmp_path, failed())
    (row,) = load([tmp_path]).to_dict("records")
    assert (row["phase"], row["status"], row["error"]) == ("run", "failed", "the child died")


def test_a_part_describes_itself(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    assert pq.read_schema(path).metadata[b"bench_schema_version"] == str(SCHEMA_VERSION).encode()
    assert pq.read_table(path)["schema_version"].unique().to_pylist() == [SCHEMA_VERSION]


def test_all_parts_are_one_table_for_pandas_and_duckdb(tmp_path: Path) -> None:
    for number in range(3):
        write_run(tmp_path, a_run(number))
    write_run(tmp_path, failed(3))
    for _ in range(2):
        schemas = [pq.read_schema(path) for path in (tmp_path / "runs").iterdir()]
        assert all(schema.equals(schemas[0], check_metadata=False) for schema in schemas)
        whole = pd.read_parquet(tmp_path / "runs")
        assert whole.shape == (10, len(COLUMNS))
        query = f"select count(*), sum(seconds), count(distinct run_id) from '{tmp_path}/runs/*.parquet'"
        assert duckdb.sql(query).fetchall() == [(10, pytest.approx(3 * 0.75 + 9.0), 4)]
        compact(tmp_path)


text = st.text(max_size=8)
maybe_text = st.none() | st.text(st.characters(), max_size=8)  # lone surrogates too: an error may quote any bytes
whole = st.integers(-(2**53), 2**53)
number = st.floats()
KINDS: dict[object, st.SearchStrategy[Any]] = {
    "str": text,
    "int": whole,
    "float": number,
    "str | None": maybe_text,
    "int | None": st.none() | whole,
    "float | None": st.none() | number,
}


def any_of(record: type) -> st.SearchStrategy[Any]:
    return st.builds(record, **{field.name: KINDS[field.type] for field in fields(record)})


@settings(max_examples=60, deadline=None)
@given(
    case=any_of(Case),
    facts=any_of(RunMetadata),
    observations=st.lists(any_of(Observation), max_size=3).map(tuple),
    error=maybe_text,
    status=st.sampled_from(Status),
    began=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.timezones()),
)
def test_whatever_a_run_holds_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    case: Case,
    facts: RunMetadata,
    observations: tuple[Observation, ...],
    error: str | None,
    status: Status,
    began: datetime,
) -> None:
    store = tmp_path_factory.mktemp("store")
    run = a_run(case=case, facts=facts, observations=observations, error=error, status=status, started_at=began)
    write_run(store, run)
    frame = load([store])
    if observations:
        assert len(frame) == len(observations)
    for row, observation in zip(frame.to_dict("records"), observations or [Observation(phase="run")], strict=True):
        assert row["started_at"] == began
        assert row["status"] == status
        expected = {"error": error, "run_id": run.id}
        for record in (case, facts, observation):
            expected |= {field.name: getattr(record, field.name) for field in fields(record)}
        for name, value in expected.items():
            if value is None or value != value:
                assert pd.isna(row[name]), name
            elif isinstance(value, str):
                assert row[name] == value.encode(errors="backslashreplace").decode(), name
            else:
                assert row[name] == value, name


# What is there already


def test_the_same_run_is_kept_as_first_written(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    before = path.read_bytes()
    assert write_run(tmp_path, a_run(error="another")) == path
    assert path.read_bytes() == before
    assert parts(tmp_path) == [path.name]


def test_a_corrupt_part_does_not_block_its_run(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    path.write_bytes(b"PAR1 half a part")
    said: list[str] = []
    assert finished(tmp_path, CAMPAIGN.id, say=said.append) == {}
    assert path.name in said[0]
    write_run(tmp_path, a_run())
    assert finished(tmp_path, CAMPAIGN.id) == {a_run().case.id: (1, Status.OK)}
    assert parts(tmp_path) == sorted([path.name, path.with_suffix(".corrupt").name])
    assert path.with_suffix(".corrupt").read_bytes() == b"PAR1 half a part"


def test_a_run_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name, a_run(5)) for name in ("one", "two"))
    write_run(tmp_path / "two", a_run(6))
    (tmp_path / "one" / "runs" / "copy.parquet").write_bytes(first.read_bytes())
    frame = load([tmp_path / "one", tmp_path / "two", second, tmp_path / "two" / "runs"])
    assert frame["run_id"].value_counts().to_dict() == {a_run(5).id: 3, a_run(6).id: 3}


def test_the_last_attempt_counts(tmp_path: Path) -> None:
    write_run(tmp_path, failed(0))
    write_run(tmp_path, a_run(0, attempt=10))
    write_run(tmp_path, failed(0, attempt=2))
    write_run(tmp_path, a_run(1))
    write_run(tmp_path, failed(1, attempt=2, status=Status.TIMEOUT))
    other = replace(CAMPAIGN, order_seed=8)
    write_run(tmp_path, failed(0, attempt=11, campaign=other, status=Status.INVALID))
    zero, one = a_run(0).case.id, a_run(1).case.id
    for _ in range(2):
        assert finished(tmp_path, CAMPAIGN.id) == {zero: (10, Status.OK), one: (2, Status.TIMEOUT)}
        assert attempts(tmp_path)[other.id] == {zero: (11, Status.INVALID)}
        assert finished(tmp_path, "unknown") == {}
        frame = load([tmp_path])
        last = frame.groupby(["campaign_id", "case_id"])["attempt"].unique().map(list).to_dict()
        assert last == {(CAMPAIGN.id, zero): [10], (CAMPAIGN.id, one): [2], (other.id, zero): [11]}
        assert sorted(load([tmp_path], all_attempts=True)["attempt"].unique()) == [1, 2, 10, 11]
        compact(tmp_path)


# What cannot be read


def test_nothing_measured(tmp_path: Path) -> None:
    with pytest.raises(NothingSureError, match="make bench"):
        load([tmp_path])
    (tmp_path / "runs").mkdir()
    with pytest.raises(NothingSureError, match=str(tmp_path)):
        load([tmp_path])
    assert finished(tmp_path / "missing", "any") == {}
    assert compact(tmp_path) == (0, 0)


def test_a_part_without_rows_is_nothing_measured(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(NothingSureError):
        load([tmp_path])
    assert finished(tmp_path, CAMPAIGN.id) == {}
    assert compact(tmp_path) == (1, 0)


def test_paths_that_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no results at .*missing"):
        load([tmp_path / "missing"])
    with pytest.raises(UsageError, match="missing"):
        compact(tmp_path / "missing")
    with pytest.raises(UsageError, match="not a results folder"):
        compact(tmp_path)
    write_run(tmp_path, a_run())
    (tmp_path / "notes.txt").write_text("not parquet")
    with pytest.raises(UsageError, match=r"cannot read .*notes\.txt"):
        load([tmp_path, tmp_path / "notes.txt"])
    pq.write_table(pa.table({"x": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(UsageError, match=r"foreign\.parquet .*bench did not write it"):
        load([tmp_path / "foreign.parquet"])


def test_corrupt_parts_are_named_and_left_out(tmp_path: Path) -> None:
    paths = [write_run(tmp_path, a_run(number)) for number in range(5)]
    bytes_of = [path.read_bytes() for path in paths]
    paths[0].write_bytes(bytes_of[0][: len(bytes_of[0]) // 2])
    paths[1].write_bytes(b"")
    page = bytearray(bytes_of[2])
    place = page.index(a_run(2).id.encode())
    page[place] ^= 1
    paths[2].write_bytes(page)
    (tmp_path / "runs" / "folder.parquet").mkdir()
    said: list[str] = []
    frame = load([tmp_path], say=said.append)
    assert set(frame["run_id"]) == {a_run(3).id, a_run(4).id}
    named = [path for path in [*paths, Path("folder.parquet")] if any(path.name in sentence for sentence in said)]
    assert named == [*paths[:3], Path("folder.parquet")]
    assert len(said) == 4


def test_text_that_is_no_text_is_a_corrupt_part(tmp_path: Path) -> None:
    write_run(tmp_path, a_run(0))
    path = write_run(tmp_path, a_run(1))
    pq.write_table(pq.read_table(path), path, compression="NONE", write_statistics=False)  # without checksums
    path.write_bytes(path.read_bytes().replace(b"logs/1.txt", b"logs/\xff.txt"))
    said: list[str] = []
    assert set(load([tmp_path], say=said.append)["run_id"]) == {a_run(0).id}
    assert path.name in said[0]


def test_no_flipped_bit_escapes_as_a_traceback(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    good = path.read_bytes()
    draw = random.Random(1)
    said: list[str] = []
    for _ in range(300):
        bad = bytearray(good)
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        path.write_bytes(bad)
        try:
            load([path.parent], say=said.append)
        except (NothingSureError, UsageError):
            continue
    assert len(said) > 100


def with_version(path: Path, version: int, *, metadata: bool = True, column: bool = True) -> None:
    table = pq.read_table(path)
    if column:
        place = table.schema.get_field_index("schema_version")
        table = table.set_column(place, "schema_version", pa.array([version] * table.num_rows, pa.int32()))
    marks = {b"bench_schema_version": str(version)} if metadata else None
    pq.write_table(table.replace_schema_metadata(marks), path)


@pytest.mark.parametrize("metadata", [True, False])
def test_a_newer_part_is_refused(tmp_path: Path, metadata: bool) -> None:
    write_run(tmp_path, a_run(0))
    path = write_run(tmp_path, a_run(1))
    with_version(path, SCHEMA_VERSION + 1, metadata=metadata)
    for read in (lambda: load([tmp_path]), lambda: finished(tmp_path, "any"), lambda: compact(tmp_path)):
        with pytest.raises(UsageError, match=rf"{path.name} is in version {SCHEMA_VERSION + 1} .*upgrade bench"):
            read()
    assert len(parts(tmp_path)) == 2


def test_a_part_without_later_columns_is_filled(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run(0))
    write_run(tmp_path, a_run(1))
    pq.write_table(pq.read_table(path).drop_columns(["decay", "network", "extra_json", "peak_rss_bytes"]), path)
    frame = load([tmp_path])
    old = frame[frame["run_id"] == a_run(0).id]
    assert (old["decay"] == 1e-6).all()
    assert (old["network"] == "notebook").all()
    assert old["extra_json"].isna().all()
    assert old["peak_rss_bytes"].isna().all()
    pq.write_table(pq.read_table(path).drop_columns(["case_id"]), path)
    said: list[str] = []
    assert set(load([tmp_path], say=said.append)["run_id"]) == {a_run(1).id}
    assert "case_id" in said[0]


def test_an_older_part_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_run(tmp_path, a_run(0))
    write_run(tmp_path, a_run(1))
    for number in (2, 3):
        path = write_run(tmp_path, a_run(number))
        table = pq.read_table(path)
        table = table.rename_columns(["run" if name == "run_id" else name for name in table.column_names])
        milliseconds = pa.array([None if x is None else x * 1000 for x in table["seconds"].to_pylist()])
        table = table.set_column(table.schema.get_field_index("seconds"), "milliseconds", milliseconds)
        pq.write_table(table, path)
    for path in (tmp_path / "runs").iterdir():
        if path.stem in {a_run(2).id, a_run(3).id}:
            with_version(path, 1)
        else:
            with_version(path, 3)

    def rename(table: pa.Table) -> pa.Table:
        return table.rename_columns(["run_id" if name == "run" else name for name in table.column_names])

    def to_seconds(table: pa.Table) -> pa.Table:
        seconds = pa.array([None if x is None else x / 1000 for x in table["milliseconds"].to_pylist()])
        return table.drop_columns(["milliseconds"]).append_column("seconds", seconds)

    monkeypatch.setattr(module, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(module, "UPGRADES", {1: rename, 2: to_seconds})
    assert len(finished(tmp_path, CAMPAIGN.id)) == 4
    frame = load([tmp_path])
    assert frame.loc[frame["phase"] == "train"].set_index("position")["seconds"].to_dict() == {0: 2, 1: 3, 2: 4, 3: 5}
    assert set(frame["schema_version"]) == {3}
    assert compact(tmp_path) == (4, 12)
    assert pq.read_schema(next((tmp_path / "runs").iterdir())).metadata[b"bench_schema_version"] == b"3"
    assert not first.exists()


# What cannot be written


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


def in_child(code: str, *arguments: str) -> subprocess.Popen[str]:
    here = Path(__file__).parents[2]
    preamble = f"import sys; sys.path.insert(0, {str(here)!r})\nfrom tests.store.test_parts import *\n"
    command = [sys.executable, "-c", preamble + code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


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
    said, _ = in_child(limited, str(tmp_path)).communicate(timeout=60)
    assert "file too large" in said
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
        said, _ = in_child(attempt, str(store)).communicate(timeout=60)
    finally:
        (store / "runs").chmod(0o700)
    first, second = said.splitlines()
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


# Kills and company

ZYGOTE = """
for line in sys.stdin:
    action, *arguments = json.loads(line)
    if not (child := os.fork()):
        globals()[action](*arguments)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until then a child that has ended keeps its process id, so that no other is killed
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Zygote:
    """Starts real processes that can be killed, without an import for each."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, action: str, *arguments: Any) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([action, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._number()

    def wait(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    with in_child(ZYGOTE) as process:
        yield Zygote(process)
        assert process.stdin is not None
        process.stdin.close()


def write_some(store: str, first: int, stop: int) -> None:
    for number in range(first, stop):
        write_run(Path(store), a_run(number))


def compact_now(store: str) -> None:
    compact(Path(store))


def write_and_die(store: str, stage: str) -> None:
    """Writes one run, and is killed as if by chance at one stage of it."""
    owner, name, *after = stage.split()
    target = {"os": os, "Path": Path}[owner]
    real = getattr(target, name)

    def deadly(*arguments: Any, **options: Any) -> None:
        if after:
            real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(target, name, deadly)
    write_run(Path(store), a_run(1))


@pytest.mark.parametrize(
    ("stage", "whole"),
    [("os fsync", 1), ("os link", 1), ("os link after", 2), ("Path unlink after", 2)],
)
def test_a_kill_at_each_stage(tmp_path: Path, zygote: Zygote, stage: str, whole: int) -> None:
    write_run(tmp_path, a_run(0))
    zygote.start("write_and_die", str(tmp_path), stage)
    assert zygote.wait() == -signal.SIGKILL
    left = [name for name in parts(tmp_path) if name.endswith(".tmp")]
    assert len(left) == (0 if "unlink" in stage else 1)
    assert load([tmp_path])["run_id"].nunique() == whole
    assert remove_stale(tmp_path) == len(left)
    assert len(parts(tmp_path)) == whole
    write_run(tmp_path, a_run(1))
    assert len(finished(tmp_path, CAMPAIGN.id)) == 2


def test_random_kills_of_writers_leave_whole_parts_only(tmp_path: Path, zygote: Zygote) -> None:
    draw = random.Random(2)
    killed = stale = 0
    wait = threading.Event()
    for _ in range(30):
        done = len(finished(tmp_path, CAMPAIGN.id))
        child = zygote.start("write_some", str(tmp_path), done, done + 1000)
        wait.wait(draw.uniform(0.001, 0.04))
        os.kill(child, signal.SIGKILL)
        killed += zygote.wait() == -signal.SIGKILL
        stale += remove_stale(tmp_path)
        if parts_now := parts(tmp_path) if (tmp_path / "runs").exists() else []:
            assert all(name.endswith(".parquet") for name in parts_now)
            frame = load([tmp_path], say=pytest.fail)
            assert (frame.groupby("run_id").size() == 3).all()
            assert frame["position"].nunique() == len(parts_now)
    assert killed == 30
    assert stale > 0
    written = len(parts(tmp_path))
    assert sorted(load([tmp_path])["position"].unique()) == list(range(written))
    count = f"select count(distinct run_id), count(*) from '{tmp_path}/runs/*.parquet'"
    assert duckdb.sql(count).fetchall() == [(written, 3 * written)]


def test_random_kills_of_compaction_lose_nothing(tmp_path: Path, zygote: Zygote) -> None:
    draw = random.Random(3)
    wait = threading.Event()
    store = tmp_path / "store"
    write_some(str(store), 0, 25)
    write_run(store, failed(25))
    originals = {path: path.read_bytes() for path in (store / "runs").iterdir()}
    before = canonical(store)
    completed = 0
    began = time.monotonic()
    compact(store)
    usual = time.monotonic() - began
    for path, content in originals.items():
        path.write_bytes(content)
    for _ in range(15):
        child = zygote.start("compact_now", str(store))
        wait.wait(draw.uniform(0, 2 * usual))
        os.kill(child, signal.SIGKILL)
        zygote.wait()
        assert canonical(store) == before
        remove_stale(store)
        if len(parts(store)) == 1:  # begin again, beside what was folded
            completed += 1
            for path, content in originals.items():
                path.write_bytes(content)
    assert completed < 15
    compact(store)
    assert len(parts(store)) == 1
    assert canonical(store) == before


def test_writers_at_once(tmp_path: Path) -> None:
    code = "sys.stdin.readline(); write_some(sys.argv[1], int(sys.argv[2]), int(sys.argv[2]) + 30)"
    writers = [in_child(code, str(tmp_path), str(first)) for first in (0, 0, 15)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert parts(tmp_path) == sorted(f"{a_run(number).id}.parquet" for number in range(45))
    assert len(load([tmp_path], say=pytest.fail)) == 3 * 45


def test_reading_while_another_process_writes_and_compacts(tmp_path: Path) -> None:
    code = """
store = Path(sys.argv[1])
for round in range(6):
    write_some(sys.argv[1], round * 15, round * 15 + 15)
    compact(store)
"""
    write_run(tmp_path, a_run(0))
    seen = {a_run(0).id}
    company = in_child(code, str(tmp_path))
    reads = 0
    while company.poll() is None:
        now = set(load([tmp_path], say=pytest.fail)["run_id"].astype("str"))
        assert seen <= now
        seen = now
        reads += 1
    company.communicate()
    assert company.returncode == 0
    assert reads > 3
    assert load([tmp_path])["run_id"].nunique() == 90


def test_a_part_that_vanishes_while_reading_is_found_in_its_new_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        write_run(tmp_path, a_run(number))
    real = module._list

    def late(folder: Path) -> list[Path]:
        listed = real(folder)
        monkeypatch.setattr(module, "_list", real)
        compact(tmp_path)
        return listed

    monkeypatch.setattr(module, "_list", late)
    assert load([tmp_path], say=pytest.fail)["run_id"].nunique() == 4


# Compaction


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

    said: list[str] = []
    monkeypatch.setattr(module, "publish", meanwhile)
    assert compact(tmp_path, say=said.append) == (1, 3)
    assert corrupt.read_bytes() == b"corrupt"
    assert corrupt.name in said[0]
    assert load([tmp_path], say=said.append)["run_id"].nunique() == 2


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
        compact(tmp_path, say=lambda sentence: None)
    assert all(path.read_bytes() == content for path, content in copies.items())
