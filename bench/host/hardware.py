"""What this machine is: the hardware that runs can use, its fingerprint, and which devices that makes usable.

A fact that a platform does not have is None. Nothing here imports a framework, or asks one. What is recorded beside it
and never fingerprinted is in `bench.host.state`; what goes on meanwhile, in `bench.host.noise`.
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
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from bench.core.errors import UsageError
from bench.host.accelerators import foreign_accelerator
from bench.host.cuda_devices import BY_BUS, ORDER_VARIABLE, VISIBLE, visible_names
from bench.host.fingerprint import FingerprintedRecord
from bench.host.nvml import GpuFacts, open_gpu
from bench.host.procfs import GIB, PROC, SYS, cpu_quota, meminfo, memory_caps, read_text


@dataclass(frozen=True, kw_only=True)
class Machine(FingerprintedRecord):
    """The hardware that a run can use. Two machines' times are compared only if all of this agrees."""

    architecture: str
    cpu_model: str | None
    """The model's name and, where the kernel reports them, family, model and stepping: a hypervisor hides the name."""
    usable_cores: int
    """Logical processors that this process may run on."""
    cpu_quota: float | None = None
    """Cores' worth of time that the control group allows; None where that is no less than `usable_cores`."""
    memory_class_gib: float | None = None
    """Memory (the control group's limit where that is lower), rounded by `memory_class`."""
    gpus: tuple[str, ...] = ()
    """Model names in the order of the PCI bus, hidden ones (`CUDA_VISIBLE_DEVICES`) included."""
    gpu_driver: str | None = None
    gpu_power_limit_watts: tuple[float, ...] = ()
    """The limit in force of each card; empty where no driver library could be asked (nvidia-ml-py)."""
    gpu_mig: tuple[str, ...] = ()
    """The profile of the partition that runs compute on (`1g.10gb`), of each card that is not hidden, `off` for a whole
    one; empty where none is partitioned. Records of 2026-11 have `on`."""
    shared_by: str | None = None
    """What shares it, beside what is recorded of the moment: several nodes of a cluster (`bench.cluster.node.SHARED`),
    or runs on its other cards (`SHARED_BY_CARDS`), are no machine of their own each, and their times are not compared
    with those of one that measures alone."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        facts = json.loads(text)
        known: dict[str, Any] = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in facts.items()}
        return cls(**known)


def read_machine(cpus: Collection[int] = (), *, proc: Path = PROC, sys: Path = SYS) -> Machine:
    """What this machine is. Read once a process (and again where the process may use other cores than before).

    Args:
        cpus: the logical processors that runs are pinned to; empty where they may use all that this process may.
        proc: the folder that stands for /proc.
        sys: the folder that stands for /sys.
    """
    visible = os.environ.get(VISIBLE)
    return _read_machine(proc, sys, frozenset(cpus) or usable_cores(), shutil.which("nvidia-smi"), visible)


@functools.cache
def _read_machine(proc: Path, sys: Path, cores: frozenset[int], nvidia_smi: str | None, visible: str | None) -> Machine:
    quota = cpu_quota(proc, sys)
    memory_bytes = min([meminfo(proc)["MemTotal"], *memory_caps(proc, sys)])
    gpus, driver = _gpus(proc, nvidia_smi)
    cards = _card_facts(len(gpus), {})
    partitions = _partitions(len(gpus), visible)
    return Machine(
        architecture=platform.machine(),
        cpu_model=_cpu_model(proc),
        usable_cores=len(cores),
        cpu_quota=quota if quota is not None and quota < len(cores) else None,
        memory_class_gib=memory_class(memory_bytes),
        gpus=gpus,
        gpu_driver=driver,
        gpu_power_limit_watts=tuple(card.power_limit_watts for card in cards if card.power_limit_watts is not None),
        gpu_mig=partitions if any(profile != "off" for profile in partitions) else (),
    )


def with_card_alone(machine: Machine, visible: str) -> Machine:
    """A machine as a run has it that sees one of its cards: unlike cards make other machines of it.

    Args:
        machine: with all its cards.
        visible: what names the card, as in CUDA_VISIBLE_DEVICES.
    """
    card = open_gpu("gpu:0", {VISIBLE: visible})
    facts = card.facts() if card else None
    models = set(machine.gpus)
    if len(models) > 1:
        numbered = machine.gpus[int(visible)] if visible.isdigit() and int(visible) < len(machine.gpus) else None
        models = {numbered or (facts.model if facts else None) or "Unknown"}
    limit = facts.power_limit_watts if facts else None
    return replace(
        machine,
        gpus=tuple(models),
        gpu_power_limit_watts=() if limit is None else (limit,),
        gpu_mig=(facts.mig,) if facts and facts.mig else (),
    )


def _card_facts(count: int, environ: Mapping[str, str]) -> list[GpuFacts]:
    """What the driver has of each of so many cards; none where it cannot be asked."""
    cards = (open_gpu(f"gpu:{number}", environ) for number in range(count))
    return [card.facts() for card in cards if card is not None]


def _partitions(cards: int, visible: str | None) -> tuple[str, ...]:
    """The profile of what CUDA shows of each card, `off` for a whole one."""
    shown = cards if visible is None else len(visible_names(visible, cards))
    environ = {} if visible is None else {VISIBLE: visible}
    return tuple(facts.mig or "off" for facts in _card_facts(shown if cards else 0, environ))


def memory_class(size_bytes: float) -> float:
    """The nearest (by ratio) of the sizes 2^n and 3·2^n, in GiB: 1, 1.5, 2, 3, 4, 6, 8, 12, …

    The kernel keeps some memory for itself, and how much varies between its builds; the size sold does not.
    """
    low = 2.0 ** math.floor(math.log2(size_bytes / GIB))
    return min((low, 1.5 * low, 2 * low), key=lambda size: abs(math.log2(size_bytes / GIB / size)))


def usable_cores() -> frozenset[int]:
    """The logical processors that this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def numa_nodes(sys: Path = SYS) -> tuple[frozenset[int], ...]:
    """The logical processors of each node of the memory; none where the kernel does not state them.

    Args:
        sys: the folder that stands for /sys.
    """
    listed = [read_text(file) for file in sorted((sys / "devices/system/node").glob("node[0-9]*/cpulist"))]
    ranges = [re.findall(r"(\d+)(?:-(\d+))?", text or "") for text in listed]
    return tuple(
        frozenset(core for first, last in node for core in range(int(first), int(last or first) + 1))
        for node in ranges
        if node  # a node may have memory alone
    )


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


