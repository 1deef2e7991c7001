"""Preparing the sides of a duel: an environment is built, the allocator is pinned (`commits` unpacks a commit).

Nothing is timed here: all of it is over before the duel begins.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bench
from bench.catalog import backends, variables
from bench.core.case import Case, digest
from bench.core.errors import UsageError
from bench.host.environments import build_environment, installed_lock, run_uv
from bench.host.procfs import SYS, read_text
from bench.host.software import Software
from bench.run.server import HARNESS_ENVIRONMENT, WorkerEnvironment

WORKER = "bench.worker.side"
"""The module that does a side's timed batches; scripts and tests name another."""

ANCHOR_WORKER = "bench.worker.anchor"
"""The module that does a duel's anchor's timed batches; tests name another."""

ANCHOR_CASE = Case(cell="gru", task="noise")
"""What a store's anchor trains, but for the backend and its settings: the notebook's network on 28 steps of 28 numbers,
which no user's code and no data file is part of."""

TRAINED_ANCHOR_VERSION = 3
"""The version of `ANCHOR_CASE`: times of different versions do not compare. 1 is `bench.worker.anchor`'s, and 2 was a
training step in the backend alone, on 28 November 2026."""

_ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""What NumPy's BLAS libraries read when they are imported."""

WORKER_PACKAGES = ("keras", "numpy", "psutil", "packaging")
"""The packages that a side needs beside its backend; the last one is imported by early releases of Keras 3, which don't
ask for it."""

PINNED_ALLOCATOR = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=1073741824:"
    "glibc.malloc.top_pad=268435456:glibc.malloc.trim_threshold=4294967296"
}
"""The pinned allocator of both sides, unless the user has set it: all arrays in one heap of huge pages. In pages of 4
KiB it is chance which of them share a set of the cache, so that each process has a speed of its own: where the arrays
just about fill a core's cache (a GRU of 128 units, 1 MiB), the log-ratios of pairs of equal processes had a standard
deviation of 4 to 6 %, and of 1 % like this."""

_GLIBC_WITH_HUGE_PAGES = (2, 35)


@dataclass(frozen=True, kw_only=True)
class UnpackedCommit:
    """A commit's files on this machine, by which its own code is distinguished from other code. Links are resolved."""

    root: Path
    """The project's folder in the unpacked tree."""
    folders: tuple[Path, ...]
    """The folders whose files are the side's own: the unpacked tree, or the environment that was built from it."""
    checkout: Path
    """The working tree that the commit belongs to."""
    packages: frozenset[str]
    """Top-level names of the project's modules and packages."""
    title: str = ""
    """The commit in messages: as the user named it, its digits beside."""
    name: str | None = None
    """Its whole name; of a working tree that of the commit that it is at, with the mark of changed files."""
    subject: str = ""
    """The first line of its message; empty for a working tree."""


@dataclass(frozen=True, kw_only=True)
class PreparedSide:
    """A side that is ready to be measured: a case, and where its code and packages come from."""

    title: str
    """The side in messages: as the user named it, a commit's digits and what is special of its configuration beside."""
    case: Case
    name: str = ""
    """The commit, environment or settings as the user named it; empty where configurations are compared."""
    environment: WorkerEnvironment = HARNESS_ENVIRONMENT
    packages: Mapping[str, str] = field(default_factory=dict)
    """The versions that an environment has installed, by name; empty for settings and commits."""
    commit: UnpackedCommit | None = None
    """None where the side is no commit."""
    worker: str = WORKER
    """The module that does the side's timed batches."""
    computes_on_device: bool = True
    """Whether it is its case's device that computes; NumPy computes on the processor whatever the device."""


def anchor_side(case: Case) -> PreparedSide:
    """The anchor, a fixed computation in the harness's own NumPy on one thread (`bench.worker.anchor`).

    Args:
        case: any that is measured beside it; of it, only the device decides how the process is started.
    """
    environment = pinned_allocator(WorkerEnvironment(variables=_ONE_THREAD))
    return PreparedSide(
        title="anchor", case=case, environment=environment, worker=ANCHOR_WORKER, computes_on_device=False
    )


