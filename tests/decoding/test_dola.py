"""DoLa equals its paper: lower layers through the final norm and the unembedding, one row at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
import torch
from conftest import build
from multimodal import build_multimodal
from numpy.typing import NDArray
from test_contrast import N_NEW, asked, examples_of, gate_of

import lens_truth
from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.lower import lower_logits
from lens_truth.errors import InputError
from lens_truth.models import lens
from lens_truth.models.image_input import image_arguments
from lens_truth.models.loading import load
from lens_truth.scoring.causal import encode_answers

LAYERS = (0, 1, 2)


def early_and_own(
    model: Any, ids: list[int], image: str, norm: Any, gate: Any = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits of the last token: from the input of every layer, and the model's own."""
    tokens, hf = torch.tensor([ids]), model.original_model
    with torch.no_grad(), gate.attach(model) if gate else torch.no_grad():
        shown = image_arguments(model, tokens, [image])
        out = hf(tokens, attention_mask=torch.ones_like(tokens), output_hidden_states=True, use_cache=False, **shown)
        early = [hf.get_output_embeddings()(norm(out.hidden_states[layer][:, -1])) for layer in LAYERS]
        scale = float((out.logits[0, -1] / hf.get_output_embeddings()(out.hidden_states[-1][0, -1])).median())
    return (torch.cat(early) * scale).double().numpy(), out.logits[0, -1].double().numpy()


def furthest(early: NDArray[Any], own: NDArray[Any]) -> NDArray[Any]:
    p = np.exp(naive.log_softmax(own))
    best, at = -1.0, 0
    for i, logits in enumerate(early):
        q = np.exp(naive.log_softmax(logits))
        m = (p + q) / 2
        divergence = 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()
        best, at = max((best, at), (divergence, i))
    return early[at]


