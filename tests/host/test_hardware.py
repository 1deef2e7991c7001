from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.catalog import devices
from bench.core.errors import UsageError
from bench.host import hardware
from bench.host.fingerprint import differences
from bench.host.hardware import Machine, device_problem, memory_class, numa_nodes, read_machine
from bench.host.procfs import GIB
from bench.host.software import Software, installed_backends, read_software
from bench.host.state import Host, read_host
from tests.support.roots import CGROUP_V1, CGROUP_V2, CPUINFO_X86, LAPTOP, Roots, made_up_machine

PLAIN = Software(python="3.11.7", keras="3.15.1", backend="tensorflow", backend_version="2.21.0", numpy="2.4.6")


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Roots:
    return made_up_machine(tmp_path, monkeypatch)


def tool(roots: Roots, name: str, script: str) -> None:
    path = roots.proc.parent / "tools" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


CPUINFO_ARM = """processor\t: 0
BogoMIPS\t: 243.75
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd40

processor\t: 1
"""

# --- the machine ---


def test_the_processor_is_named_with_what_tells_generations_apart(roots: Roots) -> None:
    assert roots.machine().cpu_model == "Intel(R) Xeon(R) CPU @ 2.20GHz, family 6 model 85 stepping 7"


def test_an_arm_processor_is_named_by_its_numbers(roots: Roots) -> None:
    assert roots.write({"proc/cpuinfo": CPUINFO_ARM}).machine().cpu_model == "ARM implementer 0x41 part 0xd40"


