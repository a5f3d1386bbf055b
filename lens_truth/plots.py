"""Figures: head maps and ablation bars, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lens_truth.ablate import Row
from lens_truth.controls import CONTROLS
from lens_truth.files import write_with
from lens_truth.scores import HeadScores

_BLUE, _ORANGE, _GREY, _RED = "#0072B2", "#E69F00", "#9A9A9A", "#B2182B"


def save_heatmap(path: Path, scores: HeadScores, title: str, warning: str | None = None) -> None:
    """The scores of all heads (TruthProbe, Fig. 1a); truth scores from chance upwards, others around zero.

    A warning stands in red over the map, so that the picture cannot travel without it.
    """
    L, H = scores.values.shape
    figure = Figure(figsize=(1.6 + 0.32 * max(H, 10), 1.6 + 0.26 * max(L, 6)), layout="constrained")
    axes = figure.subplots()
    if scores.kind == "truth":
        image = axes.imshow(scores.values, cmap="viridis", vmin=min(0.5, float(scores.values.min())), aspect="auto")
        label = "out-of-fold accuracy"
    else:
        size = float(np.abs(scores.values).max()) or 1.0
        image = axes.imshow(scores.values, cmap="RdBu_r", vmin=-size, vmax=size, aspect="auto")
        label = f"{scores.kind} score"
    figure.colorbar(image, ax=axes, label=label)
    axes.set_xticks(range(0, H, max(1, H // 16)))
    axes.set_yticks(range(0, L, max(1, L // 16)))
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_title(title, fontsize=10)
    if warning:
        _warn(figure, warning)
    _save(figure, path)


def save_ablation_bars(path: Path, rows: Sequence[Row]) -> None:
    """Accuracy of every gate with its 95% interval: a line of panels a model, a panel a benchmark; vanilla dashed."""
    models = list(dict.fromkeys(row.model for row in rows))
    benchmarks = list(dict.fromkeys(row.benchmark for row in rows))
    bars = max(len({(r.gate, r.of) for r in rows if r.model == model}) for model in models)
    size = (2.4 + 2.3 * len(benchmarks), 0.7 + len(models) * (0.6 + 0.27 * bars))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(models), len(benchmarks), sharex=True, sharey="row", squeeze=False)
    for line, model in zip(panels, models, strict=True):
        for axes, benchmark in zip(line, benchmarks, strict=True):
            mine = [row for row in rows if row.model == model and row.benchmark == benchmark]
            _bars(axes, mine)
            axes.set_title(f"{benchmark} (n = {mine[0].n})", fontsize=9)
        line[0].invert_yaxis()
        line[0].set_ylabel(model, fontsize=10, fontweight="bold")
    figure.supxlabel(
        "accuracy; whiskers: 95% interval over groups of questions; dashed: vanilla; blue: gates by scores; "
        "grey: controls",
        fontsize=9,
    )
    _save(figure, path)


def _bars(axes: Axes, rows: Sequence[Row]) -> None:
    colours = [_GREY if r.gate in CONTROLS else _ORANGE if r.gate == "vanilla" else _BLUE for r in rows]
    accuracy = np.array([row.accuracy for row in rows])
    below = accuracy - np.array([row.ci_low for row in rows])
    above = np.array([row.ci_high for row in rows]) - accuracy
    positions = np.arange(len(rows))
    axes.barh(positions, accuracy, xerr=np.maximum(0, [below, above]), color=colours, error_kw={"lw": 0.8}, height=0.75)
    axes.axvline(rows[0].accuracy, color=_RED, lw=1, ls="--")
    axes.set_yticks(positions, [f"{r.gate} ({r.of})" if r.of else r.gate for r in rows], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlim(0, 1.02)
    axes.spines[["top", "right"]].set_visible(False)


def _warn(figure: Figure, warning: str) -> None:
    figure.suptitle(warning, color=_RED, fontsize=8, wrap=True)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    # No creation date or software version inside: the same numbers give the same bytes.
    write_with(path, lambda temporary: figure.savefig(temporary, dpi=150, metadata={"Software": None}))
