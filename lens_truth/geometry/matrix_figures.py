"""Matrices of domains: AUROC from one to another, before and after erasure; and what cosines say of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lens_truth.geometry.cosine_result import Cosines
from lens_truth.geometry.erasure_result import Erasure
from lens_truth.geometry.shared_result import SharedDirections
from lens_truth.geometry.transfer_result import Transfer
from lens_truth.io.numbers import SIGNIFICANT
from lens_truth.plots import style


@style.in_house_style
def transfer_map(result: Transfer) -> Figure:
    """AUROC, trained on the row's domain and tested on the column's; bold where permuted labels tell it from chance."""
    said = "AUROC on held-out folds; bold: told from permuted labels (p < .05, familywise over all cells)"
    panels = {"": (result.auroc, result.p_familywise < SIGNIFICANT)}
    return auroc_panels(panels, result.rows, result.names, said, ("trained on", "tested on"))


@style.in_house_style
def erasure_map(result: Erasure) -> Figure:
    """AUROC of the column's domain after the row's direction was erased, beside directions of shuffled labels; bold
    where it is below both controls."""
    strong = np.array([[result.reaches(i, j) for j in range(len(result.names))] for i in range(len(result.rows))])
    rows, before = ("nothing", *result.rows), result.before[None]
    none = np.zeros((1, len(result.names)), dtype=bool)
    panels = {
        "true labels": (np.concatenate([before, result.after]), np.concatenate([none, strong])),
        "shuffled labels": (np.concatenate([before, result.shuffled]), np.zeros_like(np.concatenate([none, strong]))),
    }
    said = (
        "AUROC of probes fitted anew after LEACE; bold: below random and shuffled directions, with the whole interval"
    )
    return auroc_panels(panels, rows, result.names, said, ("erased", "probed"))


def auroc_panels(
    panels: dict[str, tuple[Float[np.ndarray, "R M"], Bool[np.ndarray, "R M"]]],
    rows: Sequence[str],
    columns: Sequence[str],
    said: str,
    labels: tuple[str, str],
) -> Figure:
    """Maps of AUROC by their titles, with what is to be bold."""
    down, across = ([style.fitted(name, 1.7, style.SMALL) for name in names] for names in (rows, columns))
    label = max(style.text_width(name, style.SMALL) for name in (*down, *across))
    width, height = max(2.4, 0.42 * len(across)), max(1.6, 0.32 * len(down))
    n = len(panels)
    figure = style.new_figure(n * (width + 0.2) + label + 1.5, height + 0.75 * label + 1.3)
    grid: list[Axes] = list(figure.subplots(1, n, sharey=True, squeeze=False).flat)
    for axes, (title, (values, strong)) in zip(grid, panels.items(), strict=True):
        style.cells(axes, values, cmap="RdBu_r", vmin=0, vmax=1)
        for i, j in np.ndindex(*values.shape):
            if np.isnan(values[i, j]):
                continue
            colour = "white" if abs(values[i, j] - 0.5) > 0.3 else style.INK
            weight = "bold" if strong[i, j] else "normal"
            text = f"{values[i, j]:.2f}".replace("0.", ".", 1)
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=style.SMALL, fontweight=weight)
        axes.set_xticks(range(len(across)), across, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_xlabel(labels[1])
        axes.set_title(title)
        axes.tick_params(left=axes is grid[0])
    grid[0].set_yticks(range(len(down)), down)
    grid[0].set_ylim(len(down) - 0.5, -0.5)  # shared, so turned over several times
    grid[0].set_ylabel(labels[0])
    style.colour_bar(figure, grid[0].collections[0], grid, "AUROC")
    figure.suptitle(style.fitted(said, figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


@style.in_house_style
def cosine_scatter(result: Cosines) -> Figure:
    """AUROC from domain to domain against the Mahalanobis and the plain cosine of the directions."""
    off = ~np.eye(len(result.names), dtype=bool)
    figure = style.new_figure(7.0, 3.4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (kind, title) in zip(
        panels, (("mahalanobis", "Mahalanobis cosine"), ("plain", "plain cosine")), strict=True
    ):
        x, y, its = getattr(result, kind)[off], result.auroc[off], result.prediction[kind]
        axes.axhline(0.5, color=style.GREY, lw=0.7)
        axes.axvline(0, color=style.GREY, lw=0.7)
        axes.scatter(x, y, s=16, color=style.BLUE, lw=0)
        low, middle, high = its.random_probes["whitened"]
        axes.set_title(
            f"R2 {its.r2:.2f}; of random probes {middle:.2f} ({low:.2f} to {high:.2f})", fontsize=style.MEDIUM
        )
        axes.set_xlabel(f"{title} with the tested domain's direction")
    panels[0].set_ylabel("AUROC in the tested domain")
    said = f"{result.at}, directions by {result.estimator}: a point a pair of {len(result.names)} domains"
    figure.suptitle(style.fitted(said, 6.6, style.MEDIUM))
    return figure


@style.in_house_style
def shared_curves(result: SharedDirections) -> Figure:
    """AUROC, mean over domains, against how many directions are projected away."""
    figure = style.new_figure(5.2, 3.4)
    axes = figure.subplots()
    steps = np.arange(len(result.general))
    for values, label, colour, dashes in (
        (result.general.mean(1), "probe of all domains", style.BLUE, "-"),
        (result.own.mean(1), "each domain's own probe", style.ORANGE, "-"),
        (result.own_random.mean(1), "the same, random directions", style.ORANGE, ":"),
        (result.general_null, "probe of all, shuffled labels, 95%", style.GREY, "--"),
    ):
        axes.plot(steps, values, dashes, color=colour, label=label, lw=1.4)
    axes.axhline(0.5, color=style.INK, lw=0.6)
    axes.set_xticks(steps)
    axes.set_xlabel("general directions projected away")
    axes.set_ylabel("AUROC, mean over domains")
    axes.set_title(style.fitted(f"{result.at}: {result.n_general} general before it is as shuffled", 4.8, style.LARGE))
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)
    return figure
