"""Do heads that know also act? Truth scores against causal scores, over the heads of each model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Relation, holm_by_name, ranks_within_layers, relate


@dataclass(frozen=True, eq=False)
class TruthCausal(Result):
    """By model; None where no correlation is defined."""

    command = "inherit"
    part = "truth_causal"

    values: Mapping[str, Relation | None]
    """Of the scores as they are."""
    ranks: Mapping[str, Relation | None]
    """Of their ranks inside layers: a few heads of the first layers carry most of the spread of causal scores and none
    of that of truth scores, so the test is made where each layer counts alike."""

    def __post_init__(self) -> None:
        if self.values.keys() != self.ranks.keys():
            raise InputError("values and ranks are not of the same models")

    @property
    def p_holm(self) -> dict[str, float | None]:
        """Of the ranks, Holm-adjusted over the models."""
        return holm_by_name({name: ranked and ranked.p_value for name, ranked in self.ranks.items()})

    def text(self, name: str) -> str:
        """What was found in one model."""
        one, ranked = self.values[name], self.ranks[name]
        if one is None or ranked is None:
            return "no correlation is defined"
        low, high = ranked.null_within_layer
        return (
            f"r {one.pearson:.2f}; ranks inside layers {ranked.pearson:.2f} "
            f"(null {low:.2f} to {high:.2f}, p = {ranked.p_value:.2g}, Holm {self.p_holm[name]:.2g})"
        )

    def tables(self) -> tuple[Table, ...]:
        """A row a model."""
        header = ("model", "r", "ranks inside layers", "null", "p", "p (Holm)")
        note = "Ranks inside layers: each layer counts alike, however far its causal scores spread."
        caption = "Truth against causal scores, over the heads of each model"
        return (table(caption, header, (self._row(name, p) for name, p in self.p_holm.items()), note),)

    def _row(self, name: str, p: float | None) -> Row:
        one, ranked = self.values[name], self.ranks[name]
        cells = ["", "", ""]
        if ranked is not None:
            cells = [number(ranked.pearson, 2), interval(ranked.null_within_layer), p_value(ranked.p_value)]
        return row(name, number(one and one.pearson, 2), *cells, Cell(p_value(p), strong=significant(p)))


def truth_against_causal(
    truth: Mapping[str, HeadScores], causal: Mapping[str, HeadScores], *, n_permutations: int = 9999, seed: int = 0
) -> TruthCausal:
    """Of every model that has both scores.

    ```python
    found = truth_against_causal({"llama": truth}, {"llama": causal})
    print_table(found.tables()[0])
    ```
    """
    plain, ranked = (
        {
            name: relate(
                prepare(its.values),
                prepare(causal[name].values),
                n_kv_heads=its.n_kv_heads,
                n_permutations=n_permutations,
                seed=seed,
            )
            for name, its in truth.items()
            if name in causal
        }
        for prepare in (np.asarray, ranks_within_layers)
    )
    return TruthCausal(plain, ranked)
