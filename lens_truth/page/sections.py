"""The sections of a page, each from the runs that have something to say in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lens_truth.errors import InputError
from lens_truth.io.numbers import count
from lens_truth.page.ablation import ablation_blocks, search_blocks, side_effect_blocks
from lens_truth.page.attention import script_row
from lens_truth.page.blocks import Block, Drawing, Heading, Section, Side, Text
from lens_truth.page.evidence import evidence_blocks
from lens_truth.page.generic import audit_blocks, benchmark_blocks, plain_blocks
from lens_truth.page.heads import HeadMap, ModelHeads, by_model, head_maps, heads_blocks
from lens_truth.page.lineage import lineage_blocks
from lens_truth.page.models import mixture
from lens_truth.page.provenance import provenance_blocks
from lens_truth.page.reading import KNOWN, Problem, RunRecord
from lens_truth.page.relations import Scatter
from lens_truth.page.weights import weights_blocks


@dataclass
class View:
    """All that a page shows, apart from the data of its script."""

    runs: list[RunRecord]
    problems: list[Problem]
    models: list[ModelHeads] = field(default_factory=list[ModelHeads])
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Examples in which attention was kept, as the page's script reads them."""
    attention: dict[str, str] = field(default_factory=dict[str, str])
    """By a model's id, a sentence on the attention there is to see."""
    scatters: dict[str, Scatter] = field(default_factory=dict[str, Scatter])
    sections: list[Section] = field(default_factory=list[Section])


def view_of(runs: list[RunRecord], problems: list[Problem], max_examples: int | None = None) -> View:
    """Reads every run's results; what does not fit is named among the problems, and the rest is shown."""
    view = View(runs, [*problems, *mixture(runs)])
    maps = head_maps(runs)
    view.models = by_model(maps)
    rows = example_rows(runs)
    view.rows = rows[:max_examples]
    view.attention = {model.id: attention_words(model, runs, rows, max_examples) for model in view.models}
    view.sections.append(Section("heads", "Heads", tuple(heads_blocks(view.models, view.attention))))

    def scattered(make: Callable[[RunRecord, Sequence[HeadMap]], tuple[list[Block], list[Scatter]]]) -> _Make:
        return lambda run: _placed(view, *make(run, maps))

    def ungrouped(run: RunRecord) -> list[Block]:
        return [Heading(run.name, 3, f"command {run.command}"), *plain_blocks(run.record.results, "Results")]

    for id, title, kinds, make in (
        ("evidence", "Evidence", ("evidence",), scattered(evidence_blocks)),
        ("lineage", "Lineage", ("inherit",), lineage_blocks),
        ("weights", "Weights", ("weights", "inherit"), scattered(weights_blocks)),
        ("ablation", "Ablation", ("ablate",), ablation_blocks),
        ("side-effects", "Side effects", ("ablate",), side_effect_blocks),
        ("search", "Search", ("ablate",), search_blocks),
        ("benchmarks", "Benchmarks", ("evaluate",), benchmark_blocks),
        ("data", "Data", ("audit",), audit_blocks),
    ):
        view.sections.append(_section(view, id, title, kinds, make))
    others = [run for run in runs if run.kind == "gate" or run.kind not in KNOWN]
    if others:
        blocks = [block for run in others for block in ungrouped(run)]
        view.sections.append(Section("other", "Other runs", tuple(blocks)))
    view.sections.append(
        Section("provenance", "Provenance", tuple(block for run in runs for block in provenance_blocks(run)))
    )
    return view


_Make = Callable[[RunRecord], list[Block]]


def _section(view: View, id: str, title: str, kinds: tuple[str, ...], make: _Make) -> Section:
    blocks: list[Block] = []
    its = [run for run in view.runs if run.kind in kinds]
    for run in its:
        try:
            blocks += make(run)
        except InputError as error:
            problem = Problem(run.name, f"a part of its results cannot be shown: {error}")
            view.problems += [problem] if problem not in view.problems else []  # several sections show one result
            blocks.append(Text(f"missing: run {run.name} is damaged here: {error}", missing=True))
    if not its:
        command = kinds[0]
        text = f"missing: no `{command}` run was given; `python -m lens_truth.{command} --out DIR` makes one"
        blocks.append(Text(text, missing=True))
    elif not blocks:
        blocks.append(Text(f"missing: run {', '.join(run.name for run in its)} holds none", missing=True))
    return Section(id, title, tuple(blocks))


def _placed(view: View, blocks: list[Block], scatters: list[Scatter]) -> list[Block]:
    """Scatters get a name by which the script finds their data."""
    drawings: list[Drawing] = []
    for scatter in scatters:
        id = f"s{len(view.scatters)}"
        view.scatters[id] = scatter
        drawings.append(scatter.drawing(id))
    return [*blocks, Side(tuple(drawings))] if drawings else blocks


def example_rows(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The examples in which attention was kept; those that are the same in several runs once."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for run in runs:
        if (seen := run.attention) is None:
            continue
        for example in seen.rows:
            row = {**script_row(example), "weights": seen.weights, "threshold": seen.threshold}
            _, its = found.setdefault(json.dumps(row, sort_keys=True), (row, []))
            its.append(run.name)
    return [{**row, "run": ", ".join(dict.fromkeys(its))} for row, its in found.values()]


def attention_words(
    model: ModelHeads, runs: Sequence[RunRecord], rows: Sequence[dict[str, Any]], shown: int | None
) -> str:
    """What there is to see of a model's attention, or why there is nothing."""
    if model.weights is None:
        return "No attention: the scores come from a file that does not say of which weights they are."
    seen = [run for run in runs if run.attention is not None]
    its = [run for run in seen if run.attention and model.weights == run.attention.weights]
    if its:
        n, kept = (sum(row["weights"] == model.weights for row in its) for its in (rows, rows[:shown]))
        part = f"{kept} of " if kept < n else ""
        return f"Attention on {part}{count(n, 'example')} from run {', '.join(run.name for run in its)}."
    make = f"`python -m lens_truth.evidence --model {model.name} --out DIR` makes it"
    if not seen:
        return f"No attention: no run holds any; {make}."
    others = ", ".join(f"{run.attention.model} ({run.attention.weights[:8]})" for run in seen if run.attention)
    return f"No attention: what there is was read from other weights, those of {others}; {make}."
