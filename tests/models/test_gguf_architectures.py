"""Every architecture that is read from GGUF, written as llama.cpp writes it: the same logits as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("gguf")

from gguf_writer import tiny, write_gguf

from lens_truth.models.gguf_config import ARCHITECTURES, gguf_config
from lens_truth.models.gguf_header import opened_gguf
from lens_truth.models.loading import load_plain
from lens_truth.models.packages import CACHE


@pytest.fixture(autouse=True)
def _read_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.delenv(CACHE, raising=False)


SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}
WIDE = {**SIZES, "head_dim": 32}
GEMMA3 = {**WIDE, "num_hidden_layers": 7, "query_pre_attn_scalar": 32}
EXPERTS = {**SIZES, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
ROTARY = {"rope_theta": 5e4, "rope_type": "default"}
PART = {"rope_parameters": {**ROTARY, "partial_rotary_factor": 0.5}}
GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 96, "n_inner": 96}
LLAMA3 = {
    **ROTARY,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {**ROTARY, "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LINEAR = {**ROTARY, "rope_type": "linear", "factor": 4.0}
LONG = {
    **PART["rope_parameters"],
    "rope_type": "longrope",
    "long_factor": [1.5, 3, 4, 6],
    "short_factor": [1, 1, 1.5, 2],
}
LONG |= {"original_max_position_embeddings": 32}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {**SIZES, "tie_word_embeddings": True}),
    "llama, wide heads, biases": ("llama", {**WIDE, "attention_bias": True, "mlp_bias": True}),
    "qwen2": ("qwen2", {**SIZES, "rope_parameters": ROTARY}),
    "qwen3": ("qwen3", {**WIDE, "rope_parameters": ROTARY}),
    "qwen2moe": ("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 80}),
    "qwen3moe": ("qwen3_moe", {**EXPERTS, "head_dim": 32, "norm_topk_prob": True}),
    "gemma2": ("gemma2", {**WIDE, "query_pre_attn_scalar": 32, "sliding_window": 8}),
    "gemma3": ("gemma3_text", {**GEMMA3, "sliding_window": 8}),
    "phi3": ("phi3", {**SIZES, "sliding_window": 8, **PART}),
    "phi3, long": ("phi3", {**SIZES, "rope_parameters": LONG, "original_max_position_embeddings": 32}),
    "llama, 3.1": ("llama", {**WIDE, "rope_parameters": LLAMA3}),
    "llama, linear": ("llama", {**SIZES, "rope_parameters": LINEAR}),
    "qwen2, yarn": ("qwen2", {**SIZES, "rope_parameters": YARN}),
    "gemma3, linear": ("gemma3_text", {**GEMMA3, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "starcoder2": ("starcoder2", {**SIZES, "sliding_window": 8, "rope_parameters": ROTARY}),
    "stablelm": ("stablelm", {**SIZES, **PART, "use_qkv_bias": True}),
    "nemotron": ("nemotron", {**SIZES, **PART}),
    "falcon": ("falcon", {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 96}),
    "bloom": ("bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 96}),
    "gpt2": ("gpt2", GPT2),
    "lfm2": ("lfm2", {**SIZES, "layer_types": ["conv", "full_attention", "conv"], "block_auto_adjust_ff_dim": False}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_gguf_file_computes_what_its_model_did(name: str, tmp_path: Path) -> None:
    model_type, settings = MODELS[name]
    hf = tiny(model_type, **settings)
    assert model_type == hf.config.model_type
    ids = torch.randint(3, 90, (2, 24), generator=torch.Generator().manual_seed(1))
    loaded = load_plain(str(write_gguf(tmp_path / "it.gguf", hf)), attn="eager")  # two of them have nothing else
    assert loaded.dtype == torch.float32
    with torch.no_grad():
        ours, theirs = loaded(ids).logits, hf(ids).logits
    assert torch.allclose(ours, theirs, atol=1e-5 * float(theirs.abs().max())), float((ours - theirs).abs().max())


def test_the_27b_gemmas_scale_queries_by_their_width(tmp_path: Path) -> None:
    """Of which no entry tells, but the number of layers."""
    settings = {**WIDE, "num_hidden_layers": 46, "hidden_size": 32, "intermediate_size": 32, "sliding_window": 8}
    path = write_gguf(tmp_path / "it.gguf", tiny("gemma2", **settings, query_pre_attn_scalar=8))
    assert gguf_config(opened_gguf(path)).query_pre_attn_scalar == 8  # pyright: ignore[reportAttributeAccessIssue]


def test_an_answer_ends_with_its_turn_too(tmp_path: Path) -> None:
    ends = {".tokenizer.ggml.eos_token_id": 2, ".tokenizer.ggml.eot_token_id": 7, ".tokenizer.ggml.eom_token_id": 2}
    hf: Any = load_plain(str(write_gguf(tmp_path / "it.gguf", tiny("llama", **SIZES), **ends)))
    assert hf.generation_config.eos_token_id == [2, 7] and hf.config.eos_token_id == 2


def test_every_architecture_was_tried() -> None:
    assert {name.partition(",")[0] for name in MODELS} == set(ARCHITECTURES)
