"""The untrained twin: the architecture, none of the weights; the class's own initialisation; the same seed, the same
bytes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import build
from multimodal import build_multimodal
from quantising import quantised

from lens_truth.errors import InputError
from lens_truth.io.streams import Stream, stream
from lens_truth.models import room, untrained
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load
from lens_truth.models.untrained import untrained_twin


def matrices(model: Any) -> dict[str, torch.Tensor]:
    return {name: its.detach() for name, its in model.original_model.named_parameters() if its.ndim > 1}


def test_same_shapes_other_weights(family: str) -> None:
    model = load(build(family))
    before, state = weights_hash(model), torch.get_rng_state()
    twin = untrained_twin(model)
    assert weights_hash(model) == before and torch.equal(torch.get_rng_state(), state)
    own, its = matrices(model), matrices(twin)
    assert [(name, of.shape) for name, of in own.items()] == [(name, of.shape) for name, of in its.items()]
    for name, of in its.items():
        same = of.isclose(own[name]) & (of != 0)  # the padding's embedding is 0 in both
        assert of.isfinite().all() and same.float().mean() < 0.001, name
        assert abs(float(of.std()) / 0.3 - 1) < 0.2, name  # initializer_range
        assert abs(float(torch.corrcoef(torch.stack([of.flatten(), own[name].flatten()]))[0, 1])) < 0.15, name
    assert weights_hash(untrained_twin(model)) == weights_hash(twin)
    assert weights_hash(untrained_twin(model, seed=1)) != weights_hash(twin)
    tied = model.original_model.config.tie_word_embeddings
    assert (twin.unembed.weight is twin.original_model.get_input_embeddings().weight) == tied


def test_it_is_what_the_class_makes_of_its_config() -> None:
    model = load(build("qwen3"))
    torch.manual_seed(int(stream(3, Stream.UNTRAINED).integers(1 << 62)))
    wanted = transformers.AutoModelForCausalLM.from_config(model.original_model.config).state_dict()
    found = untrained_twin(model, seed=3).original_model.state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_training_moved_from_one_value_is_there_again(tiny: Any) -> None:
    hf = build("llama")
    with torch.no_grad():
        for name, weight in hf.named_parameters():
            if "norm" in name:
                weight.fill_(3.0)
    model = load(hf, tokenizer=tiny.tokenizer)
    twin = untrained_twin(model)
    assert all((its == 1).all() for name, its in twin.original_model.named_parameters() if "norm" in name)
    assert twin.tokenizer is tiny.tokenizer and twin.cfg.model_name.endswith("(untrained)")
    assert not twin.original_model.training and hf.config._attn_implementation == "sdpa"


def test_number_formats() -> None:
    assert untrained_twin(load(build("llama").to(torch.bfloat16))).original_model.dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore")  # of bitsandbytes
@pytest.mark.skipif(not find_spec("bitsandbytes"), reason="bitsandbytes is not installed")
def test_of_quantised_weights_in_floats(tmp_path: Path) -> None:
    model = load(quantised("nf4", tmp_path))
    twin = untrained_twin(model)
    assert {its.dtype for its in twin.original_model.parameters()} <= {torch.float32, torch.bfloat16, torch.float16}
    assert {type(module).__name__ for module in twin.original_model.modules()}.isdisjoint({"Linear4bit"})
    assert not hasattr(twin.original_model.config, "quantization_config")
    assert hasattr(model.original_model.config, "quantization_config")
    projection = twin.original_model.model.layers[0].self_attn.o_proj
    assert projection.weight.shape == (128, 128) and abs(float(projection.weight.float().std()) / 0.3 - 1) < 0.1


@pytest.mark.filterwarnings("ignore")  # of PEFT
def test_adapters_are_left_out() -> None:
    peft: Any = pytest.importorskip("peft")
    adapted = peft.get_peft_model(build("llama"), peft.LoraConfig(r=2, target_modules=["q_proj", "o_proj"]))
    twin = untrained_twin(load(adapted))
    assert not [name for name, _ in twin.original_model.named_parameters() if "lora" in name]
    plain = untrained_twin(load(build("llama")))
    assert all(torch.equal(its, matrices(plain)[name]) for name, its in matrices(twin).items())


@pytest.mark.parametrize("family", ["llava", "gemma3", "qwen2.5-vl"])
def test_a_vision_tower_is_untrained_too(family: str, tmp_path: Path) -> None:
    build_multimodal(family, tmp_path)
    model = load(str(tmp_path))
    twin = untrained_twin(model)
    own, its = matrices(model), matrices(twin)
    seen = [name for name in its if "vision" in name or "visual" in name]
    assert seen and not [name for name in seen if own[name].std() > 0 and torch.equal(own[name], its[name])]
    assert twin.image_processor is model.image_processor


def test_refusals(monkeypatch: pytest.MonkeyPatch, unchecked: None, tiny: Any) -> None:
    model: Any = "no model"
    with pytest.raises(InputError, match="a str holds none"):
        untrained_twin(model)
    monkeypatch.setattr(room, "free_memory", lambda on: 1000)
    with pytest.raises(InputError, match=r"\(untrained\)': its weights need"):
        untrained_twin(tiny)
    monkeypatch.undo()

    def breaks(*args: Any, **how: Any) -> Any:
        raise TypeError("no such thing")

    monkeypatch.setattr(type(tiny.original_model), "_from_config", breaks)
    with pytest.raises(InputError, match=r"LlamaForCausalLM cannot be made from its config alone \(no such thing\)"):
        untrained.untrained_twin(tiny)
