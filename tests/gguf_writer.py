"""Writes tiny models to GGUF as llama.cpp's `convert_hf_to_gguf.py` does, apart from what reads them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFWriter, get_tensor_name_map
from gguf.constants import GGML_QUANT_SIZES, MODEL_ARCH_NAMES, GGMLQuantizationType
from gguf.quants import quantize

ARCH = {"qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gemma3_text": "gemma3"}
F32, F16, BF16, Q8_0 = (GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0"))


def write_gguf(path: Path, hf: Any, kind: Any = F32, *, tokenizer: Any = None, parts: int = 0, **more: Any) -> Path:
    """`more`: entries under the architecture's name, or (with a dot in front) under their own; None leaves one
    out. `parts`: tensors in one file, if there are to be several; `exchanged`: tensors by name, as they are to be
    stored, and how; `without`: a tensor left out; `more`: tensors besides."""
    config = hf.config
    arch = ARCH.get(config.model_type, config.model_type)
    writer = GGUFWriter(path, arch, split_max_tensors=parts)
    entries = {f"{arch}.{key}": value for key, value in entries_of(config).items()}
    exchanged, without, further = (more.pop(key, {}) for key in ("exchanged", "without", "more"))
    entries |= {key[1:] if key[0] == "." else f"{arch}.{key}": value for key, value in more.items()}
    for key, value in entries.items():
        if value is not None:
            add(writer, key, value)
    if tokenizer is not None:
        add_tokenizer(writer, tokenizer)
    for name, weights in tensors_of(hf, arch):
        if name == without:
            continue
        if name in exchanged:
            writer.add_tensor(name, exchanged[name][0], raw_dtype=exchanged[name][1])
            continue
        stored = kind if weights.ndim > 1 and kind != F32 and weights.shape[-1] % 32 == 0 else F32
        writer.add_tensor(name, quantize(weights, stored), raw_dtype=stored)
    for name, weights in further.items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add(writer: Any, key: str, value: Any) -> None:
    how = {bool: "bool", int: "uint32", float: "float32", str: "string", list: "array"}[type(value)]
    getattr(writer, f"add_{how}")(key, value)


def entries_of(config: Any) -> dict[str, Any]:
    rope = getattr(config, "rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)
    n_heads = config.num_attention_heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    names = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps")
    eps = next(name for name in names if hasattr(config, name))
    rms = config.model_type in ("llama", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "gemma2", "gemma3_text", "phi3")
    rms = rms or config.model_type == "lfm2"
    inner = next(
        (getattr(config, n) for n in ("intermediate_size", "ffn_hidden_size", "n_inner") if hasattr(config, n)), 0
    )
    entries = {
        "block_count": config.num_hidden_layers,
        "context_length": getattr(config, "max_position_embeddings", 64),
        "embedding_length": config.hidden_size,
        "feed_forward_length": inner or 4 * config.hidden_size,
        "attention.head_count": n_heads,
        "attention.head_count_kv": 1
        if config.model_type == "falcon"
        else getattr(config, "num_key_value_heads", n_heads),
        f"attention.layer_norm_{'rms_' if rms else ''}epsilon": getattr(config, eps),
        "rope.freq_base": rope.get("rope_theta"),
        "vocab_size": config.vocab_size,
    }
    entries |= scaling_of(config, rope)
    if config.model_type in ("gpt2", "bloom", "falcon"):
        entries["rope.freq_base"] = None
    else:
        entries["rope.dimension_count"] = int(d_head * rope.get("partial_rotary_factor", 1.0))
    if getattr(config, "head_dim", None) and config.model_type not in ("falcon",):
        entries |= {"attention.key_length": d_head, "attention.value_length": d_head}
    for key in ("sliding_window",):
        if config.model_type in ("gemma2", "gemma3_text", "phi3", "starcoder2") and getattr(config, key):
            entries[f"attention.{key}"] = getattr(config, key)
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        entries[key] = getattr(config, key, None)
    if hasattr(config, "num_experts"):
        entries |= {"expert_count": config.num_experts, "expert_used_count": config.num_experts_per_tok}
        entries["expert_feed_forward_length"] = config.moe_intermediate_size
        entries["expert_shared_feed_forward_length"] = getattr(config, "shared_expert_intermediate_size", None)
    if config.model_type == "lfm2":
        by_layer = [config.num_key_value_heads if kind == "full_attention" else 0 for kind in config.layer_types]
        entries |= {"attention.head_count_kv": by_layer, "shortconv.l_cache": config.conv_L_cache}
    return entries


def permuted(weights: Any, n_heads: int) -> Any:
    """How llama.cpp reorders the rows of queries and keys: pairs that are rotated together stand side by side."""
    return (
        weights.reshape(n_heads, 2, weights.shape[0] // n_heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


def for_positions(config: Any) -> Any:
    """What the angles of rotation are divided by, in Llama 3.1 and in a Phi-3 for long texts."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":
        d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        plain = rope["rope_theta"] ** -(np.arange(0, d_head, 2) / d_head)
        waves, original = 2 * np.pi / plain, rope["original_max_position_embeddings"]
        low, high = original / rope["low_freq_factor"], original / rope["high_freq_factor"]
        smooth = (original / waves - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
        between = 1 / ((1 - smooth) / rope["factor"] + smooth)
        yield "rope_freqs.weight", np.where(waves < high, 1, np.where(waves > low, rope["factor"], between))
    if rope.get("rope_type") == "longrope":
        for which in ("long", "short"):
            yield f"rope_factors_{which}.weight", np.array(rope[f"{which}_factor"])


def scaling_of(config: Any, rope: Any) -> dict[str, Any]:
    how = rope.get("rope_type", "default")
    if how in ("default", "llama3"):
        return {}
    scaling = {"rope.scaling.original_context_length": rope.get("original_max_position_embeddings")}
    if how == "longrope":
        longer, original = config.max_position_embeddings, rope["original_max_position_embeddings"]
        scaling["rope.scaling.attn_factor"] = math.sqrt(1 + math.log(longer / original) / math.log(original))
    else:
        scaling |= {"rope.scaling.type": how, "rope.scaling.factor": rope["factor"]}
    return scaling


def tensors_of(hf: Any, arch: str) -> Any:
    config = hf.config
    yield from ((name, numbers.astype(np.float32)) for name, numbers in for_positions(config))
    names = get_tensor_name_map(
        next(a for a, name in MODEL_ARCH_NAMES.items() if name == arch), config.num_hidden_layers
    )
    for name, tensor in hf.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        weights = tensor.float().numpy()
        layer = name.split(".")[2] if "layers" in name or ".h." in name else ""
        if name.endswith("experts.gate_up_proj"):
            gate, up = np.split(weights, 2, axis=1)
            yield from ((f"blk.{layer}.ffn_gate_exps.weight", gate), (f"blk.{layer}.ffn_up_exps.weight", up))
            continue
        if name.endswith("experts.down_proj"):
            yield f"blk.{layer}.ffn_down_exps.weight", weights
            continue
        stem, _, end = name.rpartition(".")
        found = names.get_name(stem.removeprefix("transformer.") if arch == "bloom" else stem)
        assert found is not None, name
        if arch == "llama" and ("q_proj" in name or "k_proj" in name):
            weights = permuted(weights, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
        if arch in ("gemma2", "gemma3", "nemotron") and found.endswith("norm") and end == "weight":
            weights = weights + 1
        if arch == "gpt2" and weights.ndim == 2 and ".h." in name:
            weights = weights.T
        if arch == "bloom" and "query_key_value" in name:
            parts = weights.reshape(config.n_head, 3, config.hidden_size // config.n_head, *weights.shape[1:])
            weights = np.concatenate([parts[:, i].reshape(-1, *weights.shape[1:]) for i in range(3)])
        if "shared_expert_gate" in name:
            weights = weights[0]
        if "conv.conv" in name:
            weights = weights[:, 0]
        yield f"{found}.{end}", np.ascontiguousarray(weights, dtype=np.float32)


def add_tokenizer(writer: Any, tokenizer: Any, split: str = "gpt-2") -> None:
    """A byte-level BPE tokenizer, whose text begins with its token for that."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab, kinds = (
        tokenizer.get_vocab(),
        {token["content"]: 3 if token["special"] else 4 for token in state["added_tokens"]},
    )
    tokens = sorted(vocab, key=vocab.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, 1) for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(True)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def tiny(model_type: str, **settings: Any) -> Any:
    """A random model with norms and biases that are not what they begin as."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    torch.manual_seed(0)
    hf: Any = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**settings)).eval()
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter) * 0.2)
            elif "norm" not in name:
                parameter.mul_(5)
    return hf


