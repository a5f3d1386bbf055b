"""Run by test_cut.py in each of two processes: a model of the zoo cut over them (`tp_plan`) against the same in one.
Prints what was compared."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM
from transformers.distributed import DistributedConfig

import lens_truth
from lens_truth.data.world_examples import conflict_examples, text_examples
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load_plain, load_tokenizer
from lens_truth.models.names import model_source
from lens_truth.models.neurons import column_norms, mlps
from lens_truth.models.selftest import batch_checks, finite_check, hook_checks

NAME = "zoo:llama-base"
TEXT, PAIRS = text_examples("test", 24, 0), conflict_examples("test", 4, 0)
IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
HEADS = [(1, 2), (4, 5)]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) / 4


GATE, SHIFT = lens_truth.HeadGate(1 + drawn(6, 8)), lens_truth.HeadShift(drawn(6, 8, 32))
ACTING: dict[str, Any] = {
    "gate": GATE,
    "gates of rows": lens_truth.HeadGate(1 + drawn(2, 6, 8)),
    "gate at blocks": lens_truth.HeadGate(1 + drawn(6, 8), "block"),
    "shift of heads": SHIFT,
    "shift of the stream": lens_truth.HeadShift(drawn(6, 1, 128), "resid_post"),
    "neuron gate": lens_truth.NeuronGate(1 + drawn(6, 256)),
}


def refused(do: Callable[[], Any]) -> str:
    try:
        do()
    except lens_truth.InputError as error:
        return str(error)
    return "not refused"


def logits(model: Any, its: Any) -> torch.Tensor:
    with torch.no_grad(), its.attach(model):
        return model(IDS)


def seen(model: Any) -> dict[str, torch.Tensor]:
    kinds = ("attn.hook_z", "hook_attn_out", "attn.hook_pattern", "mlp.hook_post", "hook_resid_post")
    with torch.no_grad():
        _, cache = model.run_with_cache(IDS, names_filter=lambda name: name.endswith(kinds))
    return {kind: torch.stack([cache[f"blocks.{layer}.{kind}"] for layer in range(6)]) for kind in kinds}


def results(hf: Any) -> dict[str, Any]:
    model = lens_truth.load(hf, tokenizer=load_tokenizer(NAME))
    asker = lens_truth.Asker(model, "plain", batch_size=8)
    benchmark = lens_truth.benchmark_of("conflict", "answer", PAIRS, n_new=3)
    captured = lens_truth.capture(model, TEXT, batch_size=5)
    probes = lens_truth.HeadProbes.fit(captured)
    watched: list[float] = []
    with lens_truth.watch(model, probes, on_token=lambda token: watched.append(float(token.score))):
        model.generate(IDS[:1], max_new_tokens=3, do_sample=False)
    rules = {"entropy": lens_truth.EntropyAbove(1.0), "probes": lens_truth.ProbeBelow(0.5, probes=probes, heads=HEADS)}
    ways: dict[str, Any] = {"DoLa": lens_truth.DoLa(1.0), "ContextAware": lens_truth.ContextAware(0.5, gate=GATE)}
    ways |= {f"gate by {its}": lens_truth.DynamicGate(switched=GATE, rule=rule) for its, rule in rules.items()}
    ways["shift by tokens"] = lens_truth.DynamicGate(switched=SHIFT, rule=rules["probes"], scope="token")
    checks = [finite_check(model), *hook_checks(model), *batch_checks(model)]
    found: dict[str, Any] = {"failed": [check.name for check in checks if not check.passed]}
    found |= seen(model)
    found |= {name: logits(model, its) for name, its in ACTING.items()}
    found |= {name: [a.text for a in asker.ask(benchmark, {"": way})[""]] for name, way in ways.items()}
    found |= {
        "hash": weights_hash(model),
        "z": captured.z,
        "watched": torch.tensor(watched),
        "causal": torch.from_numpy(lens_truth.causal_scores(model, PAIRS, n_bootstrap=2).values),
        "norms": torch.stack([column_norms(hf, mlp) for mlp in mlps(hf)]),
        "neurons": lens_truth.neuron_activity(model, lens_truth.whole_replies(TEXT[:8])).values,
        "evidence": torch.from_numpy(lens_truth.evidence_attention(model, TEXT[:8]).means()["evidence"]),
        "ranked": torch.tensor([choice.margin for choice in asker.rank(PAIRS, {"": GATE})[""]]),
    }
    return found


def main() -> None:
    one = results(load_plain(NAME, attn="eager"))
    hf: Any = AutoModelForCausalLM.from_pretrained(
        model_source(NAME), distributed_config=DistributedConfig(tp_plan="auto"), attn_implementation="eager"
    ).eval()
    two = results(hf)
    model = lens_truth.load(hf)
    refusals = {
        "folding": refused(lambda: GATE.fold_into(model)),
        "stock": refused(lambda: lens_truth.load(hf, stock=True)),
        "attention of heads": refused(lambda: lens_truth.ContextAttentionBelow(0.2, HEADS).check(model)),
    }
    lines = [f"{name} {'same' if 'over several processes' in said else said}" for name, said in refusals.items()]
    for what, value in two.items():
        apart = float((value - one[what]).abs().max()) if isinstance(value, torch.Tensor) else None
        same = value == one[what] if apart is None else apart < 1e-4
        lines.append(f"{what} same" if same else f"{what} DIFFERS ({apart}): {value} {one[what]}")
    print("".join(f"process {dist.get_rank()}: {line}\n" for line in lines), flush=True)
    dist.destroy_process_group()


main()
