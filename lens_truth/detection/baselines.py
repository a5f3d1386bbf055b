"""What else might tell supported from hallucinated answers, as scores of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.data.examples import Example, labels_of
from lens_truth.data.surface import surface_classifier, surface_features
from lens_truth.detection.choosing import validation_folds
from lens_truth.detection.reading import AnswerReads
from lens_truth.errors import notice
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.hooks import Hooked
from lens_truth.models.prompts import Template

TRIALS = 20
"""Draws of random heads."""
Texts = Sequence[Sequence[Example]]
"""Rows of training (which may be none), validation and test."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of validation and test rows by one method, the higher the more supported; of several trials if it
    draws."""

    validation: Float[np.ndarray, "R V"]
    test: Float[np.ndarray, "R T"]

    @classmethod
    def once(cls, validation: Float[np.ndarray, " V"], test: Float[np.ndarray, " T"]) -> Scored:
        """Of one trial."""
        return cls(validation[None], test[None])


def surface_scores(parts: Texts, seed: int) -> Scored:
    """By the answer's length and last character, as `surface_accuracy` has them."""
    return _fitted(surface_classifier, lambda rows: surface_features([row.answer.strip() for row in rows]), parts, seed)


def word_scores(parts: Texts, seed: int) -> Scored:
    """By the words of the answer, whatever their order: a logistic regression on which of them occur."""
    from sklearn import linear_model, pipeline
    from sklearn.feature_extraction.text import CountVectorizer

    def classifier() -> Any:
        words = CountVectorizer(binary=True, token_pattern=r"\w+|[^\w\s]")  # an answer may be one sign
        return pipeline.make_pipeline(words, linear_model.LogisticRegression(max_iter=1000))

    return _fitted(classifier, lambda rows: np.array([row.answer for row in rows], dtype=object), parts, seed)


def likelihood_scores(validation: AnswerReads, test: AnswerReads) -> dict[str, Scored]:
    """By the model's log-probability of the answer, in total and per token (which ranks as perplexity does)."""
    total = [np.array([its.log_prob for its in part.tokens]) for part in (validation, test)]
    n = [np.array([max(1, its.n_likely) for its in part.tokens]) for part in (validation, test)]
    per_token = [its / many for its, many in zip(total, n, strict=True)]
    return {
        "log-probability": Scored.once(*total),
        "log-probability per token (perplexity)": Scored.once(*per_token),
    }


@stage("judgement")
def judge_scores(model: Hooked, parts: Texts, template: Template, batch_size: int | None) -> Scored | None:
    """By the model's own judgement: asked whether the answer is hallucinated, by how much no is likelier than yes.
    None, with a warning, where the tokenizer begins both with one token."""
    asker = Asker(model, template, batch_size=batch_size)
    if not asker.has_margins:
        notice("the tokenizer begins yes and no with the same token, so the model's own judgement is left out")
        return None
    asked = [row for part in parts[1:] for row in part]
    answers = asker.ask(benchmark_of("judge", "judge", asked, n_new=1), margins=True)[""]
    scores = -np.array([answer.margin for answer in answers], dtype=float)
    return Scored.once(scores[: len(parts[1])], scores[len(parts[1]) :])


def random_head_scores(
    validation: Float[np.ndarray, "V L H"], test: Float[np.ndarray, "T L H"], n_heads: int, seed: int
) -> Scored:
    """By the mean decision of as many heads, drawn at random."""
    rng, n = stream(seed, Stream.RANDOM_HEADS), validation[0].size
    drawn = [rng.choice(n, n_heads, replace=False) for _ in range(TRIALS)]
    means = [[part.reshape(len(part), n)[:, heads].mean(1) for heads in drawn] for part in (validation, test)]
    return Scored(np.stack(means[0]), np.stack(means[1]))


def _fitted(make: Callable[[], Any], see: Callable[[Sequence[Example]], np.ndarray], parts: Texts, seed: int) -> Scored:
    """Decisions of a classifier that is fitted on the training and validation rows; those on a validation row without
    its fold."""
    train, validation, test = parts
    known, labels = [*train, *validation], np.array(labels_of([*train, *validation]))
    fold = validation_folds(np.array(labels_of(validation)), [row.group for row in validation], seed)
    x, held_out = see(known), np.empty(len(validation))
    for k in range(int(fold.max()) + 1):
        kept = np.r_[np.ones(len(train), dtype=bool), fold != k]
        held_out[fold == k] = make().fit(x[kept], labels[kept]).decision_function(x[len(train) :][fold == k])
    return Scored.once(held_out, make().fit(x, labels).decision_function(see(test)))
