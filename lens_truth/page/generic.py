"""Results of any form as plain tables: benchmarks, audits, and whatever else a run may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lens_truth.data.audit import Agreement, Audit, agreement_table, audit_table
from lens_truth.evaluate.result import BenchmarkResult, Choices
from lens_truth.io.numbers import count, number, short
from lens_truth.io.readers import is_list, is_object
from lens_truth.io.tables import Row, row, table
from lens_truth.page.blocks import Block, Heading, Text
from lens_truth.page.reading import RunRecord

_MOST = 200
"""Rows of a table at most; more say how many they are."""
_ACROSS = 12
"""Values that fit into one line."""
_DEEP = 4


def benchmark_blocks(run: RunRecord) -> list[Block]:
    """What `evaluate` found."""
    config = run.config
    gated = f"gated by {config['scores']}, λ = {config.get('lam')}" if config.get("scores") else "as it is"
    asked = f"{config.get('model')}, {gated}" if "weights" in run.hashes else "answers from a file"
    data = config.get("data")
    about = "; ".join(part for part in (f"run {run.name}", asked, f"on {data}" if data else "") if part)
    title = run.command.removeprefix("evaluate").strip() or run.command
    blocks: list[Block] = [Heading(title, 3, about)]
    rest: dict[str, Any] = dict(run.record.results)
    for kind in (BenchmarkResult, Choices):
        if rest.pop(kind.part, None) is not None:
            result = kind.of_record(run.record)
            blocks += result.tables()
            rest = {name: its for name, its in rest.items() if name not in result.summary()}
    return [*blocks, *(plain_blocks(rest, "Settings" if len(blocks) > 1 else "Results"))]


def audit_blocks(run: RunRecord) -> list[Block]:
    """What `audit` found: the tables of its own."""
    held = run.record.results
    audits = {name: Audit.of_record(run.record, name) for name in held.get(Audit.part, {})}
    pairs = {name: Agreement.of_record(run.record, name) for name in held.get(Agreement.part, {})}
    tables = [*([audit_table(audits)] if audits else []), *([agreement_table(pairs)] if pairs else [])]
    return [Heading(run.name, 3, f"command {run.command}"), *tables]


def plain_blocks(value: Mapping[str, Any], caption: str, depth: int = 0) -> list[Block]:
    """Numbers and texts in a table of names and values, tables of equal members as one table, the rest nested."""
    simple = {name: its for name, its in value.items() if _is_plain(its) and not _is_interval_of(name, value)}
    blocks: list[Block] = []
    if simple:
        cells = {_title(name): _with_interval(name, its, value) for name, its in simple.items()}
        if len(cells) <= _ACROSS:
            blocks.append(table(caption, tuple(cells), [row(*cells.values())]))
        else:
            blocks.append(table(caption, ("", "value"), [row(*cell) for cell in cells.items()]))
    for name, its in value.items():
        if _is_plain(its) or its in ({}, []):
            continue
        title = f"{caption}: {_title(name)}" if depth else _title(name).capitalize()
        blocks += _nested(title, its, depth)
    return blocks


def _nested(title: str, its: Any, depth: int) -> list[Block]:
    lines = _lines(its)
    if lines is not None:
        return [_one_table(title, lines)]
    if is_object(its) and depth < _DEEP:
        return plain_blocks(its, title, depth + 1)
    return [Text(f"{title}: {count(len(its), 'value')}, not shown")]


def _lines(its: Any) -> list[tuple[tuple[str, ...], dict[str, Any]]] | None:
    """Members that are flat objects, one or two levels down, with their names; None if there is anything else."""
    members = list(its.items()) if is_object(its) else [(str(i), x) for i, x in enumerate(its, start=1)]
    if not members or not all(isinstance(member, dict) for _, member in members):
        return None
    if all(_is_flat(member) for _, member in members):
        return [((name,), member) for name, member in members]
    deeper: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    for name, member in members:
        flat = {inner: x for inner, x in member.items() if is_object(x) and _is_flat(x)}
        if any(inner not in flat and not _is_plain(x) for inner, x in member.items()):
            return None
        rest = {inner: x for inner, x in member.items() if inner not in flat}
        deeper += [((name, inner), {**x, **rest}) for inner, x in flat.items()]
    return deeper


def _one_table(title: str, lines: list[tuple[tuple[str, ...], dict[str, Any]]]) -> Block:
    columns = list(dict.fromkeys(name for _, line in lines for name in line if not _is_interval_of(name, line)))
    rows: list[Row] = [
        row(" · ".join(names), *(_with_interval(column, line.get(column), line) for column in columns))
        for names, line in lines[:_MOST]
    ]
    note = f"The first {_MOST} of {len(lines)}." if len(lines) > _MOST else ""
    return table(title, ("", *(_title(column) for column in columns)), rows, note)


def _is_plain(value: Any) -> bool:
    return not isinstance(value, dict | list) or (
        is_list(value) and len(value) <= 12 and all(not isinstance(item, dict | list) for item in value)
    )


def _is_flat(value: dict[str, Any]) -> bool:
    return all(_is_plain(its) for its in value.values())


def _is_interval_of(name: str, value: Mapping[str, Any]) -> bool:
    return name.endswith("_ci") and name.removesuffix("_ci") in value


def _with_interval(name: str, value: Any, siblings: Mapping[str, Any]) -> str:
    ends = siblings.get(f"{name}_ci")
    return f"{plain(value)} {plain(ends)}" if ends is not None else plain(value)


def plain(value: Any) -> str:
    """A value as a cell of a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return number(value) if 0.001 <= abs(value) < 1000 or value == 0.0 else short(value)
    if is_list(value):
        inner = ", ".join(plain(item) for item in value)
        return f"[{inner}]" if value and all(type(item) is float for item in value) else inner or ""
    return str(value)


def _title(name: str) -> str:
    return name.replace("_", " ")
