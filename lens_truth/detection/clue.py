"""CLUE (Liang et al., arXiv 2510.01591): an answer is taken for right if what writing it has changed in the residual
stream lies nearer to the mean of right experiences than to that of wrong ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.stats.folds import check_labels


@dataclass(frozen=True)
class Clue:
    """The centroid of right and the one of wrong experiences (Section 3.2 of the paper).

    >>> clue = lens_truth.Clue.fit(ends.deltas, labels)
    >>> right = clue.score(other.deltas) > 0
    >>> to_right, to_wrong = clue.distances(other.deltas).T
    """

    right: Float[Tensor, "L M"]
    wrong: Float[Tensor, "L M"]

    @classmethod
    def fit(
        cls,
        deltas: Float[Tensor, "N L M"],
        labels: Int[np.ndarray, " N"],
        weights: Float[np.ndarray, " N"] | None = None,
    ) -> Clue:
        """From experiences, right (1) and wrong (0), each with a weight if they are not to count alike.

        Raises:
            InputError: if experiences are all right or all wrong, or have no weight.
        """
        check_labels(labels)
        weights = np.ones(len(labels)) if weights is None else weights
        means = list[Tensor]()
        for label in (1, 0):
            its = torch.from_numpy(weights * (labels == label)).to(deltas.device)
            if not float(its.sum()) > 0:
                raise InputError("all experiences of one label have weight 0, so they have no centroid")
            means.append(torch.einsum("n,nlm->lm", its / its.sum(), deltas.double()))
        return cls(means[0], means[1])

    def distances(self, deltas: Float[Tensor, "N L M"]) -> Float[np.ndarray, "N 2"]:
        """To the right and to the wrong centroid: Euclidean, averaged over layers."""
        found = [norms(deltas.double() - its).mean(-1) for its in (self.right, self.wrong)]
        return torch.stack(found, dim=1).cpu().numpy()

    def score(self, deltas: Float[Tensor, "N L M"]) -> Float[np.ndarray, " N"]:
        """How much nearer to the right centroid than to the wrong one; above 0: right."""
        to_right, to_wrong = self.distances(deltas).T
        return to_wrong - to_right


@stage("clue")
def held_out_distances(
    deltas: Float[Tensor, "N L M"],
    labels: Int[np.ndarray, "P N"],
    fold: Int[np.ndarray, " N"],
    weights: Float[np.ndarray, "K N"] | None = None,
) -> Float[np.ndarray, "P N 2"]:
    """Distances of each answer to the right and to the wrong centroid of the other folds, under each of P draws of the
    labels; NaN where a fold leaves no experience of a label. `weights` are those of experiences for each fold that is
    held out. Distances need the inner products of answers alone, so draws cost products of small matrices.

    >>> (distances,) = held_out_distances(ends.deltas, labels[None], fold)
    """
    P, N, K = len(labels), len(fold), int(fold.max()) + 1
    trained = (fold[None] != np.arange(K)[:, None]) * (1.0 if weights is None else weights)  # K N
    of_label = np.stack([labels == 1, labels == 0], axis=1)  # P 2 N
    mixes = (of_label[:, None] * trained[None, :, None]).reshape(P * K * 2, N)
    with np.errstate(invalid="ignore"):
        mixes = (mixes / mixes.sum(1, keepdims=True)).T
    row, its = np.arange(N)[:, None], (np.arange(P)[None] * K + fold[:, None]) * 2  # of each answer, its fold's mix
    total = np.zeros((2, N, P))
    for layer in deltas.unbind(1):
        x = layer.double()
        x = (x - x.mean(0)).cpu().numpy()  # no distance sees the mean
        gram = x @ x.T
        shared = gram @ mixes
        lengths = (mixes * shared).sum(0)
        for side in (0, 1):
            square = gram.diagonal()[:, None] - 2 * shared[row, its + side] + lengths[its + side]
            total[side] += np.sqrt(np.maximum(square, 0))
    return total.transpose(2, 1, 0) / deltas.shape[1]


def norms(vectors: Float[Tensor, "*any M"]) -> Float[Tensor, "*any"]:
    """Euclidean, of the last axis."""
    return vectors.square().sum(-1).sqrt()


def directions_of(deltas: Float[Tensor, "N L M"]) -> Float[Tensor, "N L M"]:
    """Deltas of length 1 in every layer: longer answers have longer deltas."""
    return deltas / norms(deltas)[..., None].clamp(min=1e-12)
