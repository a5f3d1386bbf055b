"""A verification as a figure: points with their intervals, all pairs beside those of one length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from lens_truth.plots.style import BLUE, LARGE, MEDIUM, ORANGE, fitted, in_house_style, new_figure

if TYPE_CHECKING:
    from lens_truth.detection.verification import Pairs, Verification

_SHOWN: dict[Pairs, tuple[str, str, float]] = {
    "all": ("all pairs", BLUE, -0.17),
    "length": ("pairs of one length", ORANGE, 0.17),
}


@in_house_style
def verification_dots(result: Verification) -> Figure:
    """AUROC of every method with 95% intervals over groups."""
    names = list(result.scores)
    figure = new_figure(6.2, 1.4 + 0.34 * len(names))
    axes = figure.subplots()
    for pairs, (label, colour, shift) in _SHOWN.items():
        for place, name in enumerate(names):
            its = result.measured[name, pairs]
            if its.n_pairs:
                axes.plot([its.low, its.high], [place + shift] * 2, color=colour, lw=1.5)
                axes.plot(its.value, place + shift, color=colour, marker="o", ms=4, ls="")
        axes.plot([], [], color=colour, marker="o", ms=4, label=label)
    axes.axvline(0.5, color="0.6", lw=0.8, zorder=0)
    axes.set_yticks(range(len(names)), [fitted(name, 2.6, MEDIUM) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("AUROC, with its 95% interval")
    figure.legend(loc="outside lower center", ncols=2)
    axes.set_title(fitted(f"Verification of {result.answers} answers (n = {len(result.right)})", 4.0, LARGE))
    return figure
