"""Head scores against other measures of the same heads: correlations, top heads against the rest, nulls, Holm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value, signed, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.stats.correlation import Map, Relation, holm_by_name, relate
from lens_truth.stats.top_heads import TopDifference, compare_top, top_heads


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

    def table(self, caption: str, names: Mapping[str, str] | None = None, *, places: int = 3, note: str = "") -> Table:
        """A row a measure: its correlation with the score, and the heads with the highest scores against the rest.

        Args:
            names: what measures are called; others keep their name.
            places: of differences.
        """
        n = next((top.n_top for top in self.top.values() if top), None)
        best = "top - rest" if n is None else f"top {n} - rest"
        header = ("", "r", "inside layers [95%]", "null inside", "p (Holm)", best, "inside layers", "p (Holm)")
        return table(
            caption,
            header,
            (self._row(measure, (names or {}).get(measure, measure), places) for measure in self.score),
            note,
        )

    def _row(self, measure: str, name: str, places: int) -> Row:
        relation, top = self.score[measure], self.top[measure]
        cells = ["", "", ""]
        if relation is not None:
            within = f"{number(relation.pearson_within_layer, 2)} {interval(relation.interval_within_layer)}"
            cells = [number(relation.pearson, 2), within, interval(relation.null_within_layer)]
        differences = ["", ""]
        if top is not None:
            differences = [signed(top.difference, places), signed(top.difference_within_layer, places)]
        score_p, top_p = (Cell(p_value(p), strong=significant(p)) for p in self.p_holm[measure])
        return row(name, *cells, score_p, *differences, top_p)


def relate_measures(
    score: Map, measures: Mapping[str, Map], *, share: float = 0.25, n_kv_heads: int | None = None, seed: int = 0
) -> Relations:
    """Relates a score to each measure, raw and inside layers, against shuffles of heads inside layers.

    Args:
        share: of heads that count as those with high scores.
        n_kv_heads: heads that share keys and values are shuffled together.

    >>> relations = relate_measures(truth.values, {"attention": attention.values})
    >>> print_table(relations.tables()[0])

    Raises:
        InputError: for maps of unequal shape, or a share that leaves no heads to compare.
    """
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


def relation_text(relation: Relation | None) -> str:
    """One correlation over heads, with its null."""
    if relation is None:
        return "no correlation is defined"
    return (
        f"r {relation.pearson:.2f}, inside layers {relation.pearson_within_layer:.2f} "
        f"(null {relation.null_within_layer[0]:.2f} to {relation.null_within_layer[1]:.2f}, p = {relation.p_value:.2g})"
    )
