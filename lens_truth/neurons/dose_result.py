"""`DoseCurves`: what was found in a log of dose curves; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lens_truth.io.numbers import count, interval, number, p_value, short, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.neurons.curve_flags import Flag
from lens_truth.stats.dose import AgainstControls, DoseResponse, Interval
from lens_truth.stats.dose_flags import OddPoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class CurveFound:
    """One curve of a log.

    >>> result.curves["h_neurons"].response.slope
    """

    response: DoseResponse
    counts: tuple[int, ...]
    """Items with outcome 1 at each dose; empty where outcomes are not 0 or 1."""
    control: str
    """What kind of control it is; empty if none."""
    odd: tuple[OddPoint, ...]
    """Doses that were probably computed another way."""
    slope_without: Interval | None
    """The slope without those; None if there are none, or too few others."""
    shared: tuple[str, ...]
    """Curves whose reference has the same outcomes item by item: the same unmodified model."""
    against: Mapping[str, AgainstControls]
    """Its slope beside that of each kind of controls."""


@dataclass(frozen=True)
class SetFound:
    """One file of neurons beside the log.

    >>> result.sets["seed_0_unconstrained"].n
    """

    n: int
    n_layers: int
    """Layers with any of them."""
    shared: Mapping[str, int]
    """Neurons that are in another set too, by its name; none that shares nothing."""
    same_layers: tuple[str, ...]
    """Other sets with as many neurons in each layer."""


@dataclass(frozen=True, eq=False)
class DoseCurves(Result):
    """What `dose_curves` found.

    >>> found = lens_truth.DoseCurves.load("runs/neurons-rescore")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("curves.png")
    """

    command = "neurons rescore"
    part = "dose_curves"

    log: str
    """The file's name."""
    scale: float
    """100 where outcomes are shares (then in points), 1 where they are scores."""
    curves: Mapping[str, CurveFound]
    flags: tuple[Flag, ...]
    sets: Mapping[str, SetFound]

    @property
    def unit(self) -> str:
        """Of levels and slopes."""
        return "points" if self.scale != 1 else "units of the outcome"

    def tables(self) -> tuple[Table, ...]:
        """Slopes and changes; levels at each dose; beside controls; what is wrong; sets of neurons."""
        made = (self.slopes(), self.levels(), self.beside(), self.faults(), self.neurons())
        return tuple(its for i, its in enumerate(made) if i < 2 or its.rows)

    def slopes(self) -> Table:
        """A row a curve: `result.slopes()`."""
        header = (
            "curve",
            "items",
            "slope",
            "95%",
            "without odd points",
            "change",
            "95%",
            "gained",
            "lost",
            "p",
            "order",
        )
        rows: list[Row] = []
        for name, its in self.curves.items():
            found, last = its.response, its.response.changes[-1]
            kept = its.slope_without
            rows.append(
                row(
                    name,
                    str(found.n),
                    Cell(number(found.slope.value, 4), strong=found.slope.clear, alarm=bool(its.odd)),
                    interval((found.slope.ci_low, found.slope.ci_high), 2),
                    "" if kept is None else f"{number(kept.value, 4)} {interval((kept.ci_low, kept.ci_high), 2)}",
                    Cell(_points(last.change.value), tip=f"alpha {last.start:g} to {last.end:g}"),
                    interval((last.change.ci_low, last.change.ci_high), 1),
                    str(last.gained),
                    str(last.lost),
                    Cell(p_value(last.p_value), strong=significant(last.p_value)),
                    found.order,
                )
            )
        note = (
            f"Slopes: least squares, {self.unit} per unit of alpha; changes: from the unmodified model to the last "
            "alpha, on the same items; intervals: 10,000 draws of items (of groups, where the log names them)."
        )
        return table("Dose curves", header, rows, note)

    def levels(self) -> Table:
        """The level at each dose: `result.levels()`."""
        doses = sorted({alpha for its in self.curves.values() for alpha in its.response.alphas})
        rows: list[Row] = []
        for name, its in self.curves.items():
            odd = {point.alpha for point in its.odd}
            texts = [str(n) for n in its.counts] or [short(level.value) for level in its.response.levels]
            at = dict(zip(its.response.alphas, texts, strict=True))
            rows.append(row(name, *(Cell(at.get(alpha, ""), alarm=alpha in odd) for alpha in doses)))
        binary = all(its.counts for its in self.curves.values())
        note = "Items with outcome 1." if binary else f"Means, in {self.unit}, or numbers of items with outcome 1."
        return table("Levels", ("alpha", *(f"{alpha:g}" for alpha in doses)), rows, note)

    def beside(self) -> Table:
        """Slopes beside those of controls: `result.beside()`."""
        header = ("curve", "controls", "n", "their slopes", "a further one", "difference", "95%", "p", "least p")
        rows = [
            row(
                name,
                kind,
                str(len(its.slopes)),
                f"{number(min(its.slopes), 2)} to {number(max(its.slopes), 2)}",
                Cell(interval(its.expected, 2), strong=its.outside),
                number(its.difference.value, 2),
                interval((its.difference.ci_low, its.difference.ci_high), 2),
                p_value(its.p_value),
                p_value(its.least_p),
            )
            for name, curve in self.curves.items()
            for kind, its in curve.against.items()
        ]
        note = (
            "p: the place of the curve among the controls, at least 1 / (controls + 1). A further one: where the slope of "
            "one more control would lie 19 times in 20, if slopes are normal. The difference's interval draws items only. "
            "Doses that were computed another way are left out."
        )
        return table("Beside controls", header, rows, note)

    def faults(self) -> Table:
        """What is wrong with the log: `result.faults()`."""
        rows = [
            row(its.curve, Cell(its.kind, alarm=True), "" if its.alpha is None else f"{its.alpha:g}", its.sentence)
            for its in self.flags
        ]
        return Table("What is wrong", ("curve", "fault", "alpha", "seen by"), tuple(rows), form="words")

    def neurons(self) -> Table:
        """The sets of neurons beside the log: `result.neurons()`."""
        rows = [
            row(
                name,
                str(its.n),
                str(its.n_layers),
                ", ".join(f"{n} with {other}" for other, n in its.shared.items()) or "none",
                ", ".join(its.same_layers) or "none",
            )
            for name, its in self.sets.items()
        ]
        header = ("set", "neurons", "layers", "shared neurons", "as many in each layer as")
        return table("Sets of neurons", header, rows)

    def verdicts(self) -> list[str]:
        """What is wrong first; then what each curve that is no control says."""
        faulty = [its.sentence + "." for its in self.flags]
        told = [self._verdict(name, its) for name, its in self.curves.items() if not its.control]
        return [*faulty, *told, *self._of_sets()]

    def _verdict(self, name: str, its: CurveFound) -> str:
        found, last = its.response, its.response.changes[-1]
        slope = its.slope_without or found.slope
        without = " without its odd points" if its.slope_without else ""
        effect = "changes with alpha" if slope.clear else "does not change with alpha beyond chance"
        told = f"{name} {effect}{without}: {_slope(slope)} {self.unit} per unit, {_points(last.change.value)} "
        told += f"{interval((last.change.ci_low, last.change.ci_high), 1)} from alpha {last.start:g} to {last.end:g} "
        told += f"({last.gained} gained, {last.lost} lost, p = {p_value(last.p_value)}; {count(found.n, 'item')})"
        parts: list[str] = []
        for kind, beside in its.against.items():
            where = "outside of" if beside.outside else "inside"
            at = f"{where} the {interval(beside.expected, 2)} expected of one more"
            if np.isnan(beside.expected).any():
                at = "one alone says nothing of their spread"
            place = f"p = {p_value(beside.p_value)} by its place among them"
            least = ", the least that so few can give" if beside.p_value == beside.least_p else ""
            parts.append(f"{count(len(beside.slopes), 'control')} {kind}: {at}, {place}{least}")
        return f"{told}. {'; '.join(parts)}." if parts else f"{told}. No control to hold it against."

    def _of_sets(self) -> list[str]:
        if len(self.sets) < 2:
            return []
        sizes = sorted({its.n for its in self.sets.values()})
        shared = sum(n for its in self.sets.values() for n in its.shared.values()) // 2
        alike = any(its.same_layers for its in self.sets.values())
        size = f"{sizes[0]} neurons each" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} neurons"
        layers = "some match" if alike else "no two match"
        return [f"{len(self.sets)} sets of {size}: pairs share {shared} in all; layer by layer {layers} in numbers."]

    def plot(self) -> Figure:
        """Each curve with its interval over those of its controls; odd points in red."""
        from lens_truth.neurons.dose_figures import dose_panels  # takes as long as all the rest

        return dose_panels(self)


def _points(value: float) -> str:
    return f"{value:+.1f}"


def _slope(its: Interval) -> str:
    return f"{number(its.value, 2)} {interval((its.ci_low, its.ci_high), 2)}"
