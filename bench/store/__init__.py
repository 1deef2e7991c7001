"""Observations and manifests on disk: written whole or not at all, read back as one table.

In a notebook, `bench.store.load` gives the observations of stores as a data frame:

    from pathlib import Path
    from bench.store import load

    frame = load([Path("results/reference/mnist_rows")])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.store.reader import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # when asked for, and not before: the worker and light commands import this package without pyarrow
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bench.store.reader import load

    return load
