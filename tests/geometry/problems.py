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


def activations(z: np.ndarray, labels: np.ndarray, groups: list[str], **provenance: object) -> HeadActivations:
    about = {"model": "made up", "weights": "w", "template": "plain", **provenance}
    ids = tuple(str(i) for i in range(len(z)))
    return HeadActivations(torch.from_numpy(z).float(), torch.from_numpy(labels), tuple(groups), ids, about)


def kinds(n: int = 60, L: int = 1, H: int = 3, D: int = 8, seed: int = 0) -> dict[str, HeadActivations]:
    """Affirmative statements, their negations, and conjunctions of two: head 0 knows nothing, head 1 whether a
    statement without its "not" would be true, head 2 the truth."""
    rng = np.random.default_rng(seed)
    claim = rng.permutation(np.tile([1, 0], n // 2))
    groups = [f"city {i}" for i in range(n)]
    found: dict[str, HeadActivations] = {}
    for name, labels, content in (("cities", claim, claim), ("neg_cities", 1 - claim, claim)):
        z = rng.normal(size=(n, L, H, D))
        z[..., 0] += 3.0 * (name == "neg_cities")
        z[..., 1, 1] += 2.5 * (2 * content - 1)[:, None]
        z[..., 2, 2] += 2.5 * (2 * labels - 1)[:, None]
        found[name] = activations(z, labels, groups)
    both = claim & np.roll(claim, 1)
    z = rng.normal(size=(n, L, H, D))
    z[..., 1, 1] += 2.5 * (2 * both - 1)[:, None]
    z[..., 2, 2] += 2.5 * (2 * both - 1)[:, None]
    found["cities_conj"] = activations(z, both, groups)
    return found
