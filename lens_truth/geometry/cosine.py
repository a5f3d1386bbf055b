"""How the directions of several domains lie to each other: their cosines, plain and Mahalanobis's, how well these
predict transfer, and how many dimensions they span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.cosine_result import Cosines, Prediction
from lens_truth.geometry.leace import length
from lens_truth.geometry.probes import covariance, probes
from lens_truth.geometry.rows import DomainRows, LayerRows, domain_rows
from lens_truth.geometry.transfer_result import Transfer
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.label_draws import ClosedFormKind
from lens_truth.scoring.metrics import aurocs

QUANTILES = (0.05, 0.5, 0.95)
_SMALLEST = 1e-300


def mahalanobis_cosine(
    a: Float[Tensor, "*B D"], b: Float[Tensor, "*B D"], covariance: Float[Tensor, "*B D D"]
) -> Float[Tensor, "*B"]:
    """a' S b / sqrt(a' S a b' S b), which is the correlation of the outputs x . a and x . b over rows x of covariance S
    (arXiv 2602.20273); NaN where an output is constant.

    >>> lens_truth.mahalanobis_cosine(one, other, torch.cov(x.T, correction=0))
    """
    a_s = (a[..., None, :] @ covariance)[..., 0, :]
    b_s = (b[..., None, :] @ covariance)[..., 0, :]
    size = ((a_s * a).sum(-1) * (b_s * b).sum(-1)).sqrt()
    return (a_s * b).sum(-1) / size.where(size > _SMALLEST, torch.nan)


@stage("cosines")
def direction_cosines(domains: Mapping[str, HeadActivations], transfer: Transfer, *, n_random: int = 200) -> Cosines:
    """The directions of all domains, each fitted to all rows of its domain, under the covariance of the domain that is
    tested (all of its rows).

    With the target's own direction b = S^-1 d (mass-mean) the Mahalanobis cosine of a with b is a' d / sqrt(a' S a d'
    S^-1 d): how far `a` moves the class means of the target apart in units of its spread, relative to the best that
    can be. So it knows the target's labels, and predicts the AUROC of any direction there, be it random: that is
    what the null is for.

    >>> cosines = lens_truth.direction_cosines(domains, transfer)
    >>> cosines.mahalanobis[0, 1], cosines.prediction["mahalanobis"].r2

    Args:
        transfer: of the same domains; its AUROCs are what is to be predicted, and with its estimator and seed
            directions are fitted and drawn. The head shown has the best mean AUROC in the domains' own rows.
        n_random: draws of random directions.
    """
    if n_random < 1:
        raise InputError(f"{n_random} random directions were asked for; at least 1 is needed")
    rows, kind = domain_rows(domains, transfer.n_folds, transfer.seed), cast("ClosedFormKind", transfer.estimator)
    M, (L, H, _) = len(rows.names), rows.shape
    plain, mahalanobis = np.empty((2, M, M, L, H))
    dimension = np.empty((L, H))
    for number in range(L):
        directions, covariances = _of_layer(rows.layer(number), kind)
        plain[:, :, number], mahalanobis[:, :, number] = _cosines(directions, directions, covariances)
        dimension[number] = effective_dimension(directions, covariances.mean(0)).numpy()
    own = transfer.auroc_of_heads[range(M), range(M)].mean(0)
    at = int(own.argmax()) // H, int(own.argmax()) % H
    auroc = transfer.auroc_of_heads[:M, :, at[0], at[1]]
    layer = rows.layer(at[0], [at[1]])
    directions, covariances = _of_layer(layer, kind)
    null = _null(rows, layer, directions, covariances, n_random)
    shown = {"mahalanobis": mahalanobis[:, :, at[0], at[1]], "plain": plain[:, :, at[0], at[1]]}
    every = {"mahalanobis": mahalanobis, "plain": plain}
    prediction = {
        name: Prediction(
            r2=r_squared(values, auroc),
            without_a_domain=_jackknife(values, auroc),
            r2_of_heads=_r2_of_heads(every[name], transfer.auroc_of_heads[:M]),
            random_probes={space: _quantiles(its[name]) for space, its in null.probes.items()},
            random_pairs={space: _quantiles(its[name]) for space, its in null.pairs.items()},
        )
        for name, values in shown.items()
    }
    return Cosines(
        names=rows.names,
        estimator=transfer.estimator,
        model=transfer.model,
        point=transfer.point,
        head=at,
        n_random=n_random,
        plain=shown["plain"],
        mahalanobis=shown["mahalanobis"],
        auroc=auroc,
        prediction=prediction,
        dimension=float(dimension[at]),
        dimension_of_heads=dimension,
        random_dimension=_quantiles(null.dimension),
    )


def _of_layer(layer: LayerRows, kind: ClosedFormKind) -> tuple[Float[Tensor, "M H D"], Float[Tensor, "M H D D"]]:
    """Directions and covariances of every domain, from all its rows."""
    total = layer.sums.total([()])
    return probes(total, kind).direction[0].double(), covariance(total)[0].double()


def _cosines(
    a: Float[Tensor, "M H D"], b: Float[Tensor, "M H D"], covariances: Float[Tensor, "M H D D"]
) -> tuple[Float[np.ndarray, "M M H"], Float[np.ndarray, "M M H"]]:
    """Of every a with every b, plain and under b's covariance."""
    M = len(a)
    one, other = a[:, None].expand(-1, M, -1, -1), b[None].expand(M, -1, -1, -1)
    plain = torch.cosine_similarity(one, other, dim=-1)
    return plain.numpy(), mahalanobis_cosine(one, other, covariances[None].expand(M, -1, -1, -1, -1)).numpy()


