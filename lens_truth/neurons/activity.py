"""`NeuronActivity`: how much every neuron contributes to answers, streamed to disk and read back lazily."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.scoring.activations import ActivationWriter, HeadActivations, rows_record

POINT = "cett"
"""What provenance says of where activations were read."""


@dataclass(frozen=True, eq=False)
class NeuronActivity:
    """Of N answers the contribution of every neuron of L layers (M: neurons of the widest), averaged over the answer's
    tokens.

    >>> activity = lens_truth.neuron_activity(model, replies)
    >>> activity.values[:, 5, 300]  # of neuron 300 of layer 5
    >>> activity.save("activity")
    >>> lens_truth.NeuronActivity.load("activity")
    """

    values: Float[Tensor, "N L M"]
    """CETT, float32: the share of a neuron's write in the length of the MLP's output."""
    labels: Int[Tensor, " N"]
    """1 = right, 0 = hallucinated."""
    groups: tuple[str, ...]
    """The group of every row, its question; groups are never split between folds."""
    ids: tuple[str, ...]
    """The id of every reply."""
    n_tokens: Int[np.ndarray, " N"]
    """Tokens of each answer."""
    provenance: dict[str, Any]
    """Model, weights, data and settings that it was captured with."""
    others: Float[Tensor, "N L M"] | None = None
    """The same, averaged over all other tokens of the prompt and the reply, where that was asked for."""

    def save(self, folder: str | Path) -> None:
        """Writes the folder that `load` reads, whole or not at all; one that holds others is refused (InputError)."""
        parts = [self.values] if self.others is None else [self.values, self.others]
        rows = record_of(self.labels.numpy().tolist(), self.groups, self.ids, self.n_tokens.tolist(), self.provenance)
        N, L, M = self.values.shape
        writer = ActivationWriter(Path(folder), (N, len(parts), L, M), rows)
        if not writer.complete:
            for row in range(N):
                writer.write([row], torch.stack([part[row : row + 1] for part in parts], dim=1))
            writer.finish()

    @classmethod
    def load(cls, folder: str | Path) -> NeuronActivity:
        """Activity whose array stays on disk until it is read.

        Raises:
            InputError: if the folder is missing, unfinished or damaged, or holds something else.
        """
        held = HeadActivations.load(folder)
        provenance = dict(held.provenance)
        n_tokens = provenance.pop("n_tokens", None)
        if provenance.get("point") != POINT or held.z.shape[1] not in (1, 2) or n_tokens is None:
            raise InputError(f"{folder}: holds what heads do, not the activity of neurons")
        others = held.z[:, 1] if held.z.shape[1] == 2 else None
        counted = np.asarray(n_tokens, dtype=np.int64)
        if counted.shape != (len(held.z),):
            raise InputError(
                f"{folder}: rows.json counts the tokens of {counted.size} answers, and {len(held.z)} are there"
            )
        return cls(held.z[:, 0], held.labels, held.groups, held.ids, counted, provenance, others)


def record_of(
    labels: list[int], groups: tuple[str, ...], ids: tuple[str, ...], n_tokens: list[int], provenance: dict[str, Any]
) -> dict[str, Any]:
    """What stands beside the array."""
    return rows_record(labels, groups, ids, {**provenance, "n_tokens": n_tokens})
