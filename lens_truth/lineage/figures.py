"""Inheritance: the matrix of correlations (TruthProbe, Fig. 1b and 3) and bars against one reference (Fig. 1c)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lens_truth.io.numbers import SIGNIFICANT
from lens_truth.lineage.acting import TruthCausal
from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.kept import WeightSimilarity
from lens_truth.lineage.preservation import Preservation
from lens_truth.plots.points import Panel, scatter
from lens_truth.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MEDIUM,
    ORANGE,
    SMALL,
    cells,
    colour_bar,
    fitted,
    in_house_style,
    legend,
    new_figure,
    text_width,
)
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.relations import relation_text


@in_house_style
def correlation_matrix(result: Heritability) -> Figure:
    """Pearson r of every two models, as it is and with each layer's mean removed; bold where the permutation test
    (Holm over pairs) tells it from chance."""
    m, c = len(result.names), result.correlations
    room = max(1.7, 0.6 * max(text_width(name, SMALL) for name in result.names))  # two lines: more would overlap
    names = [fitted(name, room, SMALL) for name in result.names]
    label, side = max(text_width(name, SMALL) for name in names), max(2.4, 0.42 * m)
    figure = new_figure(2 * side + label + 1.3, side + 0.75 * label + 1.1)
    panels = figure.subplots(1, 2, sharey=True)
    shown = None
    for axes, matrix, title in zip(
        panels, (c.pearson, c.pearson_within_layer), ("all heads", "each layer's mean removed"), strict=True
    ):
        shown = cells(axes, matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        for i, j in np.ndindex(m, m):
            if i != j:
                axes.text(
                    j,
                    i,
                    _short(float(matrix[i, j])),
                    ha="center",
                    va="center",
                    color="white" if abs(matrix[i, j]) > 0.6 else INK,
                    fontsize=SMALL,
                    fontweight="bold" if result.p_permutation[i, j] < SIGNIFICANT else "normal",
                )
        axes.set_xticks(range(m), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_title(title)
    panels[0].set_yticks(range(m), names)
    panels[1].tick_params(left=False)
    panels[0].set_ylim(m - 0.5, -0.5)  # shared, so turned over twice
    assert shown is not None
    colour_bar(figure, shown, panels, "Pearson r over heads")
    kinds = ", ".join(dict.fromkeys(result.kinds))
    said = f"{kinds} scores; bold: p < .05, heads shuffled inside layers, Holm over all pairs"
    figure.suptitle(fitted(said, figure.get_figwidth() - 0.4, MEDIUM))
    return figure


@in_house_style
def reference_bars(result: Heritability, at: int) -> Figure:
    """Pearson r of every model with one of them, beside its null, its ceiling and the floor of unrelated models."""
    others = [i for i in range(len(result.names)) if i != at]
    names = [fitted(result.names[i], 2.2, MEDIUM) for i in others]
    figure = new_figure(7.4 + max(text_width(name, MEDIUM) for name in names), 1.5 + 0.4 * len(others))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    c, floor = result.correlations, result.floor
    parts = (
        ("all heads", c.pearson, c.interval, c.null, result.ceiling, floor and floor.pearson),
        (
            "each layer's mean removed",
            c.pearson_within_layer,
            c.interval_within_layer,
            c.null_within_layer,
            result.ceiling_within_layer,
            floor and floor.pearson_within_layer,
        ),
    )
    lowest = -0.15
    for axes, (title, r, interval, null, ceiling, its_floor) in zip(panels, parts, strict=True):
        _bars(axes, r[at, others], interval[at, others], null[at, others], ceiling[at, others])
        lowest = min(lowest, float(np.nanmin([r[at, others], null[at, others, 0], interval[at, others, 0]])))
        if its_floor:
            axes.axvspan(its_floor[0], its_floor[2], color=ORANGE, alpha=0.18, lw=0, zorder=0)
            axes.axvline(its_floor[1], color=ORANGE, lw=1.2)
        axes.set_title(title)
    panels[0].set_xlim(lowest - 0.05, 1.04)
    panels[0].set_yticks(range(len(others)), names, fontsize=MEDIUM)
    panels[0].invert_yaxis()
    figure.supxlabel(fitted(f"Pearson r with {result.names[at]}", figure.get_figwidth() - 0.4, MEDIUM))
    handles = [
        Line2D([], [], color=BLUE, lw=5, label="r (whiskers: 95% interval)"),
        Patch(color=GREY, alpha=0.45, lw=0, label="heads shuffled inside layers: middle 95%"),
    ]
    if np.isfinite(result.ceiling[at, others]).any():
        handles.append(Line2D([], [], ls="", marker="|", ms=10, mew=2, color=GREEN, label="ceiling set by noise"))
    if floor:
        unrelated = f"unrelated models of one architecture ({', '.join(floor.names)}): range and mean"
        handles.append(Patch(facecolor="#FBECCC", edgecolor=ORANGE, label=fitted(unrelated, 3.4, SMALL)))
    legend(figure, handles)
    return figure


def _bars(
    axes: Axes,
    r: Float[np.ndarray, " n"],
    interval: Float[np.ndarray, "n 2"],
    null: Float[np.ndarray, "n 2"],
    ceiling: Float[np.ndarray, " n"],
) -> None:
    y = np.arange(len(r))
    whiskers = np.maximum(0, [r - interval[:, 0], interval[:, 1] - r])
    axes.barh(y, r, height=0.34, color=BLUE, xerr=whiskers, error_kw={"lw": 1, "capsize": 2}, zorder=2)
    axes.barh(y, null[:, 1] - null[:, 0], left=null[:, 0], height=0.74, color=GREY, alpha=0.45, zorder=1)
    axes.scatter(ceiling, y, marker="|", s=170, color=GREEN, lw=2, zorder=3)
    axes.axvline(0, color=INK, lw=0.6)


def _short(r: float) -> str:
    return f"{r:.2f}".replace("0.", ".", 1).replace("-.00", ".00")


def preservation_scatter(
    base: str, scores: HeadScores, children: Mapping[str, tuple[WeightSimilarity, Preservation]]
) -> Figure:
    """The base's scores against the cosines of the OV and QK circuits; a panel a child."""
    panels = [
        Panel(
            name,
            scores.values,
            {"OV": kept.ov, "QK": kept.qk},
            f"OV: {relation_text(related.score['ov'])}\nQK: {relation_text(related.score['qk'])}",
        )
        for name, (kept, related) in children.items()
    ]
    return scatter(panels, f"{scores.kind} score in {base}", f"cosine of the circuit with that in {base}")


def truth_causal_scatter(
    found: TruthCausal, truth: Mapping[str, HeadScores], causal: Mapping[str, HeadScores]
) -> Figure:
    """Truth score against causal score of every head; a panel a model."""
    panels = [
        Panel(name, truth[name].values, {"causal": causal[name].values}, found.text(name)) for name in found.values
    ]
    return scatter(panels, "truth score (out-of-fold accuracy)", "causal score d(margin)/d(gate)")
