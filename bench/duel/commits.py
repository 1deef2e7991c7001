"""Commits as sides of a duel: unpacked from the user's repository, with the folders that their packages lie in."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bench
from bench.core.case import Case
from bench.core.errors import UsageError
from bench.core.protocol import DUEL_PROTOCOL
from bench.duel.layout import source_folders, top_level_names
from bench.duel.sides import PreparedSide, UnpackedCommit, environment_side
from bench.duel.unpack import copy_working_tree, unpack_commit
from bench.host.checkout import DIRTY, commit_of, is_owned_by_another, run_git, safe_directory, subjects
from bench.host.procfs import read_text
from bench.plan.project import find_project
from bench.run.server import WorkerEnvironment

WORKING_TREE = "."
"""The name of what is not committed yet."""
_INSTALLABLE = ("pyproject.toml", "setup.py")
"""A folder with one of these is a package's."""
_WORKER_PACKAGE = Path("bench/worker/__main__.py")
_PROTOCOL_MODULE = Path("bench/core/protocol.py")
_PROTOCOL = re.compile(r"^DUEL_PROTOCOL = (\d+)$", re.MULTILINE)
_SHOWN = 3
_ENVIRONMENT_FOLDERS = frozenset({"site-packages", "dist-packages"})


def commit_side(text: str, folder: Path, case: Case, built_in: bool, notify: Callable[[str], None]) -> PreparedSide:
    """Unpack a commit of the project that the user stands in.

    It is unpacked and not checked out as a worktree, of which a kill would leave a trace in the user's repository.

    Args:
        text: the commit, as the user named it; `.` for the working tree.
        folder: where to unpack it.
        case: what the side runs.
        built_in: whether cell and network come with bench, so that only a commit of bench itself takes part.
        notify: given a sentence about files of the commit that aren't in this clone.

    Raises:
        UsageError: there is no such commit or it cannot be unpacked, nothing of it takes part in the case, or it is a
            commit of bench that speaks another version of the protocol.
    """
    top = Path(_path(_git(Path.cwd(), text, "rev-parse", "--show-toplevel")))
    inner = _path(_git(Path.cwd(), text, "rev-parse", "--show-prefix"))
    name = _working_tree_name() if text == WORKING_TREE else commit_name(text)
    title = _unpacked(text, name, top, folder, notify)
    root = folder / inner
    if text == WORKING_TREE:
        root.mkdir(parents=True, exist_ok=True)  # git keeps no empty folder, and the user may stand in one
    if not root.is_dir():
        raise UsageError(
            f"{title} has no folder {inner!r}, in which this command was given: stand in one that both sides have, or "
            f"name another commit."
        )
    ours = (root / _WORKER_PACKAGE).exists()
    if ours:
        _check_protocol(title, root)
    if built_in and not ours:
        raise UsageError(
            f"nothing of this project takes part in a duel over the cell {case.cell!r}, which comes with bench: "
            f"name a cell or a network of the project, as --set cells=my_cells:my_cell, or "
            f"--set networks=my_models:build_network."
        )
    sources = _source_folders(root, folder, top)
    program = Path(bench.__file__).parent.parent
    rest = [path for path in map(Path, sys.path) if path == program or not _of_checkout(path, top)]
    if ours:
        rest = [path for path in rest if path != program]
    elif program not in rest:
        rest = [*rest, program]
    return PreparedSide(
        title=title,
        case=case,
        environment=WorkerEnvironment(path=(*sources, *rest), folder=root),
        commit=UnpackedCommit(
            root=root.resolve(),
            folders=(folder.resolve(),),
            checkout=top.resolve(),
            packages=top_level_names(sources),
            title=title,
            name=name,
            subject=subjects(top, [name]).get(name, "") if name and text != WORKING_TREE else "",
        ),
    )


def commit_name(text: str) -> str | None:
    """The whole name of a commit of the project that the user stands in.

    Args:
        text: the commit, as the user named it; `.` for the working tree, which is at the commit that is checked out,
            with the mark of changed files, or at none.

    Raises:
        UsageError: there is no such commit.
    """
    if text == WORKING_TREE:
        return commit_of(Path.cwd())
    named = _git(Path.cwd(), text, "rev-parse", "--verify", "--end-of-options", f"{text}^{{commit}}")
    return named.decode().strip()


def _source_folders(root: Path, folder: Path, top: Path) -> tuple[Path, ...]:
    """The folders that an unpacked commit's packages lie in, seen from its project, and from where its settings stand.

    Args:
        root: what the current folder is in the unpacked tree.
        folder: the unpacked tree.
        top: the top of the checkout that it was unpacked from.
    """
    sources = source_folders(root, Path.cwd())
    settings = find_project(Path.cwd())
    if settings is not None and "source" in settings.table and settings.path.parent.is_relative_to(top):
        declared_in = settings.path.parent
        sources = (*sources, *source_folders(folder / declared_in.relative_to(top), declared_in))
    elif (package := _package_folder(root, folder)) is not None:
        sources = (*sources, *source_folders(package))
    return tuple(dict.fromkeys(sources))


def _package_folder(root: Path, folder: Path) -> Path | None:
    """The nearest folder that can be installed, from a folder of an unpacked tree up to its top; None for none."""
    upwards = (root, *root.parents)[: len(root.relative_to(folder).parts) + 1]
    return next((each for each in upwards if any((each / name).is_file() for name in _INSTALLABLE)), None)


