"""The procedure that finds neurons: C by grouped validation, then a fit to all training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lens_truth.detection.metrics import auroc
from lens_truth.errors import InputError
from lens_truth.neurons.activity import NeuronActivity
from lens_truth.neurons.sparse import SparseFit, smallest_c, sparse_fit, sparse_path
from lens_truth.neurons.study_result import Tried
from lens_truth.stats.folds import check_labels, grouped_folds

FOLDS = 3
"""Of the training groups, among which C is chosen."""
FACTORS = np.geomspace(1.25, 32, 7)
"""Cs that are tried, as multiples of the least at which a neuron has a weight."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Answers as a classifier of hallucination sees them, and perhaps behind them the other tokens of each."""

    x: Float[np.ndarray, "R P"]
    hallucinated: Int[np.ndarray, " R"]
    """1 of hallucinated answers, 0 of right ones (the other way round than labels) and of other tokens."""
    groups: tuple[str, ...]
    n: int
    """Answers; rows behind them are the others'."""

    @classmethod
    def of(cls, activity: NeuronActivity, *, others: bool = False) -> Rows:
        """A row for every answer; with `others` one for the other tokens of every reply too."""
        labels = activity.labels.numpy()
        check_labels(labels)
        x, hallucinated, groups = activity.values.flatten(1).numpy(), 1 - labels, activity.groups
        if others:
            if activity.others is None:
                raise InputError("the other tokens of the replies were not read, which 3-vs-1 training needs")
            x = np.concatenate([x, activity.others.flatten(1).numpy()])
            hallucinated, groups = np.concatenate([hallucinated, np.zeros_like(hallucinated)]), groups * 2
        return cls(x, hallucinated, groups, len(labels))

    @property
    def signs(self) -> Int[np.ndarray, " R"]:
        """1 for hallucinated, -1 for all others."""
        return 2 * self.hallucinated - 1

    def part(self, numbers: Int[np.ndarray, " m"]) -> Rows:
        """Some of the answers, each with its other tokens."""
        taken = np.concatenate([numbers + start for start in range(0, len(self.groups), self.n)])
        of_rows: list[int] = taken.tolist()
        groups = tuple(self.groups[row] for row in of_rows)
        return Rows(self.x[taken], self.hallucinated[taken], groups, len(numbers))

    def labelled(self, hallucinated: Int[np.ndarray, " R"]) -> Rows:
        """The same answers, others of which are hallucinated."""
        return Rows(self.x, hallucinated, self.groups, self.n)


@dataclass(frozen=True, eq=False)
class Found:
    """The fit with the C of the highest validation AUROC; of equals the smallest, so the sparsest."""

    fit: SparseFit
    tried: tuple[Tried, ...]

    @property
    def columns(self) -> Int[np.ndarray, " K"]:
        """Those with a weight."""
        return np.flatnonzero(self.fit.weights)


def found_in(rows: Rows, seed: int, *, told: bool = False) -> Found:
    """The whole procedure on training rows; with `told` also how many neurons each C selects in all of them.

    Raises:
        InputError: if there are fewer groups than folds, or no neuron tells the classes apart.
    """
    Cs = (smallest_c(rows.x, rows.signs) * FACTORS).tolist()
    fold = grouped_folds(rows.hallucinated[: rows.n], rows.groups[: rows.n], FOLDS, seed)
    worth = np.full((FOLDS, len(Cs)), np.nan)
    for k in range(FOLDS):
        train, held = rows.part(np.flatnonzero(fold != k)), np.flatnonzero(fold == k)
        x, y = rows.x[held], rows.hallucinated[held]
        for n, fit in enumerate(sparse_path(train.x, train.signs, Cs, seed=seed)):
            worth[k, n] = auroc(fit.decision(x), y, np.ones((1, len(y))))[0]
    if np.isnan(worth).all():
        raise InputError(
            f"no fold of the {rows.n} answers has both right and hallucinated ones, by which C could be chosen: give "
            "more questions"
        )
    mean = np.nanmean(worth, axis=0)
    chosen = int(np.argmax(mean.round(9)))  # the first of equals
    if not told:
        return Found(sparse_fit(rows.x, rows.signs, Cs[chosen], seed=seed), ())
    fits = list(sparse_path(rows.x, rows.signs, Cs, seed=seed))
    tried = tuple(Tried(C, fit.n_selected, float(its)) for C, fit, its in zip(Cs, fits, mean, strict=True))
    return Found(fits[chosen], tried)
