"""What `neurons sample` kept, as blocks of a page."""

from __future__ import annotations

from lens_truth.evaluate.consistent import ReplyConsistency
from lens_truth.page.blocks import Block, Heading
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def consistency_blocks(run: RunRecord, _: View) -> list[Block]:
    """What became of the questions."""
    about = f"run {run.name}; {run.config.get('model')} on {run.config.get('data')}"
    return told_blocks(run, ReplyConsistency, lambda _, __: Heading("Replies that come every time", about))
