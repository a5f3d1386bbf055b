"""`surface_accuracy`: what an answer's length and last character tell of its label, the baseline beside every truth
score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from lens_truth.data.examples import Example, labels_of
from lens_truth.errors import InputError
from lens_truth.io.stages import stage

CONFOUNDED = 0.1
"""A surface accuracy that is more than this above the larger class's share is reported as a confound."""


@stage("surface")
def surface_accuracy(examples: Sequence[Example], *, n_folds: int = 5, seed: int = 0) -> float:
    """Cross-validated accuracy of a classifier that sees only the answer's length in characters and its last
    character (logistic regression; the folds of `truth_scores`). A truth score means nothing unless it is clearly
    higher.

    >>> lens_truth.surface_accuracy(examples)

    Raises:
        InputError: for one class only, fewer groups than folds, and empty answers.
    """
    from sklearn import model_selection  # no need of a report

    from lens_truth.stats.folds import grouped_folds

    answers = [example.answer.strip() for example in examples]
    empty = [example.id for example, answer in zip(examples, answers, strict=True) if not answer]
    if empty:
        raise InputError(f"{len(empty)} of {len(examples)} answers are empty (first: example '{empty[0]}')")
    labels = np.array(labels_of(examples))
    fold = grouped_folds(labels, [example.group for example in examples], n_folds, seed)
    split = model_selection.PredefinedSplit(fold)
    model, features = surface_classifier(), surface_features(answers)
    return float(cast("np.ndarray", model_selection.cross_val_score(model, features, labels, cv=split)).mean())


def surface_features(answers: Sequence[str]) -> Float[np.ndarray, "N 3"]:
    """What `surface_classifier` sees of answers: length, its logarithm, and the last character."""
    return np.array([[len(answer), np.log(len(answer)), ord(answer[-1])] for answer in answers])


def surface_classifier() -> Any:
    """Scikit-learn's logistic regression on `surface_features`, not fitted yet."""
    from sklearn import linear_model, pipeline, preprocessing

    # not a ColumnTransformer, which imports pandas if it is there: 80 MB
    lengths, last = (preprocessing.FunctionTransformer(see) for see in (_lengths, _last))
    scaled = pipeline.make_pipeline(lengths, preprocessing.StandardScaler())
    one_hot = pipeline.make_pipeline(last, preprocessing.OneHotEncoder(handle_unknown="ignore"))
    classifier = linear_model.LogisticRegression(max_iter=1000)
    return pipeline.make_pipeline(pipeline.make_union(scaled, one_hot), classifier)


def _lengths(features: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 2"]:
    return features[:, :2]


def _last(features: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 1"]:
    return features[:, 2:]


def majority_share(examples: Sequence[Example]) -> float:
    """Share of the larger class: the accuracy of an answer that is always the same.

    >>> lens_truth.data.majority_share(examples)
    """
    supported = float(np.mean(labels_of(examples)))
    return max(supported, 1 - supported)


def surface_warning(accuracy: float, majority: float, best_head: float | None = None) -> str | None:
    """A sentence for whoever might take truth scores (the best head's, where it is known) at face value, or None.

    >>> surface, majority = lens_truth.surface_accuracy(examples), lens_truth.data.majority_share(examples)
    >>> warning = lens_truth.data.surface_warning(surface, majority, float(truth.values.max()))
    """
    if not accuracy > majority + CONFOUNDED:  # nor where it is not defined
        return None
    separated = (
        f"SURFACE CONFOUND: the answer's length and last character alone separate the labels with accuracy "
        f"{accuracy:.3f}"
    )
    if best_head is None:
        return f"{separated}. Truth scores on these answers need not be about truth."
    verdict = "no head does better" if best_head <= accuracy else f"the best head reaches {best_head:.3f}"
    return f"{separated}; {verdict}. These truth scores need not be about truth."
