"""Figures of an ablation: gates beside vanilla and controls, TruthProbe's own comparison, the search for lambda."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lens_truth.ablation.limits import limit_of
from lens_truth.ablation.rows import ON, GateRow, finalists
from lens_truth.ablation.tables import gate_name
from lens_truth.data.surface import CONFOUNDED
from lens_truth.plots import style

if TYPE_CHECKING:
    from lens_truth.ablation.result import Ablation

_KINDS = {
    "vanilla": (style.ORANGE, "vanilla"),
    "probe": (style.BLUE, "truth scores"),
    "causal": (style.GREEN, "causal scores"),
    "learned": (style.PURPLE, "learned"),
    "random": (style.GREY, "random, 1 + U(-1, 1)"),
}
"""Colour and name of each kind of gate."""
_BAR, _GROUP = 0.2, 0.3  # inches: a bar of `random_gate_bars`, and what keeps groups of bars apart
_LOOKS = {
    "center": (style.BLUE, "o"),
    "minmax": (style.ORANGE, "s"),
    "none": (style.GREEN, "^"),
    "uniform": (style.GREY, "D"),
    "contrast 1": (style.GREY, "D"),
    "contrast 2": (style.GREY, "v"),
}
"""Colour and marker of each normalisation."""
_SHIFTS = ((style.PURPLE, "P"), (style.SKY, "X"), (style.ORANGE, "^"), (style.BLUE, "v"))
"""Of shifts of so many heads, in order."""


@style.in_house_style
def ablation_bars(
    rows: Sequence[GateRow], unwanted: Mapping[str, Sequence[str]] | None = None, warning: str = ""
) -> Figure:
    """Accuracy of every gate with its 95% interval: a line of panels a model, a panel a benchmark; vanilla dashed. In
    red over a panel what its benchmark cannot tell, and under all of them a warning; under a model's name gates that
    validation did not want."""
    models = {model: _benchmarks(rows, model) for model in dict.fromkeys(row.model for row in rows)}
    columns = max(map(len, models.values()))
    heights = [max(0.9, 0.3 + 0.2 * len({r.arm for r in rows if r.model == model})) for model in models]
    label = max(style.text_width(gate_name(*row.arm), style.SMALL) for row in rows)
    width = max(label + 0.8 + 1.75 * columns, 6.0)
    doubted = style.fitted(f"accuracy\n{warning}".rstrip(), width - 0.4, style.MEDIUM)
    figure = style.new_figure(width, 1.1 + 0.15 * doubted.count("\n") + sum(height + 0.6 for height in heights))
    grid = figure.subplots(len(heights), columns, sharex=True, sharey="row", squeeze=False, height_ratios=heights)
    for line, height, (model, benchmarks) in zip(grid, heights, models.items(), strict=True):
        for axes in line[len(benchmarks) :]:
            axes.set_visible(False)
        for axes, (benchmark, mine) in zip(line, benchmarks.items(), strict=False):
            across = [row.accuracy for row in mine]
            colours = [_bar_colour(row) for row in mine]
            axes.barh(range(len(mine)), across, color=colours, height=0.75)
            axes.errorbar(across, range(len(mine)), xerr=_whiskers(mine), fmt="none", ecolor=style.INK, elinewidth=0.8)
            axes.hlines(range(len(mine)), *_spread(mine), color=style.INK, alpha=0.3, lw=3.5)
            axes.axvline(mine[0].accuracy, color=style.RED, lw=1, ls="--")
            axes.set_yticks(range(len(mine)), [gate_name(*row.arm) for row in mine])
            axes.set_xlim(0, 1.02)
            axes.tick_params(labelbottom=True)
            doubt = _doubt(mine[0])
            title = f"{style.fitted(benchmark, 1.55, style.LARGE)}\n(n = {mine[0].n})"
            axes.set_title(f"{title}\n{doubt}" if doubt else title, color=style.RED if doubt else style.INK)
        line[0].invert_yaxis()
        line[0].set_ylabel(style.fitted(model, height, style.MEDIUM), fontsize=style.MEDIUM, fontweight="bold")
        if its := (unwanted or {}).get(model):
            said = f"validation wanted no gate: {', '.join(its)}"
            line[0].set_xlabel(style.fitted(said, 1.6 * len(benchmarks), style.SMALL), fontsize=style.SMALL)
    figure.supxlabel(doubted, color=style.RED if warning else style.INK)
    said = {"vanilla": style.ORANGE, "gates by scores": style.BLUE, "controls": style.GREY}
    dashed = Line2D([], [], color=style.RED, ls="--", lw=1, label="as vanilla")
    patches = [Patch(color=colour, label=label) for label, colour in said.items()]
    style.legend(figure, [*patches, dashed, *_error_handles(rows)])
    return figure


@style.in_house_style
def random_gate_bars(rows: Sequence[GateRow]) -> Figure:
    """Vanilla, the gates by scores and the random gate 1 + U(-1, 1), side by side for every benchmark (TruthProbe,
    Fig. 5); a panel a model, every bar with its number."""
    rows = [row for row in rows if not row.of]
    models = {model: _benchmarks(rows, model) for model in dict.fromkeys(row.model for row in rows)}
    gates = list(dict.fromkeys(row.gate for row in rows))
    group = _BAR * len(gates) + _GROUP
    width = 0.8 + max(group * max(map(len, models.values())), 5.0)
    figure = style.new_figure(width, 0.8 + 2.3 * len(models))
    grid = figure.subplots(len(models), 1, squeeze=False).flat
    over_bar: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom", "rotation": 90}
    over_bar["fontsize"] = style.SMALL
    for axes, (model, benchmarks) in zip(grid, models.items(), strict=True):
        for at, mine in enumerate(benchmarks.values()):
            x = at + (np.arange(len(mine)) - (len(mine) - 1) / 2) * _BAR / group
            looks = {name: [_look(row.gate)[name] for row in mine] for name in ("facecolor", "hatch")}
            up = [row.accuracy for row in mine]
            axes.bar(x, up, 0.9 * _BAR / group, edgecolor="white", linewidth=0, **looks)
            axes.errorbar(x, up, yerr=_whiskers(mine), fmt="none", ecolor=style.INK, elinewidth=0.8)
            axes.vlines(x, *_spread(mine), color=style.INK, alpha=0.3, lw=3.5)
            for one, row in zip(x, mine, strict=True):
                top = max(row.ci_high, _spread([row])[1][0])
                axes.annotate(f"{row.accuracy:.3f}".removeprefix("0"), (one, top), (0, 3), **over_bar)
        names = [f"{style.fitted(b, group - 0.1, style.MEDIUM)}\n(n = {mine[0].n})" for b, mine in benchmarks.items()]
        axes.set_xticks(range(len(names)), names, fontsize=style.MEDIUM)
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.5, max(map(len, models.values())) - 0.5)
        axes.set_ylim(0, 1.3)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.spines["left"].set_bounds(0, 1)
        axes.set_ylabel("accuracy")
        axes.set_title(style.fitted(model, width - 1, style.LARGE), loc="left")
    handles = [Patch(edgecolor="white", **_look(gate)) for gate in gates]
    style.legend(figure, [*handles, *_error_handles(rows)])
    return figure


@style.in_house_style
def lambda_curves(ablation: Ablation) -> Figure:
    """A line of panels a model, a panel a gate; every curve begins at the vanilla model. Hollow: candidates that others
    ranked before, at the share of the probability by which they were ranked."""
    columns, ranked = max(map(len, ablation.search.values())), False
    every = [c for its in ablation.search.values() for candidates in its.values() for c in candidates]
    looks = _looks([c.norm for c in every])
    furthest = max([1.0, *(1.2 * c.strength for c in every if c.norm.startswith(ON))])
    width = 1.0 + 2.2 * max(2, columns)  # room for the legend
    figure = style.new_figure(width, 1.1 + 2.1 * len(ablation.search))
    grid = figure.subplots(len(ablation.search), columns, squeeze=False, sharex=True, sharey="row")
    for line, (model, searched) in zip(grid, ablation.search.items(), strict=True):
        vanilla = ablation.vanilla_objective(model)
        full = {gate: finalists(its) for gate, its in searched.items() if its}
        for axes in line[len(searched) :]:
            axes.set_visible(False)
        for axes, (gate, candidates) in zip(line, searched.items(), strict=False):
            for norm in dict.fromkeys(candidate.norm for candidate in candidates):
                curve = [c for c in full[gate] if c.norm == norm]
                x, y = [0.0, *(c.strength for c in curve)], [vanilla, *(c.objective for c in curve)]
                colour, marker = looks[norm]
                axes.plot(x, y, color=colour, marker=marker, ms=3.5, lw=1.2)
                others = [c for c in candidates if c.norm == norm and c not in curve]
                ranked |= bool(others)
                x, y = [c.strength for c in others], [c.objective if c.share is None else c.share for c in others]
                axes.plot(x, y, color=colour, marker=marker, ms=3.5, mfc="white", ls="")
            axes.axhline(vanilla, color=style.RED, lw=0.8, ls="--")
            chosen = "no gate wanted"
            if (best := ablation.chosen(gate, model)) is not None:
                axes.plot(best.strength, best.objective, marker="*", ms=11, color=style.RED, ls="")
                chosen = f"λ = {best.lam:.3g}{'' if best.norm == 'uniform' else f', {best.norm}'}"
                chosen = best.setting if best.norm.startswith(ON) else chosen
            axes.set_title(style.fitted(f"{gate}: {chosen}", 2.0, style.LARGE))
            axes.set_xscale("symlog", linthresh=0.01, linscale=0.3)
            axes.set_xticks([0, 0.01, 0.1, 1], ["0", ".01", ".1", "1"])
            axes.set_xlim(0, furthest)
            axes.tick_params(labelbottom=True)
        line[0].set_ylabel(style.fitted(model, 1.8, style.MEDIUM), fontsize=style.MEDIUM, fontweight="bold")
    handles = [Line2D([], [], color=c, marker=marker, ms=3.5, label=norm) for norm, (c, marker) in looks.items()]
    if ranked:
        said = "ranked by choice only"
        handles.append(Line2D([], [], color=style.INK, marker="o", mfc="white", ls="", ms=3.5, label=said))
    handles.append(Line2D([], [], color=style.RED, marker="*", ls="", ms=9, label="chosen"))
    handles.append(Line2D([], [], color=style.RED, ls="--", lw=0.8, label="vanilla"))
    style.legend(figure, handles)
    shifts = any(norm.startswith(ON) for norm in looks)
    said = "distance of the gate from 1" + (", length of a shift in standard deviations" if shifts else "")
    figure.supxlabel(f"{said} (root mean square over heads)")
    figure.supylabel("accuracy on validation, mean over benchmarks")
    return figure


def _looks(norms: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each normalisation; of shifts by how many heads they are on."""
    shifts = [norm for norm in dict.fromkeys(norms) if norm.startswith(ON)]
    return {norm: _SHIFTS[shifts.index(norm) % len(_SHIFTS)] if norm in shifts else _LOOKS[norm] for norm in norms}


