"""Tiny models with quantised weights, and stand-ins for layers of packages that need a GPU or a compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from conftest import build
from torch import nn

GROUP = 64
"""Inputs that share a scale: as many as a head has."""
WIDE = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "head_dim": GROUP,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def tiny() -> Any:
    """Three layers of two heads, each as wide as a group."""
    return build("llama", **WIDE)


def quantised(kind: str, tmp_path: Path) -> Any:
    """The tiny model, read by Transformers with its weights quantised."""
    import transformers

    tiny().save_pretrained(tmp_path)
    auto: Any = transformers.AutoModelForCausalLM
    return auto.from_pretrained(tmp_path, quantization_config=_config(kind)).eval()


def _config(kind: str) -> Any:
    import transformers

    if kind.startswith(("nf4", "fp4")):
        double = kind.endswith("double")
        return transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type=kind[:3], bnb_4bit_use_double_quant=double
        )
    if kind == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    if kind.startswith("quanto"):
        return transformers.QuantoConfig(weights=kind.removeprefix("quanto-"))
    import torchao.quantization as ao

    group = ao.PerGroup(GROUP)
    return transformers.TorchAoConfig(
        {
            "torchao-int8": lambda: ao.Int8WeightOnlyConfig(),
            "torchao-int8-groups": lambda: ao.Int8WeightOnlyConfig(granularity=group),
            "torchao-int4-groups": lambda: ao.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=group),
            "torchao-float8": lambda: ao.Float8WeightOnlyConfig(),
            "torchao-8da4w": lambda: ao.Int8DynamicActivationIntxWeightConfig(
                weight_dtype=torch.int4, weight_granularity=group
            ),
        }[kind]()
    )


class Packed(nn.Module):
    """GPTQ's and AWQ's tensors as gptqmodel's layers hold them (integers side by side), and what they make of them."""

    def __init__(self, linear: nn.Linear, group: int, order: torch.Tensor | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features, self.group_size = linear.in_features, linear.out_features, group
        g_idx = (torch.arange(self.in_features) if order is None else order) // group
        weight = linear.weight.detach()
        scales = torch.stack([weight[:, g_idx == g].abs().amax(1) for g in range(self.in_features // group)]) / 7
        self.register_buffer("scales", scales.half())
        self.register_buffer("g_idx", g_idx.int())
        self.register_buffer("qweight", (weight.T / self.scales[g_idx]).round().to(torch.int8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (self.scales[self.g_idx.long()] * self.qweight).to(x.dtype)


class TorchLinear(Packed):
    """The name by which such a layer is known."""


class MarlinLinear(Packed):
    """Its like for another kernel, of whose tensors nothing is known."""


def packed(kind: type[Packed], group: int, order: torch.Tensor | None = None) -> Any:
    """The tiny model with packed output projections."""
    hf = tiny()
    for layer in hf.model.layers:
        layer.self_attn.o_proj = kind(layer.self_attn.o_proj, group, order)
    return hf
