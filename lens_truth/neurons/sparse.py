"""Logistic regression with an L1 penalty on tens of thousands of neurons, of which few get a weight.

The objective is liblinear's, ||w||_1 + |b| + C sum log(1 + exp(-y (w x + b))) (Fan et al. 2008): its intercept is a
weight like the others. scikit-learn's liblinear solves it on a working set of neurons; what is left out and has a slope
steeper than the penalty joins (as in Celer, Massias et al. 2018), until there is none. So the solution is that of all
neurons, and the time that of the few that matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lens_truth.errors import InputError

_TOLERANCE = 1e-2
"""How much steeper than the penalty a slope may be, relative to it. What such neurons could still take off the
objective is of second order in that, far below a ten-thousandth."""
_FIRST, _ROUNDS = 64, 100
"""Neurons of the first working set; rounds after which it stops whatever is left."""
X = Float[np.ndarray, "N P"]
Signs = Int[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class SparseFit:
    """A sparse linear classifier."""

    C: float
    weights: Float[np.ndarray, " P"]
    intercept: float
    objective: float
    """At the solution."""
    excess: float
    """How much steeper than the penalty, relative to it, the steepest slope of a neuron outside the working set is; at
    or below 0 none could take anything off the objective."""

    @property
    def n_selected(self) -> int:
        """Neurons with a weight."""
        return int(np.count_nonzero(self.weights))

    def decision(self, x: X) -> Float[np.ndarray, " N"]:
        """Above 0: positive."""
        on = np.flatnonzero(self.weights)
        return x[:, on].astype(float) @ self.weights[on] + self.intercept


def smallest_c(x: X, y: Signs) -> float:
    """The C below which no neuron has a weight: with the best intercept alone, the steepest slope equals the penalty
    there. Found between powers of two, since the best intercept hangs on C."""
    if not (steepest := _steepest(x, y, 0.0)):
        raise InputError("no neuron tells the classes apart, however weak the penalty")
    low = high = 1 / steepest
    while _enters(x, y, low):
        low /= 2
    while not _enters(x, y, high):
        high *= 2
        if high > 1e9 / steepest:
            raise InputError("no neuron tells the classes apart, however weak the penalty")
    for _ in range(30):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if _enters(x, y, middle) else (middle, high)
    return float(high)


def sparse_path(x: X, y: Signs, Cs: Sequence[float], *, seed: int = 0) -> Iterator[SparseFit]:
    """Fits for several C, each begun with the neurons of the one before.

    Args:
        y: 1 and -1.

    Raises:
        InputError: if there is one class only, or a C is not above 0.
    """
    if set(np.unique(y).tolist()) != {-1, 1}:
        raise InputError("a classifier needs both classes, 1 and -1")
    if wrong := [C for C in Cs if not (C > 0 and np.isfinite(C))]:
        raise InputError(f"C is {wrong[0]}; it must be a number above 0")
    start = np.empty(0, dtype=np.int64)
    for C in Cs:
        fit = _fitted(x, y, C, start, seed)
        start = np.flatnonzero(fit.weights)
        yield fit


def sparse_fit(x: X, y: Signs, C: float, *, seed: int = 0) -> SparseFit:
    """One fit; see `sparse_path`."""
    return next(iter(sparse_path(x, y, [C], seed=seed)))


def _fitted(x: X, y: Signs, C: float, start: Int[np.ndarray, " S"], seed: int) -> SparseFit:
    weights, intercept = np.zeros(x.shape[1]), _best_intercept(y, C)
    scores, working, excess = np.full(len(y), intercept), start, np.inf
    for _ in range(_ROUNDS):
        if len(working):
            weights, intercept, scores = _on_working_set(x, y, C, working, seed)
        slopes = C * np.abs(_slopes(x, y, scores))
        slopes[working] = 0
        excess = float(slopes.max(initial=0) - 1)
        steepest = np.argsort(-slopes)[: max(_FIRST, np.count_nonzero(weights))]
        joining = steepest[slopes[steepest] > 1]
        if not len(joining) or (len(working) and excess <= _TOLERANCE):
            break
        working = np.union1d(working, joining)
    return SparseFit(C, weights, intercept, objective(weights, intercept, scores, y, C), excess)


def _on_working_set(
    x: X, y: Signs, C: float, working: Int[np.ndarray, " S"], seed: int
) -> tuple[Float[np.ndarray, " P"], float, Float[np.ndarray, " N"]]:
    from sklearn.linear_model import LogisticRegression

    few = x[:, working].astype(np.float64)
    model: Any = LogisticRegression(
        l1_ratio=1, C=C, solver="liblinear", tol=1e-4, max_iter=10_000, random_state=seed, intercept_scaling=1
    )
    model.fit(few, y)
    weights, intercept = np.zeros(x.shape[1]), float(model.intercept_[0])
    weights[working] = model.coef_[0]
    return weights, intercept, few @ model.coef_[0] + intercept


def objective(
    weights: Float[np.ndarray, " P"], intercept: float, scores: Float[np.ndarray, " N"], y: Signs, C: float
) -> float:
    """What liblinear minimises, at given decisions."""
    return float(np.abs(weights).sum() + abs(intercept) + C * np.logaddexp(0, -y * scores).sum())


def _slopes(x: X, y: Signs, scores: Float[np.ndarray, " N"]) -> Float[np.ndarray, " P"]:
    """Of the loss, in the weight of every neuron: one product, in the precision of x."""
    pull = -y / (1 + np.exp(y * scores))
    return pull.astype(x.dtype) @ x


def _best_intercept(y: Signs, C: float) -> float:
    """Without any neuron: the log-odds, pulled to 0 by the penalty."""
    n, p = len(y), int((y == 1).sum())
    for sign in (1, -1):
        share = (p - sign / C) / n
        if 0 < share < 1 and sign * (share - 0.5) > 0:
            return float(np.log(share / (1 - share)))
    return 0.0


def _steepest(x: X, y: Signs, intercept: float) -> float:
    return float(np.abs(_slopes(x, y, np.full(len(y), intercept))).max())


def _enters(x: X, y: Signs, C: float) -> bool:
    return bool(C * _steepest(x, y, _best_intercept(y, C)) > 1)
