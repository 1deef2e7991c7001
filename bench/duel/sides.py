"""What the two sides of a duel are, as a user names them, and making them: commits, environments, settings.

Nothing is timed here: a commit is unpacked, an environment is built, before the duel begins.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import bench
from bench.catalog import backends
from bench.core.axes import AXES
from bench.core.case import Case, digest
from bench.core.errors import UsageError
from bench.host.procfs import SYS, read_text
from bench.run.server import HARNESS_ENVIRONMENT, WorkerEnvironment

WORKER_PACKAGES = ("keras", "numpy", "psutil")
"""What a side needs beside its backend."""

_MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=1073741824:"
    "glibc.malloc.top_pad=268435456:glibc.malloc.trim_threshold=4294967296"
}
"""On both sides, unless the user has set it: all arrays in one heap of huge pages. In pages of 4 KiB it is chance which
of them share a set of the cache, so that each process has a speed of its own: where the arrays just about fill a core's
cache (a GRU of 128 units, 1 MiB), the log-ratios of pairs of equal processes had a standard deviation of 4 to 6 %, and
of 1 % like this."""

_GLIBC_WITH_HUGE_PAGES = (2, 35)

_SETTING = re.compile(r"(\w+)=([^=\s]\S*)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w.,-]+\])?(===|==|~=|!=|<=|>=|<|>)\S+")
_WORKING_TREE = "."
_SIDE_MODULE = Path("bench/worker/side.py")
_STROKES = "class Strokes"
"""In that module, where it speaks with the harness as it does now."""


class Kind(StrEnum):
    """What is compared."""

    SETTINGS = "settings"
    ENVIRONMENTS = "environments"
    COMMITS = "commits"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A side that is ready to fight."""

    title: str
    place: WorkerEnvironment = HARNESS_ENVIRONMENT
    packages: Mapping[str, str] = field(default_factory=dict)
    """Of an environment: what is installed, name → version."""


def kind_of(text: str) -> Kind:
    """What a user's name of a side stands for.

    `kernel=generic` (several, with spaces between them) are settings; `tensorflow==2.20.0` are requirements of an
    environment, as are a folder or a wheel to install beside them, and a folder with `bin/python` is an environment;
    all else is a commit, with `.` for the working tree.
    """
    words = text.split()
    if not words:
        raise UsageError(
            "a side of a duel is empty: name a commit, requirements (keras==3.15.1) or settings (units=64)."
        )
    if all(_SETTING.fullmatch(word) for word in words):
        return Kind.SETTINGS
    if all(_REQUIREMENT.fullmatch(word) or _is_package(word) for word in words) or _python(text):
        return Kind.ENVIRONMENTS
    return Kind.COMMITS


def common_kind(a: str, b: str) -> Kind:
    """What both sides are.

    Raises:
        UsageError: they are of two kinds.
    """
    one, other = kind_of(a), kind_of(b)
    if one is not other:
        raise UsageError(
            f"a duel is between two of a kind, and A ({a!r}) stands for {one.value}, B ({b!r}) for {other.value}: "
            f"name two commits, two environments (keras==3.15.1), or two settings (kernel=generic)."
        )
    return one


def settings_of(text: str, letter: str) -> list[str]:
    """`kernel=generic units=64` as overrides of a suite: `kernels=generic`, `units=64`."""
    plurals = {axis.field: axis.plural for axis in AXES.values()}
    found = []
    for word in text.split():
        key, _, value = word.partition("=")
        if "," in value or ".." in value:
            raise UsageError(f"{word!r} (side {letter}) has several values: a side of a duel is one configuration.")
        found.append(f"{plurals.get(key, key)}={value}")
    return found


def steadied(place: WorkerEnvironment) -> WorkerEnvironment:
    """The same place, its memory laid out so that a process's speed doesn't hang on chance."""
    pinned = {name: value for name, value in _MEMORY.items() if name not in os.environ}
    return replace(place, variables={**pinned, **place.variables})


def unsteady_memory(sys_folder: Path = SYS) -> str | None:
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


# --- commits ---


def commit_side(text: str, folder: Path, case: Case, built_in_cell: bool) -> Made:
    """A commit of the project that the user stands in, unpacked into `folder`.

    It is unpacked and not checked out as a worktree, of which a kill would leave a trace in the user's repository.

    Raises:
        UsageError: there is no such commit, or nothing of it takes part in the case.
    """
    top = Path(_git(Path.cwd(), text, "rev-parse", "--show-toplevel").decode().strip())
    inner = _git(Path.cwd(), text, "rev-parse", "--show-prefix").decode().strip()
    if text == _WORKING_TREE:
        title = "working tree"
        _copy_tree(top, folder, text)
    else:
        commit = _git(top, text, "rev-parse", "--verify", "--end-of-options", f"{text}^{{commit}}").decode().strip()
        title = commit[:10] if commit.startswith(text) else f"{text} ({commit[:10]})"
        with tarfile.open(fileobj=io.BytesIO(_git(top, text, "archive", "--format=tar", commit))) as archive:
            archive.extractall(folder, filter="data")
    root = folder / inner
    ours = (root / "bench" / "worker" / "__main__.py").exists()
    if ours and _STROKES not in (read_text(root / _SIDE_MODULE) or ""):
        raise UsageError(
            f"{title} is a commit of bench from before it could duel as it does now (there is no {_STROKES!r} in "
            f"{_SIDE_MODULE}): name a later one."
        )
    if built_in_cell and not ours:
        raise UsageError(
            f"nothing of this project takes part in a duel over the cell {case.cell!r}, which comes with bench: "
            f"name a cell of the project, as --set cells=my_cells:my_cell."
        )
    own = [root, *(path for path in [root / "src"] if path.is_dir())]
    # not the checkout that the user stands in: a module that the commit hasn't got must not be found there
    hidden = {top, Path.cwd(), Path.cwd() / "src", top / "src"} - {Path(bench.__file__).parent.parent}
    rest = [path for path in map(Path, sys.path) if path.absolute() not in hidden]
    if not ours:
        rest = [*rest, Path(bench.__file__).parent.parent]
    return Made(title=title, place=WorkerEnvironment(path=(*own, *rest), folder=root))


