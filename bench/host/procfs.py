"""What the kernel reports: small files below /proc and /sys, control groups, and psutil where there are none of these.

Every reader takes the roots that stand for /proc and /sys, so that tests can hand in a tree of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

PROC = Path("/proc")
SYS = Path("/sys")
KIB, MIB, GIB = 1024, 1024**2, 1024**3


def read_text(path: Path) -> str | None:
    """A small file's text; None where it is not there or may not be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """A file's number; None for "max", or where the file is not there."""
    text = (read_text(path) or "").strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def read_counters(path: Path) -> dict[str, int]:
    """A file of lines "name number" (cpu.stat, memory.stat, meminfo: "MemTotal:  8 kB")."""
    return {m[1]: int(m[2]) for m in re.finditer(r"^([\w()]+):?[ \t]+(\d+)", read_text(path) or "", re.M)}


def control_groups(proc: Path, sys: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those above it, which limit it too; version 2 first, then 1.

    Inside a container the path in /proc/self/cgroup may be the host's, and only its root is mounted: folders that are
    not there are passed over.
    """
    root = sys / "fs" / "cgroup"
    for line in (read_text(proc / "self" / "cgroup") or "").splitlines():
        _, names, path = line.split(":", 2)
        if not names:
            mounts = [root, root / "unified"]  # version 2 alone, or beside version 1
        elif controller in names.split(","):
            mounts = [root / names, root / controller]
        else:
            continue
        mount = next((folder for folder in mounts if (folder / "cgroup.procs").exists()), None)
        if mount is None:
            continue
        inner = Path(path.lstrip("/"))
        for folder in (mount / inner, *((mount / up) for up in inner.parents)):
            if ".." not in folder.parts and folder.is_dir():
                yield folder


def cpu_quota(proc: Path, sys: Path) -> float | None:
    """Cores' worth of time that the control groups allow this process: the tightest; None for no limit."""
    quotas = []
    for folder in control_groups(proc, sys, "cpu"):
        quota, _, period = (read_text(folder / "cpu.max") or "").strip().partition(" ")
        if quota.isdigit() and period.isdigit():
            quotas.append(int(quota) / int(period))
        old_quota, old_period = read_number(folder / "cpu.cfs_quota_us"), read_number(folder / "cpu.cfs_period_us")
        if old_quota is not None and old_period and old_quota > 0:  # -1 is no quota
            quotas.append(old_quota / old_period)
    return round(min(quotas), 3) if quotas else None


def memory_caps(proc: Path, sys: Path) -> list[int]:
    """The memory that the control groups allow, in bytes."""
    # Version 1 writes "no limit" as a number near 2^63, which the machine's own size undercuts.
    names = ("memory.max", "memory.limit_in_bytes")
    sizes = (read_number(folder / name) for folder in control_groups(proc, sys, "memory") for name in names)
    return [size for size in sizes if size is not None]


def throttled_periods(proc: Path, sys: Path) -> int | None:
    """Scheduling periods, so far, in which the control group or one above it had used up its quota."""
    counts = [read_counters(folder / "cpu.stat").get("nr_throttled") for folder in control_groups(proc, sys, "cpu")]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def meminfo(proc: Path) -> dict[str, int]:
    """Bytes by the names of /proc/meminfo; where there is none, those of them that psutil knows."""
    if counters := read_counters(proc / "meminfo"):
        return {name: kib * KIB for name, kib in counters.items()}
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    amounts = (memory.total, memory.available, swap.total, swap.free)
    return dict(zip(("MemTotal", "MemAvailable", "SwapTotal", "SwapFree"), map(int, amounts), strict=True))


def load_averages(proc: Path) -> tuple[float, float, float]:
    """The load averages over 1, 5 and 15 minutes."""
    text = read_text(proc / "loadavg")
    if text is None:
        return os.getloadavg()
    load_1m, load_5m, load_15m = map(float, text.split()[:3])
    return load_1m, load_5m, load_15m


def available_memory_bytes(proc: Path, sys: Path) -> int:
    """Memory that can be had without swapping, in bytes: the machine's, or less where a control group has less left."""
    return min([meminfo(proc)["MemAvailable"], *_memory_left(proc, sys)])


def _memory_left(proc: Path, sys: Path) -> list[int]:
    """Bytes that can be had below each control group's limit; page cache, which gives way, counts as free."""
    left = []
    for folder in control_groups(proc, sys, "memory"):
        for limit_name, used_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = read_number(folder / limit_name), read_number(folder / used_name)
            if limit is not None and used is not None:
                left.append(limit - used + read_counters(folder / "memory.stat").get(cache_name, 0))
    return left
