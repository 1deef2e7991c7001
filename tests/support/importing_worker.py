"""A run without Keras that imports the user's cell as the real one does, and is as accurate as its module states.

Accuracy varies with the seed, and where the module states another accuracy, with the code too.
"""

from __future__ import annotations

import importlib
import random
import sys

from bench.core.code import to_json
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Emit, Request
from bench.worker.evidence.code import imported_modules


def preload(backend: str) -> None:
    """Nothing is needed."""


def measure(request: Request, emit: Emit) -> None:
    case, before = request.case, frozenset(sys.modules)
    sys.path.insert(0, "")
    module = importlib.import_module(case.cell.partition(":")[0])
    accuracy = module.accuracy + random.Random(f"{case.seed} {module.accuracy}").gauss(0.0, 0.002)
    emit(Observation(phase="compile", seconds=1.0))
    for epoch in range(1, case.epochs + 1):
        emit(Observation(phase="train", epoch=epoch, seconds=module.size / 100, samples=4_000, accuracy=accuracy))
    emit(Observation(phase="evaluate", seconds=0.1, samples=1_000, loss=1 - accuracy, accuracy=accuracy))
    emit(
        RunMetadata(
            parameters=7,
            attested_kernel="generic",
            data_digest="digits",
            rss_start_bytes=2**20,
            peak_rss_bytes=2**21,
            code_json=to_json(imported_modules(before)),
        )
    )