def projections(hf: Any, name: str) -> dict[str, Any]:
    """Its output projections in a format, to be `exchanged`; random blocks where `gguf` only reads the format."""
    kind, found = GGMLQuantizationType[name], dict[str, Any]()
    for layer, block in enumerate(hf.model.layers):
        weights = block.self_attn.o_proj.weight.detach().numpy()
        try:
            stored = quantize(weights, kind)
        except NotImplementedError:
            n_blocks = weights.shape[1] // GGML_QUANT_SIZES[kind][0]
            stored = random_blocks(np.random.default_rng(layer), name, len(weights), n_blocks).reshape(len(weights), -1)
        found[f"blk.{layer}.attn_output.weight"] = stored, kind
    return found


def random_blocks(rng: Any, name: str, n_rows: int, n_blocks: int) -> Any:
    """Blocks of any format: random codes and integers, scales that leave weights below 1 or so."""
    from lens_truth.gates.gguf_formats import FORMATS

    n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    blocks = rng.integers(0, 256, (n_rows, n_blocks, n_bytes), dtype=np.uint8)
    for at in FORMATS[name].scales:
        scale = rng.uniform(5e-4, 5e-3, (n_rows, n_blocks, 1)).astype("<f2")
        blocks[..., at : at + 2] = scale.view(np.uint8)
    if name == "Q8_0":
        blocks[blocks == 128] = 129  # a code of -128 is not in use
    return blocks
