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
    without: DoseResponse | None
    """The curve without those; None if there are none, or too few others."""
    shared: tuple[str, ...]
    """Curves whose reference has the same outcomes item by item: the same unmodified model."""
    against: Mapping[str, AgainstControls]
    """Its slope beside that of each kind of controls."""

    @property
    def sound(self) -> DoseResponse:
        """The curve without points that were probably computed another way."""
        return self.without or self.response


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
            found, last = its.response, its.sound.changes[-1]
            kept = None if its.without is None else its.without.slope
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
            f"Slopes: least squares, {self.unit} per unit of alpha; changes: on the same items from the unmodified "
            "model (without odd points, where it is one, from the first other alpha) to the last alpha; intervals: "
            "10,000 draws of items (of groups, where the log names them)."
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
                Cell(interval(its.expected, 2), strong=its.beyond),
                number(its.difference.value, 2),
                interval((its.difference.ci_low, its.difference.ci_high), 2),
                p_value(its.p_value),
                p_value(its.least_p),
            )
            for name, curve in self.curves.items()
            for kind, its in curve.against.items()
        ]
        note = (
            "p: the place of the curve among the controls, at least 1 / (controls + 1). A further one: where the slope "
            "of one more control would lie 19 times in 20, if slopes are normal. The difference's interval draws items "
            "only. Doses that were computed another way are left out."
        )
        return table("Beside controls", header, rows, note)

    def faults(self) -> Table:
        """What is wrong with the log: `result.faults()`."""
        points = {(name, point.alpha): point for name, its in self.curves.items() for point in its.odd}
        rows: list[Row] = []
        for its in self.flags:
            point = None if its.alpha is None or its.kind != "odd point" else points[its.curve, its.alpha]
            shown = ("", "", "", "")
            if point is not None:
                off = point.off_line
                ends = interval((off.ci_low, off.ci_high), 1)
                shown = (f"{point.odd} of {point.moved}", _points(off.value), ends, p_value(point.p_value))
            alpha = "" if its.alpha is None else f"{its.alpha:g}"
            rows.append(row(its.curve, Cell(its.kind, alarm=True, tip=its.sentence), alpha, *shown))
        header = ("curve", "fault", "alpha", "odd of three", "off the line", "95%", "p")
        note = "Odd of three: items at which the point differs from both neighbours, of those that change around it."
        return table("What is wrong", header, rows, note)

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
        found, last = its.sound, its.sound.changes[-1]
        slope = found.slope
        without = " without its odd points" if its.odd else ""
        effect = "changes with alpha" if slope.clear else "does not change with alpha beyond chance"
        told = f"{name} {effect}{without}: {_slope(slope)} {self.unit} per unit, {_points(last.change.value)} "
        told += f"{interval((last.change.ci_low, last.change.ci_high), 1)} from alpha {last.start:g} to {last.end:g} "
        told += f"({last.gained} gained, {last.lost} lost, p = {p_value(last.p_value)}; {count(found.n, 'item')})"
        parts: list[str] = []
        for kind, beside in its.against.items():
            where = "beyond what" if beside.beyond else "not beyond what"
            at = f"{where} is expected of one more, {interval(beside.expected, 2)}"
            if np.isnan(beside.expected).any():
                at = "one alone says nothing of their spread"
            place = f"{_slope(beside.difference)} from their mean, p = {p_value(beside.p_value)} by its place"
            least = ", the least that so few can give" if beside.p_value == beside.least_p else ""
            parts.append(f"{count(len(beside.slopes), 'control')} {kind}: {at} ({place}{least})")
        return f"{told}. {'; '.join(parts)}." if parts else f"{told}. No control to hold it against."

    def _of_sets(self) -> list[str]:
        if len(self.sets) < 2:
            return []
        sizes = sorted({its.n for its in self.sets.values()})
        shared = sum(n for its in self.sets.values() for n in its.shared.values()) // 2
        alike = any(its.same_layers for its in self.sets.values())
        size = f"{sizes[0]} neurons each" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} neurons"
        layers = "some match" if alike else "no two match"
        both = f"pairs share {count(shared, 'neuron')} in all" if shared else "no two share a neuron"
        return [f"{len(self.sets)} sets of {size}: {both}; {layers} in how many each layer has."]

    def plot(self) -> Figure:
        """Each curve with its interval over those of its controls; odd points in red."""
        from lens_truth.neurons.dose_figures import dose_panels  # takes as long as all the rest

        return dose_panels(self)


def _points(value: float) -> str:
    return f"{value:+.1f}"


def _slope(its: Interval) -> str:
    return f"{number(its.value, 2)} {interval((its.ci_low, its.ci_high), 2)}"
