"""What `directions transfer` and `directions erase` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.geometry.cosine_result import Cosines
from lens_truth.geometry.erasure_result import Erasure
from lens_truth.geometry.shared_result import SharedDirections
from lens_truth.geometry.transfer_result import Transfer
from lens_truth.page.blocks import Block, Details, Heading, Sentences
from lens_truth.page.reading import RunRecord
from lens_truth.page.view import View

_TITLES = {
    Transfer: "Probes from domain to domain",
    Cosines: "Do angles foretell it?",
    Erasure: "Probes after erasure",
    SharedDirections: "General and specific directions",
}


def direction_blocks(run: RunRecord, _: View) -> list[Block]:
    """Matrices with what they say; every cell in numbers is folded away."""
    blocks: list[Block] = []
    for kind, title in _TITLES.items():
        if kind.part in run.record.results:
            found = kind.of_record(run.record)
            first, *rest = found.tables()
            about = f"run {run.name}; {run.config.get('model')}, {found.estimator} at {found.point}"
            blocks += [Heading(title, about), Sentences(tuple(found.verdicts())), first]
            blocks.append(Details("In numbers", tuple(rest)))
    return blocks
