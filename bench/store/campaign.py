"""A campaign: what one plan measured, and the manifest that says what it meant to measure.

Also the durable write that the manifests and the parts of `bench.store.parts` share (`publish`, `sweep`, `locked`).
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

from bench.core.case import digest
from bench.core.errors import UsageError

MANIFEST_VERSION = 1

_log = logging.getLogger(__name__)

_GIT_SECONDS = 5.0

_ANOTHER_FOLDER = "make it writable, or name another folder with --results."
_MORE_SPACE = (
    "free some space and give the command again (what is finished is kept), or name another folder with --results."
)
_WAY_OUT = {
    errno.EACCES: _ANOTHER_FOLDER,
    errno.EPERM: _ANOTHER_FOLDER,
    errno.EROFS: _ANOTHER_FOLDER,
    errno.ENOENT: _ANOTHER_FOLDER,
    errno.ENOTDIR: "a file is in the way: move it, or name another folder with --results.",
    errno.EEXIST: "a file is in the way: move it, or name another folder with --results.",
    errno.ENAMETOOLONG: "name another folder with --results.",
    errno.ENOLCK: "its file system has no locks: name a folder on another one with --results.",
    errno.ENOSPC: _MORE_SPACE,
    errno.EDQUOT: _MORE_SPACE,
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`), or name another folder with --results.",
}

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What one plan measured: the facts that must agree for an unfinished one to be resumed, and when it began."""

    suite: str
    plan_hash: str
    order_seed: int
    machine_fingerprint: str
    software_fingerprint: str
    program_version: str
    program_commit: str | None
    """Of the program's own checkout, `+dirty` after it where tracked files were changed; None where there is none."""
    project_commit: str | None
    """Of the checkout that the command was given in."""
    cells_digest: str
    """Of the source of the user's own cells; empty for none."""
    started_at: str
    """UTC, ISO 8601, microseconds."""

    @property
    def id(self) -> str:
        return digest(self.to_json())

    @property
    def identity(self) -> str:
        """The digest of all but the start: what an unfinished campaign must share to be resumed."""
        facts = asdict(self)
        del facts["started_at"]
        return digest(json.dumps(facts, sort_keys=True))

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Manifest:
    """A campaign and the whole plan that it began with."""

    campaign: Campaign
    plan: dict[str, Any]

    @property
    def case_ids(self) -> frozenset[str]:
        return frozenset(entry["id"] for entry in self.plan["cases"])


def commit_of(folder: Path) -> str | None:
    """The commit checked out in `folder`, `+dirty` after it where tracked files were changed.

    None where there is no git, no checkout or no commit, and for a folder that its checkout ignores: a package
    installed in a project's `.venv` is not at that project's commit.
    """
    if _git(folder, "check-ignore", "-q", str(folder.absolute())) is not None:
        return None
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changed = _git(folder, "status", "--porcelain", "-uno")
    if not commit or changed is None:
        return None
    return f"{commit}+dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    # No optional locks: a `git` of the user's running at the same time must not find the index locked by ours.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_GIT_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def open_campaign(
    store: Path,
    wanted: Campaign,
    plan: dict[str, Any],
    finished: Callable[[str], Collection[str]],
    *,
    new: bool,
    say: Callable[[str], None] = _log.warning,
) -> tuple[Campaign, bool]:
    """The campaign to go on with, and whether it is resumed.

    The newest campaign of the store that equals `wanted` in all but its start and still has unfinished cases is
    resumed; where there is none, or `new` asks for it, `wanted` begins and its manifest is written. A lock is held
    meanwhile, so that two harnesses which start at once work on one campaign.

    Args:
        store: the results folder; made where it is missing.
        wanted: the campaign that would begin now.
        plan: what the manifest keeps, as JSON: `cases` (each with its `id`) in their order, and whatever else makes it
            possible to say later what was left out and how the campaign was started.
        finished: the case ids that need no further run in the campaign of this id.
        new: never resume.
        say: is given a sentence about each manifest that cannot be read.

    Raises:
        UsageError: the store cannot be written to.
    """
    with locked(store):
        if not new:
            for manifest in read_manifests(store, say=say):
                campaign = manifest.campaign
                if campaign.identity == wanted.identity and manifest.case_ids - set(finished(campaign.id)):
                    return campaign, True
        content = {"manifest_version": MANIFEST_VERSION, "campaign": asdict(wanted), "plan": plan}
        text = json.dumps(content, indent=1).encode()
        publish(store / "campaigns" / f"{wanted.id}.json", lambda file: file.write(text))
    return wanted, False