def _copy_tree(top: Path, folder: Path, text: str) -> None:
    """What git would commit if all were added: a copy, because the user may go on working."""
    listed = _git(top, text, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.decode().split("\0")):
        source, target = top / name, folder / name
        if source.is_file() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _git(folder: Path, text: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=folder, capture_output=True, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise UsageError(f"the commit {text!r} cannot be had, because git cannot be run: {error.strerror}.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(
            f"{text!r} is no commit of the project here ({said[-1] if said else 'git failed'}): name a commit, "
            f"`.` for the working tree, requirements (keras==3.15.1) or settings (kernel=generic)."
        )
    return done.stdout


# --- environments ---


def environment_side(text: str, case: Case, cache: Path, scratch: Path, say: Callable[[str], None]) -> Made:
    """An environment that is there, or one built with uv: the versions that are installed here, but those named.

    Built ones are kept in the cache, by the versions that were resolved; not those with a package from a folder or a
    wheel, which may change.

    Raises:
        UsageError: the requirements can't be met, or the environment hasn't got what a side needs.
    """
    program = scratch / "program"
    program.mkdir(exist_ok=True)
    link = program / "bench"
    if not link.exists():  # alone on the path: beside it may stand all that the harness has installed
        link.symlink_to(Path(bench.__file__).parent.absolute(), target_is_directory=True)
    python = _python(text) or _built(text, case.backend, cache, scratch, say)
    packages = _packages(python)
    missing = [name for name in (*WORKER_PACKAGES, backends.find(case.backend).package) if name not in packages]
    if missing and not _python(text):
        raise UsageError(f"the environment {text!r} has no {', '.join(missing)}, which a side of a duel needs.")
    return Made(title=text, place=WorkerEnvironment(python=str(python), path=(program,)), packages=packages)


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """The packages that two environments have in different versions, or only one of them has."""
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def _python(text: str) -> Path | None:
    path = Path(text).expanduser() / "bin" / "python"
    return path.absolute() if path.exists() else None


def _is_package(word: str) -> bool:
    """A folder or a wheel that can be installed, named as a path (a bare name may be a branch)."""
    path = Path(word)
    return "/" in word and ((path / "pyproject.toml").exists() or (path.suffix == ".whl" and path.is_file()))


def _built(text: str, backend: str, cache: Path, scratch: Path, say: Callable[[str], None]) -> Path:
    words = [str(Path(word).absolute()) if _is_package(word) else word for word in text.split()]
    named = {_plain_name(word) for word in words}
    wanted = [name for name in (*WORKER_PACKAGES, backends.find(backend).package) if name not in named]
    asked, lock = scratch / f"{digest(text)}.in", scratch / f"{digest(text)}.txt"
    asked.write_text("\n".join([*wanted, *words]) + "\n")
    # uv keeps to the versions that stand in the file that it is to write, wherever the requirements let it
    lock.write_text("".join(f"{name}=={version}\n" for name, version in _packages(Path(sys.executable)).items()))
    flags = ["--no-header", "--no-annotate"]
    _uv(text, "pip", "compile", "-q", "--python", sys.executable, *flags, "-o", str(lock), str(asked))
    resolved = lock.read_text()
    key = digest(f"{sys.version} {sys.executable} {resolved}")
    local = any(_is_package(word) for word in text.split())
    folder = (scratch if local else cache / "environments") / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        complete = folder / "complete"
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            say(f"building the environment of {text} in {folder}")
            _uv(text, "venv", "-q", "--python", sys.executable, str(folder))
            _uv(text, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), "-r", str(lock))
            complete.touch()
    return folder / "bin" / "python"


def _plain_name(requirement: str) -> str:
    return re.split(r"[\[=~!<>]", requirement)[0].lower().replace("_", "-")


def _packages(python: Path) -> dict[str, str]:
    listed = json.loads(_uv(str(python), "pip", "list", "-q", "--format", "json", "--python", str(python)))
    return {one["name"]: one["version"] for one in listed if "editable_project_location" not in one}


def _uv(text: str, *arguments: str) -> str:
    import uv

    # a user's own settings of uv stay in force (an index, a cache), but not those of the project he stands in
    done = subprocess.run(
        [uv.find_uv_bin(), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=os.environ
    )
    if done.returncode:
        said = "\n  ".join(done.stderr.strip().splitlines()[-6:])
        raise UsageError(f"the environment {text!r} cannot be built:\n  {said}")
    return done.stdout
