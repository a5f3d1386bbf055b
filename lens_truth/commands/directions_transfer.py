"""`directions transfer`: from which domain to which a probe carries over, and whether the angles between directions
foretell it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lens_truth
from lens_truth.commands.domains import Domains, show
from lens_truth.commands.run import Run


@dataclass(frozen=True)
class Transfer(Domains):
    """Trains a probe of every head on each data set and tests it on every other, with an interval, a null of permuted
    labels and a bag of words beside every cell; then the cosines of the directions and how many dimensions they span,
    against random directions. Writes transfer.png and cosines.png."""

    estimator: Literal["ridge", "mass-mean", "centroid"] = "ridge"
    """The probe: those of truth scores that have a closed form."""
    folds: int = 5
    """Held-out folds over the groups of all data sets together, at least 3."""
    permutations: int = 1000
    """Draws of permuted labels behind every cell's null."""
    random: int = 200
    """Draws of random directions behind the nulls of cosines and dimensions."""
    out: Path = Path("runs/directions-transfer")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """The matrix, then the cosines."""
        captured = self.captured(run)
        surface = lens_truth.bag_of_words_matrix(captured.examples, n_folds=self.folds, seed=self.seed)
        found = lens_truth.transfer_matrix(
            captured.activations,
            estimator=self.estimator,
            n_folds=self.folds,
            seed=self.seed,
            draws=lens_truth.CellDraws(n_permutations=self.permutations),
            surface=surface,
        )
        cosines = lens_truth.direction_cosines(captured.activations, found, n_random=self.random)
        for name, result in (("transfer", found), ("cosines", cosines)):
            run.hold(result)
            run.figure(f"{name}.png", result.plot())
            show(result, result.tables()[:1])
        for its in captured.examples.values():
            run.rests_on([example.group for example in its])
