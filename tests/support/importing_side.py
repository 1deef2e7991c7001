"""A duel's side without Keras that imports the user's cell or network as the real one does, and reports what it did.

A step takes 10 µs times the module's `size`, so that it is seen in the ratio which module was imported.
"""

from __future__ import annotations

import importlib
import math
import random
import sys
from typing import Any

from bench.core.case import Case
from bench.core.code import to_json
from bench.core.observation import RunMetadata
from bench.core.protocol import CodeImported, Emit, FailedRun, Request, TimedBatch
from bench.worker.evidence.code import imported_modules


def preload(backend: str) -> None:
    """Nothing is needed."""


def users_module(case: Case) -> Any:
    """The module of the user's cell, or else of the user's network."""
    kind, name = ("cell", case.cell) if ":" in case.cell else ("network", case.network)
    try:
        return importlib.import_module(name.partition(":")[0])
    except ImportError as error:
        raise FailedRun(f"the {kind} {name!r} cannot be imported: {error}") from error


def measure(request: Request, emit: Emit) -> None:
    before = frozenset(sys.modules)
    sys.path.insert(0, "")
    size = users_module(request.case).size
    emit(CodeImported(to_json(imported_modules(before, with_bench=True))))
    noise = random.Random(request.log.stem)
    offset = noise.gauss(0.0, 0.002)
    while steps := int(sys.stdin.buffer.readline() or 0):
        seconds = steps * 1e-5 * size * math.exp(offset + noise.gauss(0.0, 0.005))
        emit(TimedBatch(steps, seconds, seconds))
    emit(RunMetadata(attested_kernel="generic", attestation_json="{}"))
