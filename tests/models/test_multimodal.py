"""Every multimodal family, on a tiny model built from its real config class: the same hooks, numbers and gates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import generate
from conftest import build, output_projections
from multimodal import FAMILIES, TOKENS, build_multimodal
from PIL import Image
from transformers import AutoModelForImageTextToText, Gemma3Processor, LlavaNextProcessor, LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lens_truth.data.examples import Example
from lens_truth.data.images import BLACK
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.batches import pad_rows
from lens_truth.models.hooks import gate_heads
from lens_truth.models.image_input import image_arguments, images_for, images_of
from lens_truth.models.loading import load
from lens_truth.models.prefixes import prompt_families
from lens_truth.models.prompts import IMAGE, PromptTokens, Wording, encode, encode_prompts, prompt_of
from lens_truth.models.selftest import batch_checks, hook_checks, images_to_check
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.causal import answer_log_probs, causal_scores
from lens_truth.scoring.scores import HeadScores

SIZES = [(101, 67), (40, 160), (56, 56), (5, 3), (300, 211)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    names = [str(folder / f"{width}x{height}.png") for width, height in SIZES]
    for name, (width, height) in zip(names, SIZES, strict=True):
        Image.fromarray(draw.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(name)
    return names


@pytest.fixture(scope="module")
def examples(pictures: list[str]) -> list[Example]:
    """Images of several sizes, one of them asked about twice; an image with a text; a text alone."""
    rows = [Example(f"{i}", f"{i}", f"What is {i}?", "a red thing", 1, image=name) for i, name in enumerate(pictures)]
    rows.append(Example("again", "0", "Where?", "there", 0, image=pictures[0]))
    rows.append(Example("both", "b", "What is it?", "coral", 1, "The heart is coral.", image=BLACK))
    rows.append(Example("text", "t", "What is it?", "white", 1, "The heart is white."))
    return rows


@pytest.fixture(scope="module", params=list(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    build_multimodal(request.param, path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load(str(folder))


def batch(model: Any, rows: list[Any], side: Any = "right") -> tuple[torch.Tensor, dict[str, Any]]:
    ids, mask = pad_rows([row.ids for row in rows], model, side)
    return ids, {"attention_mask": mask, **image_arguments(model, ids, [row.image for row in rows])}


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_logits_equal_hugging_face_bit_for_bit(folder: Path, examples: list[Example], attn: Any) -> None:
    model = load(str(folder), attn=attn)
    plain = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation=attn).eval()
    rows = encode(model.tokenizer, examples, "plain", images_for(model, examples))
    for side in ("left", "right"):
        ids, more = batch(model, rows, side)
        with torch.no_grad():
            assert torch.equal(model(ids, **more), plain(ids, **more).logits)


def test_every_check_passes_with_images(model: Any) -> None:
    checks = []
    for images in images_to_check(model):
        checks += [*hook_checks(model, images), *batch_checks(model, images)]
    assert [check.name for check in checks if not check.passed] == []
    assert len(checks) == 18


def test_images_matter(model: Any, pictures: list[str]) -> None:
    """Tests of equality would pass if images never reached the model."""
    seen = [Example("x", "g", "What?", "this", 1, image=name) for name in (pictures[2], BLACK)]
    z = capture(model, seen, batch_size=1).z
    assert (z[0] - z[1]).abs().max() > 1e-3


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_row_in_a_batch_equals_the_row_alone(model: Any, examples: list[Example], side: Any) -> None:
    rows = encode(model.tokenizer, examples, "plain", images_for(model, examples))
    assert len({len(row.ids) for row in rows}) > 2
    with torch.no_grad():
        ids, more = batch(model, rows, side)
        logits = model(ids, **more)
        for i, row in enumerate(rows):
            one, its = batch(model, [row])
            kept = logits[i][more["attention_mask"][i].bool()]
            torch.testing.assert_close(kept, model(one, **its)[0], atol=5e-5, rtol=0)


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_spans_decode_back(model: Any, examples: list[Example], template: Any) -> None:
    images, tokenizer = images_of(model), model.tokenizer
    for example, row in zip(examples, encode(tokenizer, examples, template, images), strict=True):
        assert tokenizer.decode(row.ids[slice(*row.question)]).strip() == example.question
        assert tokenizer.decode(row.ids[slice(*row.answer)]).strip() == example.answer
        assert row.answer[1] <= len(row.ids) and (template == "chat" or row.answer[1] == len(row.ids))
        if not example.image:
            assert row.image_span is None and images.token_id not in row.ids
            continue
        assert row.image_span is not None
        start, stop = row.image_span
        assert [i for i, token in enumerate(row.ids) if token == images.token_id] == [*range(start, stop)]
        assert stop - start == images.n_tokens(example.image)
        assert stop <= row.question[0] < row.question[1] <= row.continuation <= row.answer[0]
        opened, _, closed = images.placeholder.partition(images.token)
        assert tokenizer.decode(row.ids[:start]).endswith(opened)
        assert tokenizer.decode(row.ids[stop:]).startswith(closed)
        assert example.context in tokenizer.decode(row.ids[stop:])
        (prompt,) = encode_prompts(tokenizer, [prompt_of(tokenizer, example, template, images=images)], images)
        assert row.ids[: row.continuation] == prompt.ids[: row.continuation]
        assert prompt.image_span == row.image_span


def inputs_of_projections(hf: Any, ids: torch.Tensor, more: dict[str, Any]) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    handles = [
        projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for projection in output_projections(hf)
    ]
    with torch.no_grad():
        hf(ids, **more)
    for handle in handles:
        handle.remove()
    return seen


def test_capture_reads_the_last_token_of_the_answer(model: Any, examples: list[Example]) -> None:
    """What the hook gives is what goes into Hugging Face's output projection there; batches change nothing."""
    for template in ("plain", "chat"):
        together = capture(model, examples, template=template, batch_size=len(examples)).z
        rows = encode(model.tokenizer, examples, template, images_of(model))
        for i, row in enumerate(rows):
            ids, more = batch(model, [row])
            seen = inputs_of_projections(model.original_model, ids, more)
            expected = torch.stack([z[0, row.answer[1] - 1].unflatten(-1, (4, 8)) for z in seen])
            torch.testing.assert_close(together[i], expected, atol=2e-5, rtol=0)


