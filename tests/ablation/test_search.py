"""The search for lambda: what is tried, which gate is chosen, and that none is where none does better."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.ablation.result import Ablation
from lens_truth.ablation.rows import Candidate, best_of
from lens_truth.ablation.search import (
    CONTRASTS,
    FINALISTS,
    RANKED,
    STRENGTHS,
    Search,
    Validation,
    counting,
    search_contrast,
    search_lambda,
    search_uniform,
)
from lens_truth.ablation.tables import search_tables
from lens_truth.data.examples import question_pairs
from lens_truth.data.loading import load_examples
from lens_truth.evaluate.answers import Mode
from lens_truth.evaluate.asker import Asker, run_benchmark
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.evaluate.result import MARGIN, BenchmarkResult
from lens_truth.gates.gate import HeadGate
from lens_truth.io.files import hash_of
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
        assert made.strength == candidate.strength
        with made.attach(model):
            accuracy = {b.name: run_benchmark(model, b, "plain").accuracy for b in validation.benchmarks}
        assert candidate.accuracy == accuracy
    gains = search_uniform(validation)
    assert [g.lam for g in gains.candidates] == list(STRENGTHS)
    assert gains.gate is not None and gains.gate.values.unique().tolist() == [torch.tensor(1 + gains.best.lam).item()]


def test_candidates_are_ranked_by_what_they_choose(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On some questions, by the share of probability; the best two, of equals the weaker, are asked everything."""
    examples = load_examples("zoo:text", limit=60)
    ways: list[tuple[str, Mode]] = [("open", "answer"), ("choose", "choose"), ("judgement", "judge")]
    validation = Validation.of(
        Asker(tiny, "plain"), [benchmark_of(name, mode, examples, n_new=1) for name, mode in ways]
    )
    stages: list[tuple[list[tuple[str, int]], int]] = []

    def spy(asker: Asker, benchmarks: Any, gates: Any, *rest: Any) -> Any:
        stages.append(([(its.name, len(its.examples)) for its in benchmarks], len(gates)))
        return run_all(asker, benchmarks, gates, *rest)

    run_all = Asker.run_all
    monkeypatch.setattr(Asker, "run_all", spy)
    scores = HeadScores(np.random.default_rng(0).normal(size=(3, 4)), "causal")
    pairs = [[examples[row] for side in pair for row in side] for pair in question_pairs(examples)]
    found = search_lambda(validation, scores)
    everything = [("open", 30), ("choose", 60), ("judgement", 60)]
    assert stages == [([("choose", 2 * RANKED)], 12), (everything, FINALISTS)]
    ranked = sorted(found.candidates, key=lambda c: (-(c.share or 0), c.strength))
    assert all(list(c.accuracy) == ["open", "choose", "judgement"] for c in ranked[:FINALISTS])
    assert not any(c.accuracy for c in ranked[FINALISTS:]) and len({c.share for c in ranked}) == 12
    assert found.best in ranked[:FINALISTS]
    pairs.sort(key=lambda pair: hash_of(pair[0].id))
    some = benchmark_of("choose", "choose", [e for pair in pairs[:RANKED] for e in pair])
    gate = HeadGate.from_scores(scores, ranked[-1].lam, ranked[-1].norm)  # pyright: ignore[reportArgumentType]
    mass = Asker(tiny, "plain").run(some, {"": gate})[""].ranked.measures["mass"]
    assert ranked[-1].share == pytest.approx(mass.mean(), abs=1e-6)
    assert min(b - a for a, b in pairwise(sorted(c.share or 0 for c in ranked))) > 1e-6
    search_lambda(validation, HeadScores(np.zeros((3, 4)), "learned"))
    assert stages[-1] == (everything, 1)


def test_of_equals_the_weaker_candidates_are_asked_everything(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = load_examples("zoo:text", limit=20)
    ways: list[tuple[str, Mode]] = [("open", "answer"), ("choose", "choose")]
    asker = Asker(tiny, "plain")
    validation = Validation.of(asker, [benchmark_of(name, mode, examples, n_new=1) for name, mode in ways])
    same = {name: asker.one(its) for name, its in zip(("open", "choose"), validation.benchmarks, strict=True)}

    def equal(asker: Asker, benchmarks: Any, gates: Any) -> Any:
        return {its.name: dict.fromkeys(gates, same[its.name]) for its in benchmarks}

    monkeypatch.setattr(Asker, "run_all", equal)
    found = search_lambda(validation, HeadScores(np.random.default_rng(0).normal(size=(3, 4)), "causal"))
    full = [c for c in found.candidates if c.accuracy]
    assert [c.norm for c in full] == ["center", "minmax"] and all(c.strength < 0.011 for c in full)


def test_candidates_that_others_ranked_before_are_told_by_their_share() -> None:
    """In tables and hollow in the figure; of earlier builds by what they chose alone."""
    best, ranked, earlier = (
        Candidate(0.1, "center", 0.1, {"choose": 0.9, "open": 0.2}, 0.7),
        Candidate(0.2, "center", 0.2, {}, 0.65),
        Candidate(0.5, "center", 0.5, {"choose": 0.95}),
    )
    search = {"causal": (best, ranked, earlier)}
    cells = [line.cells[0] for line in search_tables(search, 0.5)[0].rows]
    assert [cell.text for cell in cells] == ["0.500", "0.550", "share 0.650", "0.950 choose"]
    assert [cell.bar is None for cell in cells] == [False, False, True, True]
    axes = Ablation((), {"m": search}, {"m": {"choose": 0.6, "open": 0.4}}).plot("search").axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [np.asarray(line.get_xydata()).tolist() for line in hollow] == [[[0.2, 0.65], [0.5, 0.95]]]


def test_only_candidates_that_were_asked_in_every_way_are_compared() -> None:
    lucky, full = (
        Candidate(0.1, "center", 0.1, {}, 0.95),
        Candidate(0.2, "center", 0.2, {"choose": 0.9, "open": 0.1}),
    )
    assert best_of([lucky, full]) == full


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
