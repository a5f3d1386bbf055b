"""The config of a model in Transformers from what its GGUF file says of it.

Transformers has a table of names for this (`GGUF_CONFIG_MAPPING`), from which it leaves much to the defaults of its
classes: scaled rotary frequencies (Llama 3.1 and later, YaRN, long Phi-3), rotation of a part of a head, biases, head
widths, how queries are scaled. What the file says is taken here; what a class has no place for is refused.
"""

from __future__ import annotations

import re
from typing import Any, cast

import numpy as np
import torch
from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.integrations.ggml import GGUF_CONFIG_DEFAULTS_MAPPING, GGUF_CONFIG_MAPPING
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from lens_truth.errors import InputError, first_line
from lens_truth.models.gguf_header import Gguf

ARCHITECTURES = {
    "bloom": "bloom",
    "falcon": "falcon",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "gpt2": "gpt2",
    "lfm2": "lfm2",
    "llama": "llama",
    "nemotron": "nemotron",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen2moe": "qwen2_moe",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "stablelm": "stablelm",
    "starcoder2": "starcoder2",
}
"""What llama.cpp calls an architecture, and its model type in Transformers. Models of each are written to GGUF files as
llama.cpp writes them, and read back (`tests/models/test_gguf_architectures.py`)."""

_EPSILON = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps")
_MORE = {
    "attention.key_length": "head_dim",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "expert_weights_norm": "norm_topk_prob",
    "final_logit_softcapping": "final_logit_softcapping",
}
"""Entries that hold wherever the class has an attribute for them."""
_OF = {
    "gpt2": {"context_length": "n_positions", "feed_forward_length": "n_inner"},
    "phi3": {"attention.sliding_window": "sliding_window"},
    "starcoder2": {"attention.sliding_window": "sliding_window"},
}
_SCALES = ("attention.clamp_kqv", "attention.scale", "embedding_scale", "logit_scale", "residual_scale")
"""What some kinds of Llama multiply by, for which their class in Transformers has no place."""
_NEEDED = ("attention.head_count", "block_count", "embedding_length")
"""Without these, a class would take the numbers of one model for any."""
_PART_ROTATED = ("nemotron", "phi3", "stablelm")
_NOT_ROTATED = ("bloom", "gpt2")
_SCALED_BY_WIDTH = {"gemma2": 46, "gemma3": 62}
"""Layers of the 27B models, whose queries are scaled by the model's width over the number of heads, those of others by
the width of a head. No entry says so; llama.cpp knows it in the same way."""
_MULTI_QUERY = 1


def gguf_config(file: Gguf) -> PreTrainedConfig:
    """The config of the file's language model; an InputError refuses what is none, or what cannot be read rightly."""
    _check_kind(file)
    name = file.architecture
    model_type = ARCHITECTURES[name]
    kind: Any = CONFIG_MAPPING[model_type]
    table = cast("dict[str, str | None]", GGUF_CONFIG_MAPPING[model_type.removesuffix("_text")])
    more = {entry: key for entry, key in _MORE.items() if hasattr(kind, key)}
    names = {**table, **more, **_OF.get(name, {})}
    values: dict[str, Any] = dict(GGUF_CONFIG_DEFAULTS_MAPPING.get(model_type, {}))
    values |= {key: _plain(file.own(entry)) for entry, key in names.items() if key and file.own(entry) is not None}
    for entry, key in cast("dict[str, str]", GGUF_CONFIG_MAPPING["tokenizer"]).items():
        if hasattr(kind, key):  # without an entry there is no such token, whatever the class takes for it
            values[key] = file.metadata.get(f"tokenizer.{entry}")
    for entry in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"):
        if (epsilon := file.own(entry)) is not None:
            values[next(key for key in _EPSILON if hasattr(kind, key))] = _plain(epsilon)
    values["tie_word_embeddings"] = "output.weight" not in file.tensors
    try:
        values["vocab_size"] = file.tensors["token_embd.weight"].shape[0]
        values |= _special(file, values)
        values |= _rotation(file, values)
        config = cast("PreTrainedConfig", kind(**values))
        _check_frequencies(file, config)
        return config
    except InputError:
        raise
    except Exception as error:  # whatever a class makes of a damaged value
        raise InputError(f"model '{file.path}': its metadata make no config ({_said(error)})") from error


