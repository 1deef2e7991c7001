"""The errors that a user can cause.

Each is caught once, at the edge (`bench.cli`), and becomes one message and one exit code. A message names the
value, where it came from and the way out.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import TypeVar

_Value = TypeVar("_Value")


class ExitCode(IntEnum):
    """What each exit code means; where several hold, `worst` picks one."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    NO_VERDICT = 3
    RUNS_FAILED = 4
    FAULT = 70
    """A fault of the program itself, as `EX_SOFTWARE` in BSD's sysexits.h: never to be taken for a regression."""
    INTERRUPTED = 130


_PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.FAULT,
    ExitCode.USAGE,
    ExitCode.RUNS_FAILED,
    ExitCode.REGRESSION,
    ExitCode.NO_VERDICT,
    ExitCode.OK,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The code that a command ends with when several hold; `OK` for none."""
    held = set(codes)
    return next((code for code in _PRECEDENCE if code in held), ExitCode.OK)


class BenchError(Exception):
    """The base of all errors that a user can cause; its text is what the user reads."""

    exit_code = ExitCode.USAGE


class UsageError(BenchError):
    """A value that the user gave cannot be used."""


_WAYS_OUT = {
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EROFS: "make it writable",
    errno.ENOENT: "make its folder",
    errno.ENOTDIR: "a file is in the way: move it",
    errno.EISDIR: "a folder is in the way: move it",
    errno.EEXIST: "a file is in the way: move it",
    errno.ENAMETOOLONG: "take a shorter name",
    errno.ENOLCK: "its file system has no locks: take another one",
    errno.ENOSPC: "free some space and give the command again (what is finished is kept)",
    errno.EDQUOT: "free some space and give the command again (what is finished is kept)",
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`)",
    errno.EIO: "check the disk, or the server that it is on, and give the command again (what is finished is kept)",
    errno.ESTALE: "mount its file system again, and give the command again (what is finished is kept)",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`) and give the command again (what is finished is kept)",
    errno.ENFILE: "close other programs and give the command again (what is finished is kept)",
    errno.ENOMEM: "free some memory and give the command again (what is finished is kept)",
}


def system_refusal(error: OSError, what: str, otherwise: str = "") -> UsageError | None:
    """The user's error for what the system has refused: a full disk, no permission, too many open files.

    Args:
        error: what the system reported.
        what: what could not be done, with the path: "cannot write to results/local".
        otherwise: another way out than the usual one of this error: "name another folder with --results".

    Returns:
        None where it is an error of another kind, which a user can't do anything about.
    """
    if error.errno not in _WAYS_OUT:
        return None
    why = (error.strerror or os.strerror(error.errno)).lower()
    ways = ", or ".join(filter(None, (_WAYS_OUT[error.errno], otherwise)))
    return UsageError(f"{what} ({why}): {ways}.")


class NoVerdictError(BenchError):
    """There is nothing to judge: no base, nothing measured."""

    exit_code = ExitCode.NO_VERDICT


def unknown(kind: str, name: str, known: Iterable[str], origin: str) -> UsageError:
    """The error for a name that is not known, with the nearest known name, or all of them.

    Args:
        kind: what was looked for, as a reader calls it ("cell", "suite", "key").
        name: what was given.
        known: the names that would have been accepted.
        origin: where the name came from ("--set cells", "my.toml").
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    way_out = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}."
    return UsageError(f"unknown {kind} {name!r} ({origin}): {way_out}")


def named(kind: str, name: str, known: Mapping[str, _Value], origin: str) -> _Value:
    """What has this name.

    Args:
        kind: what is asked for, as a reader calls it ("cell", "kernel").
        name: what was given.
        known: by name.
        origin: where the name came from ("--set cells", "my.toml").

    Raises:
        UsageError: nothing has it; the message gives the nearest name, or all of them.
    """
    if name not in known:
        raise unknown(kind, name, known, origin)
    return known[name]
