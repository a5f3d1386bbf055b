"""Learned gates: every head's gate fitted by gradient to a few questions, under a penalty."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.data.examples import Example, examples_hash
from lens_truth.io.files import hash_of
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.finite import check_slopes
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooks import Hooked, constant_weights, gate_heads, grid_of
from lens_truth.models.prompts import Encoded, Template
from lens_truth.models.provenance import provenance_of, setup_hash
from lens_truth.scoring.causal import (
    QuestionRows,
    answer_log_probs,
    margin_rows,
    relative_record,
    rows_of_questions,
)
from lens_truth.scoring.learned_forms import Fitted, GateNumbers, Learning
from lens_truth.scoring.scores import HeadScores
from lens_truth.scoring.surface import length_record

_QUESTIONS = 8
"""Of each step."""


@stage("learned gate")
def learned_gate(
    model: Hooked,
    examples: Sequence[Example],
    *,
    learning: Learning | None = None,
    template: Template = "plain",
    batch_size: int | None = None,
    seed: int = 0,
    keep: Path | None = None,
    progress: bool = False,
) -> HeadScores:
    """The gate itself fitted by Adam on a few examples: score g - 1, to be used as `HeadGate.from_scores(scores, 1,
    norm="none")`.

    The loss is the mean over questions of log(1 + exp(-margin)), plus the penalty of `learning`: by default the mean
    over heads of (g - 1)^2. Fit it on validation rows, never on the rows that judge it.

    >>> learned = lens_truth.learned_gate(model, lens_truth.load_examples("zoo:conflict", limit=100))
    >>> gate = lens_truth.HeadGate.from_scores(learned, 1, norm="none")

    Args:
        learning: signed or between 0 and 1; l2, l1 or l0; how long. By default signed, l2, 60 steps.
        keep: a folder in which the fit is kept, and from which one of the same model, examples and settings is taken.

    Raises:
        InputError: if no question has answers of both labels, or an answer is empty or would be cut off.
    """
    learning = learning or Learning()

    def fit() -> HeadScores:
        rows = AnswerRows.margins(model, examples, template)
        numbers = GateNumbers(grid_of(model), learning)
        descent = Descent(rows, Budget.of(model, batch_size, backward=True), seed)
        descent.run(numbers, lambda margin: torch.nn.functional.softplus(-margin), learning.steps, progress=progress)
        provenance = {**provenance_of(model, examples, template), "n_examples": len(examples), **asdict(learning)}
        provenance |= {"questions_per_step": descent.n_chosen, "seed": seed, **relative_record(model)}
        tokens = np.array([row.n_answer_tokens for row in rows.encoded], dtype=float)
        provenance["surface"] = length_record(rows.pairs, tokens)
        with torch.no_grad():
            values = numbers.gate(None).double().numpy() - 1
        return HeadScores(values, "learned", provenance=provenance)

    return kept_fit(keep, (model, examples, template, "learned", asdict(learning), seed), fit)


@dataclass(frozen=True)
class AnswerRows:
    """Questions, and by what weights their answers' log-probabilities make one number each."""

    model: Hooked
    pairs: list[tuple[list[int], list[int]]]
    encoded: list[Encoded]
    questions: list[QuestionRows]
    weight: dict[int, float]

    @classmethod
    def margins(cls, model: Hooked, examples: Sequence[Example], template: Template) -> AnswerRows:
        """Log-probability of the supported answer minus that of the hallucinated one."""
        pairs, encoded, weight = margin_rows(model, examples, template)
        return cls(model, pairs, encoded, rows_of_questions(pairs, encoded), weight)

    @classmethod
    def likelihoods(cls, model: Hooked, examples: Sequence[Example], template: Template) -> AnswerRows:
        """Log-probability of the supported answer, per token."""
        pairs, encoded, _ = margin_rows(model, examples, template)
        weight = {row: 1 / len(its) / encoded[row].n_answer_tokens for its, _ in pairs for row in its}
        alone = [(supported, list[int]()) for supported, _ in pairs]
        return cls(model, pairs, encoded, rows_of_questions(alone, encoded), weight)

    def numbers(self, some: Sequence[int], gate: Float[Tensor, "L H"]) -> Float[Tensor, " q"]:
        """Of some questions under a gate; differentiable."""
        rows = self._rows(some)
        owner = torch.tensor([i for i, question in enumerate(some) for _ in self.questions[question].rows])
        with constant_weights(self.model):
            log_prob = answer_log_probs(
                self.model, [self.encoded[row] for row in rows], lambda _: gate_heads(self.model, gate)
            )
            weights = torch.tensor([self.weight[row] for row in rows]).to(log_prob)
            return log_prob.new_zeros(len(some)).index_add(0, owner.to(log_prob.device), log_prob * weights)

    def under(self, gate: Float[Tensor, "L H"], budget: Budget) -> Float[np.ndarray, " Q"]:
        """Of every question under a gate."""
        found = np.empty(len(self.questions))
        with torch.no_grad():
            for some, made in self.batches(range(len(found)), budget, lambda some: self.numbers(some, gate)):
                found[list(some)] = made.double().cpu().numpy()
        return found

    def batches(
        self, some: Sequence[int], budget: Budget, run: Callable[[Sequence[int]], Tensor]
    ) -> Iterator[tuple[Sequence[int], Tensor]]:
        """What `run` makes of some questions, the longest first."""
        longest_first = sorted(some, key=lambda question: -self.questions[question].tokens)
        return within_budget(longest_first, lambda question, _: self.questions[question].tokens, budget, run)

    def check(self, slope: Float[Tensor, "L H"], some: Sequence[int]) -> None:
        """An InputError says if a slope is not finite."""
        rows = self._rows(some)
        check_slopes(slope.expand(len(rows), -1, -1), self.model, [self.encoded[row] for row in rows])

    def _rows(self, some: Sequence[int]) -> list[int]:
        return [row for question in some for row in self.questions[question].rows]


