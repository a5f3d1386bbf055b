"""Where a command may put a checkpoint: into a folder of its own, which it replaces at one stroke."""

from __future__ import annotations

from pathlib import Path

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
