"""The state of the host at one moment: recorded beside each run, never fingerprinted."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import psutil

from bench.host.procfs import PROC, SYS, available_memory_bytes, load_averages, read_text


@dataclass(frozen=True, kw_only=True)
class Host:
    """What is true of the host now, and has no part in whether times may be compared."""

    hostname: str
    system: str
    """The operating system as people name it: "Debian GNU/Linux 12 (bookworm)", "macOS 15.1"."""
    kernel: str
    kernel_build: str
    uptime_seconds: float | None
    load_1m: float
    load_5m: float
    load_15m: float
    available_memory_bytes: int
    neighbour_runs: int | None = None
    """The most runs at a time that were timed on the machine's other cards beside this one; None where a run has the
    machine to itself."""
    neighbour_gpu_fraction: float | None = None
    """The part of the time in which those cards were busy, mean over them; None where their driver was not asked."""

    def to_json(self) -> str:
        """What the fields' defaults are goes unsaid."""
        content = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}
        return json.dumps(content, sort_keys=True)


def with_neighbours(host_json: str, runs: int, gpu_fraction: float | None) -> str:
    """The record of a host with what was measured beside a run on its other cards.

    Args:
        host_json: as `Host.to_json` gives it.
        runs: the most at a time.
        gpu_fraction: the part of the time in which those cards were busy, where it is known.
    """
    host = Host(**json.loads(host_json))
    return replace(host, neighbour_runs=runs, neighbour_gpu_fraction=gpu_fraction).to_json()


def read_host(proc: Path = PROC, sys: Path = SYS, clock: Callable[[], float] = time.time) -> Host:
    """The host as it is now."""
    uptime = (read_text(proc / "uptime") or "").split()
    load_1m, load_5m, load_15m = load_averages(proc)
    return Host(
        hostname=platform.node(),
        system=_system_name(),
        kernel=platform.release(),
        kernel_build=platform.version(),
        uptime_seconds=float(uptime[0]) if uptime else clock() - psutil.boot_time(),
        load_1m=load_1m,
        load_5m=load_5m,
        load_15m=load_15m,
        available_memory_bytes=available_memory_bytes(proc, sys),
    )


def _system_name() -> str:
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()
