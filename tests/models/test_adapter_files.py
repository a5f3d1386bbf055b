"""Adapters on disk: what `weights` compares is what `merge_and_unload` makes; what is no adapter of the base is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build, refused
from safetensors.torch import load_file, save_file

from lens_truth.errors import InputError
from lens_truth.lineage.kept import MEASURES
from lens_truth.lineage.weights import weight_similarity
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.names import base_and_adapter

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # of PEFT 0.21 at Transformers
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]

SIDES = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(r=3, lora_alpha=5, target_modules=[*SIDES, "up_proj"]),
    "rslora": lambda: peft.LoraConfig(r=3, use_rslora=True, target_modules=SIDES),
    "patterns": lambda: peft.LoraConfig(
        r=2, rank_pattern={"1.self_attn.q_proj": 4}, alpha_pattern={"o_proj": 7}, target_modules=SIDES
    ),
    "some layers": lambda: peft.LoraConfig(r=2, target_modules=["q_proj", "o_proj"], layers_to_transform=[1]),
    "dora": lambda: peft.LoraConfig(r=2, use_dora=True, target_modules=SIDES),
    "pissa": lambda: peft.LoraConfig(r=2, init_lora_weights="pissa", target_modules=SIDES),
    "bias": lambda: peft.LoraConfig(r=2, bias="all", lora_bias=True, target_modules=["q_proj"]),
    "saved whole": lambda: peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["o_proj", "lm_head"]),
    "mlp only": lambda: peft.LoraConfig(r=2, target_modules=["up_proj"]),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "v_proj", "o_proj"], feedforward_modules=["o_proj"]),
    "loha": lambda: peft.LoHaConfig(r=2, alpha=4, target_modules=SIDES),
    "oft": lambda: peft.OFTConfig(r=0, oft_block_size=4, target_modules=SIDES),
}


def adapted(hf: Any, config: Any, seed: int = 3) -> Any:
    """A model with an adapter whose weights are drawn: new ones leave it as it is."""
    model = peft.get_peft_model(hf, config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def folders(tmp_path: Path, config: Any, family: str = "llama-bias-tied") -> tuple[Path, Path]:
    """A base and an adapter on it."""
    build(family).save_pretrained(tmp_path / "base")
    model = adapted(build(family), config)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "base", tmp_path / "adapter"


@pytest.mark.parametrize("kind", list(KINDS))
def test_equals_the_merged_model(kind: str, tmp_path: Path) -> None:
    family = "llama-bias-tied" if kind == "bias" else "llama-gqa-head-dim"
    base, adapter = folders(tmp_path, KINDS[kind](), family)
    merged = peft.PeftModel.from_pretrained(build(family), adapter).merge_and_unload()
    checkpoint, plain, changed = open_checkpoint(f"{base}+{adapter}"), open_checkpoint(base), 0
    for layer, side in product(range(3), "qkvo"):
        weight = checkpoint.projection(layer, side)  # type: ignore[arg-type]
        assert torch.equal(weight, merged.model.layers[layer].self_attn.get_submodule(f"{side}_proj").weight)
        changed += not torch.equal(weight, plain.projection(layer, side))  # type: ignore[arg-type]
    assert changed == {"some layers": 2, "bias": 3, "saved whole": 6, "mlp only": 0, "ia3": 9}.get(kind, 12)
