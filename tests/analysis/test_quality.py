"""bench.analysis.quality: scores by counting, which are scikit-learn's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

from bench.analysis.quality import judge_quality
from bench.analysis.rows import Row
from bench.core.predictions import pack, unpack


def row_of(seeds: dict[str, int]) -> Row:
    """A row whose runs, by id, have these seeds."""
    return cast(Row, SimpleNamespace(runs=[SimpleNamespace(run_id=name, seed=seed) for name, seed in seeds.items()]))


def drawn(number: int, samples: int = 200, classes: int = 5) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Labels, and probabilities that are mostly right about them."""
    random = np.random.default_rng(number)
    labels = random.integers(0, classes, samples)
    logits = random.standard_normal((samples, classes)) + 2.0 * np.eye(classes)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_scores_are_scikit_learns(number: int, classes: int) -> None:
    text = pack(*drawn(number, classes=classes))
    quality = judge_quality(row_of({"a": 0}), {"a": text})
    assert quality is not None
    kept, every = unpack(text), np.arange(classes)
    assert quality.macro_f1.value == pytest.approx(f1_score(kept.labels, kept.predicted, average="macro"))
    areas = [roc_auc_score(kept.labels == each, kept.codes[:, each]) for each in every]
    assert quality.roc_auc.value == pytest.approx(np.mean(areas))
    recalls = recall_score(kept.labels, kept.predicted, average=None, labels=every)
    assert [recall.value for recall in quality.recalls] == pytest.approx(recalls)
    counts = confusion_matrix(kept.labels, kept.predicted, labels=every)
    assert quality.confusion == pytest.approx(counts / counts.sum(axis=1, keepdims=True))
    label, predicted, fraction = quality.worst_confusion
    assert label != predicted
    assert fraction == max(quality.confusion[i, j] for i in every for j in every if i != j)


def test_seeds_are_averaged_over_their_runs_first() -> None:
    texts = {name: pack(*drawn(number)) for number, name in enumerate("abc")}
    quality = judge_quality(row_of({"a": 0, "b": 0, "c": 1}), texts)
    alone = {name: judge_quality(row_of({name: 0}), texts) for name in "abc"}
    values = {name: each.macro_f1.value for name, each in alone.items() if each}
    assert quality is not None
    assert quality.macro_f1.n == 2
    assert quality.macro_f1.value == pytest.approx(((values["a"] + values["b"]) / 2 + values["c"]) / 2)
    assert quality.samples == 200


def test_a_class_without_samples_has_no_recall() -> None:
    labels, probabilities = drawn(1)
    quality = judge_quality(row_of({"a": 0}), {"a": pack(np.where(labels == 4, 0, labels), probabilities)})
    assert quality is not None
    assert np.isnan(quality.recalls[4].value) or not quality.recalls[4].n
    assert not quality.confusion[4].any()


def test_what_cannot_be_unpacked_is_counted_and_nothing_is_no_quality() -> None:
    without_samples = pack(np.zeros(0), np.ones((0, 10)))
    texts = {"a": pack(*drawn(0)), "b": "p1 damaged", "c": pack(*drawn(2, classes=3)), "d": without_samples}
    quality = judge_quality(row_of({"a": 0, "b": 1, "c": 2, "d": 3}), texts)
    assert quality is not None
    assert quality.damaged == 3  # unreadable, of another number of classes, and without samples
    assert judge_quality(row_of({"b": 1}), texts) is None
    assert judge_quality(row_of({"x": 1}), texts) is None
