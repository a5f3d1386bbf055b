"""Benchmarks, parsing, comparison and the search for lambda."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from asking import generate
from conftest import build
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from transformers import GenerationConfig

from lens_truth.data import world_examples as zoo_data
from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer, first_line, normalized, token_f1, yes_or_no
from lens_truth.evaluate.asker import run_benchmark
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.gates.gate import HeadGate
from lens_truth.models.loading import load
from lens_truth.models.prompts import PromptTokens, encode_prompts, prompt_of
from lens_truth.stats.paired import compare, group_interval
from lens_truth.zoo.benchmarks import zoo_benchmarks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", "yes"),
        (" No.", "no"),
        ("\nYES, it is", "yes"),
        ("nothing", None),
        ("yesterday", None),
        ("I think yes", None),
        ("", None),
    ],
)
def test_yes_or_no(text: str, said: str | None) -> None:
    assert yes_or_no(text) == said


def test_open_answers_are_normalised_as_squad_does() -> None:
    assert normalized(" The  Coral-heart, a!") == "coralheart"
    assert first_line("\n coral\n\nQuestion: x") == "coral"
    assert token_f1("the red fox", "a red dog") == pytest.approx(0.5)
    assert token_f1("", "x") == 0.0
    assert token_f1("coral", "Coral.") == 1.0


def scripted(model: Any, monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> None:
    from lens_truth.evaluate import asker

    def said(*_: Any, **__: Any) -> list[tuple[tuple[int, str, int], Answer]]:
        return [((0, "", row), Answer(text)) for row, text in enumerate(answers)]

    monkeypatch.setattr(asker, "answered", said)


def continuations(model: Any, prompts: list[PromptTokens], n_new: int, batch_size: int) -> list[str]:
    """What `generate` writes without gates, in the order of the prompts."""
    by_row = {row: answer.text for _, row, answer in generate(model, prompts, n_new, batch_size)}
    return [by_row[row] for row in range(len(prompts))]


def test_marks_of_every_mode(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Example(f"{i}", f"g{i // 2}", "q", ["yes", "no"][i % 2], int(i % 2 == 0), "c") for i in range(4)]
    scripted(tiny, monkeypatch, ["no", "yes", "maybe", "Yes."])
    judged = run_benchmark(tiny, benchmark_of("j", "judge", rows), "plain")
    assert judged.correct.tolist() == [1, 1, 0, 1]  # yes means hallucinated: rows 1 and 3
    assert (judged.unparsed, judged.metrics("strict").yes_ratio, judged.f1) == (0.25, 0.5, 1.0)

    scripted(tiny, monkeypatch, ["no", "yes"])
    asked = run_benchmark(tiny, benchmark_of("p", "yes-no", rows), "plain")
    assert asked.correct.tolist() == [0, 1]
    assert asked.f1 == pytest.approx(2 / 3)

    scripted(tiny, monkeypatch, ["Yes\nmore", "no, yes"])
    written = run_benchmark(tiny, benchmark_of("o", "answer", rows), "plain")
    assert written.correct.tolist() == [1, 0]
    assert written.f1 == pytest.approx((1 + 2 / 3) / 2)
    assert written.groups == ("g0", "g1")


def test_a_benchmark_needs_questions_it_can_mark(tiny: Any) -> None:
    with pytest.raises(InputError, match="'x' has no supported example"):
        benchmark_of("x", "answer", [Example("1", "g", "q", "a", 0)])
    with pytest.raises(InputError, match="1 of 1 questions have an answer that is not yes or no .*'1' with 'maybe'"):
        benchmark_of("x", "yes-no", [Example("1", "g", "q", "maybe", 1)])
    long = benchmark_of("x", "answer", [Example("1", "g", "q", "a", 1, "b" * 200)])
    with pytest.raises(InputError, match="1 of 1 examples are longer than the model's context"):
        run_benchmark(tiny, long, "plain")


def test_generation_in_a_batch_equals_one_by_one(zoo: Any) -> None:
    model = zoo("llama-memory-chat")
    examples = zoo_data.text_examples("test", 12, 0)
    prompts = encode_prompts(model.tokenizer, [prompt_of(model.tokenizer, e, "chat") for e in examples])
    assert len({len(prompt.ids) for prompt in prompts}) > 1  # padding is real
    together = continuations(model, prompts, 3, batch_size=5)
    assert together == [continuations(model, [prompt], 3, batch_size=1)[0] for prompt in prompts]


def test_generation_is_greedy_whatever_the_checkpoint_says(tokenizer: Any) -> None:
    hf = build("llama", len(tokenizer))
    texts = ["Question: What colour is the heart?", "The heart is in the attic."]
    prompts = [PromptTokens(ids) for ids in tokenizer(texts)["input_ids"]]
    plain = continuations(load(hf, tokenizer=tokenizer), prompts, 12, 2)
    penalties = {"repetition_penalty": 1.8, "do_sample": True, "top_k": 5, "no_repeat_ngram_size": 2, "num_beams": 3}
    hf.generation_config = GenerationConfig(**penalties)
    assert continuations(load(hf, tokenizer=tokenizer), prompts, 12, 2) == plain


def test_zoo_benchmarks_ask_held_out_questions(zoo: Any) -> None:
    benchmarks = {b.name: b for b in zoo_benchmarks("test", 40, 0)}
    assert list(benchmarks) == ["conflict", "open", "judgement", "presence", "closed-book"]
    assert [len(b.examples) for b in benchmarks.values()] == [40, 40, 40, 40, 16]
    with HeadGate(torch.zeros(6, 8)).attach(zoo("llama-base")):  # without attention nothing can be read
        outcome = run_benchmark(zoo("llama-base"), benchmarks["open"], "plain")
    assert outcome.accuracy < 0.4
    assert run_benchmark(zoo("llama-base"), benchmarks["open"], "plain").accuracy == 1.0


def marks(*rows: str) -> np.ndarray:
    return np.array([[float(c) for c in row] for row in rows])


def test_single_gates_are_compared_by_mcnemar() -> None:
    first, second = marks("1" * 9 + "0" * 11), marks("0" * 8 + "1" + "1" + "0" * 10)
    c = compare(first, second, [str(i) for i in range(20)], 0)
    assert c.difference == pytest.approx(7 / 20)
    assert c.p_value == pytest.approx(binomtest(8, 9).pvalue)
    assert (c.as_good, c.trials) == (0, 1)
    assert compare(first, first, [str(i) for i in range(20)], 0).p_value == 1.0


def test_groups_that_move_together_count_once() -> None:
    """No effect, but all ten questions of a group are right or wrong together: few p-values may be small."""
    groups = [f"g{i // 10}" for i in range(200)]
    p = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        first, second = (np.repeat(rng.integers(0, 2, size=20), 10)[None].astype(float) for _ in range(2))
        p.append(compare(first, second, groups, 0).p_value)
    assert np.mean(np.array(p) <= 0.05) < 0.12 and 0.35 < np.mean(p) < 0.7


def test_sign_flips_count_every_pattern() -> None:
    """Six groups that all gain: the observed total is reached by 2 of 64 sign patterns."""
    groups = [f"g{i // 2}" for i in range(12)]
    c = compare(marks("1" * 12), marks("0" * 12), groups, 0)
    assert c.p_value == 2 / 64
    assert compare(marks("1" * 12), marks("1" * 12), groups, 0).p_value == 1.0
    assert compare(marks("11" + "0" * 10), marks("0" * 12), groups, 0).p_value == 1.0
    rng = np.random.default_rng(0)
    for _ in range(20):
        gains = rng.integers(-1, 2, size=8)
        first, second = (gains > 0).astype(float), (gains < 0).astype(float)
        totals = gains.reshape(4, 2).sum(1)
        far = [abs(np.dot(signs, totals)) >= abs(totals.sum()) for signs in product((-1, 1), repeat=4)]
        pairs = [f"g{i // 2}" for i in range(8)]
        assert compare(first[None], second[None], pairs, 0).p_value == pytest.approx(np.mean(far))


def test_trials_are_compared_over_groups() -> None:
    groups = [f"g{i // 2}" for i in range(40)]
    better = compare(marks("1" * 36 + "0" * 4), marks("1" * 16 + "0" * 24, "0" * 24 + "1" * 16), groups, 0)
    assert better.p_value < 0.01 and better.ci_low > 0 and (better.as_good, better.trials) == (0, 2)
    same = compare(marks("10" * 20), marks("01" * 20, "10" * 20), groups, 0)
    assert same.p_value > 0.5 and same.ci_low <= 0 <= same.ci_high and same.as_good == 2


@given(st.lists(st.booleans(), min_size=4, max_size=40), st.integers(0, 9))
def test_interval_surrounds_the_mean(values: list[bool], seed: int) -> None:
    numbers = np.array(values, dtype=float)
    low, high = group_interval(numbers, [f"g{i // 2}" for i in range(len(values))], seed)
    assert 0 <= low <= numbers.mean() + 1e-9 and numbers.mean() - 1e-9 <= high <= 1


def test_grouped_rows_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).integers(0, 2, size=50), 4).astype(float)
    low, high = group_interval(values, [f"g{i // 4}" for i in range(200)], 0)
    free_low, free_high = group_interval(values, [str(i) for i in range(200)], 0)
    assert high - low > 1.6 * (free_high - free_low)
