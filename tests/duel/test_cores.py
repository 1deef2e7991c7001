"""Which processors sides run on: one for all in a round, where each side's work fits on one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.core.protocol import TimedPhase
from bench.duel.cores import move, shared_cores
from bench.duel.sides import PreparedSide, anchor_side
from bench.host.hardware import usable_cores

TRAIN = TimedPhase.TRAIN
SIDE = PreparedSide(title="a", case=Case(cell="gru", task="mnist_5k", threads=1))


def with_nodes(sys_folder: Path, *lists: str) -> Path:
    for number, listed in enumerate(lists):
        node = sys_folder / f"devices/system/node/node{number}"
        node.mkdir(parents=True)
        (node / "cpulist").write_text(f"{listed}\n")
    return sys_folder


def test_single_threaded_sides_share_the_processors_that_there_are(tmp_path: Path) -> None:
    assert shared_cores([SIDE, SIDE], TRAIN, sys_folder=tmp_path) == tuple(sorted(usable_cores()))
    assert shared_cores([SIDE, SIDE], TRAIN, (3, 5), sys_folder=tmp_path) == (3, 5)


@pytest.mark.parametrize("changed", [{"threads": 0}, {"threads": 2}, {"device": "gpu:0"}])
def test_a_side_that_needs_more_than_a_processor_keeps_all_from_sharing_one(changed: dict[str, object]) -> None:
    other = replace(SIDE, case=replace(SIDE.case, **changed))  # type: ignore[arg-type]
    assert shared_cores([SIDE, other], TRAIN) == ()
    # NumPy computes the anchor on one thread, whatever the cases that it is measured beside
    assert shared_cores([SIDE, anchor_side(other.case)], TRAIN)


def test_calls_of_predict_share_none() -> None:
    """The end of its iterator waits for a thread of its own: on one processor the tail would be another."""
    assert [phase for phase in TimedPhase if not shared_cores([SIDE, SIDE], phase)] == [TimedPhase.PREDICT_CALLS]


def test_a_system_without_affinity_shares_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    assert shared_cores([SIDE, SIDE], TRAIN) == ()


@pytest.mark.parametrize(
    ("lists", "cpus", "expected"),
    [
        (["0-3", "4-7"], (), (0, 1, 2, 3)),
        (["0-1,8-9", "2-7"], (), (2, 3, 4, 5, 6, 7)),
        (["0-3", "4-7"], (1, 4, 5), (4, 5)),
        (["0-3", "", "4-7"], (7,), (7,)),
        (["0-3"], (9,), (9,)),
    ],
)
def test_of_several_nodes_of_memory_they_are_those_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: list[str], cpus: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    monkeypatch.setattr("bench.duel.cores.usable_cores", lambda: frozenset(range(8)))
    assert shared_cores([SIDE], TRAIN, cpus, sys_folder=with_nodes(tmp_path, *lists)) == expected


def test_all_threads_of_a_process_move() -> None:
    script = """
import sys, threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        threads = [int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
        cores = sorted(usable_cores())
        for number in range(3):
            core = cores[number % len(cores)]
            assert move([process.pid], cores, number) == core
            assert [os.sched_getaffinity(thread) for thread in threads] == [{core}, {core}]
        assert move([process.pid], (), 0) is None
        move([process.pid], [100_000], 0)  # a processor that is not there
        assert os.sched_getaffinity(process.pid) == {core}
        process.communicate("")
    move([process.pid], cores, 0)  # a process that is not there any more
