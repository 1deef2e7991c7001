"""What goes on on this machine: who uses its processors, how quiet it is, and what memory this process holds.

`UsageMeter` measures beside a run, for its record. `Quiet` is how busy the machine was at one moment, and `remarks`
judges it, each remark with advice. Nothing here is fingerprinted.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from bench.host.hardware import Machine
from bench.host.procfs import (
    GIB,
    KIB,
    MIB,
    PROC,
    SYS,
    available_memory_bytes,
    load_averages,
    meminfo,
    read_counters,
    read_number,
    read_text,
    throttled_periods,
)

# --- CPU time ---


@dataclass(frozen=True)
class CpuTimes:
    """CPU seconds since boot, summed over all processors."""

    busy: float
    idle: float
    steal: float | None
    """Time in which a processor had work and the hypervisor ran something else; None where that is not counted."""


@dataclass(frozen=True)
class CpuFractions:
    """Fractions of the machine's CPU time between two readings, 0 to 1; None where they cannot be known."""

    steal_fraction: float | None
    other_cpu_fraction: float | None


def read_cpu_times(proc: Path = PROC) -> CpuTimes:
    """The machine's CPU time now, from the first line of /proc/stat; through psutil where there is none."""
    text = read_text(proc / "stat")
    if text is None:
        times = psutil.cpu_times()
        system = times.system + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        return CpuTimes(busy=times.user + times.nice + system, idle=idle, steal=getattr(times, "steal", None))
    ticks = [int(number) / os.sysconf("SC_CLK_TCK") for number in text.split("\n", 1)[0].split()[1:9]]
    user, nice, system, idle, io_wait, irq, soft_irq, steal = ticks  # guests' time is part of user's
    return CpuTimes(busy=user + nice + system + irq + soft_irq, idle=idle + io_wait, steal=steal)


def cpu_fractions(before: CpuTimes, after: CpuTimes, process_cpu_seconds: float) -> CpuFractions:
    """Fractions of the machine that the hypervisor took between two readings, and processes other than ours.

    The whole is the sum of the counters' differences, which is processors × wall time. The kernel's counters are exact
    to a tick (10 ms) a processor and may step back a little, so differences below 0 count as 0; both fractions are None
    if no counter advanced.
    """
    busy, idle = max(0.0, after.busy - before.busy), max(0.0, after.idle - before.idle)
    stolen = None if before.steal is None or after.steal is None else max(0.0, after.steal - before.steal)
    whole = busy + idle + (stolen or 0.0)
    if whole <= 0:
        return CpuFractions(None, None)
    return CpuFractions(None if stolen is None else stolen / whole, max(0.0, busy - process_cpu_seconds) / whole)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The load and the CPU time of others during a run. The names and meanings are those of
    `bench.core.observation.RunMetadata`."""

    load_start: float
    load_end: float
    steal_fraction_start: float | None
    steal_fraction: float | None
    other_cpu_fraction: float | None


class UsageMeter:
    """Measures `Usage` from its creation to `stop`, in the process that runs.

    Steal shows only while a processor has work, so nothing is slept away beforehand: `earlier` is a reading that the
    caller took a second or so before, on the far side of work it had to do anyhow (a fork, loading the data).
    """

    def __init__(self, earlier: CpuTimes | None = None, proc: Path = PROC) -> None:
        self._proc = proc
        self._load = load_averages(proc)[0]
        self._process_seconds = time.process_time()
        self._before = read_cpu_times(proc)
        self._steal_start = None if earlier is None else cpu_fractions(earlier, self._before, 0.0).steal_fraction

    def stop(self, process_cpu_seconds: float | None = None) -> Usage:
        """The usage since the start.

        Args:
            process_cpu_seconds: CPU time that was ours meanwhile; by default that of this process, all its threads.
        """
        if process_cpu_seconds is None:
            process_cpu_seconds = time.process_time() - self._process_seconds
        during = cpu_fractions(self._before, read_cpu_times(self._proc), process_cpu_seconds)
        return Usage(
            load_start=self._load,
            load_end=load_averages(self._proc)[0],
            steal_fraction_start=self._steal_start,
            steal_fraction=during.steal_fraction,
            other_cpu_fraction=during.other_cpu_fraction,
        )


# --- how quiet it is ---


@dataclass(frozen=True)
class HeavyProcess:
    """A process that used CPU time during `read_quiet`; `cores` is how many cores' worth."""

    pid: int
    name: str
    cores: float


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """How quiet the machine was during `read_quiet`: facts, not judged."""

    load_1m: float
    online_cores: int
    """All logical processors of the machine, which is what its load refers to."""
    steal_fraction: float | None = None
    """Fraction of the wanted CPU time that the hypervisor took."""
    throttled_periods: int | None = None
    """Scheduling periods cut short by a control group's quota meanwhile."""
    heavy: tuple[HeavyProcess, ...] = ()
    """The three other processes that used most CPU time meanwhile."""
    governors: tuple[str, ...] = ()
    """The processors' frequency governors, each once; empty where frequency is not ours to set (virtual machines)."""
    turbo: bool | None = None
    available_memory_bytes: int
    total_memory_bytes: int
    swap_used_bytes: int = 0
    on_battery: bool | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


