"""Inverses of many small symmetric matrices at once, on any device."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_LEAF = 32  # width of matrices whose Cholesky factor is left to LAPACK


def inverses(matrices: Float[Tensor, "*B D D"]) -> Float[Tensor, "*B D D"]:
    """Inverses of symmetric positive matrices. Of one that is singular to rounding each feature counts by itself: the
    inverse of its diagonal.

    Cholesky's, but by halves, so that nearly all of it is batched products: for many small matrices LAPACK's routines
    take three times as long, and on a GPU some of them go through the matrices one by one.
    """
    flat = matrices.flatten(0, -3)
    root, singular = _inverse_factors(flat)
    inverse = torch.bmm(root.mT, root)
    if singular.any():
        inverse[singular] = torch.diag_embed(1 / flat[singular].diagonal(dim1=1, dim2=2))
    return inverse.view(matrices.shape)


def _inverse_factors(a: Float[Tensor, "B D D"]) -> tuple[Float[Tensor, "B D D"], Bool[Tensor, " B"]]:
    """Inverses of the lower Cholesky factors, and which are none: a pivot was not above 0."""
    width = a.shape[-1]
    if width <= _LEAF:
        factor, info = cast("tuple[Tensor, Tensor]", torch.linalg.cholesky_ex(a))
        one = torch.eye(width, dtype=a.dtype, device=a.device)
        return cast("Tensor", torch.linalg.solve_triangular(factor, one, upper=False)), info > 0
    half = width // 2
    first, singular = _inverse_factors(a[:, :half, :half])
    below = torch.bmm(a[:, half:, :half], first.mT)  # of the factor
    last, also = _inverse_factors(torch.baddbmm(a[:, half:, half:], below, below.mT, alpha=-1))
    root = torch.zeros_like(a)
    root[:, :half, :half], root[:, half:, half:] = first, last
    torch.bmm(torch.bmm(last, below), first, out=root[:, half:, :half]).neg_()
    return root, singular | also
