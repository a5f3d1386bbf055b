"""Head scores against other measures of the same heads: correlations, top heads against the rest, nulls, Holm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value, short, signed, significant
from lens_truth.io.results import Result
from lens_truth.io.streams import Stream, stream
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.stats.correlation import Map, Relation, holm_by_name, relate, remove_layer_means, shuffled_orders

Marks = Bool[np.ndarray, "L H"]
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TopDifference:
    """The mean of a map over the top heads, less that over the rest."""

    n_top: int
    difference: float
    difference_within_layer: float
    """With each layer's mean taken off the map first: the heads themselves, not the layers they stand in."""
    null: tuple[float, float]
    """The middle 95% of `difference_within_layer` when heads are shuffled inside layers."""
    p_value: float
    """Two-sided, of `difference_within_layer`."""


@dataclass(frozen=True, eq=False)
class Relations(Result):
    """A score against several measures; None where no correlation is defined."""

    command = "evidence"
    part = "relations"
    named = True

    score: Mapping[str, Relation | None]
    top: Mapping[str, TopDifference | None]
    """Each measure over the heads with the highest scores, against the rest."""
    p_holm: Mapping[str, tuple[float | None, float | None]]
    """p-values of `score` and `top`, Holm-adjusted over the measures."""

    def __post_init__(self) -> None:
        if not self.score.keys() == self.top.keys() == self.p_holm.keys():
            raise InputError("score, top and p_holm are not of the same measures")

    def tables(self) -> tuple[Table, ...]:
        """A row a measure."""
        return (self.table("Score of a head against other measures of it"),)

    def table(
        self, caption: str, names: Mapping[str, str] | None = None, *, places: int | None = 3, note: str = ""
    ) -> Table:
        """A row a measure, called as in `names`: its correlation with the score, and the heads with the highest scores
        against the rest, with so many `places` (None: three digits that count)."""
        n = next((top.n_top for top in self.top.values() if top), None)
        best = "top - rest" if n is None else f"top {n} - rest"
        header = ("", "r", "inside layers [95%]", "null inside", "p (Holm)", best, "inside layers", "p (Holm)")
        rows = (self._row(measure, (names or {}).get(measure, measure), places) for measure in self.score)
        return table(caption, header, rows, note)

    def _row(self, measure: str, name: str, places: int | None) -> Row:
        relation, top = self.score[measure], self.top[measure]
        cells, differences = ["", "", ""], ["", ""]
        if relation is not None:
            within = f"{number(relation.pearson_within_layer, 2)} {interval(relation.interval_within_layer)}"
            cells = [number(relation.pearson, 2), within, interval(relation.null_within_layer)]
        if top is not None:
            both = top.difference, top.difference_within_layer
            differences = [short(its, plus=True) if places is None else signed(its, places) for its in both]
        score_p, top_p = (Cell(p_value(p), strong=significant(p)) for p in self.p_holm[measure])
        return row(name, *cells, score_p, *differences, top_p)


def relate_measures(
    score: Map, measures: Mapping[str, Map], *, share: float = 0.25, n_kv_heads: int | None = None, seed: int = 0
) -> Relations:
    """Relates a score to each measure, raw and inside layers, against shuffles of heads inside layers; heads that share
    keys and values are shuffled together. `share` is that of the heads that count as those with high scores."""
    top = top_heads(score, share)
    related = {name: relate(score, values, n_kv_heads=n_kv_heads, seed=seed) for name, values in measures.items()}
    differences = {
        name: compare_top(values, top, n_kv_heads=n_kv_heads, seed=seed) if np.isfinite(values).all() else None
        for name, values in measures.items()
    }
    score_p, top_p = (
        holm_by_name({name: test and test.p_value for name, test in tests.items()}) for tests in (related, differences)
    )
    return Relations(related, differences, {name: (score_p[name], top_p[name]) for name in measures})


def top_heads(scores: Map, share: float) -> Marks:
    """Marks the given share of heads, those with the highest scores (of equals the first)."""
    n = round(share * scores.size) if 0 < share < 1 else 0
    if not 0 < n < scores.size:
        raise InputError(f"a share of {share} of {scores.size} heads leaves no heads to compare with each other")
    marked = np.zeros(scores.size, dtype=bool)
    marked[np.argsort(-scores, axis=None, kind="stable")[:n]] = True
    return marked.reshape(scores.shape)


def compare_top(
    values: Map, top: Marks, *, n_kv_heads: int | None = None, n_permutations: int = 9999, seed: int = 0
) -> TopDifference:
    """The mean of `values` over the marked heads against that over the rest. The null shuffles heads inside layers (KV
    groups whole), so that neither depth nor shared keys can pass for an effect of the score."""
    L, H = values.shape
    centred = remove_layer_means(values)
    # The centred map sums to zero, so the mean over the rest follows from the sum over the top.
    n_top = int(top.sum())
    scale = 1 / n_top + 1 / (top.size - n_top)
    orders = shuffled_orders(n_permutations, L, H, n_kv_heads or H, stream(seed, Stream.TOP_HEADS))
    null = scale * np.concatenate([np.where(top.ravel()[order], centred.ravel(), 0).sum(1) for order in orders])
    within = float(centred[top].sum() * scale)
    as_far = np.abs(null) >= abs(within) - _ROUNDING * max(1e-300, float(np.abs(centred).max()))
    low, high = np.quantile(null, [0.025, 0.975])
    return TopDifference(
        n_top=n_top,
        difference=float(values[top].mean() - values[~top].mean()),
        difference_within_layer=within,
        null=(float(low), float(high)),
        p_value=float((1 + as_far.sum()) / (1 + n_permutations)),
    )


def relation_text(relation: Relation | None) -> str:
    """One correlation over heads, with its null."""
    if relation is None:
        return "no correlation is defined"
    return (
        f"r {relation.pearson:.2f}, inside layers {relation.pearson_within_layer:.2f} "
        f"(null {relation.null_within_layer[0]:.2f} to {relation.null_within_layer[1]:.2f}, p = {relation.p_value:.2g})"
    )
