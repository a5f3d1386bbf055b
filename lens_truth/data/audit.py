"""`Audit`: are the labels fit to be probed? What the surface of the answers tells alone, and labels that contradict one
another."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example, labels_of
from lens_truth.data.images import is_made
from lens_truth.errors import InputError
from lens_truth.io.numbers import number
from lens_truth.io.results import Result
from lens_truth.io.stages import stage
from lens_truth.io.tables import Row, Table, row, table

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
    from sklearn import compose, linear_model, pipeline, preprocessing

    scaled = (preprocessing.StandardScaler(), [0, 1])
    one_hot = (preprocessing.OneHotEncoder(handle_unknown="ignore"), [2])
    classifier = linear_model.LogisticRegression(max_iter=1000)
    return pipeline.make_pipeline(compose.make_column_transformer(scaled, one_hot), classifier)


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


@dataclass(frozen=True, eq=False)
class Audit(Result):
    """What a set of labelled answers gives away without a model; see `audit_examples`.

    >>> audit = lens_truth.Audit.load("runs/audit")
    >>> print(audit.surface_accuracy, *audit.warnings(), audit.tables()[0])
    """

    command = "audit"
    part = "audit"
    named = True

    rows: int
    groups: int
    supported: int
    """Rows with label 1."""
    surface_accuracy: float
    """Of the surface baseline; NaN where there is none."""
    no_surface: str
    """Why there is no surface baseline; empty where there is one."""
    repeated: int
    """Rows beyond the first with the same context, question, answer and image."""
    contradictory: int
    """Answers (each counted once) that have both labels."""

    @property
    def majority_share(self) -> float:
        """Share of the larger class: the accuracy of an answer that is always the same."""
        return max(self.supported, self.rows - self.supported) / self.rows

    def warnings(self, name: str = "the data") -> list[str]:
        """A sentence for whatever keeps truth scores from being about truth, with the name of the set."""
        confound = surface_warning(self.surface_accuracy, self.majority_share)
        said = f"no surface baseline: {self.no_surface}" if self.no_surface else confound
        return [*([f"{name}: {said}"] if said else []), *_both_labels(name, self.contradictory)]

    def tables(self) -> tuple[Table]:
        """One row, as `audit_table` makes them."""
        return (audit_table({"": self}),)


@dataclass(frozen=True, eq=False)
class Agreement(Result):
    """How two sets of rows label the answers that both have; each answer counts once."""

    command = "audit"
    part = "agreement"
    named = True

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

    def warnings(self, one: str, other: str) -> list[str]:
        """A sentence if the sets contradict each other."""
        said = (
            f"LABEL CONFLICT: {one} and {other} label {self.opposite} of the {self.shared} answers that both have "
            f"oppositely ({self.supported_first} are supported in {one} and hallucinated in {other}, "
            f"{self.hallucinated_first} the other way round). One of them has the direction wrong"
        )
        return [said] if self.opposite else []

    def tables(self) -> tuple[Table]:
        """One row, as `agreement_table` makes them."""
        return (agreement_table({"": self}),)


def audit_examples(examples: Sequence[Example], *, n_folds: int = 5, seed: int = 0) -> Audit:
    """Are the labels fit to be probed? What the answers' surface tells alone, the larger class's share, repeated rows,
    and answers with both labels. Looks at rows only: images need not be there.

    >>> audit = lens_truth.audit_examples(examples)
    >>> print(audit.surface_accuracy, audit.majority_share, audit.warnings())

    Args:
        n_folds: held-out folds of the surface baseline; groups are never split.

    Raises:
        InputError: for no examples, and for fewer than 2 folds.
    """
    if not examples:
        raise InputError("there are no examples to audit")
    if n_folds < 2:
        raise InputError(f"{n_folds} folds were asked for; at least 2 are needed")
    surface, why = math.nan, ""
    try:
        surface = surface_accuracy(examples, n_folds=n_folds, seed=seed)
    except InputError as error:
        why = str(error)
    groups = {example.group for example in examples}
    return Audit(len(examples), len(groups), sum(labels_of(examples)), surface, why, *repeats(examples))


def audit_table(audits: Mapping[str, Audit]) -> Table:
    """A row a data set, by name."""
    header = ("data", "rows", "groups", "supported", "larger class", "surface", "repeated", "both labels")
    rows: list[Row] = []
    for name, its in audits.items():
        counts = [str(n) for n in (its.rows, its.groups, its.supported, its.repeated, its.contradictory)]
        shares = [number(its.majority_share), number(its.surface_accuracy)]
        rows.append(row(name, *counts[:3], *shares, *counts[3:]))
    note = "surface: accuracy of a baseline that sees only the answer's length and last character"
    return table("Are the labels fit to be probed?", header, rows, note)


def agreement_table(pairs: Mapping[str, Agreement]) -> Table:
    """A row for every two data sets, by the names of both."""
    header = ("data", "shared", "same label", "opposite", "both labels in one")
    rows = (row(name, *map(str, (its.shared, its.same, its.opposite, its.undecided))) for name, its in pairs.items())
    return table("Answers that two data sets have both, and their labels there", header, rows)


def repeats(examples: Sequence[Example]) -> tuple[int, int]:
    """How many rows repeat another one, and how many answers have both labels; see `Audit`."""
    labels = _labels_of_answers(examples)
    return len(examples) - len(labels), sum(len(found) == 2 for found in labels.values())


def label_agreement(one: Sequence[Example], other: Sequence[Example]) -> Agreement:
    """Agreement on the answers with the same context, question, answer and image; image files count as the same if
    they have the same name, in whatever folder.

    >>> lens_truth.data.label_agreement(examples, others).opposite
    """
    first, second = _labels_of_answers(one), _labels_of_answers(other)
    shared = first.keys() & second.keys()
    found = Counter((*first[answer], *second[answer]) for answer in shared)  # of three or four if there are both in one
    same = found[SUPPORTED, SUPPORTED] + found[HALLUCINATED, HALLUCINATED]
    return Agreement(len(shared), same, found[SUPPORTED, HALLUCINATED], found[HALLUCINATED, SUPPORTED])


def label_warnings(sets: Mapping[str, Sequence[Example]]) -> list[str]:
    """A sentence for every set that labels an answer both ways, and for every two sets that contradict each other."""
    said = [sentence for name, examples in sets.items() for sentence in _both_labels(name, repeats(examples)[1])]
    for (one, its), (other, others) in combinations(sets.items(), 2):
        said += label_agreement(its, others).warnings(one, other)
    return said


def _both_labels(name: str, n: int) -> list[str]:
    return [f"LABEL CONFLICT: {name} labels {n} answers both supported and hallucinated"] if n else []


def _labels_of_answers(examples: Sequence[Example]) -> dict[tuple[str, ...], set[int]]:
    labels: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for example in examples:
        image = example.image if is_made(example.image) else Path(example.image).name
        labels[image, example.context.strip(), example.question.strip(), example.answer.strip()].add(example.label)
    return labels
