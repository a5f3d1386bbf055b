"""Lists of heads against scores, as points over their null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from lens_truth.plots.style import BLUE, GREEN, LARGE, MEDIUM, ORANGE, fitted, in_house_style, new_figure

if TYPE_CHECKING:
    from lens_truth.scoring.list_result import ListAgreement

_COLOURS = (BLUE, ORANGE, GREEN, "0.35")


@in_house_style
def agreement_dots(result: ListAgreement) -> Figure:
    """A row a list, a colour a score: AUROC inside layers with its interval; grey where shuffled heads lie."""
    names = [name for name, its in result.against.items() if its]
    scores = list(dict.fromkeys(score for its in result.against.values() for score in its))
    n = max(1, len(scores))
    figure = new_figure(6.2, 1.5 + max(0.34, 0.2 * n) * max(1, len(names)))
    axes = figure.subplots()
    for i, score in enumerate(scores):
        colour, shift = _COLOURS[i % len(_COLOURS)], (i - (n - 1) / 2) * 0.8 / n
        for place, name in enumerate(names):
            its = result.against[name].get(score)
            if its is None or np.isnan(its.auroc):
                continue
            at = place + shift
            axes.fill_betweenx([at - 0.3 / n, at + 0.3 / n], *its.null, color="0.88", lw=0, zorder=0)
            axes.plot(its.interval, [at, at], color=colour, lw=1.5)
            axes.plot(its.auroc, at, color=colour, marker="o", ms=4, ls="")
        axes.plot([], [], color=colour, marker="o", ms=4, label=fitted(f"{score} scores", 2.6, MEDIUM))
    axes.axvline(0.5, color="0.6", lw=0.8, zorder=0)
    axes.set_yticks(range(len(names)), [fitted(name, 2.2, MEDIUM) for name in names])
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("AUROC inside layers [95%]; grey: shuffled heads")
    if scores:
        figure.legend(loc="outside lower center", ncols=2)
    axes.set_title(fitted("Lists of heads against scores of all heads", 4.0, LARGE))
    return figure
