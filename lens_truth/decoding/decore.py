"""`DeCoRe`: what the model says against what it says when heads that copy from the context are silent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from lens_truth.decoding.contrast import Contrast
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.hooks import Hooked, check_heads, grid_of
from lens_truth.scoring.directions import best_heads
from lens_truth.scoring.scores import HeadScores


@dataclass(frozen=True, eq=False)
class DeCoRe(Contrast):
    """Decoding by contrasting retrieval heads (Gema et al. 2024, arXiv 2410.18860, Section 2): in the second pass some
    heads write nothing, and the contrast weighs the more the less sure the model is.

    >>> heads = lens_truth.HeadScores.load("retrieval.json")
    >>> lens_truth.DeCoRe.from_scores(heads, n=10)
    >>> lens_truth.DeCoRe(1.0, heads=[(3, 5), (7, 0)])
    """

    strength: float = 1.0
    heads: Sequence[tuple[int, int]] = ()
    """Layer and head of those that are silent."""
    by_entropy: bool = field(default=True, kw_only=True)

    @classmethod
    def from_scores(cls, scores: HeadScores, n: int = 10, strength: float = 1.0) -> DeCoRe:
        """With the `n` heads that have the highest scores.

        Raises:
            InputError: if there are not so many.
        """
        return cls(strength, best_heads(scores.values, n))

    @property
    def its_own(self) -> str:
        """See `Contrast.its_own`."""
        return repr([list(head) for head in self.heads])

    def check(self, model: Hooked) -> None:
        """See `Decoder.check`."""
        super().check(model)
        check_heads(grid_of(model), self.heads)
        if not self.heads and self.strength:
            raise InputError("DeCoRe needs heads that are silent in its second pass")

    def second(self, model: Hooked) -> AbstractContextManager[Any]:
        """See `Contrast.second`."""
        silent = torch.ones(*grid_of(model))
        for layer, head in self.heads:
            silent[layer, head] = 0
        return HeadGate(silent).attach(model)

    def second_rows(self, rows: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        """The same prompts."""
        return list(rows)
