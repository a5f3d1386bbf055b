"""Shifts against plain PyTorch arithmetic; attached equals folded equals saved and loaded; what cannot be folded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import build, output_projections
from problems import problem
from transformers import AutoModelForCausalLM

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.rows import attach_rows, distinct, read_intervention
from lens_truth.gates.shift import HeadShift
from lens_truth.models.loading import load
from lens_truth.models.structure import attentions
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.directions import best_heads, truth_directions
from lens_truth.scoring.head_probes import HeadProbes

IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 9, [0] * 3 + [1] * 6])
NO_BIAS = {*(("mistral", site) for site in ("z", "resid_post")), *(("qwen2", site) for site in ("z", "resid_post"))}
NO_BIAS |= {("qwen3", "resid_post")}
"""Architectures whose config has no switch for such a bias."""


def shift_for(hf: Any, site: Any = "z", scale: float = 1.0) -> HeadShift:
    width = attentions(hf)[0].d_head if site == "z" else hf.config.hidden_size
    vectors = torch.randn(3, 4 if site == "z" else 1, width, generator=torch.Generator().manual_seed(1))
    vectors[1] = 0  # a layer that is left alone
    return HeadShift(scale * vectors, site)


@contextmanager
def by_hand(hf: Any, shift: HeadShift) -> Iterator[None]:
    """The shift with nothing but PyTorch: added before `o_proj`, or to the output of a layer."""
    handles = []
    for vector, attention, projection in zip(shift.vectors, attentions(hf), output_projections(hf), strict=True):
        if shift.site == "z":
            handles.append(projection.register_forward_pre_hook(partial(_into, vector.flatten())))
        else:
            handles.append(hf.get_submodule(attention.block).register_forward_hook(partial(_out_of, vector[0])))
    yield
    for handle in handles:
        handle.remove()


def _into(vector: torch.Tensor, module: Any, args: Any) -> Any:
    return (args[0] + vector,)


def _out_of(vector: torch.Tensor, module: Any, args: Any, output: Any) -> Any:
    return output + vector if isinstance(output, torch.Tensor) else (output[0] + vector, *output[1:])


def logits(model: Any, ids: torch.Tensor = IDS, mask: torch.Tensor = MASK) -> torch.Tensor:
    with torch.no_grad():
        output = model(ids, attention_mask=mask)
    return output if isinstance(output, torch.Tensor) else output.logits


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max())))


@pytest.mark.parametrize("site", ["z", "resid_post"])
def test_attached_equals_arithmetic_equals_folded_equals_saved(family: str, site: Any, tmp_path: Path) -> None:
    hf = build(family)
    shift = shift_for(hf, site)
    with by_hand(hf, shift):
        expected = logits(hf)
    plain, config = logits(hf), hf.config.to_dict()
    model = load(hf)
    with shift.attach(model):
        assert torch.equal(logits(model), expected)
        tokens = model.original_model.generate(IDS, attention_mask=MASK, max_new_tokens=6, do_sample=False)
    assert (expected - plain).abs().max() > 1e-2
    if (family, site) in NO_BIAS:
        with pytest.raises(InputError, match="its config has no switch for one, so a checkpoint would load without"):
            shift.fold_into(model)
    else:
        for source in (hf, model):  # a plain or a hooked model
            folded = shift.fold_into(source)
            assert type(folded) is type(hf)
            assert close(logits(folded), expected)
        folded.save_pretrained(tmp_path)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        assert close(logits(loaded), expected)
        assert torch.equal(loaded.generate(IDS, attention_mask=MASK, max_new_tokens=6, do_sample=False), tokens)
    assert torch.equal(logits(hf), plain) and torch.equal(logits(model), plain)  # the sources are as they were
    assert hf.config.to_dict() == config


OTHERS: dict[str, dict[str, Any]] = {
    "GPT2Config": {"n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 128},
    "GPTNeoXConfig": {},
    "OPTConfig": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "Gemma3TextConfig": {"num_key_value_heads": 2, "head_dim": 8},
    "GraniteConfig": {"residual_multiplier": 0.5},
    "Olmo2Config": {},
    "Starcoder2Config": {"num_key_value_heads": 2},
    "Phi3Config": {"num_key_value_heads": 2},
    "MixtralConfig": {"num_key_value_heads": 2, "num_local_experts": 2},
}
REFUSED = {
    ("Gemma3TextConfig", "resid_post"): "no bias on its down_proj, and its config has no switch",
    ("GraniteConfig", "resid_post"): "is changed .by a norm or a factor. before it is added to the residual stream",
    ("Olmo2Config", "resid_post"): "no bias on its down_proj, and its config has no switch",
    ("Phi3Config", "z"): "no bias on its o_proj, and its config has no switch",
    ("Phi3Config", "resid_post"): "no bias on its down_proj, and its config has no switch",
    ("MixtralConfig", "z"): "no bias on its o_proj, and its config has no switch",
    ("MixtralConfig", "resid_post"): "layer 0 has no one MLP whose bias could hold",
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_what_loads_is_what_was_attached_or_nothing_is_written(name: str, tmp_path: Path) -> None:
    """With biases from the start (GPT-2's on a transposed map), by a switch of the config, or not at all."""
    more = {"initializer_range": 0.3, "max_position_embeddings": 128, "pad_token_id": 0, "vocab_size": 60}
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    torch.manual_seed(7)
    config = getattr(transformers, name)(**(more | sizes | {"bos_token_id": 1, "eos_token_id": 2} | OTHERS[name]))
    hf: Any = AutoModelForCausalLM.from_config(config).eval()
    mask = torch.ones_like(MASK)
    for site in ("z", "resid_post"):
        shift, model = shift_for(hf, site), load(hf)
        with shift.attach(model):
            expected = logits(model, mask=mask)
        if why := REFUSED.get((name, site)):
            with pytest.raises(InputError, match=why):
                shift.fold_into(model)
            continue
        shift.fold_into(model).save_pretrained(tmp_path / site)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / site).eval()
        assert close(logits(loaded, mask=mask), expected)


