"""Is a truth score an artefact? What can be told from the surface of the answers alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lens_truth.examples import Example, labels_of
from lens_truth.probing.folds import grouped_folds

CONFOUNDED = 0.1
"""A surface accuracy that is more than this above the larger class's share is reported as a confound."""


def surface_accuracy(examples: Sequence[Example], *, n_folds: int = 5, seed: int = 0) -> float:
    """Cross-validated accuracy of a classifier that sees only the answer's length in characters and its last
    character (logistic regression; the folds of `probe`). A truth score means nothing unless it is clearly higher.

    Raises:
        InputError: for one class only or fewer groups than folds.
    """
    labels = np.array(labels_of(examples))
    fold = grouped_folds(labels, [example.group for example in examples], n_folds, seed)
    answers = [example.answer.strip() for example in examples]
    features = np.array([[len(a), np.log(len(a)), ord(a[-1])] for a in answers])
    model = make_pipeline(
        make_column_transformer((StandardScaler(), [0, 1]), (OneHotEncoder(handle_unknown="ignore"), [2])),
        LogisticRegression(max_iter=1000),
    )
    return float(cross_val_score(model, features, labels, cv=PredefinedSplit(fold)).mean())


def majority_share(examples: Sequence[Example]) -> float:
    """Share of the larger class: the accuracy of an answer that is always the same."""
    supported = float(np.mean(labels_of(examples)))
    return max(supported, 1 - supported)


def surface_warning(accuracy: float, majority: float, best_head: float) -> str | None:
    """A sentence for whoever might take the truth scores at face value, or None."""
    if accuracy <= majority + CONFOUNDED:
        return None
    verdict = "no head does better" if best_head <= accuracy else f"the best head reaches {best_head:.3f}"
    return (
        f"SURFACE CONFOUND: the answer's length and last character alone separate the labels with accuracy "
        f"{accuracy:.3f}; {verdict}. These truth scores need not be about truth."
    )
