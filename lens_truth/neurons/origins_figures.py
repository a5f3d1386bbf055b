"""Figures of where neurons come from, and of what passes through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lens_truth.neurons.mediation_result import CONTROLS, Mediation, Passing
from lens_truth.neurons.origins_result import NeuronOrigins
from lens_truth.plots import style

_SHADE = "#DDDDDD"


@style.in_house_style
def origins_figure(result: NeuronOrigins) -> Figure:
    """AUROC of the classifier in child and base and of refits, over what moved weights and random sets give; ranks of
    H-neurons over shuffled ones."""
    figure = style.new_figure(8.2, 3.6)
    left, right = figure.subplots(1, 2)
    lines = [(f"as it is, in the {name}", its.auroc, its.auroc_ci, its.moved) for name, its in result.applied.items()]
    for name, its in result.refitted.items():
        low, high = min(its.random), max(its.random)
        lines.append((f"refitted, {name}", its.auroc, its.auroc_ci, (low, high)))
    _lines(left, lines)
    left.axvline(0.5, color=style.GREY, lw=0.7, ls="--")
    left.set_xlabel("AUROC")
    _lines(right, [(name, its.inside, None, its.null) for name, its in result.ranks.items()])
    right.axvline(0.5, color=style.GREY, lw=0.7, ls="--")
    right.set_xlim(-0.02, 1.02)
    right.set_xlabel("mean rank of H-neurons inside layers")
    keys = [
        Line2D([], [], color=style.BLUE, marker="o", ms=4, label="the given neurons, 95%"),
        Patch(color=_SHADE, label="other neurons: moved inside layers, random sets, shuffled"),
    ]
    style.legend(figure, keys)
    title = f"{result.n_neurons} neurons of {result.names[1]} in {result.names[0]}"
    figure.supxlabel(style.fitted(title, figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


@style.in_house_style
def mediation_figure(result: Mediation) -> Figure:
    """Shares of the total effect through the given neurons, each control set and all neurons."""
    figure = style.new_figure(7.2, 3.2)
    panels = figure.subplots(1, 2, sharey=True)
    named: list[tuple[str, list[Passing]]] = [("given", [result.passing["neurons"]])]
    named += [(kind, result.controls(kind)) for kind in CONTROLS]
    named.append(("all neurons", [result.passing["all neurons"]]))
    for axes, side, label in zip(panels, ("frozen", "alone"), ("lost when frozen", "there when alone"), strict=True):
        for at, (name, sets) in enumerate(named):
            for its in sets:
                value, ends = (its.frozen, its.frozen_ci) if side == "frozen" else (its.alone, its.alone_ci)
                colour = style.GREY if name in CONTROLS else style.BLUE
                axes.plot([value], [at], "o", ms=4, color=colour)
                if name not in CONTROLS:
                    axes.plot(ends, [at, at], color=colour, lw=1.2)
        axes.axvline(0, color=style.GREY, lw=0.7, ls="--")
        axes.set_xlabel(f"share of the effect {label}")
    panels[0].set_yticks(range(len(named)), [name for name, _ in named])
    panels[0].set_ylim(len(named) - 0.5, -0.5)
    title = f"{result.model}, {result.heads}: margin {result.total:+.2f} nats"
    figure.suptitle(style.fitted(title, figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


def _lines(axes: Axes, lines: Sequence[tuple[str, float, tuple[float, float] | None, tuple[float, float]]]) -> None:
    """A line each: the value with its interval, over the range of the null."""
    for at, (_, value, ends, null) in enumerate(lines):
        axes.barh([at], [null[1] - null[0]], left=[null[0]], height=0.5, color=_SHADE)
        if ends is not None and np.isfinite(ends).all():
            axes.plot(ends, [at, at], color=style.BLUE, lw=1.2)
        axes.plot([value], [at], "o", ms=4, color=style.BLUE)
    axes.set_yticks(range(len(lines)), [name for name, *_ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
