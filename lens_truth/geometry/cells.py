"""Intervals and nulls of AUROCs that are means over folds, for many columns of decisions on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata  # pyright: ignore[reportUnknownVariableType]

from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.stats.folds import permuted_labels

_ROUNDING = 1e-9
_TWICE = 2**0.5
"""How much wider chance is in cross-validation than with decisions that stay as they are: a probe in closed form is
linear in the labels, so what two folds have in common by chance counts twice where each is tested by a probe of the
other (the variance of a sum over i, j of products x_i x_j, against that of as many independent ones)."""


@dataclass(frozen=True)
class CellDraws:
    """How many draws stand behind an interval and a null.

    >>> lens_truth.transfer_matrix(domains, draws=lens_truth.CellDraws(n_bootstrap=200))
    """

    n_bootstrap: int = 1000
    n_permutations: int = 1000

    def __post_init__(self) -> None:
        if self.n_bootstrap < 1 or self.n_permutations < 1:
            raise InputError(
                f"{self.n_bootstrap} bootstrap draws and {self.n_permutations} permutations were asked for; at least 1 "
                "of each is needed"
            )


@stage("bootstrap")
def drawn_aurocs(
    decisions: Float[np.ndarray, "C N"],
    labels: Int[np.ndarray, " N"],
    groups: Sequence[str],
    fold: Int[np.ndarray, " N"],
    n_draws: int,
    seed: tuple[int, ...],
) -> Float[np.ndarray, "P1 C"]:
    """AUROC inside folds, mean over those that hold both labels; first as it is, then with the groups drawn with
    replacement. Columns share the draws, so that differences between them have an interval of their own."""
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    first, *part = seed
    rng = stream(first, Stream.TRANSFER_INTERVALS, *part)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_draws)
    weights = np.concatenate([np.ones((1, len(names))), drawn])[:, numbers].astype(np.float32)
    total, defined = np.zeros((len(weights), len(decisions))), np.zeros((len(weights), 1))
    for k in np.unique(fold):
        up, down = (np.flatnonzero((fold == k) & (labels == label)) for label in (1, 0))
        mass = weights[:, up].sum(1) * weights[:, down].sum(1)
        ok = mass > 0
        defined[ok] += 1
        for c, its in enumerate(decisions):
            above = np.sign(its[up][:, None] - its[down][None]) / 2 + 0.5
            wins = ((weights[:, up] @ above.astype(np.float32)) * weights[:, down]).sum(1)
            total[ok, c] += wins[ok] / mass[ok]
    return total / np.where(defined > 0, defined, np.nan)


def intervals(
    decisions: Float[np.ndarray, "C N"],
    labels: Int[np.ndarray, " N"],
    groups: Sequence[str],
    fold: Int[np.ndarray, " N"],
    draws: CellDraws,
    seed: tuple[int, ...],
) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, "C 2"]]:
    """AUROCs with their 95% percentile intervals over groups."""
    found = drawn_aurocs(decisions, labels, groups, fold, draws.n_bootstrap, seed)
    return found[0], np.nanquantile(found[1:], [0.025, 0.975], axis=0).T


def null_aurocs(
    decisions: Float[np.ndarray, "C N"],
    labels: Int[np.ndarray, " N"],
    groups: Sequence[str],
    fold: Int[np.ndarray, " N"],
    n_draws: int,
    seed: tuple[int, ...],
    own: Sequence[int] = (),
) -> Float[np.ndarray, "P1 C"]:
    """AUROC inside folds, mean over those that hold both labels; first as it is, then with the labels permuted
    (`permuted_labels`). Columns share the draws.

    Decisions stay as they are, which is what chance does where the rows' labels had no part in them. Of the columns
    that are the rows' `own` (of probes trained on the same rows in other folds) the draws are moved away from .5 by a
    factor of sqrt(2), as far as chance goes there; heads that are chosen in the training rows change little about it.
    """
    first, *part = seed
    chance = int(stream(first, Stream.TRANSFER_NULL, *part).integers(1 << 31))
    y = np.concatenate([labels[None], permuted_labels(labels, groups, n_draws, chance, fold)]).astype(float)
    total, defined = np.zeros((len(y), len(decisions))), np.zeros((len(y), 1))
    for k in np.unique(fold):
        rows = fold == k
        ranks, its = rankdata(decisions[:, rows], axis=1), y[:, rows]
        n_up = its.sum(1, keepdims=True)
        pairs = n_up * (rows.sum() - n_up)
        ok = pairs[:, 0] > 0
        wins = its @ ranks.T - n_up * (n_up + 1) / 2
        total[ok] += wins[ok] / pairs[ok]
        defined[ok] += 1
    found = total / np.where(defined > 0, defined, np.nan)
    found[1:, own] = 0.5 + _TWICE * (found[1:, own] - 0.5)
    return found


class Nulls:
    """Of many cells, column by column: the middle 95% of each, its p-value, and in the end the p-values that hold for
    all cells together (Westfall and Young 1993): against the cell that lies farthest off in each draw, in standard
    deviations of its null. All are two-sided: an inverted probe also knows something."""

    def __init__(self) -> None:
        self._far, self._farthest = list[np.ndarray](), np.zeros(0)

    def add(self, aurocs: Float[np.ndarray, "P1 C"]) -> tuple[Float[np.ndarray, "C 2"], Float[np.ndarray, " C"]]:
        """Of one column, from `null_aurocs`."""
        spread = np.nanstd(aurocs[1:], axis=0)
        far = np.abs(aurocs - 0.5) / np.where(spread > 0, spread, np.inf)
        self._far.append(far[0])
        farthest = np.nanmax(far[1:], axis=1)
        self._farthest = np.maximum(self._farthest, farthest) if len(self._farthest) else farthest
        reached = (far[1:] >= far[0] - _ROUNDING).sum(0)
        return np.nanquantile(aurocs[1:], [0.025, 0.975], axis=0).T, (1 + reached) / len(aurocs)

    def familywise(self) -> Float[np.ndarray, "C M"]:
        """Of all cells that were added."""
        far = np.stack(self._far, axis=1)
        reached = (self._farthest[:, None, None] >= far - _ROUNDING).sum(0)
        return (1 + reached) / (1 + len(self._farthest))
