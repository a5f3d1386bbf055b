"""What helps in several models: `python figures/rivals.py FILE.png RUN...`, of `lens-truth compare` runs.

A panel a run, a line a rival: its gain on the benchmark that counts, and beside it the change on the others."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import lens_truth
from lens_truth import RivalComparison
from lens_truth.plots import style

_BESIDE = 0.28
"""How far below the gain the change elsewhere stands."""


@style.in_house_style
def rivals(runs: list[Path]) -> Figure:
    """Rivals in the order of the first run that has them; those that validation wanted off are named as such."""
    found = [lens_truth.RivalComparison.load(run) for run in runs]
    names = list(dict.fromkeys(name for its in found for name in its.search))
    figure = style.new_figure(2.2 + 2.3 * len(found), 1.6 + 0.27 * len(names))
    panels = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    for axes, its in zip(panels, found, strict=True):
        _panel(axes, its, names)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    style.legend(
        figure,
        [
            Line2D([], [], color=style.BLUE, marker="o", ms=5, lw=1.5, label="gain, p < .05 (Holm)"),
            Line2D([], [], color=style.BLUE, marker="o", ms=5, lw=1.5, mfc="white", label="gain, no effect told"),
            Line2D([], [], color=style.GREY, marker="|", ms=5, lw=1, label="change on all other benchmarks"),
        ],
    )
    return figure


def _panel(axes: Axes, found: RivalComparison, names: list[str]) -> None:
    bare = found.row("vanilla")
    axes.axvline(0, color="0.6", lw=0.8, zorder=0)
    for place, name in enumerate(names):
        if name not in found.tested:
            told = "off" if name in found.search else "does not fit" if name in found.left_out else "not asked"
            axes.text(0, place, f" {told}", color=style.GREY, fontsize=style.SMALL, va="center")
            continue
        gain, solid = found.row(name).against["vanilla"], found.p_holm[name] < 0.05
        axes.plot([gain.ci_low, gain.ci_high], [place] * 2, color=style.BLUE, lw=1.5)
        axes.plot(gain.difference, place, "o", ms=5, color=style.BLUE, mfc=style.BLUE if solid else "white")
        if (other := found.elsewhere.get(name)) is not None:
            axes.plot([other.ci_low, other.ci_high], [place + _BESIDE] * 2, color=style.GREY, lw=1)
            axes.plot(other.difference, place + _BESIDE, "|", ms=5, color=style.GREY)
    as_it_is = f"{bare.accuracy:.3f} as it is (n = {bare.n})"
    axes.set_title(f"{found.model}\n{found.headline}\n{as_it_is}", fontsize=style.MEDIUM)


if __name__ == "__main__":
    out, *folders = map(Path, sys.argv[1:])
    style.save(rivals(folders), out)
