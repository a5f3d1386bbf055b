"""`Polarity`: what `polarity_transfer` found; read back without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import SIGNIFICANT, interval, number, p_value
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AFFIRMATIVE = "affirmative"
WORDS = "bag of words"
_INVERTED = 0.45
"""A bag of words of a lower AUROC is said to be inverted."""


@dataclass(frozen=True, eq=False)
class Polarity(Result):
    """Truth directions (R, a method and what it was trained on) tested on sets of statements (M).

    >>> lens_truth.Polarity.load("runs/directions-polarity").plot()
    """

    command = "directions polarity"
    part = "polarity"

    names: tuple[str, ...]
    """Of the sets."""
    roles: tuple[str, ...]
    """Of each set: affirmative, negated, or tested (only)."""
    n_rows: tuple[int, ...]
    n_groups: tuple[int, ...]
    methods: tuple[str, ...]
    trained_on: tuple[str, ...]
    """Of each method: affirmative statements, or affirmative and negated ones."""
    n_folds: int
    seed: int
    model: str
    point: str
    """Where activations were read: each head's output or the residual stream."""
    heads: tuple[str, ...]
    """The head that most folds picked inside their training rows, as layer.head, and how many did."""
    auroc: Float[np.ndarray, "R M"]
    """Of the heads picked, mean over folds."""
    accuracy: Float[np.ndarray, "R M"]
    interval: Float[np.ndarray, "R M 2"]
    """95%, of the AUROC: groups of the tested set drawn with replacement."""
    null: Float[np.ndarray, "R M 2"]
    """The middle 95% of AUROC when the tested set's labels are permuted inside groups; nothing is fitted anew."""
    p_value: Float[np.ndarray, "R M"]
    """Two-sided, of a cell by itself."""
    p_familywise: Float[np.ndarray, "R M"]
    """For all cells together: against the cell that lies farthest off in each draw (Westfall and Young 1993)."""
    surface: Float[np.ndarray, "T M"]
    """AUROC of a bag of words, for each kind of training rows; NaN where none was given."""
    auroc_of_heads: Float[np.ndarray, "R M L H"]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of training rows, as in `surface`."""
        return tuple(dict.fromkeys(self.trained_on))

    def tables(self) -> tuple[Table, ...]:
        """The matrix with the bag of words in it, and every cell in numbers."""
        return self.matrix(), self.cells()

    def matrix(self) -> Table:
        """AUROC, a row a method: `found.matrix()`."""
        rows: list[Row] = []
        for t, kind in enumerate(self.kinds):
            rows += [self._row(i) for i, its in enumerate(self.trained_on) if its == kind]
            if not np.isnan(self.surface[t]).all():
                told = (Cell(number(value, 2), tint=2 * float(value) - 1) for value in self.surface[t])
                rows.append(row(f"{kind}: {WORDS}", *told))
        where = "head" if self.point == "z" else "layer"
        note = (
            f"AUROC on held-out groups, of the {where} picked inside the training rows (in brackets: folds that picked "
            "it). Bold: told from permuted labels (p < .05, two-sided, for all cells together); below .5 truth is "
            "inverted there."
        )
        header = (f"trained on: method, {where}", *self.names)
        return Table("Truth directions from kind to kind of statements", header, tuple(rows), note, form="matrix")

    def _row(self, i: int) -> Row:
        strong = self.p_familywise[i] < SIGNIFICANT
        return row(
            f"{self.trained_on[i]}: {self.methods[i]}, {self.heads[i]}",
            *(self._cell(i, j, bool(strong[j])) for j in range(len(self.names))),
        )

    def _cell(self, i: int, j: int, strong: bool) -> Cell:
        tip = f"{self.methods[i]} on {self.names[j]}: AUROC {number(self.auroc[i, j])} "
        tip += f"{interval(self.interval[i, j].tolist())}; null {interval(self.null[i, j].tolist())}; accuracy "
        tip += number(self.accuracy[i, j])
        return Cell(number(self.auroc[i, j], 2), tint=2 * float(self.auroc[i, j]) - 1, tip=tip, strong=strong)

    def cells(self) -> Table:
        """Every cell in numbers: `found.cells()`."""
        together = self.p_familywise
        rows = [
            row(
                f"{self.methods[i]} ({self.trained_on[i]}) on {self.names[j]}",
                number(self.auroc[i, j]),
                interval(self.interval[i, j].tolist()),
                interval(self.null[i, j].tolist()),
                Cell(p_value(together[i, j]), strong=bool(together[i, j] < SIGNIFICANT)),
                number(self.accuracy[i, j]),
                number(self.surface[self.kinds.index(self.trained_on[i]), j]),
            )
            for i in range(len(self.methods))
            for j in range(len(self.names))
        ]
        header = ("method (trained on) on set", "AUROC", "95%", "null", "p (all)", "accuracy", WORDS)
        return table("Every cell", header, rows)

    def verdicts(self) -> list[str]:
        """What a negation does to directions of affirmative statements, whether TTPD mends it, and what words do."""
        sentences = [self._on(its) for its in ("negated", "tested") if its in self.roles]
        known = ~np.isnan(self.surface)
        if known.any():
            below = [
                f"{name} ({number(value, 2)})"
                for name, role, value in zip(self.names, self.roles, self.surface[0], strict=True)
                if value < _INVERTED and role != AFFIRMATIVE
            ]
            inverted = f"is inverted on {', '.join(below)}" if below else "is inverted nowhere"
            sentences.append(f"A bag of words trained on affirmative statements {inverted}.")
            words = self.surface[[self.kinds.index(its) for its in self.trained_on]]
            beyond = (self.interval[..., 0] > words) & (self.interval[..., 0] > 0.5) & (self.p_familywise < SIGNIFICANT)
            sentences.append(
                f"Of {self.auroc.size} cells {int(beyond.sum())} lie above .5 and above the bag of words with their "
                "whole interval."
            )
        return sentences

    def _on(self, role: str) -> str:
        columns = [j for j, its in enumerate(self.roles) if its == role]
        called = "negated statements" if role == "negated" else ", ".join(self.names[j] for j in columns)
        parts = [
            f"{kind}: "
            + ", ".join(
                f"{self.methods[i]} {number(float(self.auroc[i, columns].mean()), 2)}"
                for i, its in enumerate(self.trained_on)
                if its == kind
            )
            for kind in self.kinds
        ]
        return f"Mean AUROC on {called}, trained on {'; trained on '.join(parts)}."

    def plot(self) -> Figure:
        """The matrix as a map of colours.

        >>> lens_truth.Polarity.load("runs/directions-polarity").plot().savefig("polarity.png")
        """
        from lens_truth.geometry.polarity_figures import polarity_map

        return polarity_map(self)
