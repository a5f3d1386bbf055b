"""`reranked`: each rule's choice among the sampled answers to a question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.detection import reranking as to
from lens_truth.detection import verification as names
from lens_truth.detection.reranking import Reranking
from lens_truth.detection.verification import Verification
from lens_truth.detection.verifying import Answers
from lens_truth.evaluate.answers import first_line, normalized
from lens_truth.evaluate.sampling import SampledAnswers


def reranked(sampled: SampledAnswers, answers: Answers, found: Verification, match: str = "contains") -> Reranking:
    """Each rule's choice among the samples of each question; `answers` are those of `answers_of_samples`.

    >>> lens_truth.reranked(sampled, answers, lens_truth.verified(model, answers)).tables()
    """
    right, n = sampled.right(match), sampled.n_tokens.shape[1]
    lines = [[normalized(first_line(its.text)) for its in some] for some in sampled.answers]
    scores = {name: _of_samples(sampled, answers, found.scores[name]) for name in (*_BY, names.PER_TOKEN)}
    Q = len(lines)
    picked = {
        to.FIRST: np.zeros(Q, dtype=int),
        to.MAJORITY: np.array([_majority(some, range(n)) for some in lines]),
        to.LIKELIEST: scores[names.PER_TOKEN].argmax(1),
        to.SHORTEST: np.where(sampled.n_tokens > 0, sampled.n_tokens, np.iinfo(int).max).argmin(1),
        **{rule: scores[name].argmax(1) for name, rule in _BY.items()},
    }
    nearest = np.argsort(-scores[names.NEAR], axis=1, kind="stable")[:, : max(1, n // 2)]
    picked[to.AMONG] = np.array([_majority(some, its.tolist()) for some, its in zip(lines, nearest, strict=True)])
    marks: dict[str, Any] = {to.RANDOM: right.mean(1)}
    marks |= {rule: 1.0 * right[np.arange(Q), its] for rule, its in picked.items()}
    marks[to.ORACLE] = 1.0 * right.any(1)
    repeated = [Counter(some)[line] > 1 for some in lines for line in some if line]
    return Reranking(
        ids=tuple(example.id for example in sampled.questions),
        groups=tuple(example.group for example in sampled.questions),
        marks=marks,
        n_samples=n,
        repeated=float(np.mean(repeated)),
        seed=found.seed,
    )


_BY = {
    names.NEAR: to.NEAREST,
    names.CLUE: to.BY_MARGIN,
    names.MATCHED: to.BY_MATCHED,
    names.UNIT: to.BY_UNIT,
}


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
