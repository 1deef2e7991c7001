"""The files of a commit, or of the working tree, in a folder of their own: what a checkout would give.

A commit is read by a git of our own making: an empty repository with none of the user's configuration, to which the
user's objects are lent. So nothing that a repository or a user has configured is run (filters, hooks, fsmonitor,
textconv, fetching of missing objects), nothing is written into the repository, and attributes mean what they do in a
checkout: `eol` and `working-tree-encoding` convert, `export-ignore` and `export-subst` do nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.core.errors import UsageError
from bench.core.scratch import ScratchFolder
from bench.host.checkout import run_git

_COPIED_SETTINGS = ("core.autocrlf", "core.eol", "core.symlinks")
"""Settings of git that decide which bytes a checkout writes, and run nothing."""
_LINK_TO_COMMIT = "160000"
"""The mode of a submodule in an index."""
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.+\n)*?oid sha256:([0-9a-f]{64})\n")
_LONGEST_POINTER = 1024


@dataclass(frozen=True)
class _IndexEntry:
    """A file or a submodule of a commit."""

    mode: str
    object_id: str
    name: str
    """Its path below the repository's top."""


def unpack_commit(repository: Path, commit: str, folder: Path) -> tuple[str, ...]:
    """Write the files of a commit, its submodules' and those of git LFS among them, into a new folder.

    Submodules and LFS files come from what the user's repository holds of them; nothing is fetched.

    Args:
        repository: the top of the user's checkout, or, for a submodule, its git directory.
        commit: the whole name of a commit. Its own tree is taken, whatever `git replace` has put in its place.
        folder: is made.

    Returns:
        paths of the submodules and files that the repository does not hold; they are missing in the folder.

    Raises:
        UsageError: objects are missing, as in a partial clone, or the folder cannot hold these names.
        OSError: the folder cannot be written, or git cannot be run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ScratchFolder("git") as git_dir:
        lent = _LentRepository(repository, git_dir, folder)
        lent.check_out(commit)
        entries = lent.entries()
        _check_names(folder, entries)
        pointers = lent.lfs_pointers(entries)
    missing = [name for name, object_id in pointers.items() if not _filled(repository, folder / name, object_id)]
    submodules = [entry for entry in entries if entry.mode == _LINK_TO_COMMIT]
    names = _submodule_names(repository, commit) if submodules else {}
    for entry in submodules:
        inner = _submodule(repository, entry, names.get(entry.name))
        if inner is None:
            missing.append(entry.name)
        else:
            missing += [f"{entry.name}/{name}" for name in unpack_commit(inner, entry.object_id, folder / entry.name)]
    return tuple(missing)


def copy_working_tree(top: Path, folder: Path) -> None:
    """Copy what git would commit if all were added: a copy, because the user may go on working.

    Submodules and repositories inside are copied likewise. What git doesn't keep (sockets, pipes, devices) is left out,
    and so is what an index has below a folder that a link has replaced since.

    Args:
        top: the top of a checkout.
        folder: is made.

    Raises:
        OSError: a file cannot be read or written, or git cannot be run.
        UsageError: git fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = _checked(run_git(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard"))
    for name in dict.fromkeys(filter(None, os.fsdecode(listed).split("\0"))):
        source, target = top / name, folder / name
        between = source.parents[: len(PurePosixPath(name).parts) - 1]
        if any(parent.is_symlink() for parent in between) or not os.path.lexists(source):
            continue
        mode = source.lstat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
        elif stat.S_ISDIR(mode) and os.path.lexists(source / ".git"):
            copy_working_tree(source, target)


class _LentRepository:
    """An empty repository with default settings, which reads a user's objects and checks out into a folder."""

    def __init__(self, repository: Path, git_dir: Path, folder: Path) -> None:
        """Make it.

        Args:
            repository: a folder of the user's repository.
            git_dir: an empty folder.
            folder: where files are checked out.
        """
        self._repository = repository
        self._folder = folder
        self._environment = {
            "GIT_DIR": str(git_dir),
            "GIT_WORK_TREE": str(folder.absolute()),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "0",
            "GIT_CONFIG_PARAMETERS": "",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            # for a git before 2.32, which doesn't know GIT_CONFIG_GLOBAL
            "HOME": str(git_dir),
            "XDG_CONFIG_HOME": str(git_dir),
        }
        shown = _checked(run_git(repository, "rev-parse", "--show-object-format")).decode().strip()
        self._git("init", "-q", "--template=", f"--object-format={shown}")
        self._environment["GIT_OBJECT_DIRECTORY"] = str(_git_path(repository, "objects"))
        for name in _COPIED_SETTINGS:
            value = run_git(repository, "config", "--get", name)
            if not value.returncode:
                self._git("config", name, os.fsdecode(value.stdout).removesuffix("\n"))
        self._git("config", "core.attributesFile", str(_users_attributes(repository)))
        own_attributes = _git_path(repository, "info/attributes")
        if own_attributes.is_file():
            (git_dir / "info").mkdir(exist_ok=True)
            shutil.copyfile(own_attributes, git_dir / "info" / "attributes")

    def check_out(self, commit: str) -> None:
        done = self._run("read-tree", "--reset", "-u", commit)
        if not done.returncode:
            return
        partial = r"^(extensions\.partialclone|remote\..*\.promisor)$"
        if not run_git(self._repository, "config", "--get-regexp", partial).returncode:
            raise UsageError(
                f"files of {commit[:10]} are not in this clone, which is partial: "
                f"`git archive --output={os.devnull} {commit[:10]}` fetches them."
            )
        raise UsageError(f"{commit[:10]} cannot be checked out: {_printed(done)}.")

    def entries(self) -> list[_IndexEntry]:
        listed = os.fsdecode(self._git("ls-files", "-z", "--stage"))
        entries = []
        for line in filter(None, listed.split("\0")):
            facts, _, name = line.partition("\t")
            mode, object_id, _ = facts.split(" ")
            entries.append(_IndexEntry(mode, object_id, name))
        return entries

    def lfs_pointers(self, entries: Sequence[_IndexEntry]) -> dict[str, str]:
        """The digest of the content that git LFS would put in place of a file, by the file's name."""
        files = [entry.name for entry in entries if entry.mode.startswith("100")]
        pointers = {name: match[1].decode() for name in files if (match := _pointer(self._folder / name))}
        if not pointers:
            return {}
        given = b"".join(os.fsencode(name) + b"\0" for name in pointers)
        fields = os.fsdecode(self._git("check-attr", "-z", "--stdin", "filter", given=given)).split("\0")
        filtered = {name for name, value in zip(fields[::3], fields[2::3], strict=False) if value == "lfs"}
        return {name: object_id for name, object_id in pointers.items() if name in filtered}

    def _run(self, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run_git(self._folder, *arguments, given=given, environment=self._environment)

    def _git(self, *arguments: str, given: bytes = b"") -> bytes:
        return _checked(self._run(*arguments, given=given))


def _checked(done: subprocess.CompletedProcess[bytes]) -> bytes:
    if done.returncode:
        raise UsageError(f"git failed: {_printed(done)}.")
    return done.stdout


def _printed(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return "; ".join(lines[:2]).rstrip(".") or "it gives no reason"


def _git_path(repository: Path, name: str) -> Path:
    """Where a file or a folder of a repository's administration lies; worktrees share most of them."""
    return _printed_path(repository, "rev-parse", "--git-path", name)


def _common_folder(repository: Path) -> Path:
    """The folder of its administration that a repository shares with all its worktrees."""
    return _printed_path(repository, "rev-parse", "--git-common-dir")


def _printed_path(repository: Path, *arguments: str) -> Path:
    printed = _checked(run_git(repository, *arguments))
    return (repository / os.fsdecode(printed).removesuffix("\n")).absolute()


def _users_attributes(repository: Path) -> Path:
    """The file of attributes that the user has for all repositories, which need not be there."""
    named = run_git(repository, "config", "--type=path", "--get", "core.attributesFile")
    if not named.returncode:
        return repository / os.fsdecode(named.stdout).removesuffix("\n")
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "git" / "attributes"


def _check_names(folder: Path, entries: Sequence[_IndexEntry]) -> None:
    """Refuse names that the folder's file system takes for one another, as those that differ in case only."""
    files = [entry.name for entry in entries if entry.mode != _LINK_TO_COMMIT]
    if sum(1 for _ in _files(folder)) == len(files):
        return
    by_folded: dict[str, list[str]] = {}
    for name in files:
        by_folded.setdefault(name.casefold(), []).append(name)
    alike = next((names for names in by_folded.values() if len(names) > 1), files[:2])
    raise UsageError(
        f"the file system of {folder} takes names of this commit for one another ({' and '.join(alike)}): set TMPDIR "
        f"to a folder on one that distinguishes them."
    )


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        yield from files
        # links to folders are listed among the folders
        yield from (name for name in folders if Path(parent, name).is_symlink())


def _pointer(file: Path) -> re.Match[bytes] | None:
    if file.is_symlink() or file.stat().st_size > _LONGEST_POINTER:
        return None
    return _POINTER.match(file.read_bytes())


def _filled(repository: Path, file: Path, object_id: str) -> bool:
    """Replace a pointer of git LFS by its content, if the repository holds it; else remove the pointer.

    A pointer that stayed would be read as data by whatever needs the file; a missing file is an error that names it.
    """
    stored = run_git(repository, "config", "--type=path", "--get", "lfs.storage")
    storage = "lfs" if stored.returncode else os.fsdecode(stored.stdout).removesuffix("\n")
    content = _common_folder(repository) / storage / "objects" / object_id[:2] / object_id[2:4] / object_id
    mode = file.stat().st_mode
    file.unlink()
    if not content.is_file():
        return False
    with content.open("rb") as read:
        if hashlib.file_digest(read, "sha256").hexdigest() != object_id:
            return False
    shutil.copyfile(content, file)
    file.chmod(mode)
    return True


def _submodule_names(repository: Path, commit: str) -> Mapping[str, str]:
    """The name of each submodule, by its path, as the commit's .gitmodules has them."""
    blob = f"--blob={commit}:.gitmodules"
    done = run_git(
        repository,
        *("config", "-z", blob, "--get-regexp", r"^submodule\..*\.path$"),
        environment={"GIT_NO_REPLACE_OBJECTS": "1"},
    )
    pairs = (entry.partition("\n") for entry in os.fsdecode(done.stdout).split("\0") if entry)
    return {path: key.removeprefix("submodule.").removesuffix(".path") for key, _, path in pairs}


def _submodule(repository: Path, entry: _IndexEntry, name: str | None) -> Path | None:
    """A folder of the repository that holds a submodule's commit; None where none does."""
    checked_out = repository / entry.name
    candidates = [checked_out] if os.path.lexists(checked_out / ".git") else []
    if name and ".." not in PurePosixPath(name).parts and not PurePosixPath(name).is_absolute():
        folders = (_printed_path(repository, "rev-parse", "--git-dir"), _common_folder(repository))
        candidates += [folder / "modules" / name for folder in folders]
    for candidate in candidates:
        if (
            candidate.is_dir()
            and not run_git(
                candidate, "cat-file", "-e", f"{entry.object_id}^{{commit}}", environment={"GIT_NO_LAZY_FETCH": "1"}
            ).returncode
        ):
            return candidate
    return None
