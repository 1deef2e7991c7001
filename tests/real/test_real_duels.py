"""Real duels end to end, only shorter ones; tests/real/test_engineers_story.py has one between commits.

What differs is large (another cell), so that five pairs of few and short rounds are enough on any machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from bench.catalog import tasks
from bench.catalog.cache import obtain
from bench.core.case import Case
from bench.core.protocol import Request, TimedPhase
from bench.duel.interleaved import Batching, InterleavedRunner
from bench.duel.side_process import SideProcess
from bench.duel.sides import WORKER, PreparedSide
from bench.host.hardware import read_machine, usable_cores
from bench.run.server import HARNESS_ENVIRONMENT, Server, WorkerEnvironment, default_isolation
from scripts.recordings import Recorded, minutes, read
from tests.support.wheels import a_wheel, an_environment

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
SHORT = """
from dataclasses import replace
from functools import partial
from bench.duel import interleaved, procedure
interleaved._TRIAL_STEPS, procedure.MOST_GROUPS = 2, 6
procedure.InterleavedRunner = partial(interleaved.InterleavedRunner, fresh_servers=False, round_seconds=0.1)
run_duel = procedure.run_duel
procedure.run_duel = lambda settings, reporter: run_duel(replace(settings, rounds=2), reporter)
from bench.cli import main
main()
"""
CELL = """
import keras


def cell(units, activation, return_sequences, name):
    recurrent = keras.layers.LSTM({hidden}, return_sequences=return_sequences)
    return keras.Sequential([recurrent, keras.layers.Dense(units, activation)], name=name)
"""
SMALL, LARGE = CELL.format(hidden=8), CELL.format(hidden=256)
"""Some ten times apart in time."""


def duel(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Its exit code, its record, and what it said beside."""
    done = subprocess.run(
        [sys.executable, "-c", SHORT, "duel", *arguments, "--set", "units=16", "--budget", "60", "--format", "json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_two_environments(tmp_path: Path) -> None:
    """Each has its own version of the package with the cell; the later one is the faster."""
    environments = []
    for version, text in (("1.0", LARGE), ("2.0", SMALL)):
        wheel = a_wheel(tmp_path / "wheels", "cellar", version, text)
        environments.append(str(an_environment(tmp_path / f"env-{version}", wheel)))
    code, record, said = duel(tmp_path, *environments, "--set", "cells=cellar:cell", "--phase", "predict")
    assert code == 0, said
    assert record["verdict"] == "faster"
    assert record["different_packages"] == {"cellar": ["1.0", "2.0"]}
    a, b = record["sides"].values()
    assert a["parameters"] > b["parameters"]
    assert set(a["evidence"]) == {"predict"}


@pytest.mark.parametrize("phase", [TimedPhase.TRAIN, TimedPhase.PREDICT])
def test_a_timed_batch_is_its_steps_alone(phase: TimedPhase, tmp_path: Path) -> None:
    """What an epoch or a `predict` does before its first step and after its last varies more than all that is asked."""
    case = Case(cell="simple_rnn", task="mnist_5k", epochs=1, units=8, threads=1)
    slow = PreparedSide(title="slow to begin", case=case, worker="tests.real.slow_start_side")
    data = obtain(tasks.of(case, "a test"), data_dir=None, report=print)
    with InterleavedRunner((slow, slow), data=data, folder=tmp_path, phase=phase) as runner:
        pair = runner.measure(0, Batching(1, 3), (0, 1), rounds=2)
    assert len(pair.rounds) == 2
    # three steps of so small a layer take some 15 ms; with an epoch's beginning and end they would take 1.2 s and more
    assert all(side.steps == 3 and 0 < side.seconds < 0.6 for each in pair.rounds for side in each.sides.values())
    assert {each.core for each in pair.rounds} <= usable_cores()
    assert all(json.loads(side.extra_json or "{}")["input_tuned"] is False for side in pair.metadata.values())


def test_single_calls_of_each_path_are_timed_and_their_programs_attested(tmp_path: Path) -> None:
    case = Case(cell="gru", task="mnist_5k", epochs=1, units=8, threads=1)
    data = obtain(tasks.of(case, "a test"), data_dir=None, report=print)
    server = Server(case.backend, WORKER, default_isolation("cpu"), (), HARNESS_ENVIRONMENT)
    medians = {}
    try:
        server.wait_ready(time.monotonic, lambda: None)
        for phase in (TimedPhase.PREDICT_CALLS, TimedPhase.COMPILED_CALLS, TimedPhase.STREAMING_CALLS):
            request = Request(case=case, data=data, log=tmp_path / "side.log", phase=phase)
            process = SideProcess(phase.value, server, request)
            process.imported_code()
            process.time_batch(3)  # traced
            batch = process.time_batch(40)
            assert len(batch.call_seconds) == 40
            assert sum(batch.call_seconds) == pytest.approx(batch.seconds)
            medians[phase] = median(batch.call_seconds)
            metadata = process.end()
            streams = phase is TimedPhase.STREAMING_CALLS
            assert metadata.attested_kernel == ("step" if streams else "generic")
            assert set(json.loads(metadata.attestation_json or "{}")) == {phase.call_path}
            process.close()
            server.settle()
    finally:
        server.close()
    # `predict` makes its iterator anew in each call, and a stream's call is a step of 28
    assert medians[TimedPhase.PREDICT_CALLS] > medians[TimedPhase.COMPILED_CALLS] > medians[TimedPhase.STREAMING_CALLS]


def test_a_side_burns_what_it_is_told_to(tmp_path: Path) -> None:
    """What spot checks are judged by: the fraction of a step's own time, and not of the time in which it waits."""
    case = Case(cell="simple_rnn", task="mnist_5k", epochs=1, units=8, threads=1)
    worker = "tests.real.sleepy_burning_side"
    base, new = (
        PreparedSide(
            title=fraction,
            case=case,
            environment=WorkerEnvironment(variables={"BURN_FRACTION": fraction}),
            worker=worker,
        )
        for fraction in ("0", "0.5")
    )
    data = obtain(tasks.of(case, "a test"), data_dir=None, report=print)
    with InterleavedRunner((base, new), data=data, folder=tmp_path) as runner:
        rounds = runner.measure(0, Batching(1, 8), (0, 1), rounds=2).rounds
    a, b = (median(seconds for each in rounds for seconds in each.sides[side].batches) for side in (0, 1))
    assert 1.4 < b / a < 1.6  # it would be 2 if waiting counted


def test_a_recording_goes_on_where_it_was(tmp_path: Path) -> None:
    """Real pairs, A against A: so few that they say nothing, but stored, numbered and folded."""

    def record(until: float) -> dict[str, list[Recorded]]:
        command = [sys.executable, "-m", "scripts.record_rounds", str(tmp_path / "recording"), "--cells", "simple_rnn"]
        done = subprocess.run(
            [*command, "--rounds", "2", "--minutes", str(until)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        (folder,) = (tmp_path / "recording").iterdir()
        assert {path.name for path in folder.iterdir()} == {"about.json", "slices.parquet"}
        assert folder.name == read_machine().fingerprint
        return read(tmp_path / "recording")

    ((cell, first),) = record(0.001).items()
    assert cell.startswith("simple_rnn on ")
    (more,) = record(1.01 * minutes(tmp_path / "recording")).values()
    assert len(more) > len(first) > 0
    assert more[: len(first)] == first
    for number, pair in enumerate(more):
        assert [(each.group, each.number) for each in pair.rounds] == [(number, 0), (number, 1)]
        assert all(0.05 < side.seconds < 5 for each in pair.rounds for side in each.sides.values())
