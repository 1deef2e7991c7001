"""The backends' anchors: one computation, in three backends, that takes timed batches as a side does."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.case import Case
from bench.duel.interleaved import Batching, InterleavedRunner
from bench.duel.rounds import ANCHOR, anchor_words
from bench.duel.sides import PreparedSide, backend_anchor_side

pytestmark = pytest.mark.real

EACH_BACKEND = pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        pytest.param("jax", marks=pytest.mark.extra("jax")),
        pytest.param("torch", marks=pytest.mark.extra("torch")),
    ],
)

LOSSES = """
import os, sys
os.environ["KERAS_BACKEND"] = name = sys.argv[1]
from bench.core.case import Case
from bench.worker import backend_anchor
from bench.worker.session import start_session
step = backend_anchor.training_step(start_session(Case(cell="lstm", backend=name, threads=1)))
print(*(float(step()) for _ in range(3)))
backend_anchor._RATE = 1.0
step = backend_anchor.training_step(start_session(Case(cell="lstm", backend=name, threads=1)))
print(*(float(step()) for _ in range(3)))
"""
"""The losses of three steps with the rate that there is, and with one that changes them."""

LSTM = """
import numpy as np
random = np.random.default_rng(0)
kernel, recurrent, bias = (random.standard_normal(s) / np.sqrt(s[0]) for s in ((28, 256), (64, 256), (256,)))
inputs, hidden, cell = random.standard_normal((28, 32, 28)), np.zeros((32, 64)), np.zeros((32, 64))
sigmoid = lambda x: 1 / (1 + np.exp(-x))
for now in inputs:
    enter, forget, candidate, leave = np.split(now @ kernel + hidden @ recurrent + bias, 4, axis=1)
    cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
    hidden = sigmoid(leave) * np.tanh(cell)
print((hidden**2).mean())
"""


def losses(*command: str) -> list[list[float]]:
    done = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, check=True)
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


@EACH_BACKEND
def test_each_backend_descends_from_the_same_loss(backend: str) -> None:
    """An LSTM written in NumPy has it; the rate is so small that no step changes a bit of float32."""
    ((loss,),) = losses(LSTM)
    steady, descending = losses(LOSSES, backend)
    assert steady == pytest.approx([loss] * 3, rel=1e-5)
    assert len({*steady}) == 1
    assert descending == pytest.approx([loss, 0.037957, 0.0377417], rel=1e-5)  # as all three backends gave


@EACH_BACKEND
def test_a_store_s_anchor_is_measured_beside_its_cells(tmp_path: Path, backend: str) -> None:
    """One server does both; the anchor's record has the backend's release, which decides what it compares with."""
    case = Case(
        cell="simple_rnn",
        backend=backend,
        task="noise",
        steps=4,
        features=3,
        units=8,
        train_samples=64,
        epochs=1,
        threads=1,
    )
    side = PreparedSide(title="simple_rnn", case=case)
    with InterleavedRunner(
        [side, side], anchor=backend_anchor_side(side), data=None, folder=tmp_path, round_seconds=0.1
    ) as runner:
        group = runner.measure(0, Batching(4, 2, 3), (0, 1), rounds=2)
    assert [each.sides[ANCHOR].steps for each in group.rounds] == [6, 6]
    assert all(seconds > 1e-4 for each in group.rounds for seconds in each.sides[ANCHOR].step_seconds)
    facts = json.loads(group.metadata[ANCHOR].extra_json or "{}")
    assert anchor_words(facts) == f"version 2, {backend} {importlib.metadata.version(backend)}"
