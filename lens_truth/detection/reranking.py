"""`Reranking`: of a question's sampled answers one is taken; by whom is it the right one?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from lens_truth.detection import verification as names
from lens_truth.detection.verification import Verification
from lens_truth.detection.verifying import Answers
from lens_truth.evaluate.answers import first_line, normalized
from lens_truth.evaluate.sampling import SampledAnswers
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


def reranked(sampled: SampledAnswers, answers: Answers, found: Verification, match: str = "contains") -> Reranking:
    """Each rule's choice among the samples of each question; `answers` are those of `answers_of_samples`.

    >>> reranked(sampled, answers, verified(model, answers)).tables()
    """
    right, n = sampled.right(match), sampled.n_tokens.shape[1]
    lines = [[normalized(first_line(its.text)) for its in some] for some in sampled.answers]
    scores = {name: _of_samples(sampled, answers, found.scores[name]) for name in (*_BY, names.PER_TOKEN)}
    Q = len(lines)
    picked = {
        FIRST: np.zeros(Q, dtype=int),
        MAJORITY: np.array([_majority(some, range(n)) for some in lines]),
        LIKELIEST: scores[names.PER_TOKEN].argmax(1),
        SHORTEST: np.where(sampled.n_tokens > 0, sampled.n_tokens, np.iinfo(int).max).argmin(1),
        **{rule: scores[name].argmax(1) for name, rule in _BY.items()},
    }
    nearest = np.argsort(-scores[names.NEAR], axis=1, kind="stable")[:, : max(1, n // 2)]
    picked[AMONG] = np.array([_majority(some, its.tolist()) for some, its in zip(lines, nearest, strict=True)])
    marks: dict[str, Any] = {RANDOM: right.mean(1)}
    marks |= {rule: 1.0 * right[np.arange(Q), its] for rule, its in picked.items()}
    marks[ORACLE] = 1.0 * right.any(1)
    repeated = [Counter(some)[line] > 1 for some in lines for line in some if line]
    return Reranking(
        ids=tuple(example.id for example in sampled.questions),
        groups=tuple(example.group for example in sampled.questions),
        marks=marks,
        n_samples=n,
        repeated=float(np.mean(repeated)),
        seed=found.seed,
    )


_BY = {names.NEAR: NEAREST, names.CLUE: BY_MARGIN, names.MATCHED: BY_MATCHED, names.UNIT: BY_UNIT}


def _of_samples(sampled: SampledAnswers, answers: Answers, scores: Float[np.ndarray, " N"]) -> Float[np.ndarray, "Q n"]:
    """The score of every sample, from that of the different answers; of what was not verified none is lower."""
    known = {
        (question, sampled.answers[question][number].tokens): score
        for (question, number), score in zip(answers.sample, scores.tolist(), strict=True)
    }
    found = [[known.get((q, its.tokens), -np.inf) for its in some] for q, some in enumerate(sampled.answers)]
    return np.nan_to_num(np.array(found), nan=-np.inf)


def _majority(lines: Sequence[str], among: Sequence[int] | range) -> int:
    """The first sample that says what most of them say; an empty answer has no vote."""
    counts = Counter(lines[number] for number in among if lines[number])
    return max(among, key=lambda number: counts[lines[number]])
