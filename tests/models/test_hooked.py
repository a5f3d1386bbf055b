"""What TransformerLens's notebooks ask of a model, and what Hugging Face's own tools do, with hook points beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build
from transformers import AutoModelForCausalLM

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.loading import load
from lens_truth.models.points import listened_to

IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
GATE = HeadGate(1 + 0.5 * torch.rand(3, 4, generator=torch.Generator().manual_seed(1)))


def test_a_cache_holds_what_passed_every_hook_point(family: str) -> None:
    hf = build(family)
    model = load(hf, attn="eager")
    logits, cache = model.run_with_cache(IDS)
    assert set(cache) == set(model.hook_dict) and torch.equal(logits, model(IDS))
    d_head, inside = model.cfg.d_head, model.original_model
    shapes = {
        "hook_embed": (2, 9, 32),
        "blocks.1.attn.hook_z": (2, 9, 4, d_head),
        "blocks.1.attn.hook_pattern": (2, 4, 9, 9),
        "blocks.1.hook_attn_out": (2, 9, 32),
        "blocks.1.mlp.hook_post": (2, 9, 48),
        "blocks.1.hook_mlp_out": (2, 9, 32),
        "blocks.1.hook_resid_post": (2, 9, 32),
    }
    assert {name: tuple(cache[name].shape) for name in shapes} == shapes
    hidden = inside(IDS, output_hidden_states=True, output_attentions=True)
    assert torch.equal(cache["resid_pre", 1], hidden.hidden_states[1])
    assert torch.equal(cache["resid_post", 0], hidden.hidden_states[1])
    assert torch.equal(cache["pattern", 2], hidden.attentions[2])
    assert torch.equal(cache["embed"], hidden.hidden_states[0])
    added = cache["resid_pre", 1] + cache["attn_out", 1] + cache["mlp_out", 1]
    torch.testing.assert_close(added, cache["resid_post", 1])
    down = inside.model.layers[1].mlp.down_proj
    assert torch.equal(down(cache["blocks.1.mlp.hook_post"]), cache["mlp_out", 1])


@pytest.mark.parametrize("name", ["hook_embed", "hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out"])
def test_what_a_hook_returns_goes_on(name: str) -> None:
    model = load(build("llama"))
    name = name if name == "hook_embed" else f"blocks.1.{name}"
    plain = model(IDS)
    assert torch.equal(model.run_with_hooks(IDS, fwd_hooks=[(name, lambda value, hook: value)]), plain)
    changed = model.run_with_hooks(IDS, fwd_hooks=[(name, lambda value, hook: value * 2)])
    assert (changed - plain).abs().max() > 0.01 and torch.equal(model(IDS), plain)


def test_hooks_end_with_their_context_and_with_reset() -> None:
    model = load(build("llama"))
    plain = model(IDS)
    names = ["blocks.0.attn.hook_z", "blocks.2.hook_resid_post"]
    for name in names:
        model.add_hook(name, lambda value, hook: value * 0)
    assert all(listened_to(model.hook_dict[name]) for name in names) and not torch.equal(model(IDS), plain)
    model.reset_hooks()
    assert torch.equal(model(IDS), plain)
    with pytest.raises(ZeroDivisionError), GATE.attach(model):
        _ = 1 / 0
    assert torch.equal(model(IDS), plain)


def test_gradients_reach_hook_points() -> None:
    model = load(build("llama"))
    slopes: dict[str, torch.Tensor] = {}

    def note(slope: torch.Tensor, hook: Any) -> None:
        slopes[hook.name] = slope

    with model.hooks(bwd_hooks=[("blocks.1.attn.hook_z", note), ("blocks.0.hook_resid_post", note)]):
        model(IDS, return_type="loss").backward()
    assert slopes["blocks.1.attn.hook_z"].shape == (2, 9, 4, 8) and slopes["blocks.1.attn.hook_z"].abs().max() > 0
    assert slopes["blocks.0.hook_resid_post"].shape == (2, 9, 32)


def test_loss_is_hugging_faces() -> None:
    model = load(build("llama"))
    mask = torch.ones_like(IDS)
    logits, loss = model(IDS, attention_mask=mask, return_type="both")
    torch.testing.assert_close(loss, model.original_model(IDS, labels=IDS).loss)
    assert torch.equal(logits, model(input_ids=IDS)) and model(IDS, return_type=None) is None
    with pytest.raises(InputError, match="return_type 'logit' is not one of logits, loss, both"):
        model(IDS, return_type="logit")


def test_text_becomes_tokens_as_the_tokenizer_makes_them(tiny: Any) -> None:
    text = "The coral crown is in the attic."
    ids = tiny.tokenizer(text, return_tensors="pt").input_ids
    assert torch.equal(tiny.to_tokens(text), ids) and torch.equal(tiny(text), tiny(ids))
    assert tiny.to_string(ids[0]) == tiny.tokenizer.decode(ids[0]) and tiny.to_string(ids) == [tiny.to_string(ids[0])]
    assert len(tiny.to_str_tokens(text)) == ids.shape[1]
    assert tiny.to_tokens(text, prepend_bos=False)[0].tolist() == [i for i in ids[0].tolist() if i != 1]
    assert tiny.to_tokens([text, "The attic."]).shape == (2, ids.shape[1])
    assert tiny.to_single_token(" coral") == tiny.tokenizer.convert_tokens_to_ids("Ġcoral")
    with pytest.raises(InputError, match="'coral' is 5 tokens, not one"):
        tiny.to_single_token("coral")
    written = tiny.generate(text, max_new_tokens=4, do_sample=False)
    assert written == tiny.to_string(tiny.original_model.generate(ids, max_new_tokens=4, do_sample=False))[0]
    with pytest.raises(InputError, match="the model has no tokenizer"):
        load(build("llama")).to_tokens(text)


COMPILED = """
import torch, transformers, lens_truth
torch.manual_seed(0)
shape = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
model = lens_truth.load(transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, initializer_range=0.3)))
compiled, ids = torch.compile(model.original_model, backend="eager"), torch.arange(3, 12)[None]
with torch.no_grad():
    plain = compiled(ids).logits
    for site in ("z", "block"):
        gate = lens_truth.HeadGate(1 + torch.rand(2, 4), site=site)
        with gate.attach(model):
            gated = compiled(ids).logits
        torch.testing.assert_close(gated, gate.fold_into(model)(ids).logits, rtol=1e-4, atol=1e-4)
        assert (gated - plain).abs().max() > 0.01
    assert torch.equal(compiled(ids).logits, plain)
"""


def test_a_compiled_model_sees_gates_that_are_attached_later() -> None:
    """In a process of its own, where nobody checks types, which the compiler would compile too."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], check=True)


def test_a_hooked_model_is_saved_as_if_it_were_not(family: str, tmp_path: Path) -> None:
    hf = build(family)
    names = list(hf.state_dict())
    model = load(hf)
    with GATE.attach(model):
        model.original_model.save_pretrained(tmp_path)
    assert list(hf.state_dict()) == names
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(again(IDS).logits, model(IDS))


def test_two_hooked_models_may_share_one() -> None:
    hf = build("llama")
    first, second = load(hf), load(hf)
    with GATE.attach(first):
        once = second(IDS)
        with GATE.attach(second):
            twice = first(IDS)
    torch.testing.assert_close(once, GATE.fold_into(hf)(IDS).logits, rtol=1e-4, atol=1e-4)
    squared = HeadGate(GATE.values**2)
    torch.testing.assert_close(twice, squared.fold_into(hf)(IDS).logits, rtol=1e-4, atol=1e-4)
