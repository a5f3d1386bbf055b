"""Results of any form as plain tables: whatever a run may hold, and what it was made with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from lens_truth.io.numbers import count, number, short
from lens_truth.io.readers import is_list, is_object
from lens_truth.io.tables import Table, row, table
from lens_truth.page.blocks import Block, Details, Text
from lens_truth.page.reading import RunRecord

_MOST, _DEEP = 200, 6
"""Rows of a table, and levels inside a part of the results; of what is beyond stands how much it is."""


def plain_tables(results: Mapping[str, Any], caption: str) -> list[Table]:
    """Numbers and texts by name, then a table for each part of the results, a row for every object inside it."""
    tables: list[Table] = []
    if own := _texts(results):
        tables.append(table(caption, ("", "value"), (row(*cell) for cell in own.items())))
    for name, part in results.items():
        rows = [] if _is_plain(part) else list(_rows(part, ()))
        if not rows:
            continue
        columns = list(dict.fromkeys(column for _, its in rows for column in its))
        note = f"The first {_MOST} of {len(rows)}." if len(rows) > _MOST else ""
        lines = (row(path, *(its.get(column, "") for column in columns)) for path, its in rows[:_MOST])
        tables.append(table(_title(name).capitalize(), ("", *columns), lines, note))
    return tables


def _rows(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every object in a value, and how it is called: its numbers and texts."""
    members = value if is_object(value) else {str(i): its for i, its in enumerate(value, start=1)}
    if own := _texts(members):
        yield " · ".join(path), own
    for name, its in members.items():
        if not _is_plain(its) and len(path) < _DEEP:
            yield from _rows(its, (*path, _title(name)))
        elif not _is_plain(its):
            yield " · ".join((*path, _title(name))), {"": f"{count(len(its), 'value')}, not shown"}


def _texts(members: Mapping[str, Any]) -> dict[str, str]:
    """Of plain members, by title; an interval stands with its value."""
    texts = {name: plain(its) for name, its in members.items() if _is_plain(its)}
    for name in [name for name in texts if name.endswith("_ci") and name.removesuffix("_ci") in texts]:
        texts[name.removesuffix("_ci")] += f" {texts.pop(name)}"
    return {_title(name): text.strip() for name, text in texts.items()}


def _is_plain(value: Any) -> bool:
    if is_list(value):
        return len(value) <= 12 and not any(isinstance(item, dict | list) for item in value)
    return not isinstance(value, dict)


def plain(value: Any) -> str:
    """A value as a cell of a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return number(value) if 0.001 <= abs(value) < 1000 or value == 0.0 else short(value)
    if is_list(value):
        inner = ", ".join(map(plain, value))
        return f"[{inner}]" if value and all(type(item) is float for item in value) else inner
    return str(value)


def _title(name: str) -> str:
    return name.replace("_", " ")


def provenance_blocks(run: RunRecord) -> list[Block]:
    """Where everything comes from: flags, versions, hashes, where the time went, and the command that repeats a run."""
    line = run.command_line
    said = f"Repeat it: `{line}`" if line else "No command line: a script called the library."
    parts = {"flag": run.config, "version": run.versions, "hash": run.hashes, "seconds": run.seconds_by_stage}
    rows = tuple(row(f"{of}: {name}", plain(value)) for of, its in parts.items() for name, value in its.items())
    seconds = "" if run.seconds is None else f", {number(run.seconds, 1)} seconds"
    listing = Table("Flags, versions, hashes, seconds", ("", "value"), rows, form="words")
    return [Details(f"{run.name}: {run.record.command}{seconds}", (Text(said), listing))]
