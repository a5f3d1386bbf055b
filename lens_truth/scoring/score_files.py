"""The files that head scores are read from: safetensors, .npy and .csv as TruthProbe publishes them, and retrieval
heads' .json; whatever is wrong is said with file, line and column."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from lens_truth.errors import InputError, shortened
from lens_truth.io.files import DAMAGED_NPY
from lens_truth.io.readers import is_list, is_object, read_csv, read_json
from lens_truth.stats.correlation import Map

METADATA = "lens_truth"
"""The metadata entry of our safetensors files, a JSON object."""

_LAYER_HEAD = re.compile(r"\d+-\d+")
_PLACE = ("layer", "head")
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
        metadata = json.loads(entries.get(METADATA, "{}"))
    except (SafetensorError, ValueError, TypeError, OSError) as error:  # TypeError: bfloat16, which NumPy lacks
        raise InputError(f"{path}: is not a readable safetensors file ({error})") from error
    if not is_object(metadata) or not is_object(metadata.get("provenance", {})):
        raise InputError(f"{path}: its metadata is not lens_truth's")
    if "values" not in tensors:
        raise InputError(f"{path}: holds no tensor 'values', so it is not a file of head scores")
    return {
        "values": tensors["values"],
        "kind": metadata.get("kind", "truth"),
        "metrics": {name.removeprefix("metrics/"): t for name, t in tensors.items() if name.startswith("metrics/")},
        "folds": tensors.get("folds"),
        "provenance": metadata.get("provenance", {}),
    }


def _load_npy(path: Path) -> Parts:
    try:
        with warnings.catch_warnings():  # of headers that Python 2 wrote
            warnings.simplefilter("ignore", UserWarning)
            values = np.load(path, allow_pickle=False)
    except DAMAGED_NPY as error:
        raise InputError(f"{path}: is not a readable .npy array ({error})") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise InputError(f"{path}: does not hold an array of numbers")
    return {"values": cast("np.ndarray", values).astype(np.float64), "provenance": {"file": path.name}}


def _load_csv(path: Path) -> Parts:
    heads: dict[tuple[int, int], dict[str, float]] = {}
    for line, cells in read_csv(path):
        names = [name for name in cells if name not in _PLACE]
        score = "accuracy" if "accuracy" in names else names[0] if len(names) == 1 else None
        if missing := [name for name in _PLACE if name not in cells]:
            raise InputError(f"{path}, line 1: the header has no column '{missing[0]}', only {', '.join(cells)}")
        if score is None:
            raise InputError(f"{path}, line 1: the header has no column 'accuracy', nor one single column of scores")
        numbers = {name: _number(cells[name], f"{path}, line {line}, column '{name}'", name == score) for name in names}
        layer, head = (_whole(cells[name], f"{path}, line {line}, column '{name}'") for name in _PLACE)
        if (layer, head) in heads:
            raise InputError(f"{path}, line {line}: layer {layer}, head {head} stands there twice")
        heads[layer, head] = numbers
    L, H = _complete_grid(path, heads)
    metrics, ordered = list(heads[0, 0]), [heads[at] for at in np.ndindex(L, H)]
    columns = {name: np.array([numbers[name] for numbers in ordered]).reshape(L, H) for name in metrics}
    provenance = {"file": path.name}
    if "accuracy" in columns:
        return {"values": columns["accuracy"], "metrics": columns, "provenance": provenance}
    ((kind, values),) = columns.items()
    return {"values": values, "kind": kind, "provenance": provenance}


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
        if not is_list(trials) or not trials or not all(type(trial) in (int, float) for trial in trials):
            raise InputError(f"{path}: head '{key}' does not hold a list of numbers, one a trial")
        heads[layer, head] = trials
    L, H = _complete_grid(path, heads)
    try:
        ordered = [np.array(heads[at], dtype=np.float64) for at in np.ndindex(L, H)]
    except OverflowError as error:
        raise InputError(f"{path}: a number is too large ({error})") from error
    values = np.array([trials.mean() for trials in ordered]).reshape(L, H)
    folds, lengths = None, {len(trials) for trials in ordered}
    if len(lengths) == 1:
        folds = np.array(ordered).T.reshape(-1, L, H)
    elif min(lengths) > 1:  # no trial has all heads; halves do
        folds = np.array([[trials[half::2].mean() for trials in ordered] for half in (0, 1)]).reshape(2, L, H)
    return {"values": values, "kind": "retrieval", "folds": folds, "provenance": {"file": path.name}}


def _complete_grid(path: Path, heads: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Layers and heads, when every head of every layer is there, counted from 0."""
    found = set(heads)
    if not found:
        raise InputError(f"{path}: holds no heads")
    first = tuple(min(axis) for axis in zip(*found, strict=True))
    for start, name in zip(first, _PLACE, strict=True):
        if start != 0:
            counted = f"its {name}s are counted from 1" if start == 1 else f"its first {name} is {start}"
            raise InputError(f"{path}: {counted}, but {name}s are counted from 0 here; renumber them")
    L, H = (max(axis) + 1 for axis in zip(*found, strict=True))
    if len(found) != L * H:
        layer, head = next(at for at in np.ndindex(L, H) if at not in found)
        raise InputError(f"{path}: lacks layer {layer}, head {head} of {L} x {H} heads")
    return L, H


_READERS = {
    ".safetensors": _load_safetensors,
    ".npy": _load_npy,
    ".csv": _load_csv,
    ".json": _load_retrieval,
    ".json.gz": _load_retrieval,
}


def is_score_file(name: str) -> bool:
    """Whether a name ends as score files do."""
    return Path(name).name.endswith(tuple(_READERS))


def read_parts(path: Path) -> Parts:
    """The parts of the scores in a file; an InputError says what is wrong with it."""
    reader = next((reader for suffix, reader in _READERS.items() if path.name.endswith(suffix)), None)
    if reader is None:
        raise InputError(f"{path}: scores are read from {', '.join(_READERS)} files")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    return reader(path)
