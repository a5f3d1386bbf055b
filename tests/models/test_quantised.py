"""Models whose weights are quantised: hooks, gradients, folds, hashes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from quantising import GROUP, MarlinLinear, Packed, TorchLinear, packed, quantised, tiny
from torch import nn

from lens_truth import HeadGate, InputError, load
from lens_truth.models.folding import scale_inputs, scale_outputs
from lens_truth.models.gradients import check_gradients
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooks import gate_heads
from lens_truth.models.twin import shared_copy

IDS = torch.arange(3, 27).reshape(2, 12)
GATE = HeadGate(torch.tensor([[0.5, 1.5], [0.0, -0.7], [1.0, 1.3]]))
BLOCKS = HeadGate(GATE.values, "block")
ALIKE = HeadGate(torch.tensor([[-0.5, -0.5], [1.5, 1.5], [0.0, 0.0]]))
"""One gain for all heads of a layer, which a scale for each output can take."""
NEEDS = {"nf4": "bitsandbytes", "fp4": "bitsandbytes", "int8": "bitsandbytes"}
GROUPED = ["nf4", "nf4-double", "fp4", "torchao-int8-groups", "torchao-int4-groups"]
BY_OUTPUT = ["torchao-int8", "torchao-float8", "quanto-int8", "quanto-int4", "quanto-float8"]
pytestmark = pytest.mark.filterwarnings("ignore")  # of packages


def read(kind: str, tmp_path: Path) -> Any:
    package = NEEDS.get(kind.split("-")[0], "torchao" if kind.startswith("torchao") else "optimum.quanto")
    pytest.importorskip(package)
    return quantised(kind, tmp_path)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        output = model(IDS, attention_mask=torch.ones_like(IDS))
    return getattr(output, "logits", output)


def attached(gate: HeadGate, model: Any) -> torch.Tensor:
    with gate.attach(model):
        return logits(model)


def hold_together(hf: Any, gates: list[HeadGate], within: float = 1e-5) -> None:
    """Hooks, slopes and folds of a model, which stays as it is."""
    model = load(hf)
    plain, hashed = logits(hf), weights_hash(model)
    assert torch.equal(logits(model), plain)
    assert weights_hash(hf) == hashed

    gate = torch.ones(3, 2, requires_grad=True)
    check_gradients(model)
    with gate_heads(model, gate):
        model(IDS).logsumexp(-1).sum().backward()
    assert gate.grad is not None and (gate.grad != 0).all()

    for gate in gates:
        folded = gate.fold_into(model)
        gated = attached(gate, model)
        assert (gated - plain).abs().max() > 0.1
        assert (logits(folded) - gated).abs().max() <= within * gated.abs().max()
        assert weights_hash(folded) != hashed
        assert torch.equal(logits(hf), plain) and weights_hash(hf) == hashed


@pytest.mark.parametrize("kind", GROUPED)
def test_groups_take_any_gate_and_are_saved_with_it(kind: str, tmp_path: Path) -> None:
    hf = read(kind, tmp_path)
    hold_together(hf, [GATE, BLOCKS, ALIKE])
    folded = GATE.fold_into(hf)
    folded.save_pretrained(tmp_path / "gated")
    again = load(tmp_path / "gated")
    assert torch.equal(logits(again), logits(folded))


@pytest.mark.parametrize("kind", BY_OUTPUT)
def test_a_scale_for_each_output_takes_one_gain_for_all_heads(kind: str, tmp_path: Path) -> None:
    hf = read(kind, tmp_path)
    hold_together(hf, [BLOCKS, ALIKE])
    with pytest.raises(InputError, match="share a scale would need different gates.*: attach it, or fold it into"):
        GATE.fold_into(hf)


def test_llm_int8_takes_one_gain_for_all_heads(tmp_path: Path) -> None:
    """What it is given is rounded too, before the gain or behind it, so logits say little."""
    hf = read("int8", tmp_path)
    twin = shared_copy(hf)  # before the first pass, which moves scales about
    assert torch.equal(logits(twin), logits(hf))
    hold_together(hf, [])
    for gate, factor in (ALIKE, ALIKE.values[:, :1]), (BLOCKS, GATE.values.repeat_interleave(GROUP, 1)):
        folded = gate.fold_into(hf)
        for old, new, by in zip(hf.model.layers, folded.model.layers, factor, strict=True):
            scales = [layer.self_attn.o_proj.state.SCB for layer in (old, new)]
            assert torch.equal(scales[1], scales[0] * by)
            assert new.self_attn.o_proj.weight is old.self_attn.o_proj.weight
    with pytest.raises(InputError, match="Linear8bitLt that share a scale"):
        GATE.fold_into(hf)


def test_four_bits_stay_as_they_are_saved(tmp_path: Path) -> None:
    """bitsandbytes repacks them at the first pass on some processors, without gradients."""
    hf = read("nf4", tmp_path)
    hf(IDS)
    model = load(hf)
    first = logits(model)
    hf.state_dict()
    assert torch.equal(logits(model), first)
    hf.save_pretrained(tmp_path / "saved")
    assert torch.equal(logits(load(tmp_path / "saved")), first)


def test_what_rounds_its_inputs_has_no_causal_scores(tmp_path: Path) -> None:
    hf = read("torchao-8da4w", tmp_path)
    model = load(hf)
    folded = GATE.fold_into(model).model.layers[0].self_attn.o_proj.weight.dequantize()
    factor = GATE.values[0].repeat_interleave(GROUP)
    torch.testing.assert_close(folded, hf.model.layers[0].self_attn.o_proj.weight.dequantize() * factor)
    with pytest.raises(InputError, match=r"no gradient flows through model\.layers\.0.*weights alone quantised"):
        check_gradients(model)


@pytest.mark.parametrize("axis", [0, 1])
def test_hqq(axis: int) -> None:
    hqq = pytest.importorskip("hqq.core.quantize")
    hf = tiny()
    how = hqq.BaseQuantizeConfig(nbits=4, group_size=GROUP, axis=axis)
    for layer in hf.model.layers:
        projection = layer.self_attn.o_proj
        layer.self_attn.o_proj = hqq.HQQLinear(projection, how, compute_dtype=torch.float32, device="cpu")
    hold_together(hf, [GATE, ALIKE, *([BLOCKS] if axis else [])])
    shared = shared_copy(hf).model.layers[0].self_attn.o_proj.meta["scale"]
    assert shared is hf.model.layers[0].self_attn.o_proj.meta["scale"]


def test_gptq() -> None:
    hold_together(packed(TorchLinear, GROUP), [GATE, BLOCKS, ALIKE], 1e-2)  # scales in half precision
    hold_together(packed(TorchLinear, GROUP // 2), [GATE], 1e-2)


def test_gptq_where_groups_hold_several_heads() -> None:
    for hf in packed(TorchLinear, 2 * GROUP), packed(TorchLinear, GROUP, torch.randperm(2 * GROUP)):
        hold_together(hf, [BLOCKS, ALIKE], 1e-2)
        with pytest.raises(InputError, match="TorchLinear that share a scale"):
            GATE.fold_into(hf)


def test_act_order_that_stays_inside_heads() -> None:
    order = torch.arange(2 * GROUP).reshape(2, GROUP).flip(0).flatten()  # the first head is in the second group
    hold_together(packed(TorchLinear, GROUP, order), [GATE], 1e-2)


def test_a_layer_that_nothing_is_known_of_is_hooked_and_not_folded() -> None:
    hf = packed(MarlinLinear, GROUP)
    hold_together(hf, [])
    with pytest.raises(InputError, match="weights of a MarlinLinear are no plain numbers.*attach it"):
        GATE.fold_into(hf)


def test_a_fold_that_does_not_act_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    hf = packed(TorchLinear, GROUP)
    kept = hf.model.layers[0].self_attn.o_proj  # as a compiled layer keeps the weights of the one it was copied from
    monkeypatch.setattr(TorchLinear, "forward", lambda self, x: Packed.forward(kept, x))
    with pytest.raises(InputError, match="folded into weights of a TorchLinear does not act as it does attached"):
        GATE.fold_into(hf)


def test_weights_that_are_changed_in_the_forward_pass_are_not_folded() -> None:
    class Fake(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(input, self.weight.round(decimals=1))

    with pytest.raises(InputError, match="weights of a Fake are changed in its forward pass.*attach it"):
        scale_inputs(Fake(4, 4), torch.ones(4))


def test_a_forward_pass_put_onto_a_layer_is_not_folded() -> None:
    hf = tiny()
    projection = hf.model.layers[0].self_attn.o_proj
    projection.forward = lambda x: nn.functional.linear(x, projection.weight)  # of this layer, in its copies too
    with pytest.raises(InputError, match="weights of a Linear are changed in its forward pass"):
        GATE.fold_into(hf)


def test_fp8_in_blocks() -> None:
    from transformers.integrations.finegrained_fp8 import FP8Linear

    layer: Any = FP8Linear(256, 128, block_size=(128, 128))
    layer.weight_scale_inv = nn.Parameter(torch.tensor([[2.0, 3.0]]))
    scale_inputs(layer, torch.cat([torch.full((128,), 0.5), torch.full((128,), -1.0)]))
    assert layer.weight_scale_inv.tolist() == [[1.0, -3.0]]
    with pytest.raises(InputError, match="FP8Linear that share a scale"):
        scale_outputs(layer, torch.arange(128.0))


def test_hash_of_what_was_made_in_inference_mode() -> None:
    with torch.inference_mode():
        hf = tiny()
    before = weights_hash(hf)
    with torch.inference_mode():
        hf.lm_head.weight[0, 0] += 1
    assert weights_hash(hf) != before


@pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed")
def test_package_that_is_not_installed(tmp_path: Path) -> None:
    hf = tiny()
    hf.save_pretrained(tmp_path)
    hf.config.quantization_config = {"quant_method": "torchao", "quant_type": {"default": {"_type": "A", "_data": {}}}}
    hf.config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"needs the Python package torchao, which is not installed"):
        load(tmp_path)
