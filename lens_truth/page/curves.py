"""The search for lambda: validation accuracy against the size of the gate (`ablate`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lens_truth.io.numbers import number, short
from lens_truth.page.blocks import Block, Chart, Heading, Line, Side, Text, Tick
from lens_truth.page.fields import Fields
from lens_truth.page.reading import RunRecord

WIDTH, HEIGHT = 300, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 38
"""Of the area between the axes to the edges of the chart, in pixels."""

_STYLES = {"center": 0, "minmax": 1, "none": 2, "uniform": 3}


@dataclass(frozen=True)
class _Candidate:
    lam: float
    norm: str
    strength: float
    objective: float


def curve_blocks(run: RunRecord) -> list[Block]:
    """A chart for each gate by scores, and for the tuned gain."""
    blocks: list[Block] = []
    for model, gates in run.results["search"].members().items():
        vanilla = gates["vanilla"].members()
        if not vanilla:
            raise gates["vanilla"].wrong("names no benchmark")
        level = sum(accuracy.number() for accuracy in vanilla.values()) / len(vanilla)
        found = {
            gate: [_candidate(its) for its in candidates]
            for gate, candidates in gates.members().items()
            if gate != "vanilla"
        }
        charts = [_chart(gate, candidates, level) for gate, candidates in found.items() if candidates]
        blocks += [Heading(f"Choosing λ for {model}", 3, f"run {run.name}"), Side(tuple(charts))]
    if not blocks:
        return [Text(f"missing: run {run.name} searched for nothing", missing=True)]
    explained = (
        "Accuracy on validation questions, mean over benchmarks, against how far gates are from 1 (root mean square "
        "over heads). The dashed line is the vanilla model; the star is what was chosen."
    )
    return [Text(explained), *blocks]


def _candidate(fields: Fields) -> _Candidate:
    numbers = (fields[name].number() for name in ("strength", "objective"))
    return _Candidate(fields["lam"].number(), fields["norm"].text(), *numbers)


def _chart(gate: str, candidates: Sequence[_Candidate], level: float) -> Chart:
    best = max(candidates, key=lambda its: (its.objective, -its.strength))  # as the search chooses
    heights = [level, *(its.objective for its in candidates)]
    y_ticks = ticks(min(heights), max(heights), 4)
    x_ticks = ticks(0, max(its.strength for its in candidates), 4)

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * value / x_ticks[-1], 1)

    def y(value: float) -> float:
        low, high = y_ticks[0], y_ticks[-1]
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / (high - low), 1)

    lines: list[Line] = []
    for norm in dict.fromkeys(its.norm for its in candidates):
        points = [(x(0), y(level), f"no gate: {number(level)}")]
        points += [
            (x(its.strength), y(its.objective), f"λ = {short(its.lam)}, {norm}: {number(its.objective)}")
            for its in candidates
            if its.norm == norm
        ]
        lines.append(Line(norm, _STYLES.get(norm, 3), tuple(points)))
    chosen = f"λ = {short(best.lam)}, {best.norm}: {number(best.objective)} against {number(level)} without a gate"
    return Chart(
        caption=f"{gate}: λ = {short(best.lam)}, {best.norm}",
        said=f"Chosen {chosen}.",
        x_label="distance of the gate from 1",
        y_label="validation accuracy",
        x_ticks=tuple(Tick(x(at), short(at)) for at in x_ticks),
        y_ticks=tuple(Tick(y(at), short(at)) for at in y_ticks),
        lines=tuple(lines),
        level=y(level),
        chosen=(x(best.strength), y(best.objective)),
    )


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from below `low` to above `high`, at least two."""
    span = max(high - low, 1e-9 * max(abs(high), abs(low), 1), 1e-12)
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [round(i * step, 12) for i in range(first, last + 1)]
