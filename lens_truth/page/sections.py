"""The sections of a page, each from the runs that have something to say in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np

from lens_truth.attention.record import ShownExample, ShownImage
from lens_truth.data.images import tokens_showing
from lens_truth.errors import InputError
from lens_truth.io.numbers import count
from lens_truth.page import contrast, results
from lens_truth.page.between import relative_blocks, series_blocks, stability_blocks, tuned_blocks
from lens_truth.page.blocks import Block, Section, missing
from lens_truth.page.detection import detection_blocks
from lens_truth.page.directions import direction_blocks
from lens_truth.page.head_lists import list_blocks
from lens_truth.page.heads import ModelHeads, by_model, head_maps, heads_blocks
from lens_truth.page.learned import learned_blocks
from lens_truth.page.neurons import consistency_blocks, dose_blocks, neuron_blocks, origin_blocks, scaling_blocks
from lens_truth.page.plain import provenance_blocks
from lens_truth.page.reading import KNOWN, Problem, RunRecord, mixture
from lens_truth.page.rivals import rival_blocks
from lens_truth.page.verification import swap_blocks, verification_blocks
from lens_truth.page.view import View


def _direction_blocks(run: RunRecord, view: View) -> list[Block]:
    return [*direction_blocks(run, view), *contrast.direction_blocks(run, view)]


_SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[[RunRecord, View], list[Block]]], ...] = (
    ("Layers", ("probe",), results.layer_blocks),
    ("Directions", ("directions",), _direction_blocks),
    ("Swaps", ("directions",), swap_blocks),
    ("Neither true nor false", ("directions",), stability_blocks),
    ("Base and tuned", ("directions",), tuned_blocks),
    ("Relative representations", ("directions",), relative_blocks),
    ("Series", ("directions",), series_blocks),
    ("Evidence", ("evidence",), results.evidence_blocks),
    ("Lists of heads", ("heads",), list_blocks),
    ("Lineage", ("inherit",), results.lineage_blocks),
    ("Weights", ("weights", "inherit"), results.weights_blocks),
    ("Ablation", ("ablate",), results.ablation_blocks),
    ("Side effects", ("ablate",), results.side_effect_blocks),
    ("Search", ("ablate",), results.search_blocks),
    ("Rivals", ("compare",), rival_blocks),
    ("Shifts", ("steer",), results.shift_blocks),
    ("Learned gates", ("learn",), learned_blocks),
    ("Benchmarks", ("evaluate",), results.benchmark_blocks),
    ("Detection", ("detect",), detection_blocks),
    ("Verification", ("verify",), verification_blocks),
    ("Neurons", ("neurons",), neuron_blocks),
    ("Data of neurons", ("neurons",), consistency_blocks),
    ("Dose curves", ("neurons",), dose_blocks),
    ("Origins of neurons", ("neurons",), origin_blocks),
    ("Scaled neurons", ("neurons",), scaling_blocks),
    ("Data", ("audit",), results.audit_blocks),
)
"""Title, the kinds of runs that have something to say, and what makes blocks of it."""
_OPTIONAL = {
    "Layers",
    "Lists of heads",
    "Directions",
    "Neither true nor false",
    "Base and tuned",
    "Relative representations",
    "Series",
    "Swaps",
    "Shifts",
    "Rivals",
    "Learned gates",
    "Detection",
    "Verification",
    "Neurons",
    "Data of neurons",
    "Dose curves",
    "Origins of neurons",
    "Scaled neurons",
}
"""Sections that are not missed where no run has anything to say in them."""


def view_of(runs: list[RunRecord], problems: list[Problem], max_examples: int | None = None) -> View:
    """Reads every run's results; what does not fit is named among the problems, and the rest is shown."""
    maps, rows = head_maps(runs), example_rows(runs)
    models = by_model(maps)
    attention = {model.id: _attention_words(model, runs, rows, max_examples) for model in models}
    view = View(runs, [*problems, *mixture(runs)], maps, models, rows[:max_examples], attention)
    view.sections.append(Section("heads", "Heads", tuple(heads_blocks(models, attention))))
    made = [_section(view, *its) for its in _SECTIONS]
    view.sections += [section for section in made if section.blocks]
    others = [run for run in runs if run.kind == "gate" or run.kind not in KNOWN]
    if others:
        blocks = chain.from_iterable(results.other_blocks(run, view) for run in others)
        view.sections.append(Section("other", "Other runs", tuple(blocks)))
    blocks = chain.from_iterable(map(provenance_blocks, runs))
    view.sections.append(Section("provenance", "Provenance", tuple(blocks)))
    return view


