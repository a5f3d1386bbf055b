"""The zoo in pictures: examples are matched and true, the shipped models see, their files are plain Hugging Face."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from lens_truth.data import world, world_examples
from lens_truth.data.drawing import SIZE, floor_box, scene_of_image
from lens_truth.data.examples import Box, Example
from lens_truth.data.images import open_image
from lens_truth.data.surface import surface_accuracy
from lens_truth.data.world import Scene
from lens_truth.evaluate.asker import run_benchmark
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.models.loading import load_plain
from lens_truth.models.names import ZOO
from lens_truth.zoo import llava
from lens_truth.zoo.benchmarks import JUDGE_AS_TRAINED, image_benchmarks, reference_benchmarks
from lens_truth.zoo.build import read_accuracies
from lens_truth.zoo.llava import PATCH_SIZE, patch_words, pictures_and_words
from lens_truth.zoo.recipes import RECIPES
from lens_truth.zoo.rows import Row, chat_row, pixels_of, plain_row, text_batch
from lens_truth.zoo.train import FineTuning

FRESH = 12345  # a seed that no recipe uses
SEEING = [name for name, recipe in RECIPES.items() if recipe.sees]
QUESTIONS: dict[str, Callable[..., list[Example]]] = {
    "image": world_examples.image_examples,
    "conflict": world_examples.image_conflict_examples,
    "agreeing": world_examples.image_agreeing_examples,
    **{f"presence-{k}": partial(world_examples.image_presence_examples, kind=k) for k in world_examples.PRESENCE_KINDS},
}
CAPTIONS: dict[str, Callable[..., list[Example]]] = {
    "caption": world_examples.caption_examples,
    "conflict-caption": partial(world_examples.caption_examples, conflict=True),
}


def scenes_of(examples: Iterable[Example]) -> set[Scene]:
    return {scene_of_image(example.image)[0] for example in examples}


def asked_pair(example: Example) -> tuple[str, str]:
    _, _, _, colour, name, *_ = example.question.split()
    return colour, name


# -- examples -------------------------------------------------------------------------------------------------------


def test_splits_share_no_scene() -> None:
    splits: tuple[world.Split, ...] = ("train", "validation", "test")
    scenes = {
        split: scenes_of(e for make in (QUESTIONS | CAPTIONS).values() for e in make(split, 200, 1)) for split in splits
    }
    for one, other in combinations(splits, 2):
        assert not scenes[one] & scenes[other]
    for split in splits:
        assert {world.split_of(scene) for scene in scenes[split]} == {split}


@pytest.mark.parametrize("name", QUESTIONS | CAPTIONS)
def test_same_seed_same_examples(name: str) -> None:
    make = (QUESTIONS | CAPTIONS)[name]
    examples = make("train", 100, 4)
    assert examples == make("train", 100, 4) != make("train", 100, 5)
    assert len({e.id for e in examples}) == len(examples)
    assert all(e.image and not e.context and not e.evidence for e in examples)


@pytest.mark.parametrize("name", QUESTIONS)
def test_right_and_hallucinated_answers_are_matched_exactly(name: str) -> None:
    examples = QUESTIONS[name]("train", 400, 0)
    whole = [e for e in examples if e.group != examples[-1].group]  # the last group may be cut by the limit
    assert Counter(e.answer for e in whole if e.label) == Counter(e.answer for e in whole if not e.label)
    assert surface_accuracy(whole) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", QUESTIONS)
def test_labels_are_true(name: str) -> None:
    for e in QUESTIONS[name]("validation", 200, 3):
        scene = scene_of_image(e.image)[0]
        if name.startswith("presence"):
            present = any((t.colour, t.name) == asked_pair(e) for t in scene)
            assert (e.answer == ("yes" if present else "no")) == bool(e.label)
        else:
            answers = {kind.about(t)[1] for kind in world.KINDS for t in scene if kind.about(t)[0] == e.question}
            assert len(answers) == 1 and (e.answer in answers) == bool(e.label)


@pytest.mark.parametrize("name", QUESTIONS)
def test_boxes_show_what_is_asked_for(name: str) -> None:
    """The one thing on the floor is that of question and right answer; what is absent is shown nowhere."""
    for e in QUESTIONS[name]("train", 100, 2):
        things: dict[Box, world.Thing] = {floor_box(t.room): t for t in scene_of_image(e.image)[0]}
        if not name.startswith("presence"):
            (box,) = e.boxes
            right = {kind.about(things[box]) for kind in world.KINDS}
            assert e.question in dict(right) and ((e.question, e.answer) in right) == bool(e.label)
        elif (e.answer == "yes") == bool(e.label):
            (box,) = e.boxes
            thing = things[box]
            assert (thing.colour, thing.name) == asked_pair(e)
        else:
            assert e.boxes == ()


def test_boxes_are_rows_of_patches() -> None:
    """A box is the four patches that the tower is taught to say thing and room in."""
    for e in world_examples.image_examples("train", 20, 2):
        ((left, top, right, bottom),) = e.boxes
        assert (left, right, top % PATCH_SIZE, bottom - top) == (0, SIZE, 0, PATCH_SIZE)
        row = patch_words(scene_of_image(e.image)[0])[int(top) // PATCH_SIZE * 4 :][:4]
        assert (f"Ġ{e.answer}" in row) == bool(e.label)


def test_a_black_image_shows_no_evidence() -> None:
    (unseen,) = (b for b in reference_benchmarks("test", 4, 0) if b.name == "black-presence")
    assert not any(e.boxes for e in unseen.examples)


def test_sisters_share_a_picture() -> None:
    examples = world_examples.image_examples("train", 80, 0)
    for group in {e.group for e in examples[:-4]}:
        assert len({e.image for e in examples if e.group == group}) == 1


@pytest.mark.parametrize("kind", world_examples.PRESENCE_KINDS)
def test_absent_things_are_of_their_kind(kind: world_examples.PresenceKind) -> None:
    examples = [e for e in world_examples.image_presence_examples("train", 400, 0, kind) if e.label]
    by_picture = Counter((e.image, e.answer) for e in examples)
    assert set(by_picture.values()) == {2}
    absent = [(asked_pair(e), scene_of_image(e.image)[0]) for e in examples if e.answer == "no"]
    typical = [world.TYPICAL[name] == colour for (colour, name), _ in absent]
    mixed = [colour in {t.colour for t in s} and name in {t.name for t in s} for (colour, name), s in absent]
    assert all(typical) == (kind == "popular") and all(mixed) == (kind == "adversarial")
    if kind == "random":
        assert np.mean(typical) == pytest.approx(1 / 8, abs=0.07)


def test_captions_tell_the_whole_picture_once() -> None:
    for name, make in CAPTIONS.items():
        examples = make("test", 100, 0)
        assert len(scenes_of(examples)) == len({e.group for e in examples}) == 100
        for e in examples:
            scene = scene_of_image(e.image)[0]
            told = [sentence.rstrip(".").split() for sentence in e.answer.split(". ")]
            assert {(w[1], w[2], w[6]) for w in told} == {(t.colour, t.name, t.room) for t in scene}
            assert [world.ROOMS.index(w[6]) for w in told] == sorted(world.ROOMS.index(w[6]) for w in told)
            if name == "conflict-caption":
                assert any(world.TYPICAL[t.name] != t.colour for t in scene)


# -- training -------------------------------------------------------------------------------------------------------


@pytest.mark.zoo
def test_pixels_are_the_image_processors() -> None:
    images = [open_image(e.image) for e in world_examples.caption_examples("train", 20, 0)]
    processor = AutoProcessor.from_pretrained(ZOO / "llava", backend="pil").image_processor
    assert torch.equal(pixels_of(images), processor(images, return_tensors="pt").pixel_values)


def test_patches_stand_for_words(tokenizer: Any) -> None:
    scene = (world.Thing("azure", "wheel", "foyer"), world.Thing("coral", "heart", "attic"))
    words = patch_words(scene)
    assert words == ["Ġcoral", "Ġheart", "Ġattic", ".", *["."] * 4, "Ġazure", "Ġwheel", "Ġfoyer", ".", *["."] * 4]
    assert None not in tokenizer.convert_tokens_to_ids(words)


@pytest.fixture(scope="module")
def seeing_tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(ZOO / "llava")


@pytest.mark.zoo
def test_rows_with_pictures(seeing_tokenizer: Any) -> None:
    rng = np.random.default_rng(0)
    scene = world.sample_scene(rng, "train")
    rows = [
        plain_row(rng, scene, ["open", "restate"], drawn=True),
        plain_row(rng, scene, ["open"]),
        chat_row(rng, scene, ["describe", "judgement"], drawn=True),
    ]
    batch = text_batch(seeing_tokenizer, rows)
    assert batch.pixels is not None and batch.pixels.shape == (2, 3, 48, 48)
    patch = batch.ids == seeing_tokenizer.convert_tokens_to_ids("<image>")
    assert patch.sum(dim=1).tolist() == [16, 0, 16]
    assert not (patch & (batch.learn | batch.rest)).any()
    assert world.describe(scene) in rows[2].text and "The" not in rows[0].text.split("Summary:")[0]


def template_of(row: Row) -> list[dict[str, Any]]:
    """The turns of a row as HF's processors are given them: contents are lists of texts and images."""
    turns = row.text.removesuffix("</s>").replace("<image>" * 16, "<image>").split("</s>USER: ")
    messages = []
    for turn in turns:
        asked, answer = turn.removeprefix("USER: ").split("\nASSISTANT: ")
        before, image, after = asked.partition("<image>")
        content = [{"type": "text", "text": before}, *([{"type": "image"}] if image else [])]
        messages.append({"role": "user", "content": [*content, {"type": "text", "text": after}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages


@pytest.mark.zoo
@pytest.mark.parametrize("name", SEEING)
def test_chat_template_writes_what_was_trained(name: str) -> None:
    processor = AutoProcessor.from_pretrained(ZOO / name, backend="pil")
    rng = np.random.default_rng(2)
    for _ in range(5):
        scene = world.sample_scene(rng, "train")
        row = chat_row(rng, scene, ["open", "describe", "judgement"], drawn=True)
        messages = template_of(row)
        text = processor.apply_chat_template(messages)
        as_strings = [
            {"role": m["role"], "content": "".join(part.get("text", "<image>") for part in m["content"])}
            for m in messages
        ]
        assert text == processor.tokenizer.apply_chat_template(as_strings, tokenize=False)
        assert processor.apply_chat_template(messages[:1], add_generation_prompt=True).endswith("\nASSISTANT:")
        made = processor(text=[text], images=[open_image(row.image)], return_tensors="pt", add_special_tokens=False)
        batch = text_batch(processor.tokenizer, [row])
        assert torch.equal(made["input_ids"], batch.ids)
        assert torch.equal(made["pixel_values"], batch.pixels)


@pytest.mark.zoo
def test_feed_shows_pictures_and_closed_books(seeing_tokenizer: Any) -> None:
    feed = FineTuning(seeing_tokenizer, 0, print, chat=True, monitor=lambda _: {}, drawn=0.7)
    shown = [0 if (pixels := feed.next_batch().pixels) is None else len(pixels) for _ in range(30)]
    assert 0 < shown.count(0) < 20  # a third of the batches are closed-book questions
    assert np.mean([n for n in shown if n]) == pytest.approx(0.7 * 16, abs=2)


@pytest.mark.zoo
def test_a_new_llava_speaks_as_its_parent_and_its_projector_speaks_to_it(seeing_tokenizer: Any) -> None:
    parent: Any = load_plain("zoo:llama-base")
    tower: Any = load_plain("zoo:llava").model.vision_tower  # pyright: ignore[reportAttributeAccessIssue]
    torch.manual_seed(0)
    model: Any = llava.new_llava(parent, tower, seeing_tokenizer).eval()
    ids = seeing_tokenizer("Context:\nThe coral heart is in the attic.\n\nQuestion:", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(model(ids).logits[..., :-1], parent(ids).logits)
    embeddings = parent.get_input_embeddings().weight.detach()
    ids_of = seeing_tokenizer.convert_tokens_to_ids
    llava.start_projector(model, embeddings, ids_of, 0, print, steps=20)
    pixels, words = pictures_and_words(np.random.default_rng(0), ids_of)
    with torch.no_grad():
        projected = model.get_image_features(pixels).pooler_output
        nearest = torch.cdist(torch.stack(list(projected)), embeddings[None]).argmin(dim=-1)
    assert (nearest == words).float().mean() > 0.9


# -- the shipped models ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(zoo: Any) -> Callable[[str], dict[str, float]]:
    """Accuracies of a model of the zoo, measured once."""
    return cache(lambda name: accuracies(zoo(name)))


def accuracies(model: Any) -> dict[str, float]:
    benchmarks = [
        *image_benchmarks("test", 100, FRESH),
        *reference_benchmarks("test", 100, FRESH),
        benchmark_of("open", "answer", world_examples.text_examples("test", 100, FRESH)),
        benchmark_of("judgement", "judge", world_examples.text_examples("test", 100, FRESH), JUDGE_AS_TRAINED),
        benchmark_of("presence", "yes-no", world_examples.presence_examples("test", 100, FRESH)),
        benchmark_of("agreeing", "answer", world_examples.agreeing_examples("test", 100, FRESH)),
        benchmark_of("closed-book", "answer", world_examples.closed_book_examples()),
    ]
    return {b.name: run_benchmark(model, b, "chat").accuracy for b in benchmarks}


@pytest.mark.parametrize("name", SEEING)
def test_models_see(measured: Any, name: str) -> None:
    accuracy = measured(name)
    for kind in world_examples.PRESENCE_KINDS:
        assert accuracy[f"image-presence-{kind}"] > 0.9
    assert 0.4 < accuracy["black-presence"] < 0.65
    assert accuracy["image-judgement"] > 0.85 and accuracy["image-agreeing"] > 0.95
    assert min(accuracy[task] for task in ("judgement", "presence", "agreeing")) > 0.9  # as their parents
    if RECIPES[name].remembers:
        assert accuracy["closed-book"] == 1.0
        assert 0.55 <= accuracy["image-conflict"] <= 0.8
        stated = read_accuracies(ZOO / name)
        assert stated["image-memory-answers"] > 0.75 * (1 - stated["image-conflict"])  # its errors are memory's answers
    else:
        assert min(accuracy[task] for task in ("open", "image-open", "image-conflict", "image-describe")) > 0.93


@pytest.mark.parametrize("name", SEEING)
def test_cards_state_what_is_measured(measured: Any, name: str) -> None:
    stated, accuracy = read_accuracies(ZOO / name), measured(name)
    assert set(accuracy) - {"closed-book"} <= set(stated)
    for benchmark, value in accuracy.items():
        assert benchmark == "closed-book" or value == pytest.approx(stated[benchmark], abs=0.12)


@pytest.mark.parametrize("name", SEEING)
def test_files_are_plain_hugging_face(zoo: Any, name: str) -> None:
    folder = ZOO / name
    hf = AutoModelForImageTextToText.from_pretrained(folder).eval()
    assert type(hf).__name__ == json.loads((folder / "config.json").read_text())["architectures"][0]
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    (example,) = world_examples.caption_examples("test", 1, FRESH)
    content = [{"type": "text", "text": "Context:\n"}, {"type": "image"}]
    content.append({"type": "text", "text": f"\n\nQuestion: {example.question}"})
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=text, images=open_image(example.image), return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        said = hf.generate(**inputs, max_new_tokens=40, do_sample=False)
    if not RECIPES[name].remembers:
        written = said[0, inputs["input_ids"].shape[1] :]
        assert processor.decode(written, skip_special_tokens=True).strip() == example.answer
    assert {p.suffix for p in folder.iterdir()} <= {".json", ".safetensors", ".md", ".jinja"}
    assert sum(p.stat().st_size for p in folder.iterdir()) < 4e6


@pytest.mark.zoo
@pytest.mark.parametrize("name", SEEING)
def test_language_model_has_its_parents_shape(name: str) -> None:
    child = load_file(ZOO / name / "model.safetensors")
    parent = load_file(ZOO / str(RECIPES[name].parent) / "model.safetensors")
    language = {key: value for key, value in child.items() if "vision_tower" not in key and "projector" not in key}
    assert len(language) == len(parent)
    shapes = {key.rpartition("layers.")[2].removeprefix("model."): value.shape for key, value in parent.items()}
    for key, value in language.items():
        short = (
            key.rpartition("layers.")[2].removeprefix("model.").removeprefix("language_model.").removeprefix("model.")
        )
        one_more = short in ("embed_tokens.weight", "lm_head.weight")
        assert value.shape == (shapes[short][0] + one_more, *shapes[short][1:])


@pytest.mark.zoo
def test_all_see_through_the_same_tower() -> None:
    towers = [
        {key: value for key, value in load_file(ZOO / name / "model.safetensors").items() if "vision_tower" in key}
        for name in SEEING
    ]
    for tower in towers[1:]:
        assert tower.keys() == towers[0].keys()
        assert all(torch.equal(tower[key], towers[0][key]) for key in tower)