def read_manifests(store: Path, *, say: Callable[[str], None] = _log.warning) -> list[Manifest]:
    """The manifests of a store, newest campaign first; one that cannot be read is left out, and `say` told of it."""
    manifests = []
    for path in sorted((store / "campaigns").glob("[!.]*.json")):
        try:
            content = json.loads(path.read_bytes())
            if content["manifest_version"] > MANIFEST_VERSION:
                say(f"{path} was written by a newer bench and is left out: upgrade bench to resume that campaign.")
                continue
            manifest = Manifest(Campaign(**content["campaign"]), content["plan"])
            if manifest.campaign.id != path.stem or not all(isinstance(case, str) for case in manifest.case_ids):
                raise ValueError("its content does not agree with its name")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            say(f"{path} is not a readable manifest ({error}) and is left out: its campaign cannot be resumed.")
            continue
        manifests.append(manifest)
    return sorted(manifests, key=lambda manifest: manifest.campaign.started_at, reverse=True)


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Holds the store's lock, which goes with the process that holds it; makes the store where it is missing."""
    with refused(store):
        _make_folder(store)
        handle = os.open(store / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with refused(store):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def publish(
    path: Path, write: Callable[[IO[bytes]], object], check: Callable[[Path], None] = lambda temporary: None
) -> bool:
    """Makes the file `path` appear whole and durable, or not at all; an existing one is kept.

    `write` fills a temporary file beside it, `check` may read that back and raise, and then it gets its name.

    Returns:
        True where the file is the one written now, False where there was one already.

    Raises:
        UsageError: the folder cannot be written to, or is full.
    """
    with refused(path.parent):
        _make_folder(path.parent)
        with _temporary(path) as (temporary, file):
            write(file)
            file.flush()
            os.fsync(file.fileno())
            check(temporary)
            ours = _name(temporary, path)
        sync_folder(path.parent)
    return ours


def sweep(folder: Path) -> int:
    """Removes the temporary files that killed writers left in `folder`, and says how many.

    A writer holds a lock on its temporary file for as long as it lives, and the kernel drops it when the writer dies,
    however it dies. So a file that can be locked is nobody's: unlike a process id in the name this survives reused ids
    and containers, and unlike an age it needs no guess about how slow a writer can be.
    """
    removed = 0
    for path in folder.glob(".*.tmp"):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:  # its writer lives, or finished just now, or it is another user's
            continue
        removed += 1
    return removed


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable: syncing a file says nothing about its name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        with temporary.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not temporary.exists():  # a sweep came between the creation and the lock
                continue
            try:
                yield temporary, file
            finally:
                temporary.unlink(missing_ok=True)
            return


def _name(temporary: Path, path: Path) -> bool:
    """Gives the file its name unless that is taken. A link never overwrites, where a rename would."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            return False
        temporary.rename(path)
    return True


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def refused(folder: Path) -> Iterator[None]:
    """Makes what a folder refuses (no permission, no space, a file in the way) the user's error, with the way out."""
    try:
        yield
    except OSError as error:
        if error.errno not in _WAY_OUT:
            raise
        why = (error.strerror or os.strerror(error.errno)).lower()
        raise UsageError(f"cannot write to {folder} ({why}): {_WAY_OUT[error.errno]}") from error
