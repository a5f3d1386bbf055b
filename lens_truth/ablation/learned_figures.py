"""Figures of learned gates: ways to learn, questions and heads that it takes, roles of heads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lens_truth.ablation.frontier_result import LEARNED
from lens_truth.plots import style

if TYPE_CHECKING:
    from lens_truth.ablation.frontier_result import Frontier, Point
    from lens_truth.ablation.held_out import HeldOut
    from lens_truth.ablation.learned_result import LearnedGates
    from lens_truth.ablation.roles_result import RoleCheck

_SHADE = "#DDDDDD"
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY)
_MARGIN = "added to the margin (nats)"


@style.in_house_style
def learned_figure(result: LearnedGates) -> Figure:
    """What each gate adds to the margin, over its shuffled twins; then against questions fitted, with the agreement of
    fits."""
    lines = [(name, its.held, its.permuted) for name, its in result.ways.items()]
    for child, its in result.children.items():
        lines += [(f"{child}: base's", its.given, its.permuted), (f"{child}: own", its.own, ())]
    names = [style.fitted(name, 2.0, style.SMALL) for name, *_ in lines]
    rows = sum(1 + name.count("\n") for name in names)
    n_panels = 3 if result.curve else 1
    figure = style.new_figure(3.6 + 2.3 * (n_panels - 1), max(2.8, 1.5 + 0.3 * rows))
    panels = list(np.atleast_1d(figure.subplots(1, n_panels)).flat)
    axes = panels[0]
    for at, (_, held, permuted) in enumerate(lines):
        if permuted:
            axes.barh([at], [max(permuted) - min(permuted)], left=[min(permuted)], height=0.5, color=_SHADE)
        axes.plot(held.gain_ci, [at, at], color=style.BLUE, lw=1.2)
        axes.plot([held.gain], [at], "o", ms=4, color=style.BLUE)
    axes.axvline(0, color=style.GREY, lw=0.7, ls="--")
    axes.set_yticks(range(len(lines)), names)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel(_MARGIN)
    if result.curve:
        _curve(panels[1], [its.n for its in result.curve], [its.held for its in result.curve], style.BLUE)
        panels[1].set_ylim(min(0, panels[1].get_ylim()[0]), max(0, panels[1].get_ylim()[1]))
        panels[1].axhline(0, color=style.GREY, lw=0.7, ls="--")
        panels[1].set_xlabel("questions")
        panels[1].set_ylabel(_MARGIN)
        points = [its for its in result.curve if its.agreement is not None]
        for its in points:
            assert its.agreement is not None
            panels[2].plot([its.n, its.n], its.agreement.interval_within_layer, color=style.BLUE, lw=1.2)
        shown = [its.agreement.pearson_within_layer for its in points if its.agreement is not None]
        panels[2].plot([its.n for its in points], shown, "o-", ms=4, color=style.BLUE)
        panels[2].axhline(0, color=style.GREY, lw=0.7, ls="--")
        panels[2].set_xlabel("questions")
        panels[2].set_ylabel("r of two fits, inside layers")
        for one in panels[1:]:
            _doubling(one, [its.n for its in result.curve])
    keys = [
        Line2D([], [], color=style.BLUE, marker="o", ms=4, label="held-out questions, 95%"),
        Patch(color=_SHADE, label="the same gates shuffled inside layers"),
    ]
    style.legend(figure, keys)
    figure.supxlabel(style.fitted(f"learned gates, {result.model}", figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


@style.in_house_style
def frontier_figure(result: Frontier) -> Figure:
    """Margin and accuracy against heads touched, an order a line; random orders in grey."""
    figure = style.new_figure(7.4, 3.4)
    left, right = figure.subplots(1, 2)
    sizes = [its.n for its in next(iter(result.orders.values()))]
    for points in result.random:
        left.plot(sizes, [its.held.gain for its in points], color=style.GREY, lw=0.8)
        right.plot(sizes, [its.held.accuracy for its in points], color=style.GREY, lw=0.8)
    keys = list[Line2D]()
    for (name, points), colour in zip(result.by_scores.items(), cycle(_COLOURS), strict=False):
        _curve(left, sizes, [its.held for its in points], colour)
        right.plot(sizes, _accuracies(points), "o-", ms=3.5, lw=1.2, color=colour)
        label = "learned, its own values" if name == LEARNED else f"{name}, one gain"
        keys.append(Line2D([], [], color=colour, marker="o", ms=3.5, label=style.fitted(label, 3.0, style.SMALL)))
    keys.append(Line2D([], [], color=style.GREY, lw=0.8, label="random, one gain"))
    left.axhline(0, color=style.GREY, lw=0.7, ls="--")
    right.axhline(result.accuracy, color=style.GREY, lw=0.7, ls="--")
    left.set_ylabel(_MARGIN)
    right.set_ylabel("accuracy")
    for axes in (left, right):
        axes.set_xlabel("heads touched")
        _doubling(axes, sizes)
    style.legend(figure, keys)
    title = f"few heads, {result.model}: {result.n_questions} held-out questions"
    figure.supxlabel(style.fitted(title, figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


@style.in_house_style
def roles_figure(result: RoleCheck) -> Figure:
    """G+ and G- of every head; log-probability of the supported answer with heads removed, beside random heads."""
    L = len(result.kept)
    figure = style.new_figure(9.0, max(3.0, 1.4 + 0.1 * L))
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    drawn: list[Any] = []
    for axes, values, title in zip(
        panels, (result.kept, result.held), ("drawn to 1 (G+)", "drawn to 0 (G-)"), strict=False
    ):
        drawn.append(style.cells(axes, values, vmin=0, vmax=1, cmap="viridis"))
        axes.set_title(title)
        axes.set_xlabel("head")
    panels[0].set_ylabel("layer")
    style.colour_bar(figure, drawn[0], list(panels[:2]), "gate")
    axes, names = panels[2], ["all heads", *result.removals]
    for at, its in enumerate(result.removals.values(), start=1):
        axes.plot([one[0] for one in its.random], [at] * len(its.random), "|", ms=9, color=style.GREY)
        axes.plot([its.log_prob], [at], "o", ms=5, color=style.BLUE)
    axes.plot([result.log_prob], [0], "o", ms=5, color=style.BLUE)
    axes.axvline(result.log_prob, color=style.GREY, lw=0.7, ls="--")
    axes.set_yticks(range(len(names)), [style.fitted(name, 1.0, style.SMALL) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("log p of the supported answer (nats a token)")
    keys = [
        Line2D([], [], color=style.BLUE, marker="o", ms=5, lw=0, label="the heads of the role"),
        Line2D([], [], color=style.GREY, marker="|", ms=9, lw=0, label="as many random heads of the same layers"),
    ]
    style.legend(figure, keys)
    title = f"roles of heads, {result.model}: {', '.join(f'{n} {role}' for role, n in result.counts.items())}"
    figure.supxlabel(style.fitted(title, figure.get_figwidth() - 0.4, style.MEDIUM))
    return figure


def _curve(axes: Axes, across: Sequence[int], held: Sequence[HeldOut], colour: str) -> None:
    """Margins with their intervals."""
    low, high = zip(*(its.gain_ci for its in held), strict=True)
    axes.fill_between(across, low, high, color=colour, alpha=0.15, lw=0)
    axes.plot(across, [its.gain for its in held], "o-", ms=3.5, lw=1.2, color=colour)


def _accuracies(points: Sequence[Point]) -> list[float]:
    return [its.held.accuracy for its in points]


def _doubling(axes: Axes, ticks: Sequence[int]) -> None:
    """1, 2, 4, ... as far apart as each other; the one before the last has no label if both are close."""
    axes.set_xscale("log", base=2)
    close = len(ticks) > 1 and ticks[-1] < 1.5 * ticks[-2]
    shown = [its for its in ticks if its != ticks[-2]] if close else list(ticks)
    axes.set_xticks(shown, [str(its) for its in shown])
    axes.minorticks_off()
