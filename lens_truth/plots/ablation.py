"""Ablation bars: every gate beside vanilla and its controls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lens_truth.ablate import Row
from lens_truth.controls import CONTROLS
from lens_truth.plots.style import BLUE, GREY, ORANGE, RED, save


def save_ablation_bars(path: Path, rows: Sequence[Row]) -> None:
    """Accuracy of every gate with its 95% interval: a line of panels a model, a panel a benchmark; vanilla dashed."""
    benchmarks = {
        model: list(dict.fromkeys(row.benchmark for row in rows if row.model == model))
        for model in dict.fromkeys(row.model for row in rows)
    }
    columns = max(map(len, benchmarks.values()))
    heights = [0.6 + 0.27 * len({(r.gate, r.of) for r in rows if r.model == model}) for model in benchmarks]
    figure = Figure(figsize=(2.4 + 2.3 * columns, 0.7 + sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), columns, sharex=True, sharey="row", squeeze=False, height_ratios=heights)
    for line, (model, own) in zip(panels, benchmarks.items(), strict=True):
        for axes in line[len(own) :]:
            axes.set_axis_off()
        for axes, benchmark in zip(line, own, strict=False):
            mine = [row for row in rows if row.model == model and row.benchmark == benchmark]
            _bars(axes, mine)
            axes.set_title(f"{benchmark}\n(n = {mine[0].n})", fontsize=9)
        line[0].invert_yaxis()
        line[0].set_ylabel(model, fontsize=10, fontweight="bold")
    figure.supxlabel(
        "accuracy; whiskers: 95% interval over groups of questions; dashed: vanilla; blue: gates by scores; "
        "grey: controls",
        fontsize=9,
    )
    save(figure, path)


def _bars(axes: Axes, rows: Sequence[Row]) -> None:
    colours = [GREY if r.gate in CONTROLS else ORANGE if r.gate == "vanilla" else BLUE for r in rows]
    accuracy = np.array([row.accuracy for row in rows])
    below = accuracy - np.array([row.ci_low for row in rows])
    above = np.array([row.ci_high for row in rows]) - accuracy
    positions = np.arange(len(rows))
    axes.barh(positions, accuracy, xerr=np.maximum(0, [below, above]), color=colours, error_kw={"lw": 0.8}, height=0.75)
    axes.axvline(rows[0].accuracy, color=RED, lw=1, ls="--")
    axes.set_yticks(positions, [f"{r.gate} ({r.of})" if r.of else r.gate for r in rows], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlim(0, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
