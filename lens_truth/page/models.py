"""Which models the runs are of, told apart by the hashes of their weights where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lens_truth.io.readers import is_list
from lens_truth.page.reading import Problem, RunRecord

Model = tuple[str, str | None]
"""Name and hash of the weights."""

_FLAGS = ("model", "base", "child", "unrelated", "scores_from")
"""Those that name models."""


def models_of(run: RunRecord) -> list[Model]:
    """Every model that a run names, each once; without a hash only those for which the run gives none."""
    found = [_model(its.provenance.get("model"), its.provenance.get("weights")) for its in run.maps.values()]
    if run.attention is not None:
        found.append((run.attention.model, run.attention.weights))
    if run.kind != "evaluate" or "weights" in run.hashes:  # otherwise no model was asked: answers from a file
        named = [name for flag in _FLAGS for name in _listed(run.config.get(flag))]
        found += [_model(name, run.hashes.get(str(name), run.hashes.get("weights"))) for name in named]
    models = dict.fromkeys(model for model in found if model is not None)
    by_hash = {weights: name for name, weights in reversed(models) if weights is not None}  # inherit has short names
    return [
        (name, weights)
        for name, weights in models
        if (by_hash[weights] == name if weights is not None else name not in {known for known, its in models if its})
    ]


def _model(name: object, weights: object) -> Model | None:
    return (name, weights if isinstance(weights, str) else None) if isinstance(name, str) else None


def _listed(value: Any) -> list[Any]:
    return value if is_list(value) else [value]


def _same(one: Model, other: Model) -> bool:
    """By hash; by name where one of the two has none."""
    return one[1] == other[1] if one[1] is not None and other[1] is not None else one[0] == other[0]


def mixture(runs: Sequence[RunRecord]) -> list[Problem]:
    """What should not be overlooked where several runs are shown together: runs without a model in common, one name
    for different weights, different versions of lens_truth."""
    problems: list[Problem] = []
    of_runs = {run.name: models for run in runs if (models := models_of(run))}
    everything = list(dict.fromkeys(model for models in of_runs.values() for model in models))

    def sharing(model: Model) -> list[str]:
        return [run for run, models in of_runs.items() if any(_same(model, own) for own in models)]

    common = max(everything, key=lambda model: len(sharing(model)), default=None)
    if common is not None and len(its := sharing(common)) < len(of_runs):
        others = {run: listed(models) for run, models in of_runs.items() if run not in its}
        said = f"{_are_of(its, listed([common]))}, but {'; '.join(_are_of(*one) for one in _by_value(others))}"
        problems.append(Problem("", f"the runs are not of one model: {said}"))
    for name in dict.fromkeys(name for name, _ in everything):
        hashes = {weights: run for run, models in of_runs.items() for n, weights in models if n == name and weights}
        if len(hashes) > 1:
            said = ", ".join(f"{weights} in {run}" for weights, run in hashes.items())
            problems.append(Problem("", f"'{name}' stands for different weights: {said}"))
    versions = _by_value({run.name: str(run.versions.get("lens-truth", "unknown")) for run in runs})
    if len(versions) > 1:
        said = "; ".join(f"{version}: {', '.join(names)}" for names, version in versions)
        problems.append(Problem("", f"the runs were made by different versions of lens_truth ({said})"))
    return problems


def _by_value(said: dict[str, str]) -> list[tuple[list[str], str]]:
    """Names of which the same is said together."""
    return [([name for name, its in said.items() if its == one], one) for one in dict.fromkeys(said.values())]


def _are_of(runs: Sequence[str], models: str) -> str:
    return f"{', '.join(runs)} {'are' if len(runs) > 1 else 'is'} of {models}"


def listed(models: Sequence[Model]) -> str:
    """A few names, each with the beginning of its hash."""
    names = [name if weights is None else f"{name} ({weights[:8]})" for name, weights in models]
    return ", ".join(names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"])
