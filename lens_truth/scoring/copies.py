"""Seeds, folds and trials that are one run told twice: their spread says nothing of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float

from lens_truth.confounds.findings import Finding
from lens_truth.io.numbers import count, short
from lens_truth.scoring.scores import HeadScores

Values = Float[np.ndarray, " n"]
_ROUNDING = 1e-6
"""Of the range: differences below are of number formats. And of a correlation of two runs: no noise is as small."""
_AFFINE = 1e-9
_OFF_MODE, _DISTINCT = 8, 5
"""Maps in which fewer heads differ from the commonest value, or with fewer values, may be equal by chance (heads whose
accuracy is 1, gates of 0 and 1)."""
_BEFORE_ROUNDING = 10
"""Values of a rounded map, below which rounding may have made it equal to another."""
_NEARLY = 0.9
"""Share of heads that are equal, of maps of many values, from which one is the other with some heads changed."""
_DECIMALS = 8
"""More are no rounding."""
_CURE = "They are one run, so their spread is no noise: leave out all but one"


def copied_scores(scores: Mapping[str, HeadScores]) -> list[Finding]:
    """Maps of one shape that are copies of one another, and folds or trials of one map that are: equal up to number
    formats, or up to rounding to the fewer decimals of the two, or the one a multiple of the other plus a constant.

    Maps that say too little (fewer than 9 heads, nearly all at one value, few values) are called no copies, since
    different runs can agree in them.

    >>> copied_scores({"seed 0": lens_truth.HeadScores.load("s0.csv"), "seed 1": lens_truth.HeadScores.load("s1.csv")})
    """
    maps = {name: its.values.ravel().astype(float) for name, its in scores.items()}
    told = _pairs(maps, {name: its.values.shape for name, its in scores.items()})
    found = [_finding(told, len(scores), "maps of scores")] if told else []
    for name, its in scores.items():
        if its.folds is not None:
            parts = {f"fold or trial {k}": part.ravel() for k, part in enumerate(its.folds)}
            told = _pairs(parts, dict.fromkeys(parts, its.values.shape))
            found += [_finding(told, len(parts), f"folds or trials of {name}")] if told else []
    return found


def _pairs(maps: Mapping[str, Values], shapes: Mapping[str, tuple[int, ...]]) -> dict[tuple[str, str], str]:
    """Every two that are copies, and how alike they are."""
    told = {
        (one, other): _alike(maps[one], maps[other], _is_rich(maps[one]))
        for one, other in combinations(maps, 2)
        if shapes[one] == shapes[other]
    }
    return {pair: how for pair, how in told.items() if how}


def _alike(a: Values, b: Values, telling: bool) -> str:
    """How two runs are one; empty if they are not. `telling` says whether it would mean something if they were
    equal."""
    if not a.size:
        return ""
    gap, spread = float(np.abs(a - b).max()), float(max(np.ptp(a), np.ptp(b)))
    if telling and gap <= _ROUNDING * spread:
        return f"largest difference {short(gap)}"
    if not (_is_rich(a) and _is_rich(b)):
        return ""
    x, y = a - a.mean(), b - b.mean()
    slope = float(x @ y / (x @ x))
    apart = float(((y - slope * x) ** 2).sum() / (y @ y))  # 1 - r^2, without loss of digits
    if apart <= 2 * _AFFINE:
        return f"the second is {slope:.6g} times the first {b.mean() - slope * a.mean():+.6g}"
    if slope > 0 and apart <= 2 * _ROUNDING:
        return f"r = 1 - {short(apart / 2)}, largest difference {short(gap)}"
    return _rounded(a, b) or _rounded(slope * (a - a.mean()) + b.mean(), b) or _mostly(a, b)


def _mostly(a: Values, b: Values) -> str:
    """That nearly all heads are equal, if they are."""
    same = np.abs(a - b) <= _ROUNDING * max(np.ptp(a), np.ptp(b))
    return (
        f"equal in {int(same.sum())} of {len(a)} heads"
        if same.mean() >= _NEARLY and len(np.unique(a)) > len(a) / 2
        else ""
    )


def _rounded(a: Values, b: Values) -> str:
    """That one is the other with fewer decimals, if it is."""
    coarse, fine = sorted((a, b), key=_decimals)
    decimals = _decimals(coarse)
    if decimals >= _DECIMALS or len(np.unique(coarse.round(decimals))) < _BEFORE_ROUNDING:
        return ""
    half = 0.5 * 10.0**-decimals
    return f"equal after rounding to {count(decimals, 'decimal')}" if np.abs(coarse - fine).max() <= 1.02 * half else ""


def _decimals(values: Values) -> int:
    """How many a column was written with."""
    near = (d for d in range(_DECIMALS) if np.abs(values - values.round(d)).max() <= 1e-6 * 10.0**-d + 1e-7)
    return next(near, _DECIMALS)


def _is_rich(values: Values) -> bool:
    return _off_mode(values) >= _OFF_MODE and len(np.unique(values)) >= _DISTINCT


def _off_mode(values: Values) -> int:
    """How many are not the commonest."""
    return len(values) - int(np.unique(values, return_counts=True)[1].max(initial=0))


def _finding(told: Mapping[tuple[str, str], str], of: int, what: str) -> Finding:
    groups = _groups(list(told))
    n = sum(map(len, groups))
    (first, second), how = next(iter(told.items()))
    says = f"{n} of {of} {what} are copies of one another, which leaves {count(of - n + len(groups), 'different run')}"
    return Finding("identical seeds", "wrong", says, n, of, f"{first} and {second}: {how}", _CURE)


def _groups(pairs: Sequence[tuple[str, str]]) -> list[set[str]]:
    """Those that are one run, from pairs."""
    groups: list[set[str]] = []
    for pair in pairs:
        joined = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in joined] + [set(pair).union(*joined)]
    return groups
