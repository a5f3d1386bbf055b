"""Which lambda and normalisation? Chosen on validation questions, which share no scene with the test questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lens_truth.ablation.rows import Candidate, best_of
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import Benchmark
from lens_truth.gates.gate import HeadGate, Norm, Site
from lens_truth.scoring.scores import HeadScores

STRENGTHS = (0.1, 0.2, 0.35, 0.5, 0.75)
"""How far gates may be from 1 (root mean square over heads). Scores of different kinds have different units, so
lambda is set to reach these; TruthProbe's control 1 + U(-1, 1) has 0.58."""


@dataclass(frozen=True)
class Search:
    """What is tried on validation.

    >>> lens_truth.Search(fixed=("minmax", 0.65))  # nothing: lambda was chosen elsewhere
    """

    fixed: tuple[Norm, float] | None = None
    """Normalisation and lambda chosen elsewhere, instead of ten candidates: `center` and `minmax`, each with the
    lambdas that bring the gate .1, .2, .35, .5 and .75 away from 1 (root mean square over heads)."""
    site: Site = "z"
    """Where all gates act; see `HeadGate`."""


Found = tuple[HeadGate, tuple[Candidate, ...]]
"""The gate that was chosen (as `best_of` chooses), and all candidates."""


def search_lambda(
    asker: Asker, scores: HeadScores, validation: Sequence[Benchmark], search: Search | None = None
) -> Found:
    """A fixed normalisation and lambda are the only candidate; so are those of learned scores, a gate already."""
    search = search or Search()
    if search.fixed is not None:
        settings: list[tuple[Norm, float]] = [search.fixed]
    elif scores.kind == "learned":
        settings = [("none", 1.0)]
    else:
        norms: tuple[Norm, ...] = ("center", "minmax")
        spreads = {norm: strength_of(HeadGate.from_scores(scores, 1.0, norm)) for norm in norms}
        settings = [(norm, far / spread) for norm, spread in spreads.items() if spread for far in STRENGTHS]
        settings = settings or [("center", 1.0)]  # constant scores make a gate of ones whatever lambda is
    gates = [(HeadGate.from_scores(scores, lam, norm, site=search.site), lam, norm) for norm, lam in settings]
    return _tried(asker, gates, validation)


def search_uniform(asker: Asker, validation: Sequence[Benchmark], site: Site = "z") -> Found:
    """A single gain for all heads: what amplifying attention as a whole achieves, without any scores."""
    shape = (asker.model.cfg.n_layers, asker.model.cfg.n_heads)
    gates = [(HeadGate(torch.full(shape, 1 + strength), site), strength, "uniform") for strength in STRENGTHS]
    return _tried(asker, gates, validation)


def vanilla_accuracy(asker: Asker, validation: Sequence[Benchmark]) -> dict[str, float]:
    """Accuracy without a gate on each validation benchmark: lambda 0, where every curve begins."""
    return {benchmark.name: asker.one(benchmark).accuracy for benchmark in validation}


def _tried(asker: Asker, gates: Sequence[tuple[HeadGate, float, str]], validation: Sequence[Benchmark]) -> Found:
    named = {f"search {norm} {lam:.3g}": gate for gate, lam, norm in gates}
    results = {benchmark.name: asker.run(benchmark, named) for benchmark in validation}
    candidates = [
        Candidate(lam, norm, strength_of(gate), {b: by_gate[name].accuracy for b, by_gate in results.items()})
        for name, (gate, lam, norm) in zip(named, gates, strict=True)
    ]
    best = candidates.index(best_of(candidates))
    return gates[best][0], tuple(candidates)


def strength_of(gate: HeadGate) -> float:
    """Root mean square of gate - 1 over heads."""
    return float((gate.values - 1).square().mean().sqrt())
