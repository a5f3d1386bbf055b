"""`Compliance`: questions in which something false is said, and which answer goes along with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example, question_pairs
from lens_truth.data.fact_sets import AGREEING, FACT_KINDS
from lens_truth.data.loading import fact_set, load_examples
from lens_truth.errors import InputError

MEASURES = ("facts:conflict/test", "facts:premise/test", "facts:sycophancy/test", "facts:mentioned/test")
"""What is measured unless something else is asked for: counterfactual contexts, false premises, opinions of the asker;
and beside them what is named without anything being said of it."""


@dataclass(frozen=True)
class Compliance:
    """Questions that mislead, each with an answer that goes along and one (or several) that does not.

    >>> lens_truth.compliance_of("facts:sycophancy/test", limit=200)
    >>> lens_truth.Compliance("mine", tuple(lens_truth.load_examples("my-rows.jsonl")), goes_along=0)
    """

    name: str
    examples: tuple[Example, ...]
    goes_along: int
    """The label of the answers that go along: 1 where the context says so, else 0."""
    control: tuple[Example, ...] = ()
    """The same questions, one by one, with the truth said in place of what is false; there the answers that go along
    have label 1. None if empty."""

    def __post_init__(self) -> None:
        if self.goes_along not in (SUPPORTED, HALLUCINATED):
            raise InputError(f"{self.name}: answers that go along have label 0 or 1, not {self.goes_along}")
        if self.control:
            own, its = ([rows[pair[0][0]].group for pair in question_pairs(rows)] for rows in self._both)
            if own != its:
                raise InputError(
                    f"{self.name}: its {len(own)} questions and the {len(its)} of its control are not the same ones in "
                    "the same order; a control asks each question again with the truth said in it"
                )

    @property
    def _both(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        return self.examples, self.control

    @cached_property
    def groups(self) -> list[str]:
        """Of each question."""
        return [self.examples[right[0]].group for right, _ in question_pairs(self.examples)]


def compliance_of(name: str, limit: int | None = None, seed: int = 0) -> Compliance:
    """A measure by the name of its data: of `facts:conflict`, `facts:premise`, `facts:sycophancy` and
    `facts:mentioned` with the control; of other data, such as `faitheval:FILE`, without one: answers with label 1 go
    along with a context, and those with label 0 where there is none.

    >>> measures = [lens_truth.compliance_of(name, limit=200) for name in lens_truth.MEASURES]

    Args:
        limit: only the first so many answers (not questions).

    Raises:
        InputError: as `load_examples`, or if no question has answers of both labels.
    """
    examples = tuple(load_examples(name, limit=limit, seed=seed))
    question_pairs(examples)  # or there is nothing to choose
    control = tuple(load_examples(twin, limit=limit, seed=seed)) if (twin := _twin(name)) else ()
    told = any(example.context for example in examples) and not name.startswith("facts:mentioned")
    return Compliance(name, examples, SUPPORTED if told else HALLUCINATED, control)


def _twin(name: str) -> str | None:
    """The data in which the truth is said instead."""
    if not name.startswith("facts:"):
        return None
    kind = fact_set(name)[0]
    its = f"{kind}{AGREEING}"
    return name.replace(f"facts:{kind}", f"facts:{its}", 1) if its in FACT_KINDS else None


def answers_of(examples: Sequence[Example], label: int) -> list[tuple[str, ...]]:
    """To each question, the answers with a label and what is as good."""
    found: list[tuple[str, ...]] = []
    for right, wrong in question_pairs(examples):
        rows = [examples[row] for row in (right if label == SUPPORTED else wrong)]
        found.append(tuple(dict.fromkeys(text for row in rows for text in (row.answer, *row.aliases))))
    return found


def first_of_each(examples: Sequence[Example]) -> tuple[Example, ...]:
    """A row of each question, by which it is asked."""
    return tuple(examples[right[0]] for right, _ in question_pairs(examples))


def first_questions(measure: Compliance, n: int) -> Compliance:
    """The same measure with its first n questions alone."""
    own, control = (
        tuple(rows[row] for pair in question_pairs(rows)[:n] for side in pair for row in side) if rows else ()
        for rows in (measure.examples, measure.control)
    )
    return replace(measure, examples=own, control=control)
