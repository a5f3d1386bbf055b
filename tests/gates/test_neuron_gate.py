"""Gates of neurons: attached, folded, several in a batch, refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from architectures.tiny import tiny
from conftest import FAMILIES, build

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.neuron_gate import NeuronGate
from lens_truth.gates.rows import attach_rows, distinct, read_intervention
from lens_truth.models.loading import load
from lens_truth.models.neurons import column_norms, mlps, neuron_grid

IDS = torch.tensor([[1, 5, 9, 3, 11, 4], [1, 7, 2, 8, 6, 10]])


def gate_of(model: Any, seed: int = 0) -> NeuronGate:
    return NeuronGate(torch.rand(*neuron_grid(model), generator=torch.Generator().manual_seed(seed)) * 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_attached_is_every_neuron_times_its_value_and_equals_folded(family: str) -> None:
    model = load(build(family))
    gate = gate_of(model)
    plain = model(IDS)
    with gate.attach(model):
        attached = model(IDS)
    by_hand = build(family)
    with torch.no_grad():
        for layer, values in zip(by_hand.model.layers, gate.values, strict=True):
            layer.mlp.down_proj.register_forward_pre_hook(lambda _, args, values=values: (args[0] * values,))
        assert torch.equal(attached, by_hand(IDS).logits)
        folded = gate.fold_into(model)(IDS).logits
    assert (folded - attached).abs().max() < 1e-4 * attached.abs().max() and not torch.equal(attached, plain)
    assert torch.equal(model(IDS), plain)  # nothing is left behind


def test_a_gate_of_ones_changes_nothing_and_is_told_from_others() -> None:
    model = load(build("llama"))
    ones, gate = NeuronGate(torch.ones(3, 48)), gate_of(model)
    with ones.attach(model):
        assert torch.equal(model(IDS), model.original_model(IDS).logits)
    first, left = distinct({"none": None, "ones": ones, "gate": gate, "same": NeuronGate(gate.values.clone())}, model)
    assert first == {"none": "none", "ones": "none", "gate": "gate", "same": "gate"} and left["none"] is None
    other = NeuronGate(gate.values.clone())
    other.values[2, 47] += 1
    assert len(distinct({"gate": gate, "other": other}, model)[1]) == 2


def test_rows_of_a_batch_under_gates_of_their_own() -> None:
    model = load(build("qwen2"))
    gate, heads = gate_of(model), HeadGate(torch.full((3, 4), 1.5))
    ids = IDS[:1].expand(3, -1)
    with attach_rows(model, [gate, None, heads]):
        together = model(ids)
    with gate.attach(model):
        assert torch.allclose(model(IDS[:1]), together[:1], atol=1e-5)
    assert torch.allclose(model(IDS[:1]), together[1:2], atol=1e-5)
    with heads.attach(model):
        assert torch.allclose(model(IDS[:1]), together[2:], atol=1e-5)


def test_gates_are_kept(tmp_path: Any) -> None:
    gate = NeuronGate(torch.rand(3, 48), {"alpha": 2.0})
    gate.save(tmp_path / "gate.safetensors")
    again = read_intervention(tmp_path / "gate.safetensors")
    assert isinstance(again, NeuronGate) and torch.equal(again.values, gate.values)
    assert again.provenance == {"alpha": 2.0}


def test_half_precision_rounds_once() -> None:
    model = load(build("llama").to(torch.bfloat16))
    gate = NeuronGate(torch.full((3, 48), 1.001))  # which bfloat16 itself would round to 1
    seen: list[torch.Tensor] = []
    with model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", lambda a, hook: seen.append(a))]):
        model(IDS)
    with gate.attach(model), model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", lambda a, hook: seen.append(a))]):
        model(IDS)
    assert torch.equal(seen[1], (seen[0].float() * 1.001).bfloat16())


def test_column_norms_of_plain_and_of_adapted_weights() -> None:
    peft = pytest.importorskip("peft")
    hf = build("llama")
    first = mlps(hf)[0]
    norms = column_norms(hf, first)
    assert torch.allclose(norms, hf.model.layers[0].mlp.down_proj.weight.norm(dim=0))
    inner = build("llama")
    lora = peft.LoraConfig(r=4, target_modules=["down_proj"], init_lora_weights=False)
    peft.inject_adapter_in_model(lora, inner)
    down = inner.model.layers[0].mlp.down_proj
    merged = down.weight + down.get_delta_weight("default")
    assert torch.allclose(column_norms(inner, mlps(inner)[0]), merged.norm(dim=0), atol=1e-5)


def test_what_is_refused() -> None:
    import transformers

    model = load(build("llama"))
    with pytest.raises(InputError, match="3 layers x 40 neurons, and .* has 3 x 48"):
        NeuronGate(torch.ones(3, 40)).attach(model)
    with pytest.raises(InputError, match="not finite"):
        NeuronGate(torch.full((3, 48), torch.nan))
    with pytest.raises(InputError, match="batch axis"):
        NeuronGate(torch.ones(2, 3, 48)).fold_into(model)
    gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4))
    with pytest.raises(InputError, match="has no gate"):
        mlps(gpt)
    size = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    experts = transformers.MixtralConfig(**size, num_attention_heads=4, num_key_value_heads=2, num_local_experts=2)
    with pytest.raises(InputError, match="mixture of experts"):
        mlps(transformers.MixtralForCausalLM(experts))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", ["gemma3n_text", "recurrent_gemma", "lfm2", "glm4", "modernbert-decoder"])
def test_layers_without_attention_and_streams_that_are_mixed(model_type: str) -> None:
    """Of every decoder layer, whatever mixes tokens there; a router that mixes streams makes no experts."""
    model = load(tiny(model_type).eval())
    assert [mlp.layer for mlp in mlps(model.original_model)] == list(range(model.cfg.n_layers))
    gate = gate_of(model)
    with torch.no_grad(), gate.attach(model):
        attached = model(IDS, use_cache=False)
    with torch.no_grad():
        folded, plain = gate.fold_into(model)(IDS, use_cache=False).logits, model(IDS, use_cache=False)
    assert (folded - attached).abs().max() < 1e-4 * attached.abs().max()
    assert (plain - attached).abs().max() > 1e-2 * attached.abs().max()


def test_fused_projections_and_vision_towers() -> None:
    import transformers

    size = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    phi = transformers.Phi3ForCausalLM(transformers.Phi3Config(**size, num_attention_heads=4, pad_token_id=0))
    assert [mlp.path for mlp in mlps(phi)] == [f"model.layers.{n}.mlp.down_proj" for n in range(2)]
    assert mlps(phi)[0].width == 48
    tower = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = transformers.LlamaConfig(**size, num_attention_heads=4)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**tower, image_size=8, patch_size=4), text_config=text
    )
    llava = transformers.LlavaForConditionalGeneration(config)
    assert [mlp.path for mlp in mlps(llava)] == [f"model.language_model.layers.{n}.mlp.down_proj" for n in range(2)]
