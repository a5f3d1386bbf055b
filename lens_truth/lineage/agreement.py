"""`Heritability`: how well the scores of every two models agree, in numbers, tables, words and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.io.numbers import SIGNIFICANT, interval, number, p_value
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.stats.correlation import Correlations, holm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADER = (
    *("pair", "Pearson [95%]", "Spearman", "inside layers [95%]"),
    *("Spearman inside", "null inside", "p (Holm)", "r / ceiling"),
)
_LEGEND = (
    "Correlation over {units}; inside layers: each layer's mean removed from both maps; null inside: the middle 95% "
    "when {units} are shuffled inside layers; p: share of those shuffles that agree as well (one-sided), Holm-adjusted "
    "over all pairs; ceiling: what noise would leave of r = 1, inside layers (r from different runs only, where both "
    "models have as many)."
)
_MATCHED = (
    "r matched: Pearson's r of scores on matched rows, in which the surface of answers no longer tells the labels."
)

NEURON = "neuron"
"""The kind of scores that neurons have."""


@dataclass(frozen=True)
class Floor:
    """Pairs that share an architecture and nothing else: what a correlation must exceed to be inheritance."""

    names: tuple[str, ...]
    """Of the models."""
    pearson: tuple[float, float, float]
    """Least, mean and greatest over the pairs."""
    pearson_within_layer: tuple[float, float, float]
    """The same with each layer's mean removed."""


