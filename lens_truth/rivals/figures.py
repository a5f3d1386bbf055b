"""Rivals as a figure: a line each, gain beside side effects beside cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from lens_truth.plots import style
from lens_truth.rivals.rows import KINDS, VANILLA, Kind

if TYPE_CHECKING:
    from lens_truth.rivals.result import RivalComparison

_COLOURS: Mapping[Kind, str] = {
    "words": style.GREY,
    "decoding": style.ORANGE,
    "gain": style.INK,
    "heads": style.BLUE,
    "dynamic": style.GREEN,
    "both": style.PURPLE,
}


@style.in_house_style
def rival_lines(found: RivalComparison) -> Figure:
    """Gain with its 95% interval (filled where significant after Holm), change elsewhere, share of tokens changed in
    the first neutral text, cost. Rivals that validation wanted off stand below, without points."""
    names = [*found.tested, *found.unwanted]
    text = next((text for its in found.texts.values() for text in its), "")
    panels = ["gain", *(["elsewhere"] if found.elsewhere else []), *(["text"] if text else [])]
    panels += ["time"] if found.costs else []
    label = min(2.4, max(style.text_width(name, style.MEDIUM) for name in names))
    figure = style.new_figure(label + 0.6 + 1.9 * len(panels), 1.5 + 0.25 * len(names))
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        axes.axvline(1 if panel == "time" else 0, color="0.6", lw=0.8, zorder=0)
        for place, name in enumerate(names):
            if (its := _point(found, panel, name, text)) is not None:
                value, low, high, filled = its
                colour = _COLOURS[found.kinds[name]]
                axes.plot([low, high], [place] * 2, color=colour, lw=1.5)
                axes.plot(value, place, marker="o", ms=5, ls="", color=colour, mfc=colour if filled else "white")
        axes.set_title(style.fitted(_title(found, panel, text), 1.8, style.MEDIUM), fontsize=style.MEDIUM)
    if "time" in panels:
        _logarithmic(grid[-1], max(its.high for its in found.costs.values()))
    grid[0].set_yticks(range(len(names)), [style.fitted(_label(found, name), label, style.MEDIUM) for name in names])
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    kinds: list[Kind] = [kind for kind in KINDS if kind in found.kinds.values()]
    handles: list[Any] = [
        Line2D([], [], color=_COLOURS[kind], marker="o", ms=5, lw=1.5, label=KINDS[kind]) for kind in kinds
    ]
    handles.append(Line2D([], [], color=style.INK, marker="o", ms=5, ls="", mfc="white", label="p of .05 or more"))
    style.legend(figure, handles)
    figure.supylabel(style.fitted(found.model, 0.4 + 0.25 * len(names), style.MEDIUM), fontsize=style.MEDIUM)
    return figure


def _label(found: RivalComparison, name: str) -> str:
    return name if name in found.tested else f"{name} (off)"


def _title(found: RivalComparison, panel: str, text: str) -> str:
    counts = found.row(VANILLA)
    return {
        "gain": f"gain on {found.headline}\n(n = {counts.n}; {counts.accuracy:.3f} as it is)",
        "elsewhere": "change on all other\nbenchmarks",
        "text": f"next tokens changed\nin the text {text}",
        "time": "time of writing,\nover the model as it is",
    }[panel]


def _point(found: RivalComparison, panel: str, name: str, text: str) -> tuple[float, float, float, bool] | None:
    """Value, interval, and whether the point is filled."""
    if panel == "time":
        cost = found.costs.get(name)
        return None if cost is None else (cost.ratio, cost.low, cost.high, True)
    if name not in found.tested:
        return None
    if panel == "gain":
        its = found.row(name).against[VANILLA]
        return its.difference, its.ci_low, its.ci_high, found.p_holm[name] < 0.05
    if panel == "elsewhere":
        change = found.elsewhere[name]
        return change.difference, change.ci_low, change.ci_high, not change.ci_low <= 0 <= change.ci_high
    effect = found.texts.get(name, {}).get(text)
    return None if effect is None else (effect.changed, *effect.changed_ci, True)


def _logarithmic(axes: Any, most: float) -> None:
    axes.set_xscale("log", base=2)
    ticks = [its for its in (0.5, 1, 2, 4, 8, 16, 32) if its <= 1.2 * most or its <= 2]
    axes.set_xticks(ticks, [f"{its:g}" for its in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
