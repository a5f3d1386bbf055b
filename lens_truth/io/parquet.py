"""Tables of Parquet files, and data sets that Hugging Face's `datasets` saved: rows as other files have them. What is
wrong with one is said in a sentence that names the file."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from lens_truth.errors import InputError, first_line, shortened
from lens_truth.io.files import write_file_with

_STATE, _SPLITS = "state.json", "dataset_dict.json"
"""What `save_to_disk` writes beside a data set, and beside several."""


def is_parquet(path: Path) -> bool:
    """Whether a file begins as such files do."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:  # which whoever reads it says
        return False


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows, a thousand at a time."""
    parquet: Any = import_module("pyarrow.parquet")
    with _readable(path):
        file = parquet.ParquetFile(path)
        _check_names(path, file.schema_arrow.names)
        batches = iter(file.iter_batches(batch_size=1024))
    while True:
        with _readable(path):
            batch = next(batches, None)
            rows: list[dict[str, Any]] = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        yield from rows


def read_parquet(path: Path) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Columns by name, and what stands in the metadata of the schema."""
    parquet: Any = import_module("pyarrow.parquet")
    with _readable(path):
        table = parquet.ParquetFile(path).read()
        _check_names(path, table.schema.names)
        found: dict[bytes, bytes] = table.schema.metadata or {}
        metadata = {key.decode(): value.decode() for key, value in found.items()}
        return table.to_pydict(), metadata


def write_parquet(
    path: Path, columns: Mapping[str, Sequence[Any] | Any], types: Mapping[str, Any], metadata: Mapping[str, str]
) -> None:
    """A file of columns, each of an Arrow type, or of that which its values have."""
    arrow: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    arrays = {name: arrow.array(values, types.get(name), from_pandas=True) for name, values in columns.items()}
    table = arrow.table(arrays).replace_schema_metadata(dict(metadata) or None)
    write_file_with(path, lambda temporary: parquet.write_table(table, temporary))


def saved_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a folder that `Dataset.save_to_disk` wrote, in the order that it has."""
    if (path / _SPLITS).is_file():
        splits = sorted(its.parent.name for its in path.glob(f"*/{_STATE}"))
        raise InputError(f"{path}: holds {', '.join(splits) or 'no'} splits of a data set; name one, as {path}/SPLIT")
    if not (path / _STATE).is_file():
        raise InputError(f"{path}: is a folder, and not one that datasets' save_to_disk wrote")
    datasets: Any = import_module("datasets")
    with _readable(path):
        rows = iter(datasets.load_from_disk(str(path)))
    while True:
        with _readable(path):
            row = next(rows, None)
        if row is None:
            return
        yield row


@contextmanager
def _readable(path: Path) -> Generator[None, None, None]:
    """While open, whatever Arrow says of a file that is damaged or not there is an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of Arrow, of the system, of Python's own numbers and dates
        raise InputError(f"{path}: is not a table that can be read ({shortened(first_line(error))})") from error


def _check_names(path: Path, names: Sequence[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}, line 1: column '{shortened(twice)}' stands there twice")
