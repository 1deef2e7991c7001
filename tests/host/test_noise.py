from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.observation import RunMetadata
from bench.host.hardware import read_machine
from bench.host.noise import (
    CpuFractions,
    CpuTimes,
    HeavyProcess,
    Quiet,
    RemarkKind,
    UsageMeter,
    cpu_fractions,
    heaviest,
    peak_bytes,
    read_cpu_times,
    read_quiet,
    remarks,
    reset_peak,
    resident_bytes,
    spin,
)
from bench.host.procfs import GIB
from tests.support.roots import CGROUP_V2, LAPTOP, Roots, made_up_machine

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Roots:
    return made_up_machine(tmp_path, monkeypatch)


# --- processor time ---


def test_processor_times_from_the_first_line(roots: Roots) -> None:
    tick = 1 / os.sysconf("SC_CLK_TCK")
    times = read_cpu_times(roots.proc)
    assert (times.busy, times.idle, times.steal) == pytest.approx((170 * tick, 820 * tick, 10 * tick))


def test_processor_times_without_proc(tmp_path: Path) -> None:
    ours, real = read_cpu_times(tmp_path), psutil.cpu_times()
    assert ours.idle == pytest.approx(real.idle + getattr(real, "iowait", 0.0), abs=5, rel=0.01)
    assert ours.busy == pytest.approx(real.user + real.nice + real.system, abs=5, rel=0.05)


def test_shares_of_a_known_interval() -> None:
    # Two processors for 10 s: 8 s busy, 5 of them ours; 1 s stolen; 11 s idle.
    fractions = cpu_fractions(CpuTimes(100, 1000, 5), CpuTimes(108, 1011, 6), process_cpu_seconds=5)
    assert fractions.steal_fraction == pytest.approx(1 / 20)
    assert fractions.other_cpu_fraction == pytest.approx(3 / 20)


def test_shares_of_no_time_are_unknown() -> None:
    now = CpuTimes(1, 2, 3)
    assert cpu_fractions(now, now, 0.0) == CpuFractions(None, None)


def test_steal_that_is_not_counted_is_unknown() -> None:
    fractions = cpu_fractions(CpuTimes(0, 0, None), CpuTimes(4, 4, None), process_cpu_seconds=2)
    assert fractions == CpuFractions(None, 0.25)


seconds = st.floats(min_value=0, max_value=1e6)
times = st.builds(CpuTimes, seconds, seconds, seconds)


@given(times, times, seconds)
def test_fractions_are_fractions(before: CpuTimes, after: CpuTimes, process_seconds: float) -> None:
    fractions = cpu_fractions(before, after, process_seconds)
    if fractions.steal_fraction is None or fractions.other_cpu_fraction is None:
        assert after.busy <= before.busy
        assert after.idle <= before.idle
    else:
        assert 0 <= fractions.steal_fraction <= 1
        assert 0 <= fractions.other_cpu_fraction <= 1
        assert fractions.steal_fraction + fractions.other_cpu_fraction <= 1 + 1e-9


def test_a_meter_over_a_run(roots: Roots) -> None:
    hertz = os.sysconf("SC_CLK_TCK")

    def stat(user: int, idle: int, steal: int) -> dict[str, str]:
        return {"proc/stat": f"cpu  {user * hertz} 0 0 {idle * hertz} 0 0 0 {steal * hertz} 0 0\n"}

    roots.write(stat(100, 100, 0))
    earlier = read_cpu_times(roots.proc)
    roots.write(stat(101, 102, 1))
    meter = UsageMeter(earlier, roots.proc)
    roots.write(stat(108, 111, 3)).write({"proc/loadavg": "1.75 1 1 1/1 1\n"})
    usage = meter.stop(process_cpu_seconds=4.5)
    assert (usage.load_start, usage.load_end) == (0.5, 1.75)
    assert usage.steal_fraction_start == pytest.approx(1 / 4)
    assert usage.steal_fraction == pytest.approx(2 / 18)
    assert usage.other_cpu_fraction == pytest.approx(2.5 / 18)


def test_usage_has_the_names_of_a_runs_facts() -> None:
    usage = asdict(UsageMeter().stop())
    assert usage == {name: getattr(replace(RunMetadata(), **usage), name) for name in usage}


def test_a_meter_without_an_earlier_reading_knows_no_start() -> None:
    assert UsageMeter().stop().steal_fraction_start is None


