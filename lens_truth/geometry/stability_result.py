"""`Stability`: how far rows that are neither true nor false move the boundary; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import SIGNIFICANT, count, interval, number, p_value, share, signed, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = ("false", "true")
"""What rows that are neither are labelled."""
COVERAGE = 0.9
CLASSES = ("false", "true", "neither")
Ends = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Shift:
    """Of one head, once the rows that are neither have joined the training rows under one label.

    >>> result.shifts["true"].flips
    """

    angle: float
    """Degrees between the direction without them and with them, both fitted to all rows."""
    angle_ci: Ends
    """95%, groups drawn with replacement."""
    mahalanobis: float
    """The same angle under the covariance of the true and false rows: that between the outputs there."""
    mahalanobis_ci: Ends
    floor: float
    """Mean angle between two refits without them, groups drawn with replacement: what noise alone does."""
    null: Ends
    """The middle 95% of the angle when as many true and false rows join once more, all under that label."""
    p_value: float
    """How often the null's angle is as large."""
    flips: float
    """Share of held-out true and false rows whose decision is another one; heads picked on the other folds."""
    flips_ci: Ends
    flips_null: Ends
    """Of one head, as `null`."""
    p_flips: float
    auroc: float
    auroc_ci: Ends
    difference: float
    """AUROC with them less that without."""
    difference_ci: Ends


@dataclass(frozen=True, eq=False)
class ThreeWay:
    """True, false and neither told apart, and conformal sets at 90%.

    >>> result.three_way.coverage, result.three_way.size
    """

    accuracy: float
    accuracy_ci: Ends
    chance: float
    """The largest class's share."""
    surface: float
    """A bag of words on the same folds; NaN if none was given."""
    surface_ci: Ends
    confusion: Float[np.ndarray, "3 3"]
    """Shares of the row's class (false, true, neither) that are taken for the column's."""
    coverage: float
    """Share of rows whose set holds their class."""
    coverage_ci: Ends
    size: float
    """Classes in a set, mean."""
    single: float
    """Share of sets with one class."""
    empty: float
    accuracies: Float[np.ndarray, "L H"]
    coverages: Float[np.ndarray, "L H"]
    sizes: Float[np.ndarray, "L H"]


