"""What `neurons find` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.neurons.study_result import NeuronStudy
from lens_truth.page.blocks import Block, Heading
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def neuron_blocks(run: RunRecord, _: View) -> list[Block]:
    """What they are worth, the choice of C, where they lie."""
    model, data = run.config.get("model", "a model"), run.config.get("data", "its data")
    return told_blocks(
        run,
        NeuronStudy,
        lambda _, __: Heading(f"Neurons of {model} that foretell hallucination", f"run {run.name}, on {data}"),
    )
