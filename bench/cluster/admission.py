"""The check of a node before it measures: it has what the driver has, gets what may travel, or is refused by name."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import bench
from bench.catalog import networks, tasks
from bench.catalog.cache import exclusive_scratch, obtain
from bench.catalog.cells import users_factories
from bench.catalog.support import refusal
from bench.catalog.tasks import Arrays, Report, Task, WrongDataError, read_description, read_npz
from bench.catalog.tasks.prepared import read_prepared
from bench.catalog.users_data import prepared_folder, prepared_name
from bench.cluster.code_archive import CodeArchive, pack_code, unpack_code
from bench.cluster.installation import Installation, disagreements, read_installation
from bench.core.case import Case
from bench.core.errors import BenchError
from bench.host.capabilities import read_capabilities
from bench.host.checkout import CommitOrigin, commit_of, origin_of, program_commit
from bench.host.hardware import Machine, read_machine
from bench.host.software import SoftwareKey, effective_settings
from bench.plan.plan import Plan
from bench.store.files import refused

CODE = "code"
"""The name by which a node fetches the archive of the user's code."""

Fetch = Callable[[str], bytes]
"""Gets from the driver what has this name: `CODE`, or a task's data file by the task's name."""


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a node must have to measure for a driver: plain data, which travel."""

    installation: Installation
    """The driver's."""
    settings: Mapping[str, str]
    """The driver's environment variables that may change speed or numbers: a node's runs get these and no others."""
    configurations: tuple[Case, ...]
    """What is to be run, without seeds."""
    tasks: tuple[str, ...]
    """The tasks whose data file a node must have."""
    prepared: Mapping[str, str]
    """Digest of the data of each task of the user's own, by `module:factory`."""
    code: CodeArchive | None
    """The user's code; None where only packages and this program are needed."""
    commit: str | None
    """The commit of the folder that the user's code comes from, as the driver has it: a node has no checkout to ask."""
    origin: CommitOrigin | None
    """Where the commit stands that the results are at."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What came of the check of a node: it may measure where there is no refusal."""

    node: str
    """The host's name."""
    machine: Machine
    refusals: tuple[str, ...]
    """Why it may not measure: each names the fact, both values and the way out."""
    data: Mapping[str, Path | None]
    """The verified data file of each task, on the node; None where its data are generated."""

    @property
    def sentence(self) -> str:
        """The refusals with the node's name; empty where it may measure."""
        return f"{self.node} is refused: {'; '.join(self.refusals)}" if self.refusals else ""


def requirements_of(plan: Plan, data: Mapping[str, Path | None], folder: Path) -> tuple[Requirements, dict[str, bytes]]:
    """What a plan asks of the nodes, and what they may fetch from the driver, by name.

    Args:
        plan: what the nodes are to run.
        data: the driver's verified data file of each task.
        folder: where the command is given; the user's modules come from it.

    Raises:
        UsageError: the user's code cannot be sent (`bench.cluster.code_archive.pack_code`), or a file can't be read.
    """
    configurations = tuple(dict.fromkeys(scheduled.case.configuration for scheduled in plan.scheduled))
    named = tuple(sorted({case.task for case in configurations}))
    users_networks = (networks.find(name).factory for name in {case.network for case in configurations})
    factories = {*users_factories({case.cell for case in configurations}), *filter(None, users_networks)}
    packed, commit = pack_code(factories, folder), commit_of(folder)
    files = {name: path for name in named if (path := data[name]) is not None and not tasks.find(name).embedded}
    requirements = Requirements(
        installation=read_installation({SoftwareKey.of(case) for case in configurations}, factories),
        settings=effective_settings(),
        configurations=configurations,
        tasks=named,
        prepared={name: tasks.find(name).digest for name in files if ":" in name},
        code=packed[0] if packed else None,
        commit=commit,
        origin=_origin(commit, folder, is_users=packed is not None),
    )
    sent = {name: path.read_bytes() for name, path in files.items()}
    return requirements, {**sent, **({CODE: packed[1]} if packed else {})}


def _origin(commit: str | None, folder: Path, *, is_users: bool) -> CommitOrigin | None:
    """The origin of the commit of the user's code, or of the folder where there is none, or else of this program."""
    if commit is not None or is_users:
        return origin_of(folder, commit or "")
    return origin_of(Path(bench.__file__).parent, program_commit() or "")