def effective_dimension(directions: Float[Tensor, "M H D"], within: Float[Tensor, "H D D"]) -> Float[Tensor, " H"]:
    """The participation ratio (sum e)^2 / sum e^2 of the eigenvalues e of the domains' unit directions, stacked, in
    coordinates in which the covariance is the identity: from 1 (one direction, whatever its sign) to their number.

    >>> effective_dimension(directions, covariances.mean(0))
    """
    gram = torch.einsum("mhd,hde,khe->hmk", directions, within, directions)
    size = gram.diagonal(dim1=1, dim2=2).clamp(min=_SMALLEST).sqrt()
    gram = gram / size[:, :, None] / size[:, None, :]
    return gram.diagonal(dim1=1, dim2=2).sum(1) ** 2 / gram.square().sum((1, 2))


def r_squared(x: Float[np.ndarray, "M M"], y: Float[np.ndarray, "M M"]) -> float:
    """Of a straight line through the cells off the diagonal; NaN where one of both does not vary."""
    off = ~np.eye(len(x), dtype=bool) & np.isfinite(x) & np.isfinite(y)
    if off.sum() < 3 or min(x[off].std(), y[off].std()) < 1e-12:
        return float("nan")
    return float(np.corrcoef(x[off], y[off])[0, 1] ** 2)


def _jackknife(x: Float[np.ndarray, "M M"], y: Float[np.ndarray, "M M"]) -> tuple[float, float]:
    """The lowest and the highest R2 without one of the domains; NaN where too few are left."""
    kept = [np.delete(np.arange(len(x)), m) for m in range(len(x))]
    found = [r_squared(x[np.ix_(its, its)], y[np.ix_(its, its)]) for its in kept]
    found = [r2 for r2 in found if np.isfinite(r2)] or [float("nan")]
    return min(found), max(found)


def _r2_of_heads(x: Float[np.ndarray, "M M L H"], y: Float[np.ndarray, "M M L H"]) -> Float[np.ndarray, "L H"]:
    L, H = x.shape[2:]
    return np.array([[r_squared(x[:, :, i, j], y[:, :, i, j]) for j in range(H)] for i in range(L)])


def _quantiles(values: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
    low, middle, high = (float(its) for its in np.nanquantile(values, QUANTILES))
    return low, middle, high


class _Null:
    """R2 of random directions by the space they were drawn in and by cosine, and their effective dimension."""

    def __init__(self, n: int) -> None:
        spaces, kinds = ("whitened", "raw"), ("mahalanobis", "plain")
        self.probes = {space: {kind: np.empty(n) for kind in kinds} for space in spaces}
        self.pairs = {space: {kind: np.empty(n) for kind in kinds} for space in spaces}
        self.dimension = np.empty(n)


def _null(
    rows: DomainRows,
    layer: LayerRows,
    directions: Float[Tensor, "M 1 D"],
    covariances: Float[Tensor, "M 1 D D"],
    n: int,
) -> _Null:
    """Of one head. Directions are isotropic in raw coordinates, or in those in which the mean of the domains'
    covariances is the identity, and as long there as the probes' own, one by one."""
    M, _, D = directions.shape
    rng, null = stream(rows.seed, Stream.RANDOM_DIRECTIONS), _Null(n)
    within = covariances.mean(0)[0]
    root, whiten = _roots(within)
    norms = {"whitened": length(directions[:, 0] @ root), "raw": length(directions[:, 0])}
    where = torch.from_numpy(rows.domain[layer.order])
    tested = [(layer.x[0, where == m].double(), layer.positive[where == m]) for m in range(M)]
    for i in range(n):
        for space, norm in norms.items():
            drawn = torch.from_numpy(rng.standard_normal((M, D)))
            drawn = drawn * (norm / length(drawn))
            if space == "whitened":
                drawn = drawn @ whiten
                null.dimension[i] = effective_dimension(drawn[:, None], within[None])
            auroc = torch.stack([aurocs(drawn @ x.T, positive) for x, positive in tested], dim=1).numpy()
            for found, others in ((null.probes, directions), (null.pairs, drawn[:, None])):
                plain, mahalanobis = _cosines(drawn[:, None], others, covariances)
                found[space]["plain"][i] = r_squared(plain[..., 0], auroc)
                found[space]["mahalanobis"][i] = r_squared(mahalanobis[..., 0], auroc)
    return null


def _roots(covariance: Float[Tensor, "D D"]) -> tuple[Float[Tensor, "D D"], Float[Tensor, "D D"]]:
    """Its symmetric root, and the inverse of that."""
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(covariance))
    sizes = values.clamp(min=float(values[-1]) * 1e-12)
    return (vectors * sizes**0.5) @ vectors.T, (vectors * sizes**-0.5) @ vectors.T
