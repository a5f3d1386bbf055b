"""Run by test_placing.py, in a process of its own: what acts on a model, is folded into it, or decodes otherwise, with
the model's layers on two devices against the same on one. Prints what was compared."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from accelerate import dispatch_model
from devices import Toys

import lens_truth
from lens_truth.data.world_examples import conflict_examples, text_examples
from lens_truth.gates import shift_fold
from lens_truth.models import folding
from lens_truth.models.loading import load_plain, load_tokenizer

L, H, D, NEURONS, WIDTH = 6, 8, 32, 256, 128
NAMES = ("zoo:llama-base", "zoo:llama-memory")
TEXT, PAIRS = text_examples("test", 24, 0), conflict_examples("test", 4, 0)
IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
HEADS = [(1, 2), (4, 5)]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) / 4


GATE, SHIFT = lens_truth.HeadGate(1 + drawn(L, H)), lens_truth.HeadShift(drawn(L, H, D))
ACTING: dict[str, Any] = {
    "gate": GATE,
    "gate at blocks": lens_truth.HeadGate(1 + drawn(L, H), "block"),
    "shift of heads": SHIFT,
    "shift of the stream": lens_truth.HeadShift(drawn(L, 1, WIDTH), "resid_post"),
    "neuron gate": lens_truth.NeuronGate(1 + drawn(L, NEURONS)),
}


def unchecked(linear: Any, what: str = "") -> None:
    """In place of the check that weights are plain numbers: those on toy devices are of a class of their own."""


for module in (folding, shift_fold):
    module.check_plain = unchecked


def logits(hf: Any) -> torch.Tensor:
    with torch.no_grad():
        return hf(IDS.to(hf.get_input_embeddings().weight.device)).logits.cpu()


def attached(model: Any, its: Any) -> torch.Tensor:
    with its.attach(model):
        return logits(model.original_model)


def folded(model: Any, its: Any) -> torch.Tensor:
    return logits(its.fold_into(model))


def results(hf: Any, sibling: Any, *, backward: bool) -> dict[str, Any]:
    """What is compared; PyTorch's backward pass knows of one device of a made-up kind only."""
    tokenizer = load_tokenizer(NAMES[0])
    model, other = (lens_truth.load(its, tokenizer=tokenizer) for its in (hf, sibling))
    asker = lens_truth.Asker(model, "plain", batch_size=8)
    benchmark = lens_truth.benchmark_of("conflict", "answer", PAIRS, n_new=3)
    probes = lens_truth.HeadProbes.fit(lens_truth.capture(model, TEXT, batch_size=5))
    of_probes: dict[str, Any] = {"probes": probes, "heads": HEADS}
    ways: dict[str, Any] = {
        "DoLa": lens_truth.DoLa(1.0),
        "ContextAware": lens_truth.ContextAware(0.5, gate=GATE),
        "DeCoRe": lens_truth.DeCoRe(1.0, HEADS),
        "Sibling": lens_truth.Sibling(1.0, other),
        "LOL": lens_truth.LOL(1.0, other, layers=(2,)),
        "by entropy": lens_truth.DynamicGate(switched=GATE, rule=lens_truth.EntropyAbove(1.0)),
        "by attention": lens_truth.DynamicGate(switched=GATE, rule=lens_truth.ContextAttentionBelow(0.2, HEADS)),
        "by probes": lens_truth.DynamicGate(
            switched=SHIFT, rule=lens_truth.ProbeBelow(0.5, **of_probes), scope="token"
        ),
        "by context": lens_truth.DynamicGate(switched=GATE, rule=lens_truth.ContextChanges(0.1)),
        "by drafts": lens_truth.DynamicGate(switched=GATE, rule=lens_truth.DraftProbeBelow(0.5, **of_probes)),
    }

    def answers(way: Any) -> list[str]:
        return [answer.text for answer in asker.ask(benchmark, {"way": way})["way"]]

    def margins(way: Any) -> torch.Tensor:
        return torch.tensor([choice.margin for choice in asker.rank(PAIRS, {"way": way})["way"]])

    if backward:  # beside what is compared on other devices, the CPU and what is fetched from it
        learned = lens_truth.learned_gate(model, PAIRS, learning=lens_truth.Learning(steps=2)).values
        return {
            "learned": torch.from_numpy(learned),
            "gate": attached(model, GATE),
            "gate, folded": folded(model, GATE),
            "neuron gate, folded": folded(model, ACTING["neuron gate"]),
            "by probes": answers(ways["by probes"]),
        }
    found: dict[str, Any] = {name: attached(model, its) for name, its in ACTING.items()}
    found |= {f"{name}, folded": folded(model, its) for name, its in ACTING.items()}
    found |= {name: answers(way) for name, way in ways.items()}
    found |= {f"{name}, ranking": margins(ways[name]) for name in ("ContextAware", "DoLa", "by probes")}
    found["neurons"] = lens_truth.neuron_activity(model, lens_truth.whole_replies(TEXT[:8])).values
    found["stream"] = lens_truth.capture(model, TEXT[:8], at="resid_post").z
    found["ends"] = lens_truth.answer_ends(model, TEXT[:8]).deltas
    return found


def spread(first: str, second: str, name: str) -> Any:
    hf = load_plain(name)
    places = {"model.embed_tokens": first, "model.rotary_emb": first, "model.norm": second, "lm_head": first}
    places |= {f"model.layers.{layer}": first if layer < 3 else second for layer in range(L)}
    dispatch_model(hf, places, main_device="cpu" if "cpu" in (first, second) else first, force_hooks=True)
    return hf


one = {backward: results(*map(load_plain, NAMES), backward=backward) for backward in (False, True)}
for places in (("toy:0", "toy:1"), ("cpu", "toy:0")):
    backward = "cpu" in places
    make: Callable[[str], Any] = partial(spread, *places)
    with Toys():
        two = results(*map(make, NAMES), backward=backward)
    for what, value in two.items():
        same = (
            torch.allclose(value, one[backward][what], atol=1e-4)
            if isinstance(value, torch.Tensor)
            else value == one[backward][what]
        )
        print(*places, what, "same" if same else f"DIFFERS: {value} {one[backward][what]}")
