"""Many gates and prompts at once: the same answers as one at a time, shared beginnings, the log of answers."""

from __future__ import annotations

import copy
import json
from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations, pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import generate, log_probs
from conftest import build
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lens_truth.data import world_examples as zoo_data
from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import DataWarning, InputError
from lens_truth.evaluate import asker as askers
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.asker import Asker, choose, run_benchmark
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.evaluate.generate import answered
from lens_truth.gates.gate import HeadGate
from lens_truth.models.budget import Budget
from lens_truth.models.loading import load
from lens_truth.models.prefixes import Family, prompt_families, token_families
from lens_truth.models.prompts import PromptTokens, encode_prompts, prompt_of
from lens_truth.scoring.causal import answer_log_probs, encode_answers

token_rows = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=6)


def saved(prompts: list[list[int]], families: list[Family]) -> int:
    return sum((len(family.rows) - 1) * family.length for family in families)


def best_by_trying(prompts: list[list[int]]) -> int:
    """The most tokens that any cut of the sorted prompts saves."""
    ranked = sorted(prompts)

    def shared(part: list[list[int]]) -> int:
        columns = zip(*(prompt[:-1] for prompt in part), strict=False)
        return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))

    totals = []
    for n_cuts in range(len(ranked)):
        for cuts in combinations(range(1, len(ranked)), n_cuts):
            parts = [ranked[i:j] for i, j in pairwise((0, *cuts, len(ranked)))]
            totals.append(sum((len(part) - 1) * shared(part) for part in parts))
    return max(totals)


@settings(deadline=None, max_examples=300)
@example([[0, 0], [0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])  # the middle one goes with the first
@given(token_rows)
def test_families_save_as_much_as_any_cut(prompts: list[list[int]]) -> None:
    families = token_families(prompts)
    assert sorted(row for family in families for row in family.rows) == list(range(len(prompts)))
    for family in families:
        beginnings = {tuple(prompts[row][: family.length]) for row in family.rows}
        assert len(beginnings) == 1 and all(len(prompts[row]) > family.length for row in family.rows)
    assert saved(prompts, families) == best_by_trying(prompts)


def test_an_instruction_for_all_or_a_scene_for_some() -> None:
    instruction = list(range(100))
    shown = [[*instruction, 200 + i, 7, i] for i in range(5)]
    assert [f.length for f in token_families(shown)] == [100]
    scenes = [[1, *[10 + s] * 30, q] for s in range(3) for q in range(4)]
    assert [(len(f.rows), f.length) for f in token_families(scenes)] == [(4, 31)] * 3
    long = [[5] * n for n in range(1, 3000, 7)]  # nested beginnings do not exhaust the stack
    assert sum(len(f.rows) for f in token_families(long)) == len(long)


def gates_for(model: Any, n: int, site: Any = "z") -> dict[str, HeadGate | None]:
    draw = torch.Generator().manual_seed(0)
    shape = (model.cfg.n_layers, model.cfg.n_heads)
    made = [HeadGate(1 + 0.6 * torch.randn(shape, generator=draw), site) for _ in range(n)]
    return {"vanilla": None, **{f"gate {i}": gate for i, gate in enumerate(made)}}


def one_at_a_time(model: Any, prompts: list[PromptTokens], gate: HeadGate | None, n_new: int) -> list[str]:
    """Hugging Face's generate on a plain model with the gate in its weights, one unpadded prompt a call."""
    hf = gate.fold_into(model) if gate else model.original_model
    texts = []
    for ids in (prompt.ids for prompt in prompts):
        output = hf.generate(torch.tensor([ids]), max_new_tokens=n_new, do_sample=False, pad_token_id=0)
        texts.append(model.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))
    return texts


def zoo_prompts(model: Any, template: Any) -> list[PromptTokens]:
    examples = [e for e in zoo_data.presence_examples("test", 16, 0) if e.label]
    examples += [e for e in zoo_data.text_examples("test", 16, 0) if e.label]
    return encode_prompts(model.tokenizer, [prompt_of(model.tokenizer, e, template) for e in examples])


def test_all_gates_together_answer_as_each_alone(zoo: Any) -> None:
    model = zoo("llama-memory-chat")
    prompts = zoo_prompts(model, "chat")
    assert any(len(f.rows) > 1 for f in prompt_families(prompts))
    gates = gates_for(model, 3)
    alone = {name: one_at_a_time(model, prompts, gate, 3) for name, gate in gates.items()}
    for batch_size in (1, 7, 64):
        together = {(n, i): a.text for n, i, a in generate(model, prompts, 3, batch_size, gates)}
        assert {name: [together[name, i] for i in range(len(prompts))] for name in gates} == alone
        assert len(together) == len(gates) * len(prompts)
    assert len({text for texts in alone.values() for text in texts}) > 3  # the gates do something


