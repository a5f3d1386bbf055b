"""Inheritance: the matrix of correlations (TruthProbe, Fig. 1b and 1c) and bars against one reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lens_truth.inherit import Heritability
from lens_truth.lineage_verdict import SIGNIFICANT
from lens_truth.plots.style import BLUE, GREEN, GREY, ORANGE, plain, save


def save_matrix(path: Path, result: Heritability) -> None:
    """Pearson r of every two models, as it is and with each layer's mean removed; bold where the permutation test
    (Holm over pairs) tells it from chance."""
    m = len(result.names)
    side = 1.0 + 0.62 * max(m, 4)
    figure = Figure(figsize=(2 * side + 1.6, side + 0.9), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    c = result.correlations
    names = [plain(name) for name in result.names]
    titles = ("all heads", "each layer's mean removed")
    image = None
    for axes, matrix, title in zip(panels, (c.pearson, c.pearson_within_layer), titles, strict=True):
        image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        for i, j in np.ndindex(m, m):
            if i == j:
                continue
            colour = "white" if abs(matrix[i, j]) > 0.6 else "black"
            weight = "bold" if result.p_permutation[i, j] < SIGNIFICANT else "normal"
            axes.text(
                j, i, _short(float(matrix[i, j])), ha="center", va="center", color=colour, fontsize=8, fontweight=weight
            )
        axes.set_xticks(range(m), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(m), names, fontsize=8)
        axes.set_title(title, fontsize=10)
    assert image is not None
    figure.colorbar(image, ax=panels, label="Pearson r over heads", fraction=0.03)
    kinds = ", ".join(dict.fromkeys(result.kinds))
    figure.suptitle(f"{kinds} scores; bold: p < .05, heads shuffled inside layers, Holm over all pairs", fontsize=9)
    save(figure, path)


def save_reference_bars(path: Path, result: Heritability, reference: str) -> None:
    """Pearson r of every model with the reference, beside its null, its ceiling and the floor of unrelated models."""
    at = result.names.index(reference)
    others = [i for i in range(len(result.names)) if i != at]
    figure = Figure(figsize=(9.4, 1.5 + 0.42 * len(others)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
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
    for axes, (title, r, interval, null, ceiling, its_floor) in zip(panels, parts, strict=True):
        _bars(axes, r[at, others], interval[at, others], null[at, others], ceiling[at, others])
        if its_floor:
            axes.axvspan(its_floor[0], its_floor[2], color=ORANGE, alpha=0.18, lw=0, zorder=0)
            axes.axvline(its_floor[1], color=ORANGE, lw=1.2)
        axes.set_title(title, fontsize=10)
    panels[0].set_yticks(range(len(others)), [plain(result.names[i]) for i in others], fontsize=9)
    panels[0].invert_yaxis()
    figure.supxlabel(f"Pearson r with {plain(reference)}", fontsize=9)
    legend = "blue: r with 95% interval; grey box: heads shuffled inside layers, middle 95%"
    if np.isfinite(result.ceiling[at, others]).any():
        legend += "; green tick: ceiling set by noise"
    if floor:
        legend += f"\norange: unrelated models of one architecture ({plain(', '.join(floor.names))}), mean and range"
    figure.suptitle(legend, fontsize=8)
    save(figure, path)


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
    axes.axvline(0, color="black", lw=0.6)
    axes.set_xlim(min(-0.2, float(np.nanmin([r, null[:, 0], interval[:, 0]])) - 0.05), 1.04)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _short(r: float) -> str:
    return f"{r:.2f}".replace("0.", ".", 1).replace("-.00", ".00")
