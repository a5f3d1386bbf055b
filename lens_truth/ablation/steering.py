"""Shifts along directions of truth in an ablation: the search for their size, and the controls they have to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.ablation.rows import ON
from lens_truth.gates.rows import Intervention
from lens_truth.gates.shift import HeadShift
from lens_truth.io.numbers import count
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.directions import TruthDirections, best_heads
from lens_truth.scoring.scores import HeadScores

if TYPE_CHECKING:
    from lens_truth.ablation.search import Found, Tried, Validation

ALPHAS = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
"""How many standard deviations are tried; the last is ITI's."""
SHARES = (48 / 1024, 192 / 1024)
"""Shares of the heads: ITI's, and four times as many. So a shift has as many candidates as a gate by scores."""
Heads = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Steering:
    """Directions and an order of the heads, the first to be shifted first."""

    directions: TruthDirections
    order: Heads

    @classmethod
    def of(cls, directions: TruthDirections) -> Steering:
        """By the accuracy of the probes."""
        return cls(directions, directions.best(directions.accuracy.numel()))

    def by(self, scores: HeadScores) -> Steering:
        """The same directions, with heads in the order of other scores."""
        return replace(self, order=best_heads(scores.values, scores.values.size))

    def shifted(self, alpha: float, n: int) -> HeadShift:
        """The first `n` heads."""
        return HeadShift.from_probes(self.directions, alpha, self.order[:n])


def search_shift(validation: Validation, steering: Steering) -> Found[Intervention]:
    """How many heads, and by how many standard deviations."""
    return validation.tried(shifts_along(steering))


def shifts_along(steering: Steering) -> list[Tried]:
    """All candidates of a shift."""
    n_heads = steering.directions.accuracy.numel()
    sizes = dict.fromkeys(max(1, round(share * n_heads)) for share in SHARES)
    name = "layer" if steering.directions.point == "resid_post" else "head"
    return [(steering.shifted(alpha, n), alpha, f"{ON}{count(n, name)}") for n in sizes for alpha in ALPHAS]


def random_heads(directions: TruthDirections, shift: HeadShift, seed: int) -> HeadShift:
    """As many heads as a shift has, drawn from all, each along its own direction of truth."""
    L, H, _ = directions.directions.shape
    n = len(shift.provenance["heads"])
    drawn = stream(seed, Stream.STEERED_HEADS).choice(L * H, size=n, replace=False).tolist()
    return HeadShift.from_probes(directions, shift.provenance["alpha"], [(at // H, at % H) for at in drawn])


def random_directions(directions: TruthDirections, seed: int) -> TruthDirections:
    """Directions of length 1 drawn at random, with the lengths that shifts along the others have: the same sigma."""
    shape = tuple(directions.directions.shape)
    drawn = torch.from_numpy(stream(seed, Stream.STEERED_DIRECTIONS).normal(size=shape)).float()
    drawn = drawn * _there(directions.directions)
    length = cast("Tensor", drawn.norm(dim=-1, keepdim=True))
    unit = drawn / length.clamp(min=torch.finfo(torch.float32).tiny)
    return replace(directions, directions=unit, provenance={**directions.provenance, "direction": "random"})


def _there(directions: Float[Tensor, "L H D"]) -> Float[Tensor, "L 1 D"]:
    """1 where heads of a layer have numbers: narrower ones are filled up with zeros, which no probe sees."""
    return directions.ne(0).any(1, keepdim=True).float()