def test_a_fold_at_the_residual_stream_is_refused_behind_a_norm() -> None:
    """Where the bias is there but what it adds does not arrive."""
    hf = build("llama", mlp_bias=True)
    shift = shift_for(hf, "resid_post")
    shift.fold_into(hf)
    for layer in hf.model.layers:
        layer.mlp.register_forward_hook(lambda _, x, y: 0.5 * y)
    with pytest.raises(InputError, match="its bias cannot hold the shift: attach it"):
        shift.fold_into(hf)


def test_zeros_are_the_model_as_it_is_to_the_bit(family: str) -> None:
    model = load(build(family))
    zeros = HeadShift(torch.zeros(3, 4, model.cfg.d_head))
    with zeros.attach(model):
        assert torch.equal(logits(model), logits(load(build(family))))
    rows = [zeros, HeadShift(torch.ones(3, 4, model.cfg.d_head)), HeadGate(torch.full((3, 4), 2.0)), None]
    ids, mask = IDS[:1].repeat(4, 1), MASK[:1].repeat(4, 1)
    with attach_rows(model, rows):
        _, cache = model.run_with_cache(ids, attention_mask=mask, names_filter=["blocks.0.attn.hook_z"])
        found = logits(model, ids, mask)
    _, plain = model.run_with_cache(ids, attention_mask=mask, names_filter=["blocks.0.attn.hook_z"])
    z, before = cache["blocks.0.attn.hook_z"], plain["blocks.0.attn.hook_z"]
    assert (
        torch.equal(z[[0, 3]], before[[0, 3]]) and torch.equal(z[1], before[1] + 1) and torch.equal(z[2], 2 * before[2])
    )
    alone = logits(model, ids, mask)
    assert torch.equal(found[[0, 3]], alone[[0, 3]])
    assert (found[1] - alone[1]).abs().max() > 1e-2 < (found[2] - alone[2]).abs().max()


