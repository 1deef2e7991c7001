from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.observation import Observation, RunMetadata
from bench.store import schema
from bench.store.campaign import Campaign
from bench.store.compact import compact
from bench.store.parts import Run, write_run
from bench.store.reader import finished, load
from bench.store.schema import COLUMNS, SCHEMA, SCHEMA_VERSION
from tests.support.small_store import CAMPAIGN, a_run, parts

WRITTEN = """\
schema_version int32 required
run_id text required
campaign_id text required
case_id text required
configuration_id text required
attempt int32 required
status text required
error text null
log text null
started_at time required
campaign_started_at time required
suite text required
plan_hash text required
order_seed int64 required
block int32 required
position int32 required
program_version text required
program_commit text null
project_commit text null
committed_at time null
parent_commit text null
cells_digest text required
isolation text required
cell text required
task text required
network text required
backend text required
kernel text required
device text required
dtype text required
threads int64 required
deterministic bool required
steady bool required
tf32 text required
env text required
runtime text required
units int64 required
layers int64 required
bidirectional bool required
dropout double required
recurrent_dropout double required
mask text required
stateful bool required
reset_after bool required
bias bool required
activation text required
recurrent_activation text required
batch_size int64 required
epochs int64 required
train_samples int64 required
steps int64 required
features int64 required
classes int64 required
coarse int64 required
learning_rate double required
decay double required
latency_calls int64 required
seed int64 required
repeat int64 required
machine_fingerprint text required
software_fingerprint text required
machine_json text required
software_json text required
host_json text required
parameters int64 null
forward_flops_per_sample double null
training_flops_per_sample double null
attested_kernel text null
attestation_json text null
code_json text null
data_digest text null
task_json text null
test_predictions text null
r2 double null
output_difference double null
accuracy_lost double null
streaming_difference double null
rss_start_bytes int64 null
rss_train_bytes int64 null
peak_rss_bytes int64 null
device_memory_bytes int64 null
device_reserved_bytes int64 null
device_process_bytes int64 null
device_sm_mhz_highest int64 null
device_sm_mhz_lowest int64 null
device_memory_mhz_lowest int64 null
device_celsius_highest int64 null
device_watts double null
device_throttling text null
device_others int64 null
device_json text null
idle_watts double null
energy_counter text null
load_start double null
load_end double null
steal_fraction_start double null
steal_fraction double null
other_cpu_fraction double null
extra_json text null
phase text required
epoch int64 null
seconds double null
cpu_seconds double null
iterator_seconds double null
energy_joules double null
idle_energy_joules double null
samples int64 null
loss double null
accuracy double null
mae double null
targets int64 null
entry text null
predict_batch int64 null
call int64 null
series int64 null
rss_bytes int64 null
device_bytes int64 null
""".splitlines()


def test_the_schema_is_what_it_always_was() -> None:
    """A literal copy: what is derived must come to this, in this order."""
    text, time = "dictionary<values=string, indices=int32, ordered=0>", "timestamp[us, tz=UTC]"
    kinds = {"text": text, "time": time}
    assert [(f.name, str(f.type), f.nullable) for f in SCHEMA] == [
        (name, kinds.get(kind, kind), nullable == "null") for name, kind, nullable in map(str.split, WRITTEN)
    ]


def test_every_field_of_a_campaign_and_a_run_is_stored() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    kept = {field.name for record in (Case, RunMetadata, Observation, Run) for field in fields(record)}
    kept |= {field.name for field in fields(Campaign)} | {"campaign_started_at", "campaign_id", "case_id", "run_id"}
    kept |= {"schema_version", "configuration_id"}
    assert set(names) == kept - {"campaign", "case", "metadata", "observations", "code_commit"}


def test_every_column_is_documented() -> None:
    assert all(column.doc for column in COLUMNS)


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
    warnings: list[str] = []
    assert set(load([tmp_path], warn=warnings.append)["run_id"]) == {a_run(1).id}
    assert "case_id" in warnings[0]


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

    monkeypatch.setattr(schema, "UPGRADES", {1: rename, 2: to_seconds})
    assert len(finished(tmp_path, CAMPAIGN.id)) == 4
    frame = load([tmp_path])
    assert frame.loc[frame["phase"] == "train"].set_index("position")["seconds"].to_dict() == {0: 2, 1: 3, 2: 4, 3: 5}
    assert set(frame["schema_version"]) == {SCHEMA_VERSION}
    assert compact(tmp_path) == (4, 12)
    written = pq.read_schema(next((tmp_path / "runs").iterdir())).metadata
    assert written[b"bench_schema_version"] == str(SCHEMA_VERSION).encode()
    assert not first.exists()
