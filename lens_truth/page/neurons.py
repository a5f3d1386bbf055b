"""What the subcommands of `neurons` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.evaluate.consistent import ReplyConsistency
from lens_truth.lineage.agreement import Heritability
from lens_truth.neurons.dose_result import DoseCurves
from lens_truth.neurons.mediation_result import Mediation
from lens_truth.neurons.origins_result import NeuronOrigins
from lens_truth.neurons.scaling_result import NeuronScaling
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


def consistency_blocks(run: RunRecord, _: View) -> list[Block]:
    """What became of the questions."""
    about = f"run {run.name}; {run.config.get('model')} on {run.config.get('data')}"
    return told_blocks(run, ReplyConsistency, lambda _, __: Heading("Replies that come every time", about))


def scaling_blocks(run: RunRecord, _: View) -> list[Block]:
    """Slopes and levels, controls, side effects."""
    return told_blocks(
        run, NeuronScaling, lambda found, _: Heading(f"Neurons of {found.model}, scaled", f"run {run.name}")
    )


def dose_blocks(run: RunRecord, _: View) -> list[Block]:
    """Faults first, then slopes and controls."""
    return told_blocks(run, DoseCurves, lambda found, _: Heading(f"Dose curves of {found.log}", f"run {run.name}"))


def origin_blocks(run: RunRecord, _: View) -> list[Block]:
    """The child's neurons in the base, scores of all neurons, and what passes through neurons."""
    about = f"run {run.name}"
    return [
        *told_blocks(run, NeuronOrigins, lambda its, _: Heading(f"{its.names[1]}'s neurons in {its.names[0]}", about)),
        *told_blocks(run, Heritability, lambda its, _: Heading(f"Neuron scores: {', '.join(its.names)}", about)),
        *told_blocks(run, Mediation, lambda its, _: Heading(f"From heads through neurons, {its.model}", about)),
    ]
