"""bench.run.forking, with a worker that behaves in a forked process as frameworks are known to that had CUDA's state.

Invented by what torch says ("Cannot re-initialize CUDA in forked subprocess") and by JAX's documentation (a deadlock):
no GPU has been seen yet.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.host.hardware import Machine
from bench.host.software import Software
from bench.run import forking
from bench.run.forking import ForkingResult, keep, try_forking, works
from bench.run.lock import LOCK_VARIABLE
from bench.run.pool import Workers
from bench.run.server import Isolation
from tests.support.fake_worker import SCRIPT
from tests.support.harness import FAKE

MACHINE = Machine(architecture="x86_64", cpu_model="a", usable_cores=16, gpus=("NVIDIA H100 80GB HBM3",))
TORCH = Software(python="3.12.1", keras="3.15.1", backend="torch", backend_version="2.11.0", numpy="2.4")
WORKS = ForkingResult(works=True, reason="as a spawned one did", tested_at="2026-11-27T16:00:00+00:00")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path / "lock"))
    monkeypatch.setenv(SCRIPT, str(tmp_path / "script.json"))


def outcome(tmp_path: Path, behaviour: str) -> ForkingResult:
    (tmp_path / "script.json").write_text(json.dumps({"*": behaviour}))
    return try_forking("torch", "gpu:0", None, pytest.fail, worker=FAKE)


def test_forking_works_where_forked_runs_end_as_the_spawned_one_does(tmp_path: Path) -> None:
    assert outcome(tmp_path, "nothing").works


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("raise", "the spawned run failed: "),
        ("raise forked", "a forked run failed: RuntimeError: Cannot re-initialize CUDA in forked subprocess"),
        ("hang forked", "a forked run was silent, and was killed"),
        ("lose more forked", "a forked run's loss is "),
    ],
)
def test_forking_does_not_work_where_a_forked_run_ends_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, reason: str
) -> None:
    monkeypatch.setattr(forking, "_SILENCE_SECONDS", 1.0)
    result = outcome(tmp_path, behaviour)
    assert not result.works
    assert result.reason.startswith(reason)


def test_the_result_is_kept_for_the_machine_and_the_software_that_it_was_seen_on() -> None:
    assert not works(MACHINE, TORCH)
    keep(MACHINE, TORCH, WORKS)
    assert works(MACHINE, TORCH)
    assert not works(MACHINE, replace(TORCH, backend_version="2.12.0"))
    assert not works(replace(MACHINE, gpu_driver="580.95.05"), TORCH)
    keep(MACHINE, TORCH, replace(WORKS, works=False))
    assert not works(MACHINE, TORCH)


def test_runs_fork_on_a_gpu_only_where_the_test_has_shown_that_they_may() -> None:
    case = Case(cell="lstm", backend="torch", device="gpu:0")
    with Workers(worker=FAKE, silence_seconds=9.0, forking=frozenset({"torch"})) as workers:
        assert workers._isolation_of(case) is Isolation.FORK
        assert workers._isolation_of(replace(case, backend="jax")) is Isolation.SPAWN
