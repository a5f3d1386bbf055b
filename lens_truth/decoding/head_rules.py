"""Rules that look at heads: what they attend to, and what probes read in them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import takewhile
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens_truth.data.examples import Example
from lens_truth.decoding.context_aware import without_context
from lens_truth.decoding.greedy import end_tokens
from lens_truth.decoding.rules import Look, Others, Rule, first_tokens
from lens_truth.errors import InputError
from lens_truth.models.answering_attention import answering_attention, check_attention
from lens_truth.models.hooks import Hooked, hook_names
from lens_truth.models.prompts import PromptTokens
from lens_truth.scoring.detector import Detector, summed_directions
from lens_truth.scoring.directions import best_heads
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.scores import HeadScores


@dataclass(frozen=True, eq=False)
class ContextAttentionBelow(Rule):
    """The gate acts where some heads, on the average, give the context less of their attention than a threshold, at the
    newest token. The context is what is gone from the prompt without it (`ContextAware.other`), and the image; where
    there is none, the gate does not act.

    >>> rule = lens_truth.ContextAttentionBelow(0.2, heads=[(3, 5), (7, 0)])
    >>> rule = lens_truth.ContextAttentionBelow.from_scores(retrieval, n=10, threshold=0.2)
    """

    threshold: float = 0.2
    heads: Sequence[tuple[int, int]] = ()
    side: ClassVar[Literal["above", "below"]] = "below"

    @classmethod
    def from_scores(cls, scores: HeadScores, n: int = 10, threshold: float = 0.2) -> ContextAttentionBelow:
        """With the `n` heads that have the highest scores.

        Raises:
            InputError: if there are not so many.
        """
        return cls(threshold, best_heads(scores.values, n))

    @property
    def its_own(self) -> str:
        """See `Rule.its_own`."""
        return repr([list(head) for head in self.heads])

    def check(self, model: Hooked) -> None:
        """See `Rule.check`."""
        check_attention(model, self.heads)

    def other(self, example: Example) -> Example | None:
        """See `Rule.other`: what tells where the context is."""
        return without_context(example)

    @contextmanager
    def looking(
        self, model: Any, prompts: Sequence[PromptTokens], others: Others, once: bool = False
    ) -> Generator[Look, None, None]:
        """See `Rule.looking`."""
        context, parts, done = context_tokens(prompts, others), dict[int, Tensor](), False
        has_one = context.any(1)

        def act(layer: int, weights: Float[Tensor, "B h n K"], values: Tensor) -> None:
            part = weights[:, :, -1, : context.shape[1]] * context.to(weights.device)[:, None, : weights.shape[3]]
            parts[layer] = part.sum((1, 2))

        def look(logits: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
            nonlocal done
            done = once
            mean = torch.stack([its.to(logits.device) for its in parts.values()]).sum(0) / len(set(self.heads))
            return torch.where(has_one.to(logits.device), mean, torch.inf)

        with answering_attention(model, self.heads, lambda queries, keys: int(not done), act):
            yield look


def context_tokens(prompts: Sequence[PromptTokens], others: Others) -> Bool[Tensor, "B T"]:
    """Of prompts that are padded on the left, the tokens of the context: what stands between the beginning and the end
    that a prompt has in common with that without context. Of an image, all its tokens."""
    width = max(len(row.ids) for row in prompts)
    found = torch.zeros(len(prompts), width, dtype=torch.bool)
    for number, (row, other) in enumerate(zip(prompts, others, strict=True)):
        if other is None:
            continue
        start = _alike(row.ids, other.ids)
        stop = len(row.ids) - min(_alike(row.ids[::-1], other.ids[::-1]), len(other.ids) - start)
        found[number, width - len(row.ids) + start : width - len(row.ids) + stop] = True
    return found


def _alike(one: Sequence[int], two: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))


@dataclass(frozen=True, eq=False)
class ProbeBelow(Rule):
    """The gate acts where probes read less support than a threshold: the score of `watch`, at the newest token, of what
    heads write before the gate acts on them.

    >>> rule = lens_truth.ProbeBelow.of(probes)  # below the threshold that the detector was given on validation rows
    >>> rule = lens_truth.ProbeBelow(0.3, probes=probes, heads=[(3, 5), (7, 0)])
    >>> with rule.scoring(model) as look:
    ...     model.original_model.generate(ids, attention_mask=mask)
    """

    threshold: float = 0.0
    probes: HeadProbes = field(kw_only=True)
    heads: Sequence[tuple[int, int]] | None = field(default=None, kw_only=True)
    """As for `watch`."""
    descendant: bool = field(default=False, kw_only=True)
    """Whether the probes may be those of another model of the same shape."""
    side: ClassVar[Literal["above", "below"]] = "below"

    @classmethod
    def of(cls, probes: HeadProbes, heads: Sequence[tuple[int, int]] | None = None) -> ProbeBelow:
        """With the threshold of the probes' detector (`Detector.of`)."""
        return cls(Detector.of(probes, heads).threshold, probes=probes, heads=heads)

    @property
    def its_own(self) -> str:
        """See `Rule.its_own`."""
        its = Detector.of(self.probes, self.heads)
        told = blake2b(digest_size=8)
        for part in (self.probes.directions, self.probes.intercepts, self.probes.sigma):
            told.update(part.contiguous().numpy().tobytes())
        return f"{told.hexdigest()} {its.heads} {its.weights.tolist()} {its.offset!r}"

    def check(self, model: Hooked) -> None:
        """See `Rule.check`."""
        if self.probes.point != "z":
            raise InputError("a rule reads probes of heads, and these probes are of the residual stream")
        self.probes.check(model, str(self.probes.provenance.get("template")), descendant=self.descendant)
        Detector.of(self.probes, self.heads)

    @contextmanager
    def looking(
        self, model: Any, prompts: Sequence[PromptTokens], others: Others, once: bool = False
    ) -> Generator[Look, None, None]:
        """See `Rule.looking`."""
        with self.scoring(model, once) as look:
            yield look

    @contextmanager
    def scoring(self, model: Any, once: bool = False) -> Generator[Look, None, None]:
        """While open, gives the score at the last token of each pass."""
        detector = Detector.of(self.probes, self.heads)
        layers = sorted({layer for layer, _ in detector.heads})
        kept, made = dict[int, Tensor](), list[Tensor]()
        constant, done = 0.0, False

        def keep(layer: int, passing: Tensor, hook: Any) -> None:
            if not done:
                kept[layer] = passing[:, -1]

        def look(logits: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
            nonlocal constant, done
            done = once
            last = [kept[layer].flatten(1).to(logits.device) for layer in layers]
            if not made:
                widths = {layer: its.shape[-1] for layer, its in zip(layers, last, strict=True)}
                summed, constant = summed_directions(detector, self.probes, widths)
                made.append(torch.cat([its.flatten() for its in summed]).to(logits.device))
            return torch.mv(torch.cat(last, 1).float(), made[0]) + constant

        names = hook_names(model)
        with model.hooks(fwd_hooks=[(names[layer], partial(keep, layer)) for layer in layers]):
            yield look


@dataclass(frozen=True, eq=False)
class DraftProbeBelow(ProbeBelow):
    """The same of the least score at any token of what the model writes by itself, which it is let write first. Asked
    once a row; what is written afterwards begins anew.

    >>> rule = lens_truth.DraftProbeBelow(0.0, probes=probes, look_ahead=16)
    """

    look_ahead: int = field(default=16, kw_only=True)
    """Tokens that are written first, at most."""
    per_token: ClassVar[bool] = False

    @property
    def its_own(self) -> str:
        """See `Rule.its_own`."""
        return f"{super().its_own} {self.look_ahead}"

    @contextmanager
    def looking(
        self, model: Any, prompts: Sequence[PromptTokens], others: Others, once: bool = False
    ) -> Generator[Look, None, None]:
        """See `Rule.looking`."""
        scores = list[Tensor]()
        with self.scoring(model) as look:
            written = first_tokens(model, prompts, lambda logits: scores.append(look(logits)), self.look_ahead)
        ends = end_tokens(model)
        # The score at step t is read at the token before the t-th that is written; behind an end nothing counts.
        counts = torch.tensor([[t == 0 or not ends & set(row[:t]) for t in range(len(scores))] for row in written])
        least = torch.where(counts.to(scores[0].device), torch.stack(scores, 1), torch.inf).amin(1)

        def told(logits: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
            return least.to(logits.device)

        yield told
