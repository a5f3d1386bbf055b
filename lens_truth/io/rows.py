"""Rows of files, whatever the files are called: JSON lines, a JSON list, tables with a header row, Parquet; and of
folders that `datasets` saved."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lens_truth.errors import InputError, shortened
from lens_truth.io.parquet import is_parquet, parquet_rows, saved_rows
from lens_truth.io.readers import is_object, open_input, read_json, read_jsonl

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Where each row stands in its file, and the row."""


def read_rows(path: Path) -> Rows:
    """(`line n`, row) of JSON lines or of a table (`read_csv`), (`row n`, row) of one JSON list of objects, of Parquet
    or of a folder that `datasets` saved; a file that is one JSON object is a single row. Which of them it is, its first
    line tells."""
    if path.is_dir() or is_parquet(path):
        rows = saved_rows(path) if path.is_dir() else parquet_rows(path)
        yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))
        return
    first = next((line.strip() for line in open_input(path) if line.strip()), "")
    if first.startswith("["):
        for number, row in enumerate(read_json(path), start=1):
            if not is_object(row):
                raise InputError(f"{path}, row {number}: is not a JSON object")
            yield f"row {number}", row
    elif first.startswith("{") and first.endswith(("{", "[", ",", ":")):  # goes on in the next line
        yield "line 1", read_json(path)
    else:
        rows = read_jsonl(path) if first.startswith("{") else read_csv(path)
        yield from ((f"line {line}", row) for line, row in rows)


def read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of its first line, row) of a table with a header row, which every row has as many fields as; fields are
    separated by tabs if the header holds one, or else by commas, or else by semicolons."""
    csv.field_size_limit(1 << 28)
    lines, blank, first = open_input(path), 0, ""
    for first in lines:
        if first.strip():
            break
        blank += 1
    between = next((mark for mark in "\t,;" if mark in first), ",")
    table = csv.reader(chain([first], lines), delimiter=between, strict=True)
    header: list[str] = []
    line = blank + 1
    try:
        for cells in table:
            if not header:
                header = _header(path, cells)
            elif cells:
                _check(f"{path}, line {line}", cells, header, between)
                yield line, dict(zip(header, cells, strict=True))
            line = blank + table.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: a quote in this row is not closed, or not well ({error})") from error


def _header(path: Path, names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}, line 1: column '{shortened(name)}' stands there twice")
    return names


def _check(where: str, cells: Sequence[str], header: Sequence[str], between: str) -> None:
    if len(cells) != len(header):
        raise InputError(f"{where}: the row does not have the header's number of fields")
    last = cells[-1].rpartition("\n")[2]
    # all of a row but its last field, which begins with a quote: that was taken for the end of this field
    if last != cells[-1] and last.endswith(between) and last.count(between) == len(header) - 1:
        raise InputError(f"{where}: a quote in this row is closed in a later row only")
