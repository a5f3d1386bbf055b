"""Points of a dose curve that stand apart from their neighbours, item by item.

Where the dose acts gradually, an item that changes between two doses lies between them at the dose in between, and
where doses do nothing, the odd outcome of three falls on each of them alike. So among items whose outcomes at three
doses in a row are not all equal, the middle dose is the odd one out at most a third of the time: an exact binomial test
that knows nothing of the curve's form. A point that was computed another way (the unmodified model where its neighbours
run through a reconstruction, another prompt, judge or length) is the odd one for most of them.

A real peak is odd too, if its sides are steep. So a point is called odd only if the curve also breaks there: more items
move to it and from it than between the others (the median pair of doses; a wider gap counts in proportion). Where a
large effect moves many items anyway, a point that is off is not found; how often, `benchmarks/dose_flags.py` measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lens_truth.stats.bootstrap import group_sums
from lens_truth.stats.dose import Interval, dose_response

LEVEL = 0.01
"""Of all points of a curve together."""
_MORE, _FARTHER = 1.25, 2.0
_CHANCE = 1 / 3
_SIDE = 0.02
"""Of either side of a peak by itself."""


@dataclass(frozen=True)
class OddPoint:
    """A dose whose outcomes are not in line with those of its neighbours."""

    alpha: float
    odd: int
    """Items (groups) of which it is the odd one of three."""
    moved: int
    """Items that are not the same at all three."""
    off_line: Interval
    """How far its level lies from the line between its neighbours, times the scale."""
    p_value: float
    """Of the test that found it, before it is held against the level over all points of the curve."""
    by_level: bool
    """Found by its level alone: a peak beyond chance, where single items come and go too much to tell."""


def odd_points(
    outcomes: Float[np.ndarray, "A N"],
    alphas: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    scale: float = 100.0,
    seed: int = 42,
    level: float = LEVEL,
) -> tuple[OddPoint, ...]:
    """The doses of a curve, without its first and last, that were probably computed another way than their neighbours.

    Args:
        outcomes: as for `dose_response`, doses in rising order.
        level: how often a curve without such a point is to have one called so, at most.

    >>> [point.alpha for point in lens_truth.odd_points(outcomes, [0.0, 0.5, 1.0, 1.5, 2.0])]
    """
    kept = np.flatnonzero(np.isfinite(outcomes).all(0))
    y = outcomes[:, kept]
    if groups is not None and len(set(groups)) < len(groups):
        names = [groups[int(i)] for i in kept]
        y = (group_sums(y.T, names) / group_sums(np.ones((y.shape[1], 1)), names)).T
    left, odd = list(range(len(alphas))), list[OddPoint]()
    while len(left) > 2 and y.shape[1]:
        at = _oddest(y[left], [alphas[i] for i in left], level / (2 * (len(alphas) - 2)))
        if at is None:
            break
        j, its, by_items = at
        point, off = left[j], _off_line(y[left], [alphas[i] for i in left], j)
        line = dose_response(np.stack([0 * off, off]), (0.0, 1.0), scale=scale, seed=seed).slope
        p = float(np.exp(its.log_p)) if by_items else its.p_level
        odd.append(OddPoint(float(alphas[point]), its.odd, its.moved, line, p, by_level=not by_items))
        left.remove(point)  # its neighbours look odd beside it: they are judged without it
    return tuple(sorted(odd, key=lambda point: point.alpha))


def _oddest(y: Float[np.ndarray, "A N"], alphas: Sequence[float], below: float) -> tuple[int, _Tests, bool] | None:
    """The point that stands apart most, and whether its items say so."""
    found = {j: _tested(y, alphas, j) for j in range(1, len(alphas) - 1)}
    suspects = {j for j, its in found.items() if its.log_p < np.log(below)}
    by_items = [j for j in suspects if _breaks(y, alphas, j, suspects)]
    if by_items:
        j = min(by_items, key=lambda j: found[j].log_p)
        return j, found[j], True
    by_level = [j for j, its in found.items() if its.p_level < below and len(found) > 1 and _peaks(y, alphas, j)]
    if by_level:
        j = min(by_level, key=lambda j: found[j].p_level)
        return j, found[j], False
    return None


@dataclass(frozen=True)
class _Tests:
    odd: int
    moved: int
    log_p: float
    """Of the test of items."""
    p_level: float


def _tested(y: Float[np.ndarray, "A N"], alphas: Sequence[float], j: int) -> _Tests:
    from scipy import stats

    before, at, after = y[j - 1 : j + 2]
    apart = np.abs(after - before)
    odd = np.minimum(np.abs(at - before), np.abs(at - after)) > apart
    moved = (at != before) | (at != after)
    log_p = float(stats.binom.logsf(odd.sum() - 1, moved.sum(), _CHANCE))
    if len(y) == 3 and 2 * odd.sum() <= moved.sum():  # a real peak? where the curve has no more points, nothing tells
        log_p = 0.0
    off = _off_line(y, alphas, j)
    sign = np.sign(off.mean())
    sides = max(_greater(sign * (at - before)), _greater(sign * (at - after)))  # else a bend is far off the line, too
    p_level = min(1.0, 2 * _greater(sign * off)) if sides < _SIDE else 1.0
    return _Tests(int(odd.sum()), int(moved.sum()), log_p, p_level)


def _off_line(y: Float[np.ndarray, "A N"], alphas: Sequence[float], j: int) -> Float[np.ndarray, " N"]:
    """How far each item's outcome at point j lies from the line between its neighbours."""
    share = (alphas[j] - alphas[j - 1]) / (alphas[j + 1] - alphas[j - 1])
    return y[j] - (1 - share) * y[j - 1] - share * y[j + 1]


def _greater(differences: Float[np.ndarray, " N"]) -> float:
    """One-sided p-value of a mean above 0: exact where differences are -1, 0 or 1."""
    from scipy import stats

    if not differences.any():
        return 1.0
    if np.isin(differences, (-1.0, 0.0, 1.0)).all():
        more, fewer = int((differences > 0).sum()), int((differences < 0).sum())
        return float(stats.binom.sf(more - 1, more + fewer, 0.5))
    spread = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else 0.0
    if not spread:
        return 0.0 if len(differences) > 1 and differences[0] > 0 else 1.0
    return float(stats.t.sf(differences.mean() / spread, len(differences) - 1))


def _breaks(y: Float[np.ndarray, "A N"], alphas: Sequence[float], j: int, suspects: set[int]) -> bool:
    """Whether more items move to and from point j than between points that are no suspects; true where no other is
    left."""
    moves, gaps = np.abs(np.diff(y, axis=0)), np.diff(alphas)
    others = [i for i in range(len(moves)) if not {i, i + 1} & (suspects | {j})]
    for i in (j - 1, j):
        scaled = sorted((moves[k] * max(1.0, gaps[i] / gaps[k]) for k in others), key=lambda its: its.mean())
        if scaled:
            usual = scaled[len(scaled) // 2]
            if moves[i].mean() <= _MORE * usual.mean() or _greater(moves[i] - usual) >= LEVEL:
                return False
    return True


def _peaks(y: Float[np.ndarray, "A N"], alphas: Sequence[float], j: int) -> bool:
    """Whether the level moves on both sides of point j much farther than elsewhere."""
    steps, gaps = np.abs(np.diff(y.mean(1))), np.diff(alphas)
    others = [i for i in range(len(steps)) if i not in (j - 1, j)]
    return all(
        steps[i] > _FARTHER * np.median([steps[k] * max(1.0, gaps[i] / gaps[k]) for k in others]) for i in (j - 1, j)
    )
