"""Inverses of many small symmetric matrices at once, on any device."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_LEAF = 32  # width of matrices that are inverted by their Cholesky factors


def inverses(matrices: Float[Tensor, "*B D D"]) -> Float[Tensor, "*B D D"]:
    """Inverses of symmetric positive matrices. Of one that is singular to rounding each feature counts by itself: the
    inverse of its diagonal.

    By halves, so that nearly all of it is batched products: LAPACK's routines (in torch or SciPy) take three times as
    long for many small matrices, and on a GPU some of them go through the matrices one by one.
    """
    inverse, singular = _by_halves(matrices.flatten(0, -3))
    if singular.any():
        alone = torch.diag_embed(1 / matrices.flatten(0, -3)[singular].diagonal(dim1=1, dim2=2))
        inverse[singular] = alone
    return inverse.view(matrices.shape)


def _by_halves(a: Float[Tensor, "B D D"]) -> tuple[Float[Tensor, "B D D"], Bool[Tensor, " B"]]:
    """Inverses, and which are none: a pivot was not above 0."""
    width = a.shape[-1]
    if width <= _LEAF:
        factor, info = torch.linalg.cholesky_ex(a)
        root = torch.linalg.solve_triangular(factor, torch.eye(width, dtype=a.dtype, device=a.device), upper=False)
        return root.mT @ root, info > 0
    half = width // 2
    first, singular = _by_halves(a[:, :half, :half])
    across = first @ a[:, :half, half:]
    last, also = _by_halves(torch.baddbmm(a[:, half:, half:], a[:, half:, :half], across, alpha=-1))
    out = torch.empty_like(a)
    out[:, half:, half:] = last
    corner = torch.bmm(across, last)
    out[:, :half, :half] = torch.baddbmm(first, corner, across.mT)
    torch.neg(corner, out=corner)
    out[:, :half, half:], out[:, half:, :half] = corner, corner.mT
    return out, singular | also
