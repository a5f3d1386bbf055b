"""What a figure says, box by box: texts that are cut off, and texts that overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure

from lens_truth.plots.style import house_style

Corners = np.ndarray
"""The four corners of a box in pixels, in order around it."""


class Recorder(RendererAgg):
    """Keeps the box of every line of text that is drawn, as it is turned; the lines of a text together."""

    def __init__(self, figure: Figure) -> None:
        width, height = figure.get_size_inches() * figure.dpi
        super().__init__(int(width), int(height), figure.dpi)
        self.texts: list[tuple[list[str], list[Corners]]] = []
        figure.draw(self)

    def open_group(self, s: str, gid: str | None = None) -> None:
        if s == "text":  # what an artist that draws text calls first
            self.texts.append(([], []))

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, ismath: Any = False, mtext: Any = None
    ) -> None:
        width, height, descent = self.get_text_width_height_descent(s, prop, ismath)
        turn = math.radians(angle)
        along, up = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])
        base = np.array([x, self.height - y])  # the left end of the line; a renderer counts pixels from the top
        ends = (0, -descent), (width, -descent), (width, height - descent), (0, height - descent)
        lines, boxes = self.texts[-1]
        lines.append(s)
        boxes.append(np.array([base + a * along + b * up for a, b in ends]))

    def draw_nothing(self, *_: Any, **__: Any) -> None: ...

    draw_path = draw_markers = draw_path_collection = draw_quad_mesh = draw_image = draw_nothing


def overlap(one: Corners, other: Corners) -> bool:
    """Whether two convex shapes share more than a pixel: no side of either keeps them apart."""
    for box in (one, other):
        for side in np.roll(box, -1, axis=0) - box:
            across = np.array([-side[1], side[0]]) / np.linalg.norm(side)
            a, b = one @ across, other @ across
            if min(a.max(), b.max()) - max(a.min(), b.min()) < 1:
                return False
    return True


def faults(figure: Figure) -> Iterator[str]:
    """Texts that are cut off at the figure's edge, and pairs that overlap."""
    figure.set_dpi(150)
    with house_style():  # as `save` draws it
        drawn = Recorder(figure)
    assert drawn.texts
    for lines, boxes in drawn.texts:
        corners = np.concatenate(boxes)
        if corners.min() < -1 or (corners.max(0) > (drawn.width + 1, drawn.height + 1)).any():
            yield f"{lines} is cut off"
    low, high = (np.array([f(np.concatenate(boxes), axis=0) for _, boxes in drawn.texts]) for f in (np.min, np.max))
    near = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).min(axis=-1) >= 1  # upright around them
    for one, other in np.argwhere(np.triu(near, 1)):
        (lines, boxes), (others, its) = drawn.texts[one], drawn.texts[other]
        if any(overlap(a, b) for a in boxes for b in its):
            yield f"{lines} and {others} overlap"
