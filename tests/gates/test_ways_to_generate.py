"""However Hugging Face generates, a gated model writes what the model with the gate in its weights writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import build
from transformers import TextStreamer, pipeline

from lens_truth.gates.gate import HeadGate
from lens_truth.models.loading import load

FAMILIES = ("llama-gqa-head-dim", "qwen3", "mistral")
IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 9, [0] * 3 + [1] * 6])
GATE = HeadGate(torch.linspace(0.2, 1.9, 12).reshape(3, 4))

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 4, "length_penalty": 0.7},
    "sampling": {"do_sample": True, "top_k": 20, "temperature": 1.3, "num_return_sequences": 3},
    "beam sampling": {"do_sample": True, "num_beams": 3},
    "without cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
    "chunked prefill": {"prefill_chunk_size": 4},
    "penalties": {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
}
ALONE: dict[str, dict[str, Any]] = {  # which Hugging Face offers for one row at a time
    "prompt lookup": {"prompt_lookup_num_tokens": 3},
    "assisted": {"assistant_model": "another"},
}


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A hooked model, and the plain one that has the gate in its weights."""
    hf = build(request.param)
    return load(hf), GATE.fold_into(hf)


def written(hf: Any, rows: int, how: dict[str, Any]) -> torch.Tensor:
    torch.manual_seed(5)
    if "assistant_model" in how:
        how = {"assistant_model": build("llama-gqa-head-dim")}
    return hf.generate(IDS[:rows], attention_mask=MASK[:rows], max_new_tokens=12, pad_token_id=0, **how)


@pytest.mark.parametrize("way", [*WAYS, *ALONE])
def test_gated_writes_what_folded_writes(pair: tuple[Any, Any], way: str) -> None:
    model, folded = pair
    rows, how = (2, WAYS[way]) if way in WAYS else (1, ALONE[way])
    before = written(model.original_model, rows, how)
    with GATE.attach(model):
        gated = written(model.original_model, rows, how)
    assert torch.equal(gated, written(folded, rows, how))
    assert not torch.equal(gated, before)  # the gate acted
    assert torch.equal(written(model.original_model, rows, how), before)  # and is gone


class Interrupted(TextStreamer):
    """Ends a generation from inside, as Ctrl-C does."""

    def put(self, value: Any) -> None:
        raise KeyboardInterrupt


def test_nothing_is_left_after_an_interrupt(pair: tuple[Any, Any]) -> None:
    model, _ = pair
    before = written(model.original_model, 2, {})
    with pytest.raises(KeyboardInterrupt), GATE.attach(model):
        written(model.original_model, 1, {"streamer": Interrupted(None)})  # pyright: ignore[reportArgumentType]
    assert torch.equal(written(model.original_model, 2, {}), before)
    assert not any(hook.fwd_hooks for hook in model.hook_dict.values())


def test_a_pipeline_writes_what_folded_writes(tokenizer: Any) -> None:
    hf = build("llama-gqa-head-dim", len(tokenizer))
    model, folded = load(hf, tokenizer=tokenizer), GATE.fold_into(hf)
    say: Callable[[Any], Any] = lambda hf: pipeline("text-generation", hf, tokenizer=tokenizer)(  # noqa: E731
        ["The coral crown", "Is it"], max_new_tokens=8, do_sample=False, pad_token_id=0
    )
    with GATE.attach(model):
        gated = say(model.original_model)
    assert gated == say(folded) != say(hf)
