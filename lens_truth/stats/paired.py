"""Paired comparison of two gates on the same questions: difference, interval, p-value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import significant
from lens_truth.io.streams import Stream, stream
from lens_truth.stats.bootstrap import bootstrap_interval, group_sums
from lens_truth.stats.power import detectable_difference

_DRAWS = 2000
_FLIPS, _AT_ONCE = 9999, 1111
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Comparison:
    """First minus second."""

    difference: float
    ci_low: float
    ci_high: float
    """95% bootstrap interval over groups."""
    p_value: float
    """Two-sided: McNemar's exact test where both sides are single trials and every question is a group of its own;
    otherwise a sign-flip test over groups, since the questions of a group may be right or wrong together."""
    as_good: int
    """How many trials of the second are at least as accurate as the first (its mean, if it has several)."""
    trials: int
    """Trials of the second."""
    undrawn: int = 0
    """Further trials of the second that were not made: one that was is as good already, or nothing hung on them."""
    detectable: float = 0.0
    """The smallest true gain that such a test would have found four times in five (`detectable_difference`); NaN if no
    gain, 0 in results of earlier builds."""

    @property
    def significant(self) -> bool:
        """Whether p < .05."""
        return significant(self.p_value)

    @property
    def gained(self) -> bool:
        """Whether the first is significantly better."""
        return self.difference > 0 and self.significant

    @property
    def unsettled(self) -> bool:
        """Whether a trial that was not made could be as good, and none that was is: neither beaten nor not."""
        return self.undrawn > 0 and not self.as_good

    @property
    def beaten(self) -> bool:
        """Whether the first beats the second: by a significant gain, with no trial of the second as good, and none left
        that could be."""
        return self.gained and not self.as_good and not self.undrawn


def group_interval(values: Float[np.ndarray, " N"], groups: Sequence[str], seed: int) -> tuple[float, float]:
    """95% percentile interval of the mean, groups drawn with replacement."""
    return ratio_interval(values, np.ones(len(values)), groups, seed)


def ratio_interval(
    part: Float[np.ndarray, " N"], whole: Float[np.ndarray, " N"], groups: Sequence[str], seed: int
) -> tuple[float, float]:
    """95% percentile interval of sum(part) / sum(whole), groups drawn with replacement."""
    totals, mass = group_sums(part, groups), group_sums(whole, groups)
    low, high = bootstrap_interval(totals, mass, _DRAWS, stream(seed, Stream.ANSWER_INTERVALS))
    return float(low), float(high)


def compare(
    first: Float[np.ndarray, "R N"],
    second: Float[np.ndarray, "R2 N"],
    groups: Sequence[str],
    seed: int,
    undrawn: int = 0,
) -> Comparison:
    """Compares marks (1 right, 0 wrong) of the same questions under two gates, each over one or more trials."""
    from scipy import stats  # takes longer than reading and showing a comparison

    difference = first.mean(0) - second.mean(0)
    low, high = group_interval(difference, groups, seed)
    if len(first) == len(second) == 1 and len(set(groups)) == len(groups):
        gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
        p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    else:
        p = sign_flip_p(difference, groups, seed)
    as_good = int((second.mean(1) >= first.mean()).sum())
    shown = detectable_difference(group_sums(difference, groups), len(difference))
    return Comparison(float(difference.mean()), low, high, p, as_good, len(second), undrawn, shown)


def sign_flip_p(values: Float[np.ndarray, " N"], groups: Sequence[str], seed: int) -> float:
    """How often the total is as far from 0 when each group's total gets a random sign. Of few groups SciPy counts every
    pattern of signs, so the p-value is exact. Of many, patterns are drawn here: SciPy takes five to eight times as long
    for as many draws, and draws others, which would change published p-values."""
    totals = group_sums(values, groups)
    totals = totals[np.abs(totals) > _ROUNDING]
    if 2 ** len(totals) <= _FLIPS:
        return _exact_p(totals) if len(totals) > 1 else 1.0  # whichever sign a single group has, it is as far from 0
    rng = stream(seed, Stream.SIGN_FLIPS)
    as_far = 0
    for _ in range(_FLIPS // _AT_ONCE):
        signs = rng.choice([-1.0, 1.0], size=(_AT_ONCE, len(totals)))
        as_far += int((np.abs(signs @ totals) >= abs(totals.sum()) - _ROUNDING).sum())
    return (1 + as_far) / (1 + _FLIPS)


def _exact_p(totals: Float[np.ndarray, " G"]) -> float:
    from scipy import stats

    def distance(totals: Float[np.ndarray, "..."], axis: int) -> Any:
        total: Any = totals.sum(axis)
        return np.abs(total).round(9)  # the same total in another order of its terms is no other total

    found = stats.permutation_test(
        (totals,), distance, permutation_type="samples", alternative="greater", vectorized=True, n_resamples=_FLIPS
    )
    return float(found.pvalue)
