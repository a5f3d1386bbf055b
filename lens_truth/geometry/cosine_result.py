"""`Cosines`: how the directions of domains lie to each other, and what that predicts; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import interval, number
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Quantiles = tuple[float, float, float]
"""5%, 50%, 95%."""
_TITLES = {"mahalanobis": "Mahalanobis cosine", "plain": "plain cosine"}
_SPACES = {"whitened": "drawn in whitened space", "raw": "drawn in raw space"}


@dataclass(frozen=True, eq=False)
class Prediction:
    """R2 of a straight line from a cosine to the AUROC, over the cells off the diagonal.

    >>> cosines.prediction["plain"].r2
    """

    r2: float
    without_a_domain: tuple[float, float]
    """The lowest and the highest without one of the domains."""
    r2_of_heads: Float[np.ndarray, "L H"]
    """Of every head by itself."""
    random_probes: Mapping[str, Quantiles]
    """R2 where random directions take the place of the trained ones, and the AUROC that is predicted is theirs: their
    cosine with the tested domain's own direction. By the space in which they were drawn."""
    random_pairs: Mapping[str, Quantiles]
    """The same, but the cosine is with another random direction in place of the tested domain's own."""


@dataclass(frozen=True, eq=False)
class Cosines(Result):
    """Of the row's direction with the column's, in one head.

    >>> found = lens_truth.Cosines.load("runs/directions-transfer")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("cosines.png")
    """

    command = "directions transfer"
    part = "cosines"

    names: tuple[str, ...]
    estimator: str
    model: str
    point: str
    head: tuple[int, int]
    """Layer and head whose probes do best in their own domains, on average."""
    n_random: int
    """Draws behind the quantiles of random directions."""
    plain: Float[np.ndarray, "M M"]
    mahalanobis: Float[np.ndarray, "M M"]
    """Under the covariance of the column's rows: the correlation of the two probes' outputs there."""
    auroc: Float[np.ndarray, "M M"]
    """Of the row's probes on the column's held-out rows."""
    prediction: Mapping[str, Prediction]
    """By the cosine: `mahalanobis`, `plain`."""
    dimension: float
    """Participation ratio of the domains' unit directions in whitened coordinates: from 1 to the number of domains."""
    dimension_of_heads: Float[np.ndarray, "L H"]
    random_dimension: Quantiles
    """Of as many random directions, isotropic in these coordinates."""

    @property
    def at(self) -> str:
        """The head as sentences have it."""
        return f"{self.head[0]}.{self.head[1]}" if self.point == "z" else f"layer {self.head[0]}"

    def tables(self) -> tuple[Table, ...]:
        """What the cosines predict, and both matrices."""
        return self.predictions(), self._matrix("mahalanobis"), self._matrix("plain")

    def predictions(self) -> Table:
        """R2 of either cosine beside those of random directions: `cosines.predictions()`."""
        rows: list[Row] = []
        for name, its in self.prediction.items():
            heads = its.r2_of_heads[np.isfinite(its.r2_of_heads)]
            middle = number(float(np.median(heads)), 2) if len(heads) else ""
            nulls = [_span(where[space]) for where in (its.random_probes, its.random_pairs) for space in _SPACES]
            rows.append(row(_TITLES[name], number(its.r2, 2), interval(its.without_a_domain), middle, *nulls))
        header = (
            "cosine",
            "R2",
            "without a domain",
            "median of heads",
            *(f"random probe, {space}" for space in _SPACES),
            *(f"random pair, {space}" for space in _SPACES),
        )
        note = (
            f"R2 of a straight line from the cosine to the AUROC over {self._n_cells()} cells off the diagonal, head "
            f"{self.at}. Random probe: random directions (drawn in whitened or raw space) against the tested domain's "
            "own direction, and their own AUROC; random pair: both random. Medians, and 5% to 95%."
        )
        return table("What cosines predict", header, rows, note)

    def _n_cells(self) -> int:
        return len(self.names) * (len(self.names) - 1)

    def _matrix(self, kind: str) -> Table:
        values = getattr(self, kind)

        def cell(i: int, j: int) -> Cell:
            value = float(values[i, j])
            tip = f"{self.names[i]} with {self.names[j]}: {_TITLES[kind]} {number(value)}"
            tip += f", AUROC {number(self.auroc[i, j])}"
            return Cell(number(value, 2), tint=None if np.isnan(value) else value, tip=tip)

        m = range(len(self.names))
        rows = tuple(row(self.names[i], *(cell(i, j) for j in m)) for i in m)
        title = _TITLES[kind][:1].upper() + _TITLES[kind][1:]
        return Table(f"{title}, {self.at}", ("", *self.names), rows, form="matrix")

    def verdicts(self) -> list[str]:
        """How well cosines predict transfer, against random directions; how many dimensions the directions span."""
        sentences: list[str] = []
        for name, its in self.prediction.items():
            if np.isnan(its.r2):
                continue
            any_probe, pair = its.random_probes["whitened"], its.random_pairs["whitened"]
            sentences.append(
                f"In {self.at} the {_TITLES[name]} explains {number(its.r2, 2)} of the variance of AUROC between "
                f"domains{self._without(its)}; for "
                f"random directions against the tested domain's own {_span(any_probe)}, for pairs of random directions "
                f"{_span(pair)} (whitened space)."
            )
        low, _, high = self.random_dimension
        side = "fewer than" if self.dimension < low else "more than" if self.dimension > high else "as many as"
        sentences.append(
            f"The {len(self.names)} directions span {self.dimension:.2f} effective dimensions, {side} as many "
            f"random ones ({_span(self.random_dimension)})."
        )
        return sentences

    def _without(self, its: Prediction) -> str:
        low, high = its.without_a_domain
        return "" if np.isnan(low) else f" (without one domain {low:.2f} to {high:.2f})"

    def plot(self) -> Figure:
        """AUROC against both cosines, a point a cell off the diagonal."""
        from lens_truth.geometry.matrix_figures import cosine_scatter  # takes as long as all the rest

        return cosine_scatter(self)


def _span(quantiles: Quantiles) -> str:
    low, middle, high = quantiles
    return f"{number(middle, 2)} ({number(low, 2)} to {number(high, 2)})" if not np.isnan(middle) else ""