def trained_anchor_side(side: PreparedSide) -> PreparedSide:
    """The anchor of a store: a GRU that Keras trains on noise, as it trains the cells.

    What a machine does to cells from one occasion to the next, it does to this too: Python, the input pipeline, the
    backend, batches of the same length. An anchor without Keras did not follow them (docs/between-days.md).

    Args:
        side: one of those that are measured beside it, with which it shares backend, device, settings and server.
    """
    beside = side.case
    case = replace(
        ANCHOR_CASE,
        backend=beside.backend,
        device=beside.device,
        threads=beside.threads,
        steady=beside.steady,
        env=beside.env,
    )
    return replace(side, title="anchor", case=case)


def trained_anchor_facts(software: Software) -> dict[str, Any]:
    """What decides whether times over a trained anchor's compare with those of another store.

    Args:
        software: that trains it.
    """
    trained_by = f"Keras {software.keras}, {software.backend} {software.backend_version}"
    return {"anchor": TRAINED_ANCHOR_VERSION, "trained_by": trained_by}


def with_variables(environment: WorkerEnvironment, case: Case) -> WorkerEnvironment:
    """The same worker environment with the environment variables of a case."""
    return replace(environment, variables={**environment.variables, **variables.find(case.env)})


def pinned_allocator(environment: WorkerEnvironment) -> WorkerEnvironment:
    """The same worker environment with its memory laid out so that a process's speed doesn't hang on chance."""
    pinned = {name: value for name, value in PINNED_ALLOCATOR.items() if name not in os.environ}
    return replace(environment, variables={**pinned, **environment.variables})


def small_pages_reason(sys_folder: Path = SYS) -> str | None:
    """Why the arrays of a duel lie in small pages on this Linux; None where nothing stands against huge ones."""
    chosen = re.search(r"\[(\w+)\]", read_text(sys_folder / "kernel/mm/transparent_hugepage/enabled") or "")
    if "GLIBC_TUNABLES" in os.environ or chosen is None:
        return None
    if chosen[1] == "never":
        return "the kernel's huge pages are off (/sys/kernel/mm/transparent_hugepage/enabled: madvise would do)"
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split("."))) < _GLIBC_WITH_HUGE_PAGES:
        return f"huge pages want glibc 2.35 or newer, and this is {name or 'another library'} {version}".rstrip()
    return None


def environment_side(text: str, case: Case, cache: Path, scratch: Path, notify: Callable[[str], None]) -> PreparedSide:
    """Find an environment, or build one with uv: the versions that are installed here, but for those named.

    Built ones are kept in the cache, by the versions that were resolved; not those with a package from a folder or a
    wheel, which may change.

    Args:
        text: a folder with `bin/python`, or requirements, as the user named them.
        case: what the side runs.
        cache: the user's folder that built environments are kept in.
        scratch: a folder of this side, which goes with the duel.
        notify: given a sentence where an environment is built, which takes a while.

    Raises:
        UsageError: the requirements can't be met, or the environment hasn't got what a side needs, or has Keras 2.
    """
    program = scratch / "program"
    program.mkdir(exist_ok=True)
    link = program / "bench"
    if not link.exists():  # alone on the path: beside it may stand all that the harness has installed
        link.symlink_to(Path(bench.__file__).parent.absolute(), target_is_directory=True)
    python = python_of(text) or _built(text, case.backend, cache, scratch, notify)
    packages = _packages(python)
    check_keras(text, packages.get("keras"))
    missing = [name for name in (*WORKER_PACKAGES, backends.find(case.backend).package) if name not in packages]
    if missing and not python_of(text):
        raise UsageError(f"the environment {text!r} has no {', '.join(missing)}, which a side of a duel needs.")
    environment = WorkerEnvironment(python=str(python), path=(program,))
    return PreparedSide(title=text, case=case, environment=environment, packages=packages)


