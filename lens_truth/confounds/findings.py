"""`Finding`: one thing that is wrong with a data set, how often, where it is seen, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lens_truth.data.examples import Example
from lens_truth.errors import shortened

Level = Literal["wrong", "leak", "confound", "note"]
LEVELS: dict[Level, str] = {
    "wrong": "labels or numbers are wrong",
    "leak": "what is tested was seen in training, or is written in the prompt",
    "confound": "something else than truth predicts the label",
    "note": "worth knowing",
}
"""Worst first, and what each says."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with one data set, or with two together.

    >>> print(lens_truth.audit_examples(examples).findings[0].sentence)
    >>> found = lens_truth.Finding("dates", "wrong", "2 of 9 dates are in no calendar", 2, 9, "'7'", "Mend them")
    >>> print(found.share, found.sentence)
    """

    check: str
    """What looked, in a word or two: `arithmetic`, `question words`, ..."""
    level: Level
    says: str
    """What is wrong, with its numbers; a sentence without its full stop."""
    count: int
    """How many rows (or pairs, ids, subjects, heads) are touched."""
    of: int
    """Of how many."""
    example: str
    """A row of them: its id and what it says; empty where there is no single one."""
    cure: str
    """What to do; a sentence without its full stop."""

    @property
    def share(self) -> float:
        """Of the rows it could have touched."""
        return self.count / self.of if self.of else 0.0

    @property
    def sentence(self) -> str:
        """What is wrong, an example and the cure, for a terminal."""
        example = f" (such as {self.example})" if self.example else ""
        return f"{self.says}{example}. {self.cure}"


def warnings_of(findings: Sequence[Finding], name: str) -> list[str]:
    """A sentence for each finding that is more than a note, with the name of the data; those of baselines in one.

    >>> warnings_of(quick_findings(examples), "mine.jsonl")
    """
    told = [its for its in findings if its.level != "note"]
    said: list[str] = []
    for its in told:
        kind = its.says.partition(":")[0]
        alike = [each for each in told if kind.isupper() and each.says.startswith(f"{kind}: ")]
        if its in alike[1:]:
            continue
        more = ", ".join(each.check for each in alike[1:])
        said.append(f"{name}: {its.says}; so they are by {more}. {its.cure}" if more else f"{name}: {its.sentence}")
    return said


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By level, then by the share of rows that is touched."""
    order = list(LEVELS)
    return tuple(sorted(findings, key=lambda its: (order.index(its.level), -its.share)))


def shown(example: Example) -> str:
    """A row in a few words: its id, and what it asks and says."""
    asked = shortened(" ".join(example.question.split()))
    said = shortened(" ".join(example.answer.split()))
    return f"'{shortened(example.id)}': " + (f"{asked} / {said}" if asked else said)
