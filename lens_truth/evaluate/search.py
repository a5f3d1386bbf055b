"""Which lambda and normalisation? Chosen on validation questions, which share no scene with the test questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lens_truth.evaluate.benchmark import Benchmark, run_benchmark
from lens_truth.gate import HeadGate, Norm
from lens_truth.models.prompts import Template
from lens_truth.scores import HeadScores

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
        return {
            "lam": self.lam,
            "norm": self.norm,
            "strength": self.strength,
            "objective": self.objective,
            "accuracy": self.accuracy,
        }


def search_lambda(
    model: Any,
    scores: HeadScores,
    validation: Sequence[Benchmark],
    template: Template,
    *,
    batch_size: int = 256,
    progress: bool = False,
) -> tuple[Candidate, list[Candidate]]:
    """The best candidate (of equals the weakest gate, and `center` before `minmax`) and all of them.

    Learned scores are a gate already (lambda 1, no normalisation): the only candidate.
    """
    if scores.kind == "learned":
        settings: list[tuple[Norm, float]] = [("none", 1.0)]
    else:
        settings = [
            (norm, strength / spread) for norm in NORMS if (spread := _spread(scores, norm)) for strength in STRENGTHS
        ]
        settings = settings or [("center", 1.0)]  # constant scores make a gate of ones whatever lambda is
    candidates = []
    for norm, lam in tqdm(settings, desc=f"search lambda ({scores.kind})", disable=not progress, leave=False):
        gate = HeadGate.from_scores(scores, lam, norm)
        candidates.append(evaluate_gate(model, gate, lam, norm, validation, template, batch_size))
    best = max(candidates, key=lambda c: (c.objective, -c.strength))
    return best, candidates


def search_uniform(
    model: Any, shape: tuple[int, int], validation: Sequence[Benchmark], template: Template, *, batch_size: int = 256
) -> Candidate:
    """The best single gain for all heads: what amplifying attention as a whole achieves, without any scores."""
    gates = [(strength, HeadGate(torch.full(shape, 1 + strength))) for strength in STRENGTHS]
    candidates = [
        evaluate_gate(model, gate, strength, "uniform", validation, template, batch_size) for strength, gate in gates
    ]
    return max(candidates, key=lambda c: (c.objective, -c.strength))


def evaluate_gate(
    model: Any,
    gate: HeadGate,
    lam: float,
    norm: str,
    benchmarks: Sequence[Benchmark],
    template: Template,
    batch_size: int,
) -> Candidate:
    with gate.attach(model):
        accuracy = {b.name: run_benchmark(model, b, template, batch_size=batch_size).accuracy for b in benchmarks}
    return Candidate(gate, float(lam), norm, strength_of(gate), accuracy)


def strength_of(gate: HeadGate) -> float:
    """Root mean square of gate - 1 over heads."""
    return float((gate.values - 1).square().mean().sqrt())


def _spread(scores: HeadScores, norm: Norm) -> float:
    """The strength of a gate with lambda 1."""
    return strength_of(HeadGate.from_scores(scores, 1.0, norm))