def _bar_colour(row: GateRow) -> str:
    return style.ORANGE if row.gate == "vanilla" else style.BLUE if row.by_scores else style.GREY


def _doubt(vanilla: GateRow) -> str:
    """Why a panel cannot be taken at face value, in few words; empty where it can."""
    if limit := limit_of(vanilla):
        return f"vanilla at its {limit}"
    confounded = vanilla.shorter is not None and abs(vanilla.shorter - vanilla.chance) > CONFOUNDED
    return "length alone tells" if confounded else ""


def _benchmarks(rows: Sequence[GateRow], model: str) -> dict[str, list[GateRow]]:
    mine = [row for row in rows if row.model == model]
    return {name: [row for row in mine if row.benchmark == name] for name in dict.fromkeys(r.benchmark for r in mine)}


def _look(gate: str) -> dict[str, Any]:
    """Its colour by kind, hatched if by a model's own scores, and its name in a legend."""
    kind = gate.removeprefix("own ")
    colour, said = _KINDS.get(kind, (style.SKY, kind))
    return {"facecolor": colour, "hatch": "////" if kind != gate else "", "label": gate.removesuffix(kind) + said}


def _whiskers(rows: Sequence[GateRow]) -> Float[np.ndarray, "2 n"]:
    """Below and above the accuracy, to the ends of its interval."""
    return np.maximum(0, np.array([(row.accuracy - row.ci_low, row.ci_high - row.accuracy) for row in rows]).T)


def _spread(rows: Sequence[GateRow]) -> Float[np.ndarray, "2 n"]:
    """A standard deviation over draws to both sides of the accuracy."""
    means, stds = np.array([(row.accuracy, row.accuracy_std) for row in rows]).T
    return np.clip([means - stds, means + stds], 0, 1)


def _error_handles(rows: Sequence[GateRow]) -> list[Line2D]:
    handles = [Line2D([], [], color=style.INK, lw=0.8, label="95% interval over groups of questions")]
    if any(row.trials > 1 for row in rows):
        handles.append(Line2D([], [], color=style.INK, alpha=0.3, lw=3.5, label="± standard deviation over draws"))
    return handles