def test_every_family_of_models(family: str, tokenizer: Any) -> None:
    """Grouped-query attention, biases, explicit head widths; the block site too."""
    model = load(build(family, len(tokenizer)), tokenizer=tokenizer)
    draw = torch.Generator().manual_seed(1)
    scene = torch.randint(3, 200, (20,), generator=draw).tolist()
    rows = [[1, *scene, *torch.randint(3, 200, (n,), generator=draw).tolist()] for n in (1, 3, 6)] + [[5], [1, 9]]
    prompts = [PromptTokens(row) for row in rows]
    for site in ("z", "block") if model.cfg.d_model % model.cfg.n_heads == 0 else ("z",):
        gates = gates_for(model, 2, site)
        together = {(n, i): a.text for n, i, a in generate(model, prompts, 6, 8, gates)}
        for name, gate in gates.items():
            assert [together[name, i] for i in range(len(prompts))] == one_at_a_time(model, prompts, gate, 6)


@pytest.mark.parametrize("window", [8, 24, 200])
@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_sliding_windows(kind: str, window: int, tokenizer: Any) -> None:
    """Padding between a shared beginning and what follows it must not count as context."""
    more = {"use_sliding_window": True, "max_window_layers": 0} if kind == "qwen2" else {}
    model = load(build(kind, len(tokenizer), sliding_window=window, **more), tokenizer=tokenizer)
    draw = torch.Generator().manual_seed(2)
    scenes = [torch.randint(3, 200, (n,), generator=draw).tolist() for n in (30, 12, 21)]
    ends = [torch.randint(3, 200, (n,), generator=draw).tolist() for n in (2, 7, 4)]
    prompts = [PromptTokens([1, *scene, *end]) for scene in scenes for end in ends]
    gates = gates_for(model, 2)
    together = {(n, i): a.text for n, i, a in generate(model, prompts, 5, 64, gates)}
    for name, gate in gates.items():
        assert [together[name, i] for i in range(len(prompts))] == one_at_a_time(model, prompts, gate, 5)


@pytest.mark.parametrize(
    "settings", [{"use_cache": False}, {"cache_implementation": "static"}, {"suppress_tokens": list(range(300))}]
)
def test_a_checkpoints_generation_config_does_not_count(settings: dict[str, Any], tokenizer: Any) -> None:
    hf = build("llama", len(tokenizer))
    model = load(hf, tokenizer=tokenizer)
    prompts = [PromptTokens(ids) for ids in [*([1, 5, 6, 7, 8, n, n + 1] for n in (9, 30, 50)), [1, 4]]]
    gates = gates_for(model, 1)
    plain = {(n, i): a for n, i, a in generate(model, prompts, 6, 8, gates)}
    hf.generation_config.update(**settings)
    changed = load(hf, tokenizer=tokenizer)
    assert {(n, i): a for n, i, a in generate(changed, prompts, 6, 8, gates)} == plain
    assert all(getattr(changed.original_model.generation_config, k) == v for k, v in settings.items())


def test_margins_are_log_odds_of_the_first_token(zoo: Any) -> None:
    model = zoo("llama-chat")
    prompts = zoo_prompts(model, "chat")[:6]
    yes, no = (model.tokenizer.encode(f" {word}", add_special_tokens=False)[0] for word in ("yes", "no"))
    for _, row, answer in generate(model, prompts, 2, 4, margins=True):
        logits = model(torch.tensor([prompts[row].ids]))[0, -1].detach()
        assert answer.margin == pytest.approx(float(logits[yes] - logits[no]), abs=0.3)
        assert (answer.margin > 0) == (answer.text.strip() == "yes")


def test_gates_that_cannot_run_together_are_refused(tiny: Any) -> None:
    batch = HeadGate(torch.ones(2, tiny.cfg.n_layers, tiny.cfg.n_heads))
    with pytest.raises(InputError, match="must be .layers, heads"):
        list(generate(tiny, [PromptTokens([1, 2])], 1, 4, {"a": batch, "b": None}))
    with pytest.raises(InputError, match="the gate has 2 layers x 2 heads, the model 3 x 4"):
        list(generate(tiny, [PromptTokens([1, 2])], 1, 4, {"a": HeadGate(torch.ones(2, 2)), "b": None}))
    with pytest.raises(InputError, match="the batch size is 0"):
        list(generate(tiny, [PromptTokens([1, 2])], 1, 0))


