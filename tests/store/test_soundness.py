from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.core.errors import NoVerdictError
from bench.store.campaign import read_manifests
from bench.store.ceilings import load as load_ceilings
from bench.store.compact import compact
from bench.store.parts import write_run
from bench.store.reader import attempts, load
from scripts.broken_stores import DEEP, LONG, Breaker
from tests.support.small_store import a_run, parts


def with_value(path: Path, name: str, value: Any, row: int = 1) -> None:
    table = pq.read_table(path)
    values = table[name].to_pylist()
    values[row] = value
    field = table.schema.field(name).with_nullable(True)
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, field, pa.array(values, field.type)), path)


UNSOUND = [
    *((name, None) for name in ("batch_size", "learning_rate", "seed", "block", "epochs", "started_at", "run_id")),
    *((name, None) for name in ("campaign_id", "status", "machine_json", "phase", "position", "attempt", "cell")),
    *(("seconds", value) for value in (None, float("nan"), float("inf"), -1.0)),
    ("epoch", None),
    ("epoch", 0),
    ("samples", -1),
    ("accuracy", 1.5),
    ("learning_rate", float("nan")),
    ("status", "excellent"),
    ("kernel", "nonesuch"),
    ("cell", LONG),
    ("suite", LONG),
    ("batch_size", 64),
    ("case_id", "0" * 16),
    ("campaign_id", "0" * 16),
    ("parameters", 7),
    ("started_at", 2**60),
    ("machine_json", DEEP),
    ("machine_json", '{"cpu_quota": "much"}'),
    ("software_json", '{"settings": [["a"]]}'),
    ("host_json", '{"uptime_seconds": 1e999}'),
    ("host_json", "[]"),
    ("attestation_json", '{"train": {"a": {"kernel": null}}}'),
    ("attestation_json", '{"train": 3}'),
    ("code_json", '[{"name": []}]'),
]


@pytest.mark.parametrize(("name", "value"), UNSOUND, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("row", [0, 1])
def test_a_run_that_is_not_sound_is_named_and_left_out(tmp_path: Path, name: str, value: Any, row: int) -> None:
    paths = [write_run(tmp_path, a_run(number)) for number in range(3)]
    with_value(paths[1], name, value, row)
    if value is None and row == 0 and name in ("epoch", "seconds"):
        return  # a phase that isn't measured by it
    warnings: list[str] = []
    assert set(load([tmp_path], warn=warnings.append)["run_id"]) == {a_run(0).id, a_run(2).id}
    assert [paths[1].name in text for text in warnings] == [True]
    assert name in warnings[0] or "id" in warnings[0]
    assert len(warnings[0]) < len(str(paths[1])) + 150


def test_folding_leaves_a_part_that_is_not_sound_where_it_is(tmp_path: Path) -> None:
    paths = [write_run(tmp_path, a_run(number)) for number in range(3)]
    with_value(paths[1], "block", None)
    before = paths[1].read_bytes()
    assert compact(tmp_path, warn=lambda text: None) == (2, 6)
    assert paths[1].read_bytes() == before
    assert len(parts(tmp_path)) == 2


def test_a_run_of_a_folded_part_is_left_out_by_its_name(tmp_path: Path) -> None:
    for number in range(4):
        write_run(tmp_path, a_run(number))
    compact(tmp_path)
    (path,) = (tmp_path / "runs").iterdir()
    with_value(path, "seed", None, row=4)
    warnings: list[str] = []
    assert set(load([tmp_path], warn=warnings.append)["run_id"]) == {a_run(n).id for n in (0, 2, 3)}
    assert f"of the 4 runs in {path}, {a_run(1).id} left out: its seed is missing" in warnings[0]
    with_value(path, "run_id", None, row=4)
    with pytest.raises(NoVerdictError, match="nothing sound"):
        load([tmp_path], warn=warnings.append)


def test_a_broken_copy_does_not_hide_a_sound_one(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run(0))
    path.with_name("0.parquet").write_bytes(path.read_bytes())
    with_value(path.with_name("0.parquet"), "seed", None)
    assert len(load([tmp_path], warn=lambda text: None)) == 3


def as_type(name: str, kind: pa.DataType, value: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        table = pq.read_table(path)
        values = pa.array([value] * table.num_rows, kind)
        pq.write_table(table.set_column(table.schema.get_field_index(name), name, values), path)

    return change


def as_version(version: str) -> Callable[[Path], None]:
    return lambda path: pq.write_table(
        pq.read_table(path).replace_schema_metadata({b"bench_schema_version": version}), path
    )


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_dead_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def rows_twice(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(1, 1)]), path)


