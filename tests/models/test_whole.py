"""A checkpoint is loaded whole or refused in a sentence that names what is lacking, how much, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import build, refused, run
from safetensors.torch import load_file, save_file
from torch import Tensor

from lens_truth.errors import DataWarning, InputError
from lens_truth.models.loading import load_plain
from lens_truth.models.whole import tensors_read

State = dict[str, Tensor]
IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))


def saved(folder: Path, hf: Any, change: Callable[[State], State] = dict, **config: Any) -> str:
    """A folder as `save_pretrained` writes it, with other tensors and other entries of config.json."""
    hf.save_pretrained(folder)
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    entries = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(entries))
    return str(folder)


def without(*parts: str) -> Callable[[State], State]:
    return lambda state: {name: its for name, its in state.items() if not any(part in name for part in parts)}


def under(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + name: its for name, its in state.items()}


def added(name: str, *shape: int) -> Callable[[State], State]:
    return lambda state: {**state, name: torch.ones(shape)}


def reshaped(part: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: {name: change(its).clone() if part in name else its for name, its in state.items()}


def test_a_whole_checkpoint_loads(family: str, tmp_path: Path) -> None:
    hf = build(family)
    loaded = load_plain(saved(tmp_path, hf))
    assert torch.equal(loaded(IDS).logits, hf(IDS).logits)
    n, tied = tensors_read(loaded)
    assert (n, tied) == (len(list(hf.parameters())), int(hf.config.tie_word_embeddings))


@pytest.mark.parametrize(("family", "prefix"), [("qwen2", "module._orig_mod."), ("llama-bias-tied", "policy.")])
def test_a_prefix_that_all_names_bear_is_left_out_and_that_is_said(family: str, prefix: str, tmp_path: Path) -> None:
    hf = build(family)
    with pytest.warns(DataWarning, match=f"the names of its tensors begin with '{prefix}', which was left out"):
        loaded = load_plain(saved(tmp_path, hf, under(prefix)))
    assert torch.equal(loaded(IDS).logits, hf(IDS).logits)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(under("model."), id="model twice"),
        pytest.param(lambda state: {name.removeprefix("model."): its for name, its in state.items()}, id="no model"),
        pytest.param(added("model.layers.0.self_attn.rotary_emb.inv_freq", 4), id="a buffer of old versions"),
    ],
)
def test_what_transformers_puts_right_is_right(change: Callable[[State], State], tmp_path: Path) -> None:
    hf = build("llama")
    assert torch.equal(load_plain(saved(tmp_path, hf, change))(IDS).logits, hf(IDS).logits)


def test_a_tied_head_may_be_missing_or_stand_there_twice(tmp_path: Path) -> None:
    hf = build("llama-bias-tied")
    twice = lambda state: {**state, "lm_head.weight": state["model.embed_tokens.weight"].clone()}  # noqa: E731
    for change in (without("lm_head"), twice):
        assert torch.equal(load_plain(saved(tmp_path, hf, change))(IDS).logits, hf(IDS).logits)


BROKEN: dict[str, tuple[Callable[[State], State], dict[str, Any], str]] = {
    "a tensor": (
        without("layers.1.mlp.up_proj"),
        {},
        r"lack 1 of its 30 tensors \(model.layers.1.mlp.up_proj",
    ),
    "a layer": (without("layers.2."), {}, r"lack 9 of its 30 .* and 6 more\); the files were cut off .*\(layer 2\)"),
    "a layer too many": (
        dict,
        {"num_hidden_layers": 2},
        r"hold 9 .*; num_hidden_layers in config.json \(2\) is",
    ),
    "head": (without("lm_head"), {}, "lack 1 .*lm_head.weight.*the head was not saved, and config.json does not say"),
    "one more": (added("model.layers.1.self_attn.o_proj.bias", 32), {}, r"hold 1 that it has no place for \(model.lay"),
    "shape": (reshaped("1.self_attn.q_proj", lambda x: x[1:]), {}, r"q_proj.weight \[31, 32\] instead of \[32, 32\]\)"),
    "words": (dict, {"vocab_size": 61}, r"hold 2 of another shape .*; vocab_size in config.json is not the number"),
    "width": (dict, {"hidden_size": 64}, "hold 30 of another shape .*; config.json is of another model"),
    "empty": (reshaped("mlp", lambda x: x[:0, 0]), {}, r"\[0\] instead of \[32, 48\].*DeepSpeed's ZeRO-3"),
    "foreign": (
        lambda _: {"a": torch.ones(1)},
        {},
        r"lack 30 of its 30 .*hold 1 .*\(a\); config.json or the files",
    ),
    "adapter": (added("model.layers.0.self_attn.q_proj.lora_A.weight", 4, 32), {}, "an adapter lies in them: merge it"),
    "packed": (lambda s: added("model.layers.0.self_attn.q_proj.qweight", 4)(without("q_proj")(s)), {}, "quantised"),
    "wrapper": (added("model.layers.0._fsdp_wrapped_module.mlp.up_proj.weight", 4), {}, "a wrapper for training"),
    "tower": (
        added("vision_tower.patch_embed.weight", 4),
        {},
        "they are of a multimodal model, and config",
    ),
    "prefix and a gap": (lambda s: under("module.")(without("layers.1.mlp.up")(s)), {}, r"lack 1 .*\(layer 1\)"),
    "another class": (dict, {"model_type": "qwen3"}, r"lack 6 of its 36 .*\(config.json names LlamaForCausalLM\)"),
}


@pytest.mark.filterwarnings("ignore::lens_truth.errors.DataWarning")  # of the prefix
@pytest.mark.parametrize("name", list(BROKEN))
def test_a_checkpoint_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    change, config, complaint = BROKEN[name]
    folder = saved(tmp_path, build("llama"), change, **config)
    with pytest.raises(InputError, match=rf"does not load whole as \w+ForCausalLM: its files {'.*' + complaint}"):
        load_plain(folder)


@pytest.mark.parametrize("family", ["llama", "llama-bias-tied"])
def test_a_classifier_is_refused(family: str, tmp_path: Path) -> None:
    hf = transformers.LlamaForSequenceClassification(build(family).config)
    with pytest.raises(InputError, match=r"\(score.weight\); they are of a classifier"):
        load_plain(saved(tmp_path, hf))


def test_a_lost_expert_is_told(tmp_path: Path) -> None:
    shape = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    hf = transformers.MixtralForCausalLM(transformers.MixtralConfig(**shape, num_attention_heads=4))
    with pytest.raises(InputError, match="cannot be loaded: tensors that belong together, such as experts, differ"):
        load_plain(saved(tmp_path, hf, without("layers.1.block_sparse_moe.experts.3.w1")))


@pytest.mark.parametrize("kind", ["half", "shards", "pickle"])
def test_other_ways_to_save_are_read(kind: str, tmp_path: Path) -> None:
    hf = build("llama")
    if kind == "half":
        hf.half()
    hf.save_pretrained(tmp_path, max_shard_size="20KB" if kind == "shards" else "1GB")
    if kind == "pickle":
        torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    loaded = load_plain(str(tmp_path))
    assert loaded.dtype == hf.dtype and torch.equal(loaded.lm_head.weight, hf.lm_head.weight)


def test_commands_refuse_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path, build("llama"), without("layers.1."))
    refused(capsys, "does not load whole", "check", folder)


def test_check_says_how_many_tensors_were_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "check", saved(tmp_path, build("llama-bias-tied")))
    assert "41 tensors read, 1 more tied" in out.splitlines()[0]
