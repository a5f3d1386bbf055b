"""`directions tuned`: truth directions of a base in the models tuned from it, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lens_truth
from lens_truth.commands.domains import Captured, Domains, show
from lens_truth.commands.run import Run, plain_name
from lens_truth.errors import InputError


@dataclass(frozen=True)
class Tuned(Domains):
    """Applies every head's probe of a base (--model) to a tuned model's activations on the same held-out rows, and
    back: AUROC, accuracy and cosines beside the own probe's and random directions. With --steer each model is steered
    along the other's directions too. Writes tuned-NAME.png."""

    data: tuple[str, ...] = ("zoo:text",)
    """Rows that both models read: one file, zoo:NAME, facts:NAME."""
    tuned: tuple[str, ...] = ("zoo:llama-chat",)
    """Models of the base's shape, compared with it one by one."""
    estimator: Literal["ridge", "mass-mean", "centroid"] = "ridge"
    """The probe: those of truth scores that have a closed form."""
    folds: int = 5
    """Held-out folds; groups are never split."""
    random: int = 200
    """Random directions."""
    steer: bool = False
    """Also steer each model along the other's directions while it judges answers (by its chat template, if it has one),
    beside its own and random ones. Half of the groups give the directions, the other half is judged, some fifty
    times."""
    out: Path = Path("runs/directions-tuned")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Captures each model, and compares."""
        base = only_one(self, run)
        (examples,) = base.examples.values()
        if self.steer:
            from lens_truth.ablation.indirect import steered_halves

            steered_halves(examples, self.seed)  # too few are told before anything is written
        for name in self.tuned:
            other = beside(self, run, name)
            seen = next(iter(base.activations.values())), next(iter(other.activations.values()))
            found = lens_truth.tuned_directions(
                *seen,
                estimator=self.estimator,
                n_folds=self.folds,
                n_random=self.random,
                seed=self.seed,
                progress=True,
            )
            run.hold(found, name)
            run.figure(f"tuned-{plain_name(name)}.png", found.plot())
            show(found, found.tables(), name)
            if self.steer:
                acts = lens_truth.indirect_effects(
                    (base.model, other.model),
                    seen,
                    examples,
                    estimator=self.estimator,
                    batch_size=self.batch_size,
                    seed=self.seed,
                    progress=True,
                )
                run.hold(acts, name)
                show(acts, acts.tables(), name)
        run.rests_on(next(iter(base.activations.values())).groups)


def only_one(config: Domains, run: Run, model: Any = None) -> Captured:
    """What the model does on the one data set that two models are compared on."""
    if len(config.data) != 1:
        raise InputError(f"--data names {len(config.data)} sets; two models are compared on one")
    return config.captured(run, model)


def beside(config: Domains, run: Run, model: str) -> Captured:
    """The same of another model; the run's own hashes stay those of the first."""
    own = dict(run.hashes)
    found = replace(config, model=model, adapter=None).captured(run)
    run.hashes = {**own, model: run.hashes["weights"]}
    return found
