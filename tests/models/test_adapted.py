"""Models with adapters: hooks see the adapted model, a gate folds beside the adapter and into the merged model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from adapted import QUIET, SIDES, adapted, folders, peft
from conftest import build

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load, load_plain
from lens_truth.models.provenance import setup_hash

pytestmark = QUIET
IDS = torch.tensor([[1, 5, 9, 31, 7, 22], [1, 44, 3, 17, 58, 6]])
GATE = HeadGate(1 + torch.rand(3, 4, generator=torch.Generator().manual_seed(0)))


def lora(targets: list[str] | str = "all-linear", **more: Any) -> Any:
    return peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, **more)


def two(hf: Any) -> Any:
    """Two adapters that act together, and one that does not."""
    model = adapted(hf, lora(SIDES))
    for name, targets in (("second", ["o_proj", "up_proj"]), ("idle", SIDES)):
        adapted(model, lora(targets), name=name)
    model.base_model.set_adapter(["default", "second"])
    return model


def disabled(hf: Any) -> Any:
    model = adapted(hf, lora())
    model.base_model.disable_adapter_layers()
    return model


def merged_in_place(hf: Any) -> Any:
    model = adapted(hf, lora(SIDES))
    model.merge_adapter()
    return model


def native(hf: Any) -> Any:
    """Transformers' own way to add an adapter."""
    hf.add_adapter(lora(SIDES))
    with torch.no_grad():
        for path, parameter in hf.named_parameters():
            if "lora_B" in path:
                parameter.normal_(0, 0.2)
    return hf.eval()


def gpt2(_: Any) -> Any:
    config = transformers.GPT2Config(
        vocab_size=60, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2, initializer_range=0.3
    )
    torch.manual_seed(0)
    return adapted(transformers.GPT2LMHeadModel(config).eval(), lora(["c_attn", "c_proj"], fan_in_fan_out=True))


def phi3(_: Any) -> Any:
    """Queries, keys and values in one."""
    config = transformers.Phi3Config(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    return adapted(transformers.Phi3ForCausalLM(config).eval(), lora(["qkv_proj", "o_proj"]))


KINDS: dict[str, Callable[[Any], Any]] = {
    "lora": lambda hf: adapted(hf, lora(lora_dropout=0.1)),
    "rslora and patterns": lambda hf: adapted(hf, lora(use_rslora=True, alpha_pattern={"o_proj": 9}, rank_pattern={"o_proj": 2})),
    "dora": lambda hf: adapted(hf, lora(SIDES, use_dora=True)),
    "bias": lambda hf: adapted(hf, lora(["q_proj", "v_proj"], bias="all")),
    "bias of B": lambda hf: adapted(hf, lora(["q_proj"], lora_bias=True)),
    "saved whole": lambda hf: adapted(hf, lora(["q_proj"], modules_to_save=["o_proj", "lm_head"])),
    "embeddings": lambda hf: adapted(hf, lora(["embed_tokens", "o_proj"])),
    "both embeddings": lambda hf: adapted(hf, lora(["embed_tokens", "lm_head"])),
    "tokens": lambda hf: adapted(hf, lora(["o_proj"], trainable_token_indices=[5, 9])),
    "ia3": lambda hf: adapted(hf, peft.IA3Config(target_modules=["k_proj", "v_proj", "o_proj"], feedforward_modules=["o_proj"])),
    "two": two,
    "disabled": disabled,
    "merged in place": merged_in_place,
    "native": native,
    "gpt2": gpt2,
    "phi3": phi3,
}  # fmt: skip
TIED = ("bias", "bias of B", "embeddings", "both embeddings", "tokens")


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("site", ["z", "block"])
def test_folded_equals_attached(kind: str, site: Any, tmp_path: Path) -> None:
    model = KINDS[kind](build("llama-bias-tied" if kind in TIED else "llama-gqa-head-dim"))
    gate = HeadGate(GATE.values, site)
    with torch.no_grad():
        plain = model(IDS).logits
        hooked = load(model)
        assert torch.equal(hooked(IDS), plain)
        with gate.attach(hooked):
            attached = model(IDS).logits
        merged, kept = gate.fold_into(model), gate.fold_into(hooked, keep_adapter=True)
        assert (attached - plain).abs().max() > 0.1
        assert torch.allclose(merged(IDS).logits, attached, atol=1e-4)
        assert torch.allclose(kept(IDS).logits, attached, atol=1e-4)
        assert torch.equal(model(IDS).logits, plain)
        merged.save_pretrained(tmp_path)
        assert torch.equal(load_plain(str(tmp_path))(IDS).logits, merged(IDS).logits)
