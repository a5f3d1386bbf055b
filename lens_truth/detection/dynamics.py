"""Layer-wise semantic dynamics (LSD; Mir, arXiv 2510.04933): how an answer's residual stream moves over the layers, and
how it is aligned with an embedding of the true statement, which is not known where an answer is to be verified.

The paper embeds the truth with a sentence encoder and learns projections of both; here the model itself reads the true
statement, and both are compared layer by layer, about their means over all rows. So nothing is learnt from labels but a
logistic regression on a few numbers a row."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn import model_selection, pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lens_truth.detection.clue import norms
from lens_truth.io.stages import stage


def alignment(states: Float[Tensor, "N L M"], towards: Float[Tensor, "N L M"]) -> Float[np.ndarray, "N L"]:
    """The cosine, layer by layer, of each state about the mean of all with the direction given for it."""
    one = states.double() - states.double().mean(0)
    return torch.nn.functional.cosine_similarity(one, towards.double(), dim=-1).cpu().numpy()


def alignment_features(aligned: Float[np.ndarray, "N L"]) -> Float[np.ndarray, "N 4"]:
    """Final, mean and highest alignment, and how much it rises over the layers (its slope); Section 3 of the paper."""
    depth = np.linspace(-1, 1, aligned.shape[1])
    slope = aligned @ depth / max(1e-12, float(depth @ depth))
    return np.stack([aligned[:, -1], aligned.mean(1), aligned.max(1), slope], axis=1)


def motion_features(states: Float[Tensor, "N L M"]) -> Float[np.ndarray, "N 4"]:
    """Mean and spread of the steps from layer to layer, as shares of the state's length (velocity), and of the cosine
    of successive steps (the less, the more the trajectory turns): what needs no truth."""
    x = states.double()
    steps: Tensor = x.diff(dim=1)
    velocity: Tensor = norms(steps) / norms(x[:, :-1]).clamp(min=1e-12)
    turns = torch.nn.functional.cosine_similarity(steps[:, :-1], steps[:, 1:], dim=-1)
    both = [velocity, turns] if turns.shape[1] else [velocity, velocity]
    parts = [part for its in both for part in (its.mean(1), its.std(1, correction=0))]
    return torch.stack(parts, dim=1).cpu().numpy()


@stage("dynamics")
def held_out_by_features(
    features: Float[np.ndarray, "N F"], labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Out-of-fold decisions of scikit-learn's logistic regression (C = 1) on standardised features."""
    model = pipeline.make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    decide = cast("Any", model_selection.cross_val_predict)
    return decide(model, features, labels, cv=model_selection.PredefinedSplit(fold), method="decision_function")


def towards_truths(truths: Float[Tensor, "N L M"]) -> Float[Tensor, "N L M"]:
    """From the mean of all true statements to each row's own, which at test time nobody knows."""
    return truths - truths.mean(0)


def towards_known(
    states: Float[Tensor, "N L M"], truths: Float[Tensor, "N L M"], fold: Int[np.ndarray, " N"]
) -> Float[Tensor, "N L M"]:
    """From the mean state to the mean of the true statements of the other folds: what is known at test time."""
    found = torch.empty_like(truths)
    for k in range(int(fold.max()) + 1):
        held_out = torch.from_numpy(fold == k)
        found[held_out] = truths[~held_out].mean(0) - states[~held_out].mean(0)
    return found
