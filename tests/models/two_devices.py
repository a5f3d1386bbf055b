"""Run by test_placing.py, in a process of its own: a model of the zoo whose layers lie on two devices against the same
model on one. Prints what was compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from accelerate import dispatch_model
from devices import Toys

import lens_truth
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load_plain, load_tokenizer
from lens_truth.models.selftest import batch_checks, finite_check, hook_checks

ROWS = lens_truth.load_examples("zoo:text", limit=12)
PAIRS = lens_truth.load_examples("zoo:conflict", limit=8)


def results(hf: Any, *, backward: bool) -> dict[str, Any]:
    """What is compared; PyTorch's backward pass knows of one device of a made-up kind only."""
    model = lens_truth.load(hf, tokenizer=load_tokenizer("zoo:llama-base"))
    gate = lens_truth.HeadGate(1 + torch.rand(6, 8, generator=torch.Generator().manual_seed(1)))
    asker = lens_truth.Asker(model, "plain")
    with gate.attach(model):
        text = model.generate("The coral", max_new_tokens=4, do_sample=False)
    checks = [finite_check(model), *hook_checks(model), *batch_checks(model)]
    found = {
        "text": text,
        "z": lens_truth.capture(model, ROWS, batch_size=5).z,
        "hash": weights_hash(model),
        "evidence": torch.from_numpy(lens_truth.evidence_attention(model, ROWS).means()["evidence"]),
        "ranked": torch.tensor([choice.margin for choice in asker.rank(PAIRS, {"gate": gate})["gate"]]),
        "failed": [check.name for check in checks if not check.passed],
    }
    return found | ({"causal": torch.from_numpy(lens_truth.causal_scores(model, PAIRS).values)} if backward else {})


def spread(first: str, second: str) -> Any:
    hf = load_plain("zoo:llama-base", attn="eager")
    places = {"model.embed_tokens": first, "model.rotary_emb": first, "model.norm": second, "lm_head": first}
    places |= {f"model.layers.{layer}": first if layer < 3 else second for layer in range(6)}
    dispatch_model(hf, places, main_device="cpu" if "cpu" in (first, second) else first, force_hooks=True)
    return hf


one = results(load_plain("zoo:llama-base", attn="eager"), backward=True)
for places in (("toy:0", "toy:1"), ("cpu", "toy:0")):
    with Toys():
        two = results(spread(*places), backward="cpu" in places)
    for what, value in two.items():
        same = torch.allclose(value, one[what], atol=1e-5) if isinstance(value, torch.Tensor) else value == one[what]
        print(*places, what, "same" if same else f"DIFFERS: {value} {one[what]}")
