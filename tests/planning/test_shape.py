"""Sizes of models, against models that are really made, and multiplications against those that PyTorch counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import FAMILIES, build, run
from multimodal import build_multimodal
from torch.utils.flop_counter import FlopCounterMode

from lens_truth.errors import InputError
from lens_truth.models.budget import Budget
from lens_truth.models.loading import load
from lens_truth.planning.counting import counted
from lens_truth.planning.llama import LLAMA_2, llava_child
from lens_truth.planning.reading import model_shape

TINY = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}
EXPERTS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "mixtral": ("MixtralConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}, 4, 2),
    "qwen3-moe": ("Qwen3MoeConfig", {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 16}, 8, 3),
    "olmoe": ("OlmoeConfig", {"num_experts": 6, "num_experts_per_tok": 2}, 6, 2),
    "gpt-oss": ("GptOssConfig", {"num_local_experts": 4, "num_experts_per_tok": 1, "layer_types": None}, 4, 1),
    "deepseek": (
        "DeepseekV3Config",
        {
            "n_routed_experts": 8,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "n_shared_experts": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
            "q_lora_rank": 12,
            "kv_lora_rank": 12,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
            "num_key_value_heads": 4,
        },
        8,
        2,
    ),
}
"""Class, its own entries, experts of a layer, and those that a token goes through."""


def with_experts(name: str) -> Any:
    kind, its, _, _ = EXPERTS[name]
    entries = {key: value for key, value in (TINY | its).items() if value is not None}
    torch.manual_seed(3)
    return transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**entries)).eval()


def real(hf: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in hf.parameters())


def test_every_weight_is_counted(family: str) -> None:
    hf = build(family)
    found, heads = counted("tiny", hf.config), load(hf).cfg
    assert found.n_parameters == real(hf)
    assert (found.n_layers, found.n_heads, found.d_head) == (3, heads.n_heads, heads.d_head)
    assert found.n_kv_heads == FAMILIES[family][1].get("num_key_value_heads", 4)
    linear = [module for module in hf.model.layers.modules() if isinstance(module, torch.nn.Linear)]
    assert found.n_per_token == sum(module.weight.numel() for module in linear)
    assert found.n_logits == hf.lm_head.weight.numel()
    assert found.weight_bytes == 4 * real(hf) and found.in_dtype("bfloat16").weight_bytes == 2 * real(hf)


@pytest.mark.parametrize("name", EXPERTS)
def test_of_experts_those_count_that_a_token_goes_through(name: str) -> None:
    _, _, n_experts, chosen = EXPERTS[name]
    hf = with_experts(name)
    found = counted(name, hf.config)
    assert found.n_parameters == real(hf)
    by_hand = 0
    for path, weight in hf.model.layers.named_parameters():
        if weight.ndim > 1 and not path.endswith("bias"):
            by_hand += weight.numel() * chosen // n_experts if ".experts." in path else weight.numel()
    assert 0 < found.n_per_token == by_hand < found.n_parameters


def test_a_multimodal_models_tower_is_counted_apart(tmp_path: Path) -> None:
    hf: Any = build_multimodal("llava", tmp_path)
    found = counted("llava", hf.config)
    assert found.n_parameters == real(hf) and found.vision is not None
    tower = [*hf.model.vision_tower.modules(), *hf.model.multi_modal_projector.modules()]
    linear = sum(module.weight.numel() for module in tower if isinstance(module, torch.nn.Linear))
    assert found.vision.n_per_token == linear > 0


@pytest.mark.parametrize(("name", "published"), [("7b", 6738415616), ("13b", 13015864320), ("70b", 68976648192)])
def test_llama_2s_shapes_are_those_of_its_class(name: str, published: int) -> None:
    shape = LLAMA_2[name]
    config = transformers.LlamaConfig(
        vocab_size=32_000,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_ff,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        max_position_embeddings=4096,
        dtype="bfloat16",
    )
    assert counted(name, config) == shape and shape.n_parameters == published


def test_llavas_child_is_that_of_its_classes() -> None:
    text = transformers.LlamaConfig(vocab_size=32_000, max_position_embeddings=4096, dtype="bfloat16")
    vision = transformers.CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    of_class = counted("7b", transformers.LlavaConfig(text_config=text, vision_config=vision))
    made = llava_child(LLAMA_2["7b"])
    assert made.vision == of_class.vision
    assert made.n_parameters == of_class.n_parameters


@pytest.mark.parametrize("name", [*FAMILIES, "mixtral", "qwen3-moe"])
def test_multiplications_are_those_that_torch_counts(name: str) -> None:
    hf = build(name) if name in FAMILIES else with_experts(name)
    hf.set_attn_implementation("eager")
    if name in EXPERTS and hasattr(hf, "set_experts_implementation"):
        hf.set_experts_implementation("eager")
    rows, tokens = 2, 24
    ids = torch.arange(rows * tokens).view(rows, tokens) % 50 + 3
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hf(ids, use_cache=False)
    wanted = counted(name, hf.config).forward_flops(rows * tokens, rows * tokens**2, rows * tokens)
    assert wanted == pytest.approx(counter.get_total_flops(), rel=1e-3)


def test_backward_passes_with_frozen_weights_take_as_many() -> None:
    hf = build("llama")
    hf.set_attn_implementation("eager")
    hf.requires_grad_(False)
    rows, tokens = 2, 40
    ids = torch.arange(rows * tokens).view(rows, tokens) % 50 + 3
    embedded = hf.get_input_embeddings()(ids).requires_grad_()
    total = hf(inputs_embeds=embedded, use_cache=False).logits.logsumexp(-1).sum()
    with FlopCounterMode(display=False) as counter:
        total.backward()
    wanted = counted("tiny", hf.config).backward_flops(rows * tokens, rows * tokens**2, rows * tokens)
    assert wanted == pytest.approx(counter.get_total_flops(), rel=1e-3)


def test_keys_and_values_are_those_of_the_cache() -> None:
    hf = build("llama-gqa-head-dim")
    with torch.no_grad():
        cache: Any = hf(torch.arange(7)[None] + 3, use_cache=True).past_key_values
    held = sum(its.numel() * its.element_size() for layer in cache.layers for its in (layer.keys, layer.values))
    assert 7 * counted("tiny", hf.config).kv_bytes == held


def test_activations_are_those_of_the_file(tiny: Any, tmp_path: Path) -> None:
    from lens_truth.data.loading import load_examples
    from lens_truth.scoring.capturing import capture

    capture(tiny, load_examples("zoo:text", limit=30), out=tmp_path)
    stored = np.load(tmp_path / "z.npy")
    assert counted("tiny", tiny.original_model.config).activation_bytes(30) == stored.nbytes


def test_tokens_at_once_take_what_capture_reckons(monkeypatch: pytest.MonkeyPatch, tiny: Any) -> None:
    shape = counted("tiny", tiny.original_model.config)
    monkeypatch.setattr("lens_truth.models.budget.device_of", lambda _: torch.device("cuda"))
    for backward in (False, True):
        free = 2 * 5000 * shape.bytes_per_token(backward=backward)
        monkeypatch.setattr("lens_truth.models.budget.free_memory", lambda _, free=free: free)
        assert Budget.of(tiny, backward=backward).tokens == 5000


def test_a_config_alone_is_enough(tmp_path: Path) -> None:
    hf = build("qwen2")
    hf.config.save_pretrained(tmp_path)
    for name in (str(tmp_path), str(tmp_path / "config.json")):
        assert model_shape(name).n_parameters == real(hf)
        assert not model_shape(name).has_tokenizer


def test_quantised_weights_take_their_bits(tmp_path: Path) -> None:
    hf = build("llama")
    hf.config.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text()) | {"dtype": "bfloat16"}
    linear = sum(its.weight.numel() for its in hf.model.layers.modules() if isinstance(its, torch.nn.Linear))
    for said, bits in (
        ({"quant_method": "gptq", "bits": 4}, 4),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
        ({"quant_method": "fp8"}, 8),
    ):
        file.write_text(json.dumps(config | {"quantization_config": said}))
        shape = model_shape(str(file))
        assert shape.n_quantised == linear and shape.bits == bits
        assert shape.weight_bytes == 2 * (real(hf) - linear) + linear * bits // 8
    file.write_text(json.dumps(config | {"quantization_config": {"quant_method": "mystery"}}))
    with pytest.raises(InputError, match="quantisation by 'mystery' is not known"):
        model_shape(str(file))


def test_what_is_no_decoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="tells no shape"):
        model_shape(str(tmp_path))
    transformers.T5Config().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="encoder"):
        model_shape(str(tmp_path))
    with pytest.raises(InputError, match="number format is 'int3'"):
        model_shape("7b", "int3")


@pytest.mark.zoo
def test_gguf_and_zoo_are_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said, _ = run(capsys, "plan", "--out", tmp_path)
    assert code == 0 and "zoo:llama-base" in said
    assert model_shape("zoo:llama-base").n_parameters == real(load("zoo:llama-base").original_model)
