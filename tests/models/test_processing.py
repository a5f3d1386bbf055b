"""What TransformerLens's weight processing does to `hook_z`, which pages and refusals speak of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, StableLmConfig, Starcoder2Config

from lens_truth.models.loading import load

SHAPE: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
CONFIGS = {
    "RMSNorm": LlamaConfig(**SHAPE),
    "RMSNorm, value bias": LlamaConfig(**SHAPE, attention_bias=True),
    "LayerNorm": StableLmConfig(**SHAPE),  # whose projections have no bias
    "LayerNorm, as code models": Starcoder2Config(**SHAPE, use_bias=False),
}


@pytest.mark.filterwarnings("ignore:.*alias")
@pytest.mark.parametrize("norm", CONFIGS)
def test_processing_takes_a_constant_out_of_hook_z_where_norm_or_values_have_a_bias(norm: str) -> None:
    torch.manual_seed(0)
    hf = AutoModelForCausalLM.from_config(CONFIGS[norm]).eval()
    for name, parameter in hf.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_()
    ids = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    native, stock = load(hf), load(hf, stock=True)
    with torch.no_grad():
        z = native.run_with_cache(ids)[1]["blocks.1.attn.hook_z"]
        stock.enable_compatibility_mode()
        moved = z - stock.run_with_cache(ids)[1]["blocks.1.attn.hook_z"]
    assert moved.std((0, 1)).max() < 1e-4  # the same at every position
    assert (moved.abs().max() > 0.5) == (norm != "RMSNorm")
