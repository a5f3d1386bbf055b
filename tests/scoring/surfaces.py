"""Examples whose answers tell their labels by a word, and activations in which heads know that word or the truth."""

from __future__ import annotations

import numpy as np
import torch

from lens_truth.data.examples import Example
from lens_truth.scoring.activations import HeadActivations

WORDS = ("indeed", "surely")


def examples(n: int = 300, told: float = 0.75, seed: int = 0) -> list[Example]:
    """Pairs of a right and a wrong answer to a question; the word of an answer tells its label in so many rows."""
    rng = np.random.default_rng(seed)
    found: list[Example] = []
    for i in range(n):
        label = 1 - i % 2
        word = WORDS[label if rng.random() < told else 1 - label]
        found.append(Example(f"e{i}", f"pair{i // 2}", f"which {i // 2}", f"{word} it", label))
    return found


def activations(rows: list[Example], H: int = 8, D: int = 4, signal: float = 1.0, seed: int = 0) -> HeadActivations:
    """Head 0.0 reads the truth, whatever the word; head 0.1 the word; the others nothing."""
    rng = np.random.default_rng(seed)
    labels = np.array([row.label for row in rows])
    word = np.array([row.answer.startswith(WORDS[1]) for row in rows])
    z = rng.normal(size=(len(rows), 2, H, D))
    z[:, 0, 0, 0] += signal * (2 * labels - 1)
    z[:, 0, 1, 0] += 4.0 * (2 * word - 1)
    groups, ids = tuple(row.group for row in rows), tuple(row.id for row in rows)
    return HeadActivations(torch.from_numpy(z).float(), torch.from_numpy(labels), groups, ids, {"weights": "w"})
