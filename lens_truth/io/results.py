"""`Result`: what every result can do. It goes to JSON and comes back equal, lies in a folder's `result.json` whether a
command or a script wrote it, and shows its tables in a notebook."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, get_args, get_origin

import numpy as np
from jaxtyping import AbstractArray, Float

from lens_truth.errors import InputError, shortened
from lens_truth.io.readers import dotted, is_list, is_object
from lens_truth.io.runs import Record, read_record, write_record
from lens_truth.io.tables import Table, html

if TYPE_CHECKING:
    from cattrs import Converter
    from pandas import DataFrame


def none_for_nan(array: Float[np.ndarray, "..."]) -> Any:
    """Nested lists, with None for NaN, which JSON cannot say."""
    nested = array.astype(object)
    nested[np.isnan(array)] = None
    return nested.tolist()


R = TypeVar("R", bound="Result")
T = TypeVar("T")


class Result:
    """Base of frozen dataclasses (`eq=False`: results with arrays are compared here). A subclass names where it stands
    in `result.json`: `results.{part}`, or, where a run can have several, `results.{part}.{name}`."""

    command: ClassVar[str]
    """The command whose runs hold it."""
    part: ClassVar[str]
    named: ClassVar[bool] = False
    """Whether a run can hold several, each under a name."""

    @abstractmethod
    def tables(self) -> Sequence[Table]:
        """What it says in numbers; the first table is the result itself.

        >>> lens_truth.Heritability.load("runs/inherit").tables()[0]  # a notebook shows it
        """

    def to_frame(self, n: int = 0) -> DataFrame:
        """Its table number `n` as a pandas DataFrame, with columns of numbers where cells hold numbers: with all their
        digits where one stands in a cell by itself, with those in print where it is split from its interval. Caption
        and note are in the frame's `attrs`.

        >>> lens_truth.Detection.load("runs/detect").to_frame()

        Raises:
            InputError: if there are not so many tables.
        """
        tables = self.tables()
        if not 0 <= n < len(tables):
            captions = "; ".join(f"{i}: {table.caption}" for i, table in enumerate(tables))
            raise InputError(f"table {n} was asked for, and there are {len(tables)} ({captions})")
        return tables[n].to_frame()

    def _repr_html_(self) -> str:
        return html(*self.tables())

    def as_dict(self) -> dict[str, Any]:
        """For JSON: plain lists, objects and numbers; None for NaN. `from_dict` gives an equal result back.

        >>> json.dumps(result.as_dict())
        """
        return _plain(self)

    @classmethod
    def from_dict(cls: type[R], value: Any, where: str = "result") -> R:
        """What `as_dict` gave.

        >>> lens_truth.Heritability.from_dict(json.loads(text))

        Raises:
            InputError: names the place, from `where` on, of a field that is missing, unknown or of another type.
        """
        return structured(cls, value, where)

    def in_record(self) -> dict[str, Any]:
        """What `result.json` holds of it: all, unless `save_arrays` writes the rest."""
        return self.as_dict()

    def save(self, folder: str | Path) -> None:
        """Writes `result.json` into the folder (which is made), as `load` and `write_report` read it.

        >>> result.save("runs/mine")
        """
        self.save_arrays(Path(folder))
        results = {self.part: {"result": self.in_record()} if self.named else self.in_record()}
        write_record(Path(folder), {"command": self.command, "results": results})

    def save_arrays(self, folder: Path) -> list[str]:
        """Writes what is too large for JSON into files beside `result.json`, and names them; most results have none."""
        return []

    @classmethod
    def load(cls: type[R], folder: str | Path, name: str | None = None) -> R:
        """The result in a folder that `save` or a command wrote; of several that of a name, by default the first.

        >>> lens_truth.Heritability.load("runs/inherit", "causal")

        Raises:
            InputError: in one sentence that names file, line and column: there is no such result, it was written in
                another format, or one of its fields is missing, unknown or of another type.
        """
        return cls.of_record(read_record(Path(folder)), name)

    @classmethod
    def of_record(cls: type[R], record: Record, name: str | None = None) -> R:
        """The result in a `result.json` that was read already; see `load`."""
        held = record.results.get(cls.part)
        path: list[str | int] = ["results", cls.part]
        if held is None:
            raise InputError(f"{record.file}: is of the command '{record.command}' and holds no {cls.part}")
        if cls.named:
            if not is_object(held) or not held:
                raise record.wrong(path, "names nothing")
            chosen = next(iter(held)) if name is None else name
            if chosen not in held:
                raise InputError(f"{record.file}: holds no {cls.part} called '{name}', only {', '.join(held)}")
            held, path = held[chosen], [*path, chosen]
        try:
            return _structured(cls, held)
        except MisfitError as misfit:
            raise record.wrong([*path, *misfit.path], misfit.why) from None

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        mine, theirs = (asdict(cast("Any", its)) for its in (self, other))
        try:
            np.testing.assert_equal(mine, theirs)  # NaN equals NaN
        except AssertionError:
            return False
        return True

    __hash__ = None  # pyright: ignore[reportAssignmentType] (arrays have no hash)


class MisfitError(Exception):
    """A value that is not what the field's type says."""

    def __init__(self, path: Sequence[str | int], why: str) -> None:
        super().__init__(why)
        self.path, self.why = tuple(path), why


