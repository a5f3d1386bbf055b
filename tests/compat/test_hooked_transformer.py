"""A HookedTransformer that a user passes gives what the bridge around the same weights gives, or is refused in a
sentence. Only `make compat-oldest` has the TransformerLens for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import generate
from conftest import build
from converted import convert

from lens_truth.attention import measuring as pattern_module
from lens_truth.attention.measuring import evidence_attention, patterns
from lens_truth.attention.show import show_heads
from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.gates.controls import CONTROLS, control_gate
from lens_truth.gates.gate import HeadGate
from lens_truth.models.hooks import Hooked, hook_names, sliding_windows
from lens_truth.models.loading import load, load_plain, load_tokenizer
from lens_truth.models.prompts import PromptTokens, encode
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.causal import answer_log_probs, causal_scores
from lens_truth.scoring.learned import learned_gate
from lens_truth.scoring.learned_forms import Learning
from lens_truth.scoring.probing import truth_scores
from lens_truth.scoring.scores import HeadScores

pytestmark = pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated:DeprecationWarning")

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-gqa-head-dim": ("llama-gqa-head-dim", {}),
    "mistral": ("mistral", {}),
    "mistral-window": ("mistral", {"sliding_window": 12}),
    "qwen2": ("qwen2", {}),
}
ZOO = ("llama-base", "mistral-base", "qwen2-base")
GATE = HeadGate.from_scores(HeadScores(np.random.default_rng(0).uniform(0.5, 1, size=(3, 4))), 1.5, "minmax")
FACTS = [example for example in load_examples("zoo:text", limit=40) if example.label]
PAIRS = load_examples("zoo:text", limit=12)

Pair = tuple[Any, Any]
"""The bridge and the HookedTransformer."""


def random_model(name: str, tokenizer: Any) -> Any:
    """A tiny random model, biases included, which Hugging Face begins at zero."""
    family, more = MODELS[name]
    hf = build(family, len(tokenizer), **more)
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter_name, parameter in hf.named_parameters():
            if parameter_name.endswith("bias"):
                parameter.normal_(0, 0.3, generator=draw)
    return hf


@pytest.fixture(scope="module", params=list(MODELS))
def pair(request: pytest.FixtureRequest, tokenizer: Any) -> Pair:
    hf = random_model(request.param, tokenizer)
    return load(hf, tokenizer=tokenizer), convert(hf, tokenizer)


@pytest.fixture(scope="module", params=ZOO)
def trained(request: pytest.FixtureRequest, zoo: Callable[[str], Any]) -> Pair:
    name = f"zoo:{request.param}"
    return zoo(request.param), convert(load_plain(name), load_tokenizer(name))


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """To rounding, relative to the largest number."""
    found, expected = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in (found, expected))
    assert found.shape == expected.shape
    size = max(1.0, float(np.nanmax(np.abs(expected))))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size)


def batch(side: str) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(3, 300, (3, 31), generator=torch.Generator().manual_seed(0))
    gap = torch.tensor([[0], [14], [25]])
    mask = torch.arange(31) >= gap if side == "left" else torch.arange(31) < 31 - gap
    return ids, mask.long()


def logits(model: Any, side: str = "right") -> torch.Tensor:
    """At all tokens that are no padding, where the two compute different numbers."""
    ids, mask = batch(side)
    with torch.no_grad():
        return model(ids, attention_mask=mask)[mask.bool()]


# -- hooks and gates --------------------------------------------------------------------------------------------------


def test_it_is_a_hooked_model_and_hook_names_are_checked(pair: Pair) -> None:
    bridge, hooked = pair
    assert isinstance(hooked, Hooked) and not hasattr(hooked, "original_model")
    assert hook_names(hooked) == hook_names(bridge)
    with pytest.raises(InputError, match=r"the model has no hook blocks\.0\.attn\.hook_zz"):
        hook_names(hooked, "attn.hook_zz")


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_with_padding_on_either_side(pair: Pair, side: str) -> None:
    bridge, hooked = pair
    close(logits(hooked, side), logits(bridge, side))


@pytest.mark.parametrize("site", ["z", "block"])
def test_gates_and_their_controls(pair: Pair, site: Any) -> None:
    bridge, hooked = pair
    before = logits(hooked)
    gate = HeadGate(GATE.values, site)
    for one in (gate, *(control_gate(kind, gate, 1) for kind in CONTROLS)):
        with one.attach(bridge), one.attach(hooked):
            close(logits(hooked), logits(bridge))
            assert (logits(hooked) - before).abs().max() > 1e-2
    assert torch.equal(logits(hooked), before)  # no hook is left


def test_every_row_of_a_batch_can_have_a_gate_of_its_own(pair: Pair) -> None:
    bridge, hooked = pair
    gates = HeadGate(torch.stack([GATE.values, torch.ones(3, 4), 2 - GATE.values]))
    with gates.attach(bridge), gates.attach(hooked):
        close(logits(hooked), logits(bridge))


def test_a_gate_at_the_result_equals_one_at_z(pair: Pair) -> None:
    _, hooked = pair
    gate = HeadGate(GATE.values, "result")
    with pytest.raises(InputError, match="hook_result"):
        gate.attach(hooked)
    with GATE.attach(hooked):
        expected = logits(hooked)
    hooked.set_use_attn_result(True)
    try:
        with gate.attach(hooked):
            close(logits(hooked), expected)
    finally:
        hooked.set_use_attn_result(False)


def test_generation_is_gated_with_and_without_the_cache(pair: Pair) -> None:
    bridge, hooked = pair
    ids = batch("right")[0]
    more = {"max_new_tokens": 6, "do_sample": False}
    with GATE.attach(bridge), GATE.attach(hooked):
        expected = bridge.original_model.generate(ids, **more, eos_token_id=None)
        for cache in (True, False):
            told = hooked.generate(ids, **more, stop_at_eos=False, use_past_kv_cache=cache, verbose=False)
            assert torch.equal(told, expected)


# -- what is computed -------------------------------------------------------------------------------------------------


def same_provenance(found: Any, expected: Any) -> None:
    """The model's name and weights are those of another model, as far as a file of scores can tell."""
    differ = {
        key for key in found.provenance | expected.provenance if found.provenance[key] != expected.provenance[key]
    }
    assert differ == {"model", "weights"}


