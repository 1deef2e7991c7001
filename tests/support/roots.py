"""A tree of files that stands for a machine's /proc and /sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.host.hardware import Machine, read_machine

CPUINFO_X86 = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) CPU @ 2.20GHz
stepping\t: 7
cpu MHz\t\t: 2200.123

processor\t: 1
model\t\t: 99
model name\t: another one
"""

CGROUP_V2 = {
    "proc/self/cgroup": "0::/team/job\n",
    "sys/fs/cgroup/cgroup.procs": "",
    "sys/fs/cgroup/team/cpu.max": "250000 100000\n",
    "sys/fs/cgroup/team/memory.max": "4294967296\n",
    "sys/fs/cgroup/team/memory.current": "3221225472\n",
    "sys/fs/cgroup/team/memory.stat": "anon 5\ninactive_file 1073741824\n",
    "sys/fs/cgroup/team/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 3\n",
    "sys/fs/cgroup/team/job/cpu.max": "max 100000\n",
    "sys/fs/cgroup/team/job/memory.max": "max\n",
}

CGROUP_V1 = {
    "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n0::/\n",
    "sys/fs/cgroup/cpu,cpuacct/cgroup.procs": "",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 77\n",
    "sys/fs/cgroup/memory/cgroup.procs": "",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1610612736\n",
    "sys/fs/cgroup/memory/memory.stat": "cache 8\ntotal_inactive_file 536870912\n",
}


class Roots:
    """A tree of files that stands for /proc and /sys."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.sys = folder / "proc", folder / "sys"
        self.proc.mkdir()
        self.sys.mkdir()

    def write(self, files: dict[str, str]) -> Roots:
        for name, text in files.items():
            path = self.proc.parent / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def machine(self) -> Machine:
        return read_machine(proc=self.proc, sys=self.sys)


def made_up_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Roots:
    """A machine of 8 cores and 15.5 GiB, without control groups, GPUs, or tools on PATH."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return Roots(tmp_path).write(
        {
            "proc/cpuinfo": CPUINFO_X86,
            "proc/meminfo": "MemTotal:       16252928 kB\nMemFree:  100 kB\nMemAvailable:    8388608 kB\n"
            "SwapTotal:  2097152 kB\nSwapFree:   1048576 kB\nActive(anon):  7 kB\n",
            "proc/stat": "cpu  100 10 50 800 20 5 5 10 3 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 1 2 3\n",
            "proc/loadavg": "0.50 0.25 0.10 1/200 4242\n",
            "proc/uptime": "3600.25 7000.00\n",
        }
    )


LAPTOP = Machine(architecture="x86_64", cpu_model="Some CPU, family 6", usable_cores=8, memory_class_gib=16.0)
