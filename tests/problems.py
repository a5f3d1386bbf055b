"""Made activations with a known signal."""

from __future__ import annotations

import numpy as np
import torch

from lens_truth.scoring.activations import HeadActivations


def problem(n: int = 240, L: int = 2, H: int = 3, D: int = 8, signal: float = 0.6, seed: int = 0) -> HeadActivations:
    """Pairs of a right and a wrong answer; head (1, 2) knows the label best, layer 0 knows nothing."""
    rng = np.random.default_rng(seed)
    labels = np.tile([1, 0], n // 2)
    z = rng.normal(size=(n, L, H, D)) @ rng.normal(size=(D, D)) * np.geomspace(1, 100, D) + 30 * np.arange(D)
    for head in range(H):
        z[:, 1, head, 0] += signal * (head + 1) * labels
    return HeadActivations(
        torch.from_numpy(z).float(),
        torch.from_numpy(labels),
        tuple(f"pair{i // 2}" for i in range(n)),
        tuple(str(i) for i in range(n)),
        {"weights": "w", "examples": "e"},
    )