def one_at_a_time(model: Any, prompts: list[PromptTokens], gate: HeadGate | None, n_new: int) -> list[str]:
    """Hugging Face's generate on a plain model with the gate in its weights, one unpadded prompt a call."""
    hf = gate.fold_into(model) if gate else model.original_model
    texts = []
    for prompt in prompts:
        ids, more = batch(model, [prompt])
        output = hf.generate(ids, **more, max_new_tokens=n_new, do_sample=False, pad_token_id=0)
        texts.append(model.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))
    return texts


def test_generation_equals_the_folded_model_prompt_by_prompt(model: Any, examples: list[Example]) -> None:
    """Several questions share an image, texts stand beside images, gates run together, in batches large and small."""
    images = images_of(model)
    late = Wording(lambda example: f"{example.question} {IMAGE}")  # the image ends the prompt, after what differs
    prompts = [prompt_of(model.tokenizer, e, "plain", images=images) for e in examples]
    prompts += [prompt_of(model.tokenizer, e, "plain", late, images) for e in examples[:2]]
    tokens = encode_prompts(model.tokenizer, prompts, images)
    families = prompt_families(tokens)
    shared = [family for family in families if len(family.rows) > 1 and tokens[family.rows[0]].image]
    assert shared and all((tokens[f.rows[0]].image_span or (0, 0))[1] <= f.length for f in shared)
    draw = torch.Generator().manual_seed(0)
    gates = {"vanilla": None, "gate": HeadGate(1 + 0.6 * torch.randn(3, 4, generator=draw))}
    alone = {name: one_at_a_time(model, tokens, gate, 5) for name, gate in gates.items()}
    for batch_size in (3, 64):
        together = {(n, i): a.text for n, i, a in generate(model, tokens, 5, batch_size, gates)}
        assert {name: [together[name, i] for i in range(len(tokens))] for name in gates} == alone
    assert len({text for texts in alone.values() for text in texts}) > 4
    # A run on texts alone comes after one on images: nothing of it may be left in the model.
    texts = [PromptTokens([1, *range(30, 40), n]) for n in (50, 60)]
    again = {i: a.text for _, i, a in generate(model, texts, 5, 8)}
    assert [again[i] for i in range(2)] == one_at_a_time(model, texts, None, 5)


