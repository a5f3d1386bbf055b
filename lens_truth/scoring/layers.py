"""`LayerComparison`: does a head know more than the residual stream of its own layer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from lens_truth.errors import InputError
from lens_truth.io.numbers import count, interval, number, p_value, ranges, signed, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.probing import Estimator, held_out_decisions
from lens_truth.stats.correlation import holm
from lens_truth.stats.paired import compare


@dataclass(frozen=True, eq=False)
class LayerComparison(Result):
    """Of every layer: the out-of-fold accuracy of a probe on the residual stream behind it, and of its best head. The
    head is picked anew for each fold, on the other folds, so that the rows it is judged on did not choose it.

    >>> lens_truth.LayerComparison.load("runs/probe").tables()[0]
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


def compare_with_layers(
    heads: HeadActivations,
    layers: HeadActivations,
    *,
    estimator: Estimator = "ridge",
    n_folds: int = 5,
    seed: int = 0,
    device: Any = None,
) -> LayerComparison:
    """Probes of every head beside those of the residual stream behind its layer, on the same rows and folds.

    >>> layers = lens_truth.capture(model, examples, at="resid_post")
    >>> lens_truth.compare_with_layers(lens_truth.capture(model, examples), layers).verdict()

    Raises:
        InputError: as `truth_scores`; and if the activations are of other rows, layers or points.
    """
    same = heads.ids == layers.ids and heads.z.shape[1] == layers.z.shape[1]
    if not same or heads.point != "z" or layers.point != "resid_post":
        raise InputError("heads are held beside layers on the same rows of the same model, read at z and at resid_post")
    how: dict[str, Any] = {"estimator": estimator, "n_folds": n_folds, "seed": seed, "device": device}
    labels = heads.labels.cpu().numpy()[:, None, None] > 0
    decisions, fold = held_out_decisions(heads, **how)
    of_heads: Bool[np.ndarray, "N L H"] = (decisions > 0) == labels
    of_layers: Bool[np.ndarray, "N L"] = ((held_out_decisions(layers, **how)[0] > 0) == labels)[:, :, 0]
    marks = np.empty(of_layers.shape)
    for k in range(n_folds):
        best = of_heads[fold != k].mean(0).argmax(1)
        marks[fold == k] = np.take_along_axis(of_heads[fold == k], best[None, :, None], axis=2)[..., 0]
    found = [
        compare(marks[None, :, i], of_layers[None, :, i].astype(float), heads.groups, seed)
        for i in range(len(of_layers[0]))
    ]
    return LayerComparison(
        layer=of_layers.mean(0),
        head=marks.mean(0),
        picked=tuple(of_heads.mean(0).argmax(1).tolist()),
        ci_low=np.array([its.ci_low for its in found]),
        ci_high=np.array([its.ci_high for its in found]),
        p_value=holm(np.array([its.p_value for its in found])),
    )
