"""`Overlap`: the questions that two data sets have both, so that one is no held-out test of the other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lens_truth.data.examples import Example
from lens_truth.data.h_neurons import ASKED_FOR
from lens_truth.data.images import is_made
from lens_truth.errors import shortened
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table

_TELLS = 0.9
"""Where of so many questions no two differ in their context alone, a question is known without its context."""


@dataclass(frozen=True, eq=False)
class Overlap(Result):
    """How many ids and how many questions two sets share. A question is its text, in lower case and without
    punctuation, with its image, and with its context where many differ in nothing else; of a statement, the statement.

    >>> shared = lens_truth.data.Overlap.load("runs/audit", "train.jsonl and test.jsonl")
    >>> print(shared.ids, shared.warnings("train", "test"), shared.tables()[0])
    """

    command: ClassVar[str] = "audit"
    part: ClassVar[str] = "overlap"
    named: ClassVar[bool] = True

    ids: int
    """Shared ids; of sets that both hold texts those whose question is the same too, since ids may be numbers of
    rows."""
    of: tuple[int, int]
    """Different ids of each set."""
    questions: int | None
    """Shared questions; None where a set holds ids alone."""
    first_id: str
    """A shared id; empty if there is none."""
    first_question: str
    """A shared question; empty if there is none."""

    def warnings(self, one: str, other: str) -> list[str]:
        """A sentence if there is anything in both."""
        said = list[str]()
        if self.ids:
            said.append(f"{self.ids} ids (of {self.of[0]} and {self.of[1]}; first: '{self.first_id}')")
        if self.questions:
            said.append(f"{self.questions} questions (first: '{shortened(self.first_question)}')")
        what = " and ".join(said)
        told = f"SHARED QUESTIONS: {one} and {other} share {what}; neither is a held-out test of the other"
        return [told] if said else []

    def tables(self) -> tuple[Table]:
        """One row, as `overlap_table` makes them."""
        return (overlap_table({"": self}),)


def overlap_table(pairs: Mapping[str, Overlap]) -> Table:
    """A row for every two sets, by the names of both."""
    header = ("data", "ids", "of the first", "of the second", "questions")
    rows = (
        row(name, str(its.ids), *map(str, its.of), "" if its.questions is None else str(its.questions))
        for name, its in pairs.items()
    )
    return table("Ids and questions that two data sets have both", header, rows)


def shared_questions(one: Sequence[Example] | Sequence[str], other: Sequence[Example] | Sequence[str]) -> Overlap:
    """What two sets share; either may be ids alone.

    >>> lens_truth.data.shared_questions(train, test).questions
    """
    first, second = ({_id(row): row for row in reversed(its)} for its in (one, other))
    both = [id for id in first if id in second]
    told: list[Example] | None = None
    if all(not isinstance(row, str) for row in (*first.values(), *second.values())):
        both = [id for id in both if _alike(first[id], second[id])]
        told = _asked_twice(*([row for row in its.values() if isinstance(row, Example)] for its in (first, second)))
    example = told[-1] if told else None
    return Overlap(
        ids=len(both),
        of=(len(first), len(second)),
        questions=None if told is None else len(told),
        first_id=both[-1] if both else "",
        first_question=(example.question or example.answer).strip() if example else "",
    )


def _asked_twice(one: Sequence[Example], other: Sequence[Example]) -> list[Example]:
    """Of each question in both sets an example."""
    here, there = ({_asked(row): row for row in its} for its in (one, other))
    if all(len({asked[::2] for asked in its}) > _TELLS * len(its) for its in (here, there)):
        here, there = ({asked[::2]: row for asked, row in its.items()} for its in (here, there))
    return [row for asked, row in here.items() if asked in there]


def _id(row: Example | str) -> str:
    """As TriviaQA has it."""
    return (row if isinstance(row, str) else row.id).removeprefix("triviaqa-")


def _asked(example: Example) -> tuple[str, ...]:
    """Image, context and question, or statement."""
    image = example.image if is_made(example.image) else Path(example.image).name
    asked = example.answer if example.is_statement else example.question.strip().removesuffix(ASKED_FOR)
    return image, _plain(example.context), _plain(asked)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _alike(one: Example | str, other: Example | str) -> bool:
    """Whether two rows with one id ask the same; either may have an instruction more."""
    if isinstance(one, str) or isinstance(other, str):
        return True
    return all(a in b or b in a for a, b in zip(_asked(one), _asked(other), strict=True))
