"""`directions fit`: a probe for every head, on each domain, kept in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import lens_truth
from lens_truth.commands.domains import Domains
from lens_truth.commands.run import Run, plain_name
from lens_truth.io.numbers import number
from lens_truth.io.tables import print_table, text_table


@dataclass(frozen=True)
class Fit(Domains):
    """Fits probes on every data set and writes each set's as NAME.safetensors, for `detect` and `steer`."""

    estimator: Literal["ridge", "logistic", "adamw", "mass-mean", "centroid"] = "ridge"
    """The probe, as of truth scores."""
    folds: int = 5
    """Held-out folds; groups are never split."""

    def compute(self, run: Run) -> None:
        """Fits and saves."""
        captured, rows = self.captured(run), list[list[str]]()
        for name, activations in captured.activations.items():
            probes = lens_truth.HeadProbes.fit(
                activations, estimator=self.estimator, n_folds=self.folds, seed=self.seed
            )
            probes.save(run.wrote(f"{plain_name(name)}.safetensors"))
            layer, head = probes.scores.best()
            where = f"{layer}.{head}" if self.at == "z" else f"layer {layer}"
            told = [float(its[layer, head]) for its in (probes.accuracy, probes.auroc)]
            rows.append([name, str(len(activations.labels)), where, *map(number, told)])
            run.heads({f"truth scores of {self.called} on {name}": probes.scores})
        print_table(text_table(["data", "rows", "best", "accuracy", "AUROC"], rows))
