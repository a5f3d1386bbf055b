"""Models with adapters: hooks see the adapted model, a gate folds beside the adapter and into the merged model."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from adapted import QUIET, SIDES, adapted, folders, peft
from conftest import build

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load, load_plain
from lens_truth.models.provenance import setup_hash

pytestmark = QUIET
IDS = torch.tensor([[1, 5, 9, 31, 7, 22], [1, 44, 3, 17, 58, 6]])
GATE = HeadGate(1 + torch.rand(3, 4, generator=torch.Generator().manual_seed(0)))


def lora(targets: list[str] | str = "all-linear", **more: Any) -> Any:
    return peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, **more)


def two(hf: Any) -> Any:
    """Two adapters that act together, and one that does not."""
    model = adapted(hf, lora(SIDES))
    for name, targets in (("second", ["o_proj", "up_proj"]), ("idle", SIDES)):
        adapted(model, lora(targets), name=name)
    model.base_model.set_adapter(["default", "second"])
    return model


def disabled(hf: Any) -> Any:
    model = adapted(hf, lora())
    model.base_model.disable_adapter_layers()
    return model


def merged_in_place(hf: Any) -> Any:
    model = adapted(hf, lora(SIDES))
    model.merge_adapter()
    return model


def native(hf: Any) -> Any:
    """Transformers' own way to add an adapter."""
    hf.add_adapter(lora(SIDES))
    with torch.no_grad():
        for path, parameter in hf.named_parameters():
            if "lora_B" in path:
                parameter.normal_(0, 0.2)
    return hf.eval()


def gpt2(_: Any) -> Any:
    config = transformers.GPT2Config(
        vocab_size=60,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=64,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    return adapted(transformers.GPT2LMHeadModel(config).eval(), lora(["c_attn", "c_proj"], fan_in_fan_out=True))


def phi3(_: Any) -> Any:
    """Queries, keys and values in one."""
    config = transformers.Phi3Config(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    return adapted(transformers.Phi3ForCausalLM(config).eval(), lora(["qkv_proj", "o_proj"]))


KINDS: dict[str, Callable[[Any], Any]] = {
    "lora": lambda hf: adapted(hf, lora(lora_dropout=0.1)),
    "rslora": lambda hf: adapted(hf, lora(use_rslora=True, alpha_pattern={"o_proj": 9}, rank_pattern={"o_proj": 2})),
    "dora": lambda hf: adapted(hf, lora(SIDES, use_dora=True)),
    "bias": lambda hf: adapted(hf, lora(["q_proj", "v_proj"], bias="all")),
    "bias of B": lambda hf: adapted(hf, lora(["q_proj"], lora_bias=True)),
    "saved whole": lambda hf: adapted(hf, lora(["q_proj"], modules_to_save=["o_proj", "lm_head"])),
    "embeddings": lambda hf: adapted(hf, lora(["embed_tokens", "o_proj"])),
    "both embeddings": lambda hf: adapted(hf, lora(["embed_tokens", "lm_head"])),
    "tokens": lambda hf: adapted(hf, lora(["o_proj"], trainable_token_indices=[5, 9])),
    "ia3": lambda hf: adapted(hf, peft.IA3Config(target_modules=["v_proj", "o_proj"], feedforward_modules=[])),
    "ia3 on inputs": lambda hf: adapted(hf, peft.IA3Config(target_modules=["o_proj"], feedforward_modules=["o_proj"])),
    "two": two,
    "disabled": disabled,
    "merged in place": merged_in_place,
    "native": native,
    "gpt2": gpt2,
    "phi3": phi3,
}  # fmt: skip
TIED = ("bias", "bias of B", "embeddings", "both embeddings", "tokens")


BLOCKS = ("lora", "dora", "saved whole", "ia3", "gpt2")
CASES = [*((kind, "z") for kind in KINDS), *((kind, "block") for kind in BLOCKS)]


@pytest.mark.parametrize(("kind", "site"), CASES)
def test_folded_equals_attached(kind: str, site: Any, tmp_path: Path) -> None:
    model = KINDS[kind](build("llama-bias-tied" if kind in TIED else "llama-gqa-head-dim"))
    gate = HeadGate(GATE.values, site)
    with torch.no_grad():
        plain = model(IDS).logits
        hooked = load(model)
        assert torch.equal(hooked(IDS), plain)
        with gate.attach(hooked):
            attached = model(IDS).logits
        merged, kept = gate.fold_into(model), gate.fold_into(hooked, keep_adapter=True)
        assert (attached - plain).abs().max() > 0.1
        assert torch.allclose(merged(IDS).logits, attached, atol=1e-4)
        assert torch.allclose(kept(IDS).logits, attached, atol=1e-4)
        assert torch.equal(model(IDS).logits, plain)
        merged.save_pretrained(tmp_path)
        assert torch.equal(load_plain(str(tmp_path))(IDS).logits, merged(IDS).logits)


def test_loaded_by_name_is_what_peft_loads(tmp_path: Path) -> None:
    base, adapter = folders(tmp_path, lora(use_dora=True, modules_to_save=["lm_head"]))
    theirs = peft.PeftModel.from_pretrained(build("llama-gqa-head-dim"), adapter).eval()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))
    with torch.no_grad():
        wanted = theirs(IDS).logits
        for model in (load(base, adapter=adapter), load(f"{base}+{adapter}"), load(adapter)):
            assert torch.equal(model(IDS), wanted)
    assert model.cfg.model_name == str(adapter)
    with pytest.raises(InputError, match="on a model in memory by peft"):
        load(build("llama"), adapter=adapter)


