"""Answers that are as long: controls for whatever grows with length."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_EXACT = 16
_ALIKE = 1.25


def lengths_alike(n_tokens: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """A number for each length of an answer: exact up to 16 tokens, above that the same for lengths that differ by less
    than a factor of 1.25."""
    beyond = np.log(np.maximum(n_tokens, _EXACT + 1) / (_EXACT + 1)) / np.log(_ALIKE)
    return np.where(n_tokens <= _EXACT, n_tokens, _EXACT + 1 + np.floor(beyond).astype(int))


def matched_weights(
    n_tokens: Int[np.ndarray, " N"], labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "K N"]:
    """For each fold that is held out, weights of the other rows under which right and wrong experiences are as long:
    of each length as many of either as there are of the rarer one."""
    strata, K = lengths_alike(n_tokens), int(fold.max()) + 1
    weights = np.zeros((K, len(labels)))
    for k in range(K):
        for stratum in np.unique(strata):
            sides = [np.flatnonzero((strata == stratum) & (labels == label) & (fold != k)) for label in (1, 0)]
            fewer = min(map(len, sides))
            for rows in sides:
                weights[k, rows] = fewer / max(1, len(rows))
    return weights
