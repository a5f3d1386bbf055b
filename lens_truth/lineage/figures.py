"""Inheritance: the matrix of correlations (TruthProbe, Fig. 1b and 3) and bars against one reference (Fig. 1c)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lens_truth.io.numbers import SIGNIFICANT
from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.inheritance import TruthCausal
from lens_truth.lineage.kept import CIRCUITS, Preservation, WeightSimilarity
from lens_truth.plots import style
from lens_truth.plots.heads import Panel, scatter
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.relations import relation_text

_TITLES = ("all heads", "each layer's mean removed")


@style.in_house_style
def correlation_matrix(result: Heritability) -> Figure:
    """Pearson r of every two models, as it is and with each layer's mean removed; bold where the permutation test
    (Holm over pairs) tells it from chance."""
    m, c = len(result.names), result.correlations
    longest = max(style.text_width(name, style.SMALL) for name in result.names)
    names = [style.fitted(name, max(1.7, 0.6 * longest), style.SMALL) for name in result.names]  # two lines at most
    label, side = max(style.text_width(name, style.SMALL) for name in names), max(2.4, 0.42 * m)
    figure = style.new_figure(2 * side + label + 1.3, side + 0.75 * label + 1.1)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, matrix, title in zip(panels, (c.pearson, c.pearson_within_layer), _TITLES, strict=True):
        correlation_cells(axes, matrix, result.p_permutation < SIGNIFICANT)
        axes.set_xticks(range(m), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_title(title)
    panels[0].set_yticks(range(m), names)
    panels[1].tick_params(left=False)
    panels[0].set_ylim(m - 0.5, -0.5)  # shared, so turned over twice
    style.colour_bar(figure, panels[1].collections[0], panels, f"Pearson r over {result.units}")
    kinds = ", ".join(dict.fromkeys(result.kinds))
    said = f"{kinds} scores; bold: p < .05, {result.units} shuffled inside layers, Holm over all pairs"
    figure.suptitle(style.fitted(said, figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


def correlation_cells(
    axes: Axes, r: Float[np.ndarray, "models models"], strong: Bool[np.ndarray, "models models"]
) -> None:
    """A matrix of correlations, each but the diagonal with its number, bold where it is strong."""
    style.cells(axes, r, cmap="RdBu_r", vmin=-1, vmax=1)
    for i, j in np.argwhere(~np.eye(len(r), dtype=bool)).tolist():
        said = f"{r[i, j]:.2f}".replace("0.", ".", 1).replace("-.00", ".00")
        weight = "bold" if strong[i, j] else "normal"
        colour = "white" if abs(r[i, j]) > 0.6 else style.INK
        axes.text(j, i, said, ha="center", va="center", color=colour, fontsize=style.SMALL, fontweight=weight)


@style.in_house_style
def reference_bars(result: Heritability, at: int) -> Figure:
    """Pearson r of every model with one of them, beside its null, its ceiling and the floor of unrelated models."""
    others = [i for i in range(len(result.names)) if i != at]
    names = [style.fitted(result.names[i], 2.2, style.MEDIUM) for i in others]
    label = max(style.text_width(name, style.MEDIUM) for name in names)
    figure = style.new_figure(7.4 + label, 1.5 + 0.4 * len(others))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    c, floor = result.correlations, result.floor
    within = c.pearson_within_layer, c.interval_within_layer, c.null_within_layer, result.ceiling_within_layer
    parts = (c.pearson, c.interval, c.null, result.ceiling), within
    floors = (floor.pearson, floor.pearson_within_layer) if floor else (None, None)
    y, lowest = np.arange(len(others)), -0.15
    for axes, title, matrices, its_floor in zip(panels, _TITLES, parts, floors, strict=True):
        r, interval, null, ceiling = (matrix[at, others] for matrix in matrices)
        whiskers = np.maximum(0, [r - interval[:, 0], interval[:, 1] - r])
        axes.barh(y, r, height=0.34, color=style.BLUE, xerr=whiskers, error_kw={"lw": 1, "capsize": 2}, zorder=2)
        axes.barh(y, null[:, 1] - null[:, 0], left=null[:, 0], height=0.74, color=style.GREY, alpha=0.45, zorder=1)
        axes.scatter(ceiling, y, marker="|", s=170, color=style.GREEN, lw=2, zorder=3)
        axes.axvline(0, color=style.INK, lw=0.6)
        lowest = min(lowest, float(np.nanmin([r, null[:, 0], interval[:, 0]])))
        if its_floor:
            axes.axvspan(its_floor[0], its_floor[2], color=style.ORANGE, alpha=0.18, lw=0, zorder=0)
            axes.axvline(its_floor[1], color=style.ORANGE, lw=1.2)
        axes.set_title(title)
    panels[0].set_xlim(lowest - 0.05, 1.04)
    panels[0].set_yticks(range(len(others)), names, fontsize=style.MEDIUM)
    panels[0].invert_yaxis()
    figure.supxlabel(style.fitted(f"Pearson r with {result.names[at]}", figure.get_figwidth() - 0.4, style.MEDIUM))
    handles = [
        Line2D([], [], color=style.BLUE, lw=5, label="r (whiskers: 95% interval)"),
        Patch(color=style.GREY, alpha=0.45, lw=0, label=f"{result.units} shuffled inside layers: middle 95%"),
    ]
    if np.isfinite(result.ceiling[at, others]).any():
        handles.append(Line2D([], [], ls="", marker="|", ms=10, mew=2, color=style.GREEN, label="ceiling set by noise"))
    if floor:
        said = f"unrelated models of one architecture ({', '.join(floor.names)}): range and mean"
        said = style.fitted(said, 3.4, style.SMALL)
        handles.append(Patch(facecolor="#FBECCC", edgecolor=style.ORANGE, label=said))
    style.legend(figure, handles)
    return figure


def preservation_scatter(
    base: str, scores: HeadScores, children: Mapping[str, tuple[WeightSimilarity, Preservation]]
) -> Figure:
    """The base's scores against how far the OV and QK circuits have moved (1 - cosine, on a logarithmic axis); a panel
    a child."""
    panels: list[Panel] = []
    for name, (kept, related) in children.items():
        said = (f"{circuit.upper()} cosine: {relation_text(related.score[circuit])}" for circuit in CIRCUITS)
        moved = kept.distances()
        panels.append(Panel(name, scores.values, {"OV": moved["ov"], "QK": moved["qk"]}, "\n".join(said)))
    return scatter(panels, f"{scores.kind} score in {base}", f"1 - cosine of the circuit with that in {base}", log=True)


def truth_causal_scatter(
    found: TruthCausal, truth: Mapping[str, HeadScores], causal: Mapping[str, HeadScores]
) -> Figure:
    """Truth score against causal score of every head; a panel a model."""
    panels = [
        Panel(name, truth[name].values, {"causal": causal[name].values}, found.text(name)) for name in found.values
    ]
    return scatter(panels, "truth score (out-of-fold accuracy)", "causal score d(margin)/d(gate)")
