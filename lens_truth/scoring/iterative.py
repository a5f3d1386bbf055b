"""Linear probes that are fitted by iteration: scikit-learn's logistic regression, and the paper's AdamW."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn import pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor


def logistic_decisions(
    x: Float[Tensor, "N F D"], y: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> Float[Tensor, "N F"]:
    """Out-of-fold decisions of scikit-learn's LogisticRegression (C = 1) on features standardised in the fold."""
    features = x.numpy().astype(np.float64)
    result = np.empty(features.shape[:2])
    for k in range(int(fold.max()) + 1):
        train, test = fold != k, fold == k
        for head in range(features.shape[1]):
            model = pipeline.make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            model.fit(features[train, head], y[train])
            result[test, head] = model.decision_function(features[test, head])
    return torch.from_numpy(result)


def adamw_decisions(
    x: Float[Tensor, "N F D"],
    y: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    *,
    epochs: int = 200,
    batch_size: int = 512,
) -> Float[Tensor, "N F"]:
    """Out-of-fold decisions of TruthProbe's recipe: raw features, zero start, AdamW (learning rate 1e-2, weight decay
    1e-3), 200 epochs over batches of 512 in the order of the rows.

    The loss is the mean over rows and heads, as in the reference code; heads stay independent, since AdamW divides
    each gradient by its own size. `x` must hold all heads at once for that mean to be the reference's.
    """
    x, target = x.float(), torch.from_numpy(y).float()
    result = x.new_empty(x.shape[:2])
    for k in range(int(fold.max()) + 1):
        train, test = torch.from_numpy(np.flatnonzero(fold != k)), torch.from_numpy(np.flatnonzero(fold == k))
        weight = x.new_zeros(x.shape[1:]).requires_grad_()
        bias = x.new_zeros(x.shape[1]).requires_grad_()
        optimizer = torch.optim.AdamW([weight, bias], lr=1e-2, weight_decay=1e-3)
        for _ in range(epochs):
            for rows in torch.split(train, batch_size):
                logits = (x[rows] * weight).sum(-1) + bias
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    logits, target[rows, None].expand_as(logits)
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            result[test] = (x[test] * weight).sum(-1) + bias
    return result
