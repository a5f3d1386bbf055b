"""Head scores in tables, a row a head: `.csv` as TruthProbe publishes them, and Parquet; whatever is wrong is said with
file, line and column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError, notice, shortened
from lens_truth.io.parquet import read_parquet, write_parquet
from lens_truth.io.readers import is_list
from lens_truth.io.rows import read_csv
from lens_truth.stats.correlation import Map

PLACE = ("layer", "head")
_INDEX = "__index_level_"
"""What pandas calls the numbers of rows."""
_ACCURACIES = ("accuracy", "auroc", "balanced_accuracy")
_SCORE, _FOLDS, _METRIC = "score", "folds", "metric_"
"""Columns of our own tables: the score; of every head its repeated estimates; and what stands in front of a metric that
is called like another column."""
_TAKEN = (_SCORE, *_ACCURACIES)
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


def head_columns(values: Map, metrics: Mapping[str, Map]) -> dict[str, np.ndarray]:
    """Columns of a row a head: layer, head, score, and every metric."""
    L, H = values.shape
    layer, head = (index.ravel() for index in np.indices((L, H)))
    taken = (*PLACE, _SCORE, _FOLDS)
    more = {_METRIC + name if name in taken else name: its.ravel() for name, its in metrics.items()}
    return {"layer": layer, "head": head, _SCORE: values.ravel(), **more}


def save_parquet(
    path: Path, columns: Mapping[str, np.ndarray], folds: Float[np.ndarray, "K L H"] | None, key: str, about: str
) -> None:
    """Columns of heads, and their estimates as lists, with an entry in the metadata of the schema."""
    import pyarrow

    numbers = {name: its.astype(np.int64 if name in PLACE else np.float64) for name, its in columns.items()}
    lists = {} if folds is None else {_FOLDS: folds.reshape(len(folds), -1).T.astype(np.float64).tolist()}
    write_parquet(path, {**numbers, **lists}, {_FOLDS: pyarrow.list_(pyarrow.float64())}, {key: about})


def load_parquet(path: Path, key: str) -> tuple[Parts, str | None]:
    """The parts of scores, and that entry; without it, the table is read as a `.csv` with the same columns."""
    columns, metadata = read_parquet(path)
    n = len(next(iter(columns.values()), ()))
    if key not in metadata:
        named = {name: column for name, column in columns.items() if not name.startswith(_INDEX)}
        # what is not defined is null where other programs wrote; in columns of numbers that is `nan`
        empty = {name: "nan" if any(isinstance(its, float) for its in column) else "" for name, column in named.items()}
        cells = {name: [empty[name] if its is None else str(its) for its in column] for name, column in named.items()}
        return of_rows(path, [(i + 1, {name: cells[name][i] for name in cells}) for i in range(n)], "row"), None
    if missing := [name for name in (*PLACE, _SCORE) if name not in columns]:
        raise InputError(f"{path}: holds no column '{missing[0]}', only {shortened(', '.join(columns))}")
    places = list(zip(*(_of_type(path, name, columns[name], int) for name in PLACE), strict=True))
    if len(set(places)) < n:
        twice = next(place for place in places if places.count(place) > 1)
        raise InputError(f"{path}: layer {twice[0]}, head {twice[1]} stands there twice")
    L, H = complete_grid(path, places)
    order = np.argsort(np.array([layer * H + head for layer, head in places]))

    def grid(name: str, column: Sequence[Any]) -> Map:
        numbers = [math.nan if its is None else its for its in column]
        return np.array(_of_type(path, name, numbers, float))[order].reshape(L, H)

    folds = columns.pop(_FOLDS, None)
    maps = {name: grid(name, column) for name, column in columns.items() if name not in PLACE}
    parts: Parts = {"values": maps.pop(_SCORE), "metrics": {n.removeprefix(_METRIC): its for n, its in maps.items()}}
    if folds is not None:
        if len({len(its) if is_list(its) else -1 for its in folds} - {-1}) != 1 or not all(map(is_list, folds)):
            raise InputError(f"{path}: column '{_FOLDS}' does not hold equally long lists of numbers")
        parts["folds"] = np.stack([grid(_FOLDS, estimate) for estimate in zip(*folds, strict=True)])
    return parts, metadata[key]


def _of_type(path: Path, name: str, column: Sequence[Any], kind: type) -> Sequence[Any]:
    if not all(type(its) is kind for its in column):
        raise InputError(
            f"{path}: column '{shortened(name)}' does not hold {'whole ' if kind is int else ''}numbers alone"
        )
    return column


def refuse_percent(path: Path, values: np.ndarray, column: str = "values") -> None:
    """Raises an InputError for what can only be accuracies in percent."""
    if values.size and values.min() >= 0 and values.max() <= 100 and np.median(values) >= 20:
        raise InputError(
            f"{path}: its {column} go from {values.min():.3g} to {values.max():.3g}, as accuracies in percent do; "
            "accuracies are from 0 to 1 here: divide them by 100"
        )


def load_csv(path: Path) -> Parts:
    """Of a table in which one column is the score."""
    return of_rows(path, list(read_csv(path)))


def of_rows(path: Path, rows: Sequence[tuple[int, dict[str, str]]], place: str = "line") -> Parts:
    """The same of the rows of a table, each with its number."""
    if not rows:
        raise InputError(f"{path}: holds no heads")
    header = list(rows[0][1])
    if missing := [name for name in PLACE if name not in header]:
        raise InputError(f"{path}, line 1: the header has no column '{missing[0]}', only {', '.join(header)}")
    names = [name for name in header if name not in PLACE]
    told = [name for name in names if any(_is_number(cells[name]) for _, cells in rows)]
    score = names[0] if len(names) == 1 else next((name for name in _TAKEN if name in names), None)
    score = told[0] if score is None and len(told) == 1 else score
    if score is None:
        raise InputError(
            f"{path}, line 1: the header has no column {', '.join(_TAKEN)}, nor one single column of scores"
        )
    told = [name for name in names if name in told or name == score]
    if left_out := [name for name in names if name not in told]:
        notice(f"{path}: no numbers stand in its columns {', '.join(left_out)}, which are left out")
    heads: dict[tuple[int, int], dict[str, float]] = {}
    for line, cells in rows:
        numbers = {
            name: _number(cells[name], f"{path}, {place} {line}, column '{name}'", name == score) for name in told
        }
        layer, head = (_whole(cells[name], f"{path}, {place} {line}, column '{name}'") for name in PLACE)
        if (layer, head) in heads:
            raise InputError(f"{path}, {place} {line}: layer {layer}, head {head} stands there twice")
        heads[layer, head] = numbers
    L, H = complete_grid(path, heads)
    ordered = [heads[at] for at in np.ndindex(L, H)]
    columns = {name: np.array([numbers[name] for numbers in ordered]).reshape(L, H) for name in told}
    if score in _ACCURACIES:
        refuse_percent(path, columns[score], f"numbers in column '{score}'")
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


def complete_grid(path: Path, heads: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Layers and heads, when every head of every layer is there, counted from 0."""
    found = set(heads)
    if not found:
        raise InputError(f"{path}: holds no heads")
    first, last = ([most(axis) for axis in zip(*found, strict=True)] for most in (min, max))
    whole = len(found) == math.prod(stop + 1 - start for start, stop in zip(first, last, strict=True))
    for start, name in zip(first, PLACE, strict=True):
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
