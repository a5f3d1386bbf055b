"""Metrics of out-of-fold decisions: means over folds, as in scikit-learn's `cross_val_score` and in the paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from lens_truth.io.streams import Stream, stream
from lens_truth.stats.bootstrap import bootstrap_interval, group_sums


def fold_metrics(
    decisions: Float[np.ndarray, "N F"], labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> dict[str, Float[np.ndarray, "K F"]]:
    """Accuracy, precision, recall, F1 (supported = positive; 0 where nothing is predicted so) and AUROC of each fold.

    AUROC is NaN in a fold whose test rows lack a class.
    """
    rows = [np.flatnonzero(fold == k) for k in range(int(fold.max()) + 1)]
    per_fold = [_metrics(decisions[r], labels[r].astype(bool)) for r in rows]
    return {name: np.stack([m[name] for m in per_fold]) for name in per_fold[0]}


def _metrics(decisions: Float[np.ndarray, "n F"], labels: Bool[np.ndarray, " n"]) -> dict[str, Float[np.ndarray, " F"]]:
    predicted, positive = decisions > 0, labels[:, None]
    hits = (predicted & positive).sum(0).astype(float)
    n_predicted, n_positive = predicted.sum(0), positive.sum()
    n_negative = len(labels) - n_positive
    ranks = stats.rankdata(decisions, axis=0)[labels].sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
    return {
        "accuracy": (predicted == positive).mean(0),
        "precision": hits / np.maximum(n_predicted, 1),
        "recall": hits / max(n_positive, 1),
        "f1": 2 * hits / np.maximum(n_predicted + n_positive, 1),
        "auroc": auroc,
    }


def accuracy_interval(
    right: Bool[np.ndarray, "N F"], fold: Int[np.ndarray, " N"], groups: Sequence[str], n_bootstrap: int, seed: int
) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, " F"]]:
    """95% percentile interval of the accuracy (mean over folds), groups drawn with replacement."""
    n_folds = int(fold.max()) + 1
    weight = 1 / (n_folds * np.bincount(fold))[fold]  # so that the weighted mean is the mean over folds
    totals, mass = group_sums(weight[:, None] * right, groups), group_sums(weight, groups)
    return bootstrap_interval(totals, mass, n_bootstrap, stream(seed, Stream.SCORE_INTERVALS))
