"""The errors that a user can cause.

Each is caught once, at the edge (`bench.cli`), and becomes one message and one exit code. A message names the
value, where it came from and the way out.
"""

from __future__ import annotations

import difflib
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
