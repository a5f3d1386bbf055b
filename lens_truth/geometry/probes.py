"""Probes in closed form from sums and Gram matrices: those of `lens_truth.scoring.closed_form`, for any sets of domains
and of folds held out."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.geometry.rows import LayerRows, Sums
from lens_truth.scoring.closed_form import PENALTIES
from lens_truth.scoring.label_draws import ClosedFormKind

_JITTER = 1e-6  # mass-mean's, as in scoring
_JURY = 8  # heads of a layer that choose the penalty, as in scoring
MIDDLE = PENALTIES[1]
"""The penalty where none is chosen."""


class Probes(NamedTuple):
    """Decisions are x . direction - boundary, above 0 for supported; x as in `LayerRows`."""

    direction: Float[Tensor, "S T H D"]
    boundary: Float[Tensor, "S T H"]

    def decide(self, s: int, x: Float[Tensor, "H n D"]) -> Float[Tensor, "H T n"]:
        """Of all probes that were trained without one set of folds."""
        return torch.baddbmm(-self.boundary[s].T[:, :, None], self.direction[s].transpose(0, 1), x.mT)


def probes(sums: Sums, kind: ClosedFormKind, penalty: Float[Tensor, "S T"] | float = MIDDLE) -> Probes:
    """Of every set of rows; the penalty is ridge's."""
    n, leaning = sums.n[..., None, None], sums.leaning[..., None, None]
    mean, apart = centred(sums)
    matrices = covariance(sums)
    variance = matrices.diagonal(dim1=-2, dim2=-1)
    # A constant feature gets variance 1, which leaves it without effect.
    variance.masked_fill_(variance <= 1e-12 * variance.amax(-1, keepdim=True).clamp(min=1e-30), 1)
    if kind == "centroid":
        direction = apart / variance
    else:
        more = torch.as_tensor(penalty if kind == "ridge" else _JITTER).to(variance)
        variance.mul_(1 + (more[..., None, None] if more.dim() else more))
        direction = _solved(matrices, apart)
    middle = (direction * mean).sum(-1)
    if kind == "ridge":  # the fitted label minus 1/2
        return Probes(direction / n, middle / n[..., 0] - (leaning / n)[..., 0])
    balance = n**2 / 4 - leaning**2  # labels 1 times labels 0
    between = (apart * direction).sum(-1) * (-leaning / balance)[..., 0]
    return Probes(direction * (n / balance), (middle + between) * (n / balance)[..., 0])


def _solved(matrices: Float[Tensor, "*B D D"], right: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """Of a matrix that is singular to rounding each feature counts by itself, as in scoring."""
    factors, info = cast("tuple[Tensor, Tensor]", torch.linalg.cholesky_ex(matrices))
    singular = (info > 0)[..., None]
    diagonal = matrices.diagonal(dim1=-2, dim2=-1)
    if singular.any():
        factors = torch.where(singular[..., None], torch.diag_embed(diagonal.sqrt()), factors)
    return torch.cholesky_solve(right[..., None], factors)[..., 0]


def centred(sums: Sums) -> tuple[Float[Tensor, "S T H D"], Float[Tensor, "S T H D"]]:
    """The means, and the sums of centred features times (label - 1/2)."""
    mean = sums.x / sums.n[..., None, None]
    return mean, sums.signed - sums.leaning[..., None, None] * mean


def covariance(sums: Sums) -> Float[Tensor, "S T H D D"]:
    """Of the features, labels not minded."""
    mean = sums.x / sums.n[..., None, None]
    return (sums.grams / sums.n[..., None, None, None]).sub_(mean[..., :, None] * mean[..., None, :])


def chosen_penalties(layer: LayerRows) -> Float[Tensor, "K M"]:
    """Ridge's penalty of each held-out fold and domain: the one with the best accuracy on the next fold after training
    on the others, over a jury of a layer's heads, as in scoring."""
    K, M = len(layer.at), len(layer.at[0])
    H = layer.x.shape[0]
    jury = torch.arange(H)[:: max(1, H // _JURY)][:_JURY]
    sums = Sums(*layer.sums[:2], *(part[:, :, jury] for part in layer.sums[2:]))
    total, x = sums.total([(k, (k + 1) % K) for k in range(K)]), layer.x[jury]
    right = torch.empty(len(PENALTIES), K, M)
    for a, penalty in enumerate(PENALTIES):
        found = probes(total, "ridge", penalty)
        for k in range(K):
            for m, rows in enumerate(layer.at[(k + 1) % K]):
                decisions = Probes(found.direction[:, m : m + 1], found.boundary[:, m : m + 1]).decide(k, x[:, rows])
                right[a, k, m] = ((decisions > 0) == layer.positive[rows]).sum()
    return torch.tensor(PENALTIES)[right.argmax(0)]
