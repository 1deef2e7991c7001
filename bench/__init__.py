"""A benchmark harness for recurrent cells in Keras 3. See README.md; `bench --help` lists the commands.

In a notebook: `bench.load(path)`, `bench.table(frame)`, `bench.figure(frame, "accuracy_against_time")` and
`bench.compare(base, new)` (`bench.report.notebook`).
"""

from typing import TYPE_CHECKING, Any

from bench.core.task_data import Stream, TaskData

if TYPE_CHECKING:
    from bench.report.notebook import compare, figure, load, table

__all__ = ["Stream", "TaskData", "__version__", "compare", "figure", "load", "table"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # when a notebook asks for it, and not before: the worker and users' modules import this package too
    if name not in ("compare", "figure", "load", "table"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("bench.report.notebook"), name)
