"""Head maps: layers down, heads across (TruthProbe, Fig. 1a and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lens_truth.plots.style import head_ticks, save, warn
from lens_truth.scores import HeadScores


def save_heatmap(path: Path, scores: HeadScores, title: str, warning: str | None = None) -> None:
    """The scores of all heads; truth scores from chance upwards, causal and learned ones around zero.

    A warning stands in red over the map, so that the picture cannot travel without it.
    """
    L, H = scores.values.shape
    figure = Figure(figsize=(1.6 + 0.32 * max(H, 10), 1.6 + 0.26 * max(L, 6)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores.values, aspect="auto", **_colours(scores))
    figure.colorbar(image, ax=axes, label=_label(scores))
    head_ticks(axes, L, H)
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_title(title, fontsize=10)
    if warning:
        warn(figure, warning)
    save(figure, path)


def save_heatmaps(path: Path, scores: Mapping[str, HeadScores]) -> None:
    """The maps of several models side by side, each in its own range of colours: what is compared is the pattern."""
    n = len(scores)
    columns = min(n, 4 if n > 6 else 3)
    lines = -(-n // columns)
    figure = Figure(figsize=(0.6 + 3.0 * columns, 0.5 + 2.5 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False)
    for number, axes in enumerate(panels.flat):
        axes.set_visible(number < n)
    for axes, (name, its) in zip(panels.flat, scores.items(), strict=False):
        image = axes.imshow(its.values, aspect="auto", **_colours(its))
        bar = figure.colorbar(image, ax=axes, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        head_ticks(axes, *its.values.shape, at_most=8)
        axes.tick_params(labelsize=7)
        axes.set_title(name, fontsize=9)
    figure.supxlabel("head", fontsize=9)
    figure.supylabel("layer", fontsize=9)
    labels = ", ".join(dict.fromkeys(_label(its) for its in scores.values()))
    figure.suptitle(f"{labels} of every head, each model in its own range of colours", fontsize=9)
    save(figure, path)


def _colours(scores: HeadScores) -> dict[str, Any]:
    """Diverging around zero where a score has a sign; else from the lowest score, for accuracies from chance."""
    low = float(scores.values.min())
    if low < 0:
        size = float(np.abs(scores.values).max())
        return {"cmap": "RdBu_r", "vmin": -size, "vmax": size}
    return {"cmap": "viridis", "vmin": min(0.5, low) if scores.kind == "truth" else low}


def _label(scores: HeadScores) -> str:
    return "out-of-fold accuracy" if scores.kind == "truth" else f"{scores.kind} score"
