"""Head scores against other measures of the same heads: scatters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lens_truth.page.blocks import Drawing
from lens_truth.page.heads import HeadMap, Matrix


@dataclass(frozen=True)
class Scatter:
    """Heads as points."""

    model: tuple[str, int, int]
    """Key of the model whose heads they are."""
    x_label: str
    y_label: str
    x: Matrix
    y: Matrix
    log: bool
    caption: str
    said: str
    """The correlation in words."""

    def drawing(self, id: str) -> Drawing:
        """Its place on the page."""
        return Drawing("scatter", id, self.caption, "", (self.said,))


def find_map(maps: Sequence[HeadMap], run: str, title: str | None) -> HeadMap | None:
    """The map that stands under a title in a run's `head_scores`."""
    return next((one for one in maps if (run, title) in one.held), None)
