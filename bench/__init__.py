"""A benchmark harness for recurrent cells in Keras 3. See README.md; `bench --help` lists the commands."""

from bench.core.task_data import Stream, TaskData

__all__ = ["Stream", "TaskData", "__version__"]

__version__ = "0.1.0"
