"""A `Table` as a data frame: columns of numbers where its cells hold numbers, of texts where they hold words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lens_truth.io.numbers import Said

if TYPE_CHECKING:
    from pandas import DataFrame

    from lens_truth.io.tables import Table

_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_PARTS = re.compile(rf"(?P<value>{_NUMBER}%?)?\s*(?:\[(?P<low>{_NUMBER}), (?P<high>{_NUMBER})\])?")
_NOTHING = ("·", "-", "–")
"""What stands in a table where nothing can stand."""
_ENDS = (" low", " high")


def frame_of(table: Table) -> DataFrame:
    """A row for each of its rows, in columns named by its header; a column of numbers with intervals becomes three,
    `NAME`, `NAME low` and `NAME high`, and one of intervals alone the last two. What is not defined is NaN in numbers,
    and empty in texts."""
    from pandas import DataFrame

    columns: dict[str, list[Any]] = {}
    cells = [[row.head.text, *(cell.text for cell in row.cells)] for row in table.rows]
    for i, name in enumerate(_once(table.header)):
        found = _columns([line[i] for line in cells])
        base = re.sub(r"\s*\[?95%\]?$", "", name) if len(found) > 1 else name
        columns |= {(base or name) + more: values for more, values in found.items()}
    frame = DataFrame(columns)
    frame.attrs |= {"caption": table.caption, "note": table.note}
    return frame


def _columns(texts: Sequence[str]) -> dict[str, list[Any]]:
    """The column, by what stands behind its name."""
    parts = [_numbers(text) for text in texts]
    if not any(texts) or any(part is None for part in parts):
        return {"": [str(text) for text in texts]}
    known = [part for part in parts if part is not None]
    values, ends = [part[0] for part in known], [part[1] for part in known]
    found: dict[str, list[Any]] = {}
    if any(value is not None for value in values):
        whole = all(type(value) is int for value in values)
        found[""] = values if whole else [float("nan") if value is None else float(value) for value in values]
    if any(end is not None for end in ends):
        nowhere = (float("nan"), float("nan"))
        found |= {more: [(end or nowhere)[i] for end in ends] for i, more in enumerate(_ENDS)}
    return found


def _numbers(text: str) -> tuple[float | int | None, tuple[float, float] | None] | None:
    """A cell's number and its interval, either of which may not be there; None if it holds anything else."""
    if isinstance(text, Said) and text.numbers:
        return (text.numbers[0], None) if len(text.numbers) == 1 else (None, (text.numbers[0], text.numbers[1]))
    found = _PARTS.fullmatch("" if text in _NOTHING else text.strip())
    if found is None:
        return None
    value, low, high = found.group("value", "low", "high")
    return (None if value is None else _read(value)), (None if low is None else (float(_read(low)), float(_read(high))))


def _read(text: str) -> float | int:
    plain = text.replace(",", "").removeprefix("+")
    if plain.endswith("%"):
        return float(plain[:-1]) / 100
    return int(plain) if re.fullmatch(r"-?\d+", plain) else float(plain)


def _once(names: Sequence[str]) -> list[str]:
    """Names of columns, with a number behind those that stood already."""
    found: list[str] = []
    for name in names:
        n = 1 + sum(its == name for its in names[: len(found)])
        found.append(f"{name} {n}".strip() if n > 1 else name)
    return found
