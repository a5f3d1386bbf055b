"""`directions neither`: how far a truth direction moves when rows that are neither true nor false are given a label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.domains import Domains, show
from lens_truth.commands.run import Run
from lens_truth.errors import InputError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Neither(Domains):
    """Fits probes of every head with the rows that are neither left out, labelled false and labelled true: angles,
    flipped decisions and AUROC against as many true and false rows that join once more. Then three classes, with
    conformal sets. Writes stability.png."""

    data: tuple[str, ...] = ("facts:text",)
    """True and false rows: one file of statements or examples, zoo:NAME, facts:NAME."""
    neither: str = "facts:unstated"
    """Rows that are neither (synthetic, fictional); their labels are not read."""
    estimator: Literal["ridge", "mass-mean", "centroid"] = "ridge"
    """The probe: those of truth scores that have a closed form; ridge with a fixed penalty."""
    folds: int = 5
    """Held-out folds over the groups of both, at least 3."""
    draws: int = 100
    """Draws of groups, and of the null."""
    out: Path = Path("runs/directions-neither")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Captures both sets, and compares."""
        if len(self.data) != 1:
            raise InputError(f"--data names {len(self.data)} sets; rows that are neither join one")
        captured = replace(self, data=(*self.data, self.neither)).captured(run, unlabelled=1)
        true_false, other = captured.activations.values()
        texts = [its for rows in captured.examples.values() for its in rows]
        fold = lens_truth.stability_folds(true_false, other, self.folds, self.seed)
        found = lens_truth.stability(
            true_false,
            other,
            estimator=self.estimator,
            n_folds=self.folds,
            n_draws=self.draws,
            surface=_surface(texts, len(true_false.labels), fold),
            seed=self.seed,
            progress=True,
        )
        run.hold(found)
        run.figure("stability.png", found.plot())
        run.rests_on([its.group for its in texts])
        show(found, found.tables())


def _surface(texts: list[lens_truth.Example], n: int, fold: np.ndarray) -> np.ndarray:
    """Whether a bag of words puts a row into its class of three while its fold is held out."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    labels = np.array([its.label for its in texts[:n]] + [2] * (len(texts) - n))
    counter: Any = CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    words = counter.fit_transform([f"{its.question} {its.answer}" for its in texts])
    right = np.empty(len(texts))
    for k in range(int(fold.max()) + 1):
        unfitted: Any = LogisticRegression(C=10, max_iter=10_000)
        fitted = unfitted.fit(words[fold != k], labels[fold != k])
        right[fold == k] = fitted.predict(words[fold == k]) == labels[fold == k]
    return right
