"""`Transfer`: what `transfer_matrix` found; read back without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from lens_truth.io.numbers import SIGNIFICANT, interval, number, p_value
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OTHERS = "all others"
"""The row of a probe of all domains but the one that is tested."""


@dataclass(frozen=True, eq=False)
class Transfer(Result):
    """AUROC and accuracy of probes of one domain (row; R) on another (column; M).

    >>> found = lens_truth.Transfer.load("runs/directions-transfer")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("transfer.png")
    """

    command = "directions transfer"
    part = "transfer"

    names: tuple[str, ...]
    """Of the domains; of three and more there is a last row, that of a probe of all others."""
    n_rows: tuple[int, ...]
    n_groups: tuple[int, ...]
    estimator: str
    n_folds: int
    seed: int
    model: str
    point: str
    """Where activations were read: each head's output or the residual stream."""
    heads: tuple[str, ...]
    """The head shown in a row, as layer.head, and how many folds chose it; in the last row, how many choices of a fold
    and a tested domain."""
    auroc: Float[np.ndarray, "R M"]
    """Of the head shown, mean over folds."""
    accuracy: Float[np.ndarray, "R M"]
    interval: Float[np.ndarray, "R M 2"]
    """95%, of the AUROC: groups of the tested domain drawn with replacement."""
    null: Float[np.ndarray, "R M 2"]
    """The middle 95% of AUROC when the tested domain's labels are permuted inside groups; probes stay as they are."""
    p_value: Float[np.ndarray, "R M"]
    """Two-sided, of a cell by itself."""
    p_familywise: Float[np.ndarray, "R M"]
    """For all cells together: against the cell that is farthest off in each draw (Westfall and Young)."""
    surface: Float[np.ndarray, "R M"]
    """AUROC of a bag of words trained and tested on the same rows; NaN where none was given."""
    auroc_of_heads: Float[np.ndarray, "R M L H"]
    accuracy_of_heads: Float[np.ndarray, "R M L H"]

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of the rows."""
        return (*self.names, OTHERS)[: len(self.auroc)]

    @property
    def off_diagonal(self) -> Bool[np.ndarray, "R M"]:
        """Where a domain is tested that the probe was not trained on."""
        return ~np.eye(*self.auroc.shape, dtype=bool)

    def tables(self) -> tuple[Table, ...]:
        """The matrix, and every cell with its interval, null and baseline."""
        return self.matrix(), self.cells()

    def matrix(self) -> Table:
        """AUROC, a row a training domain: `transfer.matrix()`."""
        strong = self.p_familywise < SIGNIFICANT
        rows = tuple(
            row(f"{name}, {self.heads[i]}", *(self._cell(i, j, bool(strong[i, j])) for j in range(len(self.names))))
            for i, name in enumerate(self.rows)
        )
        where = "head" if self.point == "z" else "layer"
        note = (
            f"AUROC on held-out folds. Trained on the row's domain (in brackets: folds that chose its {where}), tested "
            "on the column's. Bold: told from permuted labels (p < .05, two-sided, familywise over all cells); below "
            ".5 the probe is inverted there."
        )
        return Table("Probes from domain to domain", ("trained on", *self.names), rows, note, form="matrix")

    def _cell(self, i: int, j: int, strong: bool) -> Cell:
        ends = interval(self.interval[i, j].tolist())
        tip = f"{self.rows[i]} to {self.names[j]}: AUROC {number(self.auroc[i, j])} {ends}"
        tip += f"; null {interval(self.null[i, j].tolist())}; accuracy {number(self.accuracy[i, j])}"
        if not np.isnan(self.surface[i, j]):
            tip += f"; bag of words {number(self.surface[i, j])}"
        return Cell(number(self.auroc[i, j], 2), tint=2 * float(self.auroc[i, j]) - 1, tip=tip, strong=strong)

    def cells(self) -> Table:
        """Every cell in numbers: `transfer.cells()`."""
        rows = [
            row(
                f"{name} - {self.names[j]}",
                number(self.auroc[i, j]),
                interval(self.interval[i, j].tolist()),
                interval(self.null[i, j].tolist()),
                Cell(p_value(self.p_familywise[i, j]), strong=bool(self.p_familywise[i, j] < SIGNIFICANT)),
                number(self.accuracy[i, j]),
                number(self.surface[i, j]),
            )
            for i, name in enumerate(self.rows)
            for j in range(len(self.names))
        ]
        header = ("trained on - tested on", "AUROC", "95%", "null", "p, all cells", "accuracy", "bag of words")
        return table("Every cell", header, rows)

    def verdicts(self) -> list[str]:
        """What carries over, what is inverted, and what a bag of words does as well."""
        off, told = self.off_diagonal[: len(self.names)], self.p_familywise[: len(self.names)] < SIGNIFICANT
        auroc, low = self.auroc[: len(self.names)], self.interval[: len(self.names), :, 0]
        own = np.diag(auroc)
        right, wrong = off & told & (auroc > 0.5), off & told & (auroc < 0.5)
        sentences = [
            f"In its own domain a probe has AUROC {own.min():.2f} to {own.max():.2f}; in another "
            f"{auroc[off].min():.2f} to {auroc[off].max():.2f}, mean {auroc[off].mean():.2f}.",
            f"Of {int(off.sum())} pairs of domains {int(right.sum())} carry over, {int(wrong.sum())} inverted "
            "(p < .05, labels permuted inside groups, familywise over all cells)"
            + (f": inverted {self._named(wrong)}." if wrong.any() else "."),
        ]
        surface = self.surface[: len(self.names)]
        if not np.isnan(surface).all():
            alike = right & (surface >= low)
            beyond = right & (low > surface)
            sentences.append(
                f"A bag of words has AUROC {np.nanmin(surface[off]):.2f} to {np.nanmax(surface[off]):.2f} there; of "
                f"the pairs that carry over {int(beyond.sum())} lie above it with their whole interval"
                + (f", not so {self._named(alike)}." if alike.any() and alike.sum() <= _FEW else ".")
            )
        if len(self.auroc) > len(self.names):
            general, floor = self.auroc[-1], self.interval[-1, :, 0]
            above = [name for name, low_end in zip(self.names, floor, strict=True) if low_end > 0.5]
            sentences.append(
                f"A probe of all other domains has AUROC {general.min():.2f} to {general.max():.2f}; its interval lies "
                f"above .5 in {len(above)} of {len(self.names)}{': ' if above else ''}{', '.join(above)}."
            )
        return sentences

    def _named(self, which: Bool[np.ndarray, "M M"]) -> str:
        pairs = np.argwhere(which).tolist()
        named = [f"{self.names[i]} - {self.names[j]} ({self.auroc[i, j]:.2f})" for i, j in pairs[:_FEW]]
        more = f" and {len(pairs) - _FEW} more" if len(pairs) > _FEW else ""
        return ", ".join(named) + more

    def plot(self) -> Figure:
        """The matrix as a map of colours."""
        from lens_truth.geometry.matrix_figures import transfer_map  # takes as long as all the rest

        return transfer_map(self)


_FEW = 6
"""Pairs that a sentence names."""
