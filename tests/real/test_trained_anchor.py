"""The anchor of stores: what Keras trains on each backend, in timed batches as a side does."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.case import Case
from bench.duel.interleaved import Batching, InterleavedRunner
from bench.duel.rounds import ANCHOR
from bench.duel.sides import PreparedSide, trained_anchor_side

pytestmark = pytest.mark.real

EACH_BACKEND = pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        pytest.param("jax", marks=pytest.mark.extra("jax")),
        pytest.param("torch", marks=pytest.mark.extra("torch")),
    ],
)


@EACH_BACKEND
def test_a_store_s_anchor_is_measured_beside_its_cells(tmp_path: Path, backend: str) -> None:
    """One server does both; the anchor is the notebook's network with GRUs of 128 units, whatever the cells' is."""
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
        [side, side], anchor=trained_anchor_side(side), data=None, folder=tmp_path, round_seconds=0.1
    ) as runner:
        group = runner.measure(0, Batching(4, 2, 3), (0, 1), rounds=2)
    assert [each.sides[ANCHOR].steps for each in group.rounds] == [6, 6]
    assert all(seconds > 1e-4 for each in group.rounds for seconds in each.sides[ANCHOR].step_seconds)
    assert group.metadata[ANCHOR].attested_kernel == "generic"
    grus, dense = 3 * 128 * (28 + 128 + 2) + 3 * 128 * (128 + 128 + 2), 32 * (128 + 1) + 10 * (32 + 1)
    assert group.metadata[ANCHOR].parameters == grus + dense
