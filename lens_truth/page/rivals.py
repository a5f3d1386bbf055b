"""What `compare` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.io.numbers import count
from lens_truth.page.blocks import Block, Details, Heading, Sentences
from lens_truth.page.reading import RunRecord
from lens_truth.page.view import View
from lens_truth.rivals.result import RivalComparison


def rival_blocks(run: RunRecord, _: View) -> list[Block]:
    """What helps at what cost, in words and in the one table; the rest folded."""
    if RivalComparison.part not in run.record.results:
        return []
    found = RivalComparison.of_record(run.record)
    first, *others = found.tables()
    about = f"run {run.name}, on {run.config.get('data', 'its data')}"
    return [
        Heading(f"What helps {found.model} against hallucination", about),
        Sentences(tuple(found.verdicts())),
        first,
        Details(f"Every benchmark, and all that was tried of {count(len(found.search), 'rival')}", tuple(others)),
    ]
