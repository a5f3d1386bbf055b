"""`audit`: are the labels fit to be probed? What the surface of the answers tells alone, and labels that contradict
one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
from sklearn import compose, model_selection, pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example, labels_of
from lens_truth.data.images import is_made
from lens_truth.stats.folds import grouped_folds

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
    model = pipeline.make_pipeline(
        compose.make_column_transformer((StandardScaler(), [0, 1]), (OneHotEncoder(handle_unknown="ignore"), [2])),
        LogisticRegression(max_iter=1000),
    )
    split = model_selection.PredefinedSplit(fold)
    return float(cast("np.ndarray", model_selection.cross_val_score(model, features, labels, cv=split)).mean())


def majority_share(examples: Sequence[Example]) -> float:
    """Share of the larger class: the accuracy of an answer that is always the same."""
    supported = float(np.mean(labels_of(examples)))
    return max(supported, 1 - supported)


def surface_warning(accuracy: float, majority: float, best_head: float | None = None) -> str | None:
    """A sentence for whoever might take truth scores (the best head's, where it is known) at face value, or None."""
    if accuracy <= majority + CONFOUNDED:
        return None
    separated = (
        f"SURFACE CONFOUND: the answer's length and last character alone separate the labels with accuracy "
        f"{accuracy:.3f}"
    )
    if best_head is None:
        return f"{separated}. Truth scores on these answers need not be about truth."
    verdict = "no head does better" if best_head <= accuracy else f"the best head reaches {best_head:.3f}"
    return f"{separated}; {verdict}. These truth scores need not be about truth."


@dataclass(frozen=True)
class Repeats:
    """How often one set of rows gives the same answer again."""

    repeated: int
    """Rows beyond the first with the same context, question, answer and image."""
    contradictory: int
    """Answers (each counted once) that have both labels."""


@dataclass(frozen=True)
class Agreement:
    """How two sets of rows label the answers that both have; each answer counts once."""

    shared: int
    same: int
    supported_first: int
    """Supported in the first set, hallucinated in the second."""
    hallucinated_first: int
    """Hallucinated in the first set, supported in the second."""

    @property
    def opposite(self) -> int:
        """Answers that are supported in one set and hallucinated in the other."""
        return self.supported_first + self.hallucinated_first

    @property
    def undecided(self) -> int:
        """Answers that have both labels inside one of the sets."""
        return self.shared - self.same - self.opposite


def repeats(examples: Sequence[Example]) -> Repeats:
    """Repeated rows, and answers that have both labels."""
    labels = _labels_of_answers(examples)
    return Repeats(len(examples) - len(labels), sum(len(found) == 2 for found in labels.values()))


def label_agreement(one: Sequence[Example], other: Sequence[Example]) -> Agreement:
    """Agreement on the answers with the same context, question, answer and image; image files count as the same if
    they have the same name, in whatever folder."""
    first, second = _labels_of_answers(one), _labels_of_answers(other)
    shared = [(first[answer], second[answer]) for answer in first if answer in second]
    supported, hallucinated = frozenset({SUPPORTED}), frozenset({HALLUCINATED})
    return Agreement(
        len(shared),
        shared.count((supported, supported)) + shared.count((hallucinated, hallucinated)),
        shared.count((supported, hallucinated)),
        shared.count((hallucinated, supported)),
    )


def label_warnings(sets: Mapping[str, Sequence[Example]]) -> list[str]:
    """A sentence for every set that labels an answer both ways, and for every two sets that contradict each other."""
    warnings: list[str] = []
    for name, examples in sets.items():
        if contradictory := repeats(examples).contradictory:
            warnings.append(f"LABEL CONFLICT: {name} labels {contradictory} answers both supported and hallucinated")
    for (one, its), (other, others) in combinations(sets.items(), 2):
        agreement = label_agreement(its, others)
        if agreement.opposite:
            warnings.append(
                f"LABEL CONFLICT: {one} and {other} label {agreement.opposite} of the {agreement.shared} answers that "
                f"both have oppositely ({agreement.supported_first} are supported in {one} and hallucinated in "
                f"{other}, {agreement.hallucinated_first} the other way round). One of them has the direction wrong"
            )
    return warnings


def _labels_of_answers(examples: Sequence[Example]) -> dict[tuple[str, ...], frozenset[int]]:
    labels: dict[tuple[str, ...], frozenset[int]] = {}
    for example in examples:
        image = example.image if is_made(example.image) else Path(example.image).name
        answer = (image, example.context.strip(), example.question.strip(), example.answer.strip())
        labels[answer] = labels.get(answer, frozenset()) | {example.label}
    return labels
