"""A few of what `make architectures` tries on every class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from architectures.examine import examine
from architectures.sweep import CAUSAL, PAGE, page, types_in
from architectures.tiny import tiny
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from lens_truth.errors import InputError
from lens_truth.models.loading import load
from lens_truth.models.ownership import shared_by_heads
from lens_truth.models.selftest import batch_checks, finite_check

RIGHT = {
    "gpt2": ("4 x 16", "plain"),
    "gpt_neox": ("4 x 16", "plain"),
    "gptj": ("4 x 16", "plain"),
    "opt": ("4 x 16", "plain"),
    "bloom": ("4 x 16", "plain"),
    "falcon": ("4 x 16", "plain"),
    "mpt": ("4 x 16", "plain"),
    "phi3": ("4 x 16", "plain"),
    "olmo2": ("4 x 16", "plain"),
    "cohere2": ("4 x 24", "plain"),
    "deepseek_v3": ("4 x 20", "plain"),
    "gpt_oss": ("4 x 24", "plain"),
    "qwen3_next": ("4 x 24", "gated"),
    "gemma4_text": ("4 x 24/32", "plain"),
    "mixtral": ("4 x 16", "plain"),
    "bitnet": ("4 x 16", "normed together"),
    "hy_v4": ("4 x 20", "gated"),
}
"""Heads x width, and what z is."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", RIGHT)
def test_a_class_is_accepted_and_right(model_type: str) -> None:
    row = examine(model_type)
    assert (row.refused, row.wrong, row.heads, row.z) == ("", [], *RIGHT[model_type])
    assert len(row.passed) >= 18


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model_type", "reason", "more"),
    [
        ("bert", "no token sees those behind it", {"is_decoder": False}),
        ("diffllama", "hook_z of a head is what its own attention gives out", {}),
        ("longcat_flash", r"several attentions \(self_attn.0, self_attn.1\)", {}),
        ("mamba", "no decoder layers whose attention ends in an output projection", {}),
        ("hrm_text", "once a pass", {}),
        ("blt", "states no one width of a residual stream", {}),
        ("dots3_note_text", "differ in the number of heads", {}),
    ],
)
def test_a_class_is_refused_with_the_reason(model_type: str, reason: str, more: dict[str, bool]) -> None:
    with pytest.raises(InputError, match=reason):
        load(tiny(model_type, **more))


@pytest.mark.parametrize("model_type", ["gpt2", "gemma3n_text"])
def test_check_passes(model_type: str) -> None:
    model = load(tiny(model_type))
    assert [check.name for check in [*batch_checks(model), finite_check(model)] if not check.passed] == []


def test_an_encoder_with_a_decoder_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    transformers.T5Config().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(InputError, match="is an encoder with a decoder"):
        load(tmp_path)


def test_the_text_of_a_multimodal_model_alone_loads_from_a_folder(tmp_path: Path) -> None:
    tiny("emu3").save_pretrained(tmp_path)
    assert type(load(tmp_path).original_model).__name__ == "Emu3ForCausalLM"


def test_heads_are_told_apart_under_an_attention_that_is_not_seen() -> None:
    def unseen(*args: Any, **how: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return sdpa_attention_forward(*args, **how)

    transformers.AttentionInterface.register("unseen", unseen)
    transformers.AttentionMaskInterface.register("unseen", sdpa_mask)
    hf = tiny("llama")
    hf.set_attn_implementation("unseen")
    assert shared_by_heads(load(hf)) < 1e-3


def test_the_page_names_the_installed_classes() -> None:
    version, types = types_in(PAGE.read_text(encoding="utf-8"))
    if version != transformers.__version__:
        pytest.skip(f"docs/architectures.md is about Transformers {version}")
    assert types >= set(CAUSAL)


def test_the_page_says_what_was_found() -> None:
    made = page([examine("opt")])
    assert types_in(made) == (transformers.__version__, {"opt"})
    assert "| `opt` | OPTForCausalLM | 3 of 3 | 4 x 16 | attention's output |  |" in made
