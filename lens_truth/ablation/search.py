"""Which lambda and normalisation? Chosen on validation questions, which share no scene with the test questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import Benchmark
from lens_truth.gates.gate import HeadGate, Norm, Site
from lens_truth.gates.row_gates import Gates
from lens_truth.scoring.scores import HeadScores

STRENGTHS = (0.1, 0.2, 0.35, 0.5, 0.75)
"""How far gates may be from 1 (root mean square over heads). Scores of different kinds have different units, so
lambda is set to reach these; TruthProbe's control 1 + U(-1, 1) has 0.58."""

NORMS: tuple[Norm, ...] = ("center", "minmax")


@dataclass(frozen=True)
class Candidate:
    """One point of the search."""

    gate: HeadGate
    lam: float
    norm: str
    strength: float
    accuracy: dict[str, float]
    """Accuracy on each validation benchmark."""

    @property
    def objective(self) -> float:
        """Mean over benchmarks, so that a gain on one is weighed against losses on the others."""
        return float(np.mean(list(self.accuracy.values())))

    def summary(self) -> dict[str, Any]:
        """For result.json: everything but the gate itself."""
        return {
            "lam": self.lam,
            "norm": self.norm,
            "strength": self.strength,
            "objective": self.objective,
            "accuracy": self.accuracy,
        }


def search_lambda(
    asker: Asker,
    scores: HeadScores,
    validation: Sequence[Benchmark],
    *,
    fixed: tuple[Norm, float] | None = None,
    site: Site = "z",
) -> tuple[Candidate, list[Candidate]]:
    """The best candidate (of equals the weakest gate, and `center` before `minmax`) and all of them.

    A fixed normalisation and lambda are the only candidate; so are those of learned scores, which are a gate already
    (lambda 1, no normalisation).
    """
    if fixed is not None:
        settings: list[tuple[Norm, float]] = [fixed]
    elif scores.kind == "learned":
        settings = [("none", 1.0)]
    else:
        settings = [
            (norm, strength / spread) for norm in NORMS if (spread := _spread(scores, norm)) for strength in STRENGTHS
        ]
        settings = settings or [("center", 1.0)]  # constant scores make a gate of ones whatever lambda is
    gates = [(HeadGate.from_scores(scores, lam, norm, site=site), lam, norm) for norm, lam in settings]
    return _best_of(asker, gates, validation)


def search_uniform(
    asker: Asker, shape: tuple[int, int], validation: Sequence[Benchmark], *, site: Site = "z"
) -> tuple[Candidate, list[Candidate]]:
    """The best single gain for all heads, and all that were tried: what amplifying attention as a whole achieves,
    without any scores."""
    gates = [(HeadGate(torch.full(shape, 1 + strength), site), strength, "uniform") for strength in STRENGTHS]
    return _best_of(asker, gates, validation)


def vanilla_accuracy(asker: Asker, validation: Sequence[Benchmark]) -> dict[str, float]:
    """Accuracy without a gate on each validation benchmark: lambda 0, where every curve begins."""
    return {b.name: asker.one(b).accuracy for b in validation}


def _best_of(
    asker: Asker, gates: Sequence[tuple[HeadGate, float, str]], validation: Sequence[Benchmark]
) -> tuple[Candidate, list[Candidate]]:
    named: Gates = {f"search {norm} {lam:.3g}": gate for gate, lam, norm in gates}
    outcomes = {b.name: asker.run(b, named) for b in validation}
    candidates = [
        Candidate(gate, lam, norm, strength_of(gate), {b: by_gate[name].accuracy for b, by_gate in outcomes.items()})
        for name, (gate, lam, norm) in zip(named, gates, strict=True)
    ]
    return best_of(candidates), candidates


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The one that is chosen: of equals the weakest gate, then the first."""
    return max(candidates, key=lambda c: (c.objective, -c.strength))


def strength_of(gate: HeadGate) -> float:
    """Root mean square of gate - 1 over heads."""
    return float((gate.values - 1).square().mean().sqrt())


def _spread(scores: HeadScores, norm: Norm) -> float:
    """The strength of a gate with lambda 1."""
    return strength_of(HeadGate.from_scores(scores, 1.0, norm))
