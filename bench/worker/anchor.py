"""The anchor: a fixed computation that does timed batches as a side does (`bench.worker.side`), in NumPy alone.

Its time is that of the machine, whatever Keras, its backend or a cell do to theirs: a side's time divided by the
anchor's compares between occasions on one machine, where the times themselves drift. A step is what a simple recurrent
layer does to a batch of 32 sequences of 28 steps: small products that wait for each other, and tanh. It runs on one
thread, which `bench.duel.sides.anchor_side` sets before NumPy is imported.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from bench.core.observation import RunMetadata
from bench.core.protocol import CodeImported, Emit, Request, TimedBatch

ANCHOR_VERSION = 1
"""The version of what is computed: times of different versions do not compare."""

_STEPS, _BATCH, _UNITS = 28, 32, 128


def preload(backend: str) -> None:
    """Import nothing more: the anchor needs no backend."""


def measure(request: Request, emit: Emit) -> None:
    """Do timed batches until 0 is read; report which NumPy and which BLAS did them."""
    random = np.random.default_rng(0)
    weights = (random.standard_normal((_UNITS, _UNITS)) / np.sqrt(_UNITS)).astype(np.float32)
    inputs = random.standard_normal((_STEPS, _BATCH, _UNITS)).astype(np.float32)
    state, product = np.zeros((2, _BATCH, _UNITS), np.float32)
    emit(CodeImported("[]"))
    while steps := int(sys.stdin.buffer.readline() or 0):
        cpu, start = time.process_time_ns(), time.perf_counter_ns()
        for _ in range(steps):
            for now in inputs:
                np.matmul(state, weights, out=product)
                np.add(product, now, out=product)
                np.tanh(product, out=state)
        emit(TimedBatch(steps, (time.perf_counter_ns() - start) / 1e9, (time.process_time_ns() - cpu) / 1e9))
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    facts = {"anchor": ANCHOR_VERSION, "numpy": np.__version__, "blas": f"{blas['name']} {blas['version']}"}
    emit(RunMetadata(extra_json=json.dumps(facts)))
