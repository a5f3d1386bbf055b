"""Metrics of out-of-fold decisions, fold by fold, on the device where the decisions are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_truth.io.stages import stage


def fold_metrics(
    decisions: Float[Tensor, "N F"], labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> dict[str, Float[np.ndarray, "K F"]]:
    """Accuracy, precision, recall, F1 (supported = positive; 0 where nothing is predicted so) and AUROC of each fold.

    AUROC is NaN in a fold whose test rows lack a class.
    """
    parts = [[np.flatnonzero((fold == k) & (labels == label)) for label in (1, 0)] for k in range(int(fold.max()) + 1)]
    counts = [_counts(*(decisions[torch.from_numpy(rows).to(decisions.device)].T for rows in part)) for part in parts]
    hits, false, wins = torch.stack(counts).cpu().numpy().transpose(1, 0, 2)  # each K F
    n_positive, n_negative = np.array([[len(rows) for rows in part] for part in parts]).T[..., None]
    with np.errstate(invalid="ignore"):
        auroc = wins / 2 / (n_positive * n_negative)
    return {
        "accuracy": (hits + n_negative - false) / (n_positive + n_negative),
        "precision": hits / np.maximum(hits + false, 1),
        "recall": hits / np.maximum(n_positive, 1),
        "f1": 2 * hits / np.maximum(hits + false + n_positive, 1),
        "auroc": auroc,
    }


def aurocs(decisions: Float[Tensor, "*F n"], positive: Bool[Tensor, " n"]) -> Float[Tensor, "*F"]:
    """The share of pairs of a positive and a negative row in which the positive one's decision is the higher (a tie
    counts half); NaN where a class is missing."""
    n_positive = int(positive.sum())
    pairs = n_positive * (len(positive) - n_positive)
    order = decisions.sort(dim=-1)
    if (order.values[..., 1:] == order.values[..., :-1]).any():
        flat = decisions.flatten(0, -2)
        wins = _counts(flat[:, positive], flat[:, ~positive])[2].view(decisions.shape[:-1]).double() / 2
    else:  # from ranks, in half the time
        ranks = torch.arange(1, len(positive) + 1, dtype=torch.float64, device=decisions.device)
        wins = positive[order.indices].double() @ ranks - n_positive * (n_positive + 1) / 2
    return wins / (pairs or torch.nan)


def _counts(positive: Float[Tensor, "F p"], negative: Float[Tensor, "F n"]) -> Int[Tensor, "3 F"]:
    """How many of either are predicted to be positive, and in how many pairs of both the positive decision is the
    higher one, times two (a tie counts once)."""
    positive, negative = positive.contiguous(), negative.contiguous().sort(dim=1).values
    wins = torch.searchsorted(negative, positive).sum(1) + torch.searchsorted(negative, positive, right=True).sum(1)
    return torch.stack([(positive > 0).sum(1), (negative > 0).sum(1), wins])


@stage("bootstrap")
def accuracy_intervals(
    right: Bool[Tensor, "N F"] | Float[Tensor, "N F"],
    weight: Float[np.ndarray, " N"],
    groups: Sequence[str],
    n_draws: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, " F"]]:
    """95% percentile intervals of the weighted share of rows that are right (or of what one classifier is right more
    often than another, row by row), groups drawn with replacement.

    `lens_truth.stats.bootstrap.bootstrap_interval` for many heads: one product of the draws' weights with all rows.
    """
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_draws)
    weights = drawn[:, numbers] * weight
    weights /= weights.sum(1, keepdims=True)
    shares = (torch.from_numpy(weights).to(right.device) @ right.double()).sort(dim=0).values
    below, part = np.divmod(np.array([0.025, 0.975]) * (n_draws - 1), 1)
    lower, upper = (shares[np.minimum(below + above, n_draws - 1).astype(int)].cpu().numpy() for above in (0, 1))
    low, high = lower + (upper - lower) * part[:, None]
    return low, high
