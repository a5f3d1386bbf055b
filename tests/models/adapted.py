"""Tiny models with adapters, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build

peft: Any = pytest.importorskip("peft")

QUIET = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # of PEFT 0.21 at Transformers 5.23
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]
SIDES = ["q_proj", "k_proj", "v_proj", "o_proj"]


def adapted(hf: Any, config: Any, seed: int = 3, name: str = "default") -> Any:
    """A model with an adapter whose weights are drawn: new ones leave it as it is."""
    model = peft.get_peft_model(hf, config, name) if not isinstance(hf, peft.PeftModel) else hf
    if model is hf:
        hf.add_adapter(name, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if f".{name}" in path or ("bias" in path and parameter.requires_grad):
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def folders(tmp_path: Path, config: Any, family: str = "llama-gqa-head-dim") -> tuple[Path, Path]:
    """A base and an adapter on it."""
    build(family).save_pretrained(tmp_path / "base")
    adapted(build(family), config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "base", tmp_path / "adapter"
