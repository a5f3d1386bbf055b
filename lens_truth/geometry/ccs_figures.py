"""CCS over the layers of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lens_truth.plots.style import BLUE, GREY, LARGE, RED, fitted, in_house_style, legend, new_figure

if TYPE_CHECKING:
    from lens_truth.geometry.ccs_result import Consistency


@in_house_style
def by_layer(found: Consistency) -> Figure:
    """Accuracy either way of CCS, on true and on shuffled pairs, of random directions and of a supervised probe: the
    mean of each layer's heads, and the best of them where there are several."""
    lines = {
        "CCS": (found.either, BLUE, "-"),
        "CCS on shuffled pairs": (found.shuffled.mean(0), BLUE, ":"),
        "random directions, 95th percentile": (found.random_q95, GREY, "--"),
        "ridge, with labels": (found.ridge, RED, "-"),
    }
    figure = new_figure(5.4, 3.8)
    axes = figure.subplots()
    handles: list[Line2D] = []
    layers = range(len(found.either))
    for name, (its, colour, style) in lines.items():
        handles += axes.plot(layers, its.mean(1), color=colour, ls=style, lw=1.5, label=name)
    if found.either.shape[1] > 1:
        handles += axes.plot(layers, found.either.max(1), color=BLUE, ls="", marker="^", ms=4, label="CCS, best head")
    axes.axhline(0.5, color=GREY, lw=0.8)
    axes.set_ylim(0.4, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer")
    axes.set_ylabel("accuracy, either way")
    where = "mean of heads" if found.point == "z" else "residual stream"
    axes.set_title(fitted(f"CCS of {found.model or 'a model'}, {where} (n = {found.n_pairs} pairs)", 4.8, LARGE))
    legend(figure, handles)
    return figure
