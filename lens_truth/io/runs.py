"""What every run leaves behind: `result.json` with results, configuration, versions, hashes and time."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lens_truth.errors import InputError
from lens_truth.io.files import write_json
from lens_truth.io.readers import is_object, misplaced, read_json

RESULT = "result.json"
FORMAT = 2
"""Of `result.json`. Format 1, of versions that wrote no number, had each command's results laid out by hand."""

COMMAND_LINE: ContextVar[str] = ContextVar("command line", default="")
"""As it was typed; empty outside of the command line."""

_PACKAGES = ("lens-truth", "torch", "transformers", "transformer-lens", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Record:
    """A `result.json`, read."""

    file: Path
    command: str
    results: dict[str, Any]
    value: dict[str, Any]
    """All of it."""

    def wrong(self, path: Sequence[str | int], why: str) -> InputError:
        """An error that names the place of a value, to be raised."""
        return misplaced(self.file, path, why)


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Writes `folder/result.json`, last of all files of a run, so that it stands for a finished one."""
    versions = {"python": platform.python_version(), **{name: version_of(name) for name in _PACKAGES}}
    write_json(folder / RESULT, {"format": FORMAT, "versions": versions, **record})
    return folder / RESULT


def read_record(path: Path) -> Record:
    """The record of a folder, or in a file, which must be whole and of this format."""
    file = path if path.suffix == ".json" and not path.is_dir() else path / RESULT
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if not file.is_file():
        raise InputError(f"{path}: has no {RESULT}, so no run of lens_truth has finished there")
    value = read_json(file)
    if not is_object(value):
        raise InputError(f"{file}: is not an object")
    absent = [name for name in ("command", "results") if name not in value]
    if absent:
        raise InputError(f"{file}: has no {' and no '.join(absent)}, so it is not the record of a run")
    found = value.get("format", 1)
    if found == 1:
        raise InputError(f"{file}: was written by a lens_truth before format {FORMAT}; run `{value['command']}` again")
    if found != FORMAT:
        reads = f"lens_truth {version_of('lens-truth')} reads format {FORMAT}"
        raise misplaced(file, ["format"], f"is {found!r}, and {reads}")
    for name, kind, what in (("command", str, "text"), ("results", dict, "an object")):
        if not isinstance(value[name], kind):
            raise misplaced(file, [name], f"is not {what}")
    return Record(file, value["command"], cast("dict[str, Any]", value["results"]), value)


def for_json(value: Any) -> Any:
    """The value of a flag as `result.json` says it: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    return [for_json(item) for item in cast("Sequence[Any]", value)] if isinstance(value, list | tuple) else value


def version_of(package: str) -> str:
    """Of an installed package; `not installed` for one that is run from its source tree."""
    from importlib.metadata import PackageNotFoundError, version  # takes as long as all the rest of help

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