def test_scores_of_the_base_llm_gate_the_tower(model: Any, examples: list[Example]) -> None:
    base = HeadScores(np.random.default_rng(0).random((3, 4)), kind="truth")
    gate = HeadGate.from_scores(base, lam=2.0, norm="center")
    rows = encode(model.tokenizer, examples, "plain", images_of(model))
    ids, more = batch(model, rows)
    with torch.no_grad():
        plain = model(ids, **more)
        with gate.attach(model):
            gated = model(ids, **more)
        folded = gate.fold_into(model)(ids, **more).logits
        with gate_heads(model, torch.ones(3, 4)):
            assert torch.equal(model(ids, **more), plain)
    torch.testing.assert_close(gated, folded, atol=5e-5, rtol=0)
    assert (gated - plain).abs().max() > 1e-2
    for shape in ((3, 8), (2, 4)):
        wrong = HeadGate.from_scores(HeadScores(np.full(shape, 0.5), kind="truth"), 1.0)
        with pytest.raises(InputError, match=rf"{shape[0]} layers x {shape[1]} heads, the model 3 x 4"):
            wrong.attach(model).__enter__()


def test_causal_scores_are_gradients_through_the_image(model: Any, pictures: list[str]) -> None:
    """Central differences of the margin along one head's gate."""
    pair = [
        Example("r", "g", "What?", "coral", 1, image=pictures[0]),
        Example("w", "g", "What?", "white", 0, image=pictures[0]),
    ]
    scores = causal_scores(model, pair, n_bootstrap=10).values
    rows = encode(model.tokenizer, pair, "plain", images_of(model))

    def margin(gate: torch.Tensor) -> float:
        with torch.no_grad(), gate_heads(model, gate):
            right, wrong = answer_log_probs(model, rows).tolist()
        return right - wrong

    step = torch.zeros(3, 4)
    step[1, 2] = 1e-2
    slope = (margin(1 + step) - margin(1 - step)) / 2e-2
    assert scores[1, 2] == pytest.approx(slope, rel=0.02, abs=2e-3)


