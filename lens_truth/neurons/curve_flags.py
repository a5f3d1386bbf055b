"""What is wrong with the curves of a log: points computed another way, copies, curves that stop early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import count, interval, number, p_value, signed
from lens_truth.neurons.dose_log import ItemCurve
from lens_truth.stats.dose import Interval, dose_response
from lens_truth.stats.dose_flags import OddPoint, odd_points

Kind = Literal[
    "odd point",
    "step",
    "copied curve",
    "copied dose",
    "nothing changes",
    "missing items",
    "repeated rows",
    "stops early",
]
_FEW_CHANGES = 5
"""Curves that move fewer outcomes may be equal by chance."""
_CERTAIN = 10.0
"""Of so many items that come and go from dose to dose, all staying by chance is out of the question (e to the -10)."""
_ROUNDING = 1e-3
"""Standard deviations of the outcomes within which two of them are the same but for rounding."""


@dataclass(frozen=True)
class Flag:
    """One curve's fault."""

    curve: str
    kind: Kind
    alpha: float | None
    """The dose, if it is one dose's."""
    sentence: str


Point = tuple[str, float]
"""A curve's name and a dose."""


def shared_points(curves: Mapping[str, ItemCurve]) -> dict[Point, tuple[str, ...]]:
    """The other curves that have, at some dose, the same outcomes item by item, for each point of each curve. Most of
    its items have to be in both.

    >>> shared_points(curves)["h_neurons", 1.0]
    """
    place = {id_: i for i, id_ in enumerate(dict.fromkeys(id_ for its in curves.values() for id_ in its.ids))}
    points = [(name, alpha) for name, its in curves.items() for alpha in its.alphas]
    outcomes = np.full((len(points), len(place)), np.nan)
    row = 0
    for its in curves.values():
        outcomes[row : row + len(its.alphas), [place[id_] for id_ in its.ids]] = its.outcomes
        row += len(its.alphas)
    there = np.isfinite(outcomes)
    found: dict[Point, tuple[str, ...]] = {}
    for point, mine, has in zip(points, outcomes, there, strict=True):
        common = there & has
        same = ((outcomes == mine) | ~common).all(1) & (2 * common.sum(1) > has.sum())
        others = dict.fromkeys(points[i][0] for i in np.flatnonzero(same))
        found[point] = tuple(name for name in others if name != point[0])
    return found


def curve_flags(
    curves: Mapping[str, ItemCurve],
    references: Mapping[str, float],
    shared: Mapping[Point, tuple[str, ...]],
    scale: float,
    seed: int,
) -> tuple[dict[str, tuple[OddPoint, ...]], list[Flag]]:
    """The odd points of every curve, and everything that is wrong with them.

    >>> odd, flags = curve_flags(curves, dict.fromkeys(curves, 1.0), shared_points(curves), scale=100, seed=42)
    """
    odd: dict[str, tuple[OddPoint, ...]] = {}
    flags: list[Flag] = []
    for name, curve in curves.items():
        odd[name] = odd_points(curve.outcomes, curve.alphas, curve.groups, scale=scale, seed=seed)
        flags += [_odd_flag(curve, name, its, references[name], shared[name, its.alpha], scale) for its in odd[name]]
        flags += [*_missing(name, curve), *_unmoved(name, curve)]
        flags += _steps(name, curve, references[name], scale, seed)
    return odd, [*flags, *_copies(curves, references), *_stopped(curves)]


def _odd_flag(
    curve: ItemCurve, name: str, its: OddPoint, reference: float, same: tuple[str, ...], scale: float
) -> Flag:
    unit = " points" if scale == 100 else ""
    line = f"{signed(its.off_line.value, 1)}{unit} {interval((its.off_line.ci_low, its.off_line.ci_high), 1)}"
    what = (
        f"its level is beyond chance to one side of both neighbours' ({line} off the line between them"
        if its.by_level
        else f"it is the odd one of three in {its.odd} of {its.moved} items that change around it, where a third is "
        f"chance ({line} off its neighbours' line"
    )
    told = f"{name} at alpha {its.alpha:g} was probably computed another way than its neighbours: {what}, p = "
    told += f"{p_value(its.p_value)})"
    if same:
        told += f"; it is, item by item, also that of {_listed(same)}"
        told += ", the unmodified model, where its neighbours went through more" if its.alpha == reference else ""
    alone = " (of a curve with three doses a real peak looks alike)" if len(curve.alphas) == 3 else ""
    return Flag(name, "odd point", its.alpha, told + alone)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _missing(name: str, curve: ItemCurve) -> list[Flag]:
    there = np.isfinite(curve.outcomes)
    flags: list[Flag] = []
    if curve.repeated:
        told = f"{name} has {count(curve.repeated, 'row')} that say again what others said; each counts once"
        flags.append(Flag(name, "repeated rows", None, told))
    for alpha, its in zip(curve.alphas, there, strict=True):
        n = int(its.sum())
        if n < len(curve.ids):
            early = n > 0 and bool(its[:n].all())
            how = f"the first {n} of {len(curve.ids)}, as if it had stopped" if early else f"{n} of {len(curve.ids)}"
            told = (
                f"{name} at alpha {alpha:g} has outcomes of {how}; the curve is drawn over items that it has at every "
            )
            flags.append(Flag(name, "missing items", alpha, f"{told}alpha"))
    return flags