def test_macos_asks_sysctl_for_the_processor(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    (roots.proc / "cpuinfo").unlink()
    tool(roots, "sysctl", '[ "$*" = "-n machdep.cpu.brand_string" ] && echo "Apple M3"')
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert roots.machine().cpu_model == "Apple M3"


def test_a_processor_that_nothing_names_is_none(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    (roots.proc / "cpuinfo").unlink()
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert roots.machine().cpu_model is None


def test_without_affinity_all_cores_are_usable(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert roots.machine().usable_cores == 6


@pytest.mark.parametrize(
    ("lists", "expected"),
    [([], ()), (["0-1"], ({0, 1},)), (["0,2-3", "1,4"], ({0, 2, 3}, {1, 4})), (["0-1", ""], ({0, 1},))],
)
def test_the_processors_of_each_node_of_the_memory(
    roots: Roots, lists: list[str], expected: tuple[set[int], ...]
) -> None:
    """A node without processors, memory alone, is left out."""
    listed = {f"sys/devices/system/node/node{number}/cpulist": f"{text}\n" for number, text in enumerate(lists)}
    assert numa_nodes(roots.write(listed).sys) == expected


def test_a_machine_without_control_groups_has_no_quota_and_all_its_memory(roots: Roots) -> None:
    machine = roots.machine()
    assert (machine.usable_cores, machine.cpu_quota, machine.memory_class_gib) == (8, None, 16.0)


@pytest.mark.parametrize(
    ("size_gib", "expected"),
    [
        (16, 16),
        (15.5, 16),
        (23.54, 24),
        (31.2, 32),
        (62.7, 64),
        (125.6, 128),
        (0.47, 0.5),
        (1.4, 1.5),
        (1.02, 1),
        (94, 96),
    ],
)
def test_memory_classes(size_gib: float, expected: float) -> None:
    assert memory_class(size_gib * GIB) == expected


@given(st.floats(min_value=0.01, max_value=100_000))
def test_a_memory_class_is_the_nearest_of_its_kind(size_gib: float) -> None:
    classes = [base * 2.0**n for n in range(-8, 19) for base in (1.0, 1.5)]
    nearest = min(max(c, size_gib) / min(c, size_gib) for c in classes)
    chosen = memory_class(size_gib * GIB)
    assert chosen in classes
    assert max(chosen, size_gib) / min(chosen, size_gib) == pytest.approx(nearest)


# --- control groups ---


def test_version_2_limits_of_the_groups_above_count_too(roots: Roots) -> None:
    machine = roots.write(CGROUP_V2).machine()
    assert (machine.cpu_quota, machine.memory_class_gib) == (2.5, 4.0)


def test_the_tightest_limit_wins(roots: Roots) -> None:
    roots.write(CGROUP_V2)
    job = "sys/fs/cgroup/team/job"
    machine = roots.write({f"{job}/cpu.max": "50000 100000\n", f"{job}/memory.max": "1610612736"}).machine()
    assert (machine.cpu_quota, machine.memory_class_gib) == (0.5, 1.5)


def test_version_1_inside_a_container_whose_path_is_the_hosts(roots: Roots) -> None:
    machine = roots.write(CGROUP_V1).machine()
    assert (machine.cpu_quota, machine.memory_class_gib) == (1.5, 2.0)


def test_version_1_without_limits(roots: Roots) -> None:
    roots.write(CGROUP_V1)
    roots.write(
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        }
    )
    machine = roots.machine()
    assert (machine.cpu_quota, machine.memory_class_gib) == (None, 16.0)


def test_a_group_namespace_with_a_path_above_its_root(roots: Roots) -> None:
    roots.write(CGROUP_V2)
    outside = {"proc/self/cgroup": "0::/../elsewhere\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}
    # The folder beside the mount must not be read, though the path names it.
    outside["sys/fs/elsewhere/cpu.max"] = "10000 100000\n"
    assert roots.write(outside).machine().cpu_quota == 1.0


def test_a_quota_of_no_less_than_the_cores_is_none(roots: Roots) -> None:
    roots.write(CGROUP_V2)
    assert roots.write({"sys/fs/cgroup/team/cpu.max": "800000 100000\n"}).machine().cpu_quota is None


@pytest.mark.parametrize("files", [CGROUP_V1, CGROUP_V2], ids=["v1", "v2"])
def test_memory_left_in_a_group_counts_its_page_cache(roots: Roots, files: dict[str, str]) -> None:
    # v1: 2 - 1.5 + 0.5; v2: 4 - 3 + 1
    expected = GIB if files is CGROUP_V1 else 2 * GIB
    assert read_host(roots.proc, roots.write(files).sys).available_memory_bytes == expected


# --- GPUs: composed, as NVIDIA's documentation of the driver and of nvidia-smi shows their output ---

NVIDIA = {
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    "GCC version:  gcc version 12.2.0\n",
    "proc/driver/nvidia/gpus/0000:17:00.0/information": "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 60\n",
    "proc/driver/nvidia/gpus/0000:65:00.0/information": "Model: \t\t NVIDIA L4\nIRQ:   \t\t 61\n",
}
SMI_QUERY = "--query-gpu=name,driver_version --format=csv,noheader"


def test_gpus_from_the_drivers_files(roots: Roots) -> None:
    tool(roots, "nvidia-smi", "echo 'never asked, 1.0'")
    machine = roots.write(NVIDIA).machine()
    assert machine.gpus == ("NVIDIA H100 80GB HBM3", "NVIDIA L4")
    assert machine.gpu_driver == "570.86.15"


def test_the_closed_drivers_version(roots: Roots) -> None:
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
    assert roots.write({**NVIDIA, "proc/driver/nvidia/version": text}).machine().gpu_driver == "535.104.05"


def test_gpus_from_nvidia_smi(roots: Roots) -> None:
    tool(roots, "nvidia-smi", f'[ "$*" = "{SMI_QUERY}" ] && printf "Tesla T4, 535.104.05\\nTesla T4, 535.104.05\\n"')
    machine = roots.machine()
    assert (machine.gpus, machine.gpu_driver) == (("Tesla T4", "Tesla T4"), "535.104.05")


def test_nvidia_smi_names_what_the_drivers_files_do_not(roots: Roots) -> None:
    roots.write({**NVIDIA, "proc/driver/nvidia/gpus/0000:17:00.0/information": "Model: \t\t Unknown\n"})
    tool(roots, "nvidia-smi", 'printf "NVIDIA H100 80GB HBM3, 570.86.15\\nNVIDIA L4, 570.86.15\\n"')
    assert roots.machine().gpus == ("NVIDIA H100 80GB HBM3", "NVIDIA L4")


@pytest.mark.parametrize("script", ["echo 'No devices were found'", "echo 'failed, 1.2'; exit 9", "printf '\\377'"])
def test_an_nvidia_smi_that_finds_nothing(roots: Roots, script: str) -> None:
    tool(roots, "nvidia-smi", script)
    machine = roots.machine()
    assert (machine.gpus, machine.gpu_driver) == ((), None)


def test_an_nvidia_smi_that_hangs_is_given_up(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(roots, "nvidia-smi", "exec /bin/sleep 60")
    monkeypatch.setattr(hardware, "_TOOL_TIMEOUT_SECONDS", 0.2)
    start = time.monotonic()
    assert roots.machine().gpus == ()
    assert time.monotonic() - start < 10


def test_the_machine_is_read_once_until_its_cores_change(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    first = roots.machine()
    roots.write({"proc/cpuinfo": CPUINFO_ARM})
    assert roots.machine() is first
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3})
    assert roots.machine().usable_cores == 2


def test_a_machine_that_runs_are_pinned_on_has_those_cores_and_no_quota_beyond_them(roots: Roots) -> None:
    roots.write(CGROUP_V2)
    pinned = read_machine([1, 4], proc=roots.proc, sys=roots.sys)
    assert (pinned.usable_cores, pinned.cpu_quota) == (2, None)  # 2.5 cores' worth is no limit on two
    assert read_machine([1, 4, 5], proc=roots.proc, sys=roots.sys).cpu_quota == 2.5


def test_this_machine_can_be_read() -> None:
    machine = read_machine()
    assert machine.architecture == platform.machine()
    affinity = psutil.Process().cpu_affinity() if sys.platform == "linux" else None
    assert machine.usable_cores == (psutil.cpu_count() if affinity is None else len(affinity))
    assert machine.memory_class_gib is not None
    assert machine.memory_class_gib * GIB < 1.5 * psutil.virtual_memory().total
    assert Machine.from_json(machine.to_json()) == machine


# --- software ---


def distribution(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where distributions are found, instead of the real place: holds what a test puts there."""
    folder = tmp_path / "site"
    folder.mkdir()
    standard = [entry for entry in sys.path if "-packages" not in entry]
    monkeypatch.setattr(sys, "path", [str(folder), *standard])
    return folder


def test_versions_come_from_metadata(site: Path) -> None:
    for name, version in {"keras": "3.99", "jax": "0.10.0", "jaxlib": "0.10.1", "numpy": "2.9", "torch": "9"}.items():
        distribution(site, name, version)
    software = read_software("jax", {})
    assert software == Software(
        python=platform.python_version(),
        keras="3.99",
        backend="jax",
        backend_version="0.10.0",
        numpy="2.9",
        libraries=(("jaxlib", "0.10.1"),),
    )


def test_another_build_of_a_backend_is_named(site: Path) -> None:
    distribution(site, "tensorflow-cpu", "2.21.0")
    assert read_software("tensorflow", {}).backend_version == "2.21.0 (tensorflow-cpu)"


def test_what_is_not_installed_says_how_to_install_it(site: Path) -> None:
    distribution(site, "tensorflow", "2.21.0")
    backends = installed_backends()
    assert backends["tensorflow"] is None
    for backend in ("jax", "torch"):
        problem = backends[backend] or ""
        assert problem.startswith(f"{backend} is not installed in this Python environment: ")
        assert f"`pip install -e '.[{backend}]'`" in problem
    assert read_software("torch", {}).backend_version is None


def test_only_settings_that_change_speed_or_numbers_are_kept() -> None:
    environ = {
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "OMP_NUM_THREADS": "4",
        "KMP_BLOCKTIME": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MKL_VERBOSE": "1",
        "OMP_DISPLAY_ENV": "TRUE",
        "HOME": "/home/me",
        "KERAS_BACKEND": "jax",
    }
    assert read_software("tensorflow", environ).settings == (
        ("CUDA_VISIBLE_DEVICES", ""),
        ("KMP_BLOCKTIME", "0"),
        ("OMP_NUM_THREADS", "4"),
        ("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false"),
    )


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/home/me/lib/libtcmalloc.so.4", "libtcmalloc.so.4"),
        ("--xla_dump_to=/home/me/dump --xla_gpu_autotune_level=0", "--xla_dump_to=dump --xla_gpu_autotune_level=0"),
        ("/a/x.so:/b/y.so", "x.so:y.so"),
        ("~/me/x,me/y", "x,y"),
        ("granularity=fine,compact,1,0", "granularity=fine,compact,1,0"),
    ],
)
def test_folders_are_cut_from_settings(value: str, kept: str) -> None:
    assert read_software("tensorflow", {"LD_PRELOAD": value}).settings == (("LD_PRELOAD", kept),)


def test_the_software_of_this_process_survives_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    software = read_software("tensorflow")
    assert ("TF_ENABLE_ONEDNN_OPTS", "0") in software.settings
    assert Software.from_json(software.to_json()) == software


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from bench.host import hardware, software; hardware.read_machine();"
        "software.read_software('tensorflow'); software.installed_backends();"
        "print([n for n in ('numpy', 'keras', 'tensorflow', 'jax', 'torch', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- fingerprints and differences ---


def test_fingerprints_are_those_of_stored_records() -> None:
    gpu = replace(LAPTOP, gpus=("NVIDIA L4",), gpu_driver="570.86.15", cpu_quota=2.5)
    tuned = replace(PLAIN, libraries=(("jaxlib", "0.10.1"),), settings=(("OMP_NUM_THREADS", "4"),))
    fingerprints = [record.fingerprint for record in (LAPTOP, gpu, PLAIN, tuned)]
    assert fingerprints == ["d1f57ba58b07b793", "2e988bf1205cd3a5", "5b82f9dc278d31e1", "3411a2e999fa702c"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"architecture": "aarch64"}, "architecture: x86_64 → aarch64"),
        ({"cpu_model": "Other"}, "cpu_model: Some CPU, family 6 → Other"),
        ({"cpu_model": None}, "cpu_model: Some CPU, family 6 → none"),
        ({"usable_cores": 4}, "usable_cores: 8 → 4"),
        ({"cpu_quota": 2.5}, "cpu_quota: none → 2.5"),
        ({"memory_class_gib": 24.0}, "memory_class_gib: 16 → 24"),
        ({"gpus": ("NVIDIA L4", "NVIDIA L4")}, "gpus: none → NVIDIA L4, NVIDIA L4"),
        ({"gpu_driver": "570.86.15"}, "gpu_driver: none → 570.86.15"),
    ],
)
def test_each_fact_of_a_machine_counts_and_is_named(change: dict[str, object], expected: str) -> None:
    other = replace(LAPTOP, **change)  # type: ignore[arg-type]
    assert differences(LAPTOP, other) == (expected,)
    assert LAPTOP.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"python": "3.12.1"}, "python: 3.11.7 → 3.12.1"),
        ({"keras": None}, "keras: 3.15.1 → none"),
        ({"backend": "jax"}, "backend: tensorflow → jax"),
        ({"backend_version": "2.22.0"}, "backend_version: 2.21.0 → 2.22.0"),
        ({"numpy": "2.5.0"}, "numpy: 2.4.6 → 2.5.0"),
        ({"libraries": (("jaxlib", "0.10.1"),)}, "jaxlib: none → 0.10.1"),
        ({"settings": (("OMP_NUM_THREADS", "4"),)}, "OMP_NUM_THREADS: none → 4"),
        ({"settings": (("CUDA_VISIBLE_DEVICES", ""),)}, "CUDA_VISIBLE_DEVICES: none → (empty)"),
    ],
)
def test_each_fact_of_the_software_counts_and_is_named(change: dict[str, object], expected: str) -> None:
    other = replace(PLAIN, **change)  # type: ignore[arg-type]
    assert differences(PLAIN, other) == (expected,)
    assert PLAIN.fingerprint != other.fingerprint


def test_equal_records_do_not_differ() -> None:
    assert differences(LAPTOP, Machine.from_json(LAPTOP.to_json())) == ()
    assert Machine.from_json(LAPTOP.to_json()).fingerprint == LAPTOP.fingerprint


def test_what_goes_on_on_the_host_does_not_change_the_fingerprint(
    roots: Roots, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    busy = tmp_path / "busy"
    busy.mkdir()
    quiet, later = roots.machine(), Roots(busy)
    monkeypatch.setattr(platform, "node", lambda: "another-name")
    monkeypatch.setattr(platform, "release", lambda: "99.0")
    later.write(
        {
            "proc/cpuinfo": CPUINFO_X86.replace("2200.123", "3100.9"),
            "proc/meminfo": "MemTotal: 16252000 kB\nMemAvailable: 1024 kB\n",  # another kernel keeps more for itself
            "proc/loadavg": "7.9 7.9 7.9 9/200 1\n",
        }
    )
    assert read_host(later.proc, later.sys) != read_host(roots.proc, roots.sys)
    assert later.machine().fingerprint == quiet.fingerprint


# --- devices ---


@pytest.mark.parametrize("name", ["cpu", "gpu:0", "gpu:12"])
def test_devices_that_are_names(name: str) -> None:
    assert devices.find(name, "--set devices") == name


@pytest.mark.parametrize("name", ["", "gpu", "gpu:", "gpu:-1", "gpu:01", "GPU:0", "cuda:0", "gpu:0 ", "gpu:٣", "cpu:0"])
def test_devices_that_are_not(name: str) -> None:
    with pytest.raises(UsageError, match="--set devices") as error:
        devices.find(name, "--set devices")
    assert repr(name) in str(error.value)


def test_a_slip_gets_the_name_that_was_meant() -> None:
    with pytest.raises(UsageError, match="did you mean 'gpu:0'"):
        devices.find("gpu", "my.toml")


def environ(visible: str | None) -> dict[str, str]:
    return {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}


TWO_GPUS = replace(LAPTOP, gpus=("NVIDIA L4", "NVIDIA L4"), gpu_driver="570.86.15")


@pytest.mark.parametrize(
    ("device", "where", "visible"),
    [
        ("cpu", LAPTOP, None),
        ("cpu", TWO_GPUS, ""),
        ("gpu:0", TWO_GPUS, None),
        ("gpu:1", TWO_GPUS, None),
        ("gpu:0", TWO_GPUS, "1"),
        ("gpu:1", TWO_GPUS, "1, 0"),
        ("gpu:0", TWO_GPUS, "GPU-8932f937-d72c"),
    ],
)
def test_devices_that_can_be_used(device: str, where: Machine, visible: str | None) -> None:
    assert device_problem(device, where, environ(visible)) is None


@pytest.mark.parametrize(
    ("device", "where", "visible", "expected"),
    [
        ("gpu:0", LAPTOP, None, "no Nvidia GPU"),
        ("gpu:2", TWO_GPUS, None, "2 GPUs, usable: gpu:0, gpu:1"),
        ("gpu:1", TWO_GPUS, "0", "usable: gpu:0 (CUDA_VISIBLE_DEVICES is '0')"),
        ("gpu:0", TWO_GPUS, "", "usable: none (CUDA_VISIBLE_DEVICES is '')"),
        ("gpu:0", TWO_GPUS, "-1", "usable: none"),
        ("gpu:1", TWO_GPUS, "0,-1,1", "usable: gpu:0 "),
        ("gpu:1", TWO_GPUS, "0,7,1", "usable: gpu:0 "),  # CUDA reads no further than a card that is not there
        ("gpu:0", TWO_GPUS, "7", "usable: none"),
        ("gpu:0", TWO_GPUS, "1,1", "usable: none"),  # named twice
        ("gpu:1", TWO_GPUS, "0,GPU-8932f937-d72c", "usable: gpu:0 "),  # numbers and identifiers don't mix
        ("gpu:0", TWO_GPUS, "none", "usable: none"),
        ("gpu:1", replace(LAPTOP, gpus=("NVIDIA L4",)), None, "1 GPU, usable: gpu:0"),
    ],
)
def test_devices_that_cannot_be_used_say_why(device: str, where: Machine, visible: str | None, expected: str) -> None:
    problem = device_problem(device, where, environ(visible)) or ""
    assert problem.startswith(f"{device}: ")
    assert expected in problem


def test_a_numbering_of_cards_that_the_driver_does_not_share_is_refused() -> None:
    fastest = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    problem = device_problem("gpu:0", TWO_GPUS, fastest) or ""
    assert problem.startswith("gpu:0: CUDA_DEVICE_ORDER is 'FASTEST_FIRST', and bench numbers cards by their PCI bus")
    assert "unset it" in problem
    assert device_problem("gpu:0", TWO_GPUS, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) is None
    assert device_problem("gpu:0", replace(LAPTOP, gpus=("NVIDIA L4",)), fastest) is None  # there is one order of one
    assert device_problem("cpu", TWO_GPUS, fastest) is None


# --- the host ---


def test_the_host_from_files(roots: Roots) -> None:
    host = read_host(roots.proc, roots.sys)
    assert (host.load_1m, host.load_5m, host.load_15m) == (0.5, 0.25, 0.1)
    assert host.uptime_seconds == 3600.25
    assert host.available_memory_bytes == 8 * GIB
    assert host.hostname == platform.node()
    assert Host(**json.loads(host.to_json())) == host


def test_the_host_without_proc(tmp_path: Path) -> None:
    host = read_host(tmp_path, tmp_path, clock=lambda: psutil.boot_time() + 60)
    assert host.uptime_seconds == pytest.approx(60, abs=2)
    assert 0 < host.available_memory_bytes <= psutil.virtual_memory().total
    assert host.load_1m == pytest.approx(os.getloadavg()[0], abs=1)


def test_the_operating_system_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    assert read_host().system == "macOS 15.1"
