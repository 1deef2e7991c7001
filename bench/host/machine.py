"""What this machine is: its hardware, its software, and the fingerprints of both.

Three records. `Machine` and `Software` are fingerprinted: times are only compared where they agree. `Host` is recorded
beside them and never fingerprinted. What goes on meanwhile is `bench.host.noise`.

A fact that a platform does not have is None. Nothing here imports a framework, or asks one.
"""

from __future__ import annotations

import functools
import json
import math
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from bench.core.case import digest
from bench.core.errors import unknown
from bench.host.procfs import (
    GIB,
    PROC,
    SYS,
    available_memory_bytes,
    cpu_quota,
    load_averages,
    meminfo,
    memory_limits,
    read_text,
)

# --- the machine ---


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The hardware that a run can use. Two machines' times are compared only if all of this agrees."""

    architecture: str
    cpu_model: str | None
    """The model's name and, where the kernel tells, its family, model and stepping: a hypervisor hides the name."""
    usable_cores: int
    """Logical processors that this process may run on."""
    cpu_quota: float | None = None
    """Cores' worth of time that the control group allows; None where that is no less than `usable_cores`."""
    memory_class_gib: float | None = None
    """Memory (the control group's limit where that is lower), rounded by `memory_class`."""
    gpus: tuple[str, ...] = ()
    """Model names in the driver's order, hidden ones (`CUDA_VISIBLE_DEVICES`) included."""
    gpu_driver: str | None = None

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        facts = json.loads(text)
        return cls(**facts | {"gpus": tuple(facts["gpus"])})


def read_machine(cpus: Collection[int] = (), *, proc: Path = PROC, sys: Path = SYS) -> Machine:
    """What this machine is. Read once a process (and again where the process may use other cores than before).

    Args:
        cpus: the logical processors that runs are pinned to; empty where they may use all that this process may.
        proc: where the kernel tells of processes and the machine.
        sys: where it tells of devices and control groups.
    """
    return _read_machine(proc, sys, frozenset(cpus) or _usable_cores(), shutil.which("nvidia-smi"))


@functools.cache
def _read_machine(proc: Path, sys: Path, cores: frozenset[int], nvidia_smi: str | None) -> Machine:
    quota = cpu_quota(proc, sys)
    memory_bytes = min([meminfo(proc)["MemTotal"], *memory_limits(proc, sys)])
    gpus, driver = _gpus(proc, nvidia_smi)
    return Machine(
        architecture=platform.machine(),
        cpu_model=_cpu_model(proc),
        usable_cores=len(cores),
        cpu_quota=quota if quota is not None and quota < len(cores) else None,
        memory_class_gib=memory_class(memory_bytes),
        gpus=gpus,
        gpu_driver=driver,
    )


def memory_class(size_bytes: float) -> float:
    """The nearest (by ratio) of the sizes 2^n and 3·2^n, in GiB: 1, 1.5, 2, 3, 4, 6, 8, 12, …

    The kernel keeps some memory for itself, and how much varies between its builds; the size sold does not.
    """
    low = 2.0 ** math.floor(math.log2(size_bytes / GIB))
    return min((low, 1.5 * low, 2 * low), key=lambda size: abs(math.log2(size_bytes / GIB / size)))


def _usable_cores() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _cpu_model(proc: Path) -> str | None:
    facts: dict[str, str] = {}
    # /proc/cpuinfo of a large machine takes a while to make: only the first processor's lines are asked for.
    try:
        with (proc / "cpuinfo").open(errors="replace") as lines:
            for line in lines:
                if not line.strip() and facts:
                    break
                key, _, value = line.partition(":")
                facts[key.strip().lower()] = value.strip()
    except OSError:
        return _sysctl("machdep.cpu.brand_string") or platform.processor() or None
    if "model name" in facts:
        details = [f"{label} {facts[key]}" for label, key in _X86_DETAILS.items() if key in facts]
        return ", ".join([facts["model name"], *([" ".join(details)] if details else [])])
    if "cpu part" in facts:  # ARM gives numbers only
        return f"ARM implementer {facts.get('cpu implementer', '?')} part {facts['cpu part']}"
    return facts.get("cpu") or platform.processor() or None


# Cloud machines say "AMD EPYC" or "Intel Xeon Processor @ 2.20GHz" for several generations.
_X86_DETAILS = {"family": "cpu family", "model": "model", "stepping": "stepping"}


def _sysctl(name: str) -> str | None:
    return _output(["sysctl", "-n", name]) if platform.system() == "Darwin" else None