def ends_of_answers(file: Gguf) -> list[int]:
    """The tokens that end an answer: of the text, of a turn, of a message."""
    tokens = (file.metadata.get(f"tokenizer.ggml.{end}_token_id") for end in ("eos", "eot", "eom"))
    return sorted({token for token in tokens if isinstance(token, int)})


def _check_kind(file: Gguf) -> None:
    name, of = file.architecture, file.metadata.get("general.type", "model")
    if of == "adapter" or "adapter.type" in file.metadata:
        raise InputError(
            f"model '{file.path}' is an adapter without the model it is for: merge it with llama.cpp's "
            "`llama-export-lora`, or give the adapter and its model as Hugging Face folders"
        )
    if of == "mmproj" or name == "clip":
        raise InputError(f"model '{file.path}' is a vision tower alone; give the language model that belongs to it")
    if name not in ARCHITECTURES:
        raise InputError(
            f"model '{file.path}': its architecture '{name}' is not among those that are read from GGUF "
            f"({', '.join(ARCHITECTURES)}); give the checkpoint that it was made from"
        )
    if "token_embd.weight" not in file.tensors:
        raise InputError(f"model '{file.path}' lacks token_embd.weight, so it is no language model")
    said, held = file.own("block_count"), {tensor.split(".")[1] for tensor in file.tensors if tensor.startswith("blk.")}
    if said != len(held):
        raise InputError(f"model '{file.path}': its metadata say {said} layers, and it holds tensors of {len(held)}")
    epsilons = [entry for entry in file.metadata if re.search(r"\.layer_norm(_rms)?_epsilon$", entry)]
    for entry in [entry for entry in _NEEDED if file.own(entry) is None] or ([] if epsilons else ["an epsilon"]):
        raise InputError(f"model '{file.path}': its metadata lack {entry}; give the checkpoint that it was made from")
    for entry in _SCALES:
        if file.own(entry) not in (None, 0, 1):
            raise InputError(
                f"model '{file.path}': {name}.{entry} is {file.own(entry)}, for which Transformers' "
                f"{ARCHITECTURES[name]} has no place; give the checkpoint that it was made from"
            )


def _special(file: Gguf, values: dict[str, Any]) -> dict[str, Any]:
    """What one architecture or another needs beside its entries."""
    name, more = file.architecture, dict[str, Any]()
    n_heads = values.get("num_attention_heads", 0)
    if name != "bloom" and name != "gpt2":
        more["num_key_value_heads"] = values.get("num_key_value_heads", n_heads)
    biases = {part: f"blk.0.{part}.bias" in file.tensors for part in ("attn_q", "ffn_up")}
    if name == "llama":
        more |= {"attention_bias": biases["attn_q"], "mlp_bias": biases["ffn_up"]}
    if name == "stablelm":
        parallel, norms = "blk.0.ffn_norm.weight" not in file.tensors, "blk.0.attn_q_norm.weight" in file.tensors
        more |= {"use_qkv_bias": biases["attn_q"], "use_parallel_residual": parallel, "qk_layernorm": norms}
    if name == "falcon" and more["num_key_value_heads"] != _MULTI_QUERY:
        raise InputError(f"model '{file.path}': of Falcon only models with one KV head (7B) are read from GGUF")
    if name == "lfm2":
        by_layer: list[int] = values["num_key_value_heads"]
        more |= {"num_key_value_heads": max(by_layer), "block_auto_adjust_ff_dim": False}
        more |= {"layer_types": ["full_attention" if heads else "conv" for heads in by_layer]}
    if name in _SCALED_BY_WIDTH:
        of_width = values["num_hidden_layers"] == _SCALED_BY_WIDTH[name]
        more["query_pre_attn_scalar"] = values["hidden_size"] // n_heads if of_width else values["head_dim"]
    for key, value in (values | more).items():
        if isinstance(value, list) and key != "layer_types":
            raise InputError(f"model '{file.path}': its layers differ in {key}, for which Transformers has no place")
    return more