def resolve(text: str, backend: str, scratch: Path) -> Path:
    """The file of the versions that requirements come to; nothing is built.

    Args:
        text: the requirements, as the user named them.
        backend: whose package is wanted too.
        scratch: a folder of this side, in which the file is kept: what is resolved once is not resolved again.

    Raises:
        UsageError: the requirements can't be met, or are met by Keras 2.
    """
    lock = scratch / f"{digest(f'{backend} {text}')}.txt"
    if lock.exists():
        return lock
    words = [str(Path(word).absolute()) if is_package(word) else word for word in text.split()]
    named = {_plain_name(word) for word in words}
    if "tf-keras" in named:
        raise UsageError(f"{text!r} names tf_keras, which is Keras 2, and a side runs on Keras 3: name keras instead.")
    wanted = [name for name in (*WORKER_PACKAGES, backends.find(backend).package) if name not in named]
    asked, resolved = lock.with_suffix(".in"), lock.with_suffix(".resolved")
    installed, _ = installed_lock()
    # a pre-release only where it was named: what allows any Keras may be one
    flags = ["--no-header", "--no-annotate", "--prerelease", "explicit"]
    command = ["pip", "compile", "-q", "--python", sys.executable, *flags, "-o", str(resolved), str(asked)]
    for pinned in _pins(backends.find(backend).package, installed, named):
        asked.write_text("\n".join([*wanted, *words, *pinned]) + "\n")
        # uv keeps to the versions that stand in the file that it is to write, wherever the requirements let it
        resolved.write_text(installed)
        try:
            run_uv(f"the environment {text!r}", *command)
            break
        except UsageError:
            if not pinned:
                raise
    keras = re.search(r"^keras==(\S+)", resolved.read_text(), re.MULTILINE)
    check_keras(text, keras[1] if keras else None)
    return resolved.rename(lock)


def _pins(package: str, installed: str, named: Collection[str]) -> list[list[str]]:
    """What to ask for of the backend beside the user's requirements, the first that can be met: the build that is
    installed here, its release from another build (`2.13.0+cpu`, `2.13.0`), any."""
    version = re.search(rf"^{package}==(\S+)$", installed, re.MULTILINE)
    if package in named or version is None:
        return [[]]
    return [[f"{package}=={each}"] for each in dict.fromkeys((version[1], version[1].partition("+")[0]))] + [[]]


def check_keras(text: str, version: str | None) -> None:
    """Refuse an environment whose Keras no side can run on.

    Args:
        text: the environment, as the user named it.
        version: of its Keras; None where that is not known.

    Raises:
        UsageError: it is Keras 2.
    """
    if version is not None and int(version.partition(".")[0]) < 3:
        raise UsageError(
            f"the environment {text!r} has Keras {version}, and a side runs on Keras 3: name a later release "
            f"(keras>=3.3; with TensorFlow 2.16 or later, which is the first that comes with it)."
        )


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """The packages of which two environments have different versions, or that only one of them has: (A's, B's)."""
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def python_of(text: str) -> Path | None:
    """The interpreter of an environment that is named by its folder; None where the text names none."""
    path = Path(text).expanduser() / "bin" / "python"
    return path.absolute() if path.exists() else None


def is_package(word: str) -> bool:
    """Whether a word names a folder or a wheel that can be installed, by its path (a bare name may be a branch)."""
    path = Path(word)
    return "/" in word and ((path / "pyproject.toml").exists() or (path.suffix == ".whl" and path.is_file()))


def _built(text: str, backend: str, cache: Path, scratch: Path, notify: Callable[[str], None]) -> Path:
    lock = resolve(text, backend, scratch).read_text()
    key = digest(f"{sys.version} {sys.executable} {lock}")
    local = any(is_package(word) for word in text.split())
    folder = scratch if local else cache / "environments"
    return build_environment(lock, key, sys.executable, folder, f"the environment {text!r}", notify)


def _plain_name(requirement: str) -> str:
    return re.split(r"[\[=~!<>]", requirement)[0].lower().replace("_", "-")


def _packages(python: Path) -> dict[str, str]:
    command = ("pip", "list", "-q", "--format", "json", "--python", str(python))
    listed = json.loads(run_uv(f"the environment {str(python)!r}", *command))
    return {package["name"]: package["version"] for package in listed if "editable_project_location" not in package}