class RemarkKind(StrEnum):
    """What can be remarked on; a closed set."""

    LOAD = "load"
    STEAL = "steal"
    PROCESSES = "processes"
    QUOTA = "quota"
    THROTTLING = "throttling"
    GOVERNOR = "governor"
    TURBO = "turbo"
    MEMORY = "memory"
    SWAP = "swap"
    BATTERY = "battery"
    CARD_SHARED = "card shared"
    CARD_THROTTLED = "card throttled"
    CARD_UNLOADED = "card unloaded"


@dataclass(frozen=True)
class Remark:
    """Something that makes times on this machine less reliable, and what to do about it."""

    kind: RemarkKind
    text: str
    advice: str


LOAD_PER_CORE = 0.25
"""A quarter of the cores busy for the last minute: on two cores, half of one that our threads would want."""
STEAL_FRACTION = 0.02
"""One tick in 50: what half a second on one core can distinguish from none at all."""
HEAVY_CORES = 0.1
"""A tenth of a core: five ticks of half a second, well above what rounding to ticks can make up."""
MEMORY_BYTES = 2 * GIB
"""A server that has imported TensorFlow holds 0.8 GB, a training child about as much again; the rest is room."""
SWAP_FRACTION = 0.1
"""Swapped-out pages that nobody wants are harmless, and common; a tenth of memory's worth shows that it ran short."""

_QUIET_SECONDS = 0.5
_HEAVY_COUNT = 3


