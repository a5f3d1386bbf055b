"""A model in memory is taken out of what stands around it, or refused in a sentence that says what to give."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import build
from torch import nn

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.batches import pad_id, pad_rows
from lens_truth.models.loading import load

IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile imports
@pytest.mark.parametrize("wrap", [load, lambda hf: nn.DataParallel(torch.compile(hf))])
def test_what_stands_around_a_model_is_taken_off(wrap: Callable[[Any], Any]) -> None:
    hf = build("qwen2")
    model = load(wrap(hf))
    assert torch.equal(model(IDS), hf(IDS).logits)
    assert model.cfg.model_name == "Qwen2ForCausalLM"


def test_a_bias_that_was_added_is_kept() -> None:
    hf = build("llama")
    before = hf(IDS).logits
    hf.model.layers[1].self_attn.o_proj.bias = nn.Parameter(torch.randn(32, generator=torch.Generator().manual_seed(0)))
    model = load(hf)
    assert torch.equal(model(IDS), hf(IDS).logits) and not torch.equal(model(IDS), before)
    folded: Any = HeadGate(torch.ones(3, 4)).fold_into(model)
    assert torch.equal(folded(IDS).logits, hf(IDS).logits)


def test_a_hooked_model_keeps_its_tokenizer(tiny: Any) -> None:
    assert load(tiny).tokenizer is tiny.tokenizer


def offloaded(hf: Any) -> Any:
    hf.model.layers[2].mlp.to("meta")
    return hf


def packed(hf: Any) -> Any:
    class Packed(torch.Tensor):
        pass

    projection = hf.model.layers[0].self_attn.o_proj
    projection.weight = nn.Parameter(projection.weight.detach().as_subclass(Packed))
    return hf


def bare(hf: Any) -> Any:
    return hf.model


def classifier(hf: Any) -> Any:
    return transformers.LlamaForSequenceClassification(hf.config)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (offloaded, "the weights of 'model.layers.2.mlp.gate_proj' are not in memory, and nothing fetches them"),
        (bare, "LlamaModel has no head that gives logits: load its checkpoint with AutoModelForCausalLM"),
        (classifier, "LlamaForSequenceClassification has no head that gives logits"),
        (lambda _: nn.Linear(2, 2), "Linear is not a model of Transformers"),
    ],
)
def test_what_cannot_be_hooked_is_told(change: Callable[[Any], Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load(change(build("llama")))


def test_a_gate_is_attached_to_what_it_cannot_be_folded_into() -> None:
    model = load(packed(build("llama")))
    gate = HeadGate(torch.full((3, 4), 0.5))
    with gate.attach(model):
        gated = model(IDS)
    assert torch.equal(gated, load(gate.fold_into(build("llama")))(IDS))
    with pytest.raises(
        InputError, match="weights of a Linear are no plain numbers, so no gate can be folded into them"
    ):
        gate.fold_into(model)


def test_tokens_beyond_the_embedding_are_named(tokenizer: Any) -> None:
    model = load(build("llama", len(tokenizer) - 1), tokenizer=tokenizer)
    last = len(tokenizer) - 1
    with pytest.raises(InputError, match=rf"token {last} \('.+'\) lies beyond the model's embedding of {last} tokens"):
        pad_rows([[3, last], [4]], model)


def test_padding_that_was_added_but_has_no_embedding_is_not_used(tokenizer: Any) -> None:
    padded = copy.deepcopy(tokenizer)
    padded.add_special_tokens({"pad_token": "[PAD]"})
    model = load(build("llama", len(tokenizer)), tokenizer=padded)
    assert padded.pad_token_id == len(tokenizer) and pad_id(model) == padded.eos_token_id
    ids, _ = pad_rows([[3, 4], [5]], model)
    assert model(ids).shape == (2, 2, len(tokenizer))


def test_floats_read_from_a_gguf_are_saved_as_floats(tmp_path: Path) -> None:
    hf = build("llama")
    hf.config.quantization_config = (
        transformers.GgufConfig() if hasattr(transformers, "GgufConfig") else {"quant_method": "gguf"}
    )
    HeadGate(torch.full((3, 4), 0.5)).fold_into(load(hf)).save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    assert np.isfinite(load(str(tmp_path))(IDS).detach().numpy()).all()
