"""`directions relative`: models of different shape, by how like examples are to anchor examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lens_truth
from lens_truth.commands.directions_tuned import beside, only_one
from lens_truth.commands.domains import Domains, show
from lens_truth.commands.run import Run, plain_name


@dataclass(frozen=True)
class Relative(Domains):
    """Compares the heads of two models of any shape by relative representations, and lets a probe of the first
    (--model) decide in the second, unseen; against anchors in random order. Writes relative-NAME.png."""

    data: tuple[str, ...] = ("zoo:text",)
    """Rows that both models read: one file, zoo:NAME, facts:NAME."""
    other: tuple[str, ...] = ("zoo:mistral-base",)
    """Models of any shape, compared with --model one by one."""
    estimator: Literal["ridge", "mass-mean", "centroid"] = "ridge"
    """The probe of the relative representations."""
    anchors: int = 64
    """Anchor examples, each of a group of its own; their groups are not tested."""
    neighbours: int = 10
    """Nearest neighbours that are compared."""
    folds: int = 5
    """Held-out folds; groups are never split."""
    null: int = 40
    """Orders of the anchors behind the null."""
    out: Path = Path("runs/directions-relative")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Captures each model, and compares."""
        one = next(iter(only_one(self, run).activations.values()))
        for name in self.other:
            found = lens_truth.relative_directions(
                one,
                next(iter(beside(self, run, name).activations.values())),
                n_anchors=self.anchors,
                n_neighbours=self.neighbours,
                estimator=self.estimator,
                n_folds=self.folds,
                n_null=self.null,
                seed=self.seed,
            )
            run.hold(found, name)
            run.figure(f"relative-{plain_name(name)}.png", found.plot())
            show(found, found.tables(), name)
        run.rests_on(one.groups)
