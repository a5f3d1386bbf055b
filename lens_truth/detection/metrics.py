"""What scores of answers are worth, for many weights of the rows at once: a bootstrap draw is a weight for each row.

Supported answers are those with label 1, and are to have the higher scores. AUROC, average precision and Brier score
are scikit-learn's, which takes one set of weights at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from lens_truth.io.streams import Stream, stream

N_BINS = 10
"""Of equal width, of probabilities."""
COVERAGES = (0.25, 0.5, 0.75)
"""Shares of the answers that are kept, at which selective accuracy is told."""
Scores = Float[np.ndarray, " N"]
Labels = Int[np.ndarray, " N"]
Weights = Float[np.ndarray, "B N"]
PerDraw = Float[np.ndarray, " B"]


def drawn_weights(
    groups: Sequence[str], n_draws: int, seed: int, purpose: Stream = Stream.DETECTION_INTERVALS
) -> Weights:
    """How often each row counts when groups are drawn with replacement, as many as there are."""
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    rng = stream(seed, purpose)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_draws)[:, number].astype(float)


def auroc(scores: Scores, labels: Labels, weights: Weights) -> PerDraw:
    """How often a supported answer has the higher score than a hallucinated one, ties counting half; NaN without one
    of either."""
    supported, hallucinated = (_tied(scores, weights * (labels == its)) for its in (1, 0))
    below = hallucinated.cumsum(1) - hallucinated / 2
    return _ratio((below * supported).sum(1), supported.sum(1) * hallucinated.sum(1))


def average_precision(scores: Scores, labels: Labels, weights: Weights) -> PerDraw:
    """Of finding the hallucinated answers, the lowest score first: the mean, over them, of the share of hallucinated
    answers among all up to there (the step-wise area under precision against recall)."""
    everything, hallucinated = (_tied(scores, its) for its in (weights, weights * (labels == 0)))
    precision = _ratio(hallucinated.cumsum(1), everything.cumsum(1), empty=0.0)
    return _ratio((precision * hallucinated).sum(1), hallucinated.sum(1))


def accuracy(scores: Scores, labels: Labels, weights: Weights, threshold: float) -> PerDraw:
    """Share of answers that are on their side of the threshold."""
    return _mean((scores > threshold) == (labels == 1), weights)


def brier(probability: Scores, labels: Labels, weights: Weights) -> PerDraw:
    """Mean square of probability minus label."""
    return _mean((probability - labels) ** 2, weights)


def calibration_error(probability: Scores, labels: Labels, weights: Weights) -> PerDraw:
    """Expected calibration error (Guo et al. 2017): over bins of equal width, the mean distance of the share of
    supported answers from the mean probability."""
    apart = (labels - probability)[:, None] * np.eye(N_BINS)[bins_of(probability)]
    return np.abs(weights @ apart).sum(1) / weights.sum(1)


def bins_of(probability: Scores) -> Int[np.ndarray, " N"]:
    """The bin of each probability."""
    return np.minimum((probability * N_BINS).astype(int), N_BINS - 1)


def risk_area(scores: Scores, labels: Labels, weights: Weights) -> PerDraw:
    """Area under the risk-coverage curve (AURC; Geifman and El-Yaniv 2017): the share of hallucinated answers among
    those that are kept, the highest scores first, averaged over how many are kept. Of equal scores each is kept as
    likely as the others."""
    kept, wrong, order = _kept(scores, labels, weights)
    own = weights[:, order]
    # A row that was drawn w times is w steps of the curve; the step in their middle stands for them.
    back = (own - 1) / 2
    share = _ratio(np.diff(wrong, axis=1, prepend=0.0), own, empty=0.0)
    return _mean_rows(_ratio(wrong - back * share, kept - back, empty=0.0), own)


def kept_accuracy(scores: Scores, labels: Labels, weights: Weights, coverage: float) -> PerDraw:
    """Share of supported answers among the share of answers with the highest scores (selective accuracy)."""
    kept, wrong, _ = _kept(scores, labels, weights)
    total = coverage * kept[:, -1]
    x, y = _from_0(kept), _from_0(wrong)
    risk = np.empty(len(weights))
    for draw in range(len(weights)):
        risk[draw] = np.interp(total[draw], x[draw], y[draw])
    return 1 - risk / total


def risk_curve(scores: Scores, labels: Labels, coverages: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Share of hallucinated answers among the answers kept at each coverage above 0."""
    one = np.ones((1, len(scores)))
    return np.array([1 - kept_accuracy(scores, labels, one, float(its))[0] for its in coverages])


def roc_curve(scores: Scores, labels: Labels, rates: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Share of supported answers that are kept where so large a share of hallucinated ones is kept too."""
    from sklearn import metrics

    false, true, _ = cast("Any", metrics).roc_curve(labels, scores)
    return np.interp(rates, cast("np.ndarray", false), cast("np.ndarray", true))


def best_threshold(scores: Scores, labels: Labels) -> float:
    """The threshold of the highest accuracy; of several the middle one, each half-way between two scores."""
    distinct = np.unique(scores)
    between = (distinct[1:] + distinct[:-1]) / 2
    below = np.searchsorted(np.sort(scores[labels == 0]), between, side="right")
    above = (labels == 1).sum() - np.searchsorted(np.sort(scores[labels == 1]), between, side="right")
    right = below + above
    if not len(between) or right.max() < max((labels == 1).sum(), (labels == 0).sum()):
        return float(distinct[0] - 1 if (labels == 1).mean() >= 0.5 else distinct[-1] + 1)  # all are called alike
    best = np.flatnonzero(right == right.max())
    return float(between[best[len(best) // 2]])


def _tied(scores: Scores, weights: Weights) -> Float[np.ndarray, "B n"]:
    """The weight of all rows with each score, in rising order."""
    order = np.argsort(scores, kind="stable")
    return np.add.reduceat(weights[:, order], _starts(scores[order]), axis=1)


def _starts(ordered: Scores) -> Int[np.ndarray, " n"]:
    return np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _kept(scores: Scores, labels: Labels, weights: Weights) -> tuple[Weights, Weights, Int[np.ndarray, " N"]]:
    """Down to each row, the highest score first: the weight of all answers and of the hallucinated ones; and the order
    of the rows. Where scores are equal, the hallucinated ones are spread evenly over them."""
    order = np.argsort(-scores, kind="stable")
    starts, own = _starts(-scores[order]), weights[:, order]
    block = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(order)]))
    of_blocks = [np.add.reduceat(its, starts, axis=1) for its in (own * (labels[order] == 0), own)]
    return own.cumsum(1), (own * _ratio(*of_blocks, empty=0.0)[:, block]).cumsum(1), order


def _from_0(its: Weights) -> Float[np.ndarray, "B N1"]:
    return np.concatenate([np.zeros((len(its), 1)), its], axis=1)


def _mean(values: Float[np.ndarray, " N"] | np.ndarray, weights: Weights) -> PerDraw:
    return weights @ values / weights.sum(1)


def _mean_rows(values: Weights, weights: Weights) -> PerDraw:
    return (weights * values).sum(1) / weights.sum(1)


def _ratio(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, empty), where=whole > 0)
