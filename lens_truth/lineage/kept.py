"""`WeightSimilarity` and `Preservation`: what a descendant keeps of each head's weights, and whether heads with high
scores keep more; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value, short
from lens_truth.io.results import Result
from lens_truth.io.tables import Row, Table, row, table
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Relation, relate
from lens_truth.stats.relations import Relations, relate_measures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "q": "cosine of W_Q",
    "k": "cosine of W_K",
    "v": "cosine of W_V",
    "o": "cosine of W_O",
    "qk": "cosine of the QK circuit",
    "ov": "cosine of the OV circuit",
    "change": "relative change",
}
"""The maps of `WeightSimilarity`, and what tables of correlations with them call them."""
DISTANCES = {measure: name if measure == "change" else f"1 - {name}" for measure, name in MEASURES.items()}
"""The same as distances. A child's cosines begin with .999: what differs is how far they are from 1."""
_SMALLEST = 1e-12
"""A smaller distance is rounding; on logarithmic axes there is no zero."""

CIRCUITS = ("ov", "qk")


@dataclass(frozen=True, eq=False)
class WeightSimilarity(Result):
    """Two models' weights, head by head (L layers x H heads).

    >>> lens_truth.WeightSimilarity.load("runs/weights").plot()
    """

    command = "weights"
    part = "weight_similarity"
    named = True

    q: Float[np.ndarray, "L H"]
    """Cosine of W_Q (d_head x d_model, flattened); k, v and o likewise. Heads of a KV group share k and v."""
    k: Float[np.ndarray, "L H"]
    v: Float[np.ndarray, "L H"]
    o: Float[np.ndarray, "L H"]
    qk: Float[np.ndarray, "L H"]
    """Cosine of the QK circuit W_Q^T W_K (d_model x d_model), before rotary embedding and norms of queries and keys."""
    ov: Float[np.ndarray, "L H"]
    """Cosine of the OV circuit W_O W_V (d_model x d_model)."""
    change: Float[np.ndarray, "L H"]
    """|child - base| / |base| over the head's four matrices together (Frobenius norm)."""
    n_kv_heads: int
    """KV heads a layer, each of which several query heads may share."""
    hashes: tuple[str, str]
    """Of the attention weights of base and child."""
    base: str
    """Its name; of the child likewise."""
    child: str

    def __post_init__(self) -> None:
        if len({getattr(self, measure).shape for measure in MEASURES}) > 1:
            raise InputError("its maps are not of the same heads")

    @property
    def undefined(self) -> int:
        """Heads with a matrix of zeros, for which no cosine is defined: NaN."""
        return int(np.isnan(np.stack(list(self.maps().values()))).any(0).sum())

    def maps(self) -> dict[str, Float[np.ndarray, "L H"]]:
        """Every measure, by the name of its field: `kept.maps()["ov"]`."""
        return {measure: getattr(self, measure) for measure in MEASURES}

    def distances(self) -> dict[str, Float[np.ndarray, "L H"]]:
        """1 - cosine, and the relative change: `kept.distances()["ov"]`. Rounding, below 1e-12, counts as that."""
        maps = self.maps()
        far = {measure: values if measure == "change" else 1 - values for measure, values in maps.items()}
        return {measure: np.maximum(values, _SMALLEST) for measure, values in far.items()}

    def means(self) -> dict[str, float | None]:
        """Of each measure, over all heads for which it is defined; None if there are none: `kept.means()["ov"]`."""
        return {part: None if np.isnan(m).all() else float(np.nanmean(m)) for part, m in self.maps().items()}

    def tables(self) -> tuple[Table, ...]:
        """The mean of every measure over heads, as distances: `kept.tables()[0]`."""
        return (means_table([self]),)

    def plot(self) -> Figure:
        """A map of heads for every measure, as distances, each on a logarithmic scale of its own."""
        from lens_truth.plots.heads import heatmaps  # takes as long as all the rest

        maps = {DISTANCES[measure]: values for measure, values in self.distances().items()}
        return heatmaps(
            maps, f"{self.child} against {self.base}, each map in its own range of colours, logarithmic", log=True
        )


def means_table(several: Sequence[WeightSimilarity]) -> Table:
    """What several models keep of one base: the mean of every measure over heads as a distance, a column a model."""
    means = [its.means() for its in several]
    rows = (row(title, *(_distance(its, measure) for its in means)) for measure, title in DISTANCES.items())
    return table("Mean over heads", ("mean over heads", *(its.child for its in several)), rows)


def _distance(means: Mapping[str, float | None], measure: str) -> str:
    """Its mean, in three digits that count."""
    mean = means[measure]
    return short(mean if mean is None or measure == "change" else max(0.0, 1 - mean))


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
        return self.table(caption, MEASURES, places=None)


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
            its, kept = (" x ".join(map(str, values.shape)) for values in (scores.values, weights.change))
            raise InputError(f"the {name}'s scores are {its}, the weights {kept} heads")
    kv = weights.n_kv_heads
    related = relate_measures(base.values, weights.maps(), share=share, n_kv_heads=kv, seed=seed)
    change = None
    if child is not None:
        change = relate(np.abs(child.values - base.values), weights.change, n_kv_heads=kv, seed=seed)
    return Preservation(related.score, related.top, related.p_holm, change)


def circuits_table(base: str, children: Mapping[str, tuple[WeightSimilarity, Preservation]]) -> Table:
    """Whether heads with high scores in the base keep more of their OV and QK circuits: two rows a child."""
    rows: list[Row] = []
    for name, (kept, related) in children.items():
        for circuit in CIRCUITS:
            cells, its = [""] * 4, related.score.get(circuit)
            if its is not None:
                r = number(its.pearson, 2), number(its.pearson_within_layer, 2)
                cells = [*r, interval(its.null_within_layer), p_value(its.p_value)]
            rows.append(row(name, circuit.upper(), _distance(kept.means(), circuit), *cells))
    header = ("model", "circuit", "mean 1 - cosine", "r", "inside layers", "null inside", "p")
    note = f"r: correlation over heads of the score in {base} with the cosine."
    return table(f"Circuits kept, and whether heads with high scores in {base} keep more", header, rows, note)
