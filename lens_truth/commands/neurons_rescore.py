"""`neurons rescore`: published logs of dose curves scored anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lens_truth
from lens_truth.commands.domains import show
from lens_truth.commands.run import Run
from lens_truth.errors import InputError


@dataclass(frozen=True)
class Rescore:
    """Slopes, paired changes and controls of curves that were logged item by item at several alphas, and what is wrong
    with them: a point that was computed another way than its neighbours, copies, missing items. No model is asked.
    Writes curves.png."""

    log: tuple[Path, ...]
    """A table with `id` and columns NAME@ALPHA; rows with `id`, `alpha`, perhaps `run` and `group`, and an outcome
    (.csv, .jsonl, also .gz); or a folder with such rows in files alpha_NUMBER.jsonl. Several have their names in front
    of their curves'."""
    value: str | None = None
    """The field of rows that holds the outcome; by default the first of value, metric, compliance, correct, outcome,
    score."""
    reference: float | None = None
    """The alpha at which the model is unmodified (1 where alpha multiplies, 0 where it is added); by default the one
    that a curve shares item by item with others, else 1, else 0."""
    controls: tuple[str, ...] | None = None
    """Patterns (seed_*) of the curves that are controls; by default those whose names say so (random, seed, control,
    layer_matched and the like)."""
    sets: Path | None = None
    """Folder with the neurons that were scaled (`{"layer": [neuron, ...]}`); by default the log's own."""
    seed: int = 42
    """Seed of the bootstrap; 42 is that of published intervals."""
    out: Path = Path("runs/neurons-rescore")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Reads the logs and scores their curves."""
        if not self.log:
            raise InputError("--log names no file; give one log or several")
        curves: dict[str, lens_truth.ItemCurve] = {}
        for path in self.log:
            found = {self._named(path, name): its for name, its in lens_truth.read_dose_log(path, self.value).items()}
            if twice := [name for name in found if name in curves]:
                raise InputError(f"{path}: another log has a curve {twice[0]}, too; give logs names that differ")
            curves |= found
        first = self.log[0]
        folder = self.sets or (first if first.is_dir() else first.parent)
        if not folder.is_dir():
            raise InputError(f"{folder}: --sets is a folder with files of neurons")
        result = lens_truth.dose_curves(
            curves,
            log=", ".join(path.name for path in self.log),
            reference=self.reference,
            controls=self.controls or (),
            sets=lens_truth.read_neuron_sets(folder),
            seed=self.seed,
        )
        run.hold(result)
        run.figure("curves.png", result.plot())
        run.rests_on(min((its.groups for its in curves.values()), key=lambda groups: len(set(groups))))
        show(result, result.tables())

    def _named(self, path: Path, name: str) -> str:
        return name if len(self.log) == 1 else f"{path.name.split('.')[0]}/{name}"
