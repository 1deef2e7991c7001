"""Quality beyond accuracy, from the predictions stored with the runs. Pure.

Scores are defined as scikit-learn defines them, and computed by counting: scikit-learn took 14 ms a run of 10,000 test
samples where counting takes 0.8 ms (two cores, scikit-learn 1.9), and a store may hold thousands of runs. Tests compare
the two. A figure a run, then the mean over seeds. The ROC AUC is one class against the rest, of the packed
probabilities, whose order is kept but for near ties (`bench.core.predictions`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
    """Mean over the classes of the harmonic mean of precision and recall."""
    roc_auc: Estimate
    """Mean over the classes, each against the rest, of the area under the receiver operating characteristic."""
    recalls: tuple[Estimate, ...]
    """By class: the fraction of its samples that were recognised."""
    confusion: NDArray[np.float64]
    """Labels × predicted classes: the fraction of the label's samples, all runs together."""
    samples: int
    """Samples of the test set."""
    damaged: int
    """Runs whose predictions could not be unpacked."""

    @property
    def worst_confusion(self) -> tuple[int, int, float]:
        """Label, predicted class and fraction of the most frequent mistake."""
        mistakes = self.confusion - np.diag(np.diag(self.confusion))
        label, predicted = np.unravel_index(int(mistakes.argmax()), mistakes.shape)
        return int(label), int(predicted), float(mistakes[label, predicted])


def judge_quality(row: Row, predictions: Mapping[str, str]) -> Quality | None:
    """The scores of a row's runs; None where none of them kept its predictions.

    Args:
        row: whose runs are scored.
        predictions: by id of the run: labels and probabilities as `bench.core.predictions.pack` writes them.
    """
    f1: dict[int, list[float]] = defaultdict(list)
    auc: dict[int, list[float]] = defaultdict(list)
    recalls: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    total: NDArray[np.float64] | None = None
    samples = damaged = 0
    for run in row.runs:
        if run.run_id not in predictions:
            continue
        try:
            unpacked = unpack(predictions[run.run_id])
        except ValueError:
            damaged += 1
            continue
        counts = _confusion(unpacked)
        if not counts.any() or (total is not None and total.shape != counts.shape):
            damaged += 1
            continue
        total = counts if total is None else total + counts
        samples = len(unpacked.labels)
        present = counts.sum(axis=1) > 0
        recalls[run.seed].append(np.where(present, np.diag(counts) / np.maximum(counts.sum(axis=1), 1), np.nan))
        # 2 TP / (2 TP + FP + FN), over the classes that occur as a label or as a prediction
        occurs = counts.sum(axis=0) + counts.sum(axis=1)
        f1[run.seed].append(float(np.mean(2 * np.diag(counts)[occurs > 0] / occurs[occurs > 0])))
        auc[run.seed].append(_roc_auc(unpacked))
    if total is None:
        return None
    return Quality(
        row=row,
        macro_f1=_over_seeds(f1.values()),
        roc_auc=_over_seeds(auc.values()),
        recalls=tuple(
            _over_seeds([recall[number] for recall in runs] for runs in recalls.values())
            for number in range(len(total))
        ),
        confusion=total / np.maximum(total.sum(axis=1, keepdims=True), 1),
        samples=samples,
        damaged=damaged,
    )


def _over_seeds(by_seed: Iterable[Sequence[float]]) -> Estimate:
    """The mean over seeds of the mean over a seed's runs."""
    return mean_t([float(np.mean(figures)) for figures in by_seed])


def _confusion(unpacked: Predictions) -> NDArray[np.float64]:
    """How often each label (row) was predicted as each class (column)."""
    classes = unpacked.codes.shape[1]
    pairs = unpacked.labels.astype(np.int64) * classes + unpacked.predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.float64)


def _roc_auc(unpacked: Predictions) -> float:
    """Mean over the classes: the chance that a sample of it scores above one of the rest; equal scores count half.

    That is the Mann-Whitney statistic over its maximum, which equals the area under the curve (Hanley and McNeil,
    Radiology 143, 1982).
    """
    areas = []
    for number in range(unpacked.codes.shape[1]):
        members = unpacked.labels == number
        if 0 < int(members.sum()) < members.size:
            inside, outside = (
                np.bincount(unpacked.codes[which, number], minlength=256) for which in (members, ~members)
            )
            below = np.cumsum(outside) - outside
            areas.append(float(inside @ (below + outside / 2)) / (int(inside.sum()) * int(outside.sum())))
    return float(np.mean(areas)) if areas else math.nan
