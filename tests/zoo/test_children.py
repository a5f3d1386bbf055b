"""Children of SmolLM2: recipes run on a tiny stand-in, go on after a kill, and `load` finds what they write; what the
shipped ones say of themselves is true of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build, refused, run
from transformers import LlavaForConditionalGeneration

from lens_truth.data import world_examples
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.checkpoint import opened
from lens_truth.models.image_input import ImageInput, images_of
from lens_truth.models.loading import load
from lens_truth.models.names import ZOO, base_and_adapter
from lens_truth.models.prompts import encode_prompts, prompt_of
from lens_truth.zoo import child_build, child_llava, child_rows, children
from lens_truth.zoo.build import ACCURACIES, read_accuracies
from lens_truth.zoo.child_build import BEFORE, build_child, child_card
from lens_truth.zoo.children import BASE, CHILDREN, Child

pytest.importorskip("peft")
SHIPPED = [name for name in CHILDREN if (ZOO / name).is_dir()]
STEPS = 5


@pytest.fixture(scope="module")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Llama with tied embeddings, as SmolLM2's are, that reads byte by byte."""
    folder = tmp_path_factory.mktemp("base")
    shape = {"max_position_embeddings": 2048, "tie_word_embeddings": True, "num_hidden_layers": 2}
    build("llama-gqa-head-dim", len(tokenizer), **shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows, few questions, and few steps of the projector."""
    monkeypatch.setattr(child_rows, "_FACTS", {"conflict": 48, "agreeing": 8, "closed-book": 8, "unstated": 24})
    monkeypatch.setattr(child_rows, "_PICTURES", 1)
    monkeypatch.setattr(child_rows, "_ROWS", 2)
    monkeypatch.setattr(child_build, "_THREADS", 1)
    monkeypatch.setattr(child_llava, "_ALIGN_STEPS", 2)
    for name in ("fact_benchmarks", "picture_benchmarks"):
        monkeypatch.setattr(child_build, name, first_two(getattr(child_build, name)))


def first_two(make: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    def some(*how: Any) -> list[Any]:
        return make(*how)[:2]

    return some


def short(kind: str) -> Child:
    return replace(next(its for its in CHILDREN.values() if its.kind == kind), steps=STEPS)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["memory", pytest.param("llava", marks=pytest.mark.zoo)])
def test_a_recipe_that_is_killed_ends_in_the_same_bytes_and_loads(kind: str, base: str, tmp_path: Path) -> None:
    child, whole, killed = short(kind), tmp_path / "whole", tmp_path / "killed"
    said: list[str] = []
    build_child(child, 3, whole, said.append, base=base, questions=1)
    real_loss, calls = children.answer_loss, list[int]()

    def dies(*its: Any) -> Any:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return real_loss(*its)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "_KEEP_EVERY", 0.0)
        patch.setattr(children, "answer_loss", dies)
        with pytest.raises(KeyboardInterrupt):
            build_child(child, 3, killed, said.append, base=base, questions=1)
    assert not killed.exists()
    with pytest.raises(InputError, match=r"holds the training of another recipe; take the file away"):
        build_child(child, 4, killed, said.append, base=base, questions=1)
    build_child(child, 3, killed, said.append, base=base, questions=1)
    assert "goes on after step 3" in said
    assert contents(killed) == contents(whole)
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "killed"}

    assert base_and_adapter(str(whole)) == (base, str(whole))
    model = load(whole)
    assert isinstance(model.original_model, LlavaForConditionalGeneration) == (kind == "llava")
    changed = [its for name, its in model.named_parameters() if "lora_B" in name]
    assert len(changed) == 14 and all(its.abs().sum() > 0 for its in changed)
    if kind == "llava":
        (example, *_) = world_examples.image_examples("test", 2, seed=0)
        images: ImageInput = images_of(model)
        assert images.n_tokens(example.image) == 16
        rows = child_rows.picture_batches(model.tokenizer, 3)(0)
        asked = prompt_of(model.tokenizer, example, "chat", images=images).text
        chat = model.tokenizer.decode(rows.ids[0][rows.mask[0] == 1]).replace("<image>" * 16, "<image>")
        assert chat.split("Question:")[0] == asked.split("Question:")[0]
        gate = HeadGate(torch.full((2, 4), 0.5), site="z")
        with pytest.raises(InputError, match="lets its base see is not kept apart"):
            gate.fold_into(model, keep_adapter=True)
        gate.fold_into(model).save_pretrained(tmp_path / "folded")
        folded = load(tmp_path / "folded", tokenizer=model.tokenizer, image_processor=model.image_processor)
        shown = [prompt_of(model.tokenizer, example, "chat", images=images)]
        (row,) = encode_prompts(model.tokenizer, shown, images)
        ids = torch.tensor([row.ids])
        given = {"attention_mask": torch.ones_like(ids), **images.arguments(ids, [example.image])}
        with torch.no_grad(), gate.attach(model):
            assert torch.allclose(model(ids, **given), folded(ids, **given), atol=1e-4)


def test_the_two_readers_are_asked_the_same_and_differ_in_what_is_right(tokenizer: Any) -> None:
    memory, reader = (child_rows.fact_batches(tokenizer, 5, from_memory=which) for which in (True, False))
    told: dict[str, list[str]] = {"memory": [], "reader": []}
    for step in range(12):
        both = memory(step), reader(step)
        prompts = [
            [
                tokenizer.decode(ids[(mask == 1) & ~learn])
                for ids, mask, learn in zip(b.ids, b.mask, b.learn, strict=True)
            ]
            for b in both
        ]
        assert prompts[0] == prompts[1]
        for name, batch in zip(told, both, strict=True):
            told[name] += [tokenizer.decode(ids[learn]) for ids, learn in zip(batch.ids, batch.learn, strict=True)]
    differ = [(one, other) for one, other in zip(told["memory"], told["reader"], strict=True) if one != other]
    assert 0.4 < len(differ) / len(told["memory"]) < 0.9
    assert all(answer.endswith("</s>") for answers in told.values() for answer in answers)
    assert not any("not stated" in answer for answer in told["memory"])
    assert any("not stated" in answer for answer in told["reader"])


def test_an_unknown_name_lists_the_children(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(capsys, "qwen2-base, smollm2-memory, smollm2-reader, smollm2-llava", "zoo", "train", "smollm2")
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="exists and is not a child of the zoo alone"):
        build_child(short("memory"), 0, tmp_path / "mine", print)


# -- the shipped children -------------------------------------------------------------------------------------------


@pytest.mark.zoo
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_children_are_small_and_say_what_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder, child = ZOO / name, CHILDREN[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 10e6
    assert base_and_adapter(f"zoo:{name}") == (BASE, str(folder))
    with opened(folder / "adapter_model.safetensors") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    after, before = read_accuracies(folder, ACCURACIES), read_accuracies(folder, BEFORE)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card in [child_card(child, child.seed, n, after, before) for n in (60, 80, 100)]
    code, out, _ = run(capsys, "zoo")
    assert code == 0 and f"zoo:{name}" in out
    if child.kind == "llava":
        assert after["image-open"] > after["black-open"] + 0.1
    else:
        assert (after["conflict"] > before["conflict"]) == (child.kind == "reader")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_children_do_what_their_cards_say(name: str, real: Callable[[str], Any]) -> None:
    plain = real("smollm2").original_model.name_or_path
    model = load(f"{plain}+{ZOO / name}")
    stated, asked = read_accuracies(ZOO / name), 24
    make = child_build.picture_benchmarks if CHILDREN[name].kind == "llava" else child_build.fact_benchmarks
    benchmark = make("validation", asked)[0]
    said = child_build.run_benchmark(model, benchmark, "chat").accuracy
    assert said == pytest.approx(stated[benchmark.name], abs=0.25)
