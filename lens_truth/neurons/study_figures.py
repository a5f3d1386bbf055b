"""Figures of neurons that were found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lens_truth.neurons.study_result import FOUND, TEXTS, NeuronStudy
from lens_truth.plots import style


@style.in_house_style
def study_panels(study: NeuronStudy) -> Figure:
    """Three panels: AUROC of every classifier over that of shuffled labels; what each C gave; H-neurons by layer."""
    figure = style.new_figure(10.0, 0.9 + 0.26 * max(9, len(study.worth)))
    worth, tried, layers = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _draw_worth(worth, study)
    neurons = [its.n_neurons for its in study.tried]
    tried.plot(neurons, [its.auroc for its in study.tried], color=style.BLUE, marker="o", ms=3)
    chosen = next(its for its in study.tried if its.C == study.C)
    tried.plot([chosen.n_neurons], [chosen.auroc], color=style.ORANGE, marker="o", ms=7, zorder=3)
    tried.set(
        xlabel="neurons with a weight", ylabel="AUROC on held-out folds", xscale="symlog", title="the choice of C"
    )
    ticks = _apart(neurons)  # powers of ten would leave one tick or none
    tried.set_xticks(ticks, [str(tick) for tick in ticks])
    _draw_layers(layers, study)
    keys = [
        Line2D([], [], color=style.BLUE, marker="o", ms=4, label="reads neurons"),
        Line2D([], [], color=style.GREY, marker="o", ms=4, label="reads texts"),
        Line2D([], [], color=style.ORANGE, marker="o", ls="", ms=6, label="chosen"),
    ]
    if study.null:
        keys.append(Line2D([], [], color=style.PURPLE, lw=5, alpha=0.25, label="shuffled labels, all draws"))
    style.legend(figure, keys)
    return figure


def _apart(neurons: Sequence[int]) -> list[int]:
    """Of these numbers as many as have room for a label on a logarithmic axis."""
    kept: list[int] = []
    for n in sorted(set(neurons)):
        if not kept or n >= 1.3 * kept[-1]:
            kept.append(n)
    return kept


def _draw_worth(axes: Axes, study: NeuronStudy) -> None:
    names = list(study.worth)[::-1]
    if study.null:
        axes.axvspan(min(study.null), max(study.null), color=style.PURPLE, alpha=0.15, lw=0)
    axes.axvline(0.5, color=style.GREY, lw=0.7)
    for place, name in enumerate(names):
        its, colour = study.worth[name].auroc, style.GREY if name in TEXTS else style.BLUE
        axes.plot([its.low, its.high], [place, place], color=colour, lw=1.2)
        axes.plot([its.value], [place], color=colour, marker="o", ms=6 if name == FOUND else 4)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="AUROC, 95% over groups", title="hallucinated against right")


def _draw_layers(axes: Axes, study: NeuronStudy) -> None:
    layer, weight = np.array(study.layer, dtype=int), np.array(study.weight)
    for sign, colour in ((1, style.BLUE), (-1, style.GREY)):
        many = np.bincount(layer[sign * weight > 0], minlength=study.shape[0])
        axes.bar(np.arange(study.shape[0]), sign * many, color=colour, width=0.8)
    axes.axhline(0, color=style.GREY, lw=0.7)
    axes.set(xlabel="layer", ylabel="neurons with a weight above (below) 0", title="where they lie")
