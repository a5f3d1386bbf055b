"""Published logs of dose curves scored anew."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lens_truth.errors import InputError
from lens_truth.neurons.curve_flags import common_items, curve_flags, shared_points
from lens_truth.neurons.dose_log import ItemCurve
from lens_truth.neurons.dose_result import CurveFound, DoseCurves, SetFound
from lens_truth.neurons.neuron_set import NeuronSet
from lens_truth.stats.dose import POINTS, AgainstControls, DoseResponse, against_controls, dose_response
from lens_truth.stats.dose_flags import OddPoint

_CONTROL = re.compile(r"random|seed|control|unconstrained|layer.?matched|shuffl|permut|placebo", re.IGNORECASE)
_UNMODIFIED = (1.0, 0.0)


def dose_curves(
    curves: Mapping[str, ItemCurve],
    *,
    log: str = "",
    reference: float | None = None,
    controls: Sequence[str] = (),
    sets: Mapping[str, NeuronSet] | None = None,
    seed: int = 42,
) -> DoseCurves:
    """Slopes, paired changes, and what is wrong with curves that were logged item by item.

    >>> curves = lens_truth.read_dose_log(Path("compliance.csv"))
    >>> lens_truth.dose_curves(curves).verdicts()

    Args:
        reference: the alpha at which the model is unmodified; by default for each curve the one that it shares item by
            item with other curves, else 1, else 0, else its lowest.
        controls: patterns (`seed_*`) of the curves that are controls; by default those whose names say so. Controls
            with the first word of a curve's name are that curve's, others those of curves without such.
        sets: the neurons that were scaled, by name.
        seed: of the bootstrap.

    Raises:
        InputError: if a curve has one alpha or no item at all of them, or a pattern matches no curve.
    """
    for name, its in curves.items():
        if len(its.alphas) < 2:
            raise InputError(f"{name} has one alpha; a slope needs two")
        if not np.isfinite(its.outcomes).all(0).any():
            raise InputError(f"{name} has no item with an outcome at every alpha; an item needs one at each")
        if len({its.groups[n] for n in np.flatnonzero(np.isfinite(its.outcomes).all(0))}) < 2:
            raise InputError(
                f"{name} has outcomes at every alpha of items of one group alone; an interval needs two groups"
            )
    if reference is not None and not any(reference in its.alphas for its in curves.values()):
        raise InputError(f"no curve has alpha {reference:g}, at which the model is said to be unmodified")
    kinds = _kinds(curves, controls)
    values = np.concatenate([its.outcomes[np.isfinite(its.outcomes)] for its in curves.values()])
    scale = POINTS if values.min() >= 0 and values.max() <= 1 else 1.0
    shared = shared_points(curves)
    references = {
        name: _reference(its.alphas, {alpha: len(shared[name, alpha]) for alpha in its.alphas})
        if reference is None
        else reference
        for name, its in curves.items()
    }
    odd, flags = curve_flags(curves, references, shared, scale, seed)
    found = {name: _found(its, references[name], odd[name], scale, seed) for name, its in curves.items()}
    return DoseCurves(
        log=log,
        scale=scale,
        curves={
            name: replace(
                its,
                control=kinds[name],
                shared=shared[name, its.response.reference],
                against={} if kinds[name] else _against(curves, name, kinds, odd, scale, seed),
            )
            for name, its in found.items()
        },
        flags=tuple(flags),
        sets=_sets(sets or {}),
    )


def _kinds(curves: Mapping[str, ItemCurve], controls: Sequence[str]) -> dict[str, str]:
    """What kind of control each curve is: its name without numbers; empty for those that are none."""
    for pattern in controls:
        if not any(fnmatchcase(name, pattern) for name in curves):
            raise InputError(f"no curve matches '{pattern}'; the curves are {', '.join(curves)}")
    are = {
        name: any(fnmatchcase(name, its) for its in controls) if controls else bool(_CONTROL.search(name))
        for name in curves
    }
    if all(are.values()):
        return dict.fromkeys(curves, "")
    return {name: re.sub(r"\d+", "*", name) if are[name] else "" for name in curves}


def _reference(alphas: Sequence[float], shared: Mapping[float, int]) -> float:
    """The dose at which the most other curves have the same outcomes; else 1, else 0, else the lowest."""
    most = [alpha for alpha in alphas if shared[alpha] and shared[alpha] == max(shared.values())]
    known = [alpha for alpha in _UNMODIFIED if alpha in (most or alphas)]
    return (known or most or list(alphas))[0]


def _found(curve: ItemCurve, reference: float, odd: tuple[OddPoint, ...], scale: float, seed: int) -> CurveFound:
    def response(at: Sequence[int]) -> DoseResponse:
        doses = [curve.alphas[i] for i in at]
        how: dict[str, Any] = {"reference": reference, "scale": scale, "seed": seed}
        return dose_response(curve.outcomes[list(at)], doses, curve.groups, **how)

    complete = curve.outcomes[:, np.isfinite(curve.outcomes).all(0)]
    binary = np.isin(complete, (0.0, 1.0)).all()
    wrong = {point.alpha for point in odd}
    kept = [i for i, alpha in enumerate(curve.alphas) if alpha not in wrong]
    return CurveFound(
        response=response(range(len(curve.alphas))),
        counts=tuple(complete.sum(1).astype(int).tolist()) if binary else (),
        control="",
        odd=odd,
        without=response(kept) if wrong and len(kept) > 1 else None,
        shared=(),
        against={},
    )


def _against(
    curves: Mapping[str, ItemCurve],
    name: str,
    kinds: Mapping[str, str],
    odd: Mapping[str, tuple[OddPoint, ...]],
    scale: float,
    seed: int,
) -> dict[str, AgainstControls]:
    """Beside the controls of each kind that have most of its items, at the doses that all of them have."""
    found: dict[str, AgainstControls] = {}
    for kind in dict.fromkeys(kinds[other] for other in _own_controls(name, kinds)):
        members = [other for other in kinds if kinds[other] == kind]
        wrong = {point.alpha for one in (name, *members) for point in odd[one]}
        ids, doses, outcomes = common_items([curves[one] for one in (name, *members)])
        kept = [i for i, alpha in enumerate(doses) if alpha not in wrong]
        if len(kept) > 1 and 2 * len(ids) >= len(curves[name].ids):
            groups = dict(zip(curves[name].ids, curves[name].groups, strict=True))
            mine, *theirs = outcomes[:, kept]
            found[kind] = against_controls(
                mine, np.stack(theirs), [doses[i] for i in kept], [groups[id_] for id_ in ids], scale=scale, seed=seed
            )
    return found


def _own_controls(name: str, kinds: Mapping[str, str]) -> list[str]:
    controls = [other for other in kinds if kinds[other]]
    firsts = {_first(other) for other in kinds if not kinds[other]}
    if own := [other for other in controls if _first(other) == _first(name)]:
        return own
    return [other for other in controls if _first(other) not in firsts]


def _first(name: str) -> str:
    return re.split(r"[^A-Za-z0-9]", name.lower())[0]


def read_neuron_sets(folder: Path) -> dict[str, NeuronSet]:
    """The files of neurons in a folder, `{"layer": [neuron, ...]}`, by name; other JSON is passed over.

    >>> lens_truth.read_neuron_sets(Path("faitheval_hneurons"))["seed_0_unconstrained"].by_layer()
    """
    found: dict[str, NeuronSet] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            found[file.stem.removeprefix("neurons_")] = NeuronSet.load(file)
        except InputError:
            continue
    return found


def _sets(sets: Mapping[str, NeuronSet]) -> dict[str, SetFound]:
    places = {name: set(zip(its.layer.tolist(), its.neuron.tolist(), strict=True)) for name, its in sets.items()}
    layers = {name: {layer: len(its) for layer, its in neurons.by_layer().items()} for name, neurons in sets.items()}
    shared: dict[str, dict[str, int]] = {name: {} for name in sets}
    alike: dict[str, list[str]] = {name: [] for name in sets}
    for one, other in combinations(sets, 2):
        if n := len(places[one] & places[other]):
            shared[one][other] = shared[other][one] = n
        if layers[one] == layers[other]:
            alike[one].append(other)
            alike[other].append(one)
    return {name: SetFound(len(its), len(layers[name]), shared[name], tuple(alike[name])) for name, its in sets.items()}
