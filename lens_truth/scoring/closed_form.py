"""Linear probes in closed form: ridge, mass-mean and nearest centroid, for all heads, folds and label draws at once.

All three need nothing of the features but sums and Gram matrices. Those of a training set are those of all rows
minus those of the held-out folds, and a factorisation serves the true labels and any number of permuted ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits
from torch import Tensor

ClosedFormKind = Literal["ridge", "mass-mean", "centroid"]

PENALTIES = (0.003, 0.1, 3.0)
"""Ridge penalties to choose from: what is added to the diagonal of the features' correlation matrix."""
_JITTER = 1e-6  # keeps mass-mean defined when features are collinear
_JURY = 8  # heads, spread evenly, that choose the penalty
_BLOCK_BYTES = 1 << 22  # of features handled at once: larger arrays would be mapped, and faulted in, anew each time
_DRAWS_AT_ONCE = 128


@threadpool_limits.wrap(limits=1, user_api="blas")  # scipy's LAPACK: threads of its own would fight with torch's
def fit_closed_form(
    x: Float[Tensor, "N F D"],
    labels: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    draws: Int[np.ndarray, "P N"],
    kind: ClosedFormKind,
) -> tuple[Float[Tensor, "N F"], Float[Tensor, "P F"]]:
    """Out-of-fold decisions of probes on F heads (above 0: supported), and the accuracies (mean over folds) of probes
    fitted and tested on permuted labels.

    Features are standardised inside the training rows. In raw coordinates, with training covariance S, D = diag(S),
    difference of class means d, covariance of features and label b, and labels y in {0, 1}, the direction is

    - ridge: (S + a D)^-1 b, and the decision is the fitted label minus 1/2. For each held-out fold and draw of the
      labels, the penalty `a` is the one with the best accuracy on the next fold after training on the others; one for
      all heads, by a jury of 8 of them;
    - mass-mean: S^-1 d, the optimal probe for two Gaussians of one covariance (Marks and Tegmark 2023, Section 5, the
      form for in-distribution data; total and within-class covariance give the same direction);
    - centroid: D^-1 d, so that the class of the nearer mean wins (scikit-learn's NearestCentroid);

    and for the last two the boundary lies midway between the projected class means.
    """
    N, F, D = x.shape
    order = torch.from_numpy(np.argsort(fold, kind="stable"))
    folds = [slice(a, b) for a, b in pairwise([0, *np.cumsum(np.bincount(fold)).tolist()])]
    y = torch.from_numpy(np.concatenate([labels[None], draws])).T[order].to(torch.int8)  # N, 1 + P

    jury = _Block(x[:, :: max(1, F // _JURY)][:, :_JURY], order, folds, kind)
    penalties = torch.cat([jury.penalties(part) for part in torch.split(y, _DRAWS_AT_ONCE, dim=1)], dim=1)  # K, 1 + P
    decisions, null = torch.empty(N, F), torch.empty(len(draws), F)
    size = max(1, _BLOCK_BYTES // (4 * N * D))
    for heads in (slice(start, min(F, start + size)) for start in range(0, F, size)):
        block = _Block(x[:, heads], order, folds, kind)
        decisions[order, heads] = block.decisions(y[:, :1], penalties[:, :1])[..., 0].T.float()
        for start in range(1, y.shape[1], _DRAWS_AT_ONCE):
            drawn = slice(start, min(y.shape[1], start + _DRAWS_AT_ONCE))
            right = (block.decisions(y[:, drawn], penalties[:, drawn]) > 0) == (y[:, drawn] > 0)
            by_fold = torch.stack([right[:, rows].float().mean(1) for rows in folds])  # K F P
            null[drawn.start - 1 : drawn.stop - 1, heads] = by_fold.mean(0).T
    return decisions, null


class _Block:
    """Some heads' rows in the order of the folds, with the sums and Gram matrices of each fold."""

    def __init__(self, x: Float[Tensor, "N F D"], order: Int[Tensor, " N"], folds: list[slice], kind: str) -> None:
        self._kind, self._folds = kind, folds
        x = x.index_select(0, order).to(torch.float64 if kind == "mass-mean" else torch.float32)
        x -= x.mean(0)  # changes no result; keeps sums accurate
        self._x = x.transpose(0, 1)  # F N D
        self._sizes = torch.tensor([rows.stop - rows.start for rows in folds])
        self._sums = torch.stack([x[rows].sum(0) for rows in folds])  # K F D
        self._grams = x.new_empty(len(folds), *self._x.shape[::2], x.shape[2])  # K F D D
        for rows, gram in zip(folds, self._grams, strict=True):
            torch.matmul(self._x[:, rows].mT, self._x[:, rows], out=gram)
        self._factor = cache(self._factorise)

    def penalties(self, y: Int[Tensor, "N P"]) -> Float[Tensor, "K P"]:
        """The penalty for each held-out fold and draw, chosen on the next fold."""
        K = len(self._folds)
        if self._kind != "ridge" or K < 3:  # with two folds none is left to choose on
            return torch.full((K, y.shape[1]), _JITTER if self._kind == "mass-mean" else PENALTIES[1])
        totals = self._label_sums(y)
        chosen: list[Float[Tensor, " P"]] = []
        for k in range(K):
            inner = (k + 1) % K
            right: list[Int[Tensor, " P"]] = []  # how many decisions on that fold, over all heads, for each draw
            for penalty in PENALTIES:
                decisions = self._decide(inner, (k, inner), totals, torch.full((y.shape[1],), penalty))
                right.append(((decisions > 0) == (y[self._folds[inner]] > 0)).sum((0, 1)))
            chosen.append(torch.tensor(PENALTIES)[torch.stack(right).argmax(0)])
        return torch.stack(chosen)

    def decisions(self, y: Int[Tensor, "N P"], penalties: Float[Tensor, "K P"]) -> Float[Tensor, "F N P"]:
        """Out-of-fold decisions for every draw of the labels."""
        totals = self._label_sums(y)
        return torch.cat([self._decide(k, (k,), totals, penalties[k]) for k in range(len(self._folds))], dim=1)

    def _decide(
        self, tested: int, held_out: tuple[int, ...], totals: tuple[Tensor, Tensor], penalties: Float[Tensor, " P"]
    ) -> Float[Tensor, "F n P"]:
        direction, intercept = self._fit(held_out, totals, penalties)
        return self._x[:, self._folds[tested]] @ direction + intercept[:, None]

    def _label_sums(self, y: Int[Tensor, "N P"]) -> tuple[Float[Tensor, "K F D P"], Float[Tensor, "K P"]]:
        """Of each fold: the feature sums of class 1, and its size."""
        y = y.to(self._x.dtype)
        sums = torch.stack([self._x[:, rows].mT @ y[rows] for rows in self._folds])
        return sums, torch.stack([y[rows].sum(0) for rows in self._folds])

    def _fit(
        self, held_out: tuple[int, ...], totals: tuple[Tensor, Tensor], penalties: Float[Tensor, " P"]
    ) -> tuple[Float[Tensor, "F D P"], Float[Tensor, "F P"]]:
        """Directions and intercepts of probes trained without some folds."""
        training = [k for k in range(len(self._folds)) if k not in held_out]
        n, n_one = self._sizes[training].sum(), totals[1][training].sum(0)
        sum_one, total = totals[0][training].sum(0), self._sums[training].sum(0)[..., None]
        one, zero = sum_one / n_one, (total - sum_one) / (n - n_one)
        if self._kind == "centroid":
            direction = (one - zero) / self._covariance(held_out).diagonal(dim1=1, dim2=2)[..., None]
        else:
            direction = torch.empty_like(one)
            for penalty in np.unique(penalties.numpy()).tolist():
                drawn = penalties == penalty
                direction[..., drawn] = _solve(self._factor(held_out, penalty), (one - zero)[..., drawn])
        if self._kind == "ridge":
            share = n_one / n
            direction *= share * (1 - share)  # the covariance with the label is this times the difference of means
            return direction, share - 0.5 - (total / n * direction).sum(1)
        return direction, -((one + zero) / 2 * direction).sum(1)

    def _covariance(self, held_out: tuple[int, ...]) -> Float[Tensor, "F D D"]:
        """Covariance of the training rows; a constant feature gets variance 1, which leaves it without effect."""
        training = [k for k in range(len(self._folds)) if k not in held_out]
        n = int(self._sizes[training].sum())
        mean = self._sums[training].sum(0) / n
        gram = self._grams[training[0]] / n
        for k in training[1:]:
            gram.add_(self._grams[k], alpha=1 / n)
        covariance = gram.baddbmm_(mean[:, :, None], mean[:, None, :], alpha=-1)
        variance = covariance.diagonal(dim1=1, dim2=2)
        variance[variance <= 1e-12 * variance.amax(1, keepdim=True).clamp(min=1e-30)] = 1
        return covariance

    def _factorise(self, held_out: tuple[int, ...], penalty: float) -> Float[np.ndarray, "F D D"]:
        """Cholesky factors of S + penalty * diag(S), for `_solve`."""
        covariance = self._covariance(held_out)
        covariance.diagonal(dim1=1, dim2=2).mul_(1 + penalty)
        diagonal, matrices = covariance.diagonal(dim1=1, dim2=2).sqrt().numpy(), covariance.numpy()
        potrf = _lapack("potrf", matrices)
        for matrix, root in zip(matrices, diagonal, strict=True):
            # In place: the transpose of a symmetric row-major matrix is the column-major one that LAPACK wants.
            _, info = potrf(matrix.T, clean=0, overwrite_a=1)
            if info:  # singular to rounding: each feature by itself, as the centroid does
                matrix[...] = np.diag(root)
        return matrices


def _solve(factors: Float[np.ndarray, "F D D"], right: Float[Tensor, "F D P"]) -> Float[Tensor, "F D P"]:
    """Solves with each factor. LAPACK by hand, here and above: on many small matrices torch's batched Cholesky takes
    three times as long, most of it for copies and for clearing triangles that nobody reads."""
    potrs = _lapack("potrs", factors)
    solved = [potrs(factor.T, columns)[0] for factor, columns in zip(factors, right.numpy(), strict=True)]
    return torch.from_numpy(np.stack(solved))


def _lapack(name: str, matrices: np.ndarray) -> Callable[..., Any]:
    """The routine of LAPACK for numbers of this type; SciPy does not type it."""
    return cast("Callable[..., Any]", lapack.get_lapack_funcs(name, (matrices,)))
