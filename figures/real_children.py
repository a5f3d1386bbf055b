"""Which scores SmolLM2's children share with it and with each other: `python figures/real_children.py RUN FILE.png`.

RUN is the folder of a `lens-truth inherit` run on truth and causal scores of a base, which comes first, its children,
and some of these at a share of their strength, in percent behind their name (`reader25=...`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lens_truth
from lens_truth import Heritability
from lens_truth.io.numbers import SIGNIFICANT
from lens_truth.lineage.figures import correlation_cells
from lens_truth.plots import style

KINDS = {"truth": "-", "causal": "--"}
COLOURS = (style.ORANGE, style.BLUE, style.GREEN, style.INK)


@style.in_house_style
def real_children(run: Path) -> Figure:
    """Correlations inside layers: of every two models, and of the base with each child on the way there."""
    found = {kind: lens_truth.Heritability.load(run, kind) for kind in KINDS}
    names = found["truth"].names
    shares = {name: _shares(name, names) for name in names}
    parts = {part for its in shares.values() for share, part in its.items() if share < 100}
    whole = [name for name in names if name not in parts]
    figure = style.new_figure(11.4, 3.9)
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    for axes, kind in zip(panels, KINDS, strict=False):
        _matrix(axes, found[kind], whole, f"{kind} scores")
    panels[1].set_yticks([])
    style.colour_bar(figure, panels[1].collections[0], panels[:2], "r inside layers")
    _on_the_way(panels[2], found, {name: shares[name] for name in whole if len(shares[name]) > 1})
    return figure


def _shares(child: str, names: Sequence[str]) -> dict[int, str]:
    """A model at its shares of strength, by percent."""
    behind = {name: name.removeprefix(child) for name in names if name.startswith(child)}
    return {**{int(end): name for name, end in behind.items() if end.isdigit()}, 100: child}


def _matrix(axes: Axes, its: Heritability, names: list[str], title: str) -> None:
    at = [its.names.index(name) for name in names]
    r = its.correlations.pearson_within_layer[np.ix_(at, at)]
    correlation_cells(axes, r, its.p_permutation[np.ix_(at, at)] < SIGNIFICANT)
    axes.set_xticks(range(len(at)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(at)), names)
    axes.set_ylim(len(at) - 0.5, -0.5)
    axes.set_title(title)


def _on_the_way(axes: Axes, found: dict[str, Heritability], shares: dict[str, dict[int, str]]) -> None:
    """At no strength the child is the base, whose scores are its own."""
    last = [*shares][-1:]
    for kind, dashes in KINDS.items():
        its = found[kind]
        for (child, parts), colour in zip(shares.items(), cycle(COLOURS), strict=False):
            x = sorted(parts)
            r = [its.correlations.pearson_within_layer[0, its.names.index(parts[percent])] for percent in x]
            axes.plot([0, *x], [1, *r], dashes, marker="o", color=colour, label=child if kind == "truth" else None)
            axes.text(100, r[-1] + 0.1, f"{kind} scores" if child in last else "", ha="right", fontsize=style.SMALL)
    axes.axhline(0, color=style.INK, lw=0.6)
    axes.set_xlabel("strength of the adapter, percent")
    axes.set_ylabel(f"r inside layers with {found['truth'].names[0]}")
    axes.set_ylim(-0.1, 1.04)
    axes.legend(fontsize=style.SMALL, frameon=False, loc="lower left", bbox_to_anchor=(0.4, 0.52))
    axes.set_title("on the way from the base to the child")


if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    style.save(real_children(folder), out)
