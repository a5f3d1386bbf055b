"""`compare_with_layers`: probes of heads beside those of the residual stream, on the same rows and folds."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool

from lens_truth.errors import InputError
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.layer_result import LayerComparison
from lens_truth.scoring.probing import Estimator, held_out_decisions
from lens_truth.stats.correlation import holm
from lens_truth.stats.paired import compare


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
