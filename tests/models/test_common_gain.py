"""A norm behind the output projection takes out what all heads of a layer have in common; that is measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from conftest import build, output_projections

from lens_truth.models.common_gain import common_gain_acts
from lens_truth.models.loading import load
from lens_truth.models.selftest import batch_checks, finite_check

IDS = torch.randint(3, 60, (3, 11), generator=torch.Generator().manual_seed(0))


def random_model(family: str, scale: float) -> Any:
    torch.manual_seed(7)
    shape = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "head_dim": 8}
    more: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "eos_token_id": 2}
    config = getattr(transformers, f"{family}Config")(**shape, **more, initializer_range=scale)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


NORM_BEHIND = ["Gemma2", "Gemma3Text", "Glm4", "Olmo2", "Olmo3", "Exaone4"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # TransformerLens on MLPs that it does not hook
@pytest.mark.parametrize("family", [*NORM_BEHIND, "Llama", "Qwen3"])
def test_a_norm_behind_the_projection_is_measured(family: str) -> None:
    small = family in ("Gemma2", "Olmo2", "Olmo3", "Exaone4", "Llama")  # as they are made, before any training
    hf = random_model(family, 0.02) if small else random_model(family, 0.3).bfloat16()
    model = load(hf)
    assert torch.equal(model(IDS), hf(IDS).logits)
    assert common_gain_acts(model) == (family not in NORM_BEHIND,) * 3


@pytest.mark.parametrize("family", ["Olmo2", "Exaone4"])
def test_a_layer_without_a_norm_in_front_passes_all_checks(family: str) -> None:
    model = load(random_model(family, 0.3))  # which runs the first half of the checks
    assert [check.name for check in (*batch_checks(model), finite_check(model)) if not check.passed] == []


@pytest.mark.parametrize("family", ["Gemma3Text", "Qwen3"])
def test_what_is_measured_is_what_doubled_weights_do(family: str) -> None:
    hf = random_model(family, 0.3)
    model = load(hf)
    before = hf(IDS).logits
    with torch.no_grad():
        for projection in output_projections(hf):
            projection.weight *= 2
    same = torch.allclose(hf(IDS).logits, before, atol=1e-4)
    assert common_gain_acts(model) == (not same,) * 3


def test_every_layer_is_measured_by_itself() -> None:
    hf = build("llama")
    with torch.no_grad():
        hf.model.layers[1].self_attn.o_proj.weight.zero_()
    assert common_gain_acts(load(hf)) == (True, False, True)
