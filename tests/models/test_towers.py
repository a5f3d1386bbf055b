"""The tower inside a multimodal checkpoint and a language model, compared by path alone; Qwen2.5-Omni as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import run
from multimodal import FAMILIES, build_multimodal
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2Config,
    Qwen3Config,
)

from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.kept import WeightSimilarity
from lens_truth.lineage.weights import weight_similarity
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load

BASES: dict[str, Any] = {
    "llava": LlamaConfig,
    "llava-next-vicuna": LlamaConfig,
    "llava-next-mistral": MistralConfig,
    "llava-onevision": Qwen2Config,
    "qwen2.5-vl": Qwen2Config,
    "qwen3-vl": Qwen3Config,
    "qwen2.5-omni": Qwen2Config,
    "internvl": Qwen2Config,
    "gemma3": Gemma3TextConfig,
}


def base_of(family: str, child: Any, folder: Path) -> Path:
    """A language model with the weights of the tower."""
    text = child.config.get_text_config().to_dict()
    shared = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim")
    shape = {name: text[name] for name in (*shared, "num_key_value_heads") if text.get(name) is not None}
    base = AutoModelForCausalLM.from_config(BASES[family](**shape, tie_word_embeddings=False))
    tower = {f"model.{name}": tensor for name, tensor in child.model.language_model.state_dict().items()}
    base.load_state_dict({**tower, "lm_head.weight": child.lm_head.weight})
    base.save_pretrained(folder)
    return folder


def kept_all(similarity: WeightSimilarity) -> bool:
    return all(similarity.means()[circuit] == pytest.approx(1.0) for circuit in ("qk", "ov"))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_weights_of_a_base_and_of_the_tower_are_compared_by_path(family: str, tmp_path: Path) -> None:
    child = build_multimodal(family, tmp_path / "child")
    base = base_of(family, child, tmp_path / "base")
    similarity = weight_similarity(str(base), str(tmp_path / "child"))
    assert kept_all(similarity)
    with torch.no_grad():
        child.model.language_model.layers[1].self_attn.o_proj.weight[:, 8:16] *= -1  # head 1 of layer 1
    child.save_pretrained(tmp_path / "child")
    changed = weight_similarity(str(base), str(tmp_path / "child")).ov
    assert changed[1, 1] == pytest.approx(-1) and changed.sum() == pytest.approx(changed.size - 2)


def test_inherit_compares_a_base_with_the_tower_by_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Scored on words as its base is, the tower has the scores of its base; shown images it has scores of its own."""
    child = build_multimodal("llava", tmp_path / "child")
    base = base_of("llava", child, tmp_path / "base")
    AutoTokenizer.from_pretrained(tmp_path / "child").save_pretrained(base)
    flags = ("--probe-seeds", "1", "--limit", "60", "--scores", "causal", "--permutations", "99")
    found = {}
    for data in (("--data", "zoo:text"), ("--setting", "D")):
        out = tmp_path / data[1].replace(":", "-")
        code, _, _ = run(capsys, "inherit", base, tmp_path / "child", *data, *flags, "--out", out)
        assert code == 0
        found[data[1]] = Heritability.load(out).correlations.pearson[0, 1]
    assert found["zoo:text"] == pytest.approx(1.0, abs=1e-4) and found["D"] < 0.999


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_qwen_omni_is_its_thinker(tmp_path: Path) -> None:
    """As an instance and as a folder; the talker is not asked."""
    thinker = build_multimodal("qwen2.5-omni", tmp_path / "thinker")
    config = Qwen2_5OmniConfig(thinker_config=thinker.config.to_dict(), enable_audio_output=False)
    whole = Qwen2_5OmniForConditionalGeneration(config).eval()
    whole.thinker.load_state_dict(thinker.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "thinker")
    assert weights_hash(load(whole, tokenizer=tokenizer)) == weights_hash(load(thinker, tokenizer=tokenizer))
    whole.save_pretrained(tmp_path / "whole")
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / "whole" / name).write_bytes((tmp_path / "thinker" / name).read_bytes())
    assert weights_hash(load(str(tmp_path / "whole"))) == weights_hash(load(str(tmp_path / "thinker")))
    assert load(str(tmp_path / "whole")).image_processor is not None
    assert kept_all(weight_similarity(str(tmp_path / "thinker"), str(tmp_path / "whole")))
