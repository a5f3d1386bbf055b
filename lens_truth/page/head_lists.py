"""What `heads` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.page.blocks import Block, Heading
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View
from lens_truth.scoring.list_result import ListAgreement


def list_blocks(run: RunRecord, _: View) -> list[Block]:
    """Every list against every score, and every two lists."""
    return told_blocks(run, ListAgreement, lambda _, __: Heading("Known lists of heads", f"run {run.name}"))
