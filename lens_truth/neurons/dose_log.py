"""Published logs of dose curves: the outcome of every item at every dose, as curves of items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError, shortened
from lens_truth.io.rows import read_rows

_WIDE = re.compile(
    r"(?:(?P<name>.+)@|(?:(?P<named>.+)[_ /.])?alpha[_= ])(?P<alpha>[-+]?(?:\d*\.?\d+(?:[eE][-+]?\d+)?|nan|inf))$"
)
_FILE = re.compile(r"alpha_(?P<alpha>[-+]?\d*\.?\d+)\.(?:jsonl|csv|json)(?:\.gz)?$")
_IDS = ("id", "item", "item_id", "qid", "question_id", "example_id")
_RUNS = ("run", "curve", "name", "condition", "method", "intervention")
_DOSES = ("alpha", "dose", "strength", "beta", "multiplier")
_VALUES = ("value", "metric", "compliance", "compliant", "correct", "outcome", "score")
_TRUE, _FALSE = ("true", "yes"), ("false", "no")
_MOST = 1e100
"""Outcomes beyond this have no mean in double precision, or no square."""
_MISSING = ("", "na", "nan", "null", "none")


@dataclass(frozen=True, eq=False)
class ItemCurve:
    """One curve, item by item.

    >>> lens_truth.ItemCurve((0.0, 1.0), outcomes, ids, groups=ids)
    """

    alphas: tuple[float, ...]
    """In rising order."""
    outcomes: Float[np.ndarray, "A N"]
    """NaN where the log has none."""
    ids: tuple[str, ...]
    """In the order of the log."""
    groups: tuple[str, ...]
    """The items' own ids, unless the log names groups."""
    repeated: int = 0
    """Rows that said again what another said."""


def read_dose_log(path: Path, value: str | None = None) -> dict[str, ItemCurve]:
    """The curves of a log, by name.

    It is a table with a column `id` and columns `NAME@ALPHA` (or `NAME_alpha_1.5`); or rows (JSON lines, a table) with
    `id`, `alpha`, perhaps `run` and `group`, and a value; or a folder with such rows in files `alpha_NUMBER.jsonl`,
    where the folders that hold them name the curves. A value is a number, true or false; what is empty is missing.

    >>> lens_truth.read_dose_log(Path("compliance.csv"))["h_neurons"].alphas

    Args:
        value: the field that holds it; by default the first of value, metric, compliance, correct, outcome, score.

    Raises:
        InputError: names file and line of a row that does not fit, or says that the log holds no curve.
    """
    cells: dict[str, _Cells] = {}
    for file, name, alpha in _files(path):
        for place, row in read_rows(file):
            for run, dose, id_, group, outcome in _read(f"{file}, {place}", row, name, alpha, value):
                cells.setdefault(run, _Cells()).add(f"{file}, {place}", run, dose, id_, group, outcome)
    if not cells:
        raise InputError(f"{path}: holds no curve: no row, or no column NAME@ALPHA and no field alpha")
    return {name: its.curve() for name, its in cells.items()}


def _files(path: Path) -> Iterator[tuple[Path, str, float | None]]:
    """Files of rows, what a curve in them is called if they do not say so, and at which dose."""
    if not path.is_dir():
        yield path, path.name.split(".")[0], None
        return
    found = [(file, its) for file in sorted(path.rglob("alpha_*")) if (its := _FILE.match(file.name))]
    if not found:
        raise InputError(f"{path}: is a folder without files alpha_NUMBER.jsonl; a log is a file, or a folder of those")
    for file, its in found:
        name = file.parent.relative_to(path).as_posix()
        yield file, path.resolve().name if name == "." else name, float(its["alpha"])


Read = tuple[str, float, str, str, float]


def _read(where: str, row: dict[str, Any], name: str, alpha: float | None, value: str | None) -> Iterator[Read]:
    """Curve, dose, item, group and outcome of everything that a row says."""
    held = {its.lower(): its for its in row}
    id_ = _text(row, held, _IDS)
    if id_ is None:
        raise InputError(f"{where}: has no field 'id'; an item's outcomes at all doses are found by its id")
    group = _text(row, held, ("group",)) or id_
    wide = [(column, its) for column in row if (its := _WIDE.match(column))]
    for column, its in wide:
        at = _dose(where, its["alpha"])
        yield its["name"] or its["named"] or name, at, id_, group, _outcome(where, column, row[column])
    if wide and value is not None:
        raise InputError(f"{where}: its columns NAME@ALPHA hold the outcomes, and --value names a field of rows")
    if wide:
        return
    dose = _text(row, held, _DOSES)
    if dose is None and alpha is None:
        raise InputError(f"{where}: has no field 'alpha', and its columns are not called NAME@ALPHA")
    column = value if value is not None else next((held[its] for its in _VALUES if its in held), None)
    if column is None or column not in row:
        raise InputError(
            f"{where}: has no field '{value or ', '.join(_VALUES)}'; --value names the one that holds the outcome "
            f"(of {', '.join(row)})"
        )
    at = alpha if dose is None else _dose(where, dose)
    assert at is not None
    yield _text(row, held, _RUNS) or name, at, id_, group, _outcome(where, column, row[column])


def _text(row: dict[str, Any], held: dict[str, str], names: Sequence[str]) -> str | None:
    found = next((row[held[name]] for name in names if name in held), None)
    return None if found is None else str(found)


def _dose(where: str, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not np.isfinite(found):
        raise InputError(f"{where}: alpha is '{shortened(text)}'; it must be a finite number")
    return found


def _outcome(where: str, column: str, value: Any) -> float:
    text = str(value).strip().lower()
    if text in _MISSING:
        return float("nan")
    if text in _TRUE or text in _FALSE:
        return float(text in _TRUE)
    try:
        found = float(text)
    except ValueError:
        found = float("inf")
    if not abs(found) < _MOST:
        raise InputError(f"{where}: '{column}' is '{shortened(str(value))}'; an outcome is a number, true or false")
    return found


class _Cells:
    """The outcomes of one curve while they are read."""

    def __init__(self) -> None:
        self._at: dict[float, dict[str, float]] = {}
        self._groups: dict[str, str] = {}
        self._repeated = 0

    def add(self, where: str, run: str, dose: float, id_: str, group: str, outcome: float) -> None:
        its = self._at.setdefault(dose, {})
        if id_ in its:
            if its[id_] != outcome and not np.isnan([its[id_], outcome]).all():
                raise InputError(
                    f"{where}: item '{shortened(id_)}' of {run} has another outcome at alpha {dose:g} than in an "
                    "earlier row; keep one row an item and alpha"
                )
            self._repeated += 1
        its[id_] = outcome
        if (before := self._groups.setdefault(id_, group)) != group:
            raise InputError(
                f"{where}: item '{shortened(id_)}' of {run} is in group '{shortened(group)}', and in "
                f"'{shortened(before)}' in an earlier row; an item has one group"
            )

    def curve(self) -> ItemCurve:
        alphas, ids = sorted(self._at), tuple(self._groups)
        outcomes = np.array([[self._at[alpha].get(id_, float("nan")) for id_ in ids] for alpha in alphas])
        return ItemCurve(tuple(alphas), outcomes, ids, tuple(self._groups.values()), self._repeated)
