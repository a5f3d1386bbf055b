"""Replies that a model gives again and again, right or wrong: what neurons of hallucination are found in (Gao et al.
2025, H-Neurons, arXiv 2512.01797, Section 3.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from lens_truth.data.answer_part import answer_part
from lens_truth.data.replies import Reply
from lens_truth.data.row_fields import HALLUCINATED, SUPPORTED
from lens_truth.errors import InputError
from lens_truth.io.numbers import number
from lens_truth.io.results import Result
from lens_truth.io.streams import Stream, stream
from lens_truth.io.tables import Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lens_truth.evaluate.answers import Answer
    from lens_truth.evaluate.sampling import SampledAnswers

Judge = Literal["true", "false", "uncertain"]
"""A sample is right, wrong, or says that it does not know, which is neither."""

_UNSURE = ("don't know", "do not know", "cannot", "not provided", "no information")
"""By which the paper's code tells who does not know; a right answer may say so too."""


@dataclass(frozen=True, eq=False)
class ReplyConsistency(Result):
    """How often a model says the same to a question: of Q questions, each asked n times, how many are answered right or
    wrong every time, and what became of the others.

    >>> consistency = lens_truth.ReplyConsistency.load("runs/neurons-sample")
    >>> print(consistency.by_right, consistency.verdicts(), consistency.tables()[0])
    >>> consistency.plot()
    """

    command: ClassVar[str] = "neurons"
    part: ClassVar[str] = "consistency"

    match: str
    """How a sample was judged."""
    by_right: tuple[int, ...]
    """How many questions have 0, 1, ..., n right samples."""
    unsure: int
    """Questions without a right sample of which one says that it does not know, or nothing: neither right nor
    hallucinated."""
    unplaced: int
    """Questions that are all right or all wrong, and in whose reply no answer can be made out."""
    right: int
    """Replies that are right every time."""
    hallucinated: int
    """Replies that are wrong every time."""
    parts: Mapping[str, tuple[int, int]]
    """Of each part that was drawn the right and the hallucinated replies; empty before any was."""

    @property
    def questions(self) -> int:
        """Q."""
        return sum(self.by_right)

    @property
    def mixed(self) -> int:
        """Questions with right and wrong samples."""
        return sum(self.by_right[1:-1])

    def tables(self) -> tuple[Table]:
        """What became of the questions, a row each."""
        n = len(self.by_right) - 1
        kept = {f"all {n} right": self.right, f"all {n} wrong": self.hallucinated}
        lost = {
            "right and wrong ones": self.mixed,
            "one says that it does not know, or nothing": self.unsure,
            "no answer can be made out in the reply": self.unplaced,
        }
        drawn = {f"{name}, {side}": its[place] for name, its in self.parts.items() for place, side in enumerate(_SIDES)}
        rows = [
            row(name, str(its), number(its / max(self.questions, 1))) for name, its in (kept | lost | drawn).items()
        ]
        note = f"samples judged by the questions' answers and aliases ({self.match}); one reply a question"
        return (
            table(f"{self.questions} questions, asked {n} times", ("its samples", "questions", "share"), rows, note),
        )

    def verdicts(self) -> list[str]:
        """One sentence of what is kept."""
        n, kept = len(self.by_right) - 1, self.right + self.hallucinated
        return [
            f"Of {self.questions} questions {self.right} are answered right {n} times out of {n}, and "
            f"{self.hallucinated} wrong; {self.questions - kept} are left out."
        ]

    def plot(self) -> Figure:
        """Questions by how many of their samples are right."""
        from lens_truth.evaluate.figures import consistency_bars

        return consistency_bars(self)


_SIDES = ("right", "hallucinated")


def judged(sampled: SampledAnswers, match: str = "contains") -> list[list[Judge]]:
    """Of each question's samples whether they are right, wrong, or say that they do not know (or nothing)."""
    right = sampled.right(match)
    return [
        [
            "true" if ok else "uncertain" if _says_nothing(answer.text) else "false"
            for ok, answer in zip(*its, strict=True)
        ]
        for its in zip(right.tolist(), sampled.answers, strict=True)
    ]


