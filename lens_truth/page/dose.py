"""What `neurons rescore` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.neurons.dose_result import DoseCurves
from lens_truth.page.blocks import Block, Heading
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def dose_blocks(run: RunRecord, _: View) -> list[Block]:
    """Faults first, then slopes and controls."""
    return told_blocks(run, DoseCurves, lambda found, _: Heading(f"Dose curves of {found.log}", f"run {run.name}"))
