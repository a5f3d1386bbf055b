"""`WeightSimilarity`: what a descendant keeps of each head's weights. Without PyTorch, so that it is read at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.io.numbers import number
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table

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
"""The maps of `WeightSimilarity`, and what tables call them."""


@dataclass(frozen=True, eq=False)
class WeightSimilarity(Result):
    """Two models' weights, head by head (L layers x H heads).

    ```python
    kept = lens_truth.WeightSimilarity.load("runs/weights")
    kept.means()["ov"]
    kept.plot()
    ```
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

    def means(self) -> dict[str, float | None]:
        """Of each measure, over all heads for which it is defined; None if there are none."""
        return {part: None if np.isnan(m).all() else float(np.nanmean(m)) for part, m in self.maps().items()}

    def tables(self) -> tuple[Table, ...]:
        """The mean of every measure over heads: `kept.tables()[0]`."""
        return (means_table([self]),)

    def plot(self) -> Figure:
        """A map of heads for every measure."""
        from lens_truth.plots.heads import heatmaps  # takes as long as all the rest

        return heatmaps(self.maps(), f"{self.child} against {self.base}, each map in its own range of colours")


def means_table(several: Sequence[WeightSimilarity]) -> Table:
    """What several models keep of one base: the mean of every measure over heads, a column a model."""
    means = [its.means() for its in several]
    rows = (row(title, *(number(its[measure], 4) for its in means)) for measure, title in MEASURES.items())
    return table("Mean over heads", ("mean over heads", *(its.child for its in several)), rows)
