"""The files that head scores are read from: safetensors, .npy as TruthProbe publishes them, tables
(`scoring/score_tables.py`), and retrieval heads' .json; whatever is wrong is said with file, line and column."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from lens_truth.errors import InputError
from lens_truth.io.files import DAMAGED_NPY
from lens_truth.io.readers import is_list, is_object, read_json
from lens_truth.scoring.score_tables import Parts, complete_grid, load_csv, load_parquet, refuse_percent

LARGEST = 1e30
"""A larger score is refused: its square, its sums and the axes of its figures come to an end."""
METADATA = "lens_truth"
"""The metadata entry of our safetensors files, a JSON object."""

_LAYER_HEAD = re.compile(r"[0-9]{1,9}-[0-9]{1,9}")


def _load_safetensors(path: Path) -> Parts:
    try:
        with cast("Any", safe_open(path, framework="numpy")) as file:
            tensors: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            entries: dict[str, str] = file.metadata() or {}
    except (SafetensorError, ValueError, TypeError, AttributeError, OSError) as error:  # of number formats NumPy lacks
        raise InputError(f"{path}: is not a readable safetensors file ({error})") from error
    metadata = read_metadata(path, entries.get(METADATA, "{}"))
    if "values" not in tensors:
        raise InputError(f"{path}: holds no tensor 'values', so it is not a file of head scores")
    maps = {name: _real(path, tensor) for name, tensor in tensors.items()}
    return {
        "values": maps["values"],
        "kind": metadata.get("kind", "truth"),
        "metrics": {name.removeprefix("metrics/"): t for name, t in maps.items() if name.startswith("metrics/")},
        "folds": maps.get("folds"),
        "provenance": metadata.get("provenance", {}),
    }


def tensors_in(path: Path) -> list[str]:
    """Names of what a `.safetensors` file holds; an InputError says if it is not one."""
    try:
        with cast("Any", safe_open(path, framework="numpy")) as file:  # which names alone do without
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: is no readable .safetensors file ({error})") from error


def read_metadata(path: Path, text: str) -> dict[str, Any]:
    """What stands under `METADATA`: a JSON object that JSON can hold again, of kind (a text) and provenance."""
    try:
        metadata = json.loads(text)
        json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its metadata is not JSON that can be read and written again ({error})") from error
    fits = is_object(metadata) and isinstance(metadata.get("kind", ""), str)
    if not fits or not is_object(metadata.get("provenance", {})) or not _is_flat(metadata):
        raise InputError(f"{path}: its metadata is not lens_truth's")
    return metadata


@contextmanager
def kept_tensors(path: Path, complaint: str) -> Generator[tuple[Any, dict[str, Any]], None, None]:
    """An open safetensors file of tensors and what stands under `METADATA`. Whatever is wrong with the file, or with
    what is made of it inside, is one InputError: the complaint, which names the file, and in brackets why.
    """
    try:
        with cast("Any", safe_open(path, framework="pt")) as file:
            entries: dict[str, str] = file.metadata() or {}
            yield file, read_metadata(path, entries[METADATA])
    except InputError as error:
        raise (error if str(path) in str(error) else InputError(f"{complaint} ({error})")) from error
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{complaint} ({error})") from error


def _is_flat(value: Any, depth: int = 20) -> bool:
    """Whether no lists and objects stand in one another deeper than that: writers of JSON have limits too."""
    inner = list(value.values()) if is_object(value) else value if is_list(value) else []
    return depth > 0 and all(_is_flat(one, depth - 1) for one in inner)


def _load_npy(path: Path) -> Parts:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of headers that Python 2 wrote
            warnings.simplefilter("error", RuntimeWarning)  # of sizes beyond 64 bits
            values = np.load(path, mmap_mode="r", allow_pickle=False)  # a header that promises too much is refused
    except (*DAMAGED_NPY, OverflowError, MemoryError, RuntimeWarning) as error:
        raise InputError(f"{path}: is not a readable .npy array ({error})") from error
    if not isinstance(values, np.ndarray):
        raise InputError(f"{path}: does not hold an array of numbers")
    values = _real(path, cast("np.ndarray", values))
    refuse_percent(path, values)
    return {"values": values, "provenance": {"file": path.name}}


def _real(path: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path}: does not hold an array of numbers, but of {values.dtype}")
    with np.errstate(over="ignore"):  # of wider floats; infinity is refused later
        return np.array(values, dtype=np.float64)


def _load_retrieval(path: Path) -> Parts:
    record = read_json(path)
    if not is_object(record) or not all(_LAYER_HEAD.fullmatch(key) for key in record):
        raise InputError(f'{path}: is not an object of trials by head, {{"layer-head": [trial, ...]}}')
    heads: dict[tuple[int, int], list[float]] = {}
    for key, trials in record.items():
        layer, head = (int(part) for part in key.split("-"))
        if (layer, head) in heads:
            raise InputError(f"{path}: layer {layer}, head {head} stands there twice")
        its = trials if is_list(trials) else [trials]
        if not its or not all(type(trial) in (int, float) for trial in its):
            raise InputError(f"{path}: head '{key}' does not hold a number, nor a list of numbers, one a trial")
        heads[layer, head] = its
    L, H = complete_grid(path, heads)
    try:
        ordered = [np.array(heads[at], dtype=np.float64) for at in np.ndindex(L, H)]
    except OverflowError as error:
        raise InputError(f"{path}: a number is too large ({error})") from error
    if max(np.abs(trials).max() for trials in ordered) > LARGEST:
        raise InputError(f"{path}: a number is too large (over {LARGEST:g})")
    values = np.array([trials.mean() for trials in ordered]).reshape(L, H)
    folds, lengths = None, {len(trials) for trials in ordered}
    if not any(map(is_list, record.values())):
        pass  # the means alone
    elif len(lengths) == 1:
        folds = np.array(ordered).T.reshape(-1, L, H)
    elif min(lengths) > 1:  # no trial has all heads; halves do
        folds = np.array([[trials[half::2].mean() for trials in ordered] for half in (0, 1)]).reshape(2, L, H)
    return {"values": values, "kind": "retrieval", "folds": folds, "provenance": {"file": path.name}}


def _load_parquet(path: Path) -> Parts:
    parts, about = load_parquet(path, METADATA)
    if about is None:
        return parts
    metadata = read_metadata(path, about)
    return {**parts, "kind": metadata.get("kind", "truth"), "provenance": metadata.get("provenance", {})}


READERS = {
    ".safetensors": _load_safetensors,
    ".npy": _load_npy,
    ".csv": load_csv,
    ".parquet": _load_parquet,
    ".json": _load_retrieval,
    ".json.gz": _load_retrieval,
}


def is_score_file(name: str) -> bool:
    """Whether a name ends as score files do."""
    return Path(name).name.endswith(tuple(READERS))


def read_parts(path: Path) -> Parts:
    """The parts of the scores in a file; an InputError says what is wrong with it."""
    reader = next((reader for suffix, reader in READERS.items() if path.name.endswith(suffix)), None)
    if reader is None:
        raise InputError(f"{path}: scores are read from {', '.join(READERS)} files")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    return reader(path)