def admit(requirements: Requirements, fetch: Fetch, report: Report, cpus: tuple[int, ...] = ()) -> Admission:
    """Check this node, and equip this process with what may travel: settings, the user's code, data.

    The process has the driver's settings in its environment afterwards, and stands where its runs are to stand.

    Args:
        requirements: the driver's.
        fetch: gets what this node's cache lacks; called only then.
        report: called with a sentence about what takes time or is wrong.
        cpus: the logical processors that runs are pinned to; empty for all.
    """
    adopt_settings(requirements.settings)
    refusals: list[str] = []
    data: dict[str, Path | None] = {}
    try:
        if requirements.code is not None:
            _enter(unpack_code(requirements.code, lambda: fetch(CODE), report), requirements.code)
        for name in requirements.tasks:
            data[name] = _data_file(name, requirements.prepared.get(name), fetch, report)
    except BenchError as error:
        refusals.append(str(error))
    expected, machine = requirements.installation, read_machine(cpus)
    refusals += disagreements(expected, read_installation(expected.software, expected.factories))
    if not refusals:  # of another program, or without the data, it could not be judged
        refusals += _impossible(requirements.configurations, machine)
    return Admission(node=platform.node(), machine=machine, refusals=tuple(refusals), data=data)


def adopt_settings(settings: Mapping[str, str]) -> None:
    """Give this process the settings of another, and none beside: Ray sets OMP_NUM_THREADS and hides cards."""
    for name in effective_settings().keys() - settings.keys():
        del os.environ[name]
    os.environ.update(settings)


def _enter(folder: Path, code: CodeArchive) -> None:
    """Stand in the user's folder as it was sent, and import from it what the driver does."""
    os.chdir(folder / code.working_folder)
    sys.path[:0] = [str(folder / name) for name in code.import_folders if str(folder / name) not in sys.path]


def _data_file(name: str, prepared_digest: str | None, fetch: Fetch, report: Report) -> Path | None:
    """The verified data file of a task on this node, from its cache or the driver; None where data are generated.

    Raises:
        UsageError: it can't be kept, or what arrived isn't the task's data.
    """
    if prepared_digest is not None:
        return _prepared_file(name, prepared_digest, fetch, report)
    task = tasks.find(name)
    if task.recipe:
        if not task.recipe.source:
            return None
        task = tasks.find(task.recipe.source)
    return obtain(replace(task, sources=(_DriverFile(name, fetch),)), data_dir=None, report=report)


@dataclass(frozen=True)
class _DriverFile:
    """The data file of a task as the driver has it: a source like others, and verified as they are."""

    task: str
    fetch: Fetch

    name = "the driver"
    needs_network = False
    is_present = True

    def read(self, task: Task, scratch: Path, report: Report) -> Arrays:
        """The verified data.

        Raises:
            WrongDataError: what arrived is something else.
        """
        report(f"{task.name}: getting the data from the driver.")
        path = scratch / "sent.npz"
        path.write_bytes(self.fetch(self.task))
        return read_npz(path, task)


def _prepared_file(name: str, digest: str, fetch: Fetch, report: Report) -> Path:
    """The file of a task of the user's own, which this process knows afterwards.

    Raises:
        WrongDataError: what arrived isn't what the driver sent.
        UsageError: it can't be kept.
    """
    folder = prepared_folder()
    kept = folder / prepared_name(name, digest)
    with refused(folder, "set BENCH_CACHE_DIR to another folder"), exclusive_scratch(folder, report) as scratch:
        task = _described(kept, name, digest)
        if task is None:
            report(f"{name}: getting the data from the driver.")
            new = scratch / "sent.npz"
            new.write_bytes(fetch(name))
            if _described(new, name, digest) is None:
                raise WrongDataError(
                    f"the data of {name} that arrived here are not those of the driver (SHA-256 differs)"
                )
            new.rename(kept)
            task = read_description(kept)
    tasks.register(task)
    return kept


def _described(path: Path, name: str, digest: str) -> Task | None:
    """The task whose prepared data a file holds; None where it isn't there, or its data aren't of this digest."""
    try:
        task = read_description(path)
        read_prepared(path, task)
    except WrongDataError:
        return None
    return task if (task.name, task.digest) == (name, digest) else None


def _impossible(configurations: Iterable[Case], machine: Machine) -> list[str]:
    """Why this node can't run what is planned, each reason once."""
    host = read_capabilities(machine)
    return list(dict.fromkeys(reason for case in configurations if (reason := refusal(case, host))))
