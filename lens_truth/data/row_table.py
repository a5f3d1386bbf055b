"""Rows of examples as a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from lens_truth.io.parquet import write_parquet


def save_row_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of `write_examples`, with the same types whatever they hold."""
    arrow: Any = import_module("pyarrow")
    numbers, words = (arrow.list_(arrow.list_(its)) for its in (arrow.int64(), arrow.float64()))
    types = {"label": arrow.int64(), "evidence": numbers, "boxes": words, "aliases": arrow.list_(arrow.string())}
    columns = {name: [row.get(name) for row in rows] for name in columns_of(rows)}
    write_parquet(path, columns, {name: types.get(name, arrow.string()) for name in columns}, {})


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the fields that any row has."""
    return list(dict.fromkeys(name for row in rows for name in row))
