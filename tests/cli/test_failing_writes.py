"""A share of scripts/failing_writes.py: system calls that fail, and streams that take nothing more."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.failing_writes import SCENARIOS, started, tried
from tests.support.failing_calls import FAILURES, Trials, compiler
from tests.support.harness import ROOT, fake_bench
from tests.support.stored import a_store


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trials, Path]]:
    if compiler() is None:
        pytest.skip("needs a C compiler, and Linux")
    with started(tmp_path_factory.mktemp("failing")) as begun:
        yield begun


@pytest.mark.parametrize(
    ("command", "failure"),
    [
        ("compact", "ENOSPC"),
        ("table --write", "EIO once"),
        ("data fetch", "EROFS"),
        ("table --format json > output", "EDQUOT"),
        ("run 2> log", "ENOSPC once"),
        ("run, one fails", "ENOSPC"),
    ],
)
def test_a_call_that_fails_loses_nothing_and_says_what_to_do(
    trials: tuple[Trials, Path], command: str, failure: str
) -> None:
    server, folder = trials
    count = tried(server, SCENARIOS[command], folder, FAILURES[failure], 10_000).trial.count
    assert count
    seed = random.randrange(2**32)
    for number in sorted(random.Random(seed).sample(range(1, count + 1), min(count, 3))):
        result = tried(server, SCENARIOS[command], folder, FAILURES[failure], number)
        assert not result.wrong, f"seed {seed}, call {number}: {result}"


@pytest.mark.parametrize("call", [1, 5, 20])
def test_a_run_without_descriptors_says_so(trials: tuple[Trials, Path], call: int) -> None:
    server, folder = trials
    result = tried(server, SCENARIOS["run"], folder, FAILURES["EMFILE once"], call)
    assert not result.wrong, result


def bench(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(fake_bench(*arguments), cwd=cwd, env=environment, text=True, check=False, **streams)


def test_a_full_standard_output_is_named(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    a_store(tmp_path / "store")
    with full.open("w") as output:
        done = bench("table", "store", cwd=tmp_path, stdout=output)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "cannot write to standard output (no space left on device): free some space and give the command again "
        "(what is finished is kept).\n"
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_what_cannot_be_noted_ends_no_command(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    a_store(tmp_path / "store")
    with full.open("w") as errors:
        done = bench("gate", "store", "store", "--self", cwd=tmp_path, stderr=errors)
    assert done.returncode == 0
    assert "same" in done.stdout


def test_too_few_descriptors_end_no_command_with_a_traceback(tmp_path: Path) -> None:
    for most in (12, 20):
        done = bench(
            *("run", "quick", "--set", "seeds=0", "--set", "cells=lstm"),
            cwd=tmp_path,
            preexec_fn=lambda most=most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
        )
        assert done.returncode in {0, 2}, (most, done.stderr)
        assert "Traceback" not in done.stderr, (most, done.stderr)
        if done.returncode:
            assert "too many open files" in done.stderr.lower()
            assert "ulimit -n" in done.stderr