@dataclass(frozen=True, eq=False)
class Heritability(Result):
    """How well the scores of every two of m models agree, head by head; matrices (m x m) in the order of `names`.

    >>> lens_truth.Heritability.load("runs/inherit", "causal").correlations.pearson_within_layer
    """

    command = "inherit"
    part = "heritability"
    named = True

    names: tuple[str, ...]
    """Of the m models."""
    kinds: tuple[str, ...]
    """Kind of each model's scores (truth, causal, retrieval, ...)."""
    shape: tuple[int, int]
    """Layers and heads compared."""
    n_kv_heads: tuple[int | None, ...]
    """KV heads a layer: the units that the null shuffles; None where a file does not say."""
    correlations: Correlations
    """Of every pair: Pearson and Spearman over heads, raw and inside layers (each layer's mean removed from both), with
    95% bootstrap intervals and the middle 95% of the null."""
    reliability: tuple[float, ...]
    """Share of each model's variance over heads that is not noise; NaN where there are no repeated estimates."""
    reliability_within_layer: tuple[float, ...]
    """The same inside layers."""
    disattenuated: Float[np.ndarray, "m m"]
    """r over its ceiling from different runs only: models that are scored on the same examples share some of their
    noise, which r contains and this does not. NaN unless both models have equally many estimates."""
    disattenuated_within_layer: Float[np.ndarray, "m m"]
    """The same inside layers."""
    unrelated: tuple[str, ...] = ()
    """Of `names`: models with one architecture and no common ancestor."""
    matched: Float[np.ndarray, "m m"] | None = None
    """Pearson r of truth scores on matched rows, in which the surface of answers no longer tells the labels; NaN where
    a model has none. None where no pair has any."""

    def __post_init__(self) -> None:
        m, c = len(self.names), self.correlations
        reliabilities = self.reliability, self.reliability_within_layer
        parts: list[Sized] = [self.kinds, self.n_kv_heads, *reliabilities, *vars(c).values()]
        parts += [self.disattenuated, self.disattenuated_within_layer]
        parts += [] if self.matched is None else [self.matched, *self.matched]
        if m < 2 or any(len(part) != m for part in parts) or not {*self.unrelated} <= {*self.names}:
            raise InputError(f"its parts are not all of the {m} models that it names")
        if any(share <= 0 for its in reliabilities for share in its):
            raise InputError("a reliability is not a positive share")

    @property
    def kind(self) -> str:
        """Of all scores, in words."""
        return " and ".join(dict.fromkeys(self.kinds))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every two models once, by number."""
        return list(combinations(range(len(self.names)), 2))

    @cached_property
    def p_permutation(self) -> Float[np.ndarray, "m m"]:
        """One-sided (the maps agree), Holm-adjusted over all pairs; on the diagonal as it is."""
        upper = np.triu_indices(len(self.names), 1)
        p = self.correlations.p_value.copy()
        p[upper] = holm(p[upper])
        p.T[upper] = p[upper]
        return p

    @property
    def ceiling(self) -> Float[np.ndarray, "m m"]:
        """The Pearson r that two models with equal true scores would reach, given the noise of both estimates: the root
        of the product of their reliabilities (Spearman 1904). NaN where a model has no repeated estimates."""
        return _ceiling(self.reliability)

    @property
    def ceiling_within_layer(self) -> Float[np.ndarray, "m m"]:
        """The same inside layers."""
        return _ceiling(self.reliability_within_layer)

    @property
    def pearson_over_ceiling(self) -> Float[np.ndarray, "m m"]:
        """What is left of r once noise is allowed for; see `disattenuated` for models scored on the same examples."""
        return self.correlations.pearson / self.ceiling

    @property
    def pearson_within_layer_over_ceiling(self) -> Float[np.ndarray, "m m"]:
        """The same inside layers."""
        return self.correlations.pearson_within_layer / self.ceiling_within_layer

    @property
    def floor(self) -> Floor | None:
        """Of the models that were named as unrelated; None if none were."""
        pairs = list(combinations([self.names.index(name) for name in self.unrelated], 2))

        def spread(matrix: Float[np.ndarray, "m m"]) -> tuple[float, float, float]:
            found = [float(matrix[pair]) for pair in pairs]
            return min(found), sum(found) / len(found), max(found)

        c = self.correlations
        return Floor(self.unrelated, spread(c.pearson), spread(c.pearson_within_layer)) if pairs else None

    @property
    def units(self) -> str:
        """What a map has a number for: `heads`, or `neurons`."""
        return "neurons" if set(self.kinds) == {NEURON} else "heads"

    def tables(self, reference: str | None = None) -> tuple[Table, Table, Table]:
        """Every pair in numbers, and two matrices: Pearson r over all heads, and inside layers.

        >>> print_table(found.tables(reference="llama-base")[0])

        Args:
            reference: a model, of whose pairs alone the first table is then.
        """
        at = None if reference is None else self._at(reference)
        rows = (self._pair(i, j) for i, j in self.pairs if at is None or at in (i, j))
        header, legend = _HEADER, _LEGEND.format(units=self.units)
        if self.matched is not None:
            header, legend = (*header[:2], "r matched", *header[2:]), f"{legend} {_MATCHED}"
        return (
            table("Every pair", header, rows, legend),
            self._matrix(within=False),
            self._matrix(within=True),
        )

    def _pair(self, i: int, j: int) -> Row:
        c, over = self.correlations, self.disattenuated_within_layer[i, j]
        if math.isnan(over):
            over = self.pearson_within_layer_over_ceiling[i, j]
        return row(
            f"{self.names[i]} - {self.names[j]}",
            f"{number(c.pearson[i, j])} {_range(c.interval[i, j])}",
            *([] if self.matched is None else [number(self.matched[i, j])]),
            number(c.spearman[i, j]),
            f"{number(c.pearson_within_layer[i, j])} {_range(c.interval_within_layer[i, j])}",
            number(c.spearman_within_layer[i, j]),
            _range(c.null_within_layer[i, j]),
            Cell(p_value(self.p_permutation[i, j]), strong=self._beyond(i, j)),
            number(over, 2),
        )

    def _matrix(self, *, within: bool) -> Table:
        c, names = self.correlations, self.names
        matrix, ends, what = c.pearson, c.interval, "r"
        if within:
            matrix, ends, what = c.pearson_within_layer, c.interval_within_layer, "r inside layers"

        def cell(i: int, j: int) -> Cell:
            if i == j:
                return Cell("·", tip=f"{names[i]} with itself")
            r = float(matrix[i, j])
            null = f"; null {_range(c.null_within_layer[i, j])}" if within else ""
            tip = f"{names[i]} - {names[j]}: {what} {number(r)} {_range(ends[i, j])}{null}"
            tip += f"; p (Holm) {p_value(self.p_permutation[i, j])}"
            return Cell(number(r, 2), tint=None if math.isnan(r) else r, tip=tip, strong=self._beyond(i, j))

        rows = tuple(row(name, *(cell(i, j) for j in range(len(names)))) for i, name in enumerate(names))
        return Table("inside layers" if within else f"Pearson r over {self.units}", ("", *names), rows, form="matrix")

    def verdicts(self, root: Mapping[str, str] | None = None) -> list[str]:
        """Sentences: pairs above the null, and the floor.

        >>> found.verdicts(root={"llama": "llama", "vicuna": "llama", "mistral": "mistral"})

        Args:
            root: the ancestor of every model; with it, pairs inside and across lineages are told apart.
        """
        groups = {"Pairs": self.pairs}
        if root is not None:
            kin = [(i, j) for i, j in self.pairs if root[self.names[i]] == root[self.names[j]]]
            groups = {"Within lineages": kin, "Across lineages": [pair for pair in self.pairs if pair not in kin]}
        sentences = [self._verdict(title, pairs) for title, pairs in groups.items() if pairs]
        if floor := self.floor:
            ranges = floor.pearson, floor.pearson_within_layer
            raw, inside = (f"{mean:.2f} ({low:.2f} to {high:.2f})" for low, mean, high in ranges)
            names = ", ".join(floor.names)
            sentences.append(f"Floor, unrelated models of one architecture ({names}): r {raw}, inside layers {inside}.")
        return sentences

    def _verdict(self, title: str, pairs: Sequence[tuple[int, int]]) -> str:
        c = self.correlations
        beyond = [pair for pair in pairs if self._beyond(*pair)]
        raw, inside = ([float(m[pair]) for pair in pairs] for m in (c.pearson, c.pearson_within_layer))
        sentence = (
            f"{title}: {len(beyond)} of {len(pairs)} above what shuffled {self.units} give (p < .05, Holm over all "
            f"pairs); r {min(raw):.2f} to {max(raw):.2f}, inside layers {min(inside):.2f} to {max(inside):.2f}"
        )
        not_beyond = [pair for pair in pairs if pair not in beyond]
        if beyond and not_beyond:
            few = len(beyond) < len(not_beyond)
            named = (f"{self.names[i]} - {self.names[j]}" for i, j in (beyond if few else not_beyond))
            sentence += f"; {'above it' if few else 'not above it'}: {', '.join(named)}"
        return sentence + "."

    def plot(self, form: Literal["matrix", "bars"] = "matrix", *, reference: str | None = None) -> Figure:
        """The matrix of correlations, or bars of every model against one.

        >>> found.plot("bars", reference="llama-base").savefig("bars.png")

        Args:
            reference: what bars compare the others with; by default the first model.

        Raises:
            InputError: if the reference is not one of the models.
        """
        from lens_truth.lineage.figures import correlation_matrix, reference_bars  # takes as long as all the rest

        return correlation_matrix(self) if form == "matrix" else reference_bars(self, self._at(reference))

    def _beyond(self, i: int, j: int) -> bool:
        """Whether the permutation test tells a pair from chance."""
        return bool(self.p_permutation[i, j] < SIGNIFICANT)

    def _at(self, name: str | None) -> int:
        if name is not None and name not in self.names:
            raise InputError(f"'{name}' is not one of the models compared: {', '.join(self.names)}")
        return 0 if name is None else self.names.index(name)


def _ceiling(reliabilities: Sequence[float]) -> Float[np.ndarray, "m m"]:
    ceiling = np.sqrt(np.outer(reliabilities, reliabilities))
    np.fill_diagonal(ceiling, 1)  # a map shares its noise with itself
    return ceiling


def _range(ends: Float[np.ndarray, " 2"]) -> str:
    return interval(ends.tolist())
