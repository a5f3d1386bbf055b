"""Makes a gate from scores, folds it into a model's weights and saves a plain Hugging Face checkpoint, which runs
anywhere at no extra cost. The gate itself is kept in it as lens_truth/gate.safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lens_truth
from lens_truth.commands.run import KINDS, OneModel, Rows, Run, load_model, scores_by_kind
from lens_truth.errors import InputError, gathered_notices
from lens_truth.io.files import alone_at, check_out, foreign_files, write_folder_with
from lens_truth.io.readers import is_list
from lens_truth.io.runs import RESULT, read_record
from lens_truth.io.tables import print_warnings
from lens_truth.models.names import base_and_adapter

GATE = "lens_truth/gate.safetensors"
"""In a folder of its own: engines take every safetensors file at the top for weights."""

DEFAULT_LAMBDA = {"truth": 4.5, "learned": 1.0}


@dataclass(frozen=True)
class Config(Rows, OneModel):
    """Flags of `gate`."""

    model: str = "zoo:llama-memory"
    """The model to gate: a Hugging Face id, a folder, a GGUF file, or zoo:NAME; one with an adapter is saved merged."""
    scores: str = "truth"
    """A score file (.safetensors, .npy, .csv), or a kind to compute on --data: truth, causal, learned."""
    lam: float | None = None
    """Lambda in g = 1 + lambda * norm(score); by default 4.5 for truth scores, 1 for learned ones; others need one."""
    norm: Literal["center", "minmax", "none"] | None = None
    """How scores are normalised inside each layer: center, less their mean (the default); minmax, scaled to [0, 1];
    none (the default for learned scores, which are a gate)."""
    floor: float | None = None
    """Raise smaller gates to this value."""
    site: Literal["z", "result", "block"] = "z"
    """Heads (z and result, the same numbers), or the paper's blocks of the projected output."""
    data: str = "zoo:conflict"
    """Examples to compute scores on, if --scores names a kind."""
    save: Path = Path("runs/gate")
    """Folder of the gated checkpoint."""


def run(config: Config) -> None:
    """Loads, gates, folds and saves."""
    save = config.save.resolve()  # what a symbolic link stands for is replaced, not the link
    check_out(save.parent, "--save")
    with alone_at(save):
        _check_target(config, save)
        _save_gated(config, save)


def _check_target(config: Config, save: Path) -> None:
    """Raises an InputError unless the folder holds nothing but what this command once wrote there."""
    if save in [Path(part).expanduser().resolve() for part in base_and_adapter(config.model) if part]:
        raise InputError(f"--save {config.save}: is the folder of the model itself; choose another folder")
    if Path.cwd().is_relative_to(save):
        raise InputError(f"--save {config.save}: is the folder that you are in or one above; name a folder inside it")
    if save.is_mount():
        raise InputError(f"--save {config.save}: is a mount point, which cannot be replaced; name a folder inside it")
    if not save.exists() or (save.is_dir() and not any(save.iterdir())):
        return
    try:
        record = read_record(save)
        ours = record.results["files"] if record.command == "gate" else None
    except (InputError, KeyError):
        ours = None
    if not is_list(ours):
        raise InputError(f"{config.save}: exists and was not written by this command; choose another folder")
    if foreign := foreign_files(save, [name for name in ours if isinstance(name, str)]):
        raise InputError(f"{config.save}: holds {foreign[0]}, which this command did not write; choose another folder")


def _save_gated(config: Config, save: Path) -> None:
    from lens_truth.models.hashing import weights_hash
    from lens_truth.models.image_input import is_multimodal
    from lens_truth.models.loading import copy_processor

    run = Run("gate", config, save)
    with gathered_notices() as run.warnings:
        model, gate = _gate(config)
    folded, values = gate.fold_into(model), gate.values
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
    run.hashes = {"weights": weights_hash(model), "gated_weights": weights_hash(folded)}

    def fill(folder: Path) -> None:
        folded.save_pretrained(folder)
        if model.tokenizer is not None:
            model.tokenizer.save_pretrained(folder)
        copy_processor(config.model, folder)
        gate.save(folder / GATE)
        run.results["files"] = [*foreign_files(folder, ()), RESULT]
        run.write_record(folder)

    write_folder_with(save, fill)
    print(f"gates from {values.min():.3f} to {values.max():.3f} over {L} layers x {H} heads")
    print_warnings(run.warnings)
    auto = "AutoModelForImageTextToText" if is_multimodal(model) else "AutoModelForCausalLM"
    trust = ", trust_remote_code=True" if config.trust_remote_code else ""
    print(
        f"\nsaved to {config.save}, a {type(folded).__name__}: {auto}.from_pretrained('{config.save}'{trust}) loads it"
    )


def _gate(config: Config) -> tuple[Any, lens_truth.HeadGate]:
    """The model, and the gate from scores that were given or are computed on it."""
    scores = None if config.scores in KINDS else lens_truth.HeadScores.load(config.scores)
    kind = scores.kind if scores else config.scores
    lam = DEFAULT_LAMBDA.get(kind) if config.lam is None else config.lam
    if lam is None:
        raise InputError(f"{kind} scores have a scale of their own, so --lam must be given (`ablate` searches for one)")
    norm = config.norm or ("none" if kind == "learned" else "center")
    model = load_model(config.model, config)
    if scores is None:
        examples = config.examples(config.data)
        scores = scores_by_kind(config.scores, model, examples, config)
    return model, lens_truth.HeadGate.from_scores(scores, lam, norm, config.floor, config.site)