# Cloud machines name "AMD EPYC" or "Intel Xeon Processor @ 2.20GHz" for several generations.
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


def device_problem(device: str, machine: Machine, environ: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """Why a device cannot be used on this machine; None where it can.

    Args:
        device: a name that `bench.catalog.devices` has.
        machine: the machine it is wanted on.
        environ: variables, of which CUDA_VISIBLE_DEVICES hides cards and CUDA_DEVICE_ORDER numbers them.
    """
    if device == "cpu":
        return None
    if not machine.gpus and (foreign := foreign_accelerator()):
        return f"{device}: this machine has {foreign}, whose kernels bench cannot attest, so nothing is measured on it"
    if not machine.gpus:
        return f"{device}: no Nvidia GPU here, or its driver is not loaded (neither /proc nor nvidia-smi shows one)"
    visible, order = environ.get(VISIBLE), environ.get(ORDER_VARIABLE, BY_BUS)
    cards = len(machine.gpus)
    if order != BY_BUS and cards > 1:
        return (
            f"{device}: {ORDER_VARIABLE} is {order!r}, and bench numbers cards by their PCI bus, as nvidia-smi does: "
            f"unset it, and choose a card by its identifier in {VISIBLE} (nvidia-smi -L has it)"
        )
    count = cards if visible is None else min(cards, len(visible_names(visible, cards)))
    if int(device.removeprefix("gpu:")) < count:
        return None
    hidden = "" if visible is None else f" ({VISIBLE} is {visible!r})"
    names = ", ".join(f"gpu:{number}" for number in range(count)) or "none"
    return f"{device}: this machine has {cards} GPU{'s' * (cards > 1)}, usable: {names}{hidden}"


def parse_cpus(text: str | None) -> tuple[int, ...]:
    """Read a list of logical processors: `0,2-3` → (0, 2, 3), and none for None.

    Raises:
        UsageError: the text is no such list, names a processor that this process may not use, or the system cannot pin.
    """
    if text is None:
        return ()
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError(f"--cpus {text}: this system cannot pin a process to processors; leave --cpus out.")
    usable = os.sched_getaffinity(0)
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise UsageError(f"--cpus {text}: {part.strip()!r} is not a processor's number or a range such as 0-3.")
        missing = [cpu for cpu in (first, last) if cpu not in usable] or sorted(set(range(first, last)) - usable)
        if missing:
            listed = ", ".join(map(str, sorted(usable)))
            raise UsageError(f"--cpus {text}: there is no processor {missing[0]} here for us; usable: {listed}.")
        chosen |= set(range(first, last + 1))
    return tuple(sorted(chosen))
