"""The search for lambda: what is tried, and which gate is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lens_truth.ablation.ablate import STRENGTHS, search_lambda, search_uniform, strength_of, vanilla_accuracy
from lens_truth.ablation.tables import best_of
from lens_truth.evaluate.asker import Asker, run_benchmark
from lens_truth.gates.gate import HeadGate
from lens_truth.scoring.scores import HeadScores
from lens_truth.zoo.benchmarks import zoo_benchmarks


def test_search_returns_the_best_of_what_it_tried(zoo: Any) -> None:
    model = zoo("llama-memory")
    asker = Asker(model, "plain")
    validation = zoo_benchmarks("validation", 30, 0)[:2]
    scores = HeadScores(np.random.default_rng(0).normal(size=(6, 8)), "causal")
    gate, candidates = search_lambda(asker, scores, validation)
    assert len(candidates) == 2 * len(STRENGTHS)
    best = best_of(candidates)
    assert best.objective == max(c.objective for c in candidates)
    torch.testing.assert_close(gate.values, HeadGate.from_scores(scores, best.lam, best.norm).values)  # pyright: ignore[reportArgumentType]
    for candidate in candidates:
        assert min(abs(candidate.strength - s) for s in STRENGTHS) < 1e-4
        made = HeadGate.from_scores(scores, candidate.lam, candidate.norm)  # pyright: ignore[reportArgumentType]
        assert strength_of(made) == candidate.strength
        with made.attach(model):
            accuracy = {b.name: run_benchmark(model, b, "plain").accuracy for b in validation}
        assert candidate.accuracy == accuracy
    gate, gains = search_uniform(asker, validation)
    gain = best_of(gains)
    assert gate.values.unique().tolist() == [torch.tensor(1 + gain.lam).item()] and gain.lam > 0
    assert [g.lam for g in gains] == list(STRENGTHS) and gain.objective == max(g.objective for g in gains)
    without = [run_benchmark(model, b, "plain").accuracy for b in validation]
    assert list(vanilla_accuracy(asker, validation).values()) == without


def test_search_takes_learned_and_constant_scores_as_they_are(zoo: Any) -> None:
    asker, validation = Asker(zoo("llama-memory"), "plain"), zoo_benchmarks("validation", 10, 0)[:1]
    learned = HeadScores(np.full((6, 8), 0.25), "learned")
    gate, candidates = search_lambda(asker, learned, validation)
    assert len(candidates) == 1 and gate.values.unique().tolist() == [1.25]
    constant = HeadScores(np.full((6, 8), 0.7))
    gate, _ = search_lambda(asker, constant, validation)
    assert strength_of(gate) == 0.0