@dataclass(frozen=True, eq=False)
class Stability(Result):
    """What `stability` found.

    >>> found = lens_truth.Stability.load("runs/directions-neither")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("stability.png")
    """

    command = "directions neither"
    part = "stability"

    model: str
    point: str
    estimator: str
    n_rows: int
    n_neither: int
    n_groups: int
    n_folds: int
    n_draws: int
    seed: int
    head: tuple[int, int]
    """Layer and head that tell true from false best without the others; whose angles are shown."""
    auroc: float
    """Without the others; heads picked on the other folds."""
    auroc_ci: Ends
    shifts: Mapping[str, Shift]
    """By the label that the others are given: `false`, `true`."""
    three_way: ThreeWay
    angles: Float[np.ndarray, "2 L H"]
    """Of every head, labelled false and labelled true."""
    mahalanobis_angles: Float[np.ndarray, "2 L H"]
    floors: Float[np.ndarray, "L H"]
    p_values: Float[np.ndarray, "2 L H"]
    """Of the angles, each head by itself."""
    flips: Float[np.ndarray, "2 L H"]
    aurocs: Float[np.ndarray, "3 L H"]
    """Left out, labelled false, labelled true; means over folds."""

    @property
    def at(self) -> str:
        """The head as sentences have it."""
        return f"{self.head[0]}.{self.head[1]}" if self.point == "z" else f"layer {self.head[0]}"

    def tables(self) -> tuple[Table, ...]:
        """What each label does; three classes; which class is taken for which."""
        return self.moved(), self.classes(), self.confusions()

    def moved(self) -> Table:
        """Angles and flips beside their nulls: `result.moved()`."""
        header = (
            "neither as",
            "angle",
            "95%",
            "null",
            "p",
            "Mahalanobis",
            "flips",
            "95%",
            "null",
            "p",
            "AUROC",
            "gain",
        )
        rows = [row("left out", *[""] * 9, f"{number(self.auroc)} {interval(self.auroc_ci)}", "")]
        for label, its in self.shifts.items():
            rows.append(
                row(
                    label,
                    number(its.angle, 1),
                    interval(its.angle_ci, 1),
                    interval(its.null, 1),
                    Cell(p_value(its.p_value), strong=significant(its.p_value)),
                    f"{number(its.mahalanobis, 1)} {interval(its.mahalanobis_ci, 1)}",
                    number(its.flips),
                    interval(its.flips_ci),
                    interval(its.flips_null),
                    Cell(p_value(its.p_flips), strong=significant(its.p_flips)),
                    f"{number(its.auroc)} {interval(its.auroc_ci)}",
                    f"{signed(its.difference)} {interval(its.difference_ci, 3, plus=True)}",
                )
            )
        floor = next(iter(self.shifts.values())).floor
        note = (
            f"Degrees, {self.at}; two refits without the others are {floor:.1f} apart. Null: as many true and "
            "false rows "
            "once more, under the same label. Flips and AUROC: held-out true and false rows."
        )
        return table("Where the boundary goes", header, rows, note)

    def classes(self) -> Table:
        """Three classes and conformal sets: `result.classes()`."""
        its = self.three_way
        rows = [
            row("accuracy", number(its.accuracy), interval(its.accuracy_ci)),
            row("a bag of words", number(its.surface), interval(its.surface_ci)),
            row("the largest class", number(its.chance), ""),
            row(f"sets of {share(COVERAGE)} hold the class", number(its.coverage), interval(its.coverage_ci)),
            row("classes in a set", number(its.size, 2), ""),
            row("sets of one class", number(its.single), ""),
            row("empty sets", number(its.empty), ""),
        ]
        return table("True, false or neither", ("", "", "95%"), rows)

    def confusions(self) -> Table:
        """Which class is taken for which: `result.confusions()`."""
        rows = [
            row(name, *(number(value) for value in line))
            for name, line in zip(CLASSES, self.three_way.confusion.tolist(), strict=True)
        ]
        return table("Taken for", ("rows that are", *CLASSES), rows)

    def verdicts(self) -> list[str]:
        """Whether the boundary moves beyond chance, and how well the third class is known."""
        sentences: list[str] = []
        for label, its in self.shifts.items():
            further = "no more than"
            if its.angle > its.null[1]:
                few = f"more, though not told from chance (p = {number(its.p_value)}), than"
                further = "more than" if significant(its.p_value) else few
            n = int((self.p_values[LABELS.index(label)] < SIGNIFICANT).sum())
            sentences.append(
                f"Labelled {label}, {self.n_neither} rows that are neither turn the direction of {self.at} by "
                f"{its.angle:.0f} degrees, {further} as many true and false rows "
                f"({its.null[0]:.0f} to {its.null[1]:.0f}; two refits: {its.floor:.0f}), and flip "
                f"{share(its.flips)} of the "
                f"decisions ({share(its.flips_null[0])} to {share(its.flips_null[1])}); {n} of "
                f"{count(self.floors.size, 'head' if self.point == 'z' else 'layer')} turn more than that null "
                "(p < .05, each by itself)."
            )
        its = self.three_way
        surface = "" if np.isnan(its.surface) else f", a bag of words {its.surface:.2f}"
        low, high = its.coverage_ci
        kept = "as they say" if low <= COVERAGE <= high else "more than they say" if low > COVERAGE else "too few"
        sentences.append(
            f"Three classes are told with accuracy {its.accuracy:.2f} {interval(its.accuracy_ci)}{surface}, "
            "the largest "
            f"class {its.chance:.2f}; sets of {share(COVERAGE)} hold the right one in {share(its.coverage)} "
            f"({kept}) with {its.size:.2f} classes each."
        )
        return sentences

    def plot(self) -> Figure:
        """Angles of all heads beside the floor."""
        from lens_truth.geometry.between_figures import stability_maps  # takes as long as all the rest

        return stability_maps(self)
