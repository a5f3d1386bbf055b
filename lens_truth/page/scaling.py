"""What `neurons scale` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.neurons.scaling_result import NeuronScaling
from lens_truth.page.blocks import Block, Heading
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def scaling_blocks(run: RunRecord, _: View) -> list[Block]:
    """Slopes and levels, controls, side effects."""
    return told_blocks(
        run, NeuronScaling, lambda found, _: Heading(f"Neurons of {found.model}, scaled", f"run {run.name}")
    )
