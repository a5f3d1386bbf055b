"""Head scores against other measures of the same heads: correlations, top heads against the rest, nulls, Holm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lens_truth.stats.correlation import Map, Relation, holm_by_name, relate
from lens_truth.stats.top_heads import TopDifference, compare_top, top_heads


@dataclass(frozen=True)
class Relations:
    """A score against several measures; None where no correlation is defined."""

    score: Mapping[str, Relation | None]
    top: Mapping[str, TopDifference | None]
    """Each measure over the heads with the highest scores, against the rest."""
    p_holm: Mapping[str, tuple[float | None, float | None]]
    """p-values of `score` and `top`, Holm-adjusted over the measures."""

    def as_dict(self) -> dict[str, Any]:
        """For result.json."""
        return asdict(self)


def relate_measures(
    score: Map, measures: Mapping[str, Map], *, share: float = 0.25, n_kv_heads: int | None = None, seed: int = 0
) -> Relations:
    """Relates a score to each measure, raw and inside layers, against shuffles of heads inside layers.

    Args:
        share: of heads that count as those with high scores.
        n_kv_heads: heads that share keys and values are shuffled together.

    Raises:
        InputError: for maps of unequal shape, or a share that leaves no heads to compare.
    """
    top = top_heads(score, share)
    related = {name: relate(score, values, n_kv_heads=n_kv_heads, seed=seed) for name, values in measures.items()}
    differences = {
        name: compare_top(values, top, n_kv_heads=n_kv_heads, seed=seed) if np.isfinite(values).all() else None
        for name, values in measures.items()
    }
    score_p, top_p = holm_by_name(related), holm_by_name(differences)
    return Relations(related, differences, {name: (score_p[name], top_p[name]) for name in measures})
