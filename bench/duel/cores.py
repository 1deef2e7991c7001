"""Which processors an interleaved measurement's sides run on, and which of them a round's sides share.

What neighbours on the machine do to a step, they do on one processor, for tenths of a second. Sides that alternate on
the same one have it in common; left to the scheduler, each stays for a while on a processor of its own. On two shared
cores the ratio of neighbouring timed batches then varies twice as much (docs/how-sure.md).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from bench.core.protocol import TimedPhase
from bench.duel.sides import PreparedSide
from bench.host.hardware import numa_nodes, usable_cores
from bench.host.procfs import SYS


def shared_cores(
    sides: Sequence[PreparedSide], phase: TimedPhase, cpus: Collection[int] = (), *, sys_folder: Path = SYS
) -> tuple[int, ...]:
    """The logical processors that rounds are dealt out to, one to each; none where the sides need several at once.

    Only single-threaded work on the processor fits on one. A call of `model.predict` waits for the end of an iterator's
    thread (`bench.worker.iterators`): its slowest tenth takes a quarter longer on one. On a machine of several NUMA
    nodes they are those of the node that has the most of them: on another, a side's memory would be far away.

    Args:
        sides: that take part, the anchor too.
        phase: what is timed.
        cpus: that the sides may run on; empty for all that this process may use.
        sys_folder: the folder that stands for /sys.
    """
    if not hasattr(os, "sched_setaffinity") or phase is TimedPhase.PREDICT_CALLS:
        return ()
    if any(each.case.device != "cpu" or each.case.threads != 1 for each in sides if each.computes_on_device):
        return ()
    usable = frozenset(cpus) or usable_cores()
    nodes = [node & usable for node in numa_nodes(sys_folder)]
    largest = max(nodes, key=lambda node: len(node), default=usable)
    return tuple(sorted(largest or usable))


def move(pids: Collection[int], cores: Sequence[int], number: int) -> int | None:
    """Let all threads of the sides, and those that they start, run in this round on its processor alone.

    A thread or a process that has ended is no error: whoever waits for it finds out. Nor is a processor that went
    offline: then the process stays where it may run.

    Args:
        pids: the sides' processes.
        cores: those that rounds are dealt out to, one after the other; none where the sides share none.
        number: of the round.

    Returns:
        The round's processor; None where there is none.
    """
    if not cores:
        return None
    core = cores[number % len(cores)]
    for thread in (thread for pid in pids for thread in _threads(pid)):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(thread, {core})
    return core


def _threads(pid: int) -> list[int]:
    try:
        return [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
