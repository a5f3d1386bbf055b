"""The probes of some layers, fitted without some folds; and what each fold's own decisions are."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.scoring.closed_form import closed_form_probes
from lens_truth.scoring.iterative import ITERATIVE
from lens_truth.scoring.label_draws import LabelDraws
from lens_truth.scoring.probing import Estimator


def fitted_probes(
    x: Float[Tensor, "N l H D"],
    labels: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    estimator: Estimator,
    held_out: list[tuple[int, ...]],
) -> tuple[Float[Tensor, "D F"], Float[Tensor, " F"], Float[Tensor, " F"], Float[Tensor, "n F"]]:
    """Directions, intercepts and sigma without the first set of folds; and for all other folds the decisions on them
    while they are held out too."""
    flat = x.flatten(1, 2)
    if estimator == "logistic" or estimator == "adamw":
        fits = [ITERATIVE[estimator](flat, labels, ~np.isin(fold, out)) for out in held_out]
        directions, intercepts = (torch.stack(part).double() for part in zip(*fits, strict=True))
    else:
        none = np.empty((0, len(labels)), dtype=np.int64)
        given = LabelDraws(labels, none, fold, estimator, x.device)
        directions, intercepts = closed_form_probes(x, given, estimator, held_out)
    kept = ~np.isin(fold, held_out[0])
    decisions = flat.new_empty(len(fold), flat.shape[1])
    for out, direction, intercept in zip(held_out[1:], directions[1:], intercepts[1:], strict=True):
        rows = torch.from_numpy(np.flatnonzero(fold == out[-1])).to(x.device)
        decisions[rows] = torch.einsum("nfd,fd->nf", flat[rows], direction.to(flat)) + intercept.to(flat)
    kept_rows = torch.from_numpy(np.flatnonzero(kept)).to(x.device)
    length = cast("Tensor", directions[0].norm(dim=1))
    unit = directions[0] / length.clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    sigma = torch.einsum("nfd,fd->nf", flat[kept_rows], unit.to(flat)).std(0, correction=0)
    return directions[0].T, intercepts[0], sigma, decisions[kept_rows]
