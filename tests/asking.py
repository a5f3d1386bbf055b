"""What `answered` gives for one set of questions, in the form that tests look at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.generate import Questions, answered
from lens_truth.gates.rows import UNGATED, Gates
from lens_truth.models.budget import Budget
from lens_truth.models.prompts import Encoded, PromptTokens


def generate(
    model: Any,
    prompts: Sequence[PromptTokens],
    n_new: int,
    batch_size: int,
    gates: Gates = UNGATED,
    margins: bool = False,
    known: Collection[tuple[str, int]] = (),
) -> Iterator[tuple[str, int, Answer]]:
    """(gate, prompt number, answer) of written answers."""
    asked, seen = [Questions(prompts, n_new, margins)], {(0, *place) for place in known}
    budget = Budget.of(model, batch_size)
    for (_, gate, row), answer in answered(model, asked, gates, budget=budget, known=seen):
        yield gate, row, answer


def log_probs(
    model: Any, encoded: Sequence[Encoded], batch_size: int, gates: Gates
) -> Iterator[tuple[str, int, float | None]]:
    """(gate, row, log-probability) of given answers."""
    budget = Budget.of(model, batch_size)
    for (_, gate, row), answer in answered(model, [Questions(encoded, 0)], gates, budget=budget):
        yield gate, row, answer.margin