# nvidia-smi takes a few seconds where the driver's daemon is not running; one that hangs must not hold up a command.
_TOOL_TIMEOUT_SECONDS = 10.0


def _output(command: list[str]) -> str | None:
    """What a system tool prints; None where it is missing, fails or is slow."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() or None


def _gpus(proc: Path, nvidia_smi: str | None) -> tuple[tuple[str, ...], str | None]:
    """The Nvidia cards' model names and the driver's version: from the driver's files, else from `nvidia-smi`."""
    folder = proc / "driver" / "nvidia"
    files = sorted(folder.glob("gpus/*/information"))
    models = tuple(
        m[1].strip() if (m := re.search(r"^Model:(.*)$", read_text(f) or "", re.M)) else "Unknown" for f in files
    )
    version = m[0] if (m := re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", read_text(folder / "version") or "")) else None
    if nvidia_smi is None or (models and version and "Unknown" not in models):
        return models, version
    table = _output([nvidia_smi, "--query-gpu=name,driver_version", "--format=csv,noheader"]) or ""
    # Without cards the tool may print a sentence and still end with 0: a row ends in a version.
    rows = re.findall(r"^(.+?), *(\d+(?:\.\d+)+)$", table, re.M)
    return (tuple(name for name, _ in rows), rows[0][1]) if rows else (models, version)


# --- the software ---

# Distributions that bring each backend: the usual one first, then its builds for other hardware.
_DISTRIBUTIONS = {
    "tensorflow": (
        "tensorflow",
        "tensorflow-cpu",
        "tensorflow-macos",
        "tensorflow-rocm",
        "tf-nightly",
        "tf-nightly-cpu",
    ),
    "jax": ("jax",),
    "torch": ("torch",),
}

# What to install in a checkout (pyproject.toml): the extras are not for TensorFlow, which the program itself asks for.
_INSTALLED_BY = {"tensorflow": ".", "jax": "'.[jax]'", "torch": "'.[torch]'"}

# Distributions beside a backend's own that hold the kernels it runs.
_LIBRARIES = {
    "tensorflow": ("nvidia-cudnn-cu12", "nvidia-cublas-cu12", "tensorflow-metal"),
    "jax": ("jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "jax-metal"),
    "torch": ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cublas-cu12", "nvidia-cublas"),
}

# Every setting of these libraries, but for what they print, is about threads, kernels or number formats.
_SETTING_PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "VECLIB_", "ONEDNN_", "DNNL_")
_PRINT_ONLY = re.compile("VERBOSE|DISPLAY|SETTINGS|WARNINGS")

# The frameworks have hundreds; these change which kernel runs, how many threads it gets, its arithmetic, or what memory
# and compiling cost. Left out: logging, KERAS_BACKEND, which is a field of its own, and what the worker pins itself.
# Which cards are visible decides which kernel Keras picks; another allocator changes the time of every large array.
_SETTINGS = frozenset({
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "LD_PRELOAD", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES",
    "KERAS_NNX_ENABLED", "KERAS_TORCH_DEVICE", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS", "TF_SET_ONEDNN_FPMATH_MODE", "TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "TF_XLA_FLAGS",
    "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_CUDNN_USE_AUTOTUNE", "TF_GPU_ALLOCATOR",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_THREAD_MODE", "TF_USE_LEGACY_KERAS", "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE",
    "XLA_PYTHON_CLIENT_ALLOCATOR", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DISABLE_JIT",
    "JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "ATEN_CPU_CAPABILITY",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Software:
    """The programs and settings that a run uses. Must agree too, unless the difference is what is being asked."""

    python: str
    keras: str | None
    backend: str
    backend_version: str | None
    """With the distribution's name where it is not the usual one: "2.21.0 (tensorflow-cpu)"."""
    numpy: str | None
    libraries: tuple[tuple[str, str], ...] = ()
    """Distributions beside the backend that hold its kernels, and their versions."""
    settings: tuple[tuple[str, str], ...] = ()
    """Environment variables that are set and that change speed or numbers; folders are cut from their values."""

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        facts = json.loads(text)
        pairs = {name: tuple((key, value) for key, value in facts[name]) for name in ("libraries", "settings")}
        return cls(**facts | pairs)


def read_software(backend: str, environ: Mapping[str, str] = os.environ) -> Software:
    """The software that a run on `backend` would use in this Python environment, from the packages' metadata alone."""
    libraries = ((name, _version(name)) for name in _LIBRARIES[backend])
    chosen = (name for name in sorted(environ) if name in _SETTINGS or name.startswith(_SETTING_PREFIXES))
    return Software(
        python=platform.python_version(),
        keras=_version("keras") or _version("keras-nightly"),
        backend=backend,
        backend_version=_backend_version(backend),
        numpy=_version("numpy"),
        libraries=tuple((name, version) for name, version in libraries if version is not None),
        settings=tuple((name, _without_folders(environ[name])) for name in chosen if not _PRINT_ONLY.search(name)),
    )


def installed_backends() -> dict[str, str | None]:
    """Each of Keras's backends: None where it is installed, else the reason why it cannot be used, with the way out."""
    return {
        backend: None
        if _backend_version(backend)
        else f"{backend} is not installed in this Python environment: `pip install -e {what}` in the checkout adds it"
        for backend, what in _INSTALLED_BY.items()
    }


def _version(distribution: str) -> str | None:
    from importlib import metadata  # slow to import, and most commands ask for no version

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _backend_version(backend: str) -> str | None:
    usual = _DISTRIBUTIONS[backend][0]
    for name in _DISTRIBUTIONS[backend]:
        if version := _version(name):
            return version if name == usual else f"{version} ({name})"
    return None


def _without_folders(value: str) -> str:
    """Records travel, and a folder may hold a person's name: a path is cut to its last part."""
    return re.sub(r"[^\s:,;=]*/", "", value)


# --- fingerprints, differences, devices ---


def _fingerprint(facts: Machine | Software) -> str:
    # What is empty or unknown is left out, so that a fact added later does not change the fingerprints of old records.
    known = {name: value for name, value in asdict(facts).items() if value not in (None, ())}
    return digest(json.dumps(known, sort_keys=True))


_Facts = Machine | Software | Mapping[str, Any]


def differences(a: _Facts, b: _Facts) -> tuple[str, ...]:
    """The facts in which two records differ, each as "cpu_model: X → Y"; empty exactly where the fingerprints agree.

    A record may also be a mapping as it comes out of a store, of any version of bench.
    """
    before, after = _flat(a), _flat(b)
    return tuple(
        f"{name}: {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )


def _flat(facts: _Facts) -> dict[str, str]:
    """Fact by fact, in words; each library and setting is a fact of its own, and what is unknown is left out."""
    flat: dict[str, str] = {}
    for name, value in (facts if isinstance(facts, Mapping) else asdict(facts)).items():
        if name in ("libraries", "settings"):
            flat.update({key: text or "(empty)" for key, text in value})
        elif name == "gpus":
            flat.update({"gpus": ", ".join(value)} if value else {})
        elif value is not None:
            flat[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return flat


def check_device(device: str, origin: str) -> str:
    """The device's name, if it is one: `cpu`, `gpu:0`, `gpu:1`, …

    Raises:
        UsageError: it is not.
    """
    if re.fullmatch(r"cpu|gpu:(0|[1-9][0-9]*)", device):
        return device
    raise unknown("device", device, ("cpu", "gpu:0"), origin)


def device_problem(device: str, machine: Machine, visible: str | None = None) -> str | None:
    """Why a device cannot be used on this machine; None where it can.

    Args:
        device: a name that `check_device` accepts.
        machine: the machine it is wanted on.
        visible: the value of CUDA_VISIBLE_DEVICES, which hides cards; None where it is not set.
    """
    if device == "cpu":
        return None
    if not machine.gpus:
        return f"{device}: no Nvidia GPU here, or its driver is not loaded (neither /proc nor nvidia-smi shows one)"
    count = len(machine.gpus) if visible is None else min(len(machine.gpus), _visible_count(visible))
    if int(device.removeprefix("gpu:")) < count:
        return None
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    names = ", ".join(f"gpu:{number}" for number in range(count)) or "none"
    return f"{device}: this machine has {len(machine.gpus)} GPU{'s' * (len(machine.gpus) > 1)}, usable: {names}{hidden}"


def _visible_count(visible: str) -> int:
    """How many cards a value of CUDA_VISIBLE_DEVICES shows: CUDA stops reading at the first entry that is not one."""
    entries = [entry.strip() for entry in visible.split(",")]
    is_card = [bool(re.fullmatch(r"\d+|GPU-.+|MIG-.+", entry)) for entry in entries]
    return is_card.index(False) if False in is_card else len(is_card)


# --- the host: recorded, never fingerprinted ---


@dataclass(frozen=True, kw_only=True)
class Host:
    """What is true of the host now, and says nothing of whether times may be compared."""

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