def built_commit_side(side: PreparedSide, cache: Path, scratch: Path, notify: Callable[[str], None]) -> PreparedSide:
    """Install an unpacked commit's package into an environment of its own: the only way for compiled extensions.

    Args:
        side: what `commit_side` gave.
        cache: the user's folder that built environments are kept in; one with a package of a commit is not.
        scratch: a folder of this side, which goes with the duel.
        notify: given a sentence that an environment is built, which takes a while.

    Raises:
        UsageError: the commit is no package that can be installed, or its requirements can't be met.
    """
    assert side.commit is not None
    package = _package_folder(side.commit.root, side.commit.folders[0])
    if package is None:
        raise UsageError(f"--build: {side.title} has neither pyproject.toml nor setup.py, so it cannot be installed.")
    built = environment_side(str(package), side.case, cache, scratch, notify)
    # not in the commit's own folder: the package there lacks what building it has made
    empty = scratch / "empty"
    empty.mkdir()
    prefix = Path(built.environment.python).parent.parent.resolve()
    return replace(
        built,
        title=side.title,
        environment=replace(built.environment, folder=empty),
        commit=replace(side.commit, folders=(prefix,)),
    )


def _of_checkout(path: Path, top: Path) -> bool:
    """Whether imports from this entry of the path would find the checkout's modules, and not an environment in it."""
    absolute = path.absolute()
    in_environment = _ENVIRONMENT_FOLDERS & set(absolute.parts) or absolute.is_relative_to(Path(sys.prefix))
    return absolute.is_relative_to(top) and not in_environment


def _unpacked(text: str, commit: str | None, top: Path, folder: Path, notify: Callable[[str], None]) -> str:
    """Unpack a commit or the working tree, and give its title."""
    try:
        if text == WORKING_TREE or commit is None:
            copy_working_tree(top, folder)
            return "working tree"
        title = commit[:10] if commit.startswith(text) else f"{text} ({commit[:10]})"
        missing = unpack_commit(top, commit, folder)
    except OSError as error:
        raise UsageError(
            f"{text!r} cannot be unpacked ({error}): commit a tree without that file, or name another commit."
        ) from None
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
        notify(
            f"warning: {title} lacks {shown}: this clone does not hold what the submodule or the pointer of git LFS "
            f"names (`git submodule update --init`, `git lfs fetch origin {commit[:10]}`)"
        )
    return title


def _check_protocol(title: str, root: Path) -> None:
    """Read which version of the protocol a commit of bench speaks, from its source and without importing it."""
    match = _PROTOCOL.search(read_text(root / _PROTOCOL_MODULE) or "")
    version = int(match[1]) if match else None
    if version == DUEL_PROTOCOL:
        return
    which = f"DUEL_PROTOCOL is {version}" if version else "there is no DUEL_PROTOCOL"
    way_out = "an earlier" if version and version > DUEL_PROTOCOL else "a later"
    raise UsageError(
        f"{title} is a commit of bench that speaks another duel protocol than this one ({which} in {_PROTOCOL_MODULE}, "
        f"and {DUEL_PROTOCOL} is needed): name {way_out} commit."
    )


def _path(printed: bytes) -> str:
    """A path that git printed, which may end with any character itself."""
    return os.fsdecode(printed).removesuffix("\n")


def _working_tree_name() -> str | None:
    """The commit that is checked out, with the mark of changed files; None where there is none.

    The files are not read: git would run the filters that the repository has configured.
    """
    head = run_git(Path.cwd(), "rev-parse", "--verify", "-q", "HEAD")
    return None if head.returncode else f"{head.stdout.decode().strip()}{DIRTY}"


def _git(folder: Path, text: str, *arguments: str) -> bytes:
    try:
        done = run_git(folder, *arguments)
    except OSError as error:
        raise UsageError(f"the commit {text!r} cannot be had, because git cannot be run: {error.strerror}.") from None
    if done.returncode:
        raise UsageError(_git_failure(folder, text, done.stderr.decode(errors="replace").strip().splitlines()))
    return done.stdout


def _git_failure(folder: Path, text: str, printed: list[str]) -> str:
    """What is wrong, and the way out: in CI it is most often the checkout, and not the name."""
    if is_owned_by_another("\n".join(printed)):
        return (
            f"git refuses this repository, because it belongs to another user than this one: "
            f"{safe_directory(folder)} allows it."
        )
    if run_git(folder, "rev-parse", "--git-dir").returncode:
        return (
            f"{text!r} cannot be a commit here, because {folder} is not in a git repository: stand in the project, or "
            f"name requirements (keras==3.15.1) or settings (kernel=generic)."
        )
    if run_git(folder, "rev-parse", "--is-inside-work-tree").stdout.strip() != b"true":
        return (
            f"{folder} is in a bare repository or a .git folder, which has no project: stand in a checkout "
            f"(`git worktree add FOLDER`)."
        )
    if run_git(folder, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        return (
            f"{text!r} is not in this clone, which is shallow: fetch its history (`fetch-depth: 0` for "
            f"actions/checkout, or `git fetch --unshallow`)."
        )
    if not run_git(folder, "rev-parse", "--verify", "-q", f"refs/remotes/origin/{text}").returncode:
        return f"there is no local branch {text!r}, but the remote has it: name origin/{text}."
    return (
        f"{text!r} is no commit of the project here ({printed[-1] if printed else 'git failed'}): name a commit, "
        f"`.` for the working tree, requirements (keras==3.15.1) or settings (kernel=generic)."
    )
