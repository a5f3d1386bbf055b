"""`verified`: every method of verification, with its controls, on the same answers and folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from lens_truth.data.examples import SUPPORTED, Example, rows_by_question
from lens_truth.detection import verification as names
from lens_truth.detection.clue import directions_of, held_out_distances
from lens_truth.detection.dynamics import (
    alignment,
    alignment_features,
    held_out_by_features,
    motion_features,
    towards_known,
    towards_truths,
)
from lens_truth.detection.ends import (
    AnswerEnds,
    between,
    read_ends,
    sampled_rows,
    statements,
    whole,
)
from lens_truth.detection.lengths import matched_weights
from lens_truth.detection.verification import Verification
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import first_line, token_f1
from lens_truth.evaluate.sampling import SampledAnswers
from lens_truth.io.streams import Stream, stream
from lens_truth.models.hooks import Hooked
from lens_truth.models.prompts import Encoded, Template
from lens_truth.scoring.causal import encode_answers
from lens_truth.scoring.metrics import aurocs
from lens_truth.stats.folds import grouped_folds, permuted_labels


@dataclass(frozen=True)
class Answers:
    """N answers and all that verification knows of them."""

    kind: Literal["given", "sampled"]
    ends: AnswerEnds
    labels: Int[np.ndarray, " N"]
    groups: tuple[str, ...]
    question: Int[np.ndarray, " N"]
    texts: tuple[str, ...]
    truths: tuple[tuple[str, str], ...]
    """The question and its right answer, for each of them; ("", "") where no right answer is known."""
    sample: tuple[tuple[int, int], ...] = ()
    """Of sampled ones the question, and the first sample that is this answer."""


def given_answers(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    tags: tuple[str, str] | None = None,
    batch_size: int | None = None,
) -> Answers:
    """Labelled answers of a data set, read at their ends or at those of what stands between `tags`.

    >>> answers = lens_truth.given_answers(model, lens_truth.load_examples("facts:closed-book/test", limit=400))

    Raises:
        InputError: if they are all right or all wrong, or what `answer_ends` refuses.
    """
    if len({example.label for example in examples}) < 2:
        raise InputError(
            f"all {len(examples)} answers are {'supported' if examples[0].label else 'hallucinated'}, so there is "
            "nothing to verify; let the model answer (--samples 10), or take data with answers of both labels"
        )
    kept, ends = _read(model, encode_answers(model, examples, template), tags, batch_size)
    question, truth = np.empty(len(examples), dtype=int), dict[int, tuple[str, str]]()
    for number, rows in enumerate(rows_by_question(examples)):
        question[rows] = number
        right = next((examples[row] for row in rows if examples[row].label == SUPPORTED), None)
        truth[number] = (right.question, right.answer) if right else ("", "")
    its = [examples[row] for row in kept]
    labels, groups = np.array([e.label for e in its]), tuple(e.group for e in its)
    truths = tuple(truth[number] for number in question[kept].tolist())
    return Answers("given", ends, labels, groups, question[kept], tuple(e.answer for e in its), truths)


def answers_of_samples(
    model: Hooked,
    sampled: SampledAnswers,
    match: str = "contains",
    *,
    tags: tuple[str, str] | None = None,
    batch_size: int | None = None,
) -> Answers:
    """Every different answer that was sampled, labelled by whether it is right.

    >>> answers = lens_truth.answers_of_samples(model, lens_truth.sampled_answers(model, examples))

    Raises:
        InputError: if all are right, or all are wrong or empty.
    """
    marks = sampled.right(match)
    rows, at = sampled_rows(sampled)
    labels = np.array([marks[place] for place in at], dtype=int)
    if len({*labels.tolist()}) < 2:
        which = "right" if labels.any() else "wrong or empty"
        raise InputError(
            f"all {marks.size} sampled answers are {which}, so nothing can be verified; ask easier or harder questions"
        )
    kept, ends = _read(model, rows, tags, batch_size)
    at = [at[row] for row in kept]
    asked = [sampled.questions[question] for question, _ in at]
    texts = tuple(sampled.answers[question][number].text for question, number in at)
    truths = tuple((e.question, e.answer) for e in asked)
    question = np.array([question for question, _ in at])
    return Answers("sampled", ends, labels[kept], tuple(e.group for e in asked), question, texts, truths, tuple(at))


def _read(
    model: Hooked, rows: Sequence[Encoded], tags: tuple[str, str] | None, batch_size: int | None
) -> tuple[list[int], AnswerEnds]:
    """The rows that have both ends, and these."""
    spans = between(model, rows, tags) if tags else [whole(row) for row in rows]
    placed = [(row, span) for row, span in enumerate(spans) if span is not None]
    kept = [row for row, _ in placed]
    return kept, read_ends(model, [rows[row] for row in kept], [span for _, span in placed], batch_size=batch_size)


def verified(
    model: Hooked, answers: Answers, *, n_folds: int = 5, n_permutations: int = 200, seed: int = 0
) -> Verification:
    """CLUE, its controls of length and of the question, log-probabilities, and layer-wise dynamics with and without the
    true statement; every answer scored by experiences of other groups.

    >>> found = lens_truth.verified(model, lens_truth.given_answers(model, examples))

    Raises:
        InputError: if there are fewer groups than folds, or a fold would leave one label to learn from.
    """
    ends, labels, groups = answers.ends, answers.labels, answers.groups
    fold = grouped_folds(labels, groups, n_folds, seed)
    draws = permuted_labels(labels, groups, n_permutations, seed, fold)
    distances = held_out_distances(ends.deltas, np.concatenate([labels[None], draws]), fold)
    margins = distances[..., 1] - distances[..., 0]
    one = labels[None]
    length = torch.from_numpy(ends.n_tokens.astype(np.float64))[:, None, None]
    matched = matched_weights(ends.n_tokens, labels, fold)
    scores = {
        names.CLUE: margins[0],
        names.MATCHED: _margin(held_out_distances(ends.deltas, one, fold, matched)),
        names.UNIT: _margin(held_out_distances(directions_of(ends.deltas), one, fold)),
        names.NEAR: -distances[0, :, 0],
        names.END: _margin(held_out_distances(ends.end, one, fold)),
        names.START: _margin(held_out_distances(ends.start, one, fold)),
        names.LENGTH: _margin(held_out_distances(length, one, fold)),
        names.PER_TOKEN: ends.log_probs / np.maximum(1, ends.n_answer_tokens),
        names.TOTAL: ends.log_probs,
        **_dynamics(model, answers, fold, seed),
    }
    return Verification(
        answers=answers.kind,
        groups=groups,
        question=answers.question.astype(float),
        right=labels.astype(float),
        tokens=ends.n_tokens.astype(float),
        scores={name: np.asarray(its, dtype=float) for name, its in scores.items()},
        null=np.array([_auroc(its, draw) for its, draw in zip(margins[1:], draws, strict=True)], dtype=float),
        n_folds=n_folds,
        n_layers=ends.end.shape[1],
        seed=seed,
    )


def _margin(distances: Float[np.ndarray, "1 N 2"]) -> Float[np.ndarray, " N"]:
    return distances[0, :, 1] - distances[0, :, 0]


def _auroc(scores: Float[np.ndarray, " N"], labels: Int[np.ndarray, " N"]) -> float:
    return float(aurocs(torch.from_numpy(scores)[None], torch.from_numpy(labels == 1)))


def _dynamics(
    model: Hooked, answers: Answers, fold: Int[np.ndarray, " N"], seed: int
) -> dict[str, Float[np.ndarray, " N"]]:
    """Layer-wise dynamics, where the truth of every question is known."""
    motion = motion_features(answers.ends.end)
    alone = {names.LSD_MOTION: held_out_by_features(motion, answers.labels, fold)}
    if ("", "") in answers.truths:
        return alone
    distinct = list(dict.fromkeys(answers.truths))
    read = statements(model, [f"{question} {answer}" for question, answer in distinct])
    truths = read[[distinct.index(its) for its in answers.truths]]
    states, other = answers.ends.end, shuffled_truths(answers.groups, seed)
    towards = {
        names.LSD: towards_truths(truths),
        names.LSD_OTHER: towards_truths(truths)[other],
        names.LSD_MEAN: towards_known(states, truths, fold),
    }
    found = {
        name: held_out_by_features(
            np.concatenate([alignment_features(alignment(states, its)), motion], axis=1), answers.labels, fold
        )
        for name, its in towards.items()
    }
    shared = [token_f1(first_line(text), truth) for text, (_, truth) in zip(answers.texts, answers.truths, strict=True)]
    return {**found, **alone, names.WORDS: np.array(shared)}


def shuffled_truths(groups: Sequence[str], seed: int) -> Int[np.ndarray, " N"]:
    """For each row a row of another group, whose truth stands for its own."""
    distinct = list(dict.fromkeys(groups))
    order: list[int] = stream(seed, Stream.VERIFIED).permutation(len(distinct)).tolist()
    first = {group: place for place, group in reversed(list(enumerate(groups)))}
    following = {distinct[one]: distinct[other] for one, other in zip(order, [*order[1:], *order[:1]], strict=True)}
    return np.array([first[following[group]] for group in groups])
