"""`DynamicGate`: a gate that acts only where a rule on the input says so, or by as much."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LogitsProcessorList

from lens_truth.data.examples import Example
from lens_truth.decoding.decoder import Decoder, checked_strength
from lens_truth.decoding.forcing import forced_log_probs, log_probs_of_whole
from lens_truth.decoding.rules import Rule
from lens_truth.decoding.switch import Switch, Switched, check_switched
from lens_truth.decoding.switching import Record, Switching, TriggerRates
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.shift import HeadShift
from lens_truth.models.hooks import Hooked
from lens_truth.models.prompts import Encoded, PromptTokens

Scope = Literal["example", "token"]
Positions = Literal["all", "answer"]


@dataclass(frozen=True, eq=False)
class DynamicGate(Decoder):
    """A gate, or a shift, that acts where a rule says so.

    The model reads the prompt as it is, and the rule is asked at the prompt's last token. A row on which it says no
    goes on as if there were no gate, to the last bit, whatever happens to others of its batch. With `positions="all"` a
    row on which it says yes is read anew under the gate, so that a rule that always says yes is the gate itself, bit
    for bit; with `"answer"` the gate acts from the prompt's last token on, which alone is read again.

    >>> dynamic = lens_truth.DynamicGate(switched=gate, rule=lens_truth.EntropyAbove(1.0), positions="answer")
    >>> result = asker.run(benchmark, {"dynamic": dynamic, "static": gate, "twin": dynamic.static_twin(0.3)})
    >>> dynamic.rates.of_rows, dynamic.rates.of_tokens, dynamic.rates.mean
    >>> dynamic.factors(model, prompts, others)
    """

    strength: float = 1.0
    """What the rule's factor is multiplied by."""
    switched: Switched = field(kw_only=True)
    """The gate (of the site z) or the shift. `gate` is another one, which always acts."""
    rule: Rule = field(kw_only=True)
    scope: Scope = field(default="example", kw_only=True)
    """`example`: the rule is asked once a row. `token`: at each token anew, and what it says counts for the next; given
    answers then go through the model token by token."""
    positions: Positions = field(default="all", kw_only=True)
    record: Record = field(default_factory=Record, kw_only=True, repr=False)
    """What `rates` counts in; begins empty."""

    def __post_init__(self) -> None:
        checked_strength(self.strength, type(self).__name__)
        if self.scope not in get_args(Scope) or self.positions not in get_args(Positions):
            raise InputError(
                f"a dynamic gate has scope '{self.scope}' and positions '{self.positions}'; there are "
                f"{', '.join(get_args(Scope))}, and {', '.join(get_args(Positions))}"
            )
        if self.scope == "token" and not self.rule.per_token:
            raise InputError(f"the rule {type(self.rule).__name__} is asked once a row: take the scope 'example'")

    @property
    def does(self) -> tuple[str, Sequence[Float[Tensor, "..."]]] | None:
        """See `Decoder.does`."""
        if not self.strength or (acts := self.switched.acts) is None:
            return None
        words = f"{type(self).__name__} {self.strength!r} {self.scope} {self.positions}"
        return f"{words} {acts[0]} {self.rule.words}", [acts[1]]

    def check(self, model: Hooked) -> None:
        """See `Decoder.check`."""
        super().check(model)
        check_switched(model, self.switched)
        self.rule.check(model)

    def other(self, example: Example) -> Example | None:
        """See `Decoder.other`."""
        return self.rule.other(example)

    @property
    def rates(self) -> TriggerRates:
        """How often it has acted so far, in what was written and ranked by this object."""
        return self.record.rates

    def static_twin(self, mean: float | None = None) -> Switched:
        """The gate of the same mean strength, which acts always.

        Args:
            mean: by how much of itself it acts on the average; by default what `rates` has counted.

        Raises:
            InputError: if nothing has been counted yet.
        """
        mean = self.rates.mean if mean is None else mean
        if math.isnan(mean):
            raise InputError("a dynamic gate that has not run yet has no mean strength; name one")
        about = {"dynamic": self.rule.words, "mean": mean, **self.switched.provenance}
        if isinstance(self.switched, HeadGate):
            values = self.switched.values
            return HeadGate(values if mean == 1 else 1 + mean * (values - 1), self.switched.site, about)
        return HeadShift(mean * self.switched.vectors, self.switched.site, {"dynamic": self.rule.words, "mean": mean})

    def factors(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None] = ()
    ) -> Float[Tensor, " B"]:
        """How strongly it acts at the end of each prompt."""
        with self.acting(model):
            return self.strength * self.rule.factors(self.rule.values(model, prompts, others))

    @contextmanager
    def working(
        self, model: Hooked, prompts: Sequence[PromptTokens], others: Sequence[PromptTokens | None], n_new: int
    ) -> Generator[LogitsProcessorList, None, None]:
        """See `Decoder.working`."""
        by_token, whole = self.scope == "token", self.positions == "all"
        with self.rule.looking(model, prompts, others, once=not by_token) as look:
            switch = Switch(model, self.switched)

            def asked(logits: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
                return self.strength * self.rule.factors(look(logits))

            with switch.attached(model), Switching(model, switch, asked, self.record, by_token, whole).attached():
                yield LogitsProcessorList()

    def log_probs(
        self, model: Hooked, rows: Sequence[Encoded], others: Sequence[Encoded | None]
    ) -> Float[Tensor, " B"]:
        """See `Decoder.log_probs`. The rule is asked at the end of the prompt, so all answers to a question are ranked
        by one model; with the scope `token`, at each token of the answer as if it had been written."""
        if self.does is None:
            return super().log_probs(model, rows, others)
        prompts = [row.prompt for row in rows]
        seconds = [None if other is None else other.prompt for other in others]
        if self.scope == "token":
            return forced_log_probs(model, rows, lambda n: self.opened(model, prompts, seconds, n))
        s = self.factors(model, prompts, seconds)
        self.record.add_rows(s, torch.tensor([float(row.n_answer_tokens) for row in rows]))
        columns = torch.zeros(len(rows), max(row.answer[1] for row in rows))
        for number, row in enumerate(rows):
            start = 0 if self.positions == "all" else row.continuation - 1
            columns[number, start : row.answer[1]] = s[number]
        switch = Switch(model, self.switched)
        switch.set(columns.to(switch.device))
        with self.acting(model), switch.attached(model):
            return log_probs_of_whole(model, rows)
