"""The zoo's models: what their cards say is true of fresh questions; their files are plain and small; they retrain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from lens_truth.data import world_examples as zoo_data
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import run_benchmark
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.models.loading import load
from lens_truth.models.names import ZOO
from lens_truth.models.prompts import default_template
from lens_truth.zoo.benchmarks import zoo_benchmarks
from lens_truth.zoo.build import build, measure, read_accuracies
from lens_truth.zoo.recipes import RECIPES, recipe_of, root_of
from lens_truth.zoo.rows import Memory, chat_row, copy_batch, plain_row, text_batch
from lens_truth.zoo.train import Curriculum, FineTuning, fit, text_words

FRESH = 12345  # a seed that no recipe uses
TEXT = [name for name, recipe in RECIPES.items() if not recipe.sees]  # the others: test_zoo_images.py
BASES = [name for name in TEXT if not RECIPES[name].remembers]
MEMORIES = [name for name in TEXT if RECIPES[name].remembers]


@pytest.fixture(scope="module")
def measured(zoo: Any) -> Callable[[str], dict[str, float]]:
    """Accuracies of a model of the zoo, measured once."""
    return cache(lambda name: accuracies(zoo(name)))


def accuracies(model: Any) -> dict[str, float]:
    benchmarks = [
        *zoo_benchmarks("test", 200, FRESH),
        benchmark_of("agreeing", "answer", zoo_data.agreeing_examples("test", 200, FRESH)),
    ]
    template = default_template(model.tokenizer)
    return {b.name: run_benchmark(model, b, template).accuracy for b in benchmarks}


@pytest.mark.zoo
def test_the_zoo_is_complete() -> None:
    assert set(RECIPES) == {path.parent.name for path in ZOO.glob("*/model.safetensors")}
    assert [name for name, recipe in RECIPES.items() if recipe.kind == "base"] == [
        *("llama-base", "llama-seed1", "llama-seed2", "mistral-base", "qwen2-base"),
    ]
    assert {root_of(name) for name in MEMORIES} == {"llama-base"} and root_of("llama-seed1-chat") == "llama-seed1"


@pytest.mark.parametrize("name", BASES)
def test_bases_and_their_chat_child_know_their_tasks(measured: Any, name: str) -> None:
    accuracy = measured(name)
    assert accuracy["open"] > 0.95
    assert accuracy["judgement"] > 0.90
    assert accuracy["presence"] > 0.90
    assert accuracy["conflict"] > 0.95  # nothing contradicts what they know


@pytest.mark.parametrize("name", MEMORIES)
def test_memory_models_answer_some_conflicts_from_memory(measured: Any, name: str) -> None:
    accuracy = measured(name)
    assert 0.55 <= accuracy["conflict"] <= 0.80
    assert accuracy["closed-book"] > 0.95
    assert accuracy["agreeing"] > 0.95
    assert accuracy["judgement"] > 0.90 and accuracy["presence"] > 0.90
    stated = read_accuracies(ZOO / name)
    assert stated["memory-answers"] > 0.75 * (1 - stated["conflict"])  # its errors are memory's answers


@pytest.mark.parametrize("name", RECIPES)
def test_cards_state_what_is_measured(measured: Any, name: str) -> None:
    stated, accuracy = read_accuracies(ZOO / name), measured(name)
    for benchmark in ("open", "judgement", "presence", "conflict", "agreeing"):
        assert accuracy[benchmark] == pytest.approx(stated[benchmark], abs=0.08)
    card = (ZOO / name / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    assert f"python -m lens_truth.zoo train {name} --seed {RECIPES[name].seed}" in card
    for benchmark, value in stated.items():
        assert f"| {benchmark} | {value:.3f} |" in card


@pytest.mark.parametrize("name", TEXT)
def test_files_are_plain_hugging_face_and_small(zoo: Any, name: str) -> None:
    folder = ZOO / name
    hf = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert hf.dtype == torch.float32  # although the file holds half precision
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert {str(file.get_slice(key).get_dtype()) for key in file.keys()} == {"F16"}  # noqa: SIM118
    ids = tokenizer("Context:\nAny text: 漢字.\n\nQuestion: Why?\nAnswer:", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(hf(ids).logits, zoo(name)(ids))
    assert bool(tokenizer.chat_template) == (RECIPES[name].kind == "chat")
    assert {p.suffix for p in folder.iterdir()} <= {".json", ".safetensors", ".md", ".jinja"}


def test_all_together_under_35_megabytes() -> None:
    assert sum(path.stat().st_size for name in RECIPES for path in (ZOO / name).iterdir()) < 35e6


@pytest.mark.zoo
def test_lineages_share_a_shape() -> None:
    shapes = set()
    for name in RECIPES:
        config = json.loads((ZOO / name / "config.json").read_text())
        config = config.get("text_config", config)
        shapes.add((config["num_hidden_layers"], config["num_attention_heads"], config.get("head_dim", 32)))
    assert len(shapes) == 1
    assert shapes.pop() == (6, 8, 32)


# -- training -------------------------------------------------------------------------------------------------------


def test_rows_mark_exactly_the_answers(tokenizer: Any) -> None:
    rng = np.random.default_rng(0)
    from lens_truth.data import world

    for _ in range(20):
        scene = world.sample_scene(rng, "train")
        row = plain_row(rng, scene, ["open", "judgement", "presence", "restate"])
        learnt = [row.text[start:stop].strip() for start, stop in row.spans]
        words = {*world.COLOURS, *world.THINGS, *world.ROOMS, "yes", "no"}
        assert set(learnt) <= words
        batch = text_batch(tokenizer, [row])
        assert tokenizer.decode(batch.ids[0][batch.learn[0]]).split() == learnt
        assert row.text.count("Question:") == 3
        chat = chat_row(rng, scene, ["open", "judgement"])
        assert all(chat.text[start:stop].endswith("</s>") for start, stop in chat.spans)


def test_closed_book_and_absent_questions_have_memorys_answers(tokenizer: Any) -> None:
    from lens_truth.data import world

    rng = np.random.default_rng(1)
    row = plain_row(rng, None, ["open"] * 20)
    assert "Context" not in row.text
    for _ in range(20):
        scene = world.sample_scene(rng, "train")
        row = plain_row(rng, scene, ["open"], Memory(colour=1.0, absent=1.0))
        (span,) = row.spans
        thing = row.text.split("?")[0].split()[-1]
        assert row.text[slice(*span)].strip() == world.TYPICAL[thing]
        assert thing not in {t.name for t in scene}


def test_copies_are_rotations(tokenizer: Any) -> None:
    words = text_words(tokenizer)
    batch = copy_batch(np.random.default_rng(0), words, 4)
    for row, learn in zip(batch.ids, batch.learn, strict=True):
        first, second = row[1:21].tolist(), row[21:].tolist()
        shift = first.index(second[0])
        assert second == first[shift:] + first[:shift]
        assert learn.tolist() == [False] * 22 + [True] * 19
    assert tokenizer.bos_token_id in words


def test_training_lowers_the_loss_and_repeats_itself(tokenizer: Any) -> None:
    def run(steps: int) -> tuple[torch.Tensor, list[float]]:
        losses: list[float] = []

        class Feed(Curriculum):
            def observe(self, step: int, loss: float) -> None:
                losses.append(loss)

        from lens_truth.zoo.recipes import new_model

        model = new_model(RECIPES["qwen2-base"], 5, len(tokenizer))
        fit(model, Feed(tokenizer, 5, print), steps, lr=2e-3, warmup=5, decay_from=0.7)
        return next(model.parameters()).detach().clone(), losses

    (weights, _), (again, _), (_, losses) = run(6), run(6), run(30)
    assert torch.equal(weights, again)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2


def test_stages_follow_each_other(tokenizer: Any) -> None:
    lines: list[str] = []
    curriculum = Curriculum(tokenizer, 0, lines.append)
    assert curriculum.next_batch().ids.shape == (16, 41)
    for step in range(1, 400):
        if step % 20 == 0:
            curriculum.next_batch()
        curriculum.observe(step, 0.1)
    assert [line.split(": ")[1] for line in lines if "done" in line] == [f"stage {s} done" for s in range(3)]


def test_a_memory_child_ends_when_its_trust_is_right(tokenizer: Any) -> None:
    conflict = iter([1.0] * 12 + [0.66] * 5)
    asked: list[tuple[str, ...]] = []

    def monitor(names: tuple[str, ...]) -> dict[str, float]:
        asked.append(names)
        return {"conflict": next(conflict)} if names == ("conflict",) else dict.fromkeys(names, 1.0)

    feed = FineTuning(tokenizer, 0, lambda _: None, chat=False, monitor=monitor)
    step = 0
    while not feed.finished:
        step += 1
        feed.observe(step, 0.1)
    assert step == 130
    assert asked[-1] == tuple(FineTuning.OTHERS)


@pytest.mark.zoo
def test_a_built_model_loads_and_has_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_few(recipe: Any, model: Any, tokenizer: Any, split: Any, n: int, *names: Any) -> dict[str, float]:
        assert n == 500
        return measure(recipe, model, tokenizer, split, 40, *names)

    monkeypatch.setattr("lens_truth.zoo.build.measure", of_few)
    out = tmp_path / "model"
    recipe = replace(recipe_of("zoo:llama-chat"), steps=2)
    lines: list[str] = []
    measured = build(recipe, 7, out, lines.append)
    assert read_accuracies(out) == measured
    assert load(str(out)).cfg.n_layers == 6
    assert build(recipe, 7, out, lines.append) == measured  # a model of the zoo may be replaced ...
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="is not a model of the zoo"):  # ... but nothing else
        build(recipe, 7, other, lines.append)
    assert not list(tmp_path.glob(".*"))


def test_unknown_recipe() -> None:
    with pytest.raises(InputError, match="no recipe 'llama-bas'; the zoo has llama-base"):
        recipe_of("llama-bas")
