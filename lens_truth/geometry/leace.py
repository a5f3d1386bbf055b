"""LEACE (arXiv 2306.03819), by the package concept-erasure, from sums and Gram matrices; and other projections in its
place."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.geometry.probes import centred, covariance
from lens_truth.geometry.rows import Sums

_SMALLEST = 1e-7
"""What is left of a signal that has been erased is rounding, and no direction."""


def leace_projections(
    covariance: Float[Tensor, "B D D"], cross: Float[Tensor, "B D C"], n: Float[Tensor, " B"]
) -> Float[Tensor, "B D D"]:
    """For each covariance of features and their covariance with C concepts over n rows, the P for which P x has no
    covariance with any of them and is as near to x as can be (Theorem 4.3).

    As the package does by itself, with the covariance of features shrunk; but whatever their scale.

    >>> leace_projections(torch.cov(x.T)[None], cross[None], torch.tensor([len(x)]))
    """
    D, C = cross.shape[1:]
    found = torch.empty_like(covariance)
    smallest = torch.finfo(cross.dtype).tiny
    for i, (its, with_concepts, rows) in enumerate(zip(covariance, cross, n, strict=True)):
        # Of size 1 both, which changes no projection: the package takes covariances below svd_tol for none, and shrinks
        # to a multiple of the identity whatever varies by less than .01 or so (findings/leace-scale.sh).
        variance = its.diagonal().mean().clamp(min=smallest)
        size = max(float(length(with_concepts.flatten())), smallest)
        fitter = leace_fitter()(D, C, dtype=cross.dtype, svd_tol=1e-9)
        fitter.n = rows
        fitter.sigma_xx_, fitter.sigma_xz_ = its / variance * rows, with_concepts / size * (rows - 1)
        found[i] = fitter.eraser.P
    return found


@cache
def leace_fitter() -> Any:
    """The package's class, whose import takes as long as all the rest and brings a warning about what it brings along:
    `leace_fitter().fit(x, labels).eraser`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit
        from concept_erasure import LeaceFitter
    return LeaceFitter


def within(
    sums: Sums, which: list[int]
) -> tuple[Float[Tensor, "S H D D"], Float[Tensor, "S H D C"], Float[Tensor, " S"]]:
    """Of several domains together, each about its own mean: the covariance of features, that with the labels of each,
    and how many rows."""
    part = Sums(*(its[:, which] for its in sums))
    share = part.n / part.n.sum(1, keepdim=True)
    pooled = torch.einsum("st,sthde->shde", share, covariance(part))
    cross = centred(part)[1] / part.n.sum(1)[:, None, None, None]
    return pooled, cross.permute(0, 2, 3, 1), part.n.sum(1)


def random_projections(shape: tuple[int, int], rank: int, rng: np.random.Generator) -> Float[Tensor, "B D D"]:
    """As many as the first number of the shape: I - U U', the columns of U an orthonormal basis of a random space."""
    count, D = shape
    bases = np.linalg.qr(rng.standard_normal((count, D, rank)))[0]
    return torch.eye(D, dtype=torch.float64) - torch.from_numpy(bases @ bases.swapaxes(1, 2))


def length(of: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 1"]:
    """Of vectors, kept as an axis: `x / length(x)`."""
    return of.square().sum(-1, keepdim=True).sqrt()


def projected(sums: Sums, projections: Float[Tensor, "S T H D D"]) -> Sums:
    """The sums of P x in place of x, in which a signal that is rounding is none."""
    x, signed = (torch.einsum("sthde,sthe->sthd", projections, its) for its in (sums.x, sums.signed))
    grams = projections @ sums.grams @ projections.mT
    lean = sums.leaning[..., None, None]
    mean = x / sums.n[..., None, None]
    before, after = centred(sums)[1], signed - lean * mean
    gone = length(after) <= _SMALLEST * length(before)
    return Sums(sums.n, sums.leaning, x, torch.where(gone, lean * mean, signed), grams)
