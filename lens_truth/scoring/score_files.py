"""The files that head scores are read from: safetensors, .npy and .csv as TruthProbe publishes them, and retrieval
heads' .json; whatever is wrong is said with file, line and column."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from lens_truth.errors import InputError, notice, shortened
from lens_truth.io.files import DAMAGED_NPY
from lens_truth.io.readers import is_list, is_object, read_json
from lens_truth.io.rows import read_csv
from lens_truth.stats.correlation import Map

LARGEST = 1e30
"""A larger score is refused: its square, its sums and the axes of its figures come to an end."""
METADATA = "lens_truth"
"""The metadata entry of our safetensors files, a JSON object."""

_LAYER_HEAD = re.compile(r"[0-9]{1,9}-[0-9]{1,9}")
_PLACE = ("layer", "head")
_ACCURACIES = ("accuracy", "auroc", "balanced_accuracy")
"""Columns that are the score where there are several; the first that is there."""
Parts = dict[str, Any]
"""Fields of `HeadScores`."""


def heads_csv(columns: Mapping[str, Map], undefined: str = "nan") -> str:
    """A comma-separated row a head: layer, head, and each column's number there."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["layer", "head", *columns])
    for at in np.ndindex(*next(iter(columns.values())).shape):
        cells = [undefined if np.isnan(values[at]) else repr(float(values[at])) for values in columns.values()]
        writer.writerow([*at, *cells])
    return table.getvalue()


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
    _refuse_percent(path, values)
    return {"values": values, "provenance": {"file": path.name}}


def _real(path: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path}: does not hold an array of numbers, but of {values.dtype}")
    with np.errstate(over="ignore"):  # of wider floats; infinity is refused later
        return np.array(values, dtype=np.float64)


def _refuse_percent(path: Path, values: np.ndarray, column: str = "values") -> None:
    """Raises an InputError for what can only be accuracies in percent."""
    if values.size and values.min() >= 0 and values.max() <= 100 and np.median(values) >= 20:
        raise InputError(
            f"{path}: its {column} go from {values.min():.3g} to {values.max():.3g}, as accuracies in percent do; "
            "accuracies are from 0 to 1 here: divide them by 100"
        )


def _load_csv(path: Path) -> Parts:
    rows = list(read_csv(path))
    if not rows:
        raise InputError(f"{path}: holds no heads")
    header = list(rows[0][1])
    if missing := [name for name in _PLACE if name not in header]:
        raise InputError(f"{path}, line 1: the header has no column '{missing[0]}', only {', '.join(header)}")
    names = [name for name in header if name not in _PLACE]
    told = [name for name in names if any(_is_number(cells[name]) for _, cells in rows)]
    score = names[0] if len(names) == 1 else next((name for name in _ACCURACIES if name in names), None)
    score = told[0] if score is None and len(told) == 1 else score
    if score is None:
        raise InputError(
            f"{path}, line 1: the header has no column {', '.join(_ACCURACIES)}, nor one single column of scores"
        )
    told = [name for name in names if name in told or name == score]
    if left_out := [name for name in names if name not in told]:
        notice(f"{path}: no numbers stand in its columns {', '.join(left_out)}, which are left out")
    heads: dict[tuple[int, int], dict[str, float]] = {}
    for line, cells in rows:
        numbers = {name: _number(cells[name], f"{path}, line {line}, column '{name}'", name == score) for name in told}
        layer, head = (_whole(cells[name], f"{path}, line {line}, column '{name}'") for name in _PLACE)
        if (layer, head) in heads:
            raise InputError(f"{path}, line {line}: layer {layer}, head {head} stands there twice")
        heads[layer, head] = numbers
    L, H = _complete_grid(path, heads)
    ordered = [heads[at] for at in np.ndindex(L, H)]
    columns = {name: np.array([numbers[name] for numbers in ordered]).reshape(L, H) for name in told}
    if score in _ACCURACIES:
        _refuse_percent(path, columns[score], f"numbers in column '{score}'")
    parts: Parts = {"values": columns[score], "provenance": {"file": path.name}}
    if len(told) > 1 or score == "accuracy":
        parts["metrics"] = columns
    return parts if score == "accuracy" else {**parts, "kind": re.sub(r"[^\w.-]+", " ", score).strip(" .-") or "score"}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, where: str, finite: bool) -> float:
    """Of a score; where a metric is not defined, `nan` stands."""
    try:
        value = float(cell)
    except ValueError:
        raise InputError(f"{where}: {_said(cell)}, not a number") from None
    if not math.isfinite(value) and (finite or not math.isnan(value)):
        raise InputError(f"{where}: the cell is '{cell}', not a finite number")
    return value


def _whole(cell: str, where: str) -> int:
    try:
        return int(cell)
    except ValueError:
        raise InputError(f"{where}: {_said(cell)}, not a whole number") from None


def _said(cell: str) -> str:
    return f"the cell is '{shortened(cell)}'" if cell.strip() else "the cell is empty"


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
    L, H = _complete_grid(path, heads)
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


def _complete_grid(path: Path, heads: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Layers and heads, when every head of every layer is there, counted from 0."""
    found = set(heads)
    if not found:
        raise InputError(f"{path}: holds no heads")
    first, last = ([most(axis) for axis in zip(*found, strict=True)] for most in (min, max))
    whole = len(found) == math.prod(stop + 1 - start for start, stop in zip(first, last, strict=True))
    for start, name in zip(first, _PLACE, strict=True):
        if start < 0 or (start > 0 and whole):  # else heads are missing, and the numbers may be right
            counted = f"its {name}s are counted from 1" if start == 1 else f"its first {name} is {start}"
            raise InputError(f"{path}: {counted}, but {name}s are counted from 0 here; renumber them")
    L, H = (its + 1 for its in last)
    if len(found) != L * H:
        layer, head = next((layer, head) for layer in range(L) for head in range(H) if (layer, head) not in found)
        raise InputError(
            f"{path}: lacks layer {layer}, head {head} of {L} x {H} heads; scores are those of all heads, and a list "
            "of some has none"
        )
    return L, H


READERS = {
    ".safetensors": _load_safetensors,
    ".npy": _load_npy,
    ".csv": _load_csv,
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
