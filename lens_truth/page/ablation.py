"""Ablations: gates by scores against the vanilla model and against their controls (`ablate`)."""

from __future__ import annotations

from lens_truth.ablation.result import Ablation
from lens_truth.ablation.tables import caption_tables, gate_tables, side_effect_tables
from lens_truth.page.blocks import Block, Details, Heading, Sentences, Side, Text
from lens_truth.page.reading import RunRecord


def ablation_blocks(run: RunRecord) -> list[Block]:
    """Verdicts, then a table a model."""
    found = Ablation.of_record(run.record)
    source = run.record.results.get("scores_from")
    return [
        Heading(f"Gates by scores of {source}" if isinstance(source, str) else "Gates by scores", 3, f"run {run.name}"),
        Sentences(tuple(found.verdicts())),
        *gate_tables(found.rows).values(),
        *caption_tables(found.rows).values(),
    ]


def side_effect_blocks(run: RunRecord) -> list[Block]:
    """What gates do to text that nothing is asked about."""
    found = Ablation.of_record(run.record)
    tables = side_effect_tables(found.side_effects, found.rows)
    if not tables:
        return [Text(f"missing: run {run.name} measured no side effects", missing=True)]
    return [Heading("What else gates do", 3, f"run {run.name}"), *tables.values()]


def search_blocks(run: RunRecord) -> list[Block]:
    """A table for each gate by scores, and for the tuned gain."""
    found = Ablation.of_record(run.record)
    blocks: list[Block] = []
    for model in found.search:
        chosen = [f"{gate}: {found.chosen(gate, model).said()}" for gate, its in found.search[model].items() if its]
        level = f"{found.vanilla_objective(model):.3f} without a gate"
        blocks += [
            Heading(f"Choosing λ for {model}", 3, f"run {run.name}"),
            Text(f"Accuracy on validation, mean over benchmarks: {'; '.join([*chosen, level])}."),
            Details("All that was tried", (Side(tuple(found.search_tables(model))),)),
        ]
    return blocks or [Text(f"missing: run {run.name} searched for nothing", missing=True)]
