"""Do heads with high scores keep their weights, and do heads whose weights changed change their scores?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lens_truth.errors import InputError
from lens_truth.lineage.weights import MEASURES, WeightSimilarity
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Map, Relation, relate
from lens_truth.stats.relations import Relations, relate_measures


@dataclass(frozen=True)
class Preservation(Relations):
    """The base's score against the cosine of q, k, v, o, qk and ov, and against the relative change of weights."""

    score_change: Relation | None = None
    """|child's score - base's score| against the relative change of weights."""


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
    kept: dict[str, Map] = {measure: getattr(weights, measure) for measure in MEASURES}
    related = relate_measures(base.values, kept, share=share, n_kv_heads=kv, seed=seed)
    change = None
    if child is not None:
        change = relate(np.abs(child.values - base.values), weights.change, n_kv_heads=kv, seed=seed)
    return Preservation(related.score, related.top, related.p_holm, change)


def _size(values: Map) -> str:
    return f"{values.shape[0]} x {values.shape[1]}"