@pytest.mark.parametrize(
    ("family", "processor_class"), [("llava", LlavaProcessor), ("llava-next-vicuna", LlavaNextProcessor)]
)
def test_tokens_and_pixels_are_those_of_hugging_faces_processor(
    family: str, processor_class: Any, pictures: list[str], tmp_path: Path
) -> None:
    """Where its processor runs without torchvision."""
    build_multimodal(family, tmp_path)
    model = load(str(tmp_path))
    processor = processor_class(
        model.image_processor,
        model.tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    for name in pictures[:3]:
        example = Example("x", "g", "What is it?", "this", 1, image=name)
        (row,) = encode(model.tokenizer, [example], "plain", images_of(model))
        text = "Context:\n<image>\n\nQuestion: What is it?\nAnswer: this"
        theirs = processor(images=Image.open(name), text=text, return_tensors="pt")
        assert row.ids == theirs["input_ids"][0].tolist()
        _, more = batch(model, [row])
        for key in ("pixel_values", "image_sizes"):
            if key in theirs:
                assert torch.equal(more[key], theirs[key])


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_gemma_3_is_given_what_its_own_processor_gives(template: Any, pictures: list[str], tmp_path: Path) -> None:
    """Line feeds around an image, and which tokens are its own: these attend to each other both ways."""
    build_multimodal("gemma3", tmp_path)
    model = load(str(tmp_path))
    image, start, end = TOKENS["gemma3"]
    for name, token in (("image", image), ("boi", start), ("eoi", end)):
        setattr(model.tokenizer, f"{name}_token", token)
        setattr(model.tokenizer, f"{name}_token_id", model.tokenizer.convert_tokens_to_ids(token))
    processor = Gemma3Processor(model.image_processor, model.tokenizer, image_seq_length=4)
    for name in pictures[:2]:
        example = Example("x", "g", "What is it?", "this", 1, image=name)
        images = images_of(model)
        (row,) = encode_prompts(model.tokenizer, [prompt_of(model.tokenizer, example, template, images=images)], images)
        text = f"Context:\n{start}\n\nQuestion: What is it?\nAnswer:"
        if template == "chat":
            said = [{"role": "user", "content": f"Context:\n{start}\n\nQuestion: What is it?"}]
            text = model.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        theirs = processor(images=Image.open(name), text=text, return_tensors="pt", add_special_tokens=False)
        assert row.ids[-theirs["input_ids"].shape[1] :] == theirs["input_ids"][0].tolist()
        _, more = batch(model, [row])
        assert torch.equal(more["pixel_values"], theirs["pixel_values"])
        kinds = more["token_type_ids"][0, -theirs["input_ids"].shape[1] :]
        assert kinds.tolist() == theirs["token_type_ids"][0].tolist() and kinds.sum() == 4


def test_inside_an_image_gemma_3_attends_both_ways(pictures: list[str], tmp_path: Path) -> None:
    build_multimodal("gemma3", tmp_path)
    model = load(str(tmp_path), attn="eager")
    example = Example("x", "g", "What is it?", "this", 1, image=pictures[2])
    (row,) = encode(model.tokenizer, [example], "plain", images_of(model))
    ids, more = batch(model, [row])
    with torch.no_grad():
        patterns = model.original_model(ids, **more, output_attentions=True).attentions
    assert row.image_span is not None
    first, last = row.image_span[0], row.image_span[1] - 1
    for pattern in patterns:
        assert pattern[0, :, first, last].min() > 0 and pattern[0, :, first, last + 1 :].max() == 0


def test_where_words_attend_both_ways_images_are_refused(tmp_path: Path) -> None:
    build_multimodal("gemma3", tmp_path)
    model: Any = load(str(tmp_path))
    model.original_model.config.model_type, model.image_input = "paligemma", None
    with pytest.raises(InputError, match="lets the words of a prompt attend to later ones.*cannot be shown images"):
        images_of(model)


def test_the_vision_tower_is_asked_once_for_each_shape_of_pixels(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_multimodal("llava", tmp_path)
    images = images_of(load(str(tmp_path)))
    passes, hf = [], images._hf
    ask = hf.get_image_features
    monkeypatch.setattr(hf, "get_image_features", lambda **made: passes.append(1) or ask(**made))
    assert {images.n_tokens(name) for name in pictures} == {16}
    assert len(passes) <= 1  # CLIP's crops are all alike


def test_a_model_in_memory_is_shown_images_through_a_given_processor(model: Any, pictures: list[str]) -> None:
    hf = model.original_model
    seen = [Example("x", "g", "What?", "this", 1, image=pictures[0])]
    with pytest.raises(InputError, match=r"1 of 1 examples hold an image \(first: 'x'\).*has no image processor"):
        capture(load(hf, tokenizer=model.tokenizer), seen)
    again = load(hf, tokenizer=model.tokenizer, image_processor=model.image_processor)
    assert torch.equal(capture(again, seen).z, capture(model, seen).z)


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("llava")
    build_multimodal("llava", path)
    return load(str(path))


def _shown(**fields: Any) -> list[Example]:
    return [Example("x", "g", **{"question": "What?", "answer": "this", "label": 1, **fields})]


BAD: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "missing": (lambda at: {"image": str(at / "none.png")}, r"none\.png: there is no such image"),
    "not an image": (lambda at: {"image": str(_written(at / "a.png", b"text"))}, r"a\.png: is not an image"),
    "truncated": (lambda at: {"image": str(_truncated(at / "cut.png"))}, r"cut\.png: is damaged"),
    "image token in the text": (
        lambda at: {"image": BLACK, "question": "What is <image>?"},
        r"example 'x': its text holds 2 tokens <image>, which stand for images, where 1 belong",
    ),
    "too long": (
        lambda at: {"image": BLACK, "context": "word " * 3000},
        r"1 of 1 examples are longer than the model's context of 2048 tokens",
    ),
    "replacement character": (
        lambda at: {"image": BLACK, "question": f"What {IMAGE}?"},
        r"holds the character U\+FFFC",
    ),
}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _truncated(path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return _written(path, path.read_bytes()[:3000])


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input_is_named(llava: Any, case: str, tmp_path: Path) -> None:
    fields, message = BAD[case]
    with pytest.raises(InputError, match=message):
        capture(llava, _shown(**fields(tmp_path)))


def test_a_text_model_is_shown_no_images(tokenizer: Any) -> None:
    model = load(build("llama", len(tokenizer)), tokenizer=tokenizer)
    with pytest.raises(InputError, match=r"1 of 1 examples hold an image \(first: 'x'\): .* is a text model"):
        capture(model, _shown(image=BLACK))


def test_a_processor_that_does_not_fit_is_named(llava: Any) -> None:
    large = CLIPImageProcessorPil(size={"shortest_edge": 70}, crop_size={"height": 70, "width": 70})
    with pytest.raises(InputError, match=r"black: the image processor and the vision tower .* do not fit .* 336 x 336"):
        load(llava.original_model, tokenizer=llava.tokenizer, image_processor=large)


def test_a_tokenizer_without_an_image_token_is_named(llava: Any, tokenizer: Any) -> None:
    with pytest.raises(
        InputError, match=r"the tokenizer has no special token 37\d, which stands for an image in Llava"
    ):
        load(llava.original_model, tokenizer=tokenizer, image_processor=llava.image_processor)
