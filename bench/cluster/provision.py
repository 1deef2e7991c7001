"""Equipping of a node with the driver's environment: built there with uv, once, for all campaigns that want the same.

What is installed where the command is given is the lock. The program itself travels beside it, as files, so that a node
needs Python, Ray and uv.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench.catalog.cache import default_cache
from bench.core.case import digest
from bench.core.errors import UsageError
from bench.host.environments import build_environment, installed_lock

_WHERE_IT_IS_SET = (
    "What uv needs there (an index that it reaches: UV_INDEX, UV_FIND_LINKS), and the folder of the environment "
    "(BENCH_CACHE_DIR), are set where `ray start` is called on that machine."
)


@dataclass(frozen=True, kw_only=True)
class Provision:
    """The environment that a node gets."""

    lock: str
    """Requirements, complete, each with its version."""
    python: str
    """The version of Python."""

    @property
    def digest(self) -> str:
        """What the environment is kept by: 16 hex digits."""
        return digest(f"{self.python}\n{self.lock}")


@dataclass(frozen=True)
class Equipped:
    """A node has the environment."""

    interpreter: str


def provision_of_driver(report: Callable[[str], None]) -> Provision:
    """The environment of this process.

    Args:
        report: given a sentence about what the nodes get, and about packages that no other machine can install.
    """
    lock, left_out = installed_lock()
    report(
        f"each node gets this Python environment, {len(lock.splitlines())} packages, where it doesn't have it yet; the "
        f"first time that may take minutes"
    )
    if left_out:
        report(
            f"not provided to the nodes, because they were installed from this machine's files: {', '.join(left_out)}"
        )
    return Provision(lock=lock, python=platform.python_version())


def equip(provision: Provision) -> Equipped:
    """The interpreter on this node with what is provided, built where its cache has none.

    Raises:
        UsageError: it can't be built; the message has what uv printed.
    """
    what = f"the environment of the driver (Python {provision.python}) on {platform.node()}"
    # uv may not know of the interpreter that runs here, and would fetch one
    python = sys.executable if platform.python_version() == provision.python else provision.python
    cache = default_cache() / "environments"
    try:
        path = build_environment(provision.lock, provision.digest, python, cache, what, lambda text: None)
    except UsageError as error:
        raise UsageError(f"{error}\n  {_WHERE_IT_IS_SET}") from error
    return Equipped(str(path))
