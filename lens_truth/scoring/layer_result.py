"""`LayerComparison`: does a head know more than the residual stream of its own layer?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import count, interval, number, p_value, ranges, signed, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table


@dataclass(frozen=True, eq=False)
class LayerComparison(Result):
    """Of every layer: the out-of-fold accuracy of a probe on the residual stream behind it, and of its best head. The
    head is picked anew for each fold, on the other folds, so that the rows it is judged on did not choose it.

    >>> found = lens_truth.LayerComparison.load("runs/probe")
    >>> found.tables()[0], found.verdict()
    """

    command = "probe"
    part = "layers"

    layer: Float[np.ndarray, " L"]
    """Accuracy of the residual stream's probe."""
    head: Float[np.ndarray, " L"]
    """Accuracy of the picked heads."""
    picked: tuple[int, ...]
    """The head that is best over all folds."""
    ci_low: Float[np.ndarray, " L"]
    ci_high: Float[np.ndarray, " L"]
    """95% interval of head minus layer, groups drawn with replacement."""
    p_value: Float[np.ndarray, " L"]
    """That there is no difference: a sign-flip test over groups; Holm's over all layers."""

    @property
    def beating(self) -> list[int]:
        """Layers whose best head is significantly better than the residual stream behind it."""
        return [
            i for i in range(len(self.layer)) if self.head[i] > self.layer[i] and significant(float(self.p_value[i]))
        ]

    def verdict(self) -> str:
        """One sentence."""
        best = int(self.layer.argmax())
        found = f"in {count(len(self.beating), 'layer')} of {len(self.layer)}"
        where = f" ({ranges(self.beating)})" if self.beating else ""
        reached = number(float(self.layer[best])), number(float(self.head.max()))
        return (
            f"{found}{where} the best head knows more than the residual stream behind its layer; the best layer is "
            f"{best} with {reached[0]}, the best head picked reaches {reached[1]}"
        )

    def tables(self) -> tuple[Table]:
        """A row a layer."""
        header = ("layer", "residual stream", "best head", "head", "head minus layer", "95%", "p")
        rows = (
            row(
                str(i),
                number(float(self.layer[i])),
                number(float(self.head[i])),
                str(self.picked[i]),
                signed(float(self.head[i] - self.layer[i])),
                interval((float(self.ci_low[i]), float(self.ci_high[i])), 3, plus=True),
                p_value(float(self.p_value[i])),
            )
            for i in range(len(self.layer))
        )
        return (table("Heads beside their layers", header, rows, self.verdict()),)
