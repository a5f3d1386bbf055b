"""Log-probabilities of some tokens equal those from all logits, whatever a class does to them, and so do slopes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from lens_truth.models import likelihood
from lens_truth.models.batches import pad_rows
from lens_truth.models.hooks import constant_weights, gate_heads
from lens_truth.models.likelihood import token_log_probs
from lens_truth.models.loading import load

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
ODD = {  # what stands between the last hidden state and the logits
    "llama": ("LlamaConfig", {}),
    "soft-capped": ("Gemma2Config", {"final_logit_softcapping": 0.5}),
    "scaled": ("GraniteConfig", {"logits_scaling": 7.0}),
}
ROWS = [[3, 4, 5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15]]
AT = [(0, 2), (0, 5), (1, 1), (1, 2), (2, 3)]


@pytest.fixture(scope="module", params=list(ODD))
def model(request: pytest.FixtureRequest) -> Any:
    config, more = ODD[request.param]
    torch.manual_seed(0)
    return load(transformers.AutoModelForCausalLM.from_config(getattr(transformers, config)(**SHAPE, **more)))


def wanted(model: Any, gate: torch.Tensor, some: bool) -> torch.Tensor:
    ids, mask = pad_rows(ROWS, model)
    row, position = torch.tensor(AT).T
    with constant_weights(model), gate_heads(model, gate):
        if some:
            return token_log_probs(model, ids, mask, row, position, {})
        log_probs = model(ids, attention_mask=mask)[row, position - 1].log_softmax(-1)
    return log_probs.gather(1, ids[row, position, None])[:, 0]


def _parts_are_multiplied_alike(n: int) -> bool:
    """Whether this machine gives `n` rows of a matrix the same bits as all of them; a single row it may not, and some
    processors do so for no part."""
    rows = torch.randn(18, 32, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(40, 32, generator=torch.Generator().manual_seed(1))
    at = torch.tensor([6 * row + position - 1 for row, position in AT])
    whole = torch.nn.functional.linear(rows, weight)[at]
    parts = torch.cat([torch.nn.functional.linear(part, weight) for part in rows[at].split(n)])
    return torch.equal(parts, whole)


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_values_and_slopes_equal_those_of_all_logits(model: Any, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "_LOGITS_AT_ONCE", -(-len(AT) // pieces) * 40)
    gate = torch.ones(3, 2, 4, requires_grad=True)
    some, of_all = (wanted(model, gate, which) for which in (True, False))
    torch.testing.assert_close(some.detach(), of_all.detach(), rtol=1e-6, atol=1e-6)
    if _parts_are_multiplied_alike(-(-len(AT) // pieces)):
        assert torch.equal(some.detach(), of_all.detach())
    weights = torch.arange(1.0, 6)
    slope, expected = (torch.autograd.grad(its @ weights, gate)[0] for its in (some, of_all))
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)
    assert expected.abs().max() > 0.01
    with torch.no_grad():
        assert torch.equal(wanted(model, gate, True), some)


def test_logits_of_other_tokens_are_not_computed(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "_LOGITS_AT_ONCE", 2 * 40)
    shapes: list[tuple[int, ...]] = []
    with model.unembed.register_forward_hook(lambda _, inputs, logits: shapes.append(tuple(logits.shape))):
        wanted(model, torch.ones(2, 4), True)
    assert shapes == [(1, 2, 40), (1, 2, 40), (1, 1, 40)]
