"""A tiny random model of any model type that Transformers can build: its class's default config, shrunk by name."""

from __future__ import annotations

import re
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto import modeling_auto

VOCAB = 96
_LAYERS = 3
_MOST = 50_000_000
"""Weights; what is larger was not shrunk."""

_SIZES: tuple[tuple[str, int], ...] = (
    (r".*vocab_size.*", VOCAB),
    (r"(num_)?(hidden_|decoder_|encoder_)?layers|n_layers?|num_blocks|depth", _LAYERS),
    (r"(num_|decoder_|encoder_|num_decoder_|num_encoder_|swa_num_)?(attention_)?heads|n_heads?", 4),
    (r"(swa_)?num_(key_value_heads|kv_heads|query_groups)", 2),
    (r"(swa_)?head_dim|kv_channels|dim_head|d_head|attention_head_(size|dim)", 24),
    (r"hidden_size|n_embd|d_model|emb_dim|embed_dim|embedding_(size|dim)|word_embed_proj_dim|lru_width|hidden_dim", 64),
    (r".*(intermediate|ffn_hidden|feed_forward).*size.*|d_inner|dff|dim_ff|(decoder_|encoder_)?ffn_dim|n_inner", 48),
    (r"(num_|n_)(routed_|local_)?experts|moe_num_experts", 4),
    (r"num_experts_per_tok(en)?|moe_(topk|k)|top_k_experts", 2),
    (r"(n_|num_|moe_num_)shared_experts", 1),
    (r"n_group|num_expert_group|topk_group", 1),
    (r"(kv|q|o)_lora_rank", 12),
    (r"(qk_(rope|nope)_head|rotary)_dim", 16),
    (r"qk_head_dim", 32),
    (r"v_head_dim", 20),
    (r"index(er)?_n_heads|(linear_num|indexer)_(key|kv)_heads", 2),
    (r"index_block_size", 5),
    (r"index_topk", 64),
    (r"index(er)?_head_dim|linear_(key_|value_)?head_dim|mamba_(d_head|head_?dim)", 16),
    (r"linear_num_(value_)?heads", 4),
    (r"mamba_(n|num)_heads", 8),
    (r"mamba_d_(state|ssm)|(ssm_)?state_size|(mamba_)?chunk_size", 8),
    (r"(mamba_dt|adapter|time_step|gated_norm|laurel|hc_low)_?rank", 4),
    (r"max_position_embeddings|n_positions|n_ctx|max_seq_len|max_target_positions|context_length", 128),
    (r"sliding_window(_size)?|window_size|local_attention|attention_(chunk|window)_size", 6),
    (r"first_k_dense_replace|num_dense_layers", 1),
)
_LISTS = re.compile(r".*_(types|layers|type)|layers_block_type|block_types|.*_per_layer|.*_pattern|layer_rope_theta")

_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_D_16 = {"head_dim": 16}
_STARTS: dict[str, dict[str, Any]] = {
    "gemma4_assistant": {
        "text_config": {
            "model_type": "gemma4_text",
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
        }
    },
}
"""Without which a class has no default config."""
_MROPE = {"rope_parameters": _ROPE | {"mrope_section": [2, 3, 3]}}
_OMNI = {"vision_start_token_id": 3, "audio_start_token_id": 4}
_EXCEPTIONS: dict[str, dict[str, Any]] = {
    "blenderbot": {"encoder_layers": 3},
    "chameleon": {"vocabulary_map": {"<image>": 4}},
    "blt": {"encoder_hash_byte_group_vocab": 50},
    "blt_local_encoder": {"hidden_size_global": 64},
    "blt_local_decoder": {"hidden_size_global": 64},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}},
    "bamba": {"attn_layer_indices": [1]},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE}},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "intermediate_size": [48] * 4,
        "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
        "hidden_size_per_layer_input": 8,
    },
    "gemma4_text": {"global_head_dim": 32, "hidden_size_per_layer_input": 8},
    "gemma4_assistant": {
        "text_config": {
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
            "num_kv_shared_layers": 3,
        }
    },
    "gemma4_unified_assistant": {"text_config": {"num_kv_shared_layers": 3}},
    "deepseek_v2": {"num_experts_per_tok": 2, "topk_method": "greedy"},
    "dots3_note_text": {
        "layer_types": ["indexed_attention", "indexed_attention", "sliding_attention"],
        "per_layer_config": {
            2: {"num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 16, "qk_nope_head_dim": 32}
        },
        "head_dim": 48,
    },
    "falcon_h1": {"mamba_n_heads": 8, "mamba_d_ssm": 64},
    "gemma4_unified_text": {"global_head_dim": 32},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
    "hunyuan_v1_dense": _D_16,
    "hunyuan_v1_moe": _D_16,
    "hunyuan_vl_text": _D_16 | {"rope_parameters": _ROPE | {"xdrope_section": [2, 2, 2, 2]}},
    **dict.fromkeys(("qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text"), _MROPE),
    **dict.fromkeys(("glm_ocr_text", "glm4v_text", "qwen3_omni_moe_text"), _MROPE),
    **dict.fromkeys(("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker"), _OMNI),
    "glm4v_moe_text": {
        "rope_parameters": _ROPE | {"partial_rotary_factor": 0.5, "mrope_section": [1, 1, 2]},
    },
    "mistral4": {"head_dim": 32},
    "paddleocr_vl_text": _MROPE | _D_16,
    "step3p5": {"sliding_window": 6},
    "dots3_note_vision_encoder": {"adapter_in_dim": 64, "adapter_out_dim": 64},
    "dots3_note_audio_encoder": {"adapter_input_size": 64, "adapter_out_dim": 64},
    "inkling2_vision": {"text_hidden_size": 64},
    "granite_docling_vision": {"out_hidden_size": 64},
    "helium": _D_16,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_hidden_layers": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "ministral": _D_16,
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"]},
    "qwen4_exp_text": {
        "head_dim": 16,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 1,
    },
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "lsh", "local"],
        "axial_pos_shape": [16, 8],
        "axial_pos_embds_dim": [32, 32],
    },
    "xlm": {"causal": True},
    "xlnet": {"d_head": 16},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_hidden_layers": 4},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_hidden_layers": 4},
    "xmod": {"default_language": "en_XX"},
}