def _section(view: View, title: str, kinds: tuple[str, ...], make: Callable[[RunRecord, View], list[Block]]) -> Section:
    blocks: list[Block] = []
    its = [run for run in view.runs if run.kind in kinds]
    for run in its:
        try:
            blocks += make(run, view)
        except InputError as error:
            problem = Problem(run.name, f"a part of its results cannot be shown: {error}")
            view.problems += [problem] if problem not in view.problems else []  # several sections show one result
            blocks.append(missing(f"run {run.name} is damaged here: {error}"))
    if not blocks and title in _OPTIONAL:
        return Section("", title, ())
    if not its:
        makes = f"`python -m lens_truth.{kinds[0]} --out DIR` makes one"
        blocks.append(missing(f"no `{kinds[0]}` run was given; {makes}"))
    elif not blocks:
        blocks.append(missing(f"run {', '.join(run.name for run in its)} holds none"))
    return Section(title.lower().replace(" ", "-"), title, tuple(blocks))


def example_rows(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The examples in which attention was kept; those that are the same in several runs once."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for run in runs:
        if (seen := run.attention) is None:
            continue
        for example in seen.rows:
            row = {**_script_row(example), "weights": seen.weights, "threshold": seen.threshold}
            _, its = found.setdefault(json.dumps(row, sort_keys=True), (row, []))
            its.append(run.name)
    return [{**row, "run": ", ".join(dict.fromkeys(its))} for row, its in found.values()]


def _script_row(row: ShownExample) -> dict[str, Any]:
    """One example. A head's weights become token, thousandths, token, thousandths, ...: a page holds thousands of
    these lists."""
    image = row.image and {**asdict(row.image), "shows": showing(row.image)}
    heads = {name: list(chain.from_iterable(pairs)) for name, pairs in row.heads.items()}
    return {**vars(row), "image": image, "heads": heads}


def showing(image: ShownImage) -> list[int]:
    """The tokens that show a piece of evidence, as the measures have it."""
    known = np.array([[np.nan] * 4 if box is None else box for box in image.boxes], dtype=float).reshape(-1, 4)
    return [image.span[0] + at for at in tokens_showing(known, image.evidence)]


def _attention_words(
    model: ModelHeads, runs: Sequence[RunRecord], rows: Sequence[dict[str, Any]], shown: int | None
) -> str:
    """What there is to see of a model's attention, or why there is nothing."""
    if model.weights is None:
        return "No attention: the scores come from a file that does not say of which weights they are."
    seen = {run.name: run.attention for run in runs if run.attention is not None}
    if its := [name for name, attention in seen.items() if attention.weights == model.weights]:
        n, kept = (sum(row["weights"] == model.weights for row in some) for some in (rows, rows[:shown]))
        part = f"{kept} of " if kept < n else ""
        return f"Attention on {part}{count(n, 'example')} from run {', '.join(its)}."
    make = f"`python -m lens_truth.evidence --model {model.name} --out DIR` makes it"
    if not seen:
        return f"No attention: no run holds any; {make}."
    others = ", ".join(f"{attention.model} ({attention.weights[:8]})" for attention in seen.values())
    return f"No attention: what there is was read from other weights, those of {others}; {make}."
