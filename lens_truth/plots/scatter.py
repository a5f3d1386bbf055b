"""One map against others, a point a head: score against weights kept, truth against causal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lens_truth.plots.style import grid_of, plain, save, wrapped

_MARKERS = ("o", "^", "s", "D")


@dataclass(frozen=True)
class Panel:
    """One panel of a scatter plot."""

    title: str
    x: Float[np.ndarray, "L H"]
    y: Mapping[str, Float[np.ndarray, "L H"]]
    """One or more maps, each with a marker of its own."""
    said: str
    """What was computed from them, under the panel."""


def save_scatter(path: Path, panels: Sequence[Panel], x_label: str, y_label: str) -> None:
    """Panels side by side; colour is depth."""
    lines, columns = grid_of(len(panels))
    figure = Figure(figsize=(1.6 + 2.9 * columns, 0.8 + 2.9 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        axes.set_visible(number < len(panels))
    points = None
    for axes, panel in zip(grid.flat, panels, strict=False):
        L, H = panel.x.shape
        depth = np.repeat(np.arange(L), H)
        for marker, values in zip(_MARKERS, panel.y.values(), strict=False):
            points = axes.scatter(
                panel.x.ravel(), values.ravel(), c=depth, cmap="viridis", marker=marker, s=16, alpha=0.8, linewidths=0
            )
        axes.set_title(wrapped(panel.title, 36), fontsize=9)
        axes.set_xlabel(wrapped(panel.said, 44), fontsize=7)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    names = list(dict.fromkeys(name for panel in panels for name in panel.y))
    if len(names) > 1:
        handles = [
            Line2D([], [], ls="", marker=marker, color="black", label=name)
            for marker, name in zip(_MARKERS, names, strict=False)
        ]
        figure.legend(handles=handles, loc="outside upper right", fontsize=8, ncols=len(names))
    if points is not None:
        figure.colorbar(points, ax=grid, label="layer", fraction=0.03)
    figure.supxlabel(plain(x_label), fontsize=9)
    figure.supylabel(plain(y_label), fontsize=9)
    save(figure, path)
