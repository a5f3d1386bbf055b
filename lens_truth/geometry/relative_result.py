"""`Relative`: two models of any shape, by their relative representations; read back without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import interval, number, p_value, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Ends = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Relative(Result):
    """What `relative_directions` found.

    >>> found = lens_truth.Relative.load("runs/directions-relative")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("relative.png")
    """

    command = "directions relative"
    part = "relative"
    named = True

    names: tuple[str, str]
    point: str
    estimator: str
    n_rows: int
    """Without those of the anchors' groups."""
    n_groups: int
    n_anchors: int
    n_neighbours: int
    n_null: int
    seed: int
    alike: Float[np.ndarray, "L M"]
    """Correlation of the relative representations, of the best pair of heads of two layers."""
    jaccard: Float[np.ndarray, "L M"]
    """Common nearest neighbours, of the best pair."""
    chance_jaccard: float
    """What it is about between neighbours at random."""
    best: tuple[int, int, int, int]
    """Layer and head of the first model that are most like some head of the second; and of the second."""
    null_alike: Ends
    """The middle 95% of the highest correlation when the second model's anchors are taken for one another's."""
    p_alike: float
    auroc: float
    """Of the first model's probe in the second: the head that is best on the other folds, in the one most like it."""
    auroc_ci: Ends
    own: tuple[float, float]
    """AUROC of either model's probes of its own relative representations."""
    own_ci: tuple[Ends, Ends]
    null: Ends
    """The middle 95% of `auroc` with anchors permuted, pairs picked anew."""
    p_value: float
    """Two-sided."""
    stitched: Float[np.ndarray, "L M"]
    """AUROC of the best pair of heads of two layers, not held out from being picked."""

    def tables(self) -> tuple[Table, ...]:
        """Likeness and stitching."""
        return (self.numbers(),)

    def numbers(self) -> Table:
        """All of it in one table: `result.numbers()`."""
        rows = [
            row(
                "highest correlation of two heads",
                number(float(self.alike.max())),
                "",
                interval(self.null_alike),
                Cell(p_value(self.p_alike), strong=significant(self.p_alike)),
            ),
            row("highest share of common neighbours", number(float(self.jaccard.max())), "", "", ""),
            row("of neighbours at random, about", number(self.chance_jaccard), "", "", ""),
            row(
                f"AUROC of a probe of {self.names[0]} in {self.names[1]}",
                number(self.auroc),
                interval(self.auroc_ci),
                interval(self.null),
                Cell(p_value(self.p_value), strong=significant(self.p_value)),
            ),
            *(
                row(f"AUROC of its own, {name}", number(own), interval(ci), "", "")
                for name, own, ci in zip(self.names, self.own, self.own_ci, strict=True)
            ),
        ]
        note = (
            f"{self.n_anchors} anchors; {self.n_rows} rows in {self.n_groups} other groups. The probe: of the "
            "head that is "
            "best on the other folds, in the head most like it. Null: the second model's anchors in random order, "
            f"{self.n_null} times, heads picked anew."
        )
        return table("Relative representations", ("", "", "95%", "null", "p"), rows, note)

    def verdicts(self) -> list[str]:
        """Whether heads of the two models say the same, and whether a probe of one works in the other."""
        a, b, c, d = self.best
        told = "more alike than" if significant(self.p_alike) else "no more alike than"
        works = "works" if significant(self.p_value) and self.auroc > 0.5 else "does not work"
        where = f"{a}.{b} and {c}.{d}" if self.point == "z" else f"layers {a} and {c}"
        return [
            f"The most alike are {where} (r {self.alike.max():.2f}), {told} with anchors permuted "
            f"({interval(self.null_alike)}).",
            f"A probe of {self.names[0]} {works} in {self.names[1]}, unseen: AUROC {self.auroc:.2f} "
            f"{interval(self.auroc_ci)}, anchors permuted {interval(self.null)}, its own {self.own[1]:.2f}.",
        ]

    def plot(self) -> Figure:
        """How alike the layers are, and how probes carry over."""
        from lens_truth.geometry.between_figures import relative_maps  # takes as long as all the rest

        return relative_maps(self)