def test_a_meter_takes_off_what_this_process_used(roots: Roots) -> None:
    hertz = os.sysconf("SC_CLK_TCK")
    roots.write({"proc/stat": "cpu  0 0 0 0 0 0 0 0 0 0\n"})
    meter, start = UsageMeter(proc=roots.proc), time.process_time()
    while time.process_time() < start + 0.2:
        pass
    roots.write({"proc/stat": f"cpu  {hertz} 0 0 {hertz} 0 0 0 0 0 0\n"})
    other = meter.stop().other_cpu_fraction  # 1 s busy of 2 s, at least 0.2 s of it ours
    assert other is not None
    assert 0.1 < other <= (1 - 0.2) / 2


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps one processor busy."""
    with subprocess.Popen(
        [sys.executable, "-c", "print(end='!', flush=True)\nwhile 1: pass"], stdout=subprocess.PIPE
    ) as it:
        assert it.stdout is not None
        it.stdout.read(1)
        yield it
        it.kill()


@linux_only
def test_a_meter_sees_another_process(burner: subprocess.Popen[bytes]) -> None:
    meter = UsageMeter()
    time.sleep(0.5)
    other = meter.stop().other_cpu_fraction
    assert other is not None
    assert other >= 0.3 / (os.cpu_count() or 1)


# --- how quiet it is ---

CALM = Quiet(
    load_1m=0.1,
    online_cores=8,
    steal_fraction=0.0,
    throttled_periods=0,
    heavy=(HeavyProcess(7, "shell", 0.02),),
    governors=("performance",),
    turbo=False,
    available_memory_bytes=12 * GIB,
    total_memory_bytes=16 * GIB,
    swap_used_bytes=GIB,
    on_battery=False,
)


def test_a_calm_machine_gets_no_remark() -> None:
    assert remarks(CALM, LAPTOP) == ()


def test_facts_that_are_not_known_get_no_remark() -> None:
    unknown = Quiet(load_1m=0.0, online_cores=1, available_memory_bytes=2 * GIB, total_memory_bytes=2 * GIB)
    assert remarks(unknown, LAPTOP) == ()


@pytest.mark.parametrize(
    ("change", "kind", "expected"),
    [
        ({"load_1m": 2.0}, RemarkKind.LOAD, "2.00 on 8 cores"),
        ({"steal_fraction": 0.021}, RemarkKind.STEAL, "2%"),
        (
            {"heavy": (HeavyProcess(31, "cc1plus", 0.97), HeavyProcess(7, "shell", 0.02))},
            RemarkKind.PROCESSES,
            "busy: cc1plus (pid 31, 1.0 cores)",
        ),
        ({"throttled_periods": 3}, RemarkKind.THROTTLING, "3 scheduling periods"),
        ({"governors": ("performance", "powersave")}, RemarkKind.GOVERNOR, "governor is powersave:"),
        ({"turbo": True}, RemarkKind.TURBO, "turbo is on"),
        ({"available_memory_bytes": 2 * GIB - 1}, RemarkKind.MEMORY, "2.0 GiB"),
        ({"swap_used_bytes": 2 * GIB}, RemarkKind.SWAP, "2048 MiB"),
        ({"on_battery": True}, RemarkKind.BATTERY, "battery"),
    ],
)
def test_each_remark_alone(change: dict[str, object], kind: RemarkKind, expected: str) -> None:
    (remark,) = remarks(replace(CALM, **change), LAPTOP)  # type: ignore[arg-type]
    assert remark.kind == kind
    assert expected in remark.text
    assert remark.advice


@pytest.mark.parametrize("change", [{"load_1m": 1.99}, {"steal_fraction": 0.019}, {"swap_used_bytes": int(1.59 * GIB)}])
def test_just_below_a_threshold_nothing_is_remarked(change: dict[str, object]) -> None:
    assert remarks(replace(CALM, **change), LAPTOP) == ()  # type: ignore[arg-type]


def test_a_quota_is_remarked_on() -> None:
    (remark,) = remarks(CALM, replace(LAPTOP, cpu_quota=2.5))
    assert remark.kind == RemarkKind.QUOTA
    assert "2.5 cores' worth of time on 8 cores" in remark.text


def test_all_remarks_together_are_each_kind_once() -> None:
    worst = Quiet(
        load_1m=9.0,
        online_cores=8,
        steal_fraction=0.5,
        throttled_periods=1,
        heavy=(HeavyProcess(1, "x", 3.0),),
        governors=("ondemand",),
        turbo=True,
        available_memory_bytes=0,
        total_memory_bytes=GIB,
        swap_used_bytes=GIB,
        on_battery=True,
    )
    of_cards = {RemarkKind.CARD_SHARED, RemarkKind.CARD_THROTTLED, RemarkKind.CARD_UNLOADED}  # bench.host.gpu_remarks
    kinds = [remark.kind for remark in remarks(worst, replace(LAPTOP, cpu_quota=1.0))]
    assert kinds == [kind for kind in RemarkKind if kind not in of_cards]


def test_the_heaviest_processes() -> None:
    before = {(1, 0.0): ("init", 50.0), (2, 0.0): ("me", 0.0), (3, 0.0): ("old", 9.0), (4, 0.0): ("cc", 1.0)}
    after = {
        (1, 0.0): ("init", 50.0),  # idle
        (2, 0.0): ("me", 2.0),  # ourselves
        (3, 7.0): ("new", 0.5),  # the number of one that ended, used again
        (4, 0.0): ("cc", 2.0),
        (5, 7.0): ("ld", 2.0),
        (6, 7.0): ("as", 0.1),
    }
    assert heaviest(before, after, seconds=2.0, excluded=2) == (
        HeavyProcess(5, "ld", 1.0),
        HeavyProcess(4, "cc", 0.5),
        HeavyProcess(3, "new", 0.25),
    )


def test_a_look_at_files_that_change(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: SimpleNamespace(power_plugged=False), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    cpu = "sys/devices/system/cpu"
    roots.write(CGROUP_V2).write(
        {
            f"{cpu}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{cpu}/cpu1/cpufreq/scaling_governor": "powersave\n",
            f"{cpu}/cpu11/cpufreq/scaling_governor": "performance\n",
            f"{cpu}/intel_pstate/no_turbo": "0\n",
        }
    )
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        roots.write(
            {
                "proc/stat": "cpu  130 10 50 900 20 5 5 20 3 0\n",
                "sys/fs/cgroup/team/cpu.stat": "usage_usec 5\nnr_periods 99\nnr_throttled 8\n",
            }
        )

    ticks = iter([10.0, 10.5])
    quiet = read_quiet(0.5, proc=roots.proc, sys=roots.sys, wait=wait, clock=lambda: next(ticks))
    assert waited == [0.5]
    assert quiet.steal_fraction == pytest.approx(10 / 40)  # of what was wanted: 30 ticks run, 10 stolen
    assert replace(quiet, heavy=(), steal_fraction=None) == Quiet(
        load_1m=0.5,
        online_cores=8,
        throttled_periods=5,
        governors=("performance", "powersave"),
        turbo=True,
        available_memory_bytes=2 * GIB,
        total_memory_bytes=16252928 * 1024,
        swap_used_bytes=GIB,
        on_battery=True,
    )
    assert json.loads(quiet.to_json())["governors"] == ["performance", "powersave"]


@pytest.mark.parametrize(
    ("files", "turbo"),
    [
        ({}, None),
        ({"intel_pstate/no_turbo": "1\n"}, False),
        ({"cpufreq/boost": "1\n"}, True),
        ({"cpufreq/boost": "0\n"}, False),
    ],
)
def test_turbo(roots: Roots, files: dict[str, str], turbo: bool | None) -> None:
    roots.write({f"sys/devices/system/cpu/{name}": text for name, text in files.items()})
    assert read_quiet(0.01, proc=roots.proc, sys=roots.sys, wait=lambda _: None).turbo is turbo


@pytest.mark.parametrize(
    ("battery", "expected"),
    [(None, None), (SimpleNamespace(power_plugged=None), None), (SimpleNamespace(power_plugged=True), False)],
)
def test_a_battery_that_is_not_in_use(
    roots: Roots, monkeypatch: pytest.MonkeyPatch, battery: object, expected: bool | None
) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert read_quiet(0.01, proc=roots.proc, sys=roots.sys, wait=lambda _: None).on_battery is expected


def test_a_look_at_this_machine_finds_a_busy_process(burner: subprocess.Popen[bytes]) -> None:
    reading = read_quiet(0.4)
    heavy = {process.pid: process.cores for process in reading.heavy}
    assert os.getpid() not in heavy
    # Three others may be busier on a shared machine; on a quiet one it is there, with about one core.
    assert 0.1 <= heavy.get(burner.pid, min(heavy.values())) <= 1.2
    assert burner.pid in heavy or len(heavy) == 3
    assert RemarkKind.PROCESSES in [remark.kind for remark in remarks(reading, read_machine())]


def test_spinning_keeps_a_processor_busy() -> None:
    start, cpu = time.perf_counter(), time.process_time()
    spin(0.1)
    assert time.perf_counter() - start >= 0.1
    assert time.process_time() - cpu > 0.02


# --- memory of this process ---


@linux_only
def test_the_peak_falls_when_it_is_reset() -> None:
    """In a process of its own: what it frees must go back to the system, and nothing else may hold the peak up."""
    code = """
