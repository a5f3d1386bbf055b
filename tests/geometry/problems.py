"""Statements, negations and what heads make of them, made up."""

from __future__ import annotations

import numpy as np
import torch

from lens_truth.scoring.activations import HeadActivations


def claims(n: int = 120, L: int = 2, H: int = 3, D: int = 6, seed: int = 0) -> HeadActivations:
    """Groups of a claim and its negation, the claim first; head 1.2 knows the truth of both, layer 0 nothing."""
    rng = np.random.default_rng(seed)
    labels = np.tile([1, 0], n)
    z = 0.5 * rng.normal(size=(2 * n, L, H, D)) + np.arange(D)
    z[:, 1, 2, 1] += 2.0 * (2 * labels - 1)
    return activations(z, labels, [f"claim {i // 2}" for i in range(2 * n)])


def activations(
    z: np.ndarray, labels: np.ndarray, groups: list[str], **provenance: object
) -> HeadActivations:
    about = {"model": "made up", "weights": "w", "template": "plain", **provenance}
    ids = tuple(str(i) for i in range(len(z)))
    return HeadActivations(torch.from_numpy(z).float(), torch.from_numpy(labels), tuple(groups), ids, about)
