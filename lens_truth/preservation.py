"""Do heads with high scores keep their weights, and do heads whose weights changed change their scores?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lens_truth.correlation import Relation, holm_by_name, relate
from lens_truth.errors import InputError
from lens_truth.scores import HeadScores, Map
from lens_truth.top_heads import TopDifference, compare_top, top_heads
from lens_truth.weights import MEASURES, WeightSimilarity


@dataclass(frozen=True)
class Preservation:
    """Scores of the base against what its child kept of each head; None where no correlation is defined."""

    score: Mapping[str, Relation | None]
    """The base's score against the cosine of q, k, v, o, qk and ov, and against the relative change of weights."""
    score_change: Relation | None
    """|child's score - base's score| against the relative change of weights."""
    top: Mapping[str, TopDifference | None]
    """Each measure over the heads with the highest base scores, against the rest."""
    p_holm: Mapping[str, tuple[float | None, float | None]]
    """p-values of `score` and `top`, Holm-adjusted over the measures."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


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
    top = top_heads(base.values, share)
    kv = weights.n_kv_heads
    score, differences = {}, {}
    for measure in MEASURES:
        kept: Map = getattr(weights, measure)
        score[measure] = relate(base.values, kept, n_kv_heads=kv, seed=seed)
        differences[measure] = compare_top(kept, top, n_kv_heads=kv, seed=seed) if np.isfinite(kept).all() else None
    score_p, top_p = holm_by_name(score), holm_by_name(differences)
    return Preservation(
        score=score,
        score_change=None
        if child is None
        else relate(np.abs(child.values - base.values), weights.change, n_kv_heads=kv, seed=seed),
        top=differences,
        p_holm={measure: (score_p[measure], top_p[measure]) for measure in MEASURES},
    )


def _size(values: Map) -> str:
    return f"{values.shape[0]} x {values.shape[1]}"
