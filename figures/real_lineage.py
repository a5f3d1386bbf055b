"""Which scores of a base its children inherit, head by head: `python figures/real_lineage.py RUN ... FILE.png`, RUN
being the folder of a `lens-truth inherit` run on truth and causal scores; a row a child."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lens_truth
from lens_truth.io.runs import read_record
from lens_truth.plots.style import MEDIUM, colour_bar, in_house_style, new_figure, save

KINDS = {"truth": "truth score", "causal": "causal score, d(margin)/d(gate)"}


@in_house_style
def real_lineage(runs: list[Path]) -> Figure:
    """A dot a head, coloured by its layer: the base's score across, the child's up."""
    figure = new_figure(8.6, 0.3 + 3.7 * len(runs))
    rows = figure.subplots(len(runs), len(KINDS), squeeze=False)
    for run, row in zip(runs, rows, strict=True):
        for axes, kind in zip(row, KINDS, strict=True):
            _panel(axes, run, kind)
    colour_bar(figure, rows[0, 0].collections[0], list(rows.ravel()), "layer")
    return figure


def _panel(axes: Axes, run: Path, kind: str) -> None:
    found = lens_truth.Heritability.load(run, kind)
    base, child = found.names
    drawn = read_record(run).results["head_scores"]
    maps = [lens_truth.HeadScores.from_dict(drawn[f"{kind} scores of {name}"]) for name in (base, child)]
    x, y = (its.values for its in maps)
    layers = [layer for layer in range(found.shape[0]) for _ in range(found.shape[1])]
    axes.scatter(x.ravel(), y.ravel(), c=layers, s=12, cmap="viridis", alpha=0.8)
    ends = min(x.min(), y.min()), max(x.max(), y.max())
    axes.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel(f"{KINDS[kind]} in {base}")
    axes.set_ylabel(f"in {child}")
    its = found.correlations
    low, high = its.null_within_layer[0, 1]
    said = f"{kind}: r {its.pearson[0, 1]:.2f}, inside layers {its.pearson_within_layer[0, 1]:.2f}"
    axes.set_title(f"{said}\n(shuffled heads {low:.2f} to {high:.2f})", fontsize=MEDIUM)


if __name__ == "__main__":
    *folders, out = map(Path, sys.argv[1:])
    save(real_lineage(folders), out)
