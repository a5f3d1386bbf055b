"""The self-test passes whatever is right and refuses what is not: experts, differential attention, NaN, no SDPA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import build, output_projections, refused, run

import lens_truth
from lens_truth.errors import DataWarning, InputError
from lens_truth.models import selftest
from lens_truth.models.batches import pad_rows
from lens_truth.models.finite import first_not_finite
from lens_truth.models.loading import load, load_plain
from lens_truth.models.selftest import batch_checks, finite_check, hook_checks

SHAPE = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "pad_token_id": 0}


def random_model(family: str, scale: float = 0.3, seed: int = 0, **more: Any) -> Any:
    torch.manual_seed(seed)
    shape = SHAPE | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 2} | more
    config = getattr(transformers, f"{family}Config")(**shape, initializer_range=scale)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(
    ("family", "scale", "dtype"), [("Mixtral", 1.0, torch.float32), ("Olmoe", 0.1, torch.bfloat16)]
)
def test_experts_that_rounding_chooses_are_no_reason_to_refuse(family: str, scale: float, dtype: torch.dtype) -> None:
    for seed in range(2):
        hf = random_model(family, scale, seed).to(dtype)
        model = load(hf)  # which runs the first half of the checks
        assert [check.name for check in batch_checks(model) if not check.passed] == []


def test_experts_do_not_hide_weights_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    hf = random_model("Mixtral")
    model = load(hf)
    scale = selftest.scale_inputs
    monkeypatch.setattr(selftest, "scale_inputs", lambda linear, factor: scale(linear, factor.mean().expand(32)))
    failed = [check.name for check in hook_checks(model) if not check.passed]
    assert failed == ["a random gate equals the same gate folded into the weights"]


def test_differential_attention_is_refused() -> None:
    with pytest.raises(InputError, match="hook_z of a head is what its own attention gives out"):
        load(random_model("DiffLlama"))


def overflowing(layer: int) -> Any:
    """A model whose MLP gives infinity in one layer, from float16's largest number on."""
    hf = build("llama")
    with torch.no_grad():
        hf.model.layers[layer].mlp.down_proj.weight *= 2e4
    return hf.half()


def test_the_first_layer_and_row_that_are_not_finite_are_found() -> None:
    model = load(build("llama"))
    ids, mask = pad_rows([[3, 4, 5], [6, 7, 8, 9, 10]], model, "left")
    assert first_not_finite(model, ids, mask, ["", ""]) is None
    hf: Any = model.original_model
    table = hf.get_input_embeddings().weight
    with torch.no_grad():
        table[7] = float("nan")
    assert first_not_finite(model, ids, mask, ["", ""]) == (0, 1)


def test_check_names_where_half_precision_overflows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load(build("llama").half())
    with torch.no_grad():
        output_projections(model.original_model)[1].weight *= 1e4
    check = finite_check(model)
    assert not check.passed
    assert "rows of 8 and 128 tokens" in check.name and "in float16: first in layer 1, row of " in check.name
    overflowing(2).save_pretrained(tmp_path)
    refused(capsys, "fails 1 of 1 checks: rows of 8 and 128 tokens", "check", tmp_path)
    with pytest.raises(InputError, match="cannot be used: not all rows of 8 and 128 tokens .*layer 2"):
        load(str(tmp_path))
    assert run(capsys, "check", tmp_path, "--dtype", "float32")[0] == 0


def test_a_class_without_sdpa_is_eager_and_that_is_said(tmp_path: Path) -> None:
    hf = random_model("Gemma2")
    hf.save_pretrained(tmp_path)
    with pytest.warns(DataWarning, match="its class has no SDPA in Transformers, so attention is eager"):
        loaded = load_plain(str(tmp_path))
    ids = torch.arange(3, 12)[None]
    assert loaded.config._attn_implementation == "eager" and torch.equal(loaded(ids).logits, hf(ids).logits)
    with pytest.raises(InputError, match="does not support"):
        load_plain(str(tmp_path), attn="sdpa")


def test_layers_may_have_heads_of_several_widths(tokenizer: Any) -> None:
    """Narrow heads are filled up with zeros, which no probe sees."""
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    hf = random_model("Gemma4Text", global_head_dim=16, layer_types=kinds, vocab_size=len(tokenizer))
    model = load(hf, tokenizer=tokenizer)
    z = lens_truth.capture(model, lens_truth.load_examples("zoo:text", limit=8)).z
    assert z.shape == (8, 3, 4, 16)
    assert not z[:, 0, :, 8:].any() and z[:, 1:].all() and z[:, 0, :, :8].all()


@pytest.mark.parametrize(("family", "said"), [("Gemma3Text", "does nothing in any layer"), ("Qwen3", "acts in every")])
def test_check_says_where_a_common_gain_acts(
    family: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_model(family).save_pretrained(tmp_path)
    code, out, _ = run(capsys, "check", "--model", tmp_path)
    assert code == 0 and said in out.splitlines()[-1]
