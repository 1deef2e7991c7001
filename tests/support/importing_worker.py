"""A run without Keras that imports the user's cell or network as the real one does, and is as accurate as it states.

Accuracy varies with the seed, and where the module states another accuracy, with the code too. Of numbers it is R².
"""

from __future__ import annotations

import random
import sys
from typing import Any

from bench.core.code import from_json, to_json
from bench.core.observation import Observation, RunMetadata
from bench.core.protocol import Emit, Request
from bench.worker.data import task_of
from bench.worker.evidence.code import imported_modules
from tests.support.importing_side import users_module


def preload(backend: str) -> None:
    """Nothing is needed."""


def measure(request: Request, emit: Emit) -> None:
    case, before = request.case, frozenset(sys.modules)
    sys.path.insert(0, "")
    module = users_module(case)
    task = task_of(request) if ":" in case.task else None
    learns_numbers = task is not None and not task.target.is_class
    accuracy = module.accuracy + random.Random(f"{case.seed} {module.accuracy}").gauss(0.0, 0.002)
    emit(Observation(phase="compile", seconds=1.0))
    scores: dict[str, Any] = {"loss": 1 - accuracy, "mae": 1 - accuracy} if learns_numbers else {"accuracy": accuracy}
    for epoch in range(1, case.epochs + 1):
        emit(Observation(phase="train", epoch=epoch, seconds=module.size / 100, samples=4_000, **scores))
    emit(Observation(phase="evaluate", seconds=0.1, samples=1_000, **{"loss": 1 - accuracy, **scores}))
    emit(
        RunMetadata(
            parameters=7,
            r2=accuracy if learns_numbers else None,
            attested_kernel="generic",
            data_digest="digits",
            rss_start_bytes=2**20,
            peak_rss_bytes=2**21,
            code_json=to_json({*imported_modules(before), *from_json(task.code_json if task else "")}),
        )
    )