def _says_nothing(text: str) -> bool:
    said = text.replace("’", "'").lower()
    return not text.strip() or any(words in said for words in _UNSURE)


def sample_rows(sampled: SampledAnswers, match: str = "contains") -> Iterator[dict[str, Any]]:
    """Every sample with its judgement, a row a question, as the paper's code writes them."""
    for question, answers, its in zip(sampled.questions, sampled.answers, judged(sampled, match), strict=True):
        yield {
            question.id: {
                "question": question.question,
                "responses": [answer.text for answer in answers],
                "judges": its,
                "ground_truth": [question.answer, *question.aliases],
            }
        }


def consistent_replies(sampled: SampledAnswers, match: str = "contains") -> tuple[list[Reply], ReplyConsistency]:
    """A reply to each question that is answered right every time, or wrong every time, and what became of the others.

    Of a question's samples the text that came most often stands for all (as in the paper's code), of equals the one
    that came first. Its answer is found by one rule for right and wrong replies, without a judge
    (`lens_truth/data/answer_part.py`).

    >>> sampled = lens_truth.sampled_answers(model, lens_truth.load_examples("facts:closed-book"))
    >>> replies, consistency = lens_truth.consistent_replies(sampled)

    Args:
        match: when a sample is right, as `SampledAnswers.right` has it.

    Raises:
        InputError: if no question is answered right every time, or none wrong.
    """
    judges = judged(sampled, match)
    n = len(judges[0])
    by_right = Counter(its.count("true") for its in judges)
    replies, unsure, unplaced = list[Reply](), 0, 0
    for question, answers, its in zip(sampled.questions, sampled.answers, judges, strict=True):
        if "true" not in its and "uncertain" in its:
            unsure += 1
        elif len({*its}) == 1:
            chosen = _commonest(answers)
            text = chosen.text.strip()
            if (span := answer_part(question.question, text)) is None:
                unplaced += 1
            else:
                label = SUPPORTED if its[0] == "true" else HALLUCINATED
                asked = replace(question, answer=text, label=label, aliases=())
                replies.append(Reply(asked, span, chosen.tokens))
    right = sum(not reply.hallucinated for reply in replies)
    if right in (0, len(replies)):
        lacking, other, which = ("right", "wrong", "easier") if not right else ("wrong", "right", "harder")
        raise InputError(
            f"no question of {len(judges)} is answered {lacking} by all {n} samples, {len(replies)} {other} by all; "
            f"neurons are found in replies of both kinds: ask more questions, {which} ones, or for fewer samples"
        )
    counts = tuple(by_right[k] for k in range(n + 1))
    return replies, ReplyConsistency(match, counts, unsure, unplaced, right, len(replies) - right, {})


def _commonest(answers: Sequence[Answer]) -> Answer:
    texts = Counter(answer.text.strip() for answer in answers)
    return max(answers, key=lambda answer: texts[answer.text.strip()])


def balanced_replies(replies: Sequence[Reply], n: int | None, seed: int, part: int = 0) -> list[Reply]:
    """As many right as hallucinated replies, drawn at random, at most n of each; in the order they had.

    >>> train = lens_truth.balanced_replies(replies, 1000, seed=0)

    Args:
        part: of several parts each draws by its own number.

    Raises:
        InputError: if there is none of one kind, or n is below 1.
    """
    if n is not None and n < 1:
        raise InputError(f"{n} replies of each kind were asked for; it must be at least 1")
    sides = [[row for row, its in enumerate(replies) if its.example.label == label] for label in (0, 1)]
    size = min(len(side) for side in sides)
    if not size:
        kind = _SIDES[0] if not sides[1] else _SIDES[1]
        raise InputError(
            f"among {len(replies)} replies of one part none is {kind}, so as many of each kind cannot be drawn: ask "
            "more questions, or keep all for one part (--test-share 0)"
        )
    size = size if n is None else min(n, size)
    rng = stream(seed, Stream.BALANCED_REPLIES, part)
    drawn = np.concatenate([rng.choice(side, size, replace=False) for side in sides])
    return [replies[row] for row in sorted(drawn.tolist())]
