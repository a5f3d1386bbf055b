"""Causal head gating: gates between 0 and 1 fitted twice, drawn to 1 and drawn to 0, and what that says of heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.optim import Adam

from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.budget import Budget
from lens_truth.models.hooks import Hooked, grid_of
from lens_truth.models.prompts import Template
from lens_truth.models.provenance import provenance_of
from lens_truth.scoring.learned import AnswerRows, Descent, kept_fit
from lens_truth.scoring.scores import HeadScores

ROLES = ("facilitating", "irrelevant", "interfering")
_CLAMP = 4.0
"""Logits go no further than this. The published code clamps them in its penalty alone: one that the first fit has
driven further is not drawn at all, and its gate has no slope left either, so how it begins decides its role."""
_LONGEST = 1.0
"""Slopes are cut to this length."""
_EDGE = 1e-6


@dataclass(frozen=True)
class Gating:
    """How long and how hard gates are drawn; what differs from the published code's 500 updates of 32 rows, 10 masks.

    >>> lens_truth.head_roles(model, examples, gating=lens_truth.Gating(steps=200, starts=5))
    """

    steps: int = 60
    """Of Adam, of each of three fits (without a penalty, drawn to 1, drawn to 0), each over eight questions."""
    pull: float = 0.1
    """The penalty's weight on the mean logit, beside the mean log-probability of an answer's token."""
    rate: float = 1.0
    """Adam's, for logits."""
    starts: int = 3
    """Fits from other beginnings; a head's gates are the means over them."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.starts < 1:
            raise InputError(
                f"causal head gating was to take {self.steps} steps from {self.starts} starts; at least 1 of each is "
                "needed"
            )
        if not (0 <= self.pull < math.inf and 0 < self.rate < math.inf):
            raise InputError(
                f"causal head gating has pull {self.pull} and rate {self.rate}; both must be finite, the pull 0 or "
                "more, the rate above 0"
            )


@dataclass(frozen=True, eq=False)
class HeadRoles:
    """Every head's gate when gates are drawn to 1, and when they are drawn to 0.

    >>> roles = lens_truth.head_roles(model, lens_truth.load_examples("zoo:conflict", limit=100))
    >>> roles.heads("facilitating").sum(), roles.heads("interfering").sum()
    >>> lens_truth.HeadRoles(roles.kept[:1], roles.held[:1])  # of the first start alone
    """

    kept: Float[np.ndarray, "S L H"]
    """G+, of each start: what is let go although gates are drawn to 1 stands in the answer's way."""
    held: Float[np.ndarray, "S L H"]
    """G-: what is held although gates are drawn to 0 is what the answer rests on."""
    gating: Gating = field(default_factory=Gating)

    def heads(self, role: str) -> Bool[np.ndarray, "L H"]:
        """Which heads have a role: `facilitating`, G+ and G- at least 1/2; `irrelevant`, G+ alone; `interfering`, not
        G+ (means over starts). Published code (nam-causal-head-gating) calls heads without either irrelevant, and those
        with G- alone interfering.

        >>> roles.heads("irrelevant")
        """
        if role not in ROLES:
            raise InputError(f"the role '{role}' is not one of {', '.join(ROLES)}")
        kept, held = (its.mean(0) >= 0.5 for its in (self.kept, self.held))
        found = {"facilitating": kept & held, "irrelevant": kept & ~held, "interfering": ~kept}
        return found[role]

    def agreement(self, role: str) -> float:
        """How alike the heads of a role are between two starts: heads that have it from both, as a share of those that
        have it from either (mean over pairs of starts); NaN if there is one start.

        >>> roles.agreement("facilitating")
        """
        each = [HeadRoles(kept[None], held[None]).heads(role) for kept, held in zip(self.kept, self.held, strict=True)]
        pairs = [(one, other) for i, one in enumerate(each) for other in each[i + 1 :]]
        shares = [(one & other).sum() / max(1, (one | other).sum()) for one, other in pairs]
        return float(np.mean(shares)) if shares else float("nan")


@stage("head roles")
def head_roles(
    model: Hooked,
    examples: Sequence[Example],
    *,
    gating: Gating | None = None,
    template: Template = "plain",
    batch_size: int | None = None,
    seed: int = 0,
    keep: Path | None = None,
    progress: bool = False,
) -> HeadRoles:
    """Causal head gating (Nam et al. 2025, arXiv 2505.13737): gates sigmoid(x) begin at random between 0 and 1 and are
    fitted to the log-probability of the supported answers, per token; then twice more from there, with a penalty that
    draws the mean logit up and one that draws it down. No logit goes beyond 4 (a gate of .98) or below -4.

    >>> roles = lens_truth.head_roles(model, lens_truth.load_examples("zoo:conflict", limit=100))

    Args:
        gating: how long, how hard, from how many starts.
        keep: a folder in which fits are kept, and from which those of the same model, examples and settings are taken.

    Raises:
        InputError: if no question has answers of both labels, or an answer is empty or would be cut off.
    """
    gating = gating or Gating()
    kept, held = list[np.ndarray](), list[np.ndarray]()
    for start in range(gating.starts):

        def fit(start: int = start) -> HeadScores:
            rows = AnswerRows.likelihoods(model, examples, template)
            drawn = stream(seed, Stream.GATE_SWITCHES, start).uniform(_EDGE, 1 - _EDGE, grid_of(model))
            begin = torch.from_numpy(drawn).float().logit()
            budget = Budget.of(model, batch_size, backward=True)
            free = _fitted(rows, budget, begin, gating, 0, 1000 * seed + start, progress)
            both = [_fitted(rows, budget, free, gating, way, 1000 * seed + start, progress) for way in (1, -1)]
            up, down = (its.sigmoid().double().numpy() for its in both)
            metrics = {"kept": up, "held": down, "free": free.sigmoid().double().numpy()}
            return HeadScores(down, "facilitating", metrics, provenance=provenance_of(model, examples, template))

        settings = {**asdict(gating), "starts": start, "clamp": _CLAMP}
        found = kept_fit(keep, (model, examples, template, "roles", settings, seed), fit)
        kept.append(found.metrics["kept"])
        held.append(found.metrics["held"])
    return HeadRoles(np.stack(kept), np.stack(held), gating)


def _fitted(
    rows: AnswerRows, budget: Budget, begin: Tensor, gating: Gating, way: int, seed: int, progress: bool
) -> Float[Tensor, "L H"]:
    """Logits, from where they begin; drawn up (1), down (-1) or not at all."""
    numbers = _Drawn(begin, way * gating.pull, gating.rate)
    Descent(rows, budget, seed).run(numbers, lambda its: -its, gating.steps, clip=_LONGEST, progress=progress)
    return numbers.logits.detach()


class _Drawn:
    """Logits, drawn up or down (`Fitted`)."""

    def __init__(self, begin: Float[Tensor, "L H"], pull: float, rate: float) -> None:
        self.logits, self._pull, self._rate = begin.clamp(-_CLAMP, _CLAMP).requires_grad_(), pull, rate

    def optimizer(self) -> Adam:
        """Of logits."""
        return Adam([self.logits], lr=self._rate)

    def gate(self, noise: np.random.Generator | None) -> Float[Tensor, "L H"]:
        """Between 0 and 1."""
        return self.logits.sigmoid()

    def regularise(self) -> None:
        """The same for every logit."""
        self.logits.grad = torch.full_like(self.logits, -self._pull / self.logits.numel())

    def settle(self, optimizer: Adam) -> None:
        """Back to where the penalty draws."""
        with torch.no_grad():
            self.logits.clamp_(-_CLAMP, _CLAMP)
