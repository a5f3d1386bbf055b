"""Rules that look at what a model reads and say, row by row, how strongly a gate is to act: 0 not at all, 1 fully."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lens_truth.data.examples import Example
from lens_truth.decoding.context_aware import without_context
from lens_truth.decoding.contrast import entropies
from lens_truth.decoding.greedy import greedy
from lens_truth.decoding.second import own_positions
from lens_truth.errors import InputError
from lens_truth.models.batches import pad_rows
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.image_input import image_arguments
from lens_truth.models.prompts import PromptTokens

Others = Sequence[PromptTokens | None]
Look = Callable[[Float[Tensor, "B V"]], Float[Tensor, " B"]]
"""From the logits of the newest token to the number that a rule goes by."""


@dataclass(frozen=True, eq=False)
class Rule:
    """A number of each row, and on which side of a threshold the gate acts. This one says a constant.

    >>> isinstance(rule := lens_truth.EntropyAbove(1.5, width=0.5), lens_truth.Rule)
    True
    >>> values = rule.values(model, prompts, others)  # by which a threshold can be chosen on other rows
    >>> rule.factors(values), rule.words, rule.per_token
    >>> rule.check(model), rule.other(example)
    >>> with rule.looking(model, prompts, others) as look:
    ...     model.original_model.generate(ids, attention_mask=mask), rule.look(logits)
    """

    threshold: float = 0.0
    width: float = field(default=0.0, kw_only=True)
    """0 switches. Above, the factor rises from 0 to 1 over so wide a band around the threshold."""

    side: ClassVar[Literal["above", "below"]] = "above"
    """Where the gate acts."""
    per_token: ClassVar[bool] = True
    """Whether it can be asked anew at each token."""

    def __post_init__(self) -> None:
        if not (abs(self.threshold) < float("inf") and 0 <= self.width < float("inf")):
            raise InputError(f"a rule's threshold is {self.threshold} and its width {self.width}; both must be finite")

    @property
    def words(self) -> str:
        """What tells it from others: its name and all its numbers."""
        return f"{type(self).__name__} {self.threshold!r} {self.width!r} {self.its_own}"

    @property
    def its_own(self) -> str:
        """What else tells it from others of its class."""
        return ""

    def check(self, model: Hooked) -> None:
        """Raises an InputError unless it can be asked of the model."""

    def other(self, example: Example) -> Example | None:
        """What it must be shown beside the example."""
        return None

    def factors(self, values: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """How strongly the gate acts where the rule sees these numbers. On the threshold itself it does not."""
        beyond = values.float() - self.threshold
        beyond = beyond if self.side == "above" else -beyond
        return (beyond / self.width + 0.5).clamp(0, 1) if self.width else (beyond > 0).float()

    @contextmanager
    def looking(
        self, model: Any, prompts: Sequence[PromptTokens], others: Others, once: bool = False
    ) -> Generator[Look, None, None]:
        """While open, gives after each pass over the prompts (padded on the left), or over a token more, the number of
        each row; if `once`, after the first pass alone."""
        yield self.look

    def look(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
        """What `looking` gives, of a rule that goes by the logits alone."""
        return torch.zeros(len(logits), device=logits.device)

    def values(self, model: Hooked, prompts: Sequence[PromptTokens], others: Others = ()) -> Float[Tensor, " B"]:
        """What the rule goes by at the end of each prompt."""
        kept: list[Tensor] = []
        with self.looking(model, prompts, others or [None] * len(prompts), once=True) as look:
            first_tokens(model, prompts, lambda scores: kept.append(look(scores)))
        return kept[0].float().cpu()


def first_tokens(
    model: Any,
    prompts: Sequence[PromptTokens],
    see: Callable[[Float[Tensor, "B V"]], None],
    n_new: int = 1,
) -> list[list[int]]:
    """What the model writes behind each prompt as it is (as whatever is attached lets it), and `see` what it chooses
    from at each token."""
    ids, mask = pad_rows([row.ids for row in prompts], model, side="left")
    with torch.no_grad(), greedy(model), own_positions(model):
        shown = image_arguments(model, ids, [row.image for row in prompts])
        more = {"attention_mask": mask, "max_new_tokens": n_new, "logits_processor": LogitsProcessorList([Seen(see)])}
        return inner_model(model).generate(ids, **more, **shown)[:, ids.shape[1] :].tolist()


class Seen(LogitsProcessor):
    """Changes nothing; shows what is chosen from."""

    def __init__(self, see: Callable[[Float[Tensor, "B V"]], None]) -> None:
        self._see = see

    def __call__(self, input_ids: Tensor, scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """The scores as they are."""
        self._see(scores)
        return scores


@dataclass(frozen=True, eq=False)
class Always(Rule):
    """The gate acts on every row.

    >>> lens_truth.DynamicGate(switched=gate, rule=lens_truth.Always())  # the gate as it is
    """

    threshold: float = -1.0


@dataclass(frozen=True, eq=False)
class Never(Rule):
    """The gate acts on no row.

    >>> lens_truth.DynamicGate(switched=gate, rule=lens_truth.Never())  # the model as it is
    """

    threshold: float = 1.0


@dataclass(frozen=True, eq=False)
class EntropyAbove(Rule):
    """The gate acts where the model is unsure of the next token: the entropy of its distribution lies above a
    threshold, in nats.

    >>> rule = lens_truth.EntropyAbove(1.0)
    """

    threshold: float = 1.0

    def look(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
        """The entropy."""
        return entropies(logits.softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32)))


@dataclass(frozen=True, eq=False)
class ContextChanges(Rule):
    """The gate acts where the first token would be another one without the context and the image. Where there is
    nothing to be taken away, it does not. Asked once a row.

    >>> lens_truth.ContextChanges().other(example).context
    ''
    """

    threshold: float = 0.5
    per_token: ClassVar[bool] = False

    def other(self, example: Example) -> Example | None:
        """The question alone; None of a statement, and where nothing can be taken away."""
        return without_context(example)

    @contextmanager
    def looking(
        self, model: Any, prompts: Sequence[PromptTokens], others: Others, once: bool = False
    ) -> Generator[Look, None, None]:
        """See `Rule.looking`: 1 where the token differs."""
        at = [row for row, other in enumerate(others) if other is not None]
        alone = torch.full((len(prompts),), -1)
        if at:
            kept: list[Tensor] = []
            first_tokens(model, [other for other in others if other is not None], lambda s: kept.append(s.argmax(-1)))
            alone[at] = kept[0].cpu()

        def look(logits: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
            its = alone.to(logits.device)
            return ((logits.argmax(-1) != its) & (its >= 0)).float()

        yield look
