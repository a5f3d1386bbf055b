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
        from lens_truth.scoring.matched import on_matched
        from lens_truth.scoring.score_words import matched_said

        captured, rows, notes = self.captured(run), list[list[str]](), list[str]()
        for name, activations in captured.activations.items():
            probes = lens_truth.HeadProbes.fit(
                activations, estimator=self.estimator, n_folds=self.folds, seed=self.seed
            )
            probes.save(run.wrote(f"{plain_name(name)}.safetensors"))
            how = {"estimator": self.estimator, "n_folds": self.folds, "seed": self.seed}
            scores = on_matched(probes.scores, activations, captured.examples[name], **how)
            layer, head = scores.best()
            where = f"{layer}.{head}" if self.at == "z" else f"layer {layer}"
            maps = scores.values, scores.metrics.get("matched"), scores.metrics["auroc"]
            told = [number(None if its is None else float(its[layer, head])) for its in maps]
            rows.append([name, str(len(activations.labels)), where, *told])
            notes += [f"{name}: {said}" for said in [matched_said(scores)] if said]
            run.heads({f"truth scores of {self.called} on {name}": scores})
        print_table(text_table(["data", "rows", "best", "accuracy", "matched", "AUROC"], rows))
        print("\n".join(notes))
