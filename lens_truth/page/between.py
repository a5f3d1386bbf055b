"""What `directions neither`, `tuned`, `relative` and `series` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.ablation.indirect_result import Indirect
from lens_truth.geometry.relative_result import Relative
from lens_truth.geometry.series_result import Series
from lens_truth.geometry.stability_result import Stability
from lens_truth.geometry.tuned_result import Tuned
from lens_truth.page.blocks import Block, Heading
from lens_truth.page.plain import plain
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def stability_blocks(run: RunRecord, _: View) -> list[Block]:
    """Where rows that are neither move the boundary, and three classes."""
    about = f"{_about(run)}, neither: {run.config.get('neither')}"
    return told_blocks(run, Stability, lambda found, _: Heading(f"Rows that are neither, {found.model}", about))


def tuned_blocks(run: RunRecord, _: View) -> list[Block]:
    """Of every tuned model, what is left of its base's directions; and of their effect, if models were steered."""
    steered = "steered along each other's directions"
    return [
        *told_blocks(run, Tuned, lambda found, name: Heading(f"{found.names[0]} and {name}", _about(run))),
        *told_blocks(
            run, Indirect, lambda found, name: Heading(f"{found.names[0]} and {name}, {steered}", _about(run))
        ),
    ]


def relative_blocks(run: RunRecord, _: View) -> list[Block]:
    """Of every other model, how alike it is by anchors, and whether a probe works there."""
    return told_blocks(run, Relative, lambda found, name: Heading(f"{found.names[0]} and {name}", _about(run)))


def series_blocks(run: RunRecord, _: View) -> list[Block]:
    """Scores over training, with change points."""
    title = "Scores over the training of"
    return told_blocks(run, Series, lambda found, _: Heading(f"{title} {found.model}", _about(run)))


def _about(run: RunRecord) -> str:
    return f"run {run.name}; {plain(run.config.get('data'))}"
