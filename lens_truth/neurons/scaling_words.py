"""What is said of scaled neurons, and how its numbers are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lens_truth.io.numbers import count, number, p_value, short
from lens_truth.stats.dose import POINTS, AgainstControls, Interval

if TYPE_CHECKING:
    from lens_truth.neurons.scaling_result import MeasureFound


def verdicts_of(name: str, its: MeasureFound) -> list[str]:
    """What was found in one measure."""
    curve = its.curves["goes along"]
    found, last = curve.response, curve.response.changes[-1]
    does = "rises" if found.slope.value > 0 else "falls"
    does = f"{does} with alpha" if found.slope.clear else "does not change with alpha beyond chance"
    told = f"{name}: going along {does}: {plus_minus(found.slope.value, 2)} {ends_of(found.slope, 2)} points per unit, "
    told += f"{points(last.change.value, POINTS)} {ends_of(last.change, 1)} from alpha {last.start:g} to {last.end:g} "
    told += f"({last.gained} gained, {last.lost} lost, p = {p_value(last.p_value)}; {count(found.n, 'question')})."
    if not curve.against:
        told += " No control to hold it against."
    sentences = [" ".join([told, *(_beside(kind, beside) for kind, beside in curve.against.items())])]
    if its.control:
        said, truth = (its.curves[reading].response.slope for reading in ("said", "truth"))
        sentences.append(
            f"{name}: per unit of alpha what is said pulls {_more(said)} and the truth {_more(truth)}; "
            f"{_meaning(said, truth)}."
        )
    else:
        sentences.append(
            f"{name}: has no control in which the truth is said, so going along is not told from knowing less or "
            "from naming what was named."
        )
    return sentences


def _beside(kind: str, its: AgainstControls) -> str:
    if np.isnan(its.expected).any():
        return f"One {kind} set has a slope of {plus_minus(its.slopes[0], 2)}; one alone says nothing of their spread."
    least = ", the least that so few can give" if its.p_value == its.least_p else ""
    where = "beyond" if its.beyond else "not beyond"
    return (
        f"{len(its.slopes)} {kind} sets: {where} what is expected of one more, {span(its.expected, 2)} "
        f"(p = {p_value(its.p_value)} by its place among them{least})."
    )


def _more(slope: Interval) -> str:
    return f"{plus_minus(slope.value, 2)} {ends_of(slope, 2)} nats"


def _meaning(said: Interval, truth: Interval) -> str:
    """What moves the choice, in words."""
    parts: list[str] = []
    if said.clear:
        parts.append(f"whatever is said or named, true or false, counts {'more' if said.value > 0 else 'less'}")
    if truth.clear:
        parts.append(f"what the model knows counts {'more' if truth.value > 0 else 'less'}")
    return " and ".join(parts) or "neither is told from 0"


def ends_of(its: Interval, places: int) -> str:
    """The interval of a value."""
    return span((its.ci_low, its.ci_high), places)


def span(ends: tuple[float, float], places: int) -> str:
    """Two ends, with signs; empty where they are not known."""
    return "" if np.isnan(ends).any() else f"[{', '.join(plus_minus(end, places) for end in ends)}]"


def plus_minus(value: float, places: int) -> str:
    """With a sign; what rounds to 0 has a plus."""
    return f"{value:+z.{places}f}"


def points(value: float, scale: float) -> str:
    """A change, in points or in what its measure counts."""
    return plus_minus(value, 1 if scale == POINTS else 2)


def as_level(its: Interval, scale: float) -> str:
    """A value, in points or in what its measure counts."""
    return number(its.value, 1 if scale == POINTS else 2)


def spread(values: tuple[float, ...]) -> str:
    """From the least to the most."""
    return f"{short(min(values))} to {short(max(values))}" if values else ""