def _unmoved(name: str, curve: ItemCurve) -> list[Flag]:
    y = _complete(curve)
    if not y.shape[1]:
        return []
    if (y == y[0]).all():
        return [
            Flag(name, "nothing changes", None, f"{name} changes no item at any alpha, as if nothing had been applied")
        ]
    flips = np.array([(y[i] != y[j]).sum() for i, j in combinations(range(len(y)), 2)])
    flags: list[Flag] = []
    for i, j in combinations(range(len(y)), 2):
        if (y[i] == y[j]).all() and float(np.median(flips)) >= _CERTAIN:
            told = f"{name} has the same outcome for every item at alpha {curve.alphas[i]:g} and {curve.alphas[j]:g}, "
            told += f"where two doses differ in {np.median(flips):.0f} items: one is a copy of the other"
            flags.append(Flag(name, "copied dose", curve.alphas[j], told))
    return flags


def _steps(name: str, curve: ItemCurve, reference: float, scale: float, seed: int) -> list[Flag]:
    """A curve whose unmodified model stands at one end and apart, while all other doses do the same."""
    if reference not in (curve.alphas[0], curve.alphas[-1]) or len(curve.alphas) < 4 or not _complete(curve).shape[1]:
        return []
    kept = [i for i, alpha in enumerate(curve.alphas) if alpha != reference]
    whole = dose_response(curve.outcomes, curve.alphas, curve.groups, reference=reference, scale=scale, seed=seed)
    rest = dose_response(curve.outcomes[kept], [curve.alphas[i] for i in kept], curve.groups, scale=scale, seed=seed)
    nearest = min(whole.changes, key=lambda its: abs(its.end - reference))
    y = _complete(curve)
    flips = np.abs(np.diff(y, axis=0)).mean(1)
    jump = flips[0] if reference == curve.alphas[0] else flips[-1]
    others = flips[1:] if reference == curve.alphas[0] else flips[:-1]
    if rest.slope.clear or nearest.p_value >= 0.01 or jump <= 2 * float(np.median(others)):
        return []
    told = f"{name} is a step, not a dose response: from alpha {reference:g} to {nearest.end:g} it changes by "
    told += f"{_told(nearest.change)}, and its slope over the others is {_told(rest.slope, 2)}; either the smallest "
    return [Flag(name, "step", reference, f"{told}dose does all, or alpha {reference:g} was computed another way")]


def _told(its: Interval, places: int = 1) -> str:
    return f"{signed(its.value, places)} {interval((its.ci_low, its.ci_high), places)}"


def _copies(curves: Mapping[str, ItemCurve], references: Mapping[str, float]) -> list[Flag]:
    flags: list[Flag] = []
    copied: set[str] = set()
    for one, other in combinations(curves, 2):
        if one in copied or other in copied:
            continue
        _, doses, (first, second) = common_items([curves[one], curves[other]])
        at = [i for i, alpha in enumerate(doses) if alpha != references[one]]
        if not at or not first.shape[1]:
            continue
        first, second = first[at], second[at]
        spread = float(np.std(np.stack([first, second])))
        binary = np.isin(np.stack([first, second]), (0.0, 1.0)).all()
        moved = len(at) > 1 and np.abs(np.diff(first, axis=0)).sum() >= _FEW_CHANGES
        if np.abs(first - second).max() <= (0.0 if binary else _ROUNDING * spread) and (moved or not binary):
            exact = "item by item" if (first == second).all() else "item by item but for rounding"
            told = f"{other} is {one} again, {exact}, at {count(len(doses), 'alpha')}: it is no second sample"
            flags.append(Flag(other, "copied curve", None, told))
            copied.add(other)
    return flags


def _stopped(curves: Mapping[str, ItemCurve]) -> list[Flag]:
    usual, n = Counter(curve.alphas for curve in curves.values()).most_common(1)[0]
    if 2 * n <= len(curves):
        return []
    flags: list[Flag] = []
    for name, curve in curves.items():
        k = len(curve.alphas)
        if k < len(usual) and curve.alphas == usual[:k]:
            told = f"{name} ends at alpha {curve.alphas[-1]:g}, where {n} of {len(curves)} curves go on to "
            flags.append(Flag(name, "stops early", None, f"{told}{number(usual[-1], 1)}"))
    return flags


def _complete(curve: ItemCurve) -> Float[np.ndarray, "A N"]:
    return curve.outcomes[:, np.isfinite(curve.outcomes).all(0)]


def common_items(
    curves: Sequence[ItemCurve],
) -> tuple[list[str], tuple[float, ...], Float[np.ndarray, "C A N"]]:
    """Items and doses that all of some curves have, and their outcomes there.

    >>> ids, doses, outcomes = common_items([curves["h_neurons"], curves["seed_0"]])
    """
    doses = tuple(alpha for alpha in curves[0].alphas if all(alpha in its.alphas for its in curves))
    places = [{id_: i for i, id_ in enumerate(its.ids)} for its in curves]
    ids = [id_ for id_ in curves[0].ids if all(id_ in its for its in places)]
    outcomes = np.stack(
        [
            its.outcomes[[its.alphas.index(alpha) for alpha in doses]][:, [place[id_] for id_ in ids]]
            for its, place in zip(curves, places, strict=True)
        ]
    )
    there = np.flatnonzero(np.isfinite(outcomes).all((0, 1)))
    return [ids[int(i)] for i in there], doses, outcomes[:, :, there]