class Descent:
    """Steps of Adam, each over some questions, in an order that is drawn anew once all have had their turn."""

    def __init__(self, rows: AnswerRows, budget: Budget, seed: int, questions: int = _QUESTIONS) -> None:
        self._rows, self._budget = rows, budget
        self._order, self._noise = stream(seed, Stream.GATE_STEPS), stream(seed, Stream.GATE_SWITCHES)
        self._queue: list[int] = []
        self.n_chosen = min(questions, len(rows.questions))

    def run(
        self,
        numbers: Fitted,
        loss: Callable[[Tensor], Tensor],
        steps: int,
        *,
        clip: float | None = None,
        progress: bool = False,
    ) -> None:
        """Fits the numbers to the mean loss of a question's number; slopes no longer than `clip`."""
        optimizer = numbers.optimizer()
        for _ in bar(range(steps), "learned gate", shown=progress):
            numbers.regularise()
            gate = numbers.gate(self._noise)
            leaf = gate.detach().requires_grad_()

            def slope_of(some: Sequence[int], leaf: Tensor = leaf) -> Tensor:
                with torch.enable_grad():
                    total = loss(self._rows.numbers(some, leaf)).sum() / self.n_chosen
                (slope,) = torch.autograd.grad(total, leaf)
                self._rows.check(slope, some)
                return slope

            for _, slope in self._rows.batches(self._next(), self._budget, slope_of):
                torch.autograd.backward(gate, slope, retain_graph=True)
            if clip is not None:
                params: list[Tensor] = [its for group in optimizer.param_groups for its in group["params"]]
                torch.nn.utils.clip_grad_norm_(params, clip)
            optimizer.step()
            numbers.settle(optimizer)

    def _next(self) -> list[int]:
        if len(self._queue) < self.n_chosen:
            self._queue += self._order.permutation(len(self._rows.questions)).tolist()
        chosen, self._queue = self._queue[: self.n_chosen], self._queue[self.n_chosen :]
        return chosen


Key = tuple[Hooked, Sequence[Example], Template, str, Any, int]
"""All that decides a fit: model, examples, template, kind, settings, seed."""


def kept_fit(keep: Path | None, key: Key, fit: Callable[[], HeadScores]) -> HeadScores:
    """A fit from the folder where fits are kept, or made now and kept there."""
    if keep is None:
        return fit()
    model, examples, template, kind, settings, seed = key
    shown = examples_hash(examples), template, json.dumps(settings, sort_keys=True), str(seed)
    path = keep / f"{kind}-{hash_of(weights_hash(model), setup_hash(model), *shown)}.safetensors"
    if path.is_file():
        return HeadScores.load(path)
    found = fit()
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return found
