from __future__ import annotations

import errno
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bench.store
from bench.core.case import Status
from bench.core.errors import NoVerdictError, UsageError
from bench.store import reader
from bench.store.compact import compact
from bench.store.parts import write_run
from bench.store.reader import attempts, finished, load
from bench.store.schema import COLUMNS
from tests.support.small_store import CAMPAIGN, a_run, failed, sorted_frame


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
    later = replace(CAMPAIGN, order_seed=8)
    write_run(tmp_path, failed(0, attempt=11, campaign=later, status=Status.INVALID))
    first, second = a_run(0).case.id, a_run(1).case.id
    for _ in range(2):
        assert finished(tmp_path, CAMPAIGN.id) == {first: (10, Status.OK), second: (2, Status.TIMEOUT)}
        assert attempts(tmp_path)[later.id] == {first: (11, Status.INVALID)}
        assert finished(tmp_path, "unknown") == {}
        frame = load([tmp_path])
        last = frame.groupby(["campaign_id", "case_id"])["attempt"].unique().map(list).to_dict()
        assert last == {(CAMPAIGN.id, first): [10], (CAMPAIGN.id, second): [2], (later.id, first): [11]}
        assert sorted(load([tmp_path], all_attempts=True)["attempt"].unique()) == [1, 2, 10, 11]
        compact(tmp_path)


def test_nothing_measured(tmp_path: Path) -> None:
    with pytest.raises(NoVerdictError, match="bench run quick"):
        load([tmp_path])
    (tmp_path / "runs").mkdir()
    with pytest.raises(NoVerdictError, match=str(tmp_path)):
        load([tmp_path])
    assert finished(tmp_path / "missing", "any") == {}
    assert compact(tmp_path) == (0, 0)


def test_a_part_without_rows_is_nothing_measured(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(NoVerdictError):
        load([tmp_path])
    assert finished(tmp_path, CAMPAIGN.id) == {}
    assert compact(tmp_path) == (0, 0)
    assert path.exists()


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
    warnings: list[str] = []
    frame = load([tmp_path], warn=warnings.append)
    assert set(frame["run_id"]) == {a_run(3).id, a_run(4).id}
    named = [path for path in [*paths, Path("folder.parquet")] if any(path.name in sentence for sentence in warnings)]
    assert named == [*paths[:3], Path("folder.parquet")]
    assert len(warnings) == 4


def test_text_that_is_no_text_is_a_corrupt_part(tmp_path: Path) -> None:
    write_run(tmp_path, a_run(0))
    path = write_run(tmp_path, a_run(1))
    pq.write_table(pq.read_table(path), path, compression="NONE", write_statistics=False)  # without checksums
    path.write_bytes(path.read_bytes().replace(b"logs/1.txt", b"logs/\xff.txt"))
    warnings: list[str] = []
    assert set(load([tmp_path], warn=warnings.append)["run_id"]) == {a_run(0).id}
    assert path.name in warnings[0]


def test_no_flipped_bit_escapes_as_a_traceback(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run())
    good = path.read_bytes()
    draw = random.Random(1)
    warnings: list[str] = []
    for _ in range(300):
        bad = bytearray(good)
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        path.write_bytes(bad)
        try:
            load([path.parent], warn=warnings.append)
        except (NoVerdictError, UsageError):
            continue
    assert len(warnings) > 100


def test_a_part_that_vanishes_while_reading_is_found_in_its_new_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        write_run(tmp_path, a_run(number))
    real = reader._list

    def late(folder: Path) -> list[Path]:
        listed = real(folder)
        monkeypatch.setattr(reader, "_list", real)
        compact(tmp_path)
        return listed

    monkeypatch.setattr(reader, "_list", late)
    assert load([tmp_path], warn=pytest.fail)["run_id"].nunique() == 4


def test_a_notebook_loads_from_the_package_which_is_light_until_then() -> None:
    code = (
        "import sys, bench.store; before = 'pyarrow' in sys.modules; from bench.store import load; print(before, load)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False <function load")
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        bench.store.laod  # noqa: B018


def test_nothing_is_left_out_because_this_process_has_no_more_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That says nothing about the part: figures without it would be wrong without need."""
    write_run(tmp_path, a_run(0))
    refused = OSError(errno.EMFILE, "Too many open files")
    monkeypatch.setattr(reader, "read_part", lambda path, columns, phases: refused)
    with pytest.raises(UsageError, match=r"cannot read .*\.parquet \(too many open files\): raise the limit"):
        load([tmp_path], warn=pytest.fail)
