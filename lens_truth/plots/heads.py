"""Head maps: layers down, heads across (TruthProbe, Fig. 1a and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lens_truth.plots.style import grid_of, head_ticks, plain, save, warn, wrapped
from lens_truth.scores import HeadScores, Map


def save_heatmap(path: Path, scores: HeadScores, title: str, warning: str | None = None) -> None:
    """The scores of all heads; those with a sign around zero.

    A warning stands in red over the map, so that the picture cannot travel without it.
    """
    L, H = scores.values.shape
    figure = Figure(figsize=(1.6 + 0.32 * max(H, 10), 1.6 + 0.26 * max(L, 6)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores.values, aspect="auto", **_colours(scores.values))
    figure.colorbar(image, ax=axes, label="out-of-fold accuracy" if scores.kind == "truth" else f"{scores.kind} score")
    head_ticks(axes, L, H)
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_title(plain(title), fontsize=10)
    if warning:
        warn(figure, warning)
    save(figure, path)


def save_heatmaps(path: Path, maps: Mapping[str, Map], title: str) -> None:
    """Several maps side by side, each in its own range of colours: what is compared is the pattern."""
    lines, columns = grid_of(len(maps))
    figure = Figure(figsize=(0.6 + 3.0 * columns, 0.5 + 2.5 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False)
    for number, axes in enumerate(panels.flat):
        axes.set_visible(number < len(maps))
    for axes, (name, values) in zip(panels.flat, maps.items(), strict=False):
        image = axes.imshow(values, aspect="auto", **_colours(values))
        bar = figure.colorbar(image, ax=axes, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        head_ticks(axes, *values.shape, at_most=8)
        axes.tick_params(labelsize=7)
        axes.set_title(wrapped(name, 38), fontsize=9)
    figure.supxlabel("head", fontsize=9)
    figure.supylabel("layer", fontsize=9)
    figure.suptitle(plain(title), fontsize=9)
    save(figure, path)


def _colours(values: Map) -> dict[str, Any]:
    """Diverging around zero where a map has both signs."""
    if float(np.nanmin(values)) < 0:
        size = float(np.nanmax(np.abs(values)))
        return {"cmap": "RdBu_r", "vmin": -size, "vmax": size}
    return {"cmap": "viridis"}
