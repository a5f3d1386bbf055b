"""Polar consistency and the contradiction index of PA-CCS (Sadiekh, Ericheva and Agarwal 2025, arXiv 2511.21737)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.io.streams import Stream, stream


class Polar(NamedTuple):
    """Means over pairs of opposite statements, for every head, and what partners drawn at random give."""

    consistency: Float[Tensor, " F"]
    contradiction: Float[Tensor, " F"]
    null_consistency: Float[Tensor, "B F"]
    null_contradiction: Float[Tensor, "B F"]


def polar_consistency(
    yes: Float[Tensor, "..."], no: Float[Tensor, "..."], other_yes: Float[Tensor, "..."], other_no: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """PC = ((p(A, yes) - p(B, no))^2 + (p(A, no) - p(B, yes))^2) / 2
    * sign(p(A, yes) - p(B, yes)) * sign(p(B, no) - p(A, no)), for a statement A and B, which contradicts it.

    0 where asserting the one is as probable as denying the other: of a probe that knows the truth, but also of one that
    says .5 to everything, which is why it is told beside the contradiction index. Below 0 the two answers disagree on
    which of A and B is the true one.

    >>> polar_consistency(*torch.tensor([0.9, 0.1, 0.2, 0.8]))  # 0.01
    """
    apart = ((yes - other_no) ** 2 + (no - other_yes) ** 2) / 2
    return apart * torch.sign(yes - other_yes) * torch.sign(other_no - no)


def contradiction_index(
    yes: Float[Tensor, "..."], no: Float[Tensor, "..."], other_yes: Float[Tensor, "..."], other_no: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """CI = p(A, yes) p(B, yes) + p(A, no) p(B, no): how far a probe affirms, and denies, both of two statements that
    contradict each other. 0 of a probe that knows the truth, .5 of one that says .5 to everything, at most 2.

    >>> contradiction_index(*torch.tensor([0.9, 0.1, 0.2, 0.8]))  # 0.26
    """
    return yes * other_yes + no * other_no


def polar(
    p: Float[Tensor, "2 P F"],
    partner: Int[Tensor, " P"],
    fold: Int[Tensor, " P"],
    labels: Int[Tensor, " P"],
    n_draws: int,
    seed: int,
) -> Polar:
    """Of the probabilities of both answers (yes, no) to P statements. One probe gives all four of a pair, since a pair
    is held out together; published code (`train_half_ccs_on_hidden_states`) trains a probe on either half of the
    statements, and then reads both halves' answers from the first probe.

    The null pairs the first statement of each pair with the second one of another pair that was held out with it, so
    that whether the two contradict each other is left to chance, but negations stay negations: a probe that answers by
    whether there is a *not* never contradicts itself either, and must not pass for one that knows the truth. Only where
    the first statements are all true, or all false, sides tell the truth, and are mixed.
    """
    here = torch.arange(len(partner)) < partner
    rows, others = torch.arange(len(partner))[here], partner[here]
    mixed = bool((labels[rows] == labels[rows[0]]).all())
    of_fold = [(fold[rows] == k).nonzero()[:, 0] for k in range(int(fold.max()) + 1)]
    rng = stream(seed, Stream.SHUFFLED_PARTNERS, 0)
    found = [_means(p, rows, others)]
    for _ in range(n_draws):
        turned = torch.from_numpy(rng.random(len(rows)) < 0.5) & mixed
        one, other = torch.where(turned, others, rows), torch.where(turned, rows, others)
        drawn = other.clone()
        for its in of_fold:
            drawn[its] = other[its[torch.from_numpy(rng.permutation(len(its)))]]
        found.append(_means(p, one, drawn))
    consistency, contradiction = (torch.stack(part) for part in zip(*found, strict=True))
    return Polar(consistency[0], contradiction[0], consistency[1:], contradiction[1:])


def _means(
    p: Float[Tensor, "2 P F"], rows: Int[Tensor, " Q"], others: Int[Tensor, " Q"]
) -> tuple[Float[Tensor, " F"], Float[Tensor, " F"]]:
    four = (*p[:, rows], *p[:, others])
    return polar_consistency(*four).mean(0), contradiction_index(*four).mean(0)