def test_half_precision_is_what_peft_makes_of_it(tmp_path: Path) -> None:
    """The adapter stays in single precision."""
    build("llama").bfloat16().save_pretrained(tmp_path / "base")
    adapted(build("llama").bfloat16(), lora()).save_pretrained(tmp_path / "adapter")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    model = load(tmp_path / "base", adapter=tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(model(IDS), theirs(IDS).logits)
        with GATE.attach(model):
            attached = model(IDS)
        for keep in (True, False):
            folded = GATE.fold_into(model, keep_adapter=keep)(IDS).logits
            assert (folded - attached).abs().max() < 0.1 * attached.abs().max()


def test_the_tokenizer_and_the_tokens_of_an_adapter(tmp_path: Path, tokenizer: Any) -> None:
    """Tokens were added for training: their embeddings and the tokenizer lie with the adapter."""
    base, _ = folders(tmp_path, lora(["q_proj"]))
    hf = load_plain(str(base))
    hf.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    larger = adapted(hf, lora(["q_proj"]))
    larger.save_pretrained(tmp_path / "larger", save_embedding_layers=True)
    tokenizer.save_pretrained(tmp_path / "larger")
    model = load(base, adapter=tmp_path / "larger")
    assert len(model.tokenizer) == len(tokenizer) == model.cfg.d_vocab
    with torch.no_grad():
        assert torch.equal(model(IDS), larger(IDS).logits)


def test_the_gated_base_and_the_gated_adapter_lie_apart(tmp_path: Path) -> None:
    base, adapter = folders(tmp_path, lora())
    model = load(base, adapter=adapter)
    GATE.fold_into(load(base)).save_pretrained(tmp_path / "gated base")
    kept = GATE.fold_into(model, keep_adapter=True)
    kept.save_pretrained(tmp_path / "gated adapter")
    with torch.no_grad():
        again = load(tmp_path / "gated base", adapter=tmp_path / "gated adapter")(IDS)
        assert torch.equal(again, kept(IDS).logits)
    with pytest.raises(InputError, match="does not say which model it is for"):  # not for the base that it came from
        load(tmp_path / "gated adapter")
    assert {path.name for path in (tmp_path / "gated adapter").glob("*.safetensors")} == {"adapter_model.safetensors"}


def test_kinds_that_cannot_stand_beside_a_gate_are_merged() -> None:
    model = adapted(build("llama"), peft.OFTConfig(r=0, oft_block_size=4, target_modules=SIDES))
    hooked = load(model)
    with torch.no_grad():
        with GATE.attach(hooked):
            attached = hooked(IDS)
        assert torch.allclose(GATE.fold_into(model)(IDS).logits, attached, atol=1e-4)
    with pytest.raises(InputError, match="beside an adapter of the kind peft.tuners.oft"):
        GATE.fold_into(model, keep_adapter=True)
    silent, dora = HeadGate(torch.zeros(3, 4)), adapted(build("llama"), lora(SIDES, use_dora=True))
    with pytest.raises(InputError, match="beside DoRA"):
        silent.fold_into(dora, keep_adapter=True)
    assert silent.fold_into(dora)(IDS).logits.isfinite().all()


def test_generation_and_switching_are_seen_while_hooked() -> None:
    model = adapted(build("llama-gqa-head-dim"), lora())
    hooked = load(model)
    how = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(IDS), "pad_token_id": 0}
    with GATE.attach(hooked):
        gated = model.generate(input_ids=IDS, **how)
    assert torch.equal(GATE.fold_into(model).generate(IDS, **how), gated)
    assert not torch.equal(model.generate(input_ids=IDS, **how), gated)
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(hooked(IDS), build("llama-gqa-head-dim")(IDS).logits)


def test_what_numbers_are_kept_under(tmp_path: Path) -> None:
    """The adapter's weights are part of the hash of the weights; which are active, and how strongly, of both hashes."""
    model = adapted(build("llama"), lora(SIDES))
    other = adapted(build("llama"), lora(SIDES), seed=4)
    hooked, plain, merged = load(model), load(build("llama")), load(copy.deepcopy(model).merge_and_unload())
    assert len({weights_hash(each) for each in (hooked, plain, merged, load(other))}) == 4
    model.save_pretrained(tmp_path)
    assert weights_hash(load(peft.PeftModel.from_pretrained(build("llama"), tmp_path))) == weights_hash(hooked)
    setups, weights = [setup_hash(hooked)], [weights_hash(hooked)]
    with model.disable_adapter():
        setups.append(setup_hash(hooked))
        weights.append(weights_hash(hooked))
    for layer in model.modules():
        if hasattr(layer, "scale_layer"):
            layer.scale_layer(0.5)
    setups.append(setup_hash(hooked))
    weights.append(weights_hash(hooked))
    assert len(set(setups)) == 3 and setup_hash(plain) == setup_hash(merged) not in setups
    assert len(set(weights)) == 3


def test_the_real_one(real: Callable[[str], Any], data: Path) -> None:
    """A rank-16 LoRA in bfloat16 on all projections of SmolLM2, and what it was merged into."""
    base, merged = real("smollm2"), real("reader")
    model = load(base.cfg.model_name, adapter=data / "real" / "smollm2-reader")
    ids = model.to_tokens("Paris is the capital of France. The capital of France is")
    with torch.no_grad():
        adapted_, alone, plain = (each(ids) for each in (model, merged, base))
    assert (adapted_ - alone).abs().max() < 1e-3 < 1 < (adapted_ - plain).abs().max()
    gate = HeadGate(1 + 0.5 * torch.rand(30, 9, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad(), gate.attach(model):
        attached = model(ids)
    for keep in (True, False):
        with torch.no_grad():
            assert (gate.fold_into(model, keep_adapter=keep)(ids).logits - attached).abs().max() < 1e-2
