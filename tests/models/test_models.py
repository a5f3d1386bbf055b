"""Hooked models equal Hugging Face's; what cannot be hooked is refused with the reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FAMILIES, build, output_projections
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoConfig,
    OlmoForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import lens_truth
from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.models import hashing
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooks import gate_heads, hook_names
from lens_truth.models.loading import load
from lens_truth.models.selftest import batch_checks, hook_checks
from lens_truth.models.structure import heads_of
from lens_truth.models.twin import shared_copy
from lens_truth.scoring.capturing import capture

IDS = torch.randint(3, 60, (3, 11), generator=torch.Generator().manual_seed(0))
MASKS = {
    "full": torch.ones_like(IDS),
    "right": (torch.arange(11) < torch.tensor([[11], [6], [9]])).long(),
    "left": (torch.arange(11) >= torch.tensor([[0], [5], [2]])).long(),
}


@pytest.mark.parametrize("mask", list(MASKS))
@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_logits_equal_hugging_face_bit_for_bit(family: str, attn: str, mask: str, tmp_path: Path) -> None:
    build(family).save_pretrained(tmp_path)
    hf = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=attn).eval()
    model = load(hf)
    with torch.no_grad():
        logits = model(IDS, attention_mask=MASKS[mask])
        assert torch.equal(logits, hf(IDS, attention_mask=MASKS[mask]).logits)
    assert logits.shape == (3, 11, 60)


def test_loading_from_a_folder_keeps_attention_and_dtype(tmp_path: Path, tokenizer: Any) -> None:
    build("llama", len(tokenizer)).bfloat16().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = load(str(tmp_path), attn="eager")
    assert next(model.parameters()).dtype == torch.bfloat16
    assert load(str(tmp_path), dtype="float32").original_model.dtype == torch.float32
    _, cache = model.run_with_cache(IDS, names_filter=["blocks.0.attn.hook_pattern"])
    assert cache["blocks.0.attn.hook_pattern"].shape == (3, 4, 11, 11)


def test_attention_of_a_model_in_memory_can_be_chosen() -> None:
    hf = build("llama")
    model = load(hf, attn="eager")
    assert (model.original_model.config._attn_implementation, hf.config._attn_implementation) == ("eager", "sdpa")
    _, cache = model.run_with_cache(IDS, names_filter=["blocks.0.attn.hook_pattern"])
    assert cache["blocks.0.attn.hook_pattern"].shape == (3, 4, 11, 11)


def test_a_folder_without_a_tokenizer_can_be_loaded(family: str, tmp_path: Path) -> None:
    build(family).save_pretrained(tmp_path)
    model = load(str(tmp_path))
    assert model(IDS).shape == (3, 11, 60)
    with pytest.raises(InputError, match="has no tokenizer"):
        capture(model, [Example("x", "g", "q", "a", 1)])


def test_self_test_passes_for_every_family(family: str) -> None:
    hf = build(family)
    model = load(hf)
    checks = [*hook_checks(model), *batch_checks(model)]
    assert [check.name for check in checks if not check.passed] == []
    assert len(checks) == 10


def test_hook_z_is_the_input_of_the_output_projection(family: str) -> None:
    hf = build(family)
    model, heads = load(hf), heads_of(hf)
    seen: list[torch.Tensor] = []
    handles = [
        projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for projection in output_projections(hf)
    ]
    with torch.no_grad():
        _, cache = model.run_with_cache(IDS, names_filter=hook_names(model))
    for handle in handles:
        handle.remove()
    for name, inputs in zip(hook_names(model), seen, strict=True):
        assert torch.equal(cache[name], inputs.unflatten(-1, (heads.n_heads, heads.d_head)))


def test_model_in_memory_is_left_as_it_was(family: str) -> None:
    hf = build(family)
    names, before = list(hf.state_dict()), hf(IDS).logits
    model = load(hf)
    with gate_heads(model, torch.zeros(3, 4)):
        assert not torch.equal(hf(IDS).logits, before)
    assert model.original_model is hf and torch.equal(hf(IDS).logits, before)
    assert list(hf.state_dict()) == names


def test_a_copy_shares_tensors_and_no_hooks(family: str) -> None:
    hf = build(family)
    model = load(hf)
    with gate_heads(model, torch.zeros(3, 4)):
        twin: Any = shared_copy(hf)
        assert torch.equal(twin(IDS).logits, build(family)(IDS).logits)
    assert all(a is b for a, b in zip(hf.parameters(), twin.parameters(), strict=True))
    projection = output_projections(twin)[0]
    projection.weight = nn.Parameter(torch.zeros_like(projection.weight))
    twin.config.vocab_size = 1
    assert torch.equal(model(IDS), build(family)(IDS).logits) and hf.config.vocab_size == 60


def test_generation_under_hooks_uses_the_cache_and_leaves_no_hook(family: str) -> None:
    model = load(build(family))
    hf: Any = model.original_model
    gate = 1 + 0.5 * torch.rand(3, 4, generator=torch.Generator().manual_seed(1))
    with gate_heads(model, gate):
        cached = hf.generate(IDS, max_new_tokens=6, do_sample=False)
        uncached = hf.generate(IDS, max_new_tokens=6, do_sample=False, use_cache=False)
        bridge = model.generate(IDS, max_new_tokens=6, do_sample=False, verbose=False)
    assert torch.equal(cached, uncached)
    ended = (cached == 2).cumsum(1) > 0  # the two pad what follows the end differently
    assert torch.equal(cached[~ended], bridge[~ended])
    plain = hf.generate(IDS, max_new_tokens=6, do_sample=False)
    assert not torch.equal(plain, cached)
    assert torch.equal(plain, build(family).generate(IDS, max_new_tokens=6, do_sample=False))


def test_an_architecture_with_the_same_names_needs_no_table_entry() -> None:
    shape = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    hf = OlmoForCausalLM(OlmoConfig(**shape, num_attention_heads=4)).eval()
    assert torch.equal(load(hf)(IDS), hf(IDS).logits)


def test_a_mixture_of_experts_keeps_its_mlp_unhooked() -> None:
    shape = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    hf = MixtralForCausalLM(MixtralConfig(**shape, num_attention_heads=4, num_key_value_heads=2)).eval()
    model = load(hf)
    assert torch.equal(model(IDS), hf(IDS).logits) and "blocks.0.mlp.hook_post" not in model.hook_dict


def test_what_has_no_heads_that_read_back_is_refused_by_name() -> None:
    mamba = MambaForCausalLM(MambaConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2))
    with pytest.raises(InputError, match=r"MambaForCausalLM has no decoder layers .*\(it holds backbone, lm_head\)"):
        load(mamba)
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=60, d_model=32, d_ff=48, num_layers=2, num_heads=4))
    with pytest.raises(InputError, match="T5ForConditionalGeneration is an encoder with a decoder"):
        load(t5)
    bert = BertLMHeadModel(BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4))
    with pytest.raises(InputError, match="BertLMHeadModel cannot be hooked safely: no token sees those behind it"):
        load(bert)


def test_heads_that_are_cut_wrongly_are_refused() -> None:
    hf = build("llama")
    hf.config.num_attention_heads = 8  # of half the width: each would be half a head
    with pytest.raises(InputError, match="hook_z of a head is what its own attention gives out"):
        load(hf)


def test_a_model_that_does_not_run_is_refused() -> None:
    hf = build("llama")
    hf.model.layers[1].mlp.down_proj = nn.Linear(7, 32)
    with pytest.raises(InputError, match="LlamaForCausalLM cannot be run: mat1 and mat2 shapes"):
        load(hf)


def test_a_head_geometry_that_does_not_fit_is_refused() -> None:
    hf = build("llama")
    hf.config.num_attention_heads = 3
    with pytest.raises(
        InputError, match="layer 0 has attention outputs of width 32, which is not 3 heads of one width"
    ):
        heads_of(hf)


def test_an_attention_without_output_projection_is_no_layer_without_attention() -> None:
    hf = build("llama")
    hf.model.layers[1].self_attn.o_proj = torch.nn.Sequential(hf.model.layers[1].self_attn.o_proj)
    with pytest.raises(InputError, match="layer 1 has an attention .self_attn. that ends in no output projection"):
        load(hf)


@pytest.mark.zoo
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("zoo:lama-base", "no model 'zoo:lama-base' in the zoo; it holds .*zoo:llama-base"),
        ("./nowhere", "there is no such folder"),
        ("/nowhere/at/all", "there is no such folder"),
    ],
)
def test_missing_models_are_named(name: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load(name)


def test_a_name_that_no_hub_allows_is_one_sentence() -> None:
    with pytest.raises(InputError, match="model 'my model' cannot be loaded: "):
        load("my model")


def test_unreadable_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder holds no config.json"):
        load(str(tmp_path))
    build("llama").save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match="tokenizer of .* cannot be loaded"):
        load(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="model .* cannot be loaded"):
        load(str(tmp_path))


def test_weights_hash_sees_weights_not_hooks() -> None:
    hf = build("llama")
    assert weights_hash(hf) == weights_hash(load(hf)) == weights_hash(build("llama"))
    with torch.no_grad():
        hf.model.layers[0].self_attn.q_proj.weight[0, 0] += 1e-3
    assert weights_hash(hf) != weights_hash(build("llama"))


def test_stock_bridge_offers_hook_result() -> None:
    hf = build("llama-gqa-head-dim")
    hf.config.architectures = ["LlamaForCausalLM"]
    model = load(hf, stock=True)
    _, cache = model.run_with_cache(IDS, names_filter=["blocks.1.attn.hook_result"])
    assert cache["blocks.1.attn.hook_result"].shape == (3, 11, 4, 32)
    torch.testing.assert_close(model(IDS), hf(IDS).logits, rtol=1e-4, atol=1e-4)


def test_a_name_is_imported_without_what_loading_a_model_takes() -> None:
    """TransformerLens takes long to import."""
    code = "import sys, lens_truth; lens_truth.load; assert 'transformer_lens' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_there() -> None:
    for name in lens_truth.__all__:
        assert getattr(lens_truth, name) is not None
    assert set(FAMILIES)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = lens_truth.nonsense


def test_one_study_hashes_the_weights_once(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(build("llama", len(tokenizer)), tokenizer=tokenizer, attn="eager")
    hashed, count = hashing._hashed, []
    monkeypatch.setattr(hashing, "_hashed", lambda plain: count.append(1) or hashed(plain))
    examples = lens_truth.load_examples("zoo:conflict", limit=8)
    capture(model, examples)
    lens_truth.causal_scores(model, examples, n_bootstrap=5)
    lens_truth.evidence_attention(model, examples)
    assert len(count) == 1


def replace(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(weight.detach().clone() + 1e-3)


def in_place(weight: nn.Parameter) -> nn.Parameter:
    with torch.no_grad():
        weight[0, 0] += 1e-3
    return weight


def unseen(weight: nn.Parameter) -> nn.Parameter:
    """Which PyTorch does not count."""
    weight.data[:, 8:16] = 0
    return weight


def rounded(weight: nn.Parameter) -> nn.Parameter:
    weight.data = weight.data.bfloat16().float()
    return weight


@pytest.mark.parametrize("change", [replace, in_place, unseen, rounded])
def test_a_changed_weight_changes_the_hash(change: Callable[[nn.Parameter], nn.Parameter]) -> None:
    model = load(build("llama"))
    before = weights_hash(model)
    projection = output_projections(model.original_model)[1]
    projection.weight = change(projection.weight)
    after = weights_hash(model)
    assert after != before and after == hashing._hashed(model.original_model)
