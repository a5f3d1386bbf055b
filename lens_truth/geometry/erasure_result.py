"""`Erasure`: what `erase_directions` found; read back without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.geometry.transfer_result import OTHERS
from lens_truth.io.numbers import interval, number, signed
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Erasure(Result):
    """AUROC of probes of a domain (column; M) that were fitted anew after another's direction was erased (row; E).

    >>> found = lens_truth.Erasure.load("runs/directions-erase")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("erasure.png")
    """

    command = "directions erase"
    part = "erasure"

    names: tuple[str, ...]
    """Of the domains; of three and more there is a last row: the directions of all but the tested one, one each."""
    n_rows: tuple[int, ...]
    estimator: str
    n_folds: int
    seed: int
    model: str
    point: str
    heads: tuple[str, ...]
    """The head shown of a tested domain, as layer.head, and how many folds chose it; before anything is erased."""
    n_controls: int
    """Draws of each control, of which the mean is told."""
    before: Float[np.ndarray, " M"]
    before_interval: Float[np.ndarray, "M 2"]
    after: Float[np.ndarray, "E M"]
    change: Float[np.ndarray, "E M 2"]
    """95% interval of after - before: groups of the tested domain drawn with replacement, the same for both."""
    random: Float[np.ndarray, "E M"]
    """After a random subspace of the same rank was projected away."""
    beyond_random: Float[np.ndarray, "E M 2"]
    """95% interval of after - random."""
    shuffled: Float[np.ndarray, "E M"]
    """After LEACE on shuffled labels."""
    beyond_shuffled: Float[np.ndarray, "E M 2"]
    before_of_heads: Float[np.ndarray, "M L H"]
    after_of_heads: Float[np.ndarray, "E M L H"]

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of the rows."""
        return (*self.names, OTHERS)[: len(self.after)]

    def tables(self) -> tuple[Table, ...]:
        """The matrix of AUROCs after erasure, and every cell with its controls."""
        return self.matrix(), self.cells()

    def matrix(self) -> Table:
        """AUROC after erasure, a row for what was erased; first before: `erasure.matrix()`."""
        first = row("nothing", *(Cell(number(its, 2), tint=2 * float(its) - 1) for its in self.before))
        rows = tuple(row(name, *(self._cell(i, j) for j in range(len(self.names)))) for i, name in enumerate(self.rows))
        note = (
            "AUROC of a probe of the column's domain on held-out folds, fitted anew after the row's direction was "
            "erased. Bold: below both controls with the whole interval of the difference. On the diagonal nothing "
            "linear is left by construction."
        )
        header = ("erased", *(f"{name}, {head}" for name, head in zip(self.names, self.heads, strict=True)))
        return Table("Probes after erasure", header, (first, *rows), note, form="matrix")

    def _cell(self, i: int, j: int) -> Cell:
        tip = f"{self.rows[i]} erased, {self.names[j]} probed: AUROC {number(self.after[i, j])}, before "
        tip += f"{number(self.before[j])}; change {interval(self.change[i, j].tolist(), plus=True)}; random "
        tip += f"{number(self.random[i, j])}, shuffled labels {number(self.shuffled[i, j])}"
        value = float(self.after[i, j])
        return Cell(number(value, 2), tint=2 * value - 1, tip=tip, strong=self.reaches(i, j))

    def reaches(self, i: int, j: int) -> bool:
        """Whether erasing costs the tested domain more than either control: `erasure.reaches(0, 1)`."""
        return bool(max(self.beyond_random[i, j, 1], self.beyond_shuffled[i, j, 1]) < 0)

    def cells(self) -> Table:
        """Every cell in numbers: `erasure.cells()`."""
        rows = [
            row(
                f"{name} - {self.names[j]}",
                number(self.before[j]),
                number(self.after[i, j]),
                f"{signed(self.after[i, j] - self.before[j])} {interval(self.change[i, j].tolist(), plus=True)}",
                number(self.random[i, j]),
                number(self.shuffled[i, j]),
                interval(self.beyond_shuffled[i, j].tolist(), plus=True),
            )
            for i, name in enumerate(self.rows)
            for j in range(len(self.names))
        ]
        header = ("erased - probed", "before", "after", "change", "random", "shuffled", "after - shuffled")
        return table("Every cell", header, rows, f"Controls: means of {self.n_controls} draws.")

    def verdicts(self) -> list[str]:
        """Where erasing one domain's direction costs another more than the controls."""
        m = len(self.names)
        pairs = [(i, j) for i in range(m) for j in range(m) if i != j]
        reached = [pair for pair in pairs if self.reaches(*pair)]
        lost = [float(self.before[j] - self.after[i, j]) for i, j in pairs]
        by_chance = [float(self.before[j] - self.shuffled[i, j]) for i, j in pairs]
        named = ", ".join(f"{self.names[i]} - {self.names[j]} ({self.after[i, j]:.2f})" for i, j in reached[:6])
        sentences = [
            f"Erasing one domain's direction takes {np.mean(lost):.3f} of another's AUROC on average ({min(lost):.3f} "
            f"to {max(lost):.3f}), a direction of shuffled labels {np.mean(by_chance):.3f}; in {len(reached)} of "
            f"{len(pairs)} pairs it takes more than either control" + (f": {named}." if named else ".")
        ]
        if len(self.after) > m:
            hit = [self.names[j] for j in range(m) if self.reaches(m, j)]
            sentences.append(
                f"Erasing the directions of all other domains leaves AUROC {self.after[-1].min():.2f} to "
                f"{self.after[-1].max():.2f} (before {self.before.min():.2f} to {self.before.max():.2f}; shuffled "
                f"labels {self.shuffled[-1].min():.2f} to {self.shuffled[-1].max():.2f}); more than either control in "
                f"{len(hit)} of {m}{': ' if hit else ''}{', '.join(hit)}."
            )
        return sentences

    def plot(self) -> Figure:
        """Maps of AUROC after erasure and after LEACE on shuffled labels."""
        from lens_truth.geometry.matrix_figures import erasure_map  # takes as long as all the rest

        return erasure_map(self)
