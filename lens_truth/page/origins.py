"""What `neurons origins` and `neurons mediate` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.lineage.agreement import Heritability
from lens_truth.neurons.mediation_result import Mediation
from lens_truth.neurons.origins_result import NeuronOrigins
from lens_truth.page.blocks import Block, Heading
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def origin_blocks(run: RunRecord, _: View) -> list[Block]:
    """The child's neurons in the base, scores of all neurons, and what passes through neurons."""
    about = f"run {run.name}"
    return [
        *told_blocks(run, NeuronOrigins, lambda its, _: Heading(f"{its.names[1]}'s neurons in {its.names[0]}", about)),
        *told_blocks(run, Heritability, lambda its, _: Heading(f"Neuron scores: {', '.join(its.names)}", about)),
        *told_blocks(run, Mediation, lambda its, _: Heading(f"From heads through neurons, {its.model}", about)),
    ]
