"""Which heads a detector reads, and how it weighs them: chosen on validation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression

from lens_truth.detection.metrics import auroc, best_threshold
from lens_truth.errors import InputError
from lens_truth.scoring.calibration import platt_scaling
from lens_truth.scoring.detector import Detector
from lens_truth.scoring.metrics import aurocs
from lens_truth.stats.folds import grouped_folds

Kind = Literal["mean", "logistic"]
"""The mean of the heads' decisions, or a logistic regression on them."""
_FOLDS = 5
_ALIKE = 0.005
"""A smaller difference in AUROC is no reason to ask more heads."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A detector and what it was chosen from."""

    detector: Detector
    held_out: Float[np.ndarray, " V"]
    """Its score of each validation row, the heads having been ranked (and weighted) without the row's group."""
    tried: Mapping[str, float]
    """AUROC of these scores for each kind and number of heads that was tried: `mean 4`."""


def chosen_detector(
    decisions: Float[np.ndarray, "V L H"],
    labels: Int[np.ndarray, " V"],
    groups: Sequence[str],
    *,
    seed: int = 0,
    sizes: Sequence[int] = (),
    kinds: Sequence[Kind] = ("mean", "logistic"),
) -> Choice:
    """The fewest heads, and the kind, whose AUROC on validation rows is within .005 of the highest. Each row is scored
    by heads that were ranked (by AUROC) and weighted on the other folds; they are ranked and weighted on all at last.

    Args:
        decisions: in units of their standard deviation.
        sizes: numbers of heads to try; by default 1, 2, 4, ... and all.
    """
    L, H = decisions.shape[1:]
    sizes = sizes or [*(2**i for i in range((L * H - 1).bit_length())), L * H]
    x, fold = decisions.reshape(len(decisions), -1), validation_folds(labels, groups, seed)
    held_out: dict[tuple[Kind, int], np.ndarray] = {(kind, size): np.empty(len(x)) for kind in kinds for size in sizes}
    for k in range(int(fold.max()) + 1):
        rest, rows = fold != k, fold == k
        order = np.argsort(-_aurocs(x[rest], labels[rest]), kind="stable")
        for (kind, size), scores in held_out.items():
            weights, offset = _weights(kind, x[rest][:, order[:size]], labels[rest])
            scores[rows] = x[rows][:, order[:size]] @ weights + offset
    one = np.ones((1, len(x)))
    tried = {its: float(auroc(scores, labels, one)[0]) for its, scores in held_out.items()}
    enough = max(tried.values()) - _ALIKE
    kind, size = min((its for its in tried if tried[its] >= enough), key=lambda its: (its[1], its[0] == "logistic"))
    order = np.argsort(-_aurocs(x, labels), kind="stable")[:size]
    weights, offset = _weights(kind, x[:, order], labels)
    scores = held_out[kind, size]
    threshold, (slope, intercept) = settled(scores, labels)
    heads = tuple(divmod(head, H) for head in order.tolist())
    detector = Detector(heads, weights, offset, kind, threshold, slope, intercept, len(x))
    return Choice(detector, scores, {f"{kind} {size}": value for (kind, size), value in tried.items()})


def settled(scores: Float[np.ndarray, " V"], labels: Int[np.ndarray, " V"]) -> tuple[float, tuple[float, float]]:
    """Threshold, and slope and intercept of probabilities, from scores of validation rows."""
    slope, intercept = platt_scaling(scores[:, None], labels)[0].tolist()
    return best_threshold(scores, labels), (slope, intercept)


def validation_folds(labels: Int[np.ndarray, " V"], groups: Sequence[str], seed: int) -> Int[np.ndarray, " V"]:
    """The fold of every validation row, at most five; an InputError says that there are too few rows for any."""
    try:
        return grouped_folds(labels, groups, min(_FOLDS, max(2, len(set(groups)))), seed)
    except InputError as error:
        raise InputError(f"the {len(labels)} validation rows are too few to choose heads on: {error}") from error


def _weights(
    kind: Kind, x: Float[np.ndarray, "n K"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " K"], float]:
    if kind == "mean":
        return np.ones(x.shape[1]) / x.shape[1], 0.0
    classifier: Any = LogisticRegression(max_iter=1000)
    fitted: Any = classifier.fit(x, labels)
    weights: list[float] = fitted.coef_[0].tolist()
    return np.array(weights), float(fitted.intercept_[0])


def _aurocs(x: Float[np.ndarray, "n F"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " F"]:
    """Of every column."""
    return aurocs(torch.from_numpy(np.ascontiguousarray(x.T)), torch.from_numpy(labels == 1)).numpy()