def scene_questions(n: int) -> list[Example]:
    return [e for e in zoo_data.conflict_examples("test", 2 * n, 0) if e.label]


def test_gates_that_do_the_same_are_asked_once(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates of ones do what none does; one for another model is refused all the same."""
    asked: list[str] = []

    def spy(model: Any, sets: Any, gates: Any, **rest: Any) -> Any:
        asked.extend(gates)
        return answered(model, sets, gates, **rest)

    monkeypatch.setattr(askers, "answered", spy)
    benchmark = benchmark_of("open", "answer", load_examples("zoo:text", limit=6), n_new=2)
    acting = torch.linspace(0.5, 1.5, 12).view(3, 4)
    gates = {"ones": HeadGate(torch.ones(3, 4)), "vanilla": None, "a": HeadGate(acting), "b": HeadGate(acting.double())}
    found = Asker(tiny, "plain").run(benchmark, gates)
    assert asked == ["ones", "a"] and list(found) == list(gates)
    assert found["ones"].texts == run_benchmark(tiny, benchmark, "plain").texts
    with HeadGate(acting).attach(tiny):
        assert found["a"].texts == found["b"].texts == run_benchmark(tiny, benchmark, "plain").texts
    with pytest.raises(InputError, match="2 layers"):
        Asker(tiny, "plain").run(benchmark, {"vanilla": None, "other": HeadGate(torch.ones(2, 4))})


def test_a_killed_run_goes_on_where_it_stopped(zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo("llama-memory")
    benchmark = benchmark_of("conflict", "answer", scene_questions(20))
    gates = gates_for(model, 2)
    path = tmp_path / "answers.jsonl"
    whole = Asker(model, "plain", batch_size=8).run(benchmark, gates)

    def killed(*arguments: Any, **more: Any) -> Any:
        for number, item in enumerate(answered(*arguments, **more)):
            if number == 25:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(askers, "answered", killed)
    with pytest.raises(KeyboardInterrupt), AnswerLog(path, model, "m", "w") as log:
        Asker(model, "plain", batch_size=8, log=log).run(benchmark, gates)
    assert len(path.read_text().splitlines()) == 25
    with path.open("a") as file:
        file.write('{"key": "half a li')

    asked: list[int] = []

    def counted(model: Any, sets: Any, gates: Any, **more: Any) -> Any:
        asked.append(0)
        for item in answered(model, sets, gates, **more):
            asked[-1] += 1
            yield item

    monkeypatch.setattr(askers, "answered", counted)
    for rest in (60 - 25, 0):
        with AnswerLog(path, model, "m", "w") as log:
            resumed = Asker(model, "plain", batch_size=8, log=log).run(benchmark, gates)
        assert all(resumed[name].texts == whole[name].texts for name in gates)
        assert rest <= asked[-1] < 60 and (rest or not asked[-1])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == len({row["key"] for row in rows}) == 60
    assert {row["gate"] for row in rows} == set(gates)
    assert {row["id"] for row in rows} == {e.id for e in benchmark.examples}

    other = copy.copy(model.original_model.config)
    other.rms_norm_eps = 0.5  # the same weights, another model
    monkeypatch.setattr(model.original_model, "config", other)
    with AnswerLog(path, model, "m", "w") as log:
        Asker(model, "plain", batch_size=8, log=log).run(benchmark, {"vanilla": None})
    assert asked[-1] == 20


def test_a_damaged_log_is_named(tiny: Any, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"key": "a", "answer": "x", "margin": null}\n{"answer": 3}\n')
    with pytest.raises(InputError, match=r"answers\.jsonl, line 2: is not an answer"):
        AnswerLog(path, tiny, "m", "w")


@pytest.mark.parametrize(
    "line",
    [
        '{"key": "b", "answer": 3, "margin": null}',
        '{"key": "b", "answer": null, "margin": null}',
        '{"key": "b", "answer": "x", "margin": "1"}',
        '{"key": "b", "answer": "x", "margin": true}',
        '{"key": "b", "answer": "x", "margin": NaN}',
        f'{{"key": "b", "answer": "x", "margin": {10**400}}}',
        '{"key": ["b"], "answer": "x", "margin": 1}',
        "[" * 99_999,
    ],
)
def test_what_is_no_answer_is_named(tiny: Any, tmp_path: Path, line: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"key": "a", "answer": "x", "margin": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=r"answers\.jsonl, line 2: is not an answer"):
        AnswerLog(path, tiny, "m", "w")


def test_an_answer_without_its_margin_is_asked_again(tiny: Any, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    log = AnswerLog(path, tiny, "m", "w")
    (key,) = log.keys(None, ["prompt"], 4, margins=True)
    row = {"key": key, "answer": "yes", "margin": None}
    path.write_text(json.dumps(row) + "\n")
    with pytest.warns(DataWarning, match=r"answers\.jsonl: 1 of its answers came from an earlier build"):
        AnswerLog(path, tiny, "m", "w")
    path.write_text(json.dumps({**row, "weights": "w"}) + "\n")
    log = AnswerLog(path, tiny, "m", "w")
    assert log.get(key) is not None
    log.keys(None, ["prompt"], 4, margins=True)
    assert log.get(key) is None


def test_a_gate_attached_around_a_run_counts(zoo: Any) -> None:
    model = zoo("llama-memory")
    benchmark = benchmark_of("conflict", "answer", scene_questions(12))
    (gate,) = (gate for gate in gates_for(model, 1).values() if gate)
    with gate.attach(model):
        around = run_benchmark(model, benchmark, "plain")
    assert around.texts == Asker(model, "plain").run(benchmark, {"g": gate})["g"].texts


@pytest.mark.parametrize("model_of", ["llama", "mistral"])
def test_answers_are_ranked_under_many_gates_as_under_each(tokenizer: Any, model_of: str) -> None:
    """Also where a window forbids to share beginnings, and an answer begins as another does."""
    window: dict[str, Any] = {} if model_of == "llama" else {"sliding_window": 8}
    model = load(build(model_of, len(tokenizer), **window, max_position_embeddings=256), tokenizer=tokenizer)
    scenes = zoo_data.text_examples("test", 12, 0)
    more = [replace(e, id=f"{e.id} longer", answer=f"{e.answer} crown and coral") for e in scenes[::3]]
    examples = [*scenes, *more]
    encoded, gates = encode_answers(model, examples, "plain"), gates_for(model, 3)
    for batch_size in (1, 9, 64):
        found = {(name, row): value for name, row, value in log_probs(model, encoded, batch_size, gates)}
        assert len(found) == len(gates) * len(examples)
        for name, gate in gates.items():
            with torch.no_grad(), gate.attach(model) if gate else nullcontext():
                one_by_one = [float(answer_log_probs(model, [row])) for row in encoded]
            assert [found[name, row] for row in range(len(examples))] == pytest.approx(one_by_one, abs=2e-4)


def test_a_benchmark_of_choices(zoo: Any, tmp_path: Path) -> None:
    """Under gates, marked, and from the log."""
    model = zoo("llama-memory")
    examples = [e for e in load_examples("zoo:conflict/test", limit=40) if e.id]
    benchmark = benchmark_of("mine", "choose", [*examples, Example("alone", "g", "Colour?", "coral", 1)])
    assert len(benchmark.examples) == 40 and benchmark.parses == ("total", "per token")
    gates = gates_for(model, 2)
    with AnswerLog(tmp_path / "log", model, "m", "w") as log:
        asker = Asker(model, "plain", log=log)
        found = asker.run(benchmark, gates)
        assert asker.run(benchmark, gates) == found
    assert len((tmp_path / "log").read_text().splitlines()) == 3 * 40
    for name, gate in gates.items():
        alone = choose(Asker(model, "plain"), examples, gate)
        result = found[name]
        assert result.correct.tolist() == [float(c.margin > 0) for c in result.choices]
        assert result.correct.tolist() == [float(c.margin > 0) for c in alone.choices]
        assert result.chance == 0.5 and result.by_reading.keys() == {"total", "per token"}
        right = [text == wanted for text, wanted in zip(result.texts, result.wanted, strict=True)]
        assert right == result.correct.tolist()
    assert found["vanilla"].accuracy != found["gate 0"].accuracy


def test_long_rows_and_large_vocabularies_make_small_batches() -> None:
    budget = Budget(128 * 64)
    assert (budget.rows(40, 1000), budget.rows(640, 1000)) == (128, 12)
    assert budget.rows(40, 1 << 20) == 32 and budget.rows(10**6, 1 << 30) == 1
