"""Which process it is, so that another process, on this machine or another, can decide whether it still lives."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from bench.host.procfs import PROC, read_text

_ENDED = "ZX"
"""States of a process that has ended, and whose parent has not asked for its exit code yet."""


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process among those of all machines, also where process ids are used again."""

    host: str
    """The name of its machine."""
    namespace: str
    """Where its process id holds: the machine's boot and the namespace of process ids in it. Containers of a machine
    may share its name, and have process ids of their own."""
    pid: int
    started: str
    """When it started, in its system's own unit: since the machine's boot, which no change of the clock moves."""

    @classmethod
    def current(cls, proc: Path = PROC) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(host=platform.node(), namespace=_namespace(proc), pid=pid, started=_start(pid, proc) or "")

    def is_alive(self, proc: Path = PROC) -> bool | None:
        """Whether it lives; None where that cannot be seen from here: it is of another machine or container."""
        if self.namespace != _namespace(proc):
            return None
        start = _start(self.pid, proc)
        if start is None and _is_hidden(self.pid, proc):
            return None
        return start == self.started

    def is_stopped(self) -> bool:
        """Whether it lives here and was stopped, as by Ctrl-Z."""
        try:
            return bool(self.is_alive()) and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False


def machine_boot(proc: Path = PROC) -> str:
    """The boot of this machine, the same in all its containers; the host's name where the system numbers no boots."""
    return (read_text(proc / "sys" / "kernel" / "random" / "boot_id") or "").strip() or platform.node()


def _namespace(proc: Path) -> str:
    try:
        return f"{machine_boot(proc)} {(proc / 'self' / 'ns' / 'pid').readlink()}"
    except OSError:  # not Linux: there are no such namespaces
        return platform.node()


def _is_hidden(pid: int, proc: Path) -> bool:
    """Whether there is such a process that /proc does not show: another user's, where that is mounted so."""
    if (proc / str(pid)).exists():
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _start(pid: int, proc: Path) -> str | None:
    """When a process started; None for one that has ended."""
    stat = read_text(proc / str(pid) / "stat")
    if stat is not None:
        state, *numbers = stat.rpartition(")")[2].split()  # what is before is its name, which may hold anything
        return None if state in _ENDED else numbers[18]
    if (proc / "self").exists():
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.Error:
        return None
