"""All that a page shows, apart from the code of its script; sections are made from it and fill it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lens_truth.page.blocks import Block, Drawing, Section, Side
from lens_truth.page.heads import HeadMap, ModelHeads
from lens_truth.page.reading import Problem, RunRecord
from lens_truth.stats.correlation import Map


@dataclass(frozen=True, eq=False)
class Scatter:
    """Heads as points: one map of numbers against another, NaN where there is no number."""

    model: tuple[str, int, int]
    """Key of the model whose heads they are."""
    x_label: str
    y_label: str
    x: Map
    y: Map
    log: bool
    caption: str
    said: str
    """The correlation in words."""


@dataclass
class View:
    """Of some runs."""

    runs: list[RunRecord]
    problems: list[Problem]
    maps: list[HeadMap]
    models: list[ModelHeads]
    rows: list[dict[str, Any]]
    """Examples in which attention was kept, as the page's script reads them."""
    attention: dict[str, str]
    """By a model's id, a sentence on the attention there is to see."""
    scatters: dict[str, Scatter] = field(default_factory=dict[str, Scatter])
    sections: list[Section] = field(default_factory=list[Section])

    def find_map(self, run: RunRecord, title: str | None) -> HeadMap | None:
        """The map that stands under a title in a run's `head_scores`."""
        return next((one for one in self.maps if (run.name, title) in one.held), None)

    def drawn(self, scatters: Sequence[Scatter]) -> list[Block]:
        """Scatters beside each other, each under an id by which the script finds its data."""
        drawings: list[Block] = []
        for scatter in scatters:
            id = f"s{len(self.scatters)}"
            self.scatters[id] = scatter
            drawings.append(Drawing("scatter", id, scatter.caption, (scatter.said,)))
        return [Side(tuple(drawings))] if drawings else []