def _rotation(file: Gguf, values: dict[str, Any]) -> dict[str, Any]:
    """Rotary frequencies: their base, how they are scaled, and how much of a head they turn."""
    more: dict[str, Any] = {}
    if file.architecture not in _NOT_ROTATED:
        more["rope_theta"] = file.own("rope.freq_base", 10_000.0)  # as llama.cpp has it
    if (local := file.own("rope.freq_base_swa")) is not None:
        more["rope_local_base_freq"] = local
    turned = file.own("rope.dimension_count")
    width = values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"] if turned else None
    if turned and file.architecture in _PART_ROTATED:
        more["partial_rotary_factor"] = turned / width
    elif turned and turned != width:
        raise InputError(
            f"model '{file.path}': rotates {turned} of the {width} numbers of a head, for which Transformers' "
            f"{ARCHITECTURES[file.architecture]} has no place"
        )
    how, factor = file.own("rope.scaling.type", "none"), file.own("rope.scaling.factor", file.own("rope.scale_linear"))
    original = file.own("rope.scaling.original_context_length")
    scaling: dict[str, Any] = {}
    if "rope_factors_long.weight" in file.tensors:
        scaling = {"rope_type": "longrope", "factor": values["max_position_embeddings"] / original}
        scaling["attention_factor"] = file.own("rope.scaling.attn_factor", 1.0)
        scaling |= {f"{which}_factor": numbers(file, f"rope_factors_{which}.weight") for which in ("long", "short")}
        more["original_max_position_embeddings"] = original
    elif "rope_freqs.weight" in file.tensors:
        factor = max(numbers(file, "rope_freqs.weight"))
        if factor != 1:
            scaling = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
            scaling["original_max_position_embeddings"] = original or _LLAMA_3
    elif how == "yarn":
        betas = {key: file.own(f"rope.scaling.yarn_{key}") for key in ("beta_fast", "beta_slow")}
        scaling = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
        scaling |= {key: beta for key, beta in betas.items() if beta is not None}
    elif how in ("none", "linear"):
        scaling = {"rope_type": "linear", "factor": factor} if factor not in (None, 0, 1) else {}
    else:
        raise InputError(f"model '{file.path}': its rotary frequencies are scaled by '{how}', which is not read")
    return more | ({"rope_scaling": scaling} if scaling else {})


_LLAMA_3 = 8192
"""Positions before frequencies were scaled, in all that were scaled so (Llama 3.1 to 3.3)."""


def _check_frequencies(file: Gguf, config: PreTrainedConfig) -> None:
    """The file has what frequencies are divided by, the config has how it came about: both must say the same."""
    if "rope_freqs.weight" not in file.tensors:
        return
    factors = torch.tensor(numbers(file, "rope_freqs.weight"))
    of = cast("Any", config).rope_parameters
    plain = 1.0 / of["rope_theta"] ** (torch.arange(len(factors)) / len(factors))
    scaled = ROPE_INIT_FUNCTIONS["llama3"](config)[0] if of["rope_type"] == "llama3" else plain
    if scaled.shape != plain.shape or not torch.allclose(scaled, plain / factors, rtol=1e-3):
        raise InputError(f"model '{file.path}': its rotary frequencies are scaled in a way that is not Llama 3's")


def numbers(file: Gguf, name: str) -> list[float]:
    """A small tensor's numbers."""
    tensor = file.tensors[name]
    if tensor.kind != 0:
        raise InputError(f"model '{file.path}': {name} is not float32")
    return np.fromfile(tensor.file, "<f4", tensor.n_bytes // 4, offset=tensor.start).tolist()


def _plain(value: Any) -> Any:
    """A float32 as people write it: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _said(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
