"""Made activations of several domains with directions that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lens_truth.scoring.activations import HeadActivations


def made(
    direction: np.ndarray, n: int = 200, seed: int = 0, *, mixing: np.ndarray | None = None, prefix: str | None = None
) -> HeadActivations:
    """Pairs of a right and a wrong row, each a group; the label moves features [L, H, D] along the direction."""
    L, H, D = direction.shape
    rng = np.random.default_rng([7, seed])
    labels = np.tile([1, 0], n // 2)
    z = rng.normal(size=(n, L, H, D)) @ (np.eye(D) if mixing is None else mixing)
    z += (labels[:, None, None, None] - 0.5) * direction + 3 * rng.normal(size=(L, H, D))
    prefix = f"{seed}-" if prefix is None else prefix
    return HeadActivations(
        torch.from_numpy(z).float(),
        torch.from_numpy(labels),
        tuple(f"{prefix}{i // 2}" for i in range(n)),
        tuple(f"{seed}-{i}" for i in range(n)),
        {"weights": "w", "model": "made", "template": "plain"},
    )


def three(strength: float = 1.0, n: int = 200) -> dict[str, HeadActivations]:
    """Two domains that share a direction, and one in which it is another, mixed differently; head (1, 2) knows best."""
    rng = np.random.default_rng(3)
    L, H, D = 2, 3, 6
    one, other = rng.normal(size=(2, L, H, D))
    size = strength * np.array([[0, 0, 0], [0.3, 0.6, 1.2]])[..., None]
    mixing = np.eye(D) + 0.4 * rng.normal(size=(D, D))
    return {
        "first": made(size * one, n, 0),
        "second": made(size * one, n, 1, mixing=mixing),
        "third": made(size * other, n, 2),
    }


def relabelled(activations: HeadActivations, labels: np.ndarray) -> HeadActivations:
    """The same with other labels."""
    return replace(activations, labels=torch.from_numpy(labels))
