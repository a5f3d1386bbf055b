"""Figures of directions between models, over training, and under a third label."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lens_truth.geometry.relative_result import Relative
from lens_truth.geometry.series_result import Series
from lens_truth.geometry.stability_result import LABELS, Stability
from lens_truth.geometry.tuned_result import WAYS, Tuned
from lens_truth.plots import style


@style.in_house_style
def stability_maps(result: Stability) -> Figure:
    """Angles of every head under either label, and the noise floor."""
    maps = {f"labelled {label}": its for label, its in zip(LABELS, result.angles, strict=True)}
    maps["two refits without them"] = result.floors
    unit = "head" if result.point == "z" else ""
    title = f"{result.model}: degrees that {result.n_neither} rows which are neither turn the direction"
    return _maps(
        maps, title, "degrees", unit, {"cmap": "viridis", "vmin": 0, "vmax": max(90.0, float(result.angles.max()))}
    )


@style.in_house_style
def tuned_maps(result: Tuned) -> Figure:
    """Transfer less ceiling, both ways, and the cosine of every head."""
    lost = {name: result.aurocs[i, 1 - i] - result.aurocs[1 - i, 1 - i] for i, name in enumerate(WAYS)}
    maps = {**{f"AUROC less ceiling, {name}": its for name, its in lost.items()}, "cosine": result.cosines}
    title = f"{result.names[0]} and {result.names[1]}"
    return _maps(maps, title, "", "head" if result.point == "z" else "", {"cmap": "RdBu_r", "vmin": -1, "vmax": 1})


@style.in_house_style
def relative_maps(result: Relative) -> Figure:
    """Layers of the first model down, of the second across."""
    maps = {"correlation": result.alike, "common neighbours": result.jaccard, "AUROC": result.stitched}
    title = f"best pair of heads: layers of {result.names[0]} (down) and {result.names[1]} (across)"
    return _maps(maps, title, "", f"layer of {result.names[1]}", {"cmap": "viridis", "vmin": 0, "vmax": 1})


def _maps(maps: dict[str, np.ndarray], title: str, label: str, across: str, colours: dict[str, Any]) -> Figure:
    figure = style.new_figure(0.8 + 3.0 * len(maps), 3.6)
    panels = figure.subplots(1, len(maps), squeeze=False)[0]
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        style.cells(axes, values, **colours)
        style.head_ticks(axes, *values.shape)
        axes.set_title(style.fitted(name, 2.8, style.MEDIUM))
        axes.set_xlabel(style.fitted(across, 2.8, style.SMALL))
    panels[0].set_ylabel("layer")
    style.colour_bar(figure, panels[-1].collections[0], panels, label)
    figure.suptitle(style.fitted(title, figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


@style.in_house_style
def series_curves(result: Series) -> Figure:
    """Every curve over steps with its interval; change points as lines."""
    figure = style.new_figure(7.0, 3.8)
    axes = figure.subplots()
    colours = (style.BLUE, style.GREY, style.ORANGE, style.GREEN, style.RED)
    handles = list[Any]()
    for colour, (name, curve) in zip(colours, result.curves.items(), strict=False):
        (line,) = axes.plot(result.steps, curve, color=colour, marker="o", markersize=3, label=name)
        handles.append(line)
        if name in result.intervals:
            low, high = result.intervals[name].T
            axes.fill_between(result.steps, low, high, color=colour, alpha=0.2, lw=0)
        if name in (*result.lead, "behaviour"):
            axes.axvline(result.changes[name].at, color=colour, lw=1, ls="--")
    axes.set_xlabel("step")
    axes.set_title(style.fitted(f"{result.model}; dashed: change points", 6.0, style.MEDIUM))
    style.legend(figure, handles)
    return figure
