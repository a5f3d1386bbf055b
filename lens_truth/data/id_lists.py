"""Files that hold ids alone: which questions a study was trained and tested on, as studies publish it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lens_truth.errors import InputError
from lens_truth.io.parquet import is_parquet
from lens_truth.io.readers import is_list, is_object, open_input, read_json
from lens_truth.io.rows import read_rows

_NAMES = ("id", "qid", "question_id", "sample_id", "item_id")
"""What a field of ids is called."""
_TOLD = ("question", "answer", "statement", "label")
"""Rows with one of these are more than ids."""
_LABELS = ({"t", "f"}, {"true", "false"}, {"right", "hallucinated"}, {"right", "wrong"})
"""Lists with these names side by side are the two labels of one set, and not two sets."""


def read_ids(path: Path) -> dict[str, tuple[str, ...]]:
    """The ids in each list of a file by the list's name, `dev.train` inside objects, or by none if there is one list:
    `[ids]`, `{"t": [ids], "f": [ids]}`, which is one set with two labels, `{"train": [ids], "test": [ids]}`; rows
    of JSON lines or of a table with an id and neither question nor label; a text with an id a line. Empty if the file
    is none of these.

    Raises:
        InputError: if the file cannot be read, or an id has both labels.
    """
    first = "" if is_parquet(path) else next((line.strip() for line in open_input(path) if line.strip()), "")
    try:
        value: Any = read_json(path) if first.startswith(("[", "{")) else None
    except InputError:
        value = None  # JSON lines
    found = dict(_lists(value, path, "")) if value is not None else _of_rows(path, first)
    return {"" if len(found) == 1 else name: ids for name, ids in found.items()}


def _lists(value: Any, path: Path, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if is_list(value) and value and all(type(item) in (str, int) for item in value):
        yield name, tuple(map(str, value))
    elif is_list(value) and value and all(is_object(item) for item in value):
        if ids := _ids(value):
            yield name, ids
    elif is_object(value):
        inside = {part: list(_lists(its, path, f"{name}.{part}".strip("."))) for part, its in value.items()}
        inside = {part: its for part, its in inside.items() if its}
        if {part.lower() for part in inside} in _LABELS:
            one, other = (its[0][1] for its in inside.values())
            if both := sorted({*one} & {*other}):
                raise InputError(
                    f"{path}: {len(both)} ids stand in both lists, {' and '.join(inside)} (first: '{both[0]}')"
                )
            yield name, (*one, *other)
        else:
            for its in inside.values():
                yield from its


def _ids(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Those of rows that hold nothing else that would be read."""
    field = next((name for name in _NAMES if name in rows[0]), "")
    if not field or any(name in row for row in rows for name in _TOLD):
        return ()
    return tuple(str(row[field]) for row in rows if row.get(field) not in (None, ""))


def _of_rows(path: Path, first: str) -> dict[str, tuple[str, ...]]:
    try:
        ids = _ids([row for _, row in read_rows(path)])
    except (InputError, LookupError):
        ids = ()
    if not ids and path.suffix == ".txt" and not any(mark in first for mark in "{[ ,;\t"):
        ids = tuple(line.strip() for line in open_input(path) if line.strip())
    return {"": ids} if ids else {}
