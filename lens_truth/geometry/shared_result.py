"""`SharedDirections`: what `shared_directions` found; read back without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import count, number
from lens_truth.io.results import Result
from lens_truth.io.tables import Row, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class SharedDirections(Result):
    """AUROC on held-out folds after so many directions (rows; T, the first before any) in each of M domains.

    >>> found = lens_truth.SharedDirections.load("runs/directions-erase")
    >>> found.n_general, found.tables()[0], found.verdicts()
    >>> found.plot().savefig("shared.png")
    """

    command = "directions erase"
    part = "shared_directions"

    names: tuple[str, ...]
    estimator: str
    n_folds: int
    seed: int
    model: str
    point: str
    head: tuple[int, int]
    """Layer and head."""
    n_shuffled: int
    general: Float[np.ndarray, "T M"]
    """Of the probe of all domains together, after so many of its own directions."""
    general_null: Float[np.ndarray, " T"]
    """95% quantile of its mean over domains when labels are shuffled inside groups."""
    own: Float[np.ndarray, "T M"]
    """Of each domain's own probe, fitted anew after so many general directions."""
    own_random: Float[np.ndarray, "T M"]
    """The same after so many random directions, isotropic in raw space."""
    specific: Float[np.ndarray, "T M"]
    """Of each domain's own probe, after all general directions and so many of its own."""
    specific_null: Float[np.ndarray, "T M"]
    """95% quantile of that when labels are shuffled."""
    n_general: int
    """Directions until the general probe is no better than on shuffled labels; T if it stays better."""
    n_specific: tuple[int, ...]
    """Directions of each domain's own after these, until its probe is no better than on shuffled labels."""

    @property
    def general_share(self) -> Float[np.ndarray, " M"]:
        """How much of a domain's own AUROC above .5 goes with the general directions; NaN where there is none."""
        above = self.own[0] - 0.5
        left = self.own[min(self.n_general, len(self.own) - 1)] - 0.5
        return np.where(above > 0, 1 - left / np.where(above > 0, above, 1), np.nan)

    @property
    def at(self) -> str:
        """The head as sentences have it."""
        return f"{self.head[0]}.{self.head[1]}" if self.point == "z" else f"layer {self.head[0]}"

    def tables(self) -> tuple[Table, ...]:
        """What is general and specific in every domain; and the curves."""
        return self.shares(), self.curves()

    def shares(self) -> Table:
        """A row a domain: `shared.shares()`."""
        last = min(self.n_general, len(self.own) - 1)
        rows = [
            row(
                name,
                number(self.own[0, m]),
                number(self.own[last, m]),
                number(self.own_random[last, m]),
                number(float(self.general_share[m]), 2),
                self._steps(self.n_specific[m]),
            )
            for m, name in enumerate(self.names)
        ]
        header = ("domain", "own probe", "without general", "without random", "general share", "specific directions")
        note = (
            f"AUROC in {self.at}; {self._steps(self.n_general)} general. General share: how much of the AUROC above .5 "
            "goes with the general directions."
        )
        return table("General and specific directions", header, rows, note)

    def curves(self) -> Table:
        """A row for so many general directions: `shared.curves()`."""
        rows: list[Row] = []
        for step in range(len(self.general)):
            mean = (number(float(its[step].mean())) for its in (self.general, self.own, self.own_random))
            rows.append(row(str(step), *mean, number(self.general_null[step])))
        header = ("directions", "general probe", "own probes", "own, random directions", "general, shuffled 95%")
        return table("Means over domains", header, rows)

    def _steps(self, n: int) -> str:
        return f"{n}" if n < len(self.general) else f"more than {n - 1}"

    def verdicts(self) -> list[str]:
        """How many directions are general, what share of each domain they hold, what is left."""
        last = min(self.n_general, len(self.own) - 1)
        many = self._steps(self.n_general)
        shares = ", ".join(
            f"{name} {number(float(its), 2)}" for name, its in zip(self.names, self.general_share, strict=True)
        )
        sentences = [
            f"In {self.at} {many} direction{' of truth is' if many == '1' else 's of truth are'} general to "
            f"{count(len(self.names), 'domain')}: a probe of all has AUROC {self.general[0].mean():.2f}, and with as "
            f"many projected away {self.general[last].mean():.2f} (shuffled labels, 95%: "
            f"{self.general_null[last]:.2f})."
        ]
        if self.n_general:
            sentences.append(
                f"Without them each domain's own probe falls from {self.own[0].mean():.2f} to "
                f"{self.own[last].mean():.2f} on average, without as many random directions to "
                f"{self.own_random[last].mean():.2f}; general share: {shares}."
            )
        left = [f"{name} {self._steps(n)}" for name, n in zip(self.names, self.n_specific, strict=True) if n]
        sentences.append(f"Specific directions on top: {', '.join(left) if left else 'none in any domain'}.")
        return sentences

    def plot(self) -> Figure:
        """AUROC against how many general directions are projected away."""
        from lens_truth.geometry.matrix_figures import shared_curves  # takes as long as all the rest

        return shared_curves(self)