def test_capture(pair: Pair, tmp_path: Path) -> None:
    bridge, hooked = pair
    expected, found = capture(bridge, PAIRS, batch_size=5), capture(hooked, PAIRS, batch_size=5, out=tmp_path)
    close(found.z, expected.z)
    close(capture(hooked, PAIRS, batch_size=1).z, found.z)
    assert (found.ids, found.labels.tolist()) == (expected.ids, expected.labels.tolist())
    same_provenance(found, expected)
    assert torch.equal(capture(hooked, PAIRS, batch_size=5, out=tmp_path).z, found.z)


def test_causal_scores_and_learned_gates(pair: Pair) -> None:
    bridge, hooked = pair
    expected, found = causal_scores(bridge, PAIRS), causal_scores(hooked, PAIRS)
    close(found.values, expected.values, 5e-5)
    close(causal_scores(hooked, PAIRS, batch_size=1).values, expected.values, 5e-5)
    same_provenance(found, expected)
    assert np.abs(found.values).max() > 0.01
    expected, found = (learned_gate(model, PAIRS, learning=Learning(steps=4)) for model in pair)
    assert np.abs(expected.values).max() > 0.01
    close(found.values, expected.values, 1e-3)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in hooked.parameters())


def test_evidence(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    bridge, hooked = pair
    assert sliding_windows(hooked) == sliding_windows(bridge)
    expected, found = evidence_attention(bridge, FACTS), evidence_attention(hooked, FACTS)
    assert list(found.measures) == list(expected.measures)
    for name, values in expected.measures.items():
        assert np.array_equal(np.isnan(found.measures[name]), np.isnan(values))
        close(found.measures[name], values, 5e-5)
    monkeypatch.setattr(pattern_module, "_ENTRIES", 1)  # a row a pass
    alone = evidence_attention(hooked, FACTS)
    close(alone.measures["evidence"], found.measures["evidence"], 5e-5)


def test_sliding_windows_hide_evidence(tokenizer: Any) -> None:
    near, far = (build("mistral", len(tokenizer), sliding_window=window) for window in (12, 2))
    assert sliding_windows(convert(near, tokenizer)) == [12, 12, 12]
    found = evidence_attention(convert(near, tokenizer), FACTS)
    assert 0 < found.n_examples("evidence") < len(FACTS)
    with pytest.raises(InputError, match="in none of 20 examples .* sliding window is 2 tokens"):
        evidence_attention(convert(far, tokenizer), FACTS)


def test_show(pair: Pair, tmp_path: Path) -> None:
    bridge, hooked = pair
    heads = [(0, 1), (2, 3)]
    expected, found = show_heads(bridge, FACTS[0], heads), show_heads(hooked, FACTS[0], heads)
    close(found.patterns, expected.patterns)
    assert (found.tokens, found.evidence, found.heads) == (expected.tokens, expected.evidence, expected.heads)
    found.save(tmp_path / "page.html")
    assert "The model" in (page := (tmp_path / "page.html").read_text()) or "custom" in page


# -- trained models ---------------------------------------------------------------------------------------------------


def test_a_trained_model_gives_the_same_answers_and_scores(trained: Pair) -> None:
    bridge, hooked = trained
    examples = load_examples("zoo:conflict", limit=160)
    encoded = encode(bridge.tokenizer, examples, "plain")
    assert encode(hooked.tokenizer, examples, "plain") == encoded
    sign = torch.tensor([1.0 if example.label else -1.0 for example in examples])
    with torch.no_grad():
        log_probs = [answer_log_probs(model, encoded) for model in trained]
    close(log_probs[1], log_probs[0])
    margins = [(found * sign).reshape(-1, 2).sum(1) for found in log_probs]
    assert torch.equal(margins[0] > 0, margins[1] > 0)

    truth = [truth_scores(capture(model, examples), n_permutations=0, n_bootstrap=1) for model in trained]
    moved = np.abs(truth[0].values - truth[1].values) * len(examples)
    assert moved.max() < 2.5 and (moved > 0.5).sum() <= 2  # examples on the edge of a probe, with the one they mirror
    causal = [causal_scores(model, examples) for model in trained]
    close(causal[1].values, causal[0].values, 5e-5)
    gate = HeadGate.from_scores(causal[0], 0.65, "minmax")
    with torch.no_grad(), gate.attach(bridge), gate.attach(hooked):
        gated = [answer_log_probs(model, encoded) for model in trained]
    close(gated[1], gated[0])
    assert (gated[0] - log_probs[0]).abs().max() > 0.1

    facts = [example for example in load_examples("zoo:text", limit=60) if example.label]
    found = [evidence_attention(model, facts).scores() for model in trained]
    for name, its in found[0].items():
        close(found[1][name].values, its.values, 5e-5)
    assert show_heads(hooked, facts[0]).heads == show_heads(bridge, facts[0]).heads


# -- what differs, and what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_transformer_lens_processing_moves_z_where_values_have_a_bias(name: str, tokenizer: Any) -> None:
    """`from_pretrained` folds value biases into the output's by default: logits stay, z and gates do not."""
    hf = random_model(name, tokenizer)
    bridge, processed = load(hf, tokenizer=tokenizer), convert(hf, tokenizer, processed=True)
    close(logits(processed).log_softmax(-1), logits(bridge).log_softmax(-1), 5e-5)
    z, expected = capture(processed, PAIRS).z, capture(bridge, PAIRS).z
    if name == "llama":
        close(z, expected)
        return
    biases = [layer.self_attn.v_proj.bias for layer in hf.model.layers]
    close(z + torch.stack([bias.view(2, -1).repeat_interleave(2, 0) for bias in biases]), expected)
    assert (z - expected).abs().max() > 0.1
    causal = causal_scores(processed, PAIRS).values - causal_scores(bridge, PAIRS).values
    assert np.abs(causal).max() > 0.01


def test_what_needs_the_hugging_face_model_is_refused_in_a_sentence(pair: Pair, tmp_path: Path) -> None:
    _, hooked = pair
    with pytest.raises(InputError, match="answers are written by .* a HookedTransformer holds none; wrap"):
        list(generate(hooked, [PromptTokens([1, 5, 6])], 2, 1))
    with pytest.raises(InputError, match="a HookedTransformer holds none"):
        AnswerLog(tmp_path / "answers.jsonl", hooked, "name", "weights")
    with pytest.raises(InputError, match="folded into a Hugging Face model; HookedTransformer is not one"):
        GATE.fold_into(hooked)
    with pytest.raises(InputError, match="is a text model, which cannot be shown images"):
        capture(hooked, [Example("x", "x", "What?", "this", 1, image="a.png")])


def test_bad_input_is_named_as_for_a_bridge(tokenizer: Any) -> None:
    hf = build("llama", len(tokenizer))
    with pytest.raises(InputError, match="the model has no tokenizer"):
        capture(convert(hf), PAIRS)
    hooked = convert(hf, tokenizer)
    with pytest.raises(InputError, match="1 of 1 examples are longer than the model's context of 128 tokens"):
        capture(hooked, [Example("x", "x", "What?", "y" * 300, 1)])
    with pytest.raises(InputError, match="the gate has 2 layers x 4 heads, the model 3 x 4"):
        HeadGate(torch.ones(2, 4)).attach(hooked)
    with pytest.raises(InputError, match=re.escape("there is no head 4 in a layer 0")):
        patterns(hooked, PromptTokens([1, 5, 6]), [(0, 4)])
