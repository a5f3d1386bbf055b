"""What `verify` and `directions swap` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.detection.reranking import Reranking
from lens_truth.detection.swaps import TruthSwaps
from lens_truth.detection.verification import Verification
from lens_truth.page.blocks import Block, Heading
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def verification_blocks(run: RunRecord, _: View) -> list[Block]:
    """Every method beside its controls, what is said of them, and which of sampled answers each rule takes."""
    about = f"run {run.name}; {run.config.get('model')} on {run.config.get('data')}"
    verified = told_blocks(run, Verification, lambda _, name: Heading(f"Verification of {name} answers", about))
    chosen = told_blocks(run, Reranking, lambda _, __: Heading("Which of the sampled answers", f"run {run.name}"))
    return [*verified, *chosen]


def swap_blocks(run: RunRecord, _: View) -> list[Block]:
    """Of each data set, what swaps of the truth direction do beside their placebo."""
    about = f"run {run.name}; {run.config.get('model')}"
    return told_blocks(run, TruthSwaps, lambda _, name: Heading(f"Swaps of a truth direction: {name}", about))
