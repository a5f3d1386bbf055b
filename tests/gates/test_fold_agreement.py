"""What `gate --save` says of a folded gate beside the attached one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import build

from lens_truth.errors import InputError
from lens_truth.gates.fold_agreement import FoldAgreement, fold_agreement
from lens_truth.gates.gate import HeadGate
from lens_truth.models.loading import load

GATE = HeadGate(1 + torch.rand(3, 4, generator=torch.Generator().manual_seed(0)))


def test_in_float32_they_agree(tokenizer: Any) -> None:
    model = load(build("llama", len(tokenizer)), tokenizer=tokenizer)
    found = fold_agreement(model, GATE, GATE.fold_into(model))
    assert found.dtype == "float32" and found.kl < 1e-6 and found.same_next == 1
    assert found.parted == (None,) * 4 and "all are the same" in found.sentence()


def test_another_gate_folded_is_seen(tokenizer: Any) -> None:
    model = load(build("llama", len(tokenizer)), tokenizer=tokenizer)
    other = HeadGate(1 - 2 * GATE.values).fold_into(model)
    found = fold_agreement(model, GATE, other)
    assert found.kl > 1e-4 and found.same_next < 1
    assert f"part, the first at token {min(at for at in found.parted if at)}" in found.sentence()
    ids = torch.tensor([tokenizer.encode("Why is the sky blue?")])
    how = {"max_new_tokens": 64, "min_new_tokens": 64, "do_sample": False, "pad_token_id": 0}
    with GATE.attach(model):
        attached = model.original_model.generate(ids, **how)
    differ = (attached != other.generate(ids, **how))[0, ids.shape[1] :].nonzero()
    assert found.parted[0] == (int(differ[0]) + 1 if len(differ) else None)  # as their own texts, token by token, part


def test_half_precision_is_offered_the_whole() -> None:
    found = FoldAgreement("bfloat16", 0.002, 0.98, 400, (None, 43, 5, None), 64)
    assert "2 part, the first at token 5: folding rounds weights" in found.sentence()
    assert found.sentence().endswith("--dtype float32 saves it without that")
    assert "--dtype" not in FoldAgreement("float32", 0.0, 0.99, 400, (3,), 64).sentence()


def test_without_a_tokenizer_nothing_is_compared() -> None:
    model = load(build("llama"))
    with pytest.raises(InputError, match="tokenizer"):
        fold_agreement(model, GATE, GATE.fold_into(model))


def test_numbers_that_are_not_finite_are_named(tokenizer: Any) -> None:
    model = load(build("llama", len(tokenizer)), tokenizer=tokenizer)
    folded = GATE.fold_into(model)
    with torch.no_grad():
        folded.model.layers[1].self_attn.o_proj.weight.fill_(torch.inf)
    with pytest.raises(InputError, match="not finite once the gate is folded, in float32"):
        fold_agreement(model, GATE, folded)
