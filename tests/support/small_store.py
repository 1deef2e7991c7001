"""Runs of known content for the tests of the store, and processes that write, fold and die."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.case import Case, Status
from bench.core.observation import Observation, RunMetadata
from bench.store.campaign import Campaign
from bench.store.compact import compact
from bench.store.parts import Run, write_run
from bench.store.reader import load

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
        metadata=RunMetadata(parameters=57_450, attested_kernel="generic"),
        observations=(
            Observation(phase="compile", seconds=0.5),
            Observation(phase="train", epoch=1, seconds=2.0 + number, samples=60_000, loss=0.25, accuracy=0.9),
            Observation(phase="evaluate", seconds=0.25, samples=10_000, loss=math.nan),
        ),
    )
    return replace(run, **changes)


def failed(number: int = 0, **changes: Any) -> Run:
    """A run in which nothing was measured, so that most of its columns hold nulls only."""
    empty: dict[str, Any] = {"observations": (), "metadata": RunMetadata(), "log": None, "status": Status.FAILED}
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


_PREAMBLE = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {checkout!r})
from bench.core.errors import UsageError
from bench.store.compact import compact
from bench.store.parts import write_run
from tests.support.small_store import a_run, compact_now, write_and_die, write_some
"""


def in_child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs code which may use what `_PREAMBLE` imports."""
    preamble = _PREAMBLE.format(checkout=str(Path(__file__).parents[2]))
    command = [sys.executable, "-c", preamble + code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
