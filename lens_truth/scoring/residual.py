"""`residual_scores`, what a head tells of the labels beyond the surface of answers: their length, characters, words.

Everything is judged on the folds of `truth_scores`, by decisions on held-out rows. The best surface classifier is the
one with the highest accuracy on the very rows it is judged on, so it is chosen in its own favour, and what heads are
said to know beyond it is, if anything, too little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lens_truth.data.examples import Example
from lens_truth.data.surface_features import FEATURES
from lens_truth.data.surface_fits import surface_decisions
from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.metrics import accuracy_intervals
from lens_truth.scoring.probing import Estimator, check_estimator, held_out_decisions
from lens_truth.scoring.scores import HeadScores

_SAME = 1e-9
"""Of the variance of a column, what must be left when another is known, for it to be a column of its own."""


@stage("residual")
def residual_scores(
    activations: HeadActivations,
    examples: Sequence[Example],
    *,
    estimator: Estimator = "ridge",
    n_folds: int = 5,
    seed: int = 0,
    n_bootstrap: int = 1000,
    device: str | torch.device | None = None,
) -> HeadScores:
    """Residual scores: what every head adds to the best classifier that sees only the surface of answers.

    The score is the accuracy of a classifier of two numbers, the surface classifier's decision and the head's, less
    that of a classifier of the first alone. Both are least squares with an intercept, fitted to the decisions on the
    rows of the other folds, each of which was held out when it was decided; means over folds. ci_low and ci_high are
    its 95% interval, a bootstrap over groups in which both classifiers judge the same rows.

    Metrics beside the score: `above`, the accuracy of the head by itself less that of the best surface classifier, with
    above_low and above_high. It is the map of truth scores less one number, so it ranks heads as they do; the score
    ranks them by what they add.

    That classifiers of a fold's rows were among those that decided the rows of the others ties folds together. A head
    of pure noise has a score of about 0 or a little less; ci_low was above 0 in 0 to 3% of such heads where the surface
    tells labels well, and in 2 to 8% where it tells little or nothing, when 2.5% should be (simulated: 200 and 1,000
    rows, 12 and 6 draws of 30 heads).

    There is no null of shuffled rows: to shuffle a head's decisions makes noise of it, while a head that adds nothing
    may well repeat the surface, so rows are not exchangeable under the hypothesis that it adds nothing.

    >>> residual = lens_truth.residual_scores(lens_truth.capture(model, examples), examples)
    >>> residual.metrics["above_low"] > 0  # heads that are above the best surface classifier

    Args:
        activations: of N rows and L x H heads of width D.
        examples: those rows, in the same order.
        estimator: of the heads' probes; as for `truth_scores`.
        device: where probes are fitted; by default where the activations are.

    Raises:
        InputError: for other examples than those of the activations, where these show no surface, and as
            `truth_scores` does.
    """
    check_estimator(estimator)
    if n_bootstrap < 1:
        raise InputError(f"{n_bootstrap} bootstrap draws were asked for; at least 1 is needed")
    if tuple(example.id for example in examples) != tuple(activations.ids):
        raise InputError(
            f"the {len(examples)} examples are not those of the activations, which are of {len(activations.ids)} rows; "
            "residual scores need the examples that were captured, in their order"
        )
    how = {"n_folds": n_folds, "seed": seed}
    decisions, fold = held_out_decisions(activations, estimator=estimator, device=device, **how)
    labels = activations.labels.cpu().numpy()
    weight = 1 / ((int(fold.max()) + 1) * np.bincount(fold))[fold]  # the weighted mean is the mean over folds
    name, surface, best = _best(surface_decisions(examples, fold), labels, weight)

    N, L, H = decisions.shape
    heads = decisions.reshape(N, L * H)
    judged = ((surface > 0) == (labels > 0)).astype(np.float64)[:, None]
    above = ((heads > 0) == (labels > 0)[:, None]) - judged
    added = np.concatenate([_added(surface, its, labels, fold) for its in np.split(heads, L, axis=1)], axis=1)
    metrics: dict[str, Float[np.ndarray, " F"]] = {"above": weight @ above}
    for low, high, gained in (("ci_low", "ci_high", added), ("above_low", "above_high", above)):
        drawn = n_bootstrap, stream(seed, Stream.RESIDUAL_INTERVALS)
        of = torch.from_numpy(gained)
        ends = accuracy_intervals(of, weight, activations.groups, *drawn)
        metrics[low], metrics[high] = (end.round(12) for end in ends)  # sums of nothing are not above 0
    folds = np.stack([added[fold == k].mean(0) for k in range(int(fold.max()) + 1)])
    maps = {metric: values.reshape(L, H) for metric, values in metrics.items()}
    provenance = {**activations.provenance, "estimator": estimator, "n_examples": N, **how, "n_bootstrap": n_bootstrap}
    provenance["best_surface"] = {"name": name, "what": _what(name), "accuracy": best}
    return HeadScores(folds.mean(0).reshape(L, H), "residual", maps, folds.reshape(-1, L, H), provenance)


def _best(
    surfaces: Mapping[str, Float[np.ndarray, " N"]], labels: Int[np.ndarray, " N"], weight: Float[np.ndarray, " N"]
) -> tuple[str, Float[np.ndarray, " N"], float]:
    """The surface classifier with the highest accuracy (the first of equals): name, decisions, accuracy."""
    accuracy = {name: float(weight @ ((its > 0) == (labels > 0))) for name, its in surfaces.items()}
    if not accuracy:
        raise InputError("the examples show no surface that a classifier could see, such as words or lengths")
    name = max(accuracy, key=lambda its: round(accuracy[its], 9))
    return name, surfaces[name], accuracy[name]


def _what(name: str) -> str:
    return FEATURES[name].what if name in FEATURES else name


def _added(
    surface: Float[np.ndarray, " N"],
    heads: Float[np.ndarray, "N F"],
    labels: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
) -> Float[np.ndarray, "N F"]:
    """Whether each row is told rightly from both decisions, less whether it is from the surface's alone: 1, 0 or -1."""
    added = np.empty(heads.shape)
    for k in range(int(fold.max()) + 1):
        train, test = fold != k, fold == k
        mean = labels[train].mean()
        s, s_test = _standard(surface[:, None], train, test)
        h, h_test = _standard(heads.astype(np.float64), train, test)
        y = labels[train] - mean
        n = len(y)
        of_s, of_h, both = s[:, 0] @ y / n, y @ h / n, s[:, 0] @ h / n  # the last a correlation
        apart = 1 - both**2
        alike = (apart < _SAME) & h.any(0)  # the same column twice: the head adds nothing
        b_h = np.where(alike, 0, (of_h - both * of_s) / np.where(alike, 1, apart))
        b_s = of_s - both * b_h
        right = labels[test, None] > 0
        alone = _decided(mean + s_test * of_s, right)
        added[test] = _decided(mean + s_test * b_s + h_test * b_h, right) * 1.0 - alone
    return added


def _standard(
    x: Float[np.ndarray, "N F"], train: Bool[np.ndarray, " N"], test: Bool[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, "n F"], Float[np.ndarray, "m F"]]:
    """Training and test rows less the training mean, over the training standard deviation; a column that is constant in
    training is 0."""
    mean, spread = x[train].mean(0), x[train].std(0)
    scale = np.where(spread > _SAME * (1 + abs(mean)), spread, np.inf)
    return (x[train] - mean) / scale, (x[test] - mean) / scale


def _decided(fitted: Float[np.ndarray, "n F"], supported: Bool[np.ndarray, "n 1"]) -> Bool[np.ndarray, "n F"]:
    return (fitted > 0.5) == supported
