"""Environment variables of a run's process, as the axis `env` writes them: `OMP_WAIT_POLICY=passive`.

Several stand with spaces between them, sorted by name, so that equal settings are equal texts; `none` is none at all.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from bench.core.errors import UsageError

NONE = "none"
"""No variable; as a value of `env.NAME`, that it is not set for the run."""

PREFIX = "env."
"""What stands before a variable's name in `--set` and in a side of a duel."""

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\S+)")
_OWN_AXES = {
    "KERAS_BACKEND": "backends",
    "PYTHONPATH": "a virtual environment",
    "PYTHONUNBUFFERED": "nothing",
    "CUDA_DEVICE_ORDER": "CUDA_VISIBLE_DEVICES with the identifier of a card (nvidia-smi -L)",
}
"""Variables that the harness sets itself, and what sets the same."""


def find(text: str, origin: str = "a case") -> Mapping[str, str]:
    """The variables by name; empty for `none`.

    Args:
        text: a value of the axis `env`.
        origin: where it came from, as an error calls it.

    Raises:
        UsageError: it is no such text, or the harness sets a variable in it itself.
    """
    if text == NONE:
        return {}
    matches = [_VARIABLE.fullmatch(word) for word in text.split()]
    names = [match[1] for match in matches if match]
    if not names or len(names) < len(matches) or text != " ".join(sorted(text.split())) or len({*names}) < len(names):
        raise UsageError(
            f"env = {text!r} ({origin}) is no list of variables: write NAME=VALUE, several with a space between them "
            f"and sorted by name, or {NONE}."
        )
    if taken := next((name for name in names if name in _OWN_AXES), None):
        raise UsageError(f"env = {text!r} ({origin}) sets {taken}, which bench sets itself: use {_OWN_AXES[taken]}.")
    return {match[1]: match[2] for match in matches if match}


def crossed(variables: Mapping[str, Sequence[str]]) -> list[str]:
    """The values of the axis `env` for all combinations of the variables' values, each `none` where it is not set.

    Args:
        variables: the values of each, by name.
    """
    names = sorted(variables)
    return [
        " ".join(f"{name}={value}" for name, value in zip(names, values, strict=True) if value != NONE) or NONE
        for values in itertools.product(*(variables[name] for name in names))
    ]
