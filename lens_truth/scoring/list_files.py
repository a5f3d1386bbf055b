"""The files that lists of heads are read from; whatever is wrong is said with the file and the place in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np

from lens_truth.errors import InputError, notice, shortened
from lens_truth.io.files import DAMAGED_NPY
from lens_truth.io.readers import is_list, is_object, open_input, read_json
from lens_truth.io.rows import read_csv
from lens_truth.scoring.score_files import READERS, read_parts
from lens_truth.scoring.score_tables import Parts

Head = tuple[int, int]
_LINE = re.compile(r"[Ll(\[ ]*([0-9]{1,9})[-.,;\sHh]+([0-9]{1,9})[)\] ]*")
"""16-29, 16.29, 16 29, 16,29, (16, 29), L16H29."""
_KEY = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


def read_list(path: Path, part: str | None = None) -> list[Head] | Parts:
    """The heads in a file in their order, or, of a file of scores of every head, the parts of these."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.name.endswith((".json", ".json.gz")):
        return _from_json(path, read_json(path), part)
    if part is not None:
        raise InputError(f"{path}: only a JSON object has lists by name, such as '{part}'")
    if path.name.endswith((".txt", ".txt.gz")):
        return _from_lines(path)
    if path.suffix == ".csv" and (heads := _from_csv(path)) is not None:
        return heads
    if path.suffix == ".npy" and (heads := _from_npy(path)) is not None:
        return heads
    if path.suffix not in READERS:
        raise InputError(f"{path}: heads are read from .txt files and from {', '.join(READERS)} files")
    return read_parts(path)


def _from_json(path: Path, value: Any, part: str | None) -> list[Head] | Parts:
    if not is_object(value):
        if part is not None:
            raise InputError(f"{path}: only a JSON object has lists by name, such as '{part}'")
        return _pairs(path, value, "the file")
    if value and all(_KEY.fullmatch(key) for key in value):
        if part is not None:
            raise InputError(f"{path}: holds scores by head, and no list '{part}'")
        return _scored(path, value)
    lists = {name: its for name, its in value.items() if is_list(its) and its and all(map(_is_head, its))}
    if not lists:
        raise InputError(f"{path}: holds no list of heads: neither [layer, head] pairs nor 'layer-head' texts")
    chosen = next(iter(lists)) if part is None else part
    if chosen not in lists:
        raise InputError(f"{path}: holds no list of heads called '{chosen}', only {', '.join(lists)}")
    if part is None and len(lists) > 1:
        notice(f"{path}: holds the lists {', '.join(lists)}; '{chosen}' is taken")
    return _pairs(path, lists[chosen], f"'{shortened(chosen)}'")


def _scored(path: Path, value: dict[str, Any]) -> list[Head] | Parts:
    """Numbers by head: scores, if every head has one, or else a list of those that have."""
    heads = {head: its for key, its in value.items() if (head := _head(key)) is not None}
    L, H = (1 + max(axis) for axis in zip(*heads, strict=True))
    if len(heads) == len(value) == L * H:
        return read_parts(path)
    means: dict[Head, float] = {}
    for (layer, head), its in heads.items():
        trials = its if is_list(its) else [its]
        if not trials or not all(type(one) in (int, float) and abs(one) < 1e30 for one in trials):
            raise InputError(f"{path}: head '{layer}-{head}' holds neither a number nor a list of numbers")
        means[layer, head] = sum(trials) / len(trials)
    return sorted(means, key=lambda head: -means[head])


def _pairs(path: Path, value: Any, called: str) -> list[Head]:
    if not is_list(value) or not value:
        raise InputError(f"{path}: {called} is not a list of heads, [[layer, head], ...]")
    heads = [_head(one) for one in value]
    if None in heads:
        at = heads.index(None)
        said = shortened(repr(value[at]))
        raise InputError(f"{path}: number {at + 1} of {called} is {said}, neither [layer, head] nor 'layer-head'")
    return cast("list[Head]", heads)


def _is_head(value: Any) -> bool:
    return _head(value) is not None


def _head(value: Any) -> Head | None:
    """Of [16, 29], "16-29", or either with a score behind it in a list; None if it is neither."""
    if isinstance(value, str):
        match = _KEY.fullmatch(value)
        return (int(match[1]), int(match[2])) if match else None
    if not is_list(value) or len(value) != 2:
        return None
    if all(type(one) is int for one in value):
        return (value[0], value[1])
    return _head(value[0]) if is_list(value[0]) or isinstance(value[0], str) else None


def _from_lines(path: Path) -> list[Head]:
    heads: list[Head] = []
    for line, text in enumerate(open_input(path), start=1):
        said = text.partition("#")[0].strip()
        if not said:
            continue
        if (match := _LINE.fullmatch(said)) is None:
            raise InputError(f"{path}, line {line}: '{shortened(said)}' is no head; write layer and head as 16-29")
        heads.append((int(match[1]), int(match[2])))
    return heads


def _from_csv(path: Path) -> list[Head] | None:
    """Where layer and head are all that a table has."""
    heads: list[Head] = []
    for line, cells in read_csv(path):
        if cells.keys() != {"layer", "head"}:
            return None
        if not all(cell.strip().isdecimal() for cell in cells.values()):
            raise InputError(f"{path}, line {line}: layer and head are not whole numbers")
        heads.append((int(cells["layer"]), int(cells["head"])))
    return heads or None


def _from_npy(path: Path) -> list[Head] | None:
    """Whole numbers, two a row."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*DAMAGED_NPY, OverflowError, MemoryError, RuntimeWarning, UserWarning):
        return None  # the reader of scores says what is wrong
    whole = isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "iu"
    if not whole or values.shape[1] != 2:
        return None
    return [(int(layer), int(head)) for layer, head in values]