def mixed(a: float, early: NDArray[Any], own: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    log_p, log_q = naive.log_softmax(own), naive.log_softmax(furthest(early, own))
    return log_p, log_p - a * log_q, np.exp(log_p) < 0.1 * np.exp(log_p).max()


def check(model: Any, norm: Any, image: bool) -> None:
    for gate in (None, gate_of(model)):
        decoder = lens_truth.DoLa(1.0, LAYERS, gate=gate)
        prompts, others = asked(model, decoder, examples_of(image))
        alone = list[list[int]]()
        ends = model.original_model.generation_config.eos_token_id
        for prompt in prompts:
            made = list[int]()
            while len(made) < N_NEW and not (made and made[-1] in (ends if isinstance(ends, list) else [ends])):
                _, found, unlikely = mixed(1.0, *early_and_own(model, [*prompt.ids, *made], prompt.image, norm, gate))
                made.append(int(np.where(unlikely, -np.inf, found).argmax()))
            alone.append(made)
        together = decoder.write(model, prompts, others, N_NEW)
        assert [row[: len(its)] for row, its in zip(together, alone, strict=True)] == alone
        greedy = Decoder(gate=gate).write(model, prompts, others, N_NEW)
        assert together != greedy == replace(decoder, strength=0.0).write(model, prompts, others, N_NEW)


@pytest.mark.parametrize("family", ["llama-gqa-head-dim", "qwen3"])
def test_text_is_written_as_defined(family: str, tokenizer: Any) -> None:
    model = load(build(family, vocab_size=len(tokenizer), max_position_embeddings=1024), tokenizer=tokenizer)
    check(model, model.original_model.model.norm, image=False)


@pytest.mark.parametrize("family", ["llava", "qwen2.5-vl"])
def test_so_are_images_spoken_of(family: str, tmp_path: Path) -> None:
    build_multimodal(family, tmp_path)
    model = load(str(tmp_path))
    check(model, model.original_model.model.language_model.norm, image=True)


def test_given_answers_are_ranked_by_the_same_numbers(tiny: Any) -> None:
    examples = [e for e in examples_of(False) if e.context]
    rows = encode_answers(tiny, examples, "plain")
    decoder, norm = lens_truth.DoLa(0.7, LAYERS), tiny.original_model.model.norm
    found = decoder.log_probs(tiny, rows, [None] * len(rows)).tolist()
    for row, value in zip(rows, found, strict=True):
        total = 0.0
        for at in range(row.continuation, row.answer[1]):
            log_p, by_rule, unlikely = mixed(0.7, *early_and_own(tiny, row.ids[:at], "", norm))
            total += naive.log_softmax(np.where(unlikely, log_p, by_rule))[row.ids[at]]
        assert value == pytest.approx(total, abs=1e-3)


def test_candidates_are_the_papers(tokenizer: Any) -> None:
    def of(family: str, n: int, layers: str) -> tuple[int, ...]:
        hf = build(family, vocab_size=len(tokenizer), num_hidden_layers=n)
        return lens_truth.DoLa(1.0, layers).candidates(load(hf, tokenizer=tokenizer))  # type: ignore[arg-type]

    assert of("llama", 32, "low") == tuple(range(0, 16, 2)) and of("llama", 32, "high") == tuple(range(16, 32, 2))
    assert of("llama", 60, "low") == tuple(range(0, 20, 2)) and of("llama", 60, "high") == tuple(range(40, 60, 2))
    assert of("llama-bias-tied", 32, "low") == tuple(range(2, 16, 2))  # else the last token is said again


def test_soft_caps_and_norms_of_another_family(tokenizer: Any) -> None:
    """What a class does to its logits is done to those of lower layers: at the last layer both are one."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(tokenizer), "final_logit_softcapping": 1.0}
    model = load(Gemma2ForCausalLM(Gemma2Config(**shape, **more)).eval(), tokenizer=tokenizer)
    norm = lens.final_norm(model)
    assert norm is model.original_model.model.norm
    prompts, others = asked(model, Decoder(), examples_of(False))
    with lens_truth.DoLa(1.0, [1]).opened(model, prompts, others, 4) as processors:
        assert len(processors) == 1
        out = model.original_model(torch.tensor([prompts[0].ids]))
        assert out.logits.shape[1] == len(prompts[0].ids) and float(out.logits.detach().abs().max()) <= 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_layers_do_not_touch_the_models_own_logits(tokenizer: Any, dtype: torch.dtype) -> None:
    """Also where the unembedding has a bias, where it multiplies the other way round, and with one pass in another."""
    hf = build("llama", vocab_size=len(tokenizer)).to(dtype)
    hf.lm_head = torch.nn.Linear(hf.config.hidden_size, len(tokenizer)).to(dtype)
    model = load(hf, tokenizer=tokenizer)
    (prompt, *_), _ = asked(model, Decoder(), examples_of(False))
    ids = torch.tensor([prompt.ids, prompt.ids])
    with torch.no_grad():
        alone = hf(ids)
        seen = dict[str, torch.Tensor]()

        def keep(name: str) -> Any:
            def combined(lower: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
                seen[name] = lower
                return last

            return combined

        with lower_logits(model, [1, 2], keep("outer")), lower_logits(model, [2], keep("inner")):
            within = hf(ids)
        expected = hf.lm_head(hf.model.norm(hf(ids, output_hidden_states=True).hidden_states[1][:, -1]))
    close = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 0.1}
    torch.testing.assert_close(within.logits, alone.logits, **close)
    torch.testing.assert_close(seen["outer"][:, 0], expected, **close)
    torch.testing.assert_close(seen["outer"][:, 1:], seen["inner"], rtol=0, atol=0)
    assert "forward" not in vars(hf.lm_head) and torch.equal(hf(ids).logits, alone.logits)


def test_a_model_without_one_final_norm_is_refused(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "_same", lambda one, other: False)
    lens._FOUND.pop(tiny, None)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(InputError, match="no one module stands between its last layer and its unembedding"):
        lens_truth.DoLa(1.0, [1]).check(tiny)
