"""Dose-response curves: what a dose alpha does to the outcomes of the same items, as slope, paired changes and distance
from control curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.stats.paired import sign_flip_p

POINTS = 100.0
"""The scale by which shares become points of a hundred."""
_DRAWS, _AT_ONCE = 10_000, 500


@dataclass(frozen=True)
class Interval:
    """A value with its 95% bootstrap interval over items (over groups of them, where they have any)."""

    value: float
    ci_low: float
    ci_high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.ci_low > 0 or self.ci_high < 0


@dataclass(frozen=True)
class PairedChange:
    """From one dose to another on the same items."""

    start: float
    end: float
    """The doses."""
    change: Interval
    gained: int
    lost: int
    """Items with a higher and with a lower outcome at the end."""
    p_value: float
    """Two-sided: McNemar's exact test where outcomes are 0 or 1 and every item is a group of its own, otherwise a
    sign-flip test over groups."""


@dataclass(frozen=True)
class DoseResponse:
    """One curve, as `dose_response` gives it.

    >>> found: lens_truth.DoseResponse = lens_truth.dose_response(outcomes, [0.0, 1.0, 2.0])
    >>> found.slope.value, found.change(2.0).gained
    """

    alphas: tuple[float, ...]
    """Doses in rising order."""
    levels: tuple[Interval, ...]
    """Mean outcome at each, times the scale."""
    slope: Interval
    """Of the least-squares line through the levels, per unit of alpha."""
    changes: tuple[PairedChange, ...]
    """From `reference` to every other dose."""
    reference: float
    """The dose that changes nothing, if the curve has it; else the lowest."""
    order: Literal["rises", "falls", "level", "neither"]
    """Whether the levels never fall (and rise somewhere), never rise, stay, or do both."""
    n: int
    """Items with an outcome at every dose; no others are used."""
    n_groups: int
    scale: float = POINTS

    def change(self, end: float) -> PairedChange:
        """The change from the reference to a dose.

        >>> curve.change(3.0).gained

        Raises:
            InputError: if the curve has no such dose, or it is the reference.
        """
        for its in self.changes:
            if its.end == end:
                return its
        raise InputError(f"the curve has no change from {self.reference:g} to {end:g}; its doses are {self.alphas}")


@dataclass(frozen=True)
class AgainstControls:
    """A curve's slope beside those of control curves."""

    slopes: tuple[float, ...]
    """Of the controls."""
    difference: Interval
    """From the controls' mean slope; the interval draws items and keeps the controls as they are."""
    as_steep: int
    """Controls whose slope is at least as far from 0."""
    p_value: float
    """(1 + as steep) / (1 + controls): the place among sets that are exchangeable under the null."""
    least_p: float
    """The smallest p that so few controls can give."""
    expected: tuple[float, float]
    """Where the slope of one more control would lie 19 times in 20 (prediction interval of a normal sample, Student's
    t); NaN with fewer than two controls. It holds the spread between sets, which the interval of the difference
    does not."""
    alphas: tuple[float, ...]
    """Doses that the curve and all controls have."""

    @property
    def beyond(self) -> bool:
        """Whether the curve's slope lies outside of what is expected of a control, and items do not explain that: the
        interval of the difference leaves 0 out."""
        slope = self.difference.value + float(np.mean(self.slopes))
        return self.difference.clear and (slope < self.expected[0] or slope > self.expected[1])


def slope_weights(alphas: Sequence[float]) -> Float[np.ndarray, " A"]:
    """The weights with which outcomes at the doses add up to the least-squares slope.

    >>> slope_weights([0.0, 1.0, 2.0])
    array([-0.5,  0. ,  0.5])
    """
    centred = np.asarray(alphas, dtype=float) - np.mean(alphas)
    return centred / (centred**2).sum()


def dose_response(
    outcomes: Float[np.ndarray, "A N"],
    alphas: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    reference: float = 1.0,
    scale: float = POINTS,
    seed: int = 42,
) -> DoseResponse:
    """The curve of outcomes of N items at A doses.

    >>> lens_truth.dose_response(outcomes, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]).slope

    Args:
        outcomes: a row a dose: 0 or 1, a share, a score; NaN where an item has none.
        groups: items that hang together; by default each is a group of its own.
        reference: the dose that changes nothing: 1 where alpha multiplies, 0 where it is added.
        scale: of all that is returned: 100 makes points of shares, 1 leaves scores as they are.
        seed: of the bootstrap; 42 gives published intervals to the digit.

    Raises:
        InputError: if there are fewer than two doses, one of them stands there twice or is not finite, or no item has
            an outcome at all of them.
    """
    outcomes, alphas = _sorted(np.asarray(outcomes, dtype=float), alphas)
    kept = np.isfinite(outcomes).all(0)
    if not kept.any():
        raise InputError("no item has an outcome at every alpha of a curve; an item needs one at each to be compared")
    of = list(map(str, range(outcomes.shape[1]))) if groups is None else groups
    names = [of[int(i)] for i in np.flatnonzero(kept)]
    outcomes = outcomes[:, kept]
    drawn = _drawn_levels(outcomes, names, seed) * scale
    levels = outcomes.mean(1) * scale
    at = alphas.index(reference) if reference in alphas else 0
    weights = slope_weights(alphas)
    changes = [_change(outcomes, drawn, alphas, at, j, names, scale, seed) for j in range(len(alphas)) if j != at]
    steps = np.sign(np.diff(outcomes.sum(1)).round(9))
    return DoseResponse(
        alphas=alphas,
        levels=tuple(_interval(level, drawn[:, i]) for i, level in enumerate(levels)),
        slope=_interval(weights @ levels, drawn @ weights),
        changes=tuple(changes),
        reference=alphas[at],
        order=_order(steps),
        n=outcomes.shape[1],
        n_groups=len(set(names)),
        scale=scale,
    )


