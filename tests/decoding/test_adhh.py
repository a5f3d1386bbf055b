"""Heads that look away from the image: against attention written out, cached and not, in batches and alone."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from multimodal import build_multimodal
from PIL import Image

from lens_truth.attention.measuring import patterns
from lens_truth.data.examples import Example
from lens_truth.decoding.adhh import ADHH
from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.decoding.forcing import forced_log_probs
from lens_truth.decoding.greedy import greedy
from lens_truth.decoding.head_rules import ContextAttentionBelow
from lens_truth.decoding.rules import Always, ContextChanges, Never
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.batches import no_words, pad_rows
from lens_truth.models.image_input import image_arguments, images_for
from lens_truth.models.loading import load
from lens_truth.models.prompts import PromptTokens, encode_prompts, prompt_of
from lens_truth.scoring.causal import encode_answers
from lens_truth.scoring.scores import HeadScores

HEADS = [(0, 1), (1, 0), (1, 2), (2, 3)]
N = 5


MODELS = [("llava", "sdpa"), ("llava", "eager"), ("qwen2.5-vl", "sdpa"), ("qwen2.5-vl", "eager")]


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    family, attn = request.param
    path = tmp_path_factory.mktemp(family)
    build_multimodal(family, path)
    return load(str(path), attn=attn)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows: list[Example] = []
    for i, (width, height) in enumerate([(101, 67), (56, 56), (40, 160)]):
        name = str(folder / f"{i}.png")
        Image.fromarray(draw.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(name)
        rows.append(Example(f"{i}", f"{i}", "What is it?"[: 11 - i], "a red thing"[: 11 - 2 * i], 1, image=name))
    rows.append(Example("both", "b", "What is it?", "coral", 1, "The heart is coral.", image=rows[0].image))
    return [*rows, Example("text", "t", "What is it?", "white", 1, "The heart is white.")]


def prompts_of(model: Any, examples: list[Example]) -> list[PromptTokens]:
    images = images_for(model, examples)
    return encode_prompts(
        model.tokenizer, [prompt_of(model.tokenizer, e, "plain", images=images) for e in examples], images
    )


def logits_of(model: Any, decoder: Decoder, prompts: list[PromptTokens], **more: Any) -> tuple[Any, torch.Tensor]:
    ids, mask = pad_rows([row.ids for row in prompts], model, side="left")
    shown = image_arguments(model, ids, [row.image for row in prompts])
    with torch.no_grad(), greedy(model), decoder.opened(model, prompts, [None] * len(prompts), N) as processors:
        images = no_words(model.original_model.config)  # which a random model would write
        how: dict[str, Any] = {"max_new_tokens": N, "min_new_tokens": N, "return_dict_in_generate": True, **more}
        how["suppress_tokens"] = images
        found = model.original_model.generate(
            ids, attention_mask=mask, output_logits=True, logits_processor=processors, **shown, **how
        )
    return found.sequences[:, ids.shape[1] :].tolist(), torch.stack(found.logits, 1)


@pytest.mark.parametrize("zeroes", ["text", "head"])
def test_rows_by_themselves_cached_and_not(model: Any, examples: list[Example], zeroes: Any) -> None:
    prompts, decoder = prompts_of(model, examples), ADHH(1.0, HEADS, threshold=0.3, zeroes=zeroes)
    decoder.check(model)
    plain, (tokens, logits) = logits_of(model, Decoder(), prompts), logits_of(model, decoder, prompts)
    assert torch.equal(logits[-1], plain[1][-1])  # has no image
    assert not torch.equal(logits[0], plain[1][0])
    uncached = logits_of(model, decoder, prompts, use_cache=False)
    assert uncached[0] == tokens and uncached[1].numpy() == pytest.approx(logits.numpy(), abs=3e-3)
    for row, prompt in enumerate(prompts):
        alone = logits_of(model, decoder, [prompt])
        assert alone[0][0] == tokens[row]
        assert alone[1][0].numpy() == pytest.approx(logits[row].numpy(), abs=3e-3)
    off = logits_of(model, ADHH(0.0, HEADS), prompts)
    never = logits_of(model, ADHH(1.0, HEADS, threshold=1.0), prompts)
    assert torch.equal(off[1], plain[1]) and torch.equal(never[1], plain[1])
    assert torch.equal(logits_of(model, Decoder(), prompts)[1], plain[1])  # nothing stays


def test_what_is_not_written(model: Any, examples: list[Example]) -> None:
    """The first layer's head, from patterns and values written out."""
    (prompt,), (layer, head) = prompts_of(model, examples[:1]), HEADS[0]
    assert layer == 0 and prompt.image_span is not None
    pattern = patterns(model, prompt, [(layer, head)])[0, -1]
    share = float(pattern[prompt.image_span[1] :].sum())
    z: dict[str, torch.Tensor] = {}
    values: list[torch.Tensor] = []
    projection = model.original_model.get_submodule(model.attentions[0].path).v_proj
    for name, decoder in {
        "plain": Decoder(),
        "below": ADHH(1.0, [(layer, head)], threshold=min(1.0, share + 1e-3)),
        "half": ADHH(0.5, [(layer, head)], threshold=share - 1e-3),
        "head": ADHH(1.0, [(layer, head)], threshold=share - 1e-3, zeroes="head"),
    }.items():

        def keep(passing: torch.Tensor, hook: Any, name: str = name) -> None:
            z.setdefault(name, passing[0].clone())

        def keep_values(module: Any, args: Any, out: torch.Tensor) -> None:
            values.append(out[0])

        handle = projection.register_forward_hook(keep_values)
        with model.hooks(fwd_hooks=[("blocks.0.attn.hook_z", keep)]):
            logits_of(model, decoder, [prompt])
        handle.remove()
    v = cast("torch.Tensor", values[0].unflatten(-1, (2, -1)))[:, head // 2]
    from_text = pattern[prompt.image_span[1] :] @ v[prompt.image_span[1] :]
    assert torch.equal(z["below"], z["plain"])
    wanted = {"half": z["plain"][-1, head] - from_text / 2, "head": torch.zeros_like(from_text)}
    for name, its in wanted.items():
        assert z[name][-1, head].numpy() == pytest.approx(its.numpy(), abs=1e-5)
        others = [h for h in range(4) if h != head]
        assert torch.equal(z[name][:, others], z["plain"][:, others])
        assert torch.equal(z[name][:-1], z["plain"][:-1])  # the prompt is read as ever


def test_given_answers_are_as_likely_as_when_they_are_written(model: Any, examples: list[Example]) -> None:
    rows = encode_answers(model, examples, "plain")
    decoder, none = ADHH(1.0, HEADS, threshold=0.3), [None] * len(rows)
    found = decoder.log_probs(model, rows, none)
    for number, row in enumerate(rows):
        prompts = [row.prompt]
        with torch.no_grad():
            forced = forced_log_probs(model, [row], lambda n, its=prompts: decoder.opened(model, its, [None], n))
        assert float(forced[0]) == pytest.approx(float(found[number]), abs=2e-3)
    plain = Decoder().log_probs(model, rows, none)
    assert ADHH(0.0, HEADS).log_probs(model, rows, none).tolist() == plain.tolist()
    assert abs(float(found[0] - plain[0])) > 1e-3
    assert float(found[-1]) == pytest.approx(float(plain[-1]), abs=1e-3)


@pytest.mark.parametrize("positions", ["all", "answer"])
def test_dynamic_gates_beside_images(model: Any, examples: list[Example], positions: Any) -> None:
    """The prompt's last token is read again where it stands, images and all."""
    prompts = prompts_of(model, examples)
    gate = HeadGate(1 + torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    plain = logits_of(model, Decoder(), prompts)[1]
    off = DynamicGate(switched=gate, rule=Never(), positions=positions)
    assert torch.equal(logits_of(model, off, prompts)[1], plain)
    on = DynamicGate(switched=gate, rule=Always(), positions=positions)
    tokens, logits = logits_of(model, on, prompts)
    if positions == "all":
        assert torch.equal(logits, logits_of(model, Decoder(gate=gate), prompts)[1])
    uncached = logits_of(model, on, prompts, use_cache=False)
    assert uncached[0] == tokens and uncached[1].numpy() == pytest.approx(logits.numpy(), abs=3e-3)
    some = DynamicGate(switched=gate, rule=ContextAttentionBelow(0.5, heads=HEADS), positions=positions)
    some.check(model)
    others: list[PromptTokens | None] = []
    for e in examples:
        other = ContextChanges().other(e)
        others.append(prompts_of(model, [other])[0] if other else None)
    written = some.write(model, prompts, others, N)
    for row, (prompt, other) in enumerate(zip(prompts, others, strict=True)):
        alone = some.write(model, [prompt], [other], N)[0]
        assert alone == written[row][: len(alone)]


def test_refused(zoo: Any, unchecked: None) -> None:
    with pytest.raises(InputError, match="is a text model"):
        ADHH(1.0, [(0, 0)]).check(zoo("llama-memory-chat"))
    with pytest.raises(InputError, match="numbers from 0 to 1"):
        ADHH(1.5, [(0, 0)])
    with pytest.raises(InputError, match="not 'nothing'"):
        ADHH(1.0, [(0, 0)], zeroes="nothing")  # type: ignore[arg-type]
    scores = HeadScores(np.arange(12.0).reshape(3, 4), "retrieval")
    assert list(ADHH.from_scores(scores, n=2).heads) == [(2, 3), (2, 2)]
