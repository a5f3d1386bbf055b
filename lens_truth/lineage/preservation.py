"""Do heads with high scores keep their weights, and do heads whose weights changed change their scores?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value
from lens_truth.io.tables import Row, Table, row, table
from lens_truth.lineage.kept import MEASURES, WeightSimilarity
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Map, Relation, relate
from lens_truth.stats.relations import Relations, relate_measures

CIRCUITS = ("ov", "qk")


@dataclass(frozen=True, eq=False)
class Preservation(Relations):
    """The base's score against the cosine of q, k, v, o, qk and ov, and against the relative change of weights."""

    command = "weights"
    part = "preservation"

    score_change: Relation | None = None
    """|child's score - base's score| against the relative change of weights."""

    def tables(self) -> tuple[Table, ...]:
        """A row a measure."""
        return (self.kept_table("Score in the base against what the child kept"),)

    def kept_table(self, caption: str) -> Table:
        """The same under another caption."""
        return self.table(caption, MEASURES, places=4)


def preservation(
    base: HeadScores, child: HeadScores | None, weights: WeightSimilarity, *, share: float = 0.25, seed: int = 0
) -> Preservation:
    """Relates head scores to what a child kept of its base's weights (TruthProbe, Section 3.2), inside layers and
    against a null.

    Args:
        child: its scores, if their change is to be related to the change of weights.
        share: of heads that count as those with high scores.

    Raises:
        InputError: if scores and weights have different heads, or the share leaves no heads to compare.
    """
    for name, scores in (("base", base), ("child", child)):
        if scores is not None and scores.values.shape != weights.change.shape:
            raise InputError(
                f"the {name}'s scores are {_size(scores.values)}, the weights {_size(weights.change)} heads"
            )
    kv = weights.n_kv_heads
    related = relate_measures(base.values, weights.maps(), share=share, n_kv_heads=kv, seed=seed)
    change = None
    if child is not None:
        change = relate(np.abs(child.values - base.values), weights.change, n_kv_heads=kv, seed=seed)
    return Preservation(related.score, related.top, related.p_holm, change)


def circuits_table(base: str, children: Mapping[str, tuple[WeightSimilarity, Preservation]]) -> Table:
    """Whether heads with high scores in the base keep more of their OV and QK circuits: two rows a child."""
    rows = (_circuit(name, circuit, *both) for name, both in children.items() for circuit in CIRCUITS)
    header = ("model", "circuit", "mean cosine", "r", "inside layers", "null inside", "p")
    note = f"r: correlation over heads of the score in {base} with the cosine."
    return table(f"Circuits kept, and whether heads with high scores in {base} keep more", header, rows, note)


def _circuit(name: str, circuit: str, kept: WeightSimilarity, related: Preservation) -> Row:
    mean, relation = number(kept.means()[circuit]), related.score.get(circuit)
    if relation is None:
        return row(name, circuit.upper(), mean, "", "", "", "")
    return row(
        name,
        circuit.upper(),
        mean,
        number(relation.pearson, 2),
        number(relation.pearson_within_layer, 2),
        interval(relation.null_within_layer),
        p_value(relation.p_value),
    )


def _size(values: Map) -> str:
    return f"{values.shape[0]} x {values.shape[1]}"
