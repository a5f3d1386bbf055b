"""Which models the runs are of, told apart by the hashes of their weights where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lens_truth.io.readers import is_list, is_object
from lens_truth.page.reading import Problem, RunRecord

Model = tuple[str, str | None]
"""Name and hash of the weights."""


def models_of(run: RunRecord) -> list[Model]:
    """Every model that a run names, each once; without a hash only those for which the run gives none."""
    found: list[Model] = []
    maps = run.results.value.get("head_scores")
    for one in maps.values() if is_object(maps) else ():
        provenance = one.get("provenance") if is_object(one) else None
        if is_object(provenance) and isinstance(name := provenance.get("model"), str):
            found.append((name, _hash(provenance.get("weights"))))
    if run.attention is not None:
        found.append((run.attention.model, run.attention.weights))
    only = run.hashes.get("weights") if run.kind not in ("weights", "inherit", "ablate") else None
    found += [(name, _hash(run.hashes.get(name, only))) for name in _names(run)]
    hashed = {name for name, weights in found if weights is not None}
    unique: list[Model] = []
    for name, weights in dict.fromkeys(found):
        if weights is None and name in hashed:
            continue
        if weights is not None and any(weights == other for _, other in unique):
            continue  # inherit has short names of its own
        unique.append((name, weights))
    return unique


def _hash(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _names(run: RunRecord) -> list[str]:
    results = run.results.value
    names: list[Any] = []
    if run.kind == "inherit":
        listed = results.get("names")
        names = listed if is_list(listed) else []
    elif run.kind == "weights":
        sides = [results.get(role) for role in ("child", "unrelated")]
        names = [results.get("base"), *(side.get("name") for side in sides if is_object(side))]
    elif run.kind == "ablate":
        listed = run.config.get("model")
        names = [*(listed if is_list(listed) else []), run.config.get("scores_from")]
    elif run.kind == "evaluate":
        names = [run.config.get("model")] if "weights" in run.hashes else []  # not asked: answers from a file
    elif run.kind != "audit":
        names = [run.config.get("model")]
    return [name for name in names if isinstance(name, str)]


def same(one: Model, other: Model) -> bool:
    """By hash; by name where one of the two has none."""
    if one[1] is not None and other[1] is not None:
        return one[1] == other[1]
    return one[0] == other[0]


def mixture(runs: Sequence[RunRecord]) -> list[Problem]:
    """What should not be overlooked where several runs are shown together: runs without a model in common, one name
    for different weights, different versions of lens_truth."""
    problems: list[Problem] = []
    of_runs = {run.name: models_of(run) for run in runs}
    named = {name: models for name, models in of_runs.items() if models}
    everything = list(dict.fromkeys(model for models in named.values() for model in models))
    shared = any(all(any(same(m, own) for own in models) for models in named.values()) for m in everything)
    if len(named) > 1 and not shared:
        problems.append(Problem("", _apart(named, everything)))
    for name in dict.fromkeys(name for name, _ in everything):
        hashes = {weights: run for run, models in named.items() for n, weights in models if n == name and weights}
        if len(hashes) > 1:
            said = ", ".join(f"{weights} in {run}" for weights, run in hashes.items())
            problems.append(Problem("", f"'{name}' stands for different weights: {said}"))
    versions: dict[str, list[str]] = {}
    for run in runs:
        versions.setdefault(str(run.versions.get("lens-truth", "unknown")), []).append(run.name)
    if len(versions) > 1:
        said = "; ".join(f"{version}: {', '.join(names)}" for version, names in versions.items())
        problems.append(Problem("", f"the runs were made by different versions of lens_truth ({said})"))
    return problems


def _apart(named: dict[str, list[Model]], everything: Sequence[Model]) -> str:
    """Which runs share the model that most of them have, and of which models the others are."""

    def sharing(model: Model) -> list[str]:
        return [run for run, models in named.items() if any(same(model, own) for own in models)]

    common = max(everything, key=lambda model: len(sharing(model)))
    its = sharing(common)
    others: dict[str, list[str]] = {}
    for run, models in named.items():
        if run not in its:
            others.setdefault(listed(models), []).append(run)
    said = "; ".join(_are_of(runs, models) for models, runs in others.items())
    return f"the runs are not of one model: {_are_of(its, listed([common]))}, but {said}"


def _are_of(runs: Sequence[str], models: str) -> str:
    return f"{', '.join(runs)} {'are' if len(runs) > 1 else 'is'} of {models}"


def listed(models: Sequence[Model]) -> str:
    """A few names, each with the beginning of its hash."""
    names = [name if weights is None else f"{name} ({weights[:8]})" for name, weights in models]
    return ", ".join(names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"])
