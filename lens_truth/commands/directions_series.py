"""`directions series`: truth scores over the checkpoints of a training, beside what the model does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import lens_truth
from lens_truth.commands.directions_tuned import only_one
from lens_truth.commands.domains import Domains, show
from lens_truth.commands.run import Run, load_model
from lens_truth.errors import InputError
from lens_truth.models.revisions import revision_of

_NUMBER = re.compile(r"\d+")
_STEP = re.compile(r"(?:step|checkpoint|iter)[-_]?(\d+)")
"""Names say more than the step: `stage1-step1000-tokens21B`."""


@dataclass(frozen=True)
class Series(Domains):
    """Reads every checkpoint of a series on the same rows: accuracy of the best head and of all, the direction's cosine
    with the final one, and how often the model finds the supported answer likelier; each with its change point. Writes
    series.png."""

    model: str = "series"
    """What titles call the model; the models are those of --series or --checkpoints."""
    data: tuple[str, ...] = ("zoo:text",)
    """Rows with answers of both labels to each question: one file, zoo:NAME, facts:NAME."""
    series: Path | None = None
    """Folder of checkpoints called step-N (or checkpoint-N; else the last number counts), as `zoo train --every`
    writes."""
    checkpoints: tuple[str, ...] = ()
    """Instead of --series: checkpoints in the order of their steps, each with its number in its name; revisions of a
    hub (EleutherAI/pythia-70m@step1000) too."""
    estimator: Literal["ridge", "mass-mean", "centroid", "logistic", "adamw"] = "ridge"
    """The probe, as of truth scores."""
    shape: Literal["break", "sigmoid"] = "break"
    """What is fitted to a curve: one break of its mean, or an S-shaped rise."""
    folds: int = 5
    """Held-out folds; groups are never split."""
    draws: int = 1000
    """Draws of groups, and of orders of the checkpoints."""
    out: Path = Path("runs/directions-series")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Reads one checkpoint after another."""
        places = _places(self.series, self.checkpoints)
        groups, known = list[tuple[str, ...]](), dict[str, str]()
        found = lens_truth.series(
            [partial(self._read, run, step, place, groups, known) for step, place in places],
            estimator=self.estimator,
            shape=self.shape,
            n_folds=self.folds,
            n_draws=self.draws,
            seed=self.seed,
        )
        found = replace(found, model=self.model)
        run.rests_on(groups[0])
        run.hold(found)
        run.figure("series.png", found.plot())
        show(found, found.tables())

    def _read(
        self, run: Run, step: int, place: str, groups: list[tuple[str, ...]], known: dict[str, str]
    ) -> lens_truth.Checkpoint:
        """What a checkpoint does, if no other of the `known` ones has its weights."""
        import numpy as np

        from lens_truth.models.hashing import weights_hash

        print(f"step {step}: {place}")
        its = replace(self, model=place)
        model = load_model(place, its)
        if (other := known.setdefault(weights_hash(model), place)) != place:
            raise InputError(f"checkpoints {other} and {place} have the same weights; one of them stands twice")
        captured = only_one(its, run, model)
        rows = next(iter(captured.examples.values()))
        choices = lens_truth.Asker(model, self.template, batch_size=self.batch_size).rank(rows)[""]
        marks = np.array([float(choice.margin > 0) for choice in choices])
        activations = next(iter(captured.activations.values()))
        groups.append(activations.groups)
        return lens_truth.Checkpoint(step, activations, marks, tuple(choice.group for choice in choices))


def _places(series: Path | None, checkpoints: Sequence[str]) -> list[tuple[int, str]]:
    """Steps and checkpoints, in order; what is wrong with them is said before any is loaded."""
    if (series is None) == (not checkpoints):
        raise InputError("a series is given by --series DIR or by --checkpoints A B C, one of the two")
    if series is not None:
        inside = [path for path in series.iterdir() if (path / "config.json").is_file() and _NUMBER.search(path.name)]
        found = sorted((_step(path.name), str(path)) for path in inside)
        where = f"{series} holds"
    else:
        found = [(_step(revision_of(its) or Path(its).name), its) for its in checkpoints]
        where = "--checkpoints names"
    if len(found) < 4:
        raise InputError(
            f"{where} {len(found)} checkpoints with a number in their names; a change point needs at least 4"
        )
    for (before, one), (after, other) in pairwise(found):
        if after <= before:
            raise InputError(f"checkpoints are out of order: {other} (step {after}) comes after {one} (step {before})")
    return found


def _step(name: str) -> int:
    numbers = _STEP.findall(name) or _NUMBER.findall(name)
    if not numbers:
        raise InputError(f"checkpoint '{name}' has no step in its name")
    return int(numbers[-1])
