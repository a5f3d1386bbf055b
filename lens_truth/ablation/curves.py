"""The search for lambda: validation accuracy against the size of the gate, with the point that was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lens_truth.ablation.rows import best_of
from lens_truth.plots.style import (
    BLUE,
    GREEN,
    GREY,
    LARGE,
    MEDIUM,
    ORANGE,
    RED,
    fitted,
    in_house_style,
    legend,
    new_figure,
)

if TYPE_CHECKING:
    from lens_truth.ablation.result import Ablation

_LOOKS = {"center": (BLUE, "o"), "minmax": (ORANGE, "s"), "none": (GREEN, "^"), "uniform": (GREY, "D")}
"""Colour and marker of each normalisation."""


@in_house_style
def lambda_curves(ablation: Ablation) -> Figure:
    """A line of panels a model, a panel a gate; every curve begins at the vanilla model."""
    columns = max(map(len, ablation.search.values()))
    figure = new_figure(1.0 + 2.2 * columns, 1.1 + 2.1 * len(ablation.search))
    grid = figure.subplots(len(ablation.search), columns, squeeze=False, sharex=True, sharey="row")
    for line, (model, searched) in zip(grid, ablation.search.items(), strict=True):
        vanilla = ablation.vanilla_objective(model)
        for axes in line[len(searched) :]:
            axes.set_visible(False)
        for axes, (gate, candidates) in zip(line, searched.items(), strict=False):
            for norm in dict.fromkeys(candidate.norm for candidate in candidates):
                curve = [c for c in candidates if c.norm == norm]
                x, y = [0.0, *(c.strength for c in curve)], [vanilla, *(c.objective for c in curve)]
                colour, marker = _LOOKS[norm]
                axes.plot(x, y, color=colour, marker=marker, ms=3.5, lw=1.2)
            best = best_of(candidates)
            axes.plot(best.strength, best.objective, marker="*", ms=11, color=RED, ls="")
            axes.axhline(vanilla, color=RED, lw=0.8, ls="--")
            norm = "" if best.norm == "uniform" else f", {best.norm}"
            axes.set_title(fitted(f"{gate}: λ = {best.lam:.3g}{norm}", 2.0, LARGE))
            axes.tick_params(labelbottom=True)
        line[0].set_ylabel(fitted(model, 1.8, MEDIUM), fontsize=MEDIUM, fontweight="bold")
    norms = list(dict.fromkeys(c.norm for its in ablation.search.values() for cs in its.values() for c in cs))
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=3.5, label=norm)
        for norm, (colour, marker) in ((norm, _LOOKS[norm]) for norm in norms)
    ]
    handles.append(Line2D([], [], color=RED, marker="*", ls="", ms=9, label="chosen"))
    handles.append(Line2D([], [], color=RED, ls="--", lw=0.8, label="vanilla"))
    legend(figure, handles)
    figure.supxlabel("distance of the gate from 1 (root mean square over heads)")
    figure.supylabel("accuracy on validation, mean over benchmarks")
    return figure
