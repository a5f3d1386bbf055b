"""`directions erase`: what is left of a domain's probe once another's direction is erased, and how many directions all
share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lens_truth
from lens_truth.commands.domains import Domains, show
from lens_truth.commands.run import Run


@dataclass(frozen=True)
class Erase(Domains):
    """Erases each data set's direction of truth (LEACE) and fits the probes of all others anew, beside random
    directions and those of shuffled labels; then projects away directions that all data sets share, one by one, until
    nothing is told any more (INLP). Writes erasure.png and shared.png."""

    estimator: Literal["ridge", "mass-mean", "centroid"] = "ridge"
    """The probe: those of truth scores that have a closed form."""
    folds: int = 5
    """Held-out folds over the groups of all data sets together, at least 3."""
    controls: int = 10
    """Draws of random directions and of shuffled labels for LEACE."""
    steps: int = 8
    """Shared directions that are projected away at most."""
    out: Path = Path("runs/directions-erase")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """LEACE from domain to domain, then INLP over all."""
        activations = self.captured(run).activations
        erasure = lens_truth.erase_directions(
            activations, estimator=self.estimator, n_folds=self.folds, seed=self.seed, n_controls=self.controls
        )
        shared = lens_truth.shared_directions(
            activations, estimator=self.estimator, n_folds=self.folds, seed=self.seed, n_steps=self.steps
        )
        for name, result in (("erasure", erasure), ("shared", shared)):
            run.hold(result)
            run.figure(f"{name}.png", result.plot())
            show(result, result.tables()[:1])
        for its in activations.values():
            run.rests_on(its.groups)
