"""From decisions to probabilities: Platt scaling of many probes at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_STEPS = 50
_CLOSE = 1e-10


def platt_scaling(decisions: Float[np.ndarray, "N F"], labels: Int[np.ndarray, " N"]) -> Float[np.ndarray, "F 2"]:
    """Slope a and offset b of P(supported) = sigmoid(a * decision + b), the maximum likelihood for each probe by
    itself, with Platt's targets: (n+ + 1) / (n+ + 2) for the n+ supported rows and 1 / (n- + 2) for the others, which
    keep the slope finite where a probe separates them (Platt 1999, Section 2.2).

    The decisions are to be those on rows that a probe was not fitted on. A probe that decides all rows alike has
    slope 0.
    """
    n_positive = int(labels.sum())
    n_negative = len(labels) - n_positive
    target = np.where(labels > 0, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))[:, None]
    mean, spread = decisions.mean(0), decisions.std(0)
    known = spread > 1e-12 * np.abs(decisions).max(0, initial=0)
    spread = np.where(known, spread, 1)
    x = np.where(known, (decisions - mean) / spread, 0)
    slope, offset = np.zeros(x.shape[1]), np.full(x.shape[1], np.log(target.mean() / (1 - target.mean())))
    for _ in range(_STEPS):  # Newton's; the loss is convex, and steps are halved where they overshoot
        p = _sigmoid(slope * x + offset)
        weight, wrong = p * (1 - p), p - target
        gradient = np.stack([(wrong * x).sum(0), wrong.sum(0)])
        xx, x1, one = (weight * x**2).sum(0) + 1e-9, (weight * x).sum(0), weight.sum(0) + 1e-9
        step = np.stack([one * gradient[0] - x1 * gradient[1], xx * gradient[1] - x1 * gradient[0]]) / (
            xx * one - x1**2
        )
        now, size = _loss(slope * x + offset, target), np.ones(x.shape[1])
        for _ in range(20):
            worse = _loss((slope - size * step[0]) * x + offset - size * step[1], target) > now + _CLOSE
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        slope, offset = slope - size * step[0], offset - size * step[1]
        if np.abs(step * size).max(initial=0) < _CLOSE:
            break
    slope = np.where(known, slope, 0) / spread
    return np.stack([slope, offset - slope * mean], axis=1)


def _sigmoid(logit: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N F"]:
    return 0.5 * (1 + np.tanh(logit / 2))


def _loss(logit: Float[np.ndarray, "N F"], target: Float[np.ndarray, "N 1"]) -> Float[np.ndarray, " F"]:
    return (np.logaddexp(0, logit) - target * logit).sum(0)