def no_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 0), path)


def many_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).take(pa.array([0] * 3_000_000, pa.int32())), path, compression="ZSTD")


@pytest.mark.parametrize(
    "change",
    [
        as_type("batch_size", pa.bool_(), True),
        as_type("cell", pa.int64(), 3),
        as_type("seconds", pa.list_(pa.int64()), [1]),
        as_version("0"),
        as_version("-5"),
        as_version("x"),
        a_pipe,
        a_dead_link,
        rows_twice,
        no_rows,
        many_rows,
    ],
)
def test_a_part_that_cannot_be_one_is_named_and_left_out(tmp_path: Path, change: Callable[[Path], None]) -> None:
    write_run(tmp_path, a_run(0))
    path = write_run(tmp_path, a_run(1))
    change(path)
    warnings: list[str] = []
    assert set(load([tmp_path], warn=warnings.append)["run_id"]) == {a_run(0).id}
    assert path.name in warnings[0]


def test_an_unknown_status_is_no_finished_case(tmp_path: Path) -> None:
    write_run(tmp_path, a_run(0))
    path = write_run(tmp_path, a_run(1))
    for row in range(3):
        with_value(path, "status", "excellent", row)
    (of_campaign,) = attempts(tmp_path, warn=lambda text: None).values()
    assert set(of_campaign) == {a_run(0).case.id}


@pytest.mark.parametrize(
    "text", [DEEP, "[]", '{"manifest_version": 1, "campaign": {"started_at": 3}, "plan": {"cases": []}}']
)
def test_a_manifest_of_anything_is_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "campaigns" / "a.json").write_text(text)
    warnings: list[str] = []
    assert read_manifests(tmp_path, warn=warnings.append) == []
    assert "a.json" in warnings[0]


@pytest.mark.parametrize("text", [DEEP, "[]", '{"bounds_version": 1, "shape": {"backend": []}}'])
def test_ceilings_of_anything_are_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "bounds").mkdir()
    (tmp_path / "bounds" / "a.json").write_text(text)
    warnings: list[str] = []
    assert load_ceilings([tmp_path], warn=warnings.append) == {}
    assert "a.json" in warnings[0]


def test_broken_stores_give_the_figures_of_what_is_sound(tmp_path: Path) -> None:
    """A small share of `scripts/broken_stores.py`."""
    breaker = Breaker(tmp_path)
    problems = {seed: breaker.check(seed) for seed in range(1, 6)}
    assert {seed: wrong for seed, (_, wrong) in problems.items() if wrong} == {}


def test_settings_of_layers_within_layers_are_sound_to_a_depth_that_a_model_can_have(tmp_path: Path) -> None:
    """A user's layer holds others, and each has its own dtype, use_cudnn and unroll."""
    inner: dict[str, Any] = {"dtype": "float32", "use_cudnn": "auto", "unroll": False}
    nested = {"recurrent_a": {"wide": {"cell": inner}, "dense": inner}, "jit_compile": False, "axes": [["a", 1]]}
    deep: Any = inner
    for _ in range(40):
        deep = {"layer": deep}
    for position, settings in enumerate((nested, {"recurrent_a": deep})):
        metadata = replace(a_run(position).metadata, extra_json=json.dumps(settings))
        write_run(tmp_path, replace(a_run(position), metadata=metadata))
    warnings: list[str] = []
    frame = load([tmp_path], warn=warnings.append)
    assert json.loads(frame["extra_json"].iloc[0]) == nested
    assert frame["run_id"].nunique() == 1
    (warning,) = warnings
    assert "its extra_json is damaged: its 'recurrent_a' is dict" in warning
