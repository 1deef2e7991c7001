"""A store in an object store: read and written as one in a folder, by moto's S3 server on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.core.errors import UsageError
from bench.host.processes import ProcessIdentity
from bench.store import ceilings, load
from bench.store.campaign import open_campaign, read_manifests
from bench.store.compact import compact
from bench.store.files import keep, local_file, make_folder, publish
from bench.store.lease import BEAT_SECONDS, SILENT_SECONDS, Leases
from bench.store.objects import ObjectPath, store_path
from bench.store.parts import write_run
from bench.store.reader import attempts
from tests.support.ceilings import CEILINGS
from tests.support.harness import ROOT
from tests.support.s3_server import BUCKET, S3Server
from tests.support.stored import CAMPAIGN, a_store

HERE = ProcessIdentity.current()
NAME = "runs/c-block-3"


def frames_equal(left: Path, right: Path, **options: Any) -> None:
    pd.testing.assert_frame_equal(load([left], **options), load([right], **options))


def test_an_address_is_a_path_that_no_local_file_answers_for() -> None:
    path = store_path("s3://bucket/a/b/") / "runs" / "x.parquet"
    assert isinstance(path, ObjectPath)
    assert str(path) == f"{path}" == "s3://bucket/a/b/runs/x.parquet"
    assert (path.suffix, path.parent.name) == (".parquet", "runs")
    assert str(path.with_suffix(".corrupt")) == "s3://bucket/a/b/runs/x.corrupt"
    assert path.relative_to(store_path("s3://bucket/a/b")).as_posix() == "runs/x.parquet"
    assert {path: 1}[ObjectPath("s3://bucket/a/b/runs/x.parquet")] == 1
    for needs_a_file in (os.stat, os.listdir, os.fspath, Path.mkdir, Path.touch, lambda path: path.write_text("")):
        with pytest.raises(UsageError, match=r"s3://bucket/a/b/runs/x\.parquet is in an object store.*name one"):
            needs_a_file(path)
    assert store_path("results/local") == Path("results/local")
    assert type(store_path("results/local")) is type(Path())


@pytest.mark.parametrize("name", ["gs://bucket/prefix", "s3://", "https://bucket.s3.amazonaws.com/x"])
def test_other_addresses_are_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot use .* as results.*s3://bucket/prefix"):
        store_path(name)


def test_a_store_is_written_and_read_as_in_a_folder(tmp_path: Path, s3_address: ObjectPath) -> None:
    runs = a_store(tmp_path)
    assert a_store(s3_address) == runs
    frames_equal(s3_address, tmp_path)
    frames_equal(s3_address / "runs" / f"{runs[0].id}.parquet", tmp_path / "runs" / f"{runs[0].id}.parquet")
    assert attempts(s3_address) == attempts(tmp_path)
    ceilings.save(s3_address, CEILINGS)
    assert ceilings.load([s3_address]) == {CEILINGS.key: CEILINGS}
    plan = {"cases": [{"id": runs[0].case.id, "case": asdict(runs[0].case)}]}
    assert open_campaign(s3_address, CAMPAIGN, plan, lambda campaign: [], new=False) == (CAMPAIGN, False)
    later = replace(CAMPAIGN, started_at="2027-01-02T03:04:05.000006+00:00")
    assert open_campaign(s3_address, later, plan, lambda campaign: [], new=False) == (CAMPAIGN, True)
    assert [manifest.campaign for manifest in read_manifests(s3_address)] == [CAMPAIGN]


def test_of_a_large_part_only_the_columns_that_are_needed_are_fetched(
    s3_server: S3Server, s3_address: ObjectPath
) -> None:
    local = ROOT / "results" / "reference" / "mnist_rows"
    s3_address = s3_server.upload(local, s3_address.name)
    size = sum(path.stat().st_size for path in local.glob("runs/*.parquet"))
    with s3_server.counted() as asked:
        frames_equal(s3_address, local, columns=("cell", "status", "started_at"), phases=())
    sent = sum(request.sent_bytes for request in asked)
    assert sent < size / 4, f"{sent:,} of {size:,} bytes"
    assert len(asked) < 25, asked


def test_a_small_part_takes_one_request_and_none_when_it_is_read_again(
    s3_server: S3Server, s3_address: ObjectPath
) -> None:
    runs = a_store(s3_address)
    with s3_server.counted() as first:
        load([s3_address])
    with s3_server.counted() as second:
        load([s3_address], columns=("cell",), phases=())
    assert sum(request.path.endswith(".parquet") for request in first) == len(runs)
    assert not any(request.path.endswith(".parquet") for request in second)


def test_of_writers_at_once_exactly_one_wins(s3_address: ObjectPath) -> None:
    path = s3_address / "runs" / "part.parquet"
    contents = [f"writer {number}".encode() * 1000 for number in range(8)]
    with ThreadPoolExecutor(len(contents)) as writers:
        won = list(writers.map(lambda content: publish(path, lambda file: file.write(content)), contents))
    assert won.count(True) == 1
    assert path.read_bytes() == contents[won.index(True)]
    assert publish(path, lambda file: file.write(contents[won.index(True)]))  # as one whose first reply was lost


def test_a_writer_that_is_killed_leaves_whole_parts_only(s3_server: S3Server, s3_address: ObjectPath) -> None:
    code = (
        "import sys; from bench.core.case import Case; from bench.store.objects import store_path;"
        "from bench.store.parts import write_run; from tests.support.stored import a_run\n"
        "for number in range(100_000):\n"
        "    write_run(store_path(sys.argv[1]), a_run(number, Case(cell='gru', task='mnist_5k', seed=number)))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(s3_address)], cwd=ROOT) as writer:
        while len(list((s3_address / "runs").iterdir())) < 4:
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
    wrong: list[str] = []
    frame = load([s3_address], warn=wrong.append)
    assert wrong == []
    assert frame["run_id"].nunique() == len(list((s3_address / "runs").iterdir())) >= 4


def test_a_store_in_a_bucket_is_folded(tmp_path: Path, s3_address: ObjectPath) -> None:
    runs = a_store(tmp_path)
    a_store(s3_address)
    parts, _ = compact(s3_address)
    assert parts == len(runs)
    (whole,) = (s3_address / "runs").iterdir()
    compact(tmp_path)
    frames_equal(s3_address, tmp_path)
    assert compact(s3_address) == (0, 0)
    assert whole.name.startswith("compact-")


def test_a_part_that_cannot_be_read_is_moved_aside_and_written_again(s3_address: ObjectPath) -> None:
    (run, *_) = a_store(s3_address)
    part = s3_address / "runs" / f"{run.id}.parquet"
    part.unlink()
    part.create(b"no parquet")
    warnings: list[str] = []
    load([s3_address], warn=warnings.append)
    assert len(warnings) == 1
    assert str(part) in warnings[0]
    write_run(s3_address, run)
    assert run.id in set(load([s3_address])["run_id"])
    assert part.with_suffix(".corrupt").read_bytes() == b"no parquet"


def test_a_lease_in_a_bucket_is_one_holder_s_until_it_is_given_back(s3_address: ObjectPath) -> None:
    with Leases(s3_address) as first, Leases(s3_address) as second:
        assert first.take(NAME) is None
        assert first.holds(NAME)
        holder = second.take(NAME)
        assert holder is not None
        assert holder.process == HERE
        assert second.names() == [NAME]
        first.release(NAME)
        assert second.take(NAME) is None
        assert not first.holds(NAME)
    assert list(s3_address.iterdir()) == []


def test_a_silent_holder_on_another_machine_loses_its_lease_in_a_bucket(s3_address: ObjectPath) -> None:
    now = 50.0
    elsewhere = Leases(s3_address, process=replace(HERE, host="build7", namespace="another boot", pid=77))
    with Leases(s3_address, clock=lambda: now) as observer:
        assert elsewhere.take(NAME) is None
        holders = []
        for _ in range(int(SILENT_SECONDS / BEAT_SECONDS) + 2):
            holders.append(observer.holder(NAME))
            now += BEAT_SECONDS
        assert [holder.seen_alive for holder in holders if holder] == [False] * int(SILENT_SECONDS / BEAT_SECONDS)
        assert observer.take(NAME) is None
        assert not elsewhere.holds(NAME)
        elsewhere.release(NAME)  # of what isn't its own any more
        assert observer.holds(NAME)


def test_to_touch_a_lease_changes_its_time_and_never_brings_it_back(s3_address: ObjectPath) -> None:
    path = s3_address / "runs" / ".lease"
    path.create(b"mine")
    written = path.stamped()[1]
    time.sleep(1.1)  # a server's times are whole seconds
    path.renew(b"mine")
    content, again = path.stamped()
    assert content == b"mine"
    assert again > written
    path.renew(b"another's")
    assert path.read_bytes() == b"mine"
    path.unlink()
    path.renew(b"mine")
    assert not path.exists()


def test_what_grows_is_written_on_this_machine_and_then_kept(
    tmp_path: Path, s3_address: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    kept = s3_address / "logs" / "x.log"
    log = local_file(kept)
    assert log.is_relative_to(tmp_path)
    assert log != local_file(s3_address.with_name("another") / "logs" / "x.log")
    make_folder(kept.parent)  # there is nothing to make
    assert not kept.parent.exists()
    keep(log, kept)  # nor was anything written
    make_folder(log.parent)
    log.write_text("what went wrong")
    keep(log, kept)
    assert kept.read_bytes() == b"what went wrong"
    assert not log.exists()


def test_a_server_that_fails_for_a_moment_is_asked_again(s3_server: S3Server, s3_address: ObjectPath) -> None:
    failures = iter(["503 Slow Down", "500 Internal Error"])
    s3_server.answer = lambda environ: next(failures, None)
    a_store(s3_address)
    assert load([s3_address])["run_id"].nunique() == 6


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("403 Access Denied", "access denied.*AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("400 Bad Request", "check the network and AWS_ENDPOINT_URL"),
        ("301 Moved Permanently", "AWS_REGION"),
    ],
)
def test_what_a_server_refuses_is_the_user_s_error(
    s3_server: S3Server, s3_address: ObjectPath, status: str, words: str
) -> None:
    runs = a_store(s3_address)
    s3_server.answer = lambda environ: status
    named = rf"cannot use s3://{BUCKET}/test_what.* at {s3_server.endpoint} .*{words}"
    with pytest.raises(UsageError, match=named):
        load([s3_address])
    with pytest.raises(UsageError, match=named):
        write_run(s3_address, replace(runs[0], attempt=7))


def test_a_refusal_amid_a_part_is_the_user_s_error_too(s3_server: S3Server, s3_address: ObjectPath) -> None:
    s3_address = s3_server.upload(ROOT / "results" / "reference" / "inference", s3_address.name)
    s3_server.answer = lambda environ: (
        "403 Access Denied" if environ.get("HTTP_RANGE", "bytes=-").startswith("bytes=-") is False else None
    )
    with pytest.raises(UsageError, match="access denied"):
        load([s3_address])


def test_a_bucket_that_is_missing_is_named(s3_address: ObjectPath) -> None:
    with pytest.raises(UsageError, match=r"no bucket 'nowhere' \(s3://nowhere/x.*AWS_ENDPOINT_URL"):
        load([ObjectPath("s3://nowhere/x")])
    with pytest.raises(UsageError, match="no bucket 'nowhere'"):
        a_store(ObjectPath("s3://nowhere/x"))
    with pytest.raises(UsageError, match=r"no results at s3://results/test_a_bucket.*No such file"):
        load([s3_address])


def test_without_credentials_the_settings_are_named(
    s3_server: S3Server, s3_address: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", s3_server.endpoint)
    s3_server.answer = lambda environ: "403 Forbidden" if environ["PATH_INFO"].startswith("/latest/") else None
    with pytest.raises(UsageError, match=r"no credentials\): set AWS_ACCESS_KEY_ID and .* AWS_SKIP_SIGNATURE"):
        load([ObjectPath("s3://without-credentials/x")])


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, s3_address: ObjectPath) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"need obstore.*\.\[s3\]"):
        load([s3_address])


def test_nothing_of_it_is_imported_before_it_is_asked() -> None:
    code = "import bench.store.files, bench.store.lease, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"obstore", "pyarrow", "numpy"} & set(json.loads(done.stdout))