def tiny(model_type: str, **more: Any) -> Any:
    """A random model in evaluation mode whose heads all matter, of a causal or image-text-to-text model type."""
    config = tiny_config(model_type, **more)
    causal = model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    auto: Any = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForImageTextToText
    if model_type.startswith("musicgen"):  # whose decoder's config AutoModelForCausalLM does not know
        named = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]
        return randomised(getattr(transformers, named)(config.decoder).eval())
    with torch.device("meta"):
        n = sum(parameter.numel() for parameter in auto.from_config(config).parameters())
    if n > _MOST:
        raise ValueError(f"{model_type}: {n:,} weights are not tiny")
    torch.manual_seed(7)
    return randomised(auto.from_config(config).eval())


def tiny_config(model_type: str, **more: Any) -> Any:
    """The config of such a model; of a model whose decoder is a part with a class of its own, that part's."""
    kind: Any = CONFIG_MAPPING[model_type]
    return of_parts(kind(**_STARTS.get(model_type, {})), more)


def of_parts(config: Any, more: dict[str, Any]) -> Any:
    """A small config with others in it, of which a part may have exceptions of its own."""
    small = shrunk(config)
    for name, value in (_EXCEPTIONS.get(config.model_type, {}) | more).items():
        part = getattr(config, name, None)
        small[name] = of_parts(part, value) if isinstance(part, PreTrainedConfig) else value
    return type(config)(**small)


def shrunk(config: Any) -> dict[str, Any]:
    """Arguments that make a small config of the same kinds of layers."""
    small: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            small[name] = of_parts(value, {})
        elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
            if sizes := [size for pattern, size in _SIZES if re.fullmatch(pattern, name)]:
                small[name] = min(value, *sizes)
        elif isinstance(value, list) and 1 < len(value) != len({*map(str, value)}) and _LISTS.fullmatch(name):
            lists[name] = value
        elif name == "rope_parameters" and value and "mrope_section" in value:
            small |= {name: value | {"mrope_section": [2, 3, 3]}, "head_dim": 16}
        if name.endswith("_token_id") or name.endswith("_token_index"):
            small[name] = None if value is None else 1 + len(name) % 7
    if getattr(config, "is_decoder", None) is False:
        small["is_decoder"] = True  # without it, BERT and its kin look at later tokens
    if "kv_lora_rank" in small:
        small |= {"num_key_value_heads": 4}  # latent keys and values are expanded to all heads
        small |= {"head_dim": 16} if "head_dim" in small else {}
    kept = one_of_each(list(lists.values()))
    small |= {name: [value[i] for i in kept] for name, value in lists.items()}
    if kept:
        small |= {name: len(kept) for name in small if name in ("num_hidden_layers", "num_layers", "n_layer")}
    return small


def one_of_each(lists: list[list[Any]]) -> list[int]:
    """The fewest first layers in which every value of every list occurs, three at least; in their order."""
    if not lists:
        return []
    kept: set[int] = set()
    for values in lists:
        seen = {str(values[i]) for i in kept if i < len(values)}
        for i, value in enumerate(values):
            if str(value) not in seen:
                seen.add(str(value))
                kept.add(i)
    n = min(len(values) for values in lists)
    for i in range(n):
        if len(kept) < _LAYERS:
            kept.add(i)
    return sorted(i for i in kept if i < n)


def randomised(model: Any) -> Any:
    """Weights large enough for every head to matter, and no gain or bias as it is before training."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            if parameter.ndim > 1:
                parameter.copy_(noise * 1.2 / parameter.shape[-1] ** 0.5)
            else:
                parameter.add_(noise * 0.2)
    return model
