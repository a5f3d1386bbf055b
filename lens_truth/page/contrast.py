"""What `directions ccs` and `directions polarity` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.geometry.ccs_result import Consistency
from lens_truth.geometry.polarity_result import Polarity
from lens_truth.page.blocks import Block, Details, Heading, Sentences
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def direction_blocks(run: RunRecord, _: View) -> list[Block]:
    """Of a run of either command."""
    return [*_consistency_blocks(run), *_polarity_blocks(run)]


def _consistency_blocks(run: RunRecord) -> list[Block]:
    """CCS on every set: what it says, where it is picked, and beside its nulls."""

    def heading(found: Consistency, name: str) -> Heading:
        about = f"run {run.name}; {found.n_pairs} pairs; {_where(found)}"
        return Heading(f"CCS of {found.model} on {name}", about)

    return told_blocks(run, Consistency, heading)


def _polarity_blocks(run: RunRecord) -> list[Block]:
    """Truth directions over kinds of statements: the matrix, and every cell in numbers."""
    if Polarity.part not in run.record.results:
        return []
    found = Polarity.of_record(run.record)
    return [
        Heading(f"Truth directions of {found.model} over kinds of statements", f"run {run.name}; {_where(found)}"),
        Sentences(tuple(found.verdicts())),
        found.matrix(),
        Details("Every cell in numbers", (found.cells(),)),
    ]


def _where(found: Consistency | Polarity) -> str:
    return "heads" if found.point == "z" else "residual stream"
