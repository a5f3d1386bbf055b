"""Examples from rows in memory (a data frame, a Hugging Face data set, any mappings), and back into tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from lens_truth.data.examples import Example, FieldNames, check_names, examples_of, row_of
from lens_truth.data.row_fields import plain
from lens_truth.data.row_table import columns_of
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

_NAMED = {"DataFrame": "the data frame", "Dataset": "the data set"}
"""What errors call rows, by their class."""


def examples_from(
    rows: Any, *, images: str | Path | None = None, limit: int | None = None, **names: Unpack[FieldNames]
) -> list[Example]:
    """Examples from a pandas DataFrame, a `datasets.Dataset`, or any iterable of mappings: `read_examples` of rows that
    are in memory, with the same fields and the same complaints, which name the row, counted from 1.

    >>> lens_truth.examples_from(frame, answer="response", label="ok")
    >>> lens_truth.examples_from(datasets.load_dataset("org/name", split="train"), limit=1000)

    Args:
        rows: they may have more fields than examples have; what is missing is None, NaN or empty.
        images: the folder of image files that rows name, by default the one that Python runs in.
        limit: only the first so many.
        names: of fields that are called otherwise, such as `answer="response"`.

    Raises:
        InputError: names row and field; also if there are no rows, or several data sets (splits) in one object.
    """
    check_names(names)
    kind = type(rows).__name__
    if isinstance(rows, Mapping):
        splits = ", ".join(map(str, cast("Mapping[Any, Any]", rows)))
        raise InputError(f"examples are made of rows, and this is a {kind} of {splits}: take one of them")
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        rows = rows.to_dict("records")
    elif isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise InputError(f"examples are made of rows, and this is a {kind}: give mappings, a data frame or a data set")
    where = Path(_NAMED.get(kind, "the rows"))
    folder = None if images is None else Path(images)
    return examples_of(where, _numbered(where, cast("Iterable[Any]", rows)), folder, limit, **names)


def _numbered(where: Path, rows: Iterable[Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise InputError(f"{where}, row {number}: is a {type(row).__name__}, not a mapping of fields")
        yield f"row {number}", {str(name): plain(its) for name, its in cast("Mapping[Any, Any]", row).items()}


def to_dataset(examples: Iterable[Example]) -> Dataset:
    """Examples as a data set of Hugging Face's `datasets`, with the fields that `examples_from` reads back; image files
    are named by absolute paths.

    >>> lens_truth.to_dataset(examples).push_to_hub("org/name")
    """
    datasets: Any = import_module("datasets")
    rows = [row_of(example) for example in examples]
    return datasets.Dataset.from_dict({name: [row.get(name) for row in rows] for name in columns_of(rows)})
