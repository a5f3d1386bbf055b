"""`Reranking`: of a question's sampled answers one is taken; by whom is it the right one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from lens_truth.io.numbers import count, interval, number, p_value, signed
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table
from lens_truth.stats.paired import Comparison, compare, group_interval

RANDOM, FIRST, MAJORITY = "a random sample (expected)", "the first sample", "majority vote"
LIKELIEST, SHORTEST = "the likeliest per token", "the shortest"
NEAREST, BY_MARGIN, BY_MATCHED = "CLUE: nearest to right", "CLUE: by margin", "CLUE: by margin, length-matched"
BY_UNIT, AMONG = "CLUE: by margin, deltas of length 1", "majority among CLUE's nearest half"
ORACLE = "oracle (any is right)"


@dataclass(frozen=True, eq=False)
class Reranking(Result):
    """Whether the answer that each rule takes of n sampled ones is right, a question.

    >>> found = lens_truth.Reranking.load("runs/verify")
    >>> found.against("CLUE: by margin").difference  # in accuracy, from majority vote
    >>> found.tables()[0], found.verdicts()
    """

    command: ClassVar[str] = "verify"
    part: ClassVar[str] = "reranking"

    ids: tuple[str, ...]
    """Of the questions."""
    groups: tuple[str, ...]
    marks: Mapping[str, Float[np.ndarray, " Q"]]
    """By rule: 1 where its answer is right; of a random sample the share of right ones."""
    n_samples: int
    repeated: float
    """The share of sampled answers, but for empty ones, which another sample of the question says too (in its first
    line): where none does, a majority vote takes the first."""
    seed: int = 0

    @property
    def mixed(self) -> Bool[np.ndarray, " Q"]:
        """Questions with right and wrong samples: elsewhere every rule does the same."""
        share = self.marks[RANDOM]
        return (share > 0) & (share < 1)

    def against(self, rule: str, other: str = MAJORITY) -> Comparison:
        """One rule against another on the same questions, tested as gates are (`lens_truth.stats.paired`).

        >>> found.against("CLUE: nearest to right", "the shortest").p_value
        """
        return compare(self.marks[rule][None], self.marks[other][None], self.groups, self.seed)

    def tables(self) -> Sequence[Table]:
        """A row a rule."""
        rows = [row(rule, *self._cells(rule)) for rule in self.marks]
        header = ("the answer taken", "right", "where samples differ", "minus majority vote", "minus a random sample")
        note = (
            f"{count(len(self.ids), 'question')} in {count(len(set(self.groups)), 'group')}, {self.n_samples} samples "
            f"each; right and wrong ones in {int(self.mixed.sum())}. {number(self.repeated)} of the answers are said "
            "by another sample of their question too. 95% intervals over groups; p of paired tests. CLUE's "
            "experiences are of other groups."
        )
        return [table("Which of the sampled answers?", header, rows, note)]

    def _cells(self, rule: str) -> list[str]:
        marks, mixed = self.marks[rule], self.mixed
        accuracy = f"{number(float(marks.mean()))} {interval(group_interval(marks, self.groups, self.seed))}"
        differ = number(float(marks[mixed].mean())) if mixed.any() else ""
        cells = [accuracy, differ]
        for other in (MAJORITY, RANDOM):
            its = self.against(rule, other)
            said = f"{signed(its.difference)} {interval((its.ci_low, its.ci_high), plus=True)} p {p_value(its.p_value)}"
            cells.append("" if rule == other else said)
        return cells

    def verdicts(self) -> list[str]:
        """CLUE's choices against a majority vote, the likeliest and the shortest answer."""
        said: list[str] = []
        for rule, other in ((BY_MARGIN, MAJORITY), (BY_MARGIN, LIKELIEST), (BY_MARGIN, SHORTEST), (NEAREST, MAJORITY)):
            its = self.against(rule, other)
            if its.significant:
                what = f"is right {'more' if its.difference > 0 else 'less'} often than {other}"
            else:
                what = f"is not shown to be right more often than {other}"
            ends = interval((its.ci_low, its.ci_high), 3, plus=True)
            by = "by margin" if rule == BY_MARGIN else "by distance to right alone (the paper's)"
            said.append(f"CLUE's choice {by} {what}: {signed(its.difference)} {ends}, p = {p_value(its.p_value)}.")
        return said
