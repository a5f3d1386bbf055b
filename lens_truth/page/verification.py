"""What `verify` and `directions swap` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.detection.reranking import Reranking
from lens_truth.detection.swaps import TruthSwaps
from lens_truth.detection.verification import Verification
from lens_truth.page.blocks import Block, Heading, Sentences
from lens_truth.page.reading import RunRecord
from lens_truth.page.view import View


def verification_blocks(run: RunRecord, _: View) -> list[Block]:
    """Every method beside its controls, what is said of them, and which of sampled answers each rule takes."""
    blocks: list[Block] = []
    for name in run.named(Verification.part):
        found = Verification.of_record(run.record, name)
        about = f"run {run.name}; {run.config.get('model')} on {run.config.get('data')}"
        blocks += [Heading(f"Verification of {name} answers", about), Sentences(tuple(found.verdicts()))]
        blocks += found.tables()
    if Reranking.part in run.record.results:
        chosen = Reranking.of_record(run.record)
        blocks += [Heading("Which of the sampled answers", f"run {run.name}"), Sentences(tuple(chosen.verdicts()))]
        blocks += chosen.tables()
    return blocks


def swap_blocks(run: RunRecord, _: View) -> list[Block]:
    """Of each data set, what swaps of the truth direction do beside their placebo."""
    blocks: list[Block] = []
    for name in run.named(TruthSwaps.part):
        found = TruthSwaps.of_record(run.record, name)
        title = Heading(f"Swaps of a truth direction: {name}", f"run {run.name}; {run.config.get('model')}")
        blocks += [title, Sentences(tuple(found.verdicts())), *found.tables()]
    return blocks
