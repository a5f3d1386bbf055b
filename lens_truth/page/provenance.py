"""Where everything comes from: flags, versions, hashes, and the command that repeats a run."""

from __future__ import annotations

from lens_truth.io.numbers import number
from lens_truth.io.tables import Table, row
from lens_truth.page.blocks import Block, Details, Text
from lens_truth.page.generic import plain
from lens_truth.page.reading import RunRecord


def provenance_blocks(run: RunRecord) -> list[Block]:
    """One folded table a run."""
    line = run.command_line
    said = f"Repeat it: `{line}`" if line else "No command line: a script called the library."
    parts = {"flag": run.config, "version": run.versions, "hash": run.hashes}
    rows = tuple(row(f"{of}: {name}", plain(value)) for of, its in parts.items() for name, value in its.items())
    seconds = f", {number(run.seconds, 1)} seconds" if run.seconds is not None else ""
    listing = Table("Flags, versions, hashes", ("", "value"), rows, form="words")
    return [Details(f"{run.name}: {run.command}{seconds}", (Text(said), listing))]