import mmap
from bench.host.noise import peak_bytes, reset_peak, resident_bytes
start, size = resident_bytes(), 200 * 1024**2
block = mmap.mmap(-1, size)
for page in range(0, size, mmap.PAGESIZE):
    block[page] = 1
held = resident_bytes()
block.close()
before = peak_bytes()
print(start, held, before, reset_peak(), peak_bytes(), resident_bytes())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    start, held, before, worked, after, now = done.stdout.split()
    if worked == "False":
        pytest.skip("this system does not let a process reset its peak")
    size = 200 * 1024**2
    assert int(held) - int(start) > 0.95 * size
    assert int(before) >= 0.99 * int(held)
    assert int(after) < int(before) - 0.9 * size
    assert int(after) == pytest.approx(int(now), rel=0.1)


def test_a_peak_that_cannot_be_reset_says_so(tmp_path: Path) -> None:
    assert reset_peak(tmp_path) is False


def test_the_peak_without_proc_is_in_bytes_too(tmp_path: Path) -> None:
    assert 0.5 * resident_bytes() < peak_bytes(tmp_path) < 64 * GIB


def test_the_peak_on_macos_is_in_bytes_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = peak_bytes(tmp_path)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert peak_bytes(tmp_path) * 1024 == pytest.approx(elsewhere, rel=0.05)
