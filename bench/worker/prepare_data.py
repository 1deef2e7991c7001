"""Prepares a user's data in a process of its own, so that no code of a user's runs in the harness.

    python -m bench.worker.prepare_data MODULE:FACTORY FILE

The file is `bench.catalog.tasks.prepared`'s, and holds which code was imported for it. What is wrong is written to
FILE.error, as a sentence.
"""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from pathlib import Path

import numpy  # noqa: F401 - before the user's code imports it: it is the environment's, and not theirs

from bench.catalog.tasks.prepared import write_prepared
from bench.catalog.tasks.users import task_of
from bench.core import code
from bench.core.errors import BenchError
from bench.core.protocol import FailedRun
from bench.worker.evidence.code import imported_modules
from bench.worker.failure import failure_reason
from bench.worker.users_code import load_factory


def main(name: str, path: Path) -> int:
    """Call the factory, check what it returns, and write the file; the exit code."""
    before = frozenset(sys.modules)
    try:
        factory = load_factory(f"the task {name!r}", name, "a bench.TaskData")
        task, arrays = task_of(name, factory())
    except (BenchError, FailedRun) as error:
        problem = str(error)
    except Exception as error:  # whatever the user's code raises
        traceback.print_exc()
        problem = f"the task {name!r} cannot be made: {failure_reason(error)}"
    else:
        with path.open("w+b") as file:
            write_prepared(file, replace(task, code_json=code.to_json(imported_modules(before))), arrays)
        return 0
    path.with_name(f"{path.name}.error").write_text(problem, encoding="utf-8")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
