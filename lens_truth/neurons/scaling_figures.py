"""Figures of scaled neurons."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lens_truth.neurons.scaling_result import READINGS, NeuronScaling
from lens_truth.plots import style

_SHOWN = ("goes along", "said", "truth")
_COLOURS = {"random": style.GREY, "layer-matched": style.ORANGE}


@style.in_house_style
def scaling_panels(result: NeuronScaling) -> Figure:
    """A line of panels a measure: how often the model goes along, and what pulls it; the neurons with their intervals
    over sets of as many others."""
    columns = 3 if any(its.control for its in result.measures.values()) else 1
    figure = style.new_figure(max(4.0, 0.6 + 2.5 * columns), 0.9 + 2.0 * len(result.measures))
    grid = figure.subplots(len(result.measures), columns, squeeze=False)
    for line, (name, its) in zip(grid, result.measures.items(), strict=True):
        for axes, reading in zip(line, _SHOWN, strict=False):
            if reading not in its.curves:
                axes.set_visible(False)
                continue
            curve = its.curves[reading]
            for control, levels in curve.controls.items():
                colour = _COLOURS.get(control.rsplit(" ", 1)[0], style.GREY)
                axes.plot(result.control_alphas, levels, color=colour, lw=0.7, alpha=0.7)
            found = curve.response
            axes.plot(found.alphas, [level.value for level in found.levels], color=style.BLUE, lw=1.6, marker="o", ms=3)
            low, high = ([getattr(level, end) for level in found.levels] for end in ("ci_low", "ci_high"))
            axes.fill_between(found.alphas, low, high, color=style.BLUE, alpha=0.15, lw=0)
            axes.axvline(1, color=style.INK, lw=0.6, ls=":")
            about = READINGS[reading]
            axes.set_ylabel(f"{about.said.removesuffix(' (likelier answer)')}, {about.unit}")
            axes.set_xlabel("alpha")
        line[0].set_title(style.fitted(name, 2.3, style.LARGE))
    keys = [Line2D([], [], color=style.BLUE, marker="o", ms=3, label=f"{result.n_neurons} H-neurons, 95%")]
    curves = [curve for its in result.measures.values() for curve in its.curves.values()]
    kinds = dict.fromkeys(kind for curve in curves for kind in curve.against)
    keys += [Line2D([], [], color=_COLOURS.get(kind, style.GREY), lw=0.7, label=f"{kind} sets") for kind in kinds]
    style.legend(figure, keys)
    return figure
