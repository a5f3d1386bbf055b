"""Linear probes that are fitted by iteration: scikit-learn's logistic regression, and TruthProbe's AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

Fit = Callable[
    [Float[Tensor, "N F D"], Int[np.ndarray, " N"], Bool[np.ndarray, " N"]],
    tuple[Float[Tensor, "F D"], Float[Tensor, " F"]],
]
"""From features, labels and which rows to train on to directions and intercepts in raw coordinates."""


def held_out_by(
    fit: Fit, x: Float[Tensor, "N F D"], y: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> Float[Tensor, "N F"]:
    """The decision on every row of the probe that was fitted without its fold."""
    result: Tensor | None = None
    for k in range(int(fold.max()) + 1):
        direction, intercept = fit(x, y, fold != k)
        result = direction.new_empty(x.shape[:2]) if result is None else result
        test = torch.from_numpy(np.flatnonzero(fold == k)).to(x.device)
        result[test] = (x[test].to(direction) * direction).sum(-1) + intercept
    assert result is not None  # there are two folds or more
    return result


def logistic_probes(
    x: Float[Tensor, "N F D"], y: Int[np.ndarray, " N"], train: Bool[np.ndarray, " N"]
) -> tuple[Float[Tensor, "F D"], Float[Tensor, " F"]]:
    """scikit-learn's LogisticRegression (C = 1) on features standardised over the training rows; float64."""
    features = x.numpy()[train].astype(np.float64)
    directions, intercepts = np.empty(features.shape[1:]), np.empty(features.shape[1])
    for head in range(features.shape[1]):
        scaler: Any = StandardScaler().fit(features[:, head])
        model: Any = LogisticRegression(max_iter=1000)
        model.fit(scaler.transform(features[:, head]), y[train])
        directions[head] = model.coef_[0] / scaler.scale_
        intercepts[head] = model.intercept_[0] - directions[head] @ scaler.mean_
    return torch.from_numpy(directions), torch.from_numpy(intercepts)


def adamw_probes(
    x: Float[Tensor, "N F D"], y: Int[np.ndarray, " N"], train: Bool[np.ndarray, " N"]
) -> tuple[Float[Tensor, "F D"], Float[Tensor, " F"]]:
    """TruthProbe's recipe: raw features, zero start, AdamW (learning rate 1e-2, weight decay 1e-3), 200 epochs over
    batches of 512 in the order of the rows.

    The loss is the mean over rows and heads, as in the reference code; heads stay independent, since AdamW divides
    each gradient by its own size. `x` must hold all heads at once for that mean to be the reference's.
    """
    x, target = x.float(), torch.from_numpy(y).to(x.device).float()
    shown = torch.from_numpy(np.flatnonzero(train)).to(x.device)
    weight = x.new_zeros(x.shape[1:]).requires_grad_()
    bias = x.new_zeros(x.shape[1]).requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=1e-2, weight_decay=1e-3)
    for _ in range(200):
        for rows in torch.split(shown, 512):
            logits = (x[rows] * weight).sum(-1) + bias
            wanted = target[rows, None].expand_as(logits)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return weight.detach(), bias.detach()


ITERATIVE: dict[str, Fit] = {"logistic": logistic_probes, "adamw": adamw_probes}
