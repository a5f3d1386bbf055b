"""Where everything comes from: flags, versions, hashes, and the command that repeats a run."""

from __future__ import annotations

from typing import Any

from lens_truth.io.numbers import number
from lens_truth.io.tables import Table, row
from lens_truth.page.blocks import Block, Details, Text
from lens_truth.page.generic import plain
from lens_truth.page.reading import RunRecord


def provenance_blocks(run: RunRecord) -> list[Block]:
    """One folded part a run."""
    line = run.command_line
    said = f"Repeat it: `{line}`" if line else "missing: the command line is not in result.json"
    blocks: list[Block] = [Text(said, missing=not line)]
    for title, values in (("Flags", run.config), ("Versions", run.versions), ("Hashes", run.hashes)):
        missing = Text(f"missing: {title.lower()} are not in result.json", missing=True)
        blocks.append(_listing(title, values) if values else missing)
    seconds = f"{number(run.seconds, 1)} seconds" if run.seconds is not None else "seconds not recorded"
    return [Details(f"{run.name}: {run.command}, {seconds}", tuple(blocks))]


def _listing(title: str, values: dict[str, Any]) -> Table:
    rows = tuple(row(name, plain(value)) for name, value in values.items())
    return Table(title, ("", "value"), rows, form="words")
