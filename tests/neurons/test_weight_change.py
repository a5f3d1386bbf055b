"""How far neurons moved, against loops over their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import FAMILIES, build

from lens_truth.errors import InputError
from lens_truth.models.loading import load
from lens_truth.neurons.weight_change import neuron_change


def pair(family: str, tokenizer: Any) -> tuple[Any, Any]:
    base, child = (build(family, len(tokenizer)) for _ in range(2))
    child.load_state_dict(base.state_dict())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in child.parameters():
            weight += 0.1 * weight.std() * torch.randn(weight.shape, generator=generator)
    return load(base, tokenizer=tokenizer), load(child, tokenizer=tokenizer)


def parts(mlp: Any) -> list[np.ndarray]:
    if hasattr(mlp, "gate_up_proj"):
        gate, up = np.split(mlp.gate_up_proj.weight.detach().double().numpy(), 2)
    else:
        gate, up = (its.weight.detach().double().numpy() for its in (mlp.gate_proj, mlp.up_proj))
    return [gate, up, mlp.down_proj.weight.detach().double().numpy().T]


@pytest.mark.parametrize("name", ["llama", "phi3"])
def test_one_minus_the_cosine_of_what_a_neuron_reads_and_writes(
    name: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "phi3", ("Phi3Config", {"num_key_value_heads": 4}))  # gate and up in one map
    base, child = pair(name, tokenizer)
    found = neuron_change(base, child)
    for layer, (one, other) in enumerate(
        zip(base.original_model.model.layers, child.original_model.model.layers, strict=True)
    ):
        its, theirs = parts(one.mlp), parts(other.mlp)
        for neuron in range(found.shape[1]):
            a, b = (np.concatenate([part[neuron] for part in some]) for some in (its, theirs))
            assert np.isclose(found[layer, neuron], 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b), atol=1e-9)
    assert (found > 1e-4).all() and np.allclose(neuron_change(base, base), 0, atol=1e-12)


def test_other_neurons_are_refused(tokenizer: Any, tiny: Any) -> None:
    wider = load(build("llama", len(tokenizer), intermediate_size=64), tokenizer=tokenizer)
    with pytest.raises(InputError, match="their neurons do not correspond"):
        neuron_change(tiny, wider)


def test_an_adapter_counts_as_merged(tokenizer: Any) -> None:
    peft = pytest.importorskip("peft")
    base, adapted = (build("llama", len(tokenizer)) for _ in range(2))
    adapted.load_state_dict(base.state_dict())
    lora = peft.LoraConfig(r=4, target_modules=["down_proj", "up_proj"], init_lora_weights=False)
    peft.inject_adapter_in_model(lora, adapted)
    merged = build("llama", len(tokenizer))
    merged.load_state_dict(base.state_dict())
    with torch.no_grad():
        for name in ("down_proj", "up_proj"):
            for its, layer in zip(merged.model.layers, adapted.model.layers, strict=True):
                getattr(its.mlp, name).weight += getattr(layer.mlp, name).get_delta_weight("default")
    models = [load(its, tokenizer=tokenizer) for its in (base, adapted, merged)]
    found = neuron_change(models[0], models[1])
    assert np.allclose(found, neuron_change(models[0], models[2]), atol=1e-9) and (found > 1e-4).all()
