"""Quality beyond accuracy, from the predictions stored with the runs. Pure.

Scores are defined as scikit-learn defines them (a test compares them), and computed by counting, since a store may hold
thousands of runs: a figure a run, then the mean over seeds. The ROC AUC is one digit against the rest, of the packed
probabilities, whose order is kept but for near ties (`bench.core.predictions`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.analysis.rows import Row
from bench.analysis.stats import Estimate, mean_t
from bench.core.predictions import Predictions, unpack


@dataclass(frozen=True, eq=False)
class Quality:
    """Scores of one row; estimates are means over seeds, `n` counts seeds."""

    row: Row
    macro_f1: Estimate
    roc_auc: Estimate
    """Mean over the digits, each against the rest."""
    recalls: tuple[Estimate, ...]
    """By digit: the share of its samples that were recognised."""
    confusion: NDArray[np.float64]
    """Of each label (row), the share that was taken for each class (column), all runs together."""
    samples: int
    """Of the test set."""
    damaged: int
    """Runs whose predictions could not be unpacked."""

    @property
    def worst_confusion(self) -> tuple[int, int, float]:
        """Label, class and share of the most frequent mistake."""
        mistakes = self.confusion - np.diag(np.diag(self.confusion))
        label, taken = np.unravel_index(int(mistakes.argmax()), mistakes.shape)
        return int(label), int(taken), float(mistakes[label, taken])


def judge_quality(row: Row, predictions: Mapping[str, str]) -> Quality | None:
    """The scores of a row's runs; None where none of them kept its predictions."""
    f1: dict[int, list[float]] = defaultdict(list)
    auc: dict[int, list[float]] = defaultdict(list)
    recalls: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    whole: NDArray[np.float64] | None = None
    samples = damaged = 0
    for run in row.runs:
        if run.run_id not in predictions:
            continue
        try:
            kept = unpack(predictions[run.run_id])
        except ValueError:
            damaged += 1
            continue
        counts = _confusion(kept)
        if whole is not None and whole.shape != counts.shape:
            damaged += 1
            continue
        whole = counts if whole is None else whole + counts
        samples = len(kept.labels)
        present = counts.sum(axis=1) > 0
        recall = np.where(present, np.diag(counts) / np.maximum(counts.sum(axis=1), 1), np.nan)
        recalls[run.seed].append(recall)
        # 2 TP / (2 TP + FP + FN), over the digits that occur as a label or as an answer
        total = counts.sum(axis=0) + counts.sum(axis=1)
        f1[run.seed].append(float(np.mean(2 * np.diag(counts)[total > 0] / total[total > 0])))
        auc[run.seed].append(_roc_auc(kept))
    if whole is None:
        return None
    by_digit = [
        mean_t([float(np.mean([one[digit] for one in own])) for own in recalls.values()]) for digit in range(len(whole))
    ]
    return Quality(
        row=row,
        macro_f1=mean_t(float(np.mean(own)) for own in f1.values()),
        roc_auc=mean_t(float(np.mean(own)) for own in auc.values()),
        recalls=tuple(by_digit),
        confusion=whole / np.maximum(whole.sum(axis=1, keepdims=True), 1),
        samples=samples,
        damaged=damaged,
    )


def _confusion(kept: Predictions) -> NDArray[np.float64]:
    classes = kept.codes.shape[1]
    pairs = kept.labels.astype(np.int64) * classes + kept.predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.float64)


def _roc_auc(kept: Predictions) -> float:
    """Mean over the classes: the chance that a sample of it scores above one of the rest; equal scores count half."""
    areas = []
    for digit in range(kept.codes.shape[1]):
        own = kept.labels == digit
        if 0 < int(own.sum()) < own.size:
            inside, outside = (np.bincount(kept.codes[which, digit], minlength=256) for which in (own, ~own))
            below = np.cumsum(outside) - outside
            areas.append(float(inside @ (below + outside / 2)) / (int(inside.sum()) * int(outside.sum())))
    return float(np.mean(areas)) if areas else math.nan
