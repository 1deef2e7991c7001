"""The state of the host at one moment: recorded beside each run, never fingerprinted."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
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

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


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
