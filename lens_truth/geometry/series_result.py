"""`Series`: scores over the checkpoints of a training; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb, factorial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import count, interval, number, p_value, signed, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Change:
    """Where a curve breaks.

    >>> result.changes["best head"].at
    """

    at: float
    """In steps, between two checkpoints."""
    at_ci: tuple[float, float]
    """95%, groups drawn with replacement; NaN where the curve is no mean over rows."""
    explained: float
    """Share of the curve's variance over checkpoints that the shape explains."""
    p_value: float
    """How often the same numbers in random order are explained as well."""


@dataclass(frozen=True, eq=False)
class Series(Result):
    """What `series` found.

    >>> found = lens_truth.Series.load("runs/directions-series")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("series.png")
    """

    command = "directions series"
    part = "series"

    model: str
    point: str
    estimator: str
    shape: str
    n_rows: int
    n_questions: int
    n_groups: int
    seed: int
    head: tuple[int, int]
    """The one that is best at the end; whose direction is followed."""
    steps: tuple[int, ...]
    curves: Mapping[str, Float[np.ndarray, " T"]]
    """`best head`, `mean head`, `behaviour`, `AUROC`, `cosine`."""
    intervals: Mapping[str, Float[np.ndarray, "T 2"]]
    """95%, of the curves that are means over rows."""
    changes: Mapping[str, Change]
    lead: Mapping[str, tuple[float, float, float]]
    """Of each score: its change point less the behaviour's, and the 95% interval of that. Below 0 it comes first."""

    def tables(self) -> tuple[Table, ...]:
        """The curves; where they break."""
        return self.over_steps(), self.breaks()

    def over_steps(self) -> Table:
        """A row a checkpoint: `result.over_steps()`."""
        rows = [
            row(
                str(step),
                *(
                    f"{number(float(curve[i]))} {self._interval(name, i)}".strip()
                    for name, curve in self.curves.items()
                ),
            )
            for i, step in enumerate(self.steps)
        ]
        note = (
            f"n = {self.n_rows} rows and {self.n_questions} questions in {self.n_groups} groups; cosine: of "
            "the direction "
            f"of {self.head[0]}.{self.head[1]}, the best head at the end, with the final one."
        )
        return table("Scores over training", ("step", *self.curves), rows, note)

    def _interval(self, name: str, i: int) -> str:
        return interval(self.intervals[name][i].tolist()) if name in self.intervals else ""

    def breaks(self) -> Table:
        """Change points: `result.breaks()`."""
        rows = [
            row(
                name,
                number(its.at, 0),
                interval(its.at_ci, 0),
                number(its.explained, 2),
                Cell(p_value(its.p_value), strong=significant(its.p_value)),
                _lead(self.lead.get(name)),
            )
            for name, its in self.changes.items()
        ]
        header = ("curve", "changes at step", "95%", "R2", "p", "less the behaviour's")
        shape = "one break of the mean" if self.shape == "break" else "a sigmoid"
        note = f"Least squares, {shape}; p: checkpoints in random order. A slow rise has a change point too."
        return table("Where the curves change", header, rows, note)

    def verdicts(self) -> list[str]:
        """Whether scores come before or after the behaviour."""
        sentences: list[str] = []
        behaviour, least = self.changes["behaviour"], least_p(len(self.steps), self.shape)
        if not significant(least):
            return [
                f"{count(len(self.steps), 'checkpoint')} are too few to tell a change point from chance: even the "
                f"clearest comes up in {p_value(least)} of their orders."
            ]
        if not significant(behaviour.p_value):
            return [f"The behaviour has no change point (p = {behaviour.p_value:.2g}, checkpoints in random order)."]
        for name, (apart, low, high) in self.lead.items():
            its = self.changes[name]
            if not significant(its.p_value):
                sentences.append(f"The {name} has no change point (p = {its.p_value:.2g}).")
                continue
            told = "before" if high < 0 else "after" if low > 0 else "not told from at the same time as"
            sentences.append(
                f"The {name} changes at step {its.at:.0f} {interval(its.at_ci, 0)}, the behaviour at "
                f"{behaviour.at:.0f} {interval(behaviour.at_ci, 0)}: {told} it (difference {apart:+.0f} "
                f"{interval((low, high), 0, plus=True)})."
            )
        return sentences

    def plot(self) -> Figure:
        """The curves, with their change points."""
        from lens_truth.geometry.between_figures import series_curves  # takes as long as all the rest

        return series_curves(self)


def least_p(n_steps: int, shape: str) -> float:
    """The share of the orders of so many checkpoints in which the clearest curve is explained as well: a break in the
    middle wherever both halves stay what they are, a rise in its own order and the reverse.

    >>> least_p(4, "break")  # 1 / 3
    """
    return 2 / (factorial(n_steps) if shape == "sigmoid" else comb(n_steps, n_steps // 2))


def _lead(its: tuple[float, float, float] | None) -> str:
    return "" if its is None else f"{signed(its[0], 0)} {interval(its[1:], 0, plus=True)}"
