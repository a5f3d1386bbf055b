"""A benchmark's result as a figure: points with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lens_truth.plots.style import BLUE, GREY, LARGE, MEDIUM, ORANGE, fitted, in_house_style, new_figure

if TYPE_CHECKING:
    from lens_truth.evaluate.consistent import ReplyConsistency
    from lens_truth.evaluate.result import BenchmarkResult


@in_house_style
def benchmark_dots(result: BenchmarkResult) -> Figure:
    """Accuracy by split and by way to read the answers, of captions CHAIR's shares, with 95% intervals over groups."""
    points: dict[str, tuple[float, tuple[float, float]]] = {}
    if result.chair is not None:
        measures = result.chair.intervals(result.seed).items()
        points = {name: (getattr(result.chair, name), ends) for name, ends in measures if name != "length"}
    else:
        for split, its in (result.by_split or {"": result}).items():
            if its.is_yes_no:
                for parse, m in its.by_parse.items():
                    points[", ".join(filter(None, (split, parse)))] = m.accuracy, its.interval_of(parse)
            else:
                points[split] = its.accuracy, its.accuracy_interval
    figure = new_figure(4.8, 1.1 + 0.28 * len(points))
    axes = figure.subplots()
    for place, (value, (low, high)) in enumerate(points.values()):
        axes.plot([low, high], [place, place], color=BLUE, lw=1.5)
        axes.plot(value, place, color=BLUE, marker="o", ms=5, ls="")
    axes.set_yticks(range(len(points)), [fitted(name, 1.6, MEDIUM) for name in points])
    axes.set_ylim(len(points) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share, with its 95% interval" if result.chair is not None else "accuracy, with its 95% interval")
    axes.set_title(fitted(f"{result.name} (n = {len(result.texts)})", 3.0, LARGE))
    return figure


@in_house_style
def consistency_bars(consistency: ReplyConsistency) -> Figure:
    """How many questions have 0, 1, ... right samples; the two ends are kept."""
    counts = consistency.by_right
    figure = new_figure(4.2, 2.6)
    axes = figure.subplots()
    colours = [ORANGE if not k else BLUE if k == len(counts) - 1 else GREY for k in range(len(counts))]
    axes.bar(range(len(counts)), counts, color=colours, width=0.8)
    axes.set_xlim(-0.6, len(counts) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(f"right ones among {len(counts) - 1} samples")
    axes.set_ylabel("questions")
    axes.set_title(f"{consistency.questions} questions; the ends are kept")
    return figure
