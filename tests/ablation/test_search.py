"""The search for lambda: what is tried, which gate is chosen, and that none is where none does better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.ablation.rows import best_of
from lens_truth.ablation.search import (
    CONTRASTS,
    STRENGTHS,
    Search,
    Validation,
    counting,
    search_contrast,
    search_lambda,
    search_uniform,
    strength_of,
)
from lens_truth.evaluate.answers import Mode
from lens_truth.evaluate.asker import Asker, run_benchmark
from lens_truth.evaluate.result import MARGIN, BenchmarkResult
from lens_truth.gates.gate import HeadGate
from lens_truth.scoring.scores import HeadScores
from lens_truth.zoo.benchmarks import zoo_benchmarks


def test_search_returns_the_best_of_what_it_tried(zoo: Any) -> None:
    model = zoo("llama-memory")
    asker = Asker(model, "plain")
    validation = Validation.of(asker, zoo_benchmarks("validation", 30, 0)[:2])
    assert dict(validation.vanilla) == {
        b.name: run_benchmark(model, b, "plain").accuracy for b in validation.benchmarks
    }
    scores = HeadScores(np.random.default_rng(0).normal(size=(6, 8)), "causal")
    found = search_lambda(validation, scores)
    assert len(found.candidates) == 2 * len(STRENGTHS)
    best = best_of(found.candidates)
    assert found.best == best and best.objective == max(c.objective for c in found.candidates)
    assert found.gate is not None and best.objective > np.mean(list(validation.vanilla.values()))
    torch.testing.assert_close(found.gate.values, HeadGate.from_scores(scores, best.lam, best.norm).values)  # pyright: ignore[reportArgumentType]
    for candidate in found.candidates[:: len(STRENGTHS) - 1]:
        assert min(abs(candidate.strength - s) for s in STRENGTHS) < 1e-4
        made = HeadGate.from_scores(scores, candidate.lam, candidate.norm)  # pyright: ignore[reportArgumentType]
        assert strength_of(made) == candidate.strength
        with made.attach(model):
            accuracy = {b.name: run_benchmark(model, b, "plain").accuracy for b in validation.benchmarks}
        assert candidate.accuracy == accuracy
    gains = search_uniform(validation)
    assert [g.lam for g in gains.candidates] == list(STRENGTHS)
    assert gains.gate is not None and gains.gate.values.unique().tolist() == [torch.tensor(1 + gains.best.lam).item()]


def test_learned_and_constant_scores_are_taken_as_they_are(zoo: Any) -> None:
    validation = Validation.of(Asker(zoo("llama-memory"), "plain"), zoo_benchmarks("validation", 10, 0)[:1])
    found = search_lambda(validation, HeadScores(np.full((6, 8), 0.25), "learned"))
    assert [c.strength for c in found.candidates] == [0.25]
    constant = search_lambda(validation, HeadScores(np.full((6, 8), 0.7)))
    assert constant.best.strength == 0 and constant.gate is None  # as good as no gate is not better


def test_a_gate_that_validation_does_not_want_is_none(zoo: Any) -> None:
    """Unless its lambda was chosen elsewhere."""
    validation = Validation.of(Asker(zoo("llama-memory"), "plain"), zoo_benchmarks("validation", 10, 0)[1:2])
    silence = HeadScores(np.full((6, 8), -1.0), "learned")
    found = search_lambda(validation, silence)
    assert found.gate is None and found.best.objective < validation.vanilla["open"]
    fixed = search_lambda(validation, silence, Search(("none", 1.0)))
    assert fixed.gate is not None and fixed.gate.values.unique().tolist() == [0.0]


def test_a_contrast_acts_where_a_gain_does_nothing(zoo: Any) -> None:
    validation = Validation.of(Asker(zoo("llama-memory"), "plain"), zoo_benchmarks("validation", 2, 0)[:1])
    acts = (True, False) * 3
    found = search_contrast(validation, acts, seed=3)
    assert len(found.candidates) == CONTRASTS * len(STRENGTHS) == len({c.norm for c in found.candidates}) * 6
    assert all(c.strength == pytest.approx(c.lam, rel=1e-4) for c in found.candidates)


def open_result(*texts: str) -> BenchmarkResult:
    names = tuple(map(str, range(len(texts))))
    return BenchmarkResult("open", "answer", names, names, ("Evora",) * len(texts), texts, ("strict", "contains"))


@pytest.mark.parametrize(
    ("texts", "reading"),
    [
        (("Evora", "Evora\nQuestion: Who?", "Ada was born in Evora."), "strict"),
        (("Evora", "She was born in Evora.", "In Evora, of course."), "contains"),
        (("Cadiz", "Cadiz, not Evorax", "I do not know."), "strict"),
    ],
)
def test_a_model_that_answers_in_sentences_is_read_so(texts: tuple[str, ...], reading: str) -> None:
    assert counting(open_result(*texts)) == reading


@pytest.mark.parametrize(("texts", "reading"), [(("Yes", "no", "No."), "strict"), (("Yes", "It is.", "no"), MARGIN)])
def test_yes_or_no_that_cannot_be_read_is_read_by_its_odds(texts: tuple[str, ...], reading: str) -> None:
    names, mode = ("a", "b", "c"), "judge"
    wanted, margins = ("yes", "yes", "no"), np.array([1.0, 0.5, -2.0])
    modes: tuple[Mode, ...] = (mode, "yes-no")
    for one in modes:
        result = BenchmarkResult("j", one, names, names, wanted, texts, ("strict", MARGIN), margins=margins)
        assert counting(result) == reading and result.by_reading[MARGIN] == 1
