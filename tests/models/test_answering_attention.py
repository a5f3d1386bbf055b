"""What heads attend to at the last tokens is what the model's own attention computes, sinks and windows among it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from lens_truth.models.answering_attention import answering_attention
from lens_truth.models.loading import load

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.5,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Gemma2": {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8, "sliding_window": 4},
    "GptOss": {"num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 4},
}
HEADS = [(0, 1), (0, 3), (1, 2)]


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_model(family: str, tokenizer: Any) -> None:
    torch.manual_seed(0)
    made = getattr(transformers, f"{family}Config")(vocab_size=len(tokenizer), **SHAPE, **FAMILIES[family])
    made._attn_implementation = "eager"
    hf = getattr(transformers, f"{family}ForCausalLM")(made).eval()
    if family == "GptOss":
        for layer in hf.model.layers:
            torch.nn.init.normal_(layer.self_attn.sinks)
    model: Any = load(hf, tokenizer=tokenizer)
    ids, mask = torch.arange(1, 19).view(2, 9), torch.ones(2, 9, dtype=torch.long)
    mask[0, :3] = 0  # padded on the left
    seen: dict[int, torch.Tensor] = {}

    def see(layer: int, weights: torch.Tensor, values: torch.Tensor) -> None:
        seen[layer] = weights

    with torch.no_grad():
        expected = hf(ids, attention_mask=mask, output_attentions=True)
        with answering_attention(model, HEADS, lambda queries, keys: 2, see):
            logits = hf(ids, attention_mask=mask).logits
    torch.testing.assert_close(logits, expected.logits, rtol=0, atol=0)
    for layer, heads in ((0, [1, 3]), (1, [2])):
        torch.testing.assert_close(seen[layer], expected.attentions[layer][:, heads, -2:])
        if family == "GptOss":
            assert (seen[layer].sum(-1) < 0.999).any()  # the rest lies on no token
