"""What a paired test of so many rows could have shown, had there been something to show."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import SIGNIFICANT

_POWER = 0.8
_CLOSE = 1e-4


def detectable_difference(totals: Float[np.ndarray, " G"], n: int) -> float:
    """The smallest true gain that a paired test of the same n rows finds (p < .05, two-sided) four times in five; NaN
    if none is found so often, since at least six groups have to change, all in one direction.

    `totals` are the sums of a group's differences (-1, 0 or 1 where each row is a group). They tell how often groups
    change and by how much, not which way: the observed difference is not taken for the true one. A gain that takes more
    changes than were seen comes with as many as it takes; where none was seen, whole groups change. The power is that
    of the exact test, groups that change and those of them that gain being binomial (Duffy 1984; where each row is a
    group, of McNemar's test). Groups that change by unequal amounts count as equal ones of the same sum and sum of
    squares.

    >>> detectable_difference(np.zeros(100), 100)  # six gains are significant, and .078 of 100 bring them often enough
    """
    import scipy.optimize

    G, moved, squares = len(totals), float(np.abs(totals).sum()), float((totals**2).sum())
    size = squares / moved if moved else n / G
    changed = min(1.0, moved / size / G)

    def missing(net: float) -> float:
        return _power(net, G, changed) - _POWER

    if missing(1.0) < 0:
        return float("nan")
    optimize: Any = scipy.optimize
    return optimize.root_scalar(missing, bracket=(_CLOSE, 1.0), xtol=_CLOSE).root * size * G / n


def detectable_accuracy(n: int) -> float:
    """The smallest true accuracy that a one-sided exact test of n independent rows (groups, where rows hang together)
    tells from .5 (p < .05) four times in five; NaN where n are too few for any.

    >>> round(detectable_accuracy(100), 3)
    0.624
    """
    import scipy.optimize
    from scipy.stats import binom

    enough = float(binom.isf(SIGNIFICANT, n, 0.5))  # more right answers than this are significant
    if n < 1 or enough >= n:
        return float("nan")
    optimize: Any = scipy.optimize

    def missing(share: float) -> float:
        return float(binom.sf(enough, n, share)) - _POWER

    return float(optimize.brentq(missing, 0.5, 1.0, xtol=_CLOSE))


def _power(net: float, G: int, changed: float) -> float:
    """Of the sign test where a share `changed` of G groups changes, gains less losses being `net` of all."""
    from scipy.stats import binom

    changed = max(changed, net)
    K = np.arange(1, G + 1)
    enough = binom.isf(SIGNIFICANT / 2, K, 0.5)  # more gains than this are significant
    return float(binom.pmf(K, G, changed) @ binom.sf(enough, K, (1 + net / changed) / 2))