def against_controls(
    outcomes: Float[np.ndarray, "A N"],
    controls: Float[np.ndarray, "C A N"],
    alphas: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    scale: float = POINTS,
    seed: int = 42,
) -> AgainstControls:
    """A curve's slope beside those of controls with the same items at the same doses.

    Raises:
        InputError: as `dose_response`, or if there is no control.
    """
    from scipy import stats  # takes longer than reading and showing a curve

    if not len(controls):
        raise InputError("a curve was to be held against controls, and there is none")
    difference = dose_response(outcomes - controls.mean(0), alphas, groups, scale=scale, seed=seed).slope
    kept = np.isfinite(outcomes).all(0) & np.isfinite(controls).all((0, 1))
    by_dose, in_order = _sorted(np.moveaxis(controls, 0, 1)[:, :, kept], alphas)
    slopes = scale * slope_weights(in_order) @ by_dose.mean(2)
    mean, n = float(slopes.mean()), len(slopes)
    as_steep = int((np.abs(slopes) >= abs(difference.value + mean) - 1e-9).sum())
    around = float("nan")
    if n > 1:
        around = float(stats.t.ppf(0.975, n - 1) * slopes.std(ddof=1) * np.sqrt(1 + 1 / n))
    return AgainstControls(
        slopes=tuple(slopes.tolist()),
        difference=difference,
        as_steep=as_steep,
        p_value=(1 + as_steep) / (1 + n),
        least_p=1 / (1 + n),
        expected=(mean - around, mean + around),
        alphas=in_order,
    )


def _sorted(
    outcomes: Float[np.ndarray, "A ..."], alphas: Sequence[float]
) -> tuple[Float[np.ndarray, "A ..."], tuple[float, ...]]:
    given = [float(alpha) for alpha in alphas]
    if wrong := [alpha for alpha in given if not np.isfinite(alpha)]:
        raise InputError(f"alpha is {wrong[0]}; it must be a finite number")
    if len(set(given)) < len(given):
        twice = next(alpha for alpha in given if given.count(alpha) > 1)
        raise InputError(f"alpha {twice:g} stands twice in a curve")
    if len(given) < 2:
        raise InputError("a curve has one alpha; a slope needs two")
    order = sorted(range(len(given)), key=given.__getitem__)
    return outcomes[order], tuple(given[i] for i in order)


def _drawn_levels(outcomes: Float[np.ndarray, "A N"], groups: Sequence[str], seed: int) -> Float[np.ndarray, "B A"]:
    """Mean outcome at each dose in each draw of groups, in the order in which they stand. A generator of its own: with
    seed 42 these are the draws behind published intervals (10,000 times as many items as there are, from NumPy's
    default generator). Groups with the same outcomes count as one kind, since a thousand items that are 0 or 1 are a
    few dozen kinds."""
    rows = np.column_stack([outcomes.T, np.ones(outcomes.shape[1])])
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    sums = np.zeros((len(number), rows.shape[1]))
    np.add.at(sums, [number[name] for name in groups], rows)
    kinds, kind = np.unique(sums, axis=0, return_inverse=True)
    rng, n, k = np.random.default_rng(seed), len(sums), len(kinds)
    parts: list[np.ndarray] = []
    for _ in range(_DRAWS // _AT_ONCE):
        drawn = kind.reshape(-1)[rng.integers(0, n, size=(_AT_ONCE, n))] + k * np.arange(_AT_ONCE)[:, None]
        means = np.bincount(drawn.ravel(), minlength=k * _AT_ONCE).reshape(_AT_ONCE, k) @ kinds
        parts.append(means[:, :-1] / means[:, -1:])
    return np.concatenate(parts)


def _interval(value: float, drawn: Float[np.ndarray, " B"]) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def _change(
    outcomes: Float[np.ndarray, "A N"],
    drawn: Float[np.ndarray, "B A"],
    alphas: tuple[float, ...],
    start: int,
    end: int,
    groups: Sequence[str],
    scale: float,
    seed: int,
) -> PairedChange:
    differences = outcomes[end] - outcomes[start]
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    change = _interval(scale * differences.mean(), drawn[:, end] - drawn[:, start])
    p = _paired_p(differences, groups, seed)
    return PairedChange(alphas[start], alphas[end], change, gained, lost, p)


def _paired_p(differences: Float[np.ndarray, " N"], groups: Sequence[str], seed: int) -> float:
    from scipy import stats

    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    if not gained + lost:
        return 1.0
    if len(set(groups)) == len(groups) and np.isin(differences, (-1.0, 0.0, 1.0)).all():
        return float(stats.binomtest(gained, gained + lost).pvalue)
    return sign_flip_p(differences, groups, seed)


def _order(steps: Float[np.ndarray, " steps"]) -> Literal["rises", "falls", "level", "neither"]:
    if not steps.any():
        return "level"
    return "rises" if (steps >= 0).all() else "falls" if (steps <= 0).all() else "neither"
