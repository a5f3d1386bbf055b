"""Figures of dose curves."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lens_truth.neurons.dose_result import CurveFound, DoseCurves
from lens_truth.plots import style
from lens_truth.stats.dose import DoseResponse, Interval

_MOST = 12
"""Panels; more cannot be read."""


@style.in_house_style
def dose_panels(result: DoseCurves) -> Figure:
    """A panel a curve that is no control: its levels with their intervals over those of its controls; points that were
    probably computed another way in red."""
    shown = [name for name, its in result.curves.items() if not its.control][:_MOST]
    lines, columns = style.grid_of(len(shown), min(3, len(shown)))
    figure = style.new_figure(0.6 + 3.2 * columns, 0.9 + 2.5 * lines)
    for axes, name in zip(style.panel_grid(figure, len(shown), columns), shown, strict=True):
        its = result.curves[name]
        for other in result.curves.values():
            if other.control in its.against:
                _line(axes, other, style.GREY, 0.8)
        _line(axes, its, style.BLUE, 1.6)
        _band(axes, its.sound)
        axes.set_title(style.fitted(name, 3.0, style.LARGE))
        axes.set_xlabel("alpha")
    figure.supylabel("points" if result.scale != 1 else "mean outcome")
    keys = [
        Line2D([], [], color=style.BLUE, marker="o", ms=3, label="curve; band: 95% of its change from the reference"),
        Line2D([], [], color=style.GREY, lw=0.8, label="its controls"),
    ]
    if any(its.odd for its in result.curves.values()):
        keys.append(Line2D([], [], color=style.RED, marker="X", ls="", label="probably computed another way"))
    style.legend(figure, keys)
    return figure


def _band(axes: Axes, its: DoseResponse) -> None:
    """Of changes on the same items: that of levels would hold what the items have in common, too."""
    start = its.levels[its.alphas.index(its.reference)].value
    at = {change.end: change.change for change in its.changes} | {its.reference: Interval(0.0, 0.0, 0.0)}
    low, high = ([start + getattr(at[alpha], end) for alpha in its.alphas] for end in ("ci_low", "ci_high"))
    axes.fill_between(its.alphas, low, high, color=style.BLUE, alpha=0.15, lw=0)


def _line(axes: Axes, its: CurveFound, colour: str, width: float) -> None:
    alphas, levels = its.response.alphas, [level.value for level in its.response.levels]
    axes.plot(alphas, levels, color=colour, lw=width, marker="o", ms=2 * width)
    odd = {point.alpha for point in its.odd}
    at = [(alpha, level) for alpha, level in zip(alphas, levels, strict=True) if alpha in odd]
    axes.plot([a for a, _ in at], [b for _, b in at], color=style.RED, marker="X", ms=5, ls="", zorder=3)