def spin(seconds: float) -> None:
    """Keep one processor busy: only a machine that has work shows how much of its time is stolen, or throttled."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def read_quiet(
    seconds: float = _QUIET_SECONDS,
    *,
    proc: Path = PROC,
    sys: Path = SYS,
    wait: Callable[[float], None] = spin,
    clock: Callable[[], float] = time.perf_counter,
) -> Quiet:
    """Watch the machine for `seconds`, with one processor kept busy by us, for what else goes on."""
    times, processes, throttled, start = read_cpu_times(proc), _processes(), throttled_periods(proc, sys), clock()
    wait(seconds)
    elapsed, throttled_after = clock() - start, throttled_periods(proc, sys)
    processes_after, times_after = _processes(), read_cpu_times(proc)
    memory = meminfo(proc)
    return Quiet(
        load_1m=load_averages(proc)[0],
        online_cores=os.cpu_count() or 1,
        steal_fraction=_stolen_of_wanted(times, times_after),
        throttled_periods=None if throttled is None or throttled_after is None else throttled_after - throttled,
        heavy=heaviest(processes, processes_after, elapsed, excluded=os.getpid()),
        governors=_governors(sys),
        turbo=_turbo(sys),
        available_memory_bytes=available_memory_bytes(proc, sys),
        total_memory_bytes=memory["MemTotal"],
        swap_used_bytes=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
        on_battery=_on_battery(),
    )


def _stolen_of_wanted(before: CpuTimes, after: CpuTimes) -> float | None:
    if before.steal is None or after.steal is None:
        return None
    stolen, busy = max(0.0, after.steal - before.steal), max(0.0, after.busy - before.busy)
    return stolen / (stolen + busy) if stolen + busy > 0 else None


def _processes() -> dict[tuple[int, float], tuple[str, float]]:
    """The CPU seconds so far of each process, by its number and its start: numbers are used again."""
    processes = {}
    for process in psutil.process_iter(["name", "create_time", "cpu_times"]):
        facts = process.info
        if facts["cpu_times"] is not None:  # not ours to read, or gone
            seconds = facts["cpu_times"].user + facts["cpu_times"].system
            processes[process.pid, facts["create_time"]] = (facts["name"] or "?", seconds)
    return processes


def heaviest(
    before: Mapping[tuple[int, float], tuple[str, float]],
    after: Mapping[tuple[int, float], tuple[str, float]],
    seconds: float,
    excluded: int,
) -> tuple[HeavyProcess, ...]:
    """The three processes, other than `excluded`, that used most CPU time between two readings; busiest first.

    A process that was not there at first counts with all it used since its start.
    """
    used = (
        HeavyProcess(key[0], name, round((total - before.get(key, ("", 0.0))[1]) / seconds, 2))
        for key, (name, total) in after.items()
        if key[0] != excluded
    )
    return tuple(sorted((p for p in used if p.cores > 0), key=lambda p: (-p.cores, p.pid))[:_HEAVY_COUNT])


def _governors(sys: Path) -> tuple[str, ...]:
    files = (sys / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({(read_text(file) or "").strip() for file in files} - {""}))


def _turbo(sys: Path) -> bool | None:
    folder = sys / "devices/system/cpu"
    if (disabled := read_number(folder / "intel_pstate/no_turbo")) is not None:
        return disabled == 0
    boost = read_number(folder / "cpufreq/boost")
    return None if boost is None else boost == 1


def _on_battery() -> bool | None:
    read = getattr(psutil, "sensors_battery", None)  # psutil leaves it out where the platform has no such thing
    try:
        battery = read() if read else None
    except OSError:  # a container without /sys/class
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def remarks(quiet: Quiet, machine: Machine) -> tuple[Remark, ...]:
    """What makes times on this machine less reliable; each with advice. None is a verdict: runs go on all the same."""
    return tuple(_remarks(quiet, machine))


def _remarks(quiet: Quiet, machine: Machine) -> Iterable[Remark]:
    if quiet.load_1m >= LOAD_PER_CORE * quiet.online_cores:
        yield Remark(
            RemarkKind.LOAD,
            f"the load of the last minute is {quiet.load_1m:.2f} on {quiet.online_cores} cores",
            "wait until it is down, or stop what else is running",
        )
    if quiet.steal_fraction is not None and quiet.steal_fraction >= STEAL_FRACTION:
        yield Remark(
            RemarkKind.STEAL,
            f"the hypervisor took {quiet.steal_fraction:.0%} of the CPU time that was wanted",
            "other guests share this host: measure at another hour or on dedicated hardware, and raise the repeats",
        )
    heavy = [process for process in quiet.heavy if process.cores >= HEAVY_CORES]
    if heavy:
        listed = ", ".join(f"{process.name} (pid {process.pid}, {process.cores:.1f} cores)" for process in heavy)
        yield Remark(
            RemarkKind.PROCESSES, f"other processes are busy: {listed}", "stop them, or wait until they are done"
        )
    if machine.cpu_quota is not None:
        yield Remark(
            RemarkKind.QUOTA,
            f"a control group allows {machine.cpu_quota:g} cores' worth of time on {machine.usable_cores} cores",
            "lift it, or pin the workers to that many cores with --cpus: threads beyond it are stopped in mid-step",
        )
    if quiet.throttled_periods:
        yield Remark(
            RemarkKind.THROTTLING,
            f"the control group was throttled in {quiet.throttled_periods} scheduling periods just now",
            "lift its quota, or stop what else runs in the same container",
        )
    slow = [governor for governor in quiet.governors if governor != "performance"]
    if slow:
        yield Remark(
            RemarkKind.GOVERNOR,
            f"the frequency governor is {', '.join(slow)}: the clock follows the load",
            "`sudo cpupower frequency-set -g performance` keeps it up",
        )
    if quiet.turbo:
        yield Remark(
            RemarkKind.TURBO,
            "turbo is on: the clock depends on temperature and on how many cores are busy",
            "switch it off where steadiness matters more than speed (intel_pstate/no_turbo or cpufreq/boost, below "
            "/sys/devices/system/cpu)",
        )
    if quiet.available_memory_bytes < MEMORY_BYTES:
        yield Remark(
            RemarkKind.MEMORY,
            f"{quiet.available_memory_bytes / GIB:.1f} GiB of memory are left, {MEMORY_BYTES / GIB:g} may be needed",
            "close programs, or raise the container's memory limit",
        )
    if quiet.swap_used_bytes >= SWAP_FRACTION * quiet.total_memory_bytes:
        yield Remark(
            RemarkKind.SWAP,
            f"{quiet.swap_used_bytes / MIB:.0f} MiB are swapped out",
            "free memory, then `sudo swapoff -a && sudo swapon -a` brings the pages back",
        )
    if quiet.on_battery:
        yield Remark(
            RemarkKind.BATTERY, "this machine runs on its battery", "plug it in: on battery the clock is held down"
        )


# --- memory of this process ---


def resident_bytes(proc: Path = PROC) -> int:
    """Memory of this process that is in use and in RAM now."""
    try:  # some microseconds, where psutil takes 0.1 ms: it is read between timed calls
        return int((proc / "self" / "statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return int(psutil.Process().memory_info().rss)


def reset_peak(proc: Path = PROC) -> bool:
    """Make `peak_bytes` start again from what is resident now; False where that cannot be done (it is Linux's)."""
    try:
        (proc / "self" / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes(proc: Path = PROC) -> int:
    """The highest resident memory of this process since `reset_peak`, or since its start where there was none."""
    # ru_maxrss, the way without /proc, can't be reset; it counts bytes on macOS and KiB elsewhere.
    if (kib := read_counters(proc / "self" / "status").get("VmHWM")) is not None:
        return kib * KIB
    unit = 1 if platform.system() == "Darwin" else KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
