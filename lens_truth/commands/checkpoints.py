"""Where a command may put a checkpoint: into a folder of its own, which it replaces at one stroke; what is saved there,
and what is said of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lens_truth.errors import InputError
from lens_truth.io.files import foreign_files
from lens_truth.io.readers import is_list
from lens_truth.io.runs import read_record
from lens_truth.models.names import base_and_adapter


def check_target(model: str, given: Path, save: Path, command: str) -> None:
    """Raises an InputError unless the folder (as it was `given`, and where that is) holds nothing but what this command
    once wrote there."""
    if save in [Path(part).expanduser().resolve() for part in base_and_adapter(model) if part]:
        raise InputError(f"--save {given}: is the folder of the model itself; choose another folder")
    if Path.cwd().is_relative_to(save):
        raise InputError(f"--save {given}: is the folder that you are in or one above; name a folder inside it")
    if save.is_mount():
        raise InputError(f"--save {given}: is a mount point, which cannot be replaced; name a folder inside it")
    if not save.exists() or (save.is_dir() and not any(save.iterdir())):
        return
    try:
        record = read_record(save)
        ours = record.results["files"] if record.command == command else None
    except (InputError, KeyError):
        ours = None
    if not is_list(ours):
        raise InputError(f"{given}: exists and was not written by this command; choose another folder")
    if foreign := foreign_files(save, [name for name in ours if isinstance(name, str)]):
        raise InputError(f"{given}: holds {foreign[0]}, which this command did not write; choose another folder")


def compared(model: Any, intervention: Any, folded: Any) -> tuple[dict[str, Any], str]:
    """How far a folded model is from the attached intervention, for a record and in words. Where that cannot be
    measured, what is saved is right all the same."""
    from lens_truth.gates.fold_agreement import fold_agreement

    try:
        agreement = fold_agreement(model, intervention, folded)
    except InputError as error:
        return {}, f"attached and folded were not compared: {error}"
    return {"fold_agreement": asdict(agreement)}, agreement.sentence()


def save_checkpoint(folder: Path, folded: Any, model: Any, source: str) -> None:
    """A folded model with the tokenizer and the processor of the model, which came from `source`."""
    from lens_truth.models.loading import copy_processor

    folded.save_pretrained(folder)
    if model.tokenizer is not None:
        model.tokenizer.save_pretrained(folder)
    copy_processor(source, folder)


def saved_as(model: Any, folded: Any, save: Path, more: str = "") -> str:
    """What is said of a checkpoint that was saved, with further arguments by which it is loaded."""
    from lens_truth.models.image_input import is_multimodal

    auto = "AutoModelForImageTextToText" if is_multimodal(model) else "AutoModelForCausalLM"
    return f"saved to {save}, a {type(folded).__name__}: {auto}.from_pretrained('{save}'{more}) loads it"