def _plain(value: Any) -> Any:
    """What JSON can hold: arrays and tuples as lists, NaN as None, dataclasses as objects."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray) and (array := cast("np.ndarray", value)).dtype.kind == "f":
        return none_for_nan(array)  # at once: number by number takes 25 times as long
    if isinstance(value, np.ndarray | np.generic):
        return _plain(cast("Any", value).tolist())
    if isinstance(value, Mapping):
        return {name: _plain(its) for name, its in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    return None if isinstance(value, float) and math.isnan(value) else value


def structured(kind: type[T], value: Any, where: str) -> T:
    """A value from JSON as a dataclass; what does not fit is refused with its place, from `where` on."""
    try:
        return _structured(kind, value)
    except MisfitError as misfit:
        raise InputError(f"{where}{dotted(misfit.path)} {misfit.why}") from None


def _structured(kind: type[T], value: Any) -> T:
    from cattrs.errors import BaseValidationError

    if not is_object(value):
        raise MisfitError((), f"is {shortened(repr(value))}, not an object")
    try:
        return _converter().structure(value, kind)
    except (BaseValidationError, MisfitError) as error:
        raise _first(error, []) from None


def _first(error: BaseException, path: list[str | int]) -> MisfitError:
    """The first leaf of cattrs' tree of errors, with its place."""
    from cattrs.errors import AttributeValidationNote, BaseValidationError, ForbiddenExtraKeysError
    from cattrs.errors import IterableValidationNote as ItemNote

    if isinstance(error, BaseValidationError):
        one = error.exceptions[0]
        notes = [note for note in getattr(one, "__notes__", ()) if isinstance(note, AttributeValidationNote | ItemNote)]
        step = [note.name if isinstance(note, AttributeValidationNote) else note.index for note in notes[:1]]
        return _first(one, [*path, *step])
    if isinstance(error, MisfitError):
        return MisfitError([*path, *error.path], error.why)
    if isinstance(error, ForbiddenExtraKeysError):
        name = min(error.extra_fields)
        return MisfitError([*path, name], "is a field that this version of lens_truth does not know")
    if isinstance(error, KeyError):
        return MisfitError(path[:-1], f"has no '{error.args[0]}'")
    return MisfitError(path, f"does not fit ({error})")


_EXACT: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false"}


@cache
def _converter() -> Converter:
    """Strict: nothing is cast, nothing is passed over."""
    from cattrs import Converter

    def exactly(value: Any, kind: type) -> Any:
        if type(value) is not kind or (kind is int and abs(value) > _LARGEST):
            raise MisfitError((), f"is {shortened(repr(value))}, not {_EXACT[kind]}")
        return value

    converter = Converter(forbid_extra_keys=True)
    for kind in _EXACT:
        converter.register_structure_hook(kind, exactly)
    converter.register_structure_hook(float, lambda value, _: _number(value))
    converter.register_structure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, AbstractArray), _array
    )
    converter.register_structure_hook_func(lambda kind: get_origin(kind) is tuple, _tuple)
    return converter


def _tuple(value: Any, kind: Any) -> tuple[Any, ...]:
    """From a list alone: cattrs would also take a text apart."""
    kinds = get_args(kind)
    if not is_list(value):
        raise MisfitError((), f"is {shortened(repr(value))}, not a list")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        raise MisfitError((), f"has {len(value)} items, not {len(kinds)}")
    items: list[Any] = []
    for i, (item, its) in enumerate(zip(value, kinds, strict=True)):
        try:
            items.append(_converter().structure(item, its))
        except Exception as error:  # whatever cattrs raises, as it does itself
            raise _first(error, [i]) from None
    return tuple(items)


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) not in (int, float) or not abs(value) <= _LARGEST:
        raise MisfitError((), f"is {shortened(repr(value))}, not a number")
    return float(value)


_LARGEST = 1e15
"""No score, count or time comes near; sums of larger numbers could overflow."""


def _array(value: Any, kind: Any) -> np.ndarray:
    """Nested lists as an array of numbers, of the kind's number of dimensions."""
    try:
        array = np.array(value, dtype=object)
        numbers = np.array([_number(item) for item in array.ravel()], dtype=float).reshape(array.shape)
    except (MisfitError, ValueError) as error:
        raise MisfitError((), f"is not an array of numbers ({error})") from None
    if not is_list(value) or not isinstance(numbers, kind):
        raise MisfitError((), f"is an array of shape {numbers.shape}, which is not the shape of {kind.dim_str}")
    return numbers
