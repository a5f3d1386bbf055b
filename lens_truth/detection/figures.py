"""What a detector is worth, as a figure: ROC, risk against coverage, reliability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lens_truth.detection.result import DETECTOR, SURFACE
from lens_truth.plots import style
from lens_truth.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, in_house_style, new_figure

if TYPE_CHECKING:
    from lens_truth.detection.result import Detection

DRAWN = {
    DETECTOR: (BLUE, "-", 2.2),
    "best head": (SKY, "-", 1.2),
    "best layer": (GREEN, "-", 1.2),
    "log-probability": (ORANGE, "--", 1.2),
    "log-probability per token (perplexity)": (ORANGE, ":", 1.2),
    "its own judgement (yes or no)": (PURPLE, "--", 1.2),
    SURFACE: (GREY, "-", 1.2),
    "bag of words": (GREY, ":", 1.2),
}
"""Colour, dashes and thickness of the curves that are drawn."""


@in_house_style
def detection_curves(found: Detection) -> Figure:
    """Three panels: ROC and risk against coverage of the detector and of what stands beside it; and how right the
    detector's probabilities are."""
    figure = new_figure(9.0, 3.4)
    roc, risk, bins = figure.subplots(1, 3)
    named = {name: look for name, look in DRAWN.items() if name in found.roc}
    for name, (colour, dashes, width) in reversed(named.items()):
        look = {"color": colour, "ls": dashes, "lw": width}
        roc.plot(found.coverage, found.roc[name], **look)
        risk.plot(found.coverage, found.risk[name], **look)
    roc.plot([0, 1], [0, 1], color=GREY, lw=0.7)
    roc.set(xlabel="hallucinated answers kept", ylabel="supported answers kept", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    roc.set_title(f"AUROC {found.measures['auroc'].value:.3f}")
    risk.set(xlabel="answers kept (coverage)", ylabel="hallucinated among them (risk)", xlim=(-0.02, 1.02))
    risk.set_ylim(bottom=-0.02)
    risk.set_title(f"AURC {found.measures['aurc'].value:.3f}")
    _draw_reliability(bins, found)
    handles = [
        Line2D([], [], color=colour, ls=dashes, lw=width, label=name) for name, (colour, dashes, width) in named.items()
    ]
    style.legend(figure, handles)
    return figure


def _draw_reliability(axes: Axes, found: Detection) -> None:
    """Larger points hold more answers."""
    mean, supported, n = found.reliability[found.reliability[:, 2] > 0].T
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.7)
    axes.plot(mean, supported, color=BLUE, lw=1)
    axes.scatter(mean, supported, s=8 + 90 * n / n.max(), color=BLUE, zorder=3)
    axes.set(xlabel="P(supported), mean of a bin", ylabel="supported", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    axes.set_title(f"calibration error {found.measures['ece'].value:.3f}")