@pytest.mark.parametrize("site", ["z", "resid_post"])
def test_shifts_of_a_batch_are_each_rows_own(site: Any) -> None:
    model = load(build("llama-gqa-head-dim"))
    one, other = shift_for(model.original_model, site), shift_for(model.original_model, site, -0.5)
    both = HeadShift(torch.stack([one.vectors, other.vectors]), site)
    with both.attach(model):
        found = logits(model)
    for row, shift in enumerate((one, other)):
        with shift.attach(model):
            assert torch.equal(found[row], logits(model)[row])
    with both.attach(model), pytest.raises(InputError, match="2 rows .* the batch has 1 rows"):
        logits(model, IDS[:1], MASK[:1])
    with pytest.raises(InputError, match="batch axis cannot be folded"):
        both.fold_into(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_are_rounded_once_in_half_precision(dtype: torch.dtype) -> None:
    model = load(build("llama").to(dtype))
    shift = shift_for(model.original_model)
    name = "blocks.0.attn.hook_z"
    with torch.no_grad():
        _, before = model.run_with_cache(IDS, names_filter=[name])
        with shift.attach(model):
            _, after = model.run_with_cache(IDS, names_filter=[name])
        folded: Any = shift.fold_into(model)
    assert torch.equal(after[name], (before[name].float() + shift.vectors[0]).to(dtype))
    weight = folded.model.layers[0].self_attn.o_proj
    exact = weight.weight.double() @ shift.vectors[0].flatten().double()
    assert torch.equal(weight.bias, exact.to(dtype))


def test_what_does_the_same_is_asked_once() -> None:
    model = load(build("llama"))
    shift = shift_for(model.original_model)
    again, nothing = HeadShift(shift.vectors.clone()), HeadShift(torch.zeros_like(shift.vectors))
    ones, at_stream = HeadGate(torch.ones(3, 4)), shift_for(model.original_model, "resid_post")
    gates = {"": None, "a": shift, "b": again, "c": nothing, "d": ones, "e": at_stream}
    first, kept = distinct(gates, model)
    assert first == {"": "", "a": "a", "b": "a", "c": "", "d": "", "e": "e"}
    assert kept == {"": None, "a": shift, "e": at_stream}


def test_save_and_load(tmp_path: Path) -> None:
    probes = HeadProbes.fit(problem())
    shift = HeadShift.from_probes(probes, 15, heads=2)
    shift.save(tmp_path / "shift.safetensors")
    loaded = HeadShift.load(tmp_path / "shift.safetensors")
    assert torch.equal(loaded.vectors, shift.vectors)
    assert (loaded.site, loaded.provenance, loaded.strength) == (shift.site, shift.provenance, shift.strength)
    assert isinstance(read_intervention(tmp_path / "shift.safetensors"), HeadShift)
    HeadGate(torch.ones(2, 3)).save(tmp_path / "gate.safetensors")
    assert isinstance(read_intervention(tmp_path / "gate.safetensors"), HeadGate)
    with pytest.raises(InputError, match="is not a readable shift"):
        HeadShift.load(tmp_path / "gate.safetensors")
    probes.save(tmp_path / "probes.safetensors")
    with pytest.raises(InputError, match="holds neither a gate nor a shift, but accuracy"):
        read_intervention(tmp_path / "probes.safetensors")
    with pytest.raises(InputError, match="is no readable .safetensors file"):
        read_intervention(tmp_path / "none.safetensors")


# -- from probes ----------------------------------------------------------------------------------------------------


def test_iti_is_alpha_sigma_theta_on_the_heads_with_the_best_probes() -> None:
    activations = problem()
    probes = HeadProbes.fit(activations)
    shift = HeadShift.from_probes(probes, 3, heads=2)
    heads = [tuple(head) for head in shift.provenance["heads"]]
    assert heads[0] == (1, 2) == probes.scores.best()  # which knows the label best
    order = sorted((-float(probes.accuracy[at // 3, at % 3]), at // 3, at % 3) for at in range(6))
    assert heads == [(layer, head) for _, layer, head in order[:2]]
    for layer in range(2):
        for head in range(3):
            vector, theta = shift.vectors[layer, head], probes.directions[layer, head]
            if (layer, head) not in heads:
                assert not vector.any()
                continue
            unit = theta / theta.norm()
            sigma = (activations.z[:, layer, head] @ unit).std(correction=0)
            torch.testing.assert_close(vector, 3 * sigma * unit, rtol=1e-4, atol=1e-6)
            assert float(vector @ theta) > 0  # towards "supported"
    assert shift.strength == pytest.approx(3 * math.sqrt(2 / 6))
    away = HeadShift.from_probes(probes, -3, heads=2)
    assert torch.equal(away.vectors, -shift.vectors)


def test_mass_mean_is_the_plain_difference_of_class_means() -> None:
    activations = problem()
    probes = HeadProbes.fit(activations)
    its = truth_directions(probes, activations)
    one = activations.labels.bool()
    apart = activations.z[one].mean(0) - activations.z[~one].mean(0)
    unit = apart / apart.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(its.directions, unit, rtol=1e-3, atol=1e-5)
    sigma = torch.einsum("nlhd,lhd->nlh", activations.z, unit).std(0, correction=0)
    torch.testing.assert_close(its.sigma, sigma, rtol=1e-3, atol=1e-5)
    assert torch.equal(its.accuracy, probes.accuracy) and its.provenance["direction"] == "mass-mean"
    own = truth_directions(probes)
    assert own.best(3) == its.best(3)
    assert (torch.cosine_similarity(own.directions, its.directions, dim=-1) < 0.99).any()


def test_of_equal_heads_the_first_is_better() -> None:
    scores = torch.tensor([[0.5, 0.9], [0.9, 0.7]]).numpy()
    assert best_heads(scores, 3) == ((0, 1), (1, 0), (1, 1))


@pytest.mark.usefixtures("unchecked")
def test_bad_shifts() -> None:
    probes, model = HeadProbes.fit(problem()), load(build("llama"))
    for alpha in (math.nan, math.inf):
        with pytest.raises(InputError, match="alpha is"):
            HeadShift.from_probes(probes, alpha, 2)
    with pytest.raises(InputError, match="48 heads were asked for, and there are 1 to 6"):
        HeadShift.from_probes(probes, 1)
    with pytest.raises(InputError, match="there is no head 2.0 among 2 layers x 3 heads"):
        HeadShift.from_probes(probes, 1, [(2, 0)])
    with pytest.raises(InputError, match="are none, or one stands twice"):
        HeadShift.from_probes(probes, 1, [(1, 0), (1, 0)])
    for refuse in (HeadShift.from_probes(probes, 1, 2).attach, HeadShift.from_probes(probes, 1, 2).fold_into):
        with pytest.raises(InputError, match="the shift is of 2 x 3 x 8 .layers, heads, width"):
            refuse(model)
    with pytest.raises(InputError, match="a shift has shape .3, 4.; it must be .layers, heads, width"):
        HeadShift(torch.zeros(3, 4))
    with pytest.raises(InputError, match="it must be .layers, 1, width"):
        HeadShift(torch.zeros(3, 4, 8), "resid_post")
    with pytest.raises(InputError, match="acts at z or resid_post, not at 'block'"):
        HeadShift(torch.zeros(3, 4, 8), "block")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="not finite"):
        HeadShift(torch.full((3, 4, 8), math.nan))
    with pytest.raises(InputError, match="Linear is not one"):
        HeadShift(torch.zeros(3, 4, 8)).fold_into(torch.nn.Linear(2, 2))
    other = problem(H=2)
    with pytest.raises(InputError, match="directions need both of the same heads"):
        truth_directions(probes, other)
    same = problem()
    with pytest.raises(InputError, match="all 240 rows have one label"):
        truth_directions(
            probes, HeadActivations(same.z, torch.ones_like(same.labels), same.groups, same.ids, same.provenance)
        )


def test_quantised_weights_are_not_folded_into() -> None:
    class Quantised(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(input, self.weight.round(), self.bias)

    hf = build("llama")
    for layer in hf.model.layers:
        layer.self_attn.o_proj.__class__ = Quantised
    with pytest.raises(InputError, match="are changed in its forward pass, so no shift can be folded into them"):
        shift_for(hf).fold_into(hf)
