"""Gates against plain PyTorch arithmetic, at every site; attached equals folded equals saved and loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build, output_projections
from transformers import AutoModelForCausalLM

from lens_truth.errors import InputError
from lens_truth.gates.controls import DRAWN, control_gate
from lens_truth.gates.gate import HeadGate
from lens_truth.models.loading import load
from lens_truth.models.structure import heads_of
from lens_truth.scoring.scores import HeadScores

IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 9, [0] * 3 + [1] * 6])
SCORES = HeadScores(np.random.default_rng(0).uniform(0.5, 1, size=(3, 4)))
GATE = HeadGate.from_scores(SCORES, 4.5)


@contextmanager
def by_hand(hf: Any, values: torch.Tensor, site: str) -> Iterator[None]:
    """The gate with nothing but PyTorch: z before `o_proj`, or blocks of its output."""
    handles = []
    for gate, projection in zip(values, output_projections(hf), strict=True):
        if site == "z":
            factor = gate.repeat_interleave(projection.in_features // len(gate))
            handles.append(projection.register_forward_pre_hook(lambda _, x, f=factor: (x[0] * f,)))
        else:
            factor = gate.repeat_interleave(projection.out_features // len(gate))
            handles.append(projection.register_forward_hook(lambda _, x, y, f=factor: y * f))
    yield
    for handle in handles:
        handle.remove()


def logits(model: Any, ids: torch.Tensor = IDS, mask: torch.Tensor = MASK) -> torch.Tensor:
    with torch.no_grad():
        output = model(ids, attention_mask=mask)
    return output if isinstance(output, torch.Tensor) else output.logits


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max())))


def test_lambda_zero_is_exactly_vanilla(family: str) -> None:
    model = load(build(family))
    for norm in ("center", "minmax", "none"):
        with HeadGate.from_scores(SCORES, 0.0, norm).attach(model):
            gated = logits(model)
        assert torch.equal(gated, logits(model))


@pytest.mark.parametrize("site", ["z", "block"])
def test_attached_equals_arithmetic_equals_folded_equals_saved(family: str, site: Any, tmp_path: Path) -> None:
    hf = build(family)
    gate = HeadGate(GATE.values, site)
    with by_hand(hf, gate.values, site):
        expected = logits(hf)
    plain = logits(hf)
    model = load(hf)
    with gate.attach(model):
        assert torch.equal(logits(model), expected)
        tokens = model.original_model.generate(IDS, attention_mask=MASK, max_new_tokens=6, do_sample=False)
    for source in (hf, model):  # a plain or a hooked model
        folded = gate.fold_into(source)
        assert type(folded) is type(hf)
        assert close(logits(folded), expected)
    folded.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert close(logits(loaded), expected)
    assert torch.equal(loaded.generate(IDS, attention_mask=MASK, max_new_tokens=6, do_sample=False), tokens)
    assert torch.equal(logits(hf), plain) and torch.equal(logits(model), plain)  # the sources are as they were
    assert (expected - plain).abs().max() > 1e-2


def test_block_is_another_intervention_than_z() -> None:
    model = load(build("llama"))
    results = {}
    for site in ("z", "block"):
        with HeadGate(GATE.values, site).attach(model):  # pyright: ignore[reportArgumentType]
            results[site] = logits(model)
    assert (results["z"] - results["block"]).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["llama", "llama-gqa-head-dim", "mistral", "qwen2", "qwen3"])
def test_result_is_the_same_as_z(family: str) -> None:
    hf = build(family)
    stock = load(hf, stock=True)
    gate = HeadGate(GATE.values, "result")
    with gate.attach(stock):
        through_result = logits(stock)
    with HeadGate(GATE.values).attach(stock):
        through_z = logits(stock)
    with by_hand(hf, GATE.values, "z"):
        expected = logits(hf)
    real = MASK.bool()  # the stock bridge computes other numbers under the padding
    torch.testing.assert_close(through_result[real], through_z[real], rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(through_result[real], expected[real], rtol=2e-4, atol=2e-4)
    with pytest.raises(InputError, match="needs a model loaded with stock=True"):
        gate.attach(load(hf))


def test_gate_in_double_precision_is_exact_to_rounding() -> None:
    """On the residual stream before the last norm, which Hugging Face computes in float32."""
    hf = build("llama").double()
    model, folded = load(hf), GATE.fold_into(hf)
    with GATE.attach(model), torch.no_grad():
        _, cache = model.run_with_cache(IDS, names_filter=["blocks.2.hook_resid_post"])
        states = folded(IDS, output_hidden_states=True).hidden_states
    residual = cache["blocks.2.hook_resid_post"]
    seen: list[torch.Tensor] = []
    handle = folded.model.norm.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    folded(IDS)
    handle.remove()
    assert len(states) == 4
    assert (residual - seen[0]).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("site", ["z", "block"])
def test_a_gate_near_one_is_not_rounded_away_in_half_precision(dtype: torch.dtype, site: Any) -> None:
    hf = build("llama").to(dtype)
    small = HeadGate(torch.full((3, 4), 1.003), site)  # bfloat16 knows 1 and 1.0078 only
    weight, folded = (m.model.layers[0].self_attn.o_proj.weight.detach().float() for m in (hf, small.fold_into(hf)))
    assert float((folded / weight).mean()) == pytest.approx(1.003, abs=3e-4)
    name = "blocks.0.attn.hook_z" if site == "z" else "blocks.0.hook_attn_out"
    model = load(hf)
    with torch.no_grad():
        _, before = model.run_with_cache(IDS, names_filter=[name])
        with small.attach(model):
            _, after = model.run_with_cache(IDS, names_filter=[name])
    assert float((after[name].float() / before[name].float()).nanmedian()) == pytest.approx(1.003, abs=4e-3)
    assert not torch.equal(after[name], before[name])


def test_gates_of_a_batch_are_each_rows_own() -> None:
    model = load(build("mistral"))
    gates = torch.stack([GATE.values, torch.ones(3, 4)])
    for site in ("z", "block"):
        with HeadGate(gates, site).attach(model):  # pyright: ignore[reportArgumentType]
            both = logits(model)
        for row in range(2):
            with HeadGate(gates[row], site).attach(model):  # pyright: ignore[reportArgumentType]
                assert torch.equal(both[row], logits(model)[row])
        with HeadGate(gates, site).attach(model), pytest.raises(InputError, match="2 rows .* the batch has 1 rows"):  # pyright: ignore[reportArgumentType]
            logits(model, IDS[:1], MASK[:1])
    with pytest.raises(InputError, match="batch axis cannot be folded"):
        HeadGate(gates).fold_into(model)


def test_attach_reaches_run_with_cache_and_ends_with_its_context() -> None:
    model = load(build("qwen2"))
    _, before = model.run_with_cache(IDS)
    with HeadGate(torch.zeros(3, 4)).attach(model):
        _, inside = model.run_with_cache(IDS)
    _, after = model.run_with_cache(IDS)
    assert inside["blocks.1.hook_attn_out"].abs().max() == 0
    assert torch.equal(before["blocks.1.hook_attn_out"], after["blocks.1.hook_attn_out"])


def test_gates_nest() -> None:
    model = load(build("llama"))
    with HeadGate(torch.full((3, 4), 2.0)).attach(model), HeadGate(torch.full((3, 4), 0.5)).attach(model):
        assert torch.equal(logits(model), logits(load(build("llama"))))


def test_save_and_load(tmp_path: Path) -> None:
    gate = HeadGate.from_scores(SCORES, 4.5, "minmax", floor=0.1, site="block")
    gate.save(tmp_path / "gate.safetensors")
    loaded = HeadGate.load(tmp_path / "gate.safetensors")
    assert torch.equal(loaded.values, gate.values)
    assert (loaded.site, loaded.provenance) == (gate.site, gate.provenance)
    with pytest.raises(InputError, match="not a readable gate"):
        HeadGate.load(tmp_path / "none.safetensors")


def test_bad_gates() -> None:
    model = load(build("llama"))
    for lam in (math.nan, math.inf):
        with pytest.raises(InputError, match="lambda is"):
            HeadGate.from_scores(SCORES, lam)
    with pytest.raises(InputError, match="floor is nan"):
        HeadGate.from_scores(SCORES, 1.0, floor=math.nan)
    other = HeadGate(torch.ones(2, 4))
    with pytest.raises(InputError, match="gate has 2 layers x 4 heads, the model 3 x 4"):
        other.attach(model)
    with pytest.raises(InputError, match="gate has 2 layers x 4 heads, the model 3 x 4"):
        other.fold_into(model)
    with pytest.raises(InputError, match="not finite"):
        HeadGate(torch.full((3, 4), math.nan))
    with pytest.raises(InputError, match="Linear is not one"):
        GATE.fold_into(torch.nn.Linear(2, 2))


def test_heads_of_the_tiny_models(family: str) -> None:
    heads = heads_of(build(family))
    assert (heads.n_layers, heads.n_heads) == (3, 4)


# -- control gates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DRAWN)
def test_another_seed_draws_another_control(kind: Any) -> None:
    one, again, other = (control_gate(kind, GATE, seed).values for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_the_uniform_control_of_a_centred_gate_does_nothing() -> None:
    """Exactly, so that it need not be asked."""
    for lam in (0.1, 0.7, 13.0):
        uniform = control_gate("uniform", HeadGate.from_scores(SCORES, lam, "center"), seed=0)
        assert (uniform.values == 1).all()
    raised = HeadGate.from_scores(SCORES, 0.7, "minmax")
    torch.testing.assert_close(control_gate("uniform", raised, seed=0).values[:, 0], raised.values.mean(1))


def test_permutations_stay_inside_layers_and_move_heads() -> None:
    g = torch.arange(32.0).reshape(4, 8)
    draws = torch.stack([control_gate("permuted", HeadGate(g), s).values for s in range(200)])
    assert (draws // 8 == (g // 8)).all()
    assert ((draws - g.mean(1, keepdim=True)).mean(0).abs() < 0.8).all()  # every head gets every value equally often
