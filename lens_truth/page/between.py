"""What `directions neither`, `tuned`, `relative` and `series` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.geometry.relative_result import Relative
from lens_truth.geometry.series_result import Series
from lens_truth.geometry.stability_result import Stability
from lens_truth.geometry.tuned_result import Tuned
from lens_truth.page.blocks import Block, Heading, Sentences
from lens_truth.page.reading import RunRecord
from lens_truth.page.view import View


def stability_blocks(run: RunRecord, _: View) -> list[Block]:
    """Where rows that are neither move the boundary, and three classes."""
    if Stability.part not in run.record.results:
        return []
    found = Stability.of_record(run.record)
    about = f"run {run.name}; {run.config.get('data')}, neither: {run.config.get('neither')}"
    return [
        Heading(f"Rows that are neither, {found.model}", about),
        Sentences(tuple(found.verdicts())),
        *found.tables(),
    ]


def tuned_blocks(run: RunRecord, _: View) -> list[Block]:
    """Of every tuned model, what is left of its base's directions."""
    blocks: list[Block] = []
    for name in run.named(Tuned.part):
        found = Tuned.of_record(run.record, name)
        title = Heading(f"{found.names[0]} and {name}", f"run {run.name}; {run.config.get('data')}")
        blocks += [title, Sentences(tuple(found.verdicts())), *found.tables()]
    return blocks


def relative_blocks(run: RunRecord, _: View) -> list[Block]:
    """Of every other model, how alike it is by anchors, and whether a probe works there."""
    blocks: list[Block] = []
    for name in run.named(Relative.part):
        found = Relative.of_record(run.record, name)
        title = Heading(f"{found.names[0]} and {name}", f"run {run.name}; {run.config.get('data')}")
        blocks += [title, Sentences(tuple(found.verdicts())), *found.tables()]
    return blocks


def series_blocks(run: RunRecord, _: View) -> list[Block]:
    """Scores over training, with change points."""
    if Series.part not in run.record.results:
        return []
    found = Series.of_record(run.record)
    about = f"run {run.name}; {run.config.get('data')}"
    return [
        Heading(f"Scores over the training of {found.model}", about),
        Sentences(tuple(found.verdicts())),
        *found.tables(),
    ]
